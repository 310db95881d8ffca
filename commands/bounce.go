package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"logto-email-relay/app"
	"logto-email-relay/deliveries"
	"logto-email-relay/settings"
)

// longestBounce bounds what is read of a mail, in bytes. A report says in front what
// it has to say.
const longestBounce = 1 << 20

// errLater marks a failure after which a mail server is to come again with its mail.
var errLater = errors.New("not taken now")

type bounceCommand struct {
	Provider string
	// File is that of the mail; empty or "-" for standard input.
	File string
}

func newBounce(s *environment) *cobra.Command {
	var cmd bounceCommand
	c := &cobra.Command{
		Use: "bounce --provider NAME [FILE]", Short: "Take a mail that came back, from standard input, for an alias of Postfix or Exim",
		Args: cobra.MaximumNArgs(1),
		RunE: s.runs(func(args []string) error {
			cmd.File = strings.Join(args, "")
			return cmd.run(s)
		}),
	}
	c.Flags().StringVar(&cmd.Provider, "provider", "", "the `NAME` of the smtp provider whose mails come back to this alias")
	require(c, "provider")
	return c
}

// run writes to the database itself, whether a relay is running or not. It prints nothing
// when all is well, because mail servers send on what a program prints. After any failure
// they keep the mail and come again: what is wrong may be mended until then.
func (cmd bounceCommand) run(s *environment) error {
	if err := cmd.take(s); err != nil {
		return fmt.Errorf("%w: %w", errLater, err)
	}
	return nil
}

func (cmd bounceCommand) take(s *environment) error {
	message, err := cmd.read(s.ctx)
	if err != nil {
		return fmt.Errorf("read the mail: %w", err)
	}
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

// read returns the beginning of the mail.
func (cmd bounceCommand) read(ctx context.Context) ([]byte, error) {
	if cmd.File != "" && cmd.File != "-" {
		file, err := settings.OpenFile(cmd.File)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		return io.ReadAll(io.LimitReader(file, longestBounce))
	}
	var (
		message []byte
		err     error
		source  = os.Stdin
	)
	done := make(chan struct{})
	go func() {
		defer close(done)
		message, err = io.ReadAll(io.LimitReader(source, longestBounce))
		_, _ = io.Copy(io.Discard, source) // so that nobody writes into a closed pipe
	}()
	select {
	case <-done:
		return message, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
