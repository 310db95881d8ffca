package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"logto-email-relay/app"
	"logto-email-relay/deliveries"
)

// longestBounce bounds what is read of a mail, in bytes. A report says in front what
// it has to say.
const longestBounce = 1 << 20

// errLater marks a failure after which a mail server is to come again with its mail.
var errLater = errors.New("not taken now")

type bounceCommand struct {
	Provider string   `required:"" help:"The name of the smtp provider whose mails come back to this alias."`
	Message  *os.File `arg:"" default:"-" help:"The mail; standard input when not given."`
}

// Run writes to the database itself, whether a relay is running or not. It prints nothing
// when all is well, because mail servers send on what a program prints. After any failure
// they keep the mail and come again: what is wrong may be mended until then.
func (cmd bounceCommand) Run(s *environment) error {
	if err := cmd.take(s); err != nil {
		return fmt.Errorf("%w: %w", errLater, err)
	}
	return nil
}

func (cmd bounceCommand) take(s *environment) error {
	message, err := io.ReadAll(io.LimitReader(cmd.Message, longestBounce))
	if err != nil {
		return fmt.Errorf("read the mail: %w", err)
	}
	_, _ = io.Copy(io.Discard, cmd.Message) // so that nobody writes into a closed pipe
	loaded, err := s.load()
	if err != nil {
		return err
	}
	reports, err := app.ReadBounce(loaded.Config, cmd.Provider, message)
	if err != nil {
		return err
	}
	if len(reports) == 0 {
		return nil
	}
	return s.withRecord(func(ctx context.Context, record *deliveries.Reader) error {
		app.Tell(record, loaded.Config)
		if _, _, err := record.Apply(ctx, reports); err != nil {
			return fmt.Errorf("write the record: %w", err)
		}
		return nil
	})
}
