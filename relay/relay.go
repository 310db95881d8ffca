// Package relay is the straight line of one mail: route, admit, render, send, record.
//
// Deliver takes what Logto asked for, decides the language and the route, asks
// whether the mail may be sent at all (admit.go), and makes an attempt at the route's
// providers in order until one accepts the mail (attempt.go; deliver.go has all steps,
// from the first to the last). Whether a failure moves on to the next provider depends
// on its kind alone:
//
//	configuration, rate-limited, temporary   next provider
//	recipient, message                       stop: the same fails again
//	uncertain                                next provider once, with the same
//	                                         content, or stop, as configured
//
// # Rendering
//
// A mail is rendered in the attempt that needs it, and once for all attempts that
// share a renderer. A provider that brought templates of its own has a renderer of
// its own.
//
// # Time
//
// The context's deadline covers everything. An attempt gets half of the time
// that is left while another healthy provider waits behind it, and all of it
// otherwise, so that a provider that hangs leaves the next one its time. Nothing
// is attempted in the last moments, when it could not finish. When all have failed
// and the trouble of some may pass, the mail is tried there again, after growing
// pauses or when they asked for it, for as long as its time allows (later.go).
// Meanwhile it holds nobody's place.
//
// # Providers in trouble
//
// A provider that keeps failing, is throttled or has a wrong key is put behind
// all others for a while (see health). Each has a bound on the sends under way;
// a mail that finds all of them taken waits for a moment only. Both belong to the
// Provider, which outlives the Relay when a new configuration leaves it as it was.
package relay

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"logto-email-relay/limits"
	"logto-email-relay/mail"
	"logto-email-relay/recipients"
	"logto-email-relay/templates"
)

// Renderer writes mails: message type and language to subject, HTML and text.
type Renderer interface {
	// Locale returns the language that a mail of a type is written in for the
	// reader of this payload.
	Locale(messageType string, payload map[string]any) string
	// Render writes one mail in the language that the request names.
	Render(r templates.Request) (*templates.Mail, error)
}

// Limits count mails against abuse.
type Limits interface {
	// Take counts a mail, or returns why it may not be sent now.
	Take(ctx context.Context, m limits.Mail) *limits.Refusal
}

// Domains know which domains take mail.
type Domains interface {
	// Refusal returns why a domain takes no mail; empty if it does, or if nobody can
	// say.
	Refusal(ctx context.Context, domain string) string
}

// Recorder keeps what becomes of each mail, and knows the addresses that get none for
// a while.
type Recorder interface {
	// Suppressed tells whether an address is to get no mails now. It answers quickly, or
	// no.
	Suppressed(ctx context.Context, to string) bool
	// Begin is told of a mail before its first attempt, and waits for nothing.
	Begin(d *mail.Delivery)
	// Finish is told of the verdict, and returns when that is safe, or cannot be soon.
	Finish(ctx context.Context, d *mail.Delivery)
}

// Options are what a Relay is made of.
type Options struct {
	// Renderer writes the mails of all providers without one of their own, and
	// decides the language of every mail.
	Renderer Renderer
	// Members are the providers in order of failover.
	Members  []Member
	Routes   []Route
	Sender   Sender
	Branding templates.Branding
	// Limits bound how many mails there are; nil for no bounds.
	Limits Limits
	// Recipients say who may get mail.
	Recipients recipients.Settings
	// Domains know which domains take mail; nil for all.
	Domains Domains
	// FailUncertain ends a mail whose fate is unknown, instead of sending it
	// once more through the next provider.
	FailUncertain bool
	// Recorder keeps what becomes of the mails; nil if nobody does.
	Recorder Recorder
	// Changed is told when a provider begins to rest and when it is well again;
	// nil if nobody wants to know. It must not wait for anything.
	Changed func(Status)
}

// Member is a provider of one configuration.
type Member struct {
	*Provider
	// Renderer writes this provider's mails from templates of its own settings;
	// nil if it has none.
	Renderer Renderer
}

// Request is one mail that Logto asks for, validated.
type Request struct {
	// ID is the id of the webhook and its mail (see mail.NewID).
	ID string
	// Tenant is whose webhook it was; empty where callers have no names.
	Tenant string
	// Trace is the id by which the callers know the webhook; empty if they gave none.
	Trace string
	// To is the recipient as mail.ParseRecipient returns it.
	To string
	// Type is Logto's message type; one that the templates do not know is sent
	// as Generic.
	Type string
	// Payload is the JSON object that came with it, numbers as json.Number.
	Payload map[string]any
	// IP is the address of whoever asked for the mail as Logto gave it, which may
	// be any text; empty if it gave none.
	IP string
}

// Relay sends mails. It is safe for use by many goroutines at a time.
type Relay struct {
	renderer      Renderer
	members       []Member // in order of failover
	routes        []routed
	unrouted      routed // for mails that no route takes
	sender        Sender
	limits        Limits
	domains       Domains
	failUncertain bool
	recorder      Recorder
	changed       func(Status)
	waiting       atomic.Int64 // mails that come again later
}

// New makes a Relay. It fails when a route names a provider that does not exist.
func New(o Options) (*Relay, error) {
	r := &Relay{renderer: o.Renderer, members: o.Members, sender: o.Sender,
		limits: o.Limits, domains: o.Domains, failUncertain: o.FailUncertain, recorder: o.Recorder, changed: o.Changed}
	if r.changed == nil {
		r.changed = func(Status) {}
	}
	byName := make(map[string]Member)
	var all []group
	for _, m := range o.Members {
		byName[m.Name] = m
		all = append(all, group{{m, 1}})
	}
	r.unrouted = routed{index: -1, groups: all, members: r.members, branding: o.Branding, recipients: o.Recipients}
	for i, route := range o.Routes {
		groups, members := all, r.members
		if len(route.Providers) > 0 {
			groups, members = nil, nil
		}
		for _, named := range route.Providers {
			var g group
			for _, share := range named {
				m, found := byName[share.Name]
				if !found {
					return nil, fmt.Errorf("routes[%d] names provider %q, which does not exist", i, share.Name)
				}
				if slices.ContainsFunc(members, func(earlier Member) bool { return earlier.Provider == m.Provider }) {
					continue // a mail is in one place of its line
				}
				g, members = append(g, weighted{m, share.Weight}), append(members, m)
			}
			if len(g) > 0 {
				groups = append(groups, g)
			}
		}
		r.routes = append(r.routes, routed{Route: route, index: i, key: route.conditions(), groups: groups, members: members,
			branding: override(o.Branding, route.Branding), recipients: o.Recipients.OverriddenBy(route.Recipients)})
	}
	return r, nil
}

// Status returns the state of every provider in order of failover.
func (r *Relay) Status() []Status {
	list := make([]Status, 0, len(r.members))
	for _, m := range r.members {
		list = append(list, m.Status())
	}
	return list
}

// RouteFor tells which route a request takes, counted from 0, or -1 when none
// matches, and which providers it would be sent through, group by group.
func (r *Relay) RouteFor(request Request) (route int, providers []Group) {
	d := r.begin(&request)
	for _, members := range d.route.groups {
		var g Group
		for _, m := range members {
			g = append(g, Share{m.Name, m.weight})
		}
		providers = append(providers, g)
	}
	return d.Route, providers
}
