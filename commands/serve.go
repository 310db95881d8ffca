package commands

import (
	"crypto/rand"

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
		o.Development = "Bearer " + token
		o.Load = func() (config.Loaded, error) { return config.Loaded{Config: config.Development(token)}, nil }
		o.Listening = func(public, admin string) { welcome(s.out, public, admin, o.Development) }
	}
	return app.Run(s.ctx, o)
}
