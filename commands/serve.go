package commands

import (
	"crypto/rand"
	"os/signal"
	"syscall"

	"logto-email-relay/app"
	"logto-email-relay/config"
)

type serveCommand struct{}

// Run serves until the context ends, and then stops cleanly. Without a
// configuration that is development mode.
func (serveCommand) Run(s *environment) error {
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
		Log:              s.out,
		RuntimeDirectory: s.runtimeDirectory(),
		Listening:        func(string, string) {},
	}
	if s.configFile() == "" {
		token := rand.Text()
		o.Load = func() (config.Loaded, error) { return config.Loaded{Config: config.Development(token)}, nil }
		o.Listening = func(public, admin string) { welcome(s.out, public, admin, "Bearer "+token) }
	}
	return app.Run(s.ctx, o)
}
