// Package commands is what the program can be told to do, a short file each:
// serve, check, send, call, find, bounce, suppressions, import, schema and healthcheck.
//
// It parses, calls and prints; what a command does is another package's. Nothing in
// here decides anything about a mail.
package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"logto-email-relay/app"
	"logto-email-relay/config"
	"logto-email-relay/settings"
)

// The exit codes of the program.
const (
	exitOK            = 0
	exitFailed        = 1
	exitConfiguration = 2  // usage or configuration
	exitLater         = 75 // EX_TEMPFAIL: mail servers call again
)

// Whoever starts the program by a double click on Windows wants it to serve, too.
func init() { cobra.MousetrapHelpText = "" }

// environment is what a command may touch of the process.
type environment struct {
	ctx    context.Context
	env    func(name string) (string, bool)
	out    io.Writer
	log    io.Writer // out itself, for what goes on without it
	errOut io.Writer
	file   string // --config
	// hangups are the signals to reload; nil where there are none.
	hangups <-chan os.Signal
	// failure is that of the command that ran.
	failure error
}

// runs is how the command line parser calls a command. What the parser itself returns is
// then always a mistake on the command line.
func (s *environment) runs(run func(args []string) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		s.failure = run(args)
		return nil
	}
}

// newRoot is the command line: the program without a command serves.
func newRoot(s *environment) *cobra.Command {
	root := &cobra.Command{
		Use:           "logto-email-relay",
		Short:         "The endpoint of Logto's HTTP email connector: a webhook in, an accepted mail out.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(s.out)
	root.SetErr(s.errOut)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return withoutValue(err) })
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().StringVarP(&s.file, "config", "c", "",
		"the configuration, a `FILE` of JSON or YAML; else $RELAY_CONFIG,\nelse config.json, config.yaml or config.yml here, else development mode")
	serves(root, s)
	serve := root.RunE
	printVersion := root.Flags().Bool("version", false, "print the version and stop")
	root.RunE = func(c *cobra.Command, args []string) error {
		if err := noArguments(c, args); err != nil { // those behind --, which the parser takes for no command
			return err
		}
		if *printVersion {
			fmt.Fprintln(s.out, version())
			return nil
		}
		return serve(c, args)
	}
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if c.Flags().Changed("config") && s.file == "" { // such as a variable that is not set, which asks for no development mode
			return errors.New("--config: write the name of a file")
		}
		return nil
	}
	// The help shows the groups in this order, and in each the commands by name.
	for _, group := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"run", "Running:", []*cobra.Command{newServe(s), newHealthcheck(s)}},
		{"set up", "Setting up:", []*cobra.Command{newCheck(s), newSend(s), newCall(s), newImport(s), newSchema(s)}},
		{"mails", "What became of mails:", []*cobra.Command{newFind(s), newSuppressions(s), newBounce(s)}},
	} {
		root.AddGroup(&cobra.Group{ID: group.id, Title: group.title})
		for _, c := range group.commands {
			c.GroupID = group.id
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("run")
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = func(_ *cobra.Command, args []string) error { // else it is no mistake to ask for what there is not
			_, _, err := root.Find(args)
			return err
		}
	}
	return root
}

// noArguments refuses arguments without quoting them: one may be a secret whose flag is missing.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.New("there is an argument, and only flags are known, which begin with two dashes")
	}
	return nil
}

// noBlanks refuses arguments without content, such as variables that are not set.
func noBlanks(_ *cobra.Command, args []string) error {
	if slices.ContainsFunc(args, func(arg string) bool { return strings.TrimSpace(arg) == "" }) {
		return errors.New("an argument is empty")
	}
	return nil
}

// require has the parser refuse a command line without a flag.
func require(c *cobra.Command, flag string) {
	if err := c.MarkFlagRequired(flag); err != nil {
		panic(err) // the command has no such flag
	}
}

// withoutValue is a mistake in a flag without the value, which may be a secret.
func withoutValue(err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return fmt.Errorf("unknown flag: -%s; long ones begin with two dashes", settings.Printable(unknown.GetSpecifiedName(), 1))
	case errors.As(err, &unknown):
		return fmt.Errorf("unknown flag: --%s", settings.Printable(unknown.GetSpecifiedName(), 40))
	case errors.As(err, &invalid):
		return fmt.Errorf("--%s: the value is no %s", invalid.GetFlag().Name, invalid.GetFlag().Value.Type())
	}
	return err
}

// output remembers that something could not be printed, so that no command has to look.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	o.err = cmp.Or(o.err, err)
	return n, err
}

// Run carries out one command line and returns the program's exit code: 0, 1
// when the command failed, 2 for a mistake in usage or configuration. It reads
// no global state but the working directory and the files that it is told of.
// When ctx ends, serve stops cleanly and everything else stops; a value of hangups
// makes serve read its configuration again.
func Run(ctx context.Context, args, env []string, out, errOut io.Writer, hangups <-chan os.Signal) int {
	printed := &output{Writer: out}
	s := &environment{ctx: ctx, env: lookup(env), out: printed, log: out, errOut: errOut, hangups: hangups}
	root := newRoot(s)
	root.SetArgs(append([]string{}, args...)) // without any it would read the process's own
	chosen, err := root.ExecuteContextC(ctx)
	if err != nil {
		fmt.Fprintf(errOut, "%v\nUsage: %s\nSee %s --help.\n", err, chosen.UseLine(), chosen.CommandPath())
		if chosen.Name() == "bounce" || chosen == root && slices.Contains(args, "bounce") {
			return exitLater // a mail server would send the mail back for anything else
		}
		return exitConfiguration
	}
	return report(cmp.Or(s.failure, printed.err), errOut)
}

// errUsage marks an error that the user mends on the command line.
var errUsage = errors.New("usage")

// usageError is one, too, whose text says by itself what to mend.
type usageError struct{ error }

func (e usageError) Is(target error) bool { return target == errUsage }
func (e usageError) Unwrap() error        { return e.error }

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
	if errors.As(err, &wrong) || errors.Is(err, errUsage) || errors.Is(err, app.ErrTemplates) || errors.Is(err, app.ErrAdmin) {
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

// maxName bounds what is shown of a file's name, in characters.
const maxName = 200

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
		// One that is there and cannot be read, such as a link to nothing, is no reason to do without.
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			return file
		}
	}
	return ""
}

// load reads the configuration, and fails where there is none.
func (s *environment) load() (config.Loaded, error) {
	file := s.configFile()
	if file == "" {
		return config.Loaded{}, usageError{errors.New("there is no configuration: write config.json here, or name one with --config")}
	}
	loaded, err := config.Load(file, s.env)
	var wrong *config.Error
	if err != nil && !errors.As(err, &wrong) { // there is no such file
		if named, _ := s.env("RELAY_CONFIG"); s.file == "" && named != "" {
			err = fmt.Errorf("%w (RELAY_CONFIG names it)", err)
		}
		err = usageError{err}
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
// want to know of it: systemd's for the service, the first of several, else none.
func (s *environment) runtimeDirectory() string {
	directories, _ := s.env("RUNTIME_DIRECTORY")
	first, _, _ := strings.Cut(directories, ":")
	return first
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
