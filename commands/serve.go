package commands

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"logto-email-relay/config"
	"logto-email-relay/handlers"
	"logto-email-relay/relay"
	"logto-email-relay/templates"
)

// leave bounds a clean stop. It takes the 6 s after which Logto has let go of
// its idle connections, and the time of the mails under way.
const leave = 30 * time.Second

type serveCommand struct{}

// Run serves until the context ends, and then takes leave of everybody.
func (serveCommand) Run(s *environment) error {
	if s.configFile() == "" {
		token := rand.Text()
		c := config.Development(token)
		return (&server{config: c, development: "Bearer " + token}).run(s)
	}
	c, notices, err := s.load()
	if err != nil {
		return err
	}
	return (&server{config: c, notices: notices}).run(s)
}

// server is one life of the process: build, listen, serve, drain.
type server struct {
	config  *config.Config
	notices []config.Notice
	// development is the value that webhooks must bear in development mode, and
	// empty otherwise.
	development string

	house         *house
	public, admin *handlers.Server
	logger        *slog.Logger
}

func (v *server) run(s *environment) (err error) {
	if _, chosen := s.env("GOGC"); !chosen {
		tuneCollector()
	}
	v.logger = newLogger(v.config.Log, s.out)
	for _, notice := range v.notices {
		v.logger.Warn("configuration", "notice", notice.String())
	}
	if v.house, err = build(v.config, v.providerChanged); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.house.Close()) }()
	for _, warning := range v.house.warnings {
		v.logger.Warn("template", "warning", warning)
	}
	if err := v.listen(s.ctx); err != nil {
		return err
	}
	v.logger.Info("listening", "webhook", v.public.Addr().String(), "admin", v.adminAddress(), "version", version())
	if v.development != "" {
		welcome(s.out, v.public.Addr().String(), v.adminAddress(), v.development)
	}
	return v.serve(s.ctx)
}

// listen takes both ports before anything is served.
func (v *server) listen(ctx context.Context) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		providerCollector{v.house.relay})
	public := handlers.NewPublic(handlers.Public{
		Authorization:  v.config.Server.Authorization,
		AllowedIPs:     v.config.Server.AllowedIPs,
		TrustedProxies: v.config.Server.TrustedProxies,
		Timeout:        time.Duration(v.config.Server.Timeout),
		Relay:          v.house.relay,
		Sentences:      v.house.catalogue,
		Links:          v.config.Templates.Links,
		Metrics:        handlers.NewMetrics(registry, v.house.catalogue.Types()),
		Logger:         v.logger,
	})
	var err error
	timeout := time.Duration(v.config.Server.Timeout)
	if v.public, err = handlers.Listen(ctx, v.config.Server.Address, timeout, public, v.logger); err != nil {
		return fmt.Errorf("server.address: %w", err)
	}
	if v.config.Admin.Address == "" {
		return nil
	}
	deps := handlers.Admin{
		Token:         v.config.Admin.Token,
		Ready:         v.ready,
		Metrics:       registry,
		Gallery:       gallery{v.house.catalogue},
		Branding:      v.config.Branding,
		Authorization: v.development,
		Logger:        v.logger,
	}
	if v.house.inbox != nil {
		deps.Inbox = v.house.inbox
	}
	admin := handlers.NewAdmin(deps)
	if v.admin, err = handlers.Listen(ctx, v.config.Admin.Address, handlers.AdminTimeout, admin, v.logger); err != nil {
		return errors.Join(fmt.Errorf("admin.address: %w", err), v.public.Close())
	}
	v.admin.IdleWindow = 0
	return nil
}

func (v *server) adminAddress() string {
	if v.admin == nil {
		return ""
	}
	return v.admin.Addr().String()
}

// serve answers until the context ends or a listener breaks. The admin listener
// goes last, so that a clean stop can be watched.
func (v *server) serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	group.Go(func() error { defer stop(); return v.public.Serve() })
	if v.admin != nil {
		group.Go(func() error { defer stop(); return v.admin.Serve() })
	}
	group.Go(func() error { v.signIn(ctx); return nil })

	<-ctx.Done()
	v.logger.Info("stopping", "patience", leave.String(), "hint", "a second signal ends it at once")
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leave)
	defer cancel()
	err := v.public.Drain(leaving)
	if v.admin != nil {
		err = errors.Join(err, v.admin.Drain(leaving))
	}
	if err = errors.Join(err, group.Wait()); err == nil {
		v.logger.Info("stopped")
	}
	return err
}

// providerChanged logs that a provider is put behind the others, or is back.
func (v *server) providerChanged(p relay.Status) {
	if p.Resting {
		v.logger.Warn("a provider rests", "provider", p.Name, "until", p.Until.UTC().Format(time.RFC3339), "cause", p.Cause.Error())
		return
	}
	v.logger.Info("a provider is in use again", "provider", p.Name)
}

// ready tells whether the relay should get webhooks: it is not stopping, and
// some provider is in use. A provider whose rest is over counts, because only a
// webhook can show that it is well again.
func (v *server) ready() (bool, map[string]string) {
	details := make(map[string]string)
	usable := false
	for _, p := range v.house.relay.Status() {
		state := "in use"
		if p.Resting {
			state = fmt.Sprintf("resting until %s after %v", p.Until.UTC().Format(time.RFC3339), p.Cause)
		}
		usable = usable || !p.Resting || time.Now().After(p.Until)
		details["provider "+p.Name] = state
	}
	if v.public.Draining() {
		details["server"] = "stopping"
	}
	return usable && !v.public.Draining(), details
}

// gallery is a catalogue that is read once, at the start.
type gallery struct{ *templates.Catalogue }

// Problem is nil: nothing is read again.
func (gallery) Problem() error { return nil }
