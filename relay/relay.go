// Package relay is the straight line of one mail: route, render, send.
//
// Deliver takes what Logto asked for, chooses a route, has the mail rendered
// once, and offers it to the route's providers in order until one accepts it. A
// provider that brought templates of its own has the mail rendered from those.
// Whether a failure moves on to the next provider depends on its kind alone:
//
//	configuration, rate-limited, temporary   next provider
//	recipient, message                       stop: the same fails again
//	uncertain                                next provider once, with the same
//	                                         content, or stop, as configured
//
// # Time
//
// The context's deadline covers everything. An attempt gets half of the time
// that is left while another healthy provider waits behind it, and all of it
// otherwise, so that a provider that hangs leaves the next one its time. Nothing
// is attempted in the last moments, when it could not finish.
//
// # Providers in trouble
//
// A provider that keeps failing, is throttled or has a wrong key is put behind
// all others for a while (see health). Each has a bound on the sends under way;
// a mail that finds all of them taken waits for a moment only.
package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/templates"
)

// Renderer writes the mail: message type and language to subject, HTML and text.
type Renderer interface {
	// Locale returns the language that a mail of this type and payload is written in.
	Locale(messageType string, payload map[string]any) string
	Render(r templates.Request) (templates.Mail, error)
}

// Options are what a Relay is made of.
type Options struct {
	Renderer Renderer
	// Members are the providers in order of failover.
	Members  []Member
	Routes   []Route
	Sender   Sender
	Branding templates.Branding
	// FailUncertain ends a mail whose fate is unknown, instead of sending it
	// once more through the next provider.
	FailUncertain bool
	// Changed is told when a provider begins to rest and when it is well again;
	// nil if nobody wants to know. It must not wait for anything.
	Changed func(Status)
}

// Member is a provider as the relay knows it.
type Member struct {
	Name     string
	Provider providers.Provider
	// Sender is the sender of the provider's own settings, if any.
	Sender providers.Sender
	// Renderer writes this provider's mails from templates of its own settings;
	// nil if it has none.
	Renderer Renderer
	// Timeout bounds one attempt; zero for no bound of its own.
	Timeout time.Duration
	// MaxConcurrent bounds the sends under way at a time.
	MaxConcurrent int
}

// Relay sends mails. It is safe for use by many goroutines at a time.
type Relay struct {
	renderer      Renderer
	members       []*member // in order of failover
	routes        []Route
	paths         []path // of the routes
	general       path   // for mails that no route takes
	sender        Sender
	failUncertain bool
	changed       func(Status)
}

type member struct {
	Member
	health health
	slots  chan struct{}
}

// New makes a Relay. It fails when a route names a provider that does not exist.
func New(o Options) (*Relay, error) {
	r := &Relay{renderer: o.Renderer, routes: o.Routes, sender: o.Sender,
		failUncertain: o.FailUncertain, changed: o.Changed}
	if r.changed == nil {
		r.changed = func(Status) {}
	}
	byName := make(map[string]*member)
	for _, m := range o.Members {
		one := &member{Member: m, slots: make(chan struct{}, m.MaxConcurrent)}
		r.members = append(r.members, one)
		byName[m.Name] = one
	}
	r.general = path{-1, r.members, nil, o.Branding}
	for i, route := range o.Routes {
		members := r.members
		if len(route.Providers) > 0 {
			members = nil
		}
		for _, name := range route.Providers {
			one, found := byName[name]
			if !found {
				return nil, fmt.Errorf("routes[%d] names provider %q, which does not exist", i, name)
			}
			members = append(members, one)
		}
		r.paths = append(r.paths, path{i, members, route.Sender, override(o.Branding, route.Branding)})
	}
	return r, nil
}

// Deliver sends one mail. A nil error means that a provider accepted it; any
// other end is a *Error. The context must have a deadline.
func (r *Relay) Deliver(ctx context.Context, request Request) (Receipt, error) {
	walk, err := r.prepare(request)
	if err != nil {
		return Receipt{}, err
	}
	receipt, err := walk.offer(ctx)
	if err != nil {
		return Receipt{}, walk.failed(err)
	}
	receipt.Attempts = walk.attempts
	return receipt, nil
}

// prepare makes a mail ready to be offered. It is apart from Deliver so that its
// stack is given back before the wait for a provider.
func (r *Relay) prepare(request Request) (*walk, error) {
	locale := r.renderer.Locale(request.Type, request.Payload)
	w := &walk{relay: r, request: request, path: r.pathFor(&request, locale), locale: locale}
	mail, err := w.render(r.renderer)
	if err != nil {
		return nil, &Error{Reason: Internal, Locale: locale, Err: fmt.Errorf("render: %w", err)}
	}
	w.locale, w.mail, w.start = mail.Locale, mail, time.Now()
	return w, nil
}

// path is where a route leads its mails.
type path struct {
	route    int // index in routes, -1 for none
	members  []*member
	sender   *Sender
	branding templates.Branding
}

func (r *Relay) pathFor(request *Request, locale string) *path {
	if len(r.routes) > 0 {
		seen := traitsOf(request, locale)
		for i := range r.routes {
			if r.routes[i].matches(&seen) {
				return &r.paths[i]
			}
		}
	}
	return &r.general
}

// override lays a route's branding over the general one, key by key.
func override(branding templates.Branding, by *templates.Branding) templates.Branding {
	if by == nil {
		return branding
	}
	for _, key := range []struct{ to, from *string }{
		{&branding.SenderName, &by.SenderName},
		{&branding.CompanyInformation, &by.CompanyInformation},
		{&branding.AppLogo, &by.AppLogo},
		{&branding.AppLogoDark, &by.AppLogoDark},
		{&branding.Color, &by.Color},
	} {
		if *key.from != "" {
			*key.to = *key.from
		}
	}
	if !by.Support.IsZero() {
		branding.Support = by.Support
	}
	return branding
}

// write returns the mail for a provider, from the provider's own templates if it
// has some.
func (w *walk) write(m *member) (*templates.Mail, error) {
	if m.Renderer != nil {
		return w.render(m.Renderer)
	}
	if first := w.mail; first != nil {
		w.mail = nil
		return first, nil
	}
	return w.render(w.relay.renderer)
}

func (w *walk) render(by Renderer) (*templates.Mail, error) {
	mail, err := by.Render(templates.Request{
		Type: w.request.Type, Locale: w.locale, Payload: w.request.Payload, Branding: w.path.branding,
	})
	return &mail, err
}

// compose makes the message, but for its sender.
func (w *walk) compose(written *templates.Mail) *mail.Message {
	message := &mail.Message{
		ID:      w.request.ID,
		Date:    w.start,
		To:      w.request.To,
		Subject: written.Subject,
		Text:    written.Text,
		HTML:    written.HTML,
		Locale:  written.Locale,
		Type:    w.request.Type,
		Payload: w.request.Payload,
		Headers: []mail.Header{
			// RFC 3834 and MS-OXCMAIL: no vacation replies and read receipts.
			{Name: "Auto-Submitted", Value: "auto-generated"},
			{Name: "X-Auto-Response-Suppress", Value: "All"},
			// Keeps Gmail from folding the newest code under older ones.
			{Name: "X-Entity-Ref-ID", Value: w.request.ID},
			{Name: "Content-Language", Value: written.Locale},
		},
	}
	if written.Locale == "" {
		message.Headers = message.Headers[:len(message.Headers)-1]
	}
	if written.Stored != nil {
		message.Stored = written.Stored
	}
	return message
}

// message makes the whole message for a provider. Its sender is the route's,
// else the provider's own, where a template may have a reply address of its own,
// else the general one.
func (w *walk) message(m *member, written *templates.Mail) *mail.Message {
	message := w.compose(written)
	from, replyTo := w.relay.sender.From, w.relay.sender.ReplyTo
	if !m.Sender.From.IsZero() {
		from = m.Sender.From
	}
	if !m.Sender.ReplyTo.IsZero() {
		replyTo = m.Sender.ReplyTo
	}
	if written.ReplyTo.Address != "" {
		replyTo.Address = written.ReplyTo
	}
	if s := w.path.sender; s != nil {
		if !s.From.IsZero() {
			from = s.From
		}
		if !s.ReplyTo.IsZero() {
			replyTo = s.ReplyTo
		}
	}
	message.From, message.ReplyTo = from.Address, replyTo.Address
	if message.From.Name == "" {
		message.From.Name = w.path.branding.SenderName
	}
	message.MessageID = message.ID + "@" + mail.Domain(message.From.Address)
	return message
}

// errNobodyAccepted is the cause of a mail that all its providers failed; what
// each of them said stands in the attempts.
var errNobodyAccepted = errors.New("no provider accepted the mail")

// Status is the state of one provider, for probes, metrics and the log.
type Status struct {
	Name string
	// Resting tells that the provider is put behind all others, and Until when
	// the next mail tries it in its turn again.
	Resting bool
	Until   time.Time
	// Cause is why it rests.
	Cause *providers.Error
	// InFlight is how many sends are under way, of MaxConcurrent at most.
	InFlight, MaxConcurrent int
}

// Status returns the state of every provider in order of failover.
func (r *Relay) Status() []Status {
	list := make([]Status, 0, len(r.members))
	for _, m := range r.members {
		list = append(list, m.status())
	}
	return list
}

func (m *member) status() Status {
	m.health.mu.Lock()
	defer m.health.mu.Unlock()
	status := Status{Name: m.Name, Resting: m.health.resting, InFlight: len(m.slots), MaxConcurrent: cap(m.slots)}
	if m.health.resting {
		status.Until, status.Cause = m.health.restUntil, m.health.cause
	}
	return status
}

// Suspend puts a provider behind all others because of a failure to sign in, as
// if mails had failed.
func (r *Relay) Suspend(name string, cause *providers.Error) {
	for _, m := range r.members {
		if m.Name == name {
			m.health.suspend(cause, time.Now())
		}
	}
}

// Resume ends a provider's rest, because it could be signed in at.
func (r *Relay) Resume(name string) {
	for _, m := range r.members {
		if m.Name == name && m.health.record(nil, time.Now()) {
			r.changed(m.status())
		}
	}
}

// Way tells which route a request takes, counted from 0, or -1 when none
// matches, and which providers it would be offered to.
func (r *Relay) Way(request Request) (route int, names []string) {
	path := r.pathFor(&request, r.renderer.Locale(request.Type, request.Payload))
	for _, m := range path.members {
		names = append(names, m.Name)
	}
	return path.route, names
}
