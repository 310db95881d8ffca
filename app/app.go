// Package app is one life of the process: it builds a graph of everything from a
// configuration, listens, signs in at the providers, serves, reloads, and stops
// without cutting anybody off.
//
// # The graph
//
// A Graph is built and checked as a whole and never changes. Requests are served
// by the current one. When the configuration, a file that it names or a template
// changes, or on SIGHUP, another graph is built and put in its place in one step;
// requests under way finish on the earlier one. Providers whose settings are the
// same go over with their connections and their health, so that no login is
// repeated. What cannot be built changes nothing, and is told in the log, by
// readiness, on the pages and in a metric.
//
// # Starting and stopping
//
// Both ports are taken before anything is served, or come from systemd, which
// keeps them open while one process follows another (see listen). A stop waits
// until callers have let go of their idle connections and mails under way have
// their answers (see handlers.Server.Drain).
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"logto-email-relay/config"
	"logto-email-relay/deliveries"
	"logto-email-relay/handlers"
	"logto-email-relay/handlers/admin"
	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/webhooks"
)

// stopTimeout bounds a clean stop. It takes the 6 s after which Logto has let go
// of its idle connections, and the time of the mails under way.
const stopTimeout = 30 * time.Second

// flushTimeout bounds how long a stop waits for the operator's endpoints to answer, and
// then for a database to take what is left.
const flushTimeout = 5 * time.Second

// Options are what a process is made of.
type Options struct {
	// Load reads the configuration, at the start and for every reload.
	Load func() (config.Loaded, error)
	// Hangups are the signals to reload.
	Hangups <-chan os.Signal
	// Version is for the log.
	Version string
	// Log is where the log goes: standard output, where containers and systemd look
	// for it.
	Log io.Writer
	// RuntimeDirectory is where the address of the public listener is left for others
	// on this machine (AddressFile); empty for nowhere.
	RuntimeDirectory string
	// Listening is told of the addresses of the two listeners once they are open,
	// that of the admin listener empty if there is none.
	Listening func(public, admin string)
}

// AddressFile is the file in the runtime directory that holds the address of the
// public listener, which may be another than the configuration says.
const AddressFile = "address"

// App is one life of the process.
type App struct {
	Options
	current  current
	registry *prometheus.Registry
	metrics  *handlers.Metrics
	log      *logHandler
	lines    *logWriter
	logger   *slog.Logger
	watcher  *watcher // nil where files cannot be watched
	files    []string // that the current graph is made of
	// refused is why the last change was not taken, nil if it was.
	refused atomic.Pointer[error]

	// record is nil where nothing is recorded, and so is sender, which tells the operator's
	// endpoints of it.
	record        *deliveries.Store
	sender        *webhooks.Sender
	public, admin *handlers.Server
	mailboxes     mailboxes
	// signedIn are the providers that were signed in at.
	signedIn map[*relay.Provider]bool
}

// Run lives until the context ends or a listener breaks. An error of the
// configuration is a *config.Error or an ErrAdmin, one of templates is an ErrTemplates.
func Run(ctx context.Context, o Options) (err error) {
	a := &App{Options: o, registry: prometheus.NewRegistry(), log: new(logHandler), signedIn: make(map[*relay.Provider]bool)}
	a.mailboxes.open = make(map[*relay.Provider]*mailbox)
	a.logger = slog.New(a.log)
	a.lines = newLogWriter(o.Log, func(lines int) { a.logger.Warn("lines of the log were lost", "lines", lines) })
	defer a.lines.Close()
	loaded, err := a.loadWatched(ctx)
	if err != nil {
		return err
	}
	if err := a.openRecord(loaded.Config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.closeRecord()) }()
	g, err := Build(loaded.Config, nil, a.providerChanged, a.recorder(), a.logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.current.get().Close()) }()
	a.metrics = handlers.NewMetrics(a.registry, g.Catalogue.Types())
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{a})
	a.use(g, loaded)
	if err := a.listen(ctx, g.Config); err != nil {
		return err
	}
	public, admin := a.public.Addr().String(), ""
	if a.admin != nil {
		admin = a.admin.Addr().String()
	}
	if o.RuntimeDirectory != "" {
		if err := os.WriteFile(filepath.Join(o.RuntimeDirectory, AddressFile), []byte(public+"\n"), 0o644); err != nil {
			a.logger.Warn("healthcheck may not find the port", "error", err.Error())
		}
	}
	a.logger.Info("listening", "webhook", public, "admin", admin, "version", o.Version)
	o.Listening(public, admin)
	return a.serve(ctx)
}

// loadWatched reads the configuration for the first time, when its files are
// watched already, so that no change is missed.
func (a *App) loadWatched(ctx context.Context) (config.Loaded, error) {
	loaded, err := a.Load()
	if err != nil {
		return loaded, err
	}
	a.log.set(loaded.Config.Log, a.lines)
	a.files = loaded.Files
	if len(a.files) == 0 { // development mode
		return loaded, nil
	}
	if a.watcher, err = newWatcher(ctx); err != nil {
		a.logger.Warn("files are not watched; send SIGHUP after a change", "error", err.Error())
	}
	a.watch(a.files, loaded.Config.Templates.Dir)
	if a.watcher != nil {
		<-a.watcher.changed // what is new to the watcher is new to us
	}
	return a.Load()
}

// openRecord begins the record, if there is to be one. It lives as long as the
// process, whatever becomes of its database.
func (a *App) openRecord(c *config.Config) (err error) {
	if c.Deliveries.Database.Reveal() == "" {
		return nil
	}
	// A reload may make the timeout longer.
	if a.record, err = deliveries.Open(c.Deliveries, config.LongestTimeout, a.logger); err != nil {
		return err
	}
	a.sender = webhooks.New(a.record, a.logger)
	return nil
}

func (a *App) closeRecord() error {
	if a.record == nil {
		return nil
	}
	calling, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	a.sender.Close(calling)
	flushing, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	err := a.record.Close(flushing)
	if err != nil { // in the log, too, where what was lost is looked for
		a.logger.Error("the record is not complete", "error", err.Error())
	}
	return err
}

// recorder is what the relay tells of mails; nil where nothing is recorded.
func (a *App) recorder() relay.Recorder {
	if a.record == nil {
		return nil
	}
	return a.record
}

// use puts a graph in place of the current one, and tells what the operator may
// want to know of its configuration.
func (a *App) use(g *Graph, loaded config.Loaded) (earlier *Graph) {
	a.log.set(g.Config.Log, a.lines)
	for _, notice := range loaded.Notices {
		a.logger.Warn("configuration", "notice", notice.String())
	}
	for _, warning := range g.Warnings {
		a.logger.Warn("template", "warning", warning)
	}
	c := g.Config
	if to := c.Recipients.Redirected(); to != "" {
		a.logger.Warn("recipients.redirectTo is set: every mail goes to one address", "to", mail.Mask(to))
	}
	public := handlers.Public{
		Authorization:  c.Server.Authorization,
		AllowedIPs:     c.Server.AllowedIPs,
		TrustedProxies: c.Server.TrustedProxies,
		Timeout:        time.Duration(c.Server.Timeout),
		Ready:          func() bool { return !a.public.Draining() },
		Providers:      g.names(),
		Relay:          g.Relay,
		Sentences:      g.Catalogue,
		Links:          c.Templates.Links,
		Metrics:        a.metrics,
		Logger:         a.logger,
	}
	pages := admin.Options{
		Token:     c.Admin.Token,
		Status:    a.status,
		Problem:   a.problem,
		Providers: g.Relay.Status,
		Metrics:   a.registry,
		Gallery:   g.Catalogue,
		Branding:  c.Branding,
		Sender:    cmp.Or(c.Sender.From.Name, c.Sender.From.Address.Address),
		Send:      g.Send,
		Logger:    a.logger,
	}
	if g.inbox != nil {
		pages.Inbox = g.inbox
	}
	if a.record != nil {
		pages.Deliveries, pages.Suppressions, pages.Lift = a.record, a.record, g.Lift
		public.Events, public.EventRecord = g.eventReceivers(), a.record
		Tell(a.record, c)
		a.sender.Use(c.Events)
	}
	g.public = handlers.NewPublic(public)
	g.admin = admin.New(pages)
	return a.current.swap(g)
}

// serve answers until the context ends or a listener breaks. The two listeners go
// together, so that a clean stop can be watched to its end.
func (a *App) serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	servers := []*handlers.Server{a.public}
	if a.admin != nil {
		servers = append(servers, a.admin)
	}
	var serving errgroup.Group
	for _, s := range servers {
		serving.Go(func() error { defer stop(); return s.Serve() })
	}
	serving.Go(func() error { a.followChanges(ctx); return nil })

	<-ctx.Done()
	a.logger.Info("stopping", "patience", stopTimeout.String(), "hint", "a second signal ends it at once")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	var draining errgroup.Group
	for _, s := range servers {
		draining.Go(func() error { return s.Drain(stopping) })
	}
	err := errors.Join(draining.Wait(), serving.Wait())
	if err == nil {
		a.logger.Info("stopped")
	}
	return err
}

// providerChanged logs that a provider is put behind the others, or is back.
func (a *App) providerChanged(p relay.Status) {
	if p.Resting {
		a.logger.Warn("a provider rests", "provider", p.Name, "until", p.Until.UTC().Format(time.RFC3339), "cause", p.Cause.Error())
		a.tellOfRest(p)
		return
	}
	a.logger.Info("a provider is in use again", "provider", p.Name)
}

// Tell has the endpoints of a configuration told of what is written to a record.
func Tell(record interface {
	Tell(wants map[string][]string, describe func(*mail.Delivery) any)
}, c *config.Config) {
	record.Tell(c.Events.Wants(), admin.DeliveryJSON)
}

// tellOfRest has the operator's endpoints told of a provider that rests.
func (a *App) tellOfRest(p relay.Status) {
	if a.record != nil && p.Resting {
		a.record.ProviderRests(p.Name, p.Until, p.Cause.Error())
	}
}

// status tells how the relay is. It is ready for webhooks unless it is stopping: while
// all providers rest it still has a sentence for the person at the sign-in page, and
// the next webhook may show that one is well again.
func (a *App) status() admin.Status {
	s := admin.Status{Ready: !a.public.Draining(), Degraded: true, Details: make(map[string]string)}
	for _, p := range a.current.get().Relay.Status() {
		state, isDue := "in use", p.IsDue(time.Now())
		switch {
		case isDue:
			state = fmt.Sprintf("to be tried again since %s, after %v", p.Until.UTC().Format(time.RFC3339), p.Cause)
		case p.Resting:
			state = fmt.Sprintf("resting until %s after %v", p.Until.UTC().Format(time.RFC3339), p.Cause)
		}
		if !p.Resting || isDue {
			s.Degraded = false
		}
		s.Details["provider "+p.Name] = state
	}
	if a.record != nil {
		state := a.record.State()
		s.Degraded = s.Degraded || !state.IsWell()
		s.Details["deliveries"] = state.String()
		for _, endpoint := range a.sender.State() {
			s.Details["events to "+endpoint.Name] = endpoint.String()
		}
	}
	switch shared, alone := a.current.get().limiter.IsShared(); {
	case alone != "":
		s.Details["limits"] = "counted by this relay alone, Redis does not answer: " + alone
	case shared:
		s.Details["limits"] = "counted in Redis"
	}
	a.mailboxes.describe(s.Details)
	if err := a.problem(); err != nil {
		s.Details["configuration"] = "the last change is refused: " + err.Error()
	}
	if problem := a.lines.problem(); problem != "" {
		s.Degraded = true
		s.Details["log"] = problem
	}
	if !s.Ready {
		s.Details["server"] = "stopping"
	}
	return s
}

// handler answers requests by the graph that is current when they come.
func (a *App) handler(of func(*Graph) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := a.current.enter()
		defer g.requests.Done()
		of(g).ServeHTTP(w, r)
	})
}
