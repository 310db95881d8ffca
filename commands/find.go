package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"logto-email-relay/deliveries"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

const (
	// searchPatience bounds a search.
	searchPatience = 10 * time.Second
	// mostFound bounds what a search lists.
	mostFound = 100_000
)

type findCommand struct {
	Address string
	Limit   int
}

func newFind(s *environment) *cobra.Command {
	var cmd findCommand
	c := &cobra.Command{
		Use: "find ADDRESS", Short: "Tell what was sent to an address and what became of it, from the record of deliveries",
		Long: "Tell what was sent to an address and what became of it, from the record of deliveries.\n" +
			"The reference or the id of one mail may stand for the address.",
		Args: cobra.MatchAll(cobra.ExactArgs(1), noBlanks),
		RunE: s.runs(func(args []string) error {
			cmd.Address = copied(args[0])
			return cmd.run(s)
		}),
	}
	c.Flags().IntVar(&cmd.Limit, "limit", 20, "how many mails to list at most")
	return c
}

// copied is an address or a reference without what stood around it: "Ada <ada@example.com>",
// "(ref 7k3f9qab)".
func copied(text string) string {
	text = strings.TrimPrefix(mail.Copied(text), "ref ")
	if !strings.Contains(text, "@") {
		text = strings.ToLower(text)
	}
	return text
}

// run asks the database itself, whether a relay is running or not. It lists the
// mails to an address, and tells the way of the newest.
func (cmd findCommand) run(s *environment) error {
	if cmd.Limit < 1 || cmd.Limit > mostFound {
		return fmt.Errorf("%w: --limit: write a number from 1 to %d", errUsage, mostFound)
	}
	return s.withRecord(func(ctx context.Context, record *deliveries.Reader) error {
		return cmd.print(ctx, s, record)
	})
}

func (cmd findCommand) print(ctx context.Context, s *environment, record *deliveries.Reader) error {
	found, more, err := cmd.search(ctx, record)
	if err != nil {
		return fmt.Errorf("read the record of deliveries.database: %w", err)
	}
	if len(found) == 0 {
		fmt.Fprintf(s.out, "Nothing is recorded of %s.\n", settings.Printable(cmd.Address, maxShown))
		return nil
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TIME (UTC)\tREFERENCE\tTO\tTYPE\tPROVIDER\tSTATUS")
	for _, d := range found {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Time.UTC().Format(time.DateTime), mail.Reference(d.ID), d.To, d.Type, d.Provider, d.Status)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if more && cmd.Limit < mostFound {
		fmt.Fprintf(s.out, "Older ones are not shown: --limit %d shows more.\n", min(10*cmd.Limit, mostFound))
	}
	fmt.Fprintf(s.out, "\n%s, %s:\n", mail.Reference(found[0].ID), found[0].Status)
	for _, m := range deliveries.Timeline(&found[0]) {
		fmt.Fprintf(s.out, "  %s  %s\n", m.Time.UTC().Format("2006-01-02 15:04:05.0"), m.Text)
	}
	return nil
}

func (cmd findCommand) search(ctx context.Context, record *deliveries.Reader) (found []mail.Delivery, more bool, err error) {
	if !strings.Contains(cmd.Address, "@") {
		d, err := record.Get(ctx, cmd.Address)
		if errors.Is(err, deliveries.ErrNotFound) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		return []mail.Delivery{*d}, false, nil
	}
	found, next, err := record.Find(ctx, deliveries.Query{To: cmd.Address, Limit: cmd.Limit})
	return found, next != "", err
}
