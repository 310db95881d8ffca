package commands

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"logto-email-relay/app"
	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/templates"
)

type checkCommand struct {
	Connect bool   `help:"Sign in at every provider too. No mail is sent."`
	To      string `default:"ada@example.org" placeholder:"ADDRESS" help:"Whose mails' routes to show."`
	Tenant  string `placeholder:"NAME" help:"Which tenant's mails' routes to show."`
}

// Run reads everything that serve would read, and shows what it would use.
func (command checkCommand) Run(s *environment) error {
	to, err := mail.ParseRecipient(command.To)
	if err != nil {
		return fmt.Errorf("%w: --to: %w", errUsage, err)
	}
	loaded, g, err := s.build()
	if err != nil {
		return err
	}
	defer func() { _ = g.Close() }()
	c := loaded.Config
	if tenants := c.Server.Tenants(); command.Tenant != "" && !slices.Contains(tenants, command.Tenant) {
		return fmt.Errorf("%w: --tenant: server.authorization has the tenants %s", errUsage, cmp.Or(strings.Join(tenants, ", "), "none"))
	}

	for _, notice := range loaded.Notices {
		fmt.Fprintf(s.out, "note: %s\n", notice)
	}
	for _, warning := range g.Warnings {
		fmt.Fprintf(s.out, "warning: %s\n", warning)
	}
	fmt.Fprintf(s.out, "configuration: %s is fine\n", s.configFile())
	fmt.Fprintf(s.out, "languages: %s\n", strings.Join(g.Catalogue.Locales(), " "))
	var found []app.SignIn
	if command.Connect {
		ctx, cancel := context.WithTimeout(s.ctx, time.Duration(c.Server.Timeout))
		defer cancel()
		found = g.SignIn(ctx, func(*relay.Provider) bool { return true })
	}
	failed := 0
	for i, p := range c.Providers {
		shared := p.Shared()
		fmt.Fprintf(s.out, "provider %d: %s (%s)", i+1, shared.Name, shared.Type)
		if command.Connect {
			fmt.Fprintf(s.out, ": %s", describe(found[i]))
			if found[i].Err != nil {
				failed++
			}
		}
		fmt.Fprintln(s.out)
	}
	for _, kind := range g.Catalogue.Types() {
		route, names := g.Relay.RouteFor(relay.Request{
			Tenant: command.Tenant, To: to, Type: kind, Payload: templates.Sample(kind, ""),
		})
		taken := "no route"
		if route >= 0 {
			taken = fmt.Sprintf("routes[%d]", route)
		}
		fmt.Fprintf(s.out, "a %s to %s: %s, %s\n", kind, to, taken, strings.Join(names, " then "))
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d providers could not send", failed, len(found))
	}
	return nil
}

// describe tells the operator how signing in went.
func describe(s app.SignIn) string {
	switch {
	case !s.Known:
		return "only a mail can show whether this works (logto-email-relay send --to …)"
	case s.Err != nil:
		return "cannot send: " + s.Err.Error()
	case s.Note != "":
		return "signs in; " + s.Note
	}
	return "signs in"
}
