package commands

import (
	"context"
	"fmt"
	"strings"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/templates"
)

type checkCommand struct {
	Connect bool   `help:"Sign in at every provider too. No mail is sent."`
	To      string `default:"ada@example.org" placeholder:"ADDRESS" help:"Whose mails' routes to show."`
}

// Run reads everything that serve would read, and shows what it would use.
func (command checkCommand) Run(s *environment) error {
	to, err := mail.ParseRecipient(command.To)
	if err != nil {
		return fmt.Errorf("%w: --to: %w", errUsage, err)
	}
	c, notices, err := s.load()
	if err != nil {
		return err
	}
	h, err := build(c, nil)
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()

	for _, notice := range notices {
		fmt.Fprintf(s.out, "note: %s\n", notice)
	}
	for _, warning := range h.warnings {
		fmt.Fprintf(s.out, "warning: %s\n", warning)
	}
	fmt.Fprintf(s.out, "configuration: %s is fine\n", s.configFile())
	fmt.Fprintf(s.out, "languages: %s\n", strings.Join(h.catalogue.Locales(), " "))
	var found []signIn
	if command.Connect {
		ctx, cancel := context.WithTimeout(s.ctx, time.Duration(c.Server.Timeout))
		defer cancel()
		found = h.signIn(ctx, everyProvider)
	}
	failed := 0
	for i, p := range c.Providers {
		shared := p.Shared()
		fmt.Fprintf(s.out, "provider %d: %s (%s)", i+1, shared.Name, shared.Type)
		if command.Connect {
			fmt.Fprintf(s.out, ": %s", found[i])
			if found[i].err != nil {
				failed++
			}
		}
		fmt.Fprintln(s.out)
	}
	for _, kind := range h.catalogue.Types() {
		route, names := h.relay.RouteFor(relay.Request{
			To: to, Type: kind, Payload: templates.Sample(kind, ""),
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
