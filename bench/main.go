// Command bench compares the relay with what people use instead, side by side on
// one machine:
//
//	relay    the real binary, with limits off and its log in a file
//	express  Express and a pooled nodemailer, as one writes it by hand
//	logto    Logto's own SMTP connector
//	floor    the least that any receiver in Go has to do
//
// Each runs in a process of its own against an SMTP server in another, which
// checks every mail for its code. The receivers take turns, so that what else
// the machine does slows all of them; compare ratios, not figures. It reads
// /proc, and so needs Linux. Everything stays on the loopback interface.
//
//	go run ./bench                         everything, about a quarter of an hour
//	go run ./bench -run plain -rounds 5    one scenario
//	go run ./bench -run plain -profile DIR where the relay's time goes
//	go run ./bench -run record,features -postgres postgres://relay@localhost/relay
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// bench is one call of the program.
type bench struct {
	programs *programs
	times    times
	rounds   int
	profile  string
	postgres string
	panels   []panel
	missed   []string
}

// scenarios in the order in which they run.
var scenarios = []struct {
	name, title string
	run         func(*bench) error
}{
	{"plain", "Plain SMTP, 50 webhooks at a time", (*bench).plain},
	{"distance", "STARTTLS, AUTH and a round trip of 20 ms, 50 webhooks at a time", (*bench).distance},
	{"concurrency", "From 1 to 200 webhooks at a time", (*bench).concurrency},
	{"size", "From 1 KB to 100 KB of template", (*bench).size},
	{"overload", "Twice the capacity", (*bench).overload},
	{"hung", "1,000 webhooks waiting for a provider that hangs", (*bench).hung},
	{"start", "Start and rest", (*bench).start},
	{"record", "What a record of deliveries costs, 50 webhooks at a time", (*bench).record},
	{"features", "What everything costs: all limits and the record", (*bench).features},
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "sink" {
		if err := runSink(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// errMissed ends a run in which a target was missed.
var errMissed = errors.New("targets missed")

func run() error {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	b := &bench{}
	chosen := flag.String("run", strings.Join(names, ","), "the scenarios to run")
	receivers := flag.String("receivers", strings.Join([]string{theRelay, theExpress, theLogto, theFloor}, ","),
		"the receivers to compare; the relay always runs")
	flag.IntVar(&b.rounds, "rounds", 7, "how often each receiver takes its turn")
	flag.DurationVar(&b.times.warmUp, "warm-up", time.Second, "how long a receiver runs before it is measured")
	flag.DurationVar(&b.times.length, "length", 3*time.Second, "how long it is measured")
	flag.StringVar(&b.profile, "profile", "", "a directory for the relay's profiles in the scenarios plain and hung")
	flag.StringVar(&b.postgres, "postgres", "", "a postgres:// URL of an empty database for the scenarios record and features")
	picture := flag.String("picture", "", "a file for a picture of the scenarios plain and distance, in SVG")
	flag.Parse()
	for _, name := range strings.Split(*chosen, ",") {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no scenario %q, only %s", name, strings.Join(names, ", "))
		}
	}

	var err error
	if b.programs, err = prepare(say, strings.Split(*receivers, ","), b.profile != ""); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.programs.dir) }()
	fmt.Printf("%s, %d cores, %s, %s\n\n", processor(), runtime.NumCPU(), runtime.Version(), time.Now().Format(time.DateOnly))
	for _, s := range scenarios {
		if !slices.Contains(strings.Split(*chosen, ","), s.name) {
			continue
		}
		fmt.Printf("## %s\n\n", s.title)
		if err := s.run(b); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if *picture != "" {
		var svg bytes.Buffer
		if err := draw(&svg, b.panels); err != nil {
			return err
		}
		if err := os.WriteFile(*picture, svg.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if len(b.missed) > 0 {
		return fmt.Errorf("%w: %s", errMissed, strings.Join(b.missed, "; "))
	}
	return nil
}

// say shows progress apart from the results.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// target holds a result against what is to be reached.
func (b *bench) target(reached bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if reached {
		fmt.Printf("- reached: %s\n", text)
		return
	}
	fmt.Printf("- **missed**: %s\n", text)
	b.missed = append(b.missed, text)
}

// processor returns the name of the machine's processor.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
