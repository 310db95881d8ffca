package commands

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// knownType refuses what is no message type of Logto's.
func knownType(written string) error {
	if slices.Contains(templates.Types(), written) {
		return nil
	}
	if near := settings.Nearest(written, templates.Types()); near != "" {
		return fmt.Errorf("%w: --type: Logto has no message type %q, did you mean %s?", errUsage, written, near)
	}
	return fmt.Errorf("%w: --type: Logto has no message type %q; it has %s", errUsage, written, strings.Join(templates.Types(), ", "))
}

type sendCommand struct {
	To, Type, Locale string
}

func newSend(s *environment) *cobra.Command {
	var cmd sendCommand
	c := &cobra.Command{
		Use: "send --to ADDRESS", Short: "Send a sample mail through the production path", Args: noArguments,
		RunE: s.runs(func([]string) error { return cmd.run(s) }),
	}
	c.Flags().StringVar(&cmd.To, "to", "", "the `ADDRESS` that gets the mail")
	c.Flags().StringVar(&cmd.Type, "type", "Generic", "Logto's message `TYPE`")
	c.Flags().StringVar(&cmd.Locale, "locale", "", "the language to ask for, a BCP 47 `TAG`; the default language otherwise")
	require(c, "to")
	return c
}

// run sends one sample mail the way that a webhook's mail goes: same templates,
// same routes, same providers, same deadline.
func (cmd sendCommand) run(s *environment) error {
	to, err := mail.ParseRecipient(mail.Copied(cmd.To))
	if err != nil {
		return fmt.Errorf("%w: --to: %w", errUsage, err)
	}
	if err := knownType(cmd.Type); err != nil {
		return err
	}
	_, g, err := s.build()
	if err != nil {
		return err
	}
	defer func() { _ = g.Close() }()

	d := g.Send(s.ctx, to, cmd.Type, g.Catalogue.Sample(cmd.Type, cmd.Locale))
	for _, a := range d.Attempts {
		if a.Kind != mail.AttemptAccepted {
			fmt.Fprintf(s.errOut, "%s, after %v: %s\n", a.Provider, a.Duration.Round(time.Millisecond), a)
		}
	}
	if !d.Accepted() {
		return fmt.Errorf("%s: %s", d.Reason, cmp.Or(d.Cause, "no provider accepted the mail"))
	}
	_, err = fmt.Fprintf(s.out, "%s accepted the mail in %v, in %s, with id %s\n",
		d.Provider, d.Duration.Round(time.Millisecond), d.Locale, d.ProviderID)
	return err
}
