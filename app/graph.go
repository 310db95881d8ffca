package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"logto-email-relay/config"
	"logto-email-relay/deliveries"
	"logto-email-relay/handlers"
	"logto-email-relay/limits"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/recipients"
	"logto-email-relay/relay"
	"logto-email-relay/templates"
)

// Graph is everything between the listeners and the mail services, built from one
// configuration. It never changes: a reload builds another one.
type Graph struct {
	Config    *config.Config
	Catalogue *templates.Catalogue
	Relay     *relay.Relay
	// Warnings are what the operator may want to mend in templates.
	Warnings []string

	members []relay.Member
	kept    int // members taken over from an earlier graph
	// inbox is the provider that shows its mails, if there is one.
	inbox   *providers.Inbox
	limiter *limits.Limiter
	// public and admin answer the requests of the two listeners.
	public, admin http.Handler
	requests      sync.WaitGroup // under way
}

// deadLocales tells of routes for languages that no mail is written in.
func deadLocales(c *config.Config, catalogue *templates.Catalogue) (warnings []string) {
	for i, route := range c.Routes {
		for _, wanted := range route.Locales {
			if !slices.ContainsFunc(catalogue.Locales(), func(locale string) bool { return templates.MatchLocale(wanted, locale) }) {
				warnings = append(warnings, fmt.Sprintf("routes[%d].locales: no mail is written in %s, so that none takes this route for it; there are %s",
					i, wanted, strings.Join(catalogue.Locales(), ", ")))
			}
		}
	}
	return warnings
}

// writtenInEnglish tells of the mails that the default language has no templates for.
func writtenInEnglish(c *config.Config, catalogue *templates.Catalogue) []string {
	const english = "en"
	if templates.MatchLocale(english, c.Templates.DefaultLocale) {
		return nil
	}
	missing := slices.DeleteFunc(templates.Types(), func(messageType string) bool { return catalogue.Locale(messageType, nil) != english })
	if len(missing) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("templates.defaultLocale: %s has no templates for %s, so that these are written in English for all who have no other language; "+
		"add them, or Generic for all of them", c.Templates.DefaultLocale, strings.Join(missing, ", "))}
}

// CheckStores asks the Redis of limits and the PostgreSQL of the record, looks whether a file for
// SQLite could be written, and returns why one cannot be used, nil if it can, by the section
// that names it.
func (g *Graph) CheckStores(ctx context.Context) map[string]error {
	found := make(map[string]error)
	if shared, _ := g.limiter.IsShared(); shared {
		found["limits"] = g.limiter.CheckRedis()
	}
	switch record := &g.Config.Deliveries; {
	case record.InPostgres():
		found["deliveries"] = checkPostgres(ctx, *record)
	case record.InFile():
		found["deliveries"] = record.CheckFile()
	}
	return found
}

func checkPostgres(ctx context.Context, s deliveries.Settings) error {
	record, err := deliveries.OpenReader(s)
	if err != nil {
		return err
	}
	defer func() { _ = record.Close() }()
	return record.CheckPostgres(ctx)
}

// Build makes a graph from a checked configuration. It connects to nothing, and
// takes over the providers of an earlier graph, if there is one, whose settings are
// the same: their connections, their health and the sends under way. changed is
// told of providers in trouble, and recorder of mails, unless they are nil; the logger
// hears of a Redis in trouble.
func Build(c *config.Config, earlier *Graph, changed func(relay.Status), recorder relay.Recorder, logger *slog.Logger) (*Graph, error) {
	catalogue, err := templates.Open(c.Templates)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplates, err)
	}
	g := &Graph{Config: c, Catalogue: catalogue, Warnings: slices.Concat(catalogue.Warnings(), writtenInEnglish(c, catalogue), deadLocales(c, catalogue))}
	var faults []error
	for i, s := range c.Providers {
		member, err := g.member(s, i, earlier)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		g.members = append(g.members, member)
		if inbox, ok := member.Service.(*providers.Inbox); ok {
			g.inbox = inbox
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(append(faults, g.close(earlier))...)
	}
	var limited *limits.Limiter
	if earlier != nil {
		limited = earlier.limiter
	}
	if g.limiter, err = limits.New(c.Limits, limited, logger); err != nil {
		return nil, errors.Join(err, g.close(earlier))
	}
	var domains relay.Domains
	if !c.OnlyInbox() {
		domains = recipients.NewDomains(logger)
	}
	g.Relay, err = relay.New(relay.Options{
		Renderer:      catalogue,
		Members:       g.members,
		Routes:        c.Routes,
		Sender:        c.Sender,
		Branding:      c.Branding,
		Limits:        g.limiter,
		Recipients:    c.Recipients,
		Domains:       domains,
		FailUncertain: c.Uncertain == config.Fail,
		Recorder:      recorder,
		Changed:       changed,
	})
	if err != nil {
		return nil, errors.Join(err, g.close(earlier))
	}
	return g, nil
}

// ErrTemplates marks operator's templates that cannot be used, a mistake like
// one in the configuration.
var ErrTemplates = errors.New("templates")

func (g *Graph) member(s providers.Settings, index int, earlier *Graph) (relay.Member, error) {
	renderer, err := g.renderer(s, index)
	if err != nil {
		return relay.Member{}, fmt.Errorf("%w: %w", ErrTemplates, err)
	}
	if kept := earlier.providerOf(s); kept != nil {
		g.kept++
		return relay.Member{Provider: kept, Renderer: renderer}, nil
	}
	shared := s.Shared()
	service, err := s.Open()
	if err != nil {
		return relay.Member{}, fmt.Errorf("provider %s: %w", shared.Name, err)
	}
	return relay.Member{Renderer: renderer, Provider: relay.NewProvider(relay.ProviderOptions{
		Name:          shared.Name,
		Service:       service,
		Sender:        s.Sender(),
		Timeout:       time.Duration(shared.Timeout),
		MaxConcurrent: shared.Concurrent(),
	})}, nil
}

// providerOf returns the provider that has the same settings, nil if none has.
func (g *Graph) providerOf(s providers.Settings) *relay.Provider {
	if g == nil {
		return nil
	}
	for i, own := range g.Config.Providers {
		if config.SameProvider(own, s) {
			return g.members[i].Provider
		}
	}
	return nil
}

// renderer lays the templates of a provider's own settings over the catalogue;
// nil if there are none.
func (g *Graph) renderer(s providers.Settings, index int) (relay.Renderer, error) {
	mails := s.Mails()
	if len(mails) == 0 {
		return nil, nil
	}
	for i := range mails {
		mails[i].Key = fmt.Sprintf("providers[%d].%s", index, mails[i].Key)
	}
	overlay, err := g.Catalogue.With(mails)
	if err != nil {
		return nil, err
	}
	g.Warnings = append(g.Warnings, overlay.Warnings()...)
	return overlay, nil
}

// Close lets go of the providers' connections.
func (g *Graph) Close() error { return g.close(nil) }

// close lets go of the connections of the providers that another graph has not.
func (g *Graph) close(other *Graph) error {
	var errs []error
	for _, m := range g.members {
		if closer, ok := m.Service.(io.Closer); ok && !other.has(m.Provider) {
			errs = append(errs, closer.Close())
		}
	}
	var next *limits.Limiter
	if other != nil {
		next = other.limiter
	}
	return errors.Join(append(errs, g.limiter.Close(next))...)
}

// Lift takes an address off the lists of all services that have one and let us, at the
// same time. It returns what each provider said: "lifted", or why not.
func (g *Graph) Lift(ctx context.Context, address string) map[string]string {
	var mu sync.Mutex
	var asking sync.WaitGroup
	said := make(map[string]string)
	for _, m := range g.members {
		lifter, ok := m.Service.(providers.Lifter)
		if !ok {
			continue
		}
		asking.Go(func() {
			answer := "lifted"
			if err := lifter.Lift(ctx, address); err != nil {
				answer = "not possible: " + err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			said[m.Name] = answer
		})
	}
	asking.Wait()
	return said
}

// names are those of all providers.
func (g *Graph) names() (list []string) {
	for _, m := range g.members {
		list = append(list, m.Name)
	}
	return list
}

// eventReceivers are the providers, by name, whose settings say how to verify events.
func (g *Graph) eventReceivers() map[string]handlers.EventReceiver {
	receivers := make(map[string]handlers.EventReceiver)
	for i, s := range g.Config.Providers {
		if takes, ok := s.(providers.EventSettings); ok && takes.TakesEvents() {
			if receiver, ok := g.members[i].Service.(providers.EventReceiver); ok {
				receivers[s.Shared().Name] = receiver
			}
		}
	}
	return receivers
}

func (g *Graph) has(p *relay.Provider) bool {
	if g == nil {
		return false
	}
	for _, m := range g.members {
		if m.Provider == p {
			return true
		}
	}
	return false
}

// SignIn is what became of an attempt to sign in at a provider.
type SignIn struct {
	Provider *relay.Provider
	// Known is false where only a mail could tell.
	Known bool
	// Note is what the operator should know although it worked.
	Note string
	// Err is why it did not work, a *providers.Error.
	Err error
}

// SignIn signs in at the wanted providers at the same time, and gives up with
// the context. The answers are in the order of the configuration.
func (g *Graph) SignIn(ctx context.Context, wanted func(*relay.Provider) bool) []SignIn {
	found := make([]SignIn, len(g.members))
	var group sync.WaitGroup
	for i, m := range g.members {
		found[i].Provider = m.Provider
		verifier, ok := m.Service.(providers.Verifier)
		if !ok || !wanted(m.Provider) {
			continue
		}
		found[i].Known = true
		group.Go(func() { found[i].Note, found[i].Err = verifier.Verify(ctx) })
	}
	group.Wait()
	return found
}

// Send sends a mail on the way of those from Logto, within their time.
func (g *Graph) Send(ctx context.Context, to, messageType string, payload map[string]any) *mail.Delivery {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(g.Config.Server.Timeout))
	defer cancel()
	return g.Relay.Deliver(ctx, relay.Request{ID: mail.NewID(), To: to, Type: messageType, Payload: payload})
}
