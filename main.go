// Command logto-email-relay is the endpoint of Logto's HTTP email connector: it
// takes the webhook, writes the mail in the reader's language and answers 200
// once a mail provider has accepted it.
package main

import (
	"context"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"logto-email-relay/commands"
	"logto-email-relay/hangups"
	"logto-email-relay/nameservers"
)

func main() {
	// Go's HTTP client quotes there what a server sends unasked, which may be a
	// mail. Our own log is another.
	log.SetOutput(io.Discard)
	net.DefaultResolver = nameservers.Resolver()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a clean stop. Handing signals back to the
	// runtime lets a second one end the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(commands.Run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr, hangups.Signals))
}
