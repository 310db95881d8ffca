// Package commands is what the program can be told to do, a short file each:
// serve, check, send, call, find, bounce, suppressions, import, schema and healthcheck.
//
// It parses, calls and prints; what a command does is another package's. Nothing in
// here decides anything about a mail.
package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"logto-email-relay/app"
	"logto-email-relay/config"
)

// The exit codes of the program.
const (
	exitOK            = 0
	exitFailed        = 1
	exitConfiguration = 2  // usage or configuration
	exitLater         = 75 // EX_TEMPFAIL: mail servers call again
)

// commandLine is what a user may write behind the program's name.
type commandLine struct {
	Config  string           `short:"c" placeholder:"FILE" help:"The configuration: JSON or YAML. Default: $$RELAY_CONFIG, else config.json, config.yaml or config.yml here, else development mode."`
	Version kong.VersionFlag `help:"Print the version and stop."`

	Serve        serveCommand        `cmd:"" default:"withargs" help:"Take Logto's webhooks and send the mails (the default)."`
	Check        checkCommand        `cmd:"" help:"Check the configuration and the templates, and show what would be used; with --connect, sign in at the providers."`
	Send         sendCommand         `cmd:"" help:"Send a sample mail through the production path."`
	Call         callCommand         `cmd:"" help:"Call a relay through its public address as Logto does, and tell what is wrong."`
	Find         findCommand         `cmd:"" help:"Tell what was sent to an address and what became of it, from the record of deliveries."`
	Bounce       bounceCommand       `cmd:"" help:"Take a mail that came back, from standard input, for an alias of Postfix or Exim."`
	Suppressions suppressionsCommand `cmd:"" help:"List, add and lift addresses that get no mails for a while."`
	Import       importCommand       `cmd:"" help:"Turn a connector of Logto's, its email templates or LoopBack's data sources into our files."`
	Schema       schemaCommand       `cmd:"" help:"Print the JSON Schema of the configuration."`
	Healthcheck  healthcheckCommand  `cmd:"" help:"Ask the running relay whether it is alive (for container health checks)."`
}

// environment is what a command may touch of the process.
type environment struct {
	ctx    context.Context
	env    func(name string) (string, bool)
	out    io.Writer
	errOut io.Writer
	file   string // --config
	// hangups are the signals to reload; nil where there are none.
	hangups <-chan os.Signal
}

// Run carries out one command line and returns the program's exit code: 0, 1
// when the command failed, 2 for a mistake in usage or configuration. It reads
// no global state but the working directory and the files that it is told of.
// When ctx ends, serve stops cleanly and everything else stops; a value of hangups
// makes serve read its configuration again.
func Run(ctx context.Context, args, env []string, out, errOut io.Writer, hangups <-chan os.Signal) (code int) {
	var line commandLine
	parser, err := kong.New(&line,
		kong.Name("logto-email-relay"),
		kong.Description("The endpoint of Logto's HTTP email connector: a webhook in, an accepted mail out."),
		kong.Writers(out, errOut),
		kong.Vars{"version": version()},
		// --help and --version end the program from within the parser.
		kong.Exit(func(code int) { panic(exit(code)) }),
	)
	if err != nil {
		panic(err) // the struct above is wrong
	}
	defer func() {
		switch ended := recover().(type) {
		case nil:
		case exit:
			code = int(ended)
		default:
			panic(ended)
		}
	}()
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(errOut, "%v\nSee logto-email-relay --help.\n", err)
		var wrong *kong.ParseError
		if errors.As(err, &wrong) && strings.HasPrefix(wrong.Context.Command(), "bounce") {
			return exitLater // a mail server would send the mail back for anything else
		}
		return exitConfiguration
	}
	err = parsed.Run(&environment{ctx: ctx, env: lookup(env), out: out, errOut: errOut, file: line.Config, hangups: hangups})
	return report(err, errOut)
}

// exit carries an exit code out of the command line parser.
type exit int

// errUsage marks an error that the user mends on the command line.
var errUsage = errors.New("usage")

// report prints why a command failed and returns the exit code for it.
func report(err error, errOut io.Writer) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(errOut, strings.TrimSuffix(err.Error(), "\n"))
	if errors.Is(err, errLater) {
		return exitLater
	}
	var wrong *config.Error
	if errors.As(err, &wrong) || errors.Is(err, errUsage) || errors.Is(err, app.ErrTemplates) {
		return exitConfiguration
	}
	return exitFailed
}

// lookup finds a variable in an environment as os.Environ returns it. The last
// one of a name wins, as for a process.
func lookup(env []string) func(string) (string, bool) {
	values := make(map[string]string, len(env))
	for _, pair := range env {
		if name, value, found := strings.Cut(pair, "="); found {
			values[name] = value
		}
	}
	return func(name string) (string, bool) {
		value, found := values[name]
		return value, found
	}
}

// configFile returns the file to read: the one that was asked for, else
// config.json, config.yaml or config.yml in the working directory, else none, which
// means development mode.
func (s *environment) configFile() string {
	if s.file != "" {
		return s.file
	}
	if file, found := s.env("RELAY_CONFIG"); found && file != "" {
		return file
	}
	for _, file := range []string{"config.json", "config.yaml", "config.yml"} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// load reads the configuration, and fails where there is none.
func (s *environment) load() (config.Loaded, error) {
	file := s.configFile()
	if file == "" {
		return config.Loaded{}, fmt.Errorf("%w: there is no configuration: write config.json here, or name one with --config", errUsage)
	}
	loaded, err := config.Load(file, s.env)
	var wrong *config.Error
	if err != nil && !errors.As(err, &wrong) { // there is no such file
		err = fmt.Errorf("%w: %w", errUsage, err)
		if named, _ := s.env("RELAY_CONFIG"); s.file == "" && named != "" {
			err = fmt.Errorf("%w (RELAY_CONFIG names it)", err)
		}
	}
	return loaded, err
}

// build reads the configuration and builds the graph that serve would have.
func (s *environment) build() (config.Loaded, *app.Graph, error) {
	loaded, err := s.load()
	if err != nil {
		return loaded, nil, err
	}
	g, err := app.Build(loaded.Config, nil, nil, nil, slog.New(slog.NewTextHandler(s.errOut, nil)))
	return loaded, g, err
}

// runtimeDirectory is where a running relay leaves what others on this machine may
// want to know of it: systemd's for the service, else none.
func (s *environment) runtimeDirectory() string {
	directory, _ := s.env("RUNTIME_DIRECTORY")
	return directory
}

// unreleased is the version of a build that nothing else is known of, such as one
// without .git beside it.
const unreleased = "v1.0.0-unreleased"

// stamped is the version of a release, which its build writes here (-ldflags "-X …").
var stamped string

func version() string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") {
		return info.Main.Version
	}
	return unreleased
}
