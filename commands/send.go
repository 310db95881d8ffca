package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/relay"
)

type sendCommand struct {
	To     string `required:"" placeholder:"ADDRESS" help:"Who gets the mail."`
	Type   string `default:"Generic" help:"Logto's message type."`
	Locale string `help:"The language to ask for, as a BCP 47 tag; the default language otherwise."`
}

// Run sends one sample mail the way that a webhook's mail goes: same templates,
// same routes, same providers, same deadline.
func (cmd sendCommand) Run(s *environment) error {
	to, err := mail.ParseRecipient(cmd.To)
	if err != nil {
		return fmt.Errorf("%w: --to: %w", errUsage, err)
	}
	c, _, err := s.load()
	if err != nil {
		return err
	}
	h, err := build(c, nil)
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()

	ctx, cancel := context.WithTimeout(s.ctx, time.Duration(c.Server.Timeout))
	defer cancel()
	start := time.Now()
	receipt, err := h.relay.Deliver(ctx, relay.Request{
		ID: mail.NewID(), To: to, Type: cmd.Type, Payload: h.catalogue.Sample(cmd.Type, cmd.Locale),
	})
	var failure *relay.Error
	if errors.As(err, &failure) {
		for _, attempt := range failure.Attempts {
			fmt.Fprintf(s.errOut, "%s, after %v: %v\n", attempt.Provider, attempt.Duration.Round(time.Millisecond), attempt.Err)
		}
	}
	if err != nil {
		return err
	}
	for _, attempt := range receipt.Attempts {
		if attempt.Err != nil {
			fmt.Fprintf(s.errOut, "%s, after %v: %v\n", attempt.Provider, attempt.Duration.Round(time.Millisecond), attempt.Err)
		}
	}
	_, err = fmt.Fprintf(s.out, "%s accepted the mail in %v, in %s, with id %s\n",
		receipt.Provider, time.Since(start).Round(time.Millisecond), receipt.Locale, receipt.ID)
	return err
}
