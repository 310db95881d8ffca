package commands

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"logto-email-relay/app"
	"logto-email-relay/config"
	"logto-email-relay/settings"
)

type serveCommand struct {
	Listen string
	Admin  string
}

func newServe(s *environment) *cobra.Command {
	c := &cobra.Command{Use: "serve", Short: "Take Logto's webhooks and send the mails (the default)", Args: noArguments}
	serves(c, s)
	return c
}

// serves makes a command serve: that one, and the program without any.
func serves(c *cobra.Command, s *environment) {
	var cmd serveCommand
	c.Flags().StringVar(&cmd.Listen, "listen", "", "development mode: the `ADDRESS` for webhooks, 127.0.0.1:8080 by default")
	c.Flags().StringVar(&cmd.Admin, "admin", "", "development mode: the `ADDRESS` of the pages, 127.0.0.1:9090 by default; loopback only")
	c.RunE = s.runs(func([]string) error { return cmd.run(s) })
}

// run serves until the context ends, and then stops cleanly. Without a
// configuration that is development mode.
func (cmd serveCommand) run(s *environment) error {
	if _, chosen := s.env("GOGC"); !chosen {
		app.TuneGarbageCollector()
	}
	if _, chosen := s.env("GOMEMLIMIT"); !chosen {
		app.LimitMemory("/")
	}
	// A reader of the log that dies must not take the process with it.
	signal.Ignore(syscall.SIGPIPE)
	o := app.Options{
		Load:             s.load,
		Hangups:          s.hangups,
		Version:          version(),
		Log:              s.log,
		RuntimeDirectory: s.runtimeDirectory(),
		Listening:        func(string, string) {},
	}
	advice := "write another port into server.address or admin.address"
	if s.configFile() == "" {
		token := rand.Text()
		development, err := cmd.development(token)
		if err != nil {
			return err
		}
		o.Load = func() (config.Loaded, error) { return config.Loaded{Config: development}, nil }
		o.Listening = func(public, admin string) { welcome(s.log, public, admin, "Bearer "+token) }
		advice = "choose other ports, such as: logto-email-relay --listen 127.0.0.1:8081 --admin 127.0.0.1:9091"
	} else if cmd.Listen+cmd.Admin != "" {
		return fmt.Errorf("%w: --listen and --admin are for development mode; write server.address and admin.address into %s",
			errUsage, settings.Printable(s.configFile(), maxName))
	}
	err := app.Run(s.ctx, o)
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "listen" {
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			advice = "stop the program that has this port, or " + advice
		case errors.Is(err, syscall.EACCES):
			advice = "ports below 1024 are for root: " + advice
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			advice = "this machine has no such address: without one, such as in \":8080\", the relay listens at all of them"
		default:
			return err
		}
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

// development is the configuration of development mode. Its pages show every mail,
// so that only this machine may see them.
func (cmd serveCommand) development(token string) (*config.Config, error) {
	c := config.Development(token)
	c.Server.Address = cmp.Or(cmd.Listen, c.Server.Address)
	c.Admin.Address = cmp.Or(cmd.Admin, c.Admin.Address)
	for flag, address := range map[string]string{"listen": c.Server.Address, "admin": c.Admin.Address} {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("%w: --%s: write a host and a port, such as 127.0.0.1:8081", errUsage, flag)
		}
		if flag == "admin" && !settings.IsLoopback(host) {
			return nil, fmt.Errorf("%w: --admin: write an address of this machine alone, such as 127.0.0.1:9091", errUsage)
		}
	}
	return c, nil
}
