// Command profiled is the relay with Go's profiler listening beside it, on the
// address in the environment variable PROFILER. It exists for the benchmarks
// alone: the relay itself has no profiler.
package main

import (
	"context"
	"log"
	"net/http"
	_ "net/http/pprof" // registers itself
	"os"

	"logto-email-relay/commands"
)

func main() {
	go func() { log.Fatal(http.ListenAndServe(os.Getenv("PROFILER"), nil)) }()
	os.Exit(commands.Run(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr, nil))
}
