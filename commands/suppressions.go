package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"logto-email-relay/deliveries"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

func newSuppressions(s *environment) *cobra.Command {
	list := s.runs(func(args []string) error { return suppressionsList{Address: copied(strings.Join(args, ""))}.run(s) })
	c := &cobra.Command{
		Use: "suppressions [ADDRESS]", Short: "List, add and lift addresses that get no mails for a while",
		Args: cobra.MatchAll(cobra.MaximumNArgs(1), noBlanks), RunE: list,
	}
	var add suppressionsAdd
	adding := &cobra.Command{
		Use: "add ADDRESS", Short: "Keep mails from an address for a while", Args: cobra.ExactArgs(1),
		RunE: s.runs(func(args []string) error {
			add.Address = copied(args[0])
			return add.run(s)
		}),
	}
	adding.Flags().StringVar(&add.For, "for", "24h", "for how `LONG`, such as 24h or 30d")
	adding.Flags().StringVar(&add.Note, "note", "", "why, a `TEXT` for those who see the list")
	c.AddCommand(
		&cobra.Command{
			Use: "list [ADDRESS]", Short: "List the addresses that get no mails now, or one of them (the default)",
			Args: cobra.MatchAll(cobra.MaximumNArgs(1), noBlanks), RunE: list,
		},
		adding,
		&cobra.Command{
			Use: "lift ADDRESS", Short: "Let an address get mails again, here and at the providers that keep a list of their own",
			Args: cobra.ExactArgs(1),
			RunE: s.runs(func(args []string) error { return suppressionsLift{Address: copied(args[0])}.run(s) }),
		},
	)
	return c
}

type suppressionsList struct {
	Address string // empty for all
}

// run asks the database itself, whether a relay is running or not.
func (cmd suppressionsList) run(s *environment) error {
	if cmd.Address != "" {
		if _, err := mail.ParseRecipient(cmd.Address); err != nil { // such as a command that there is not
			return fmt.Errorf("%w: write add, lift, list or an address: %w", errUsage, err)
		}
	}
	return s.withRecord(func(ctx context.Context, record *deliveries.Reader) error {
		list, err := record.Suppressions(ctx, cmd.Address)
		if err != nil {
			return fmt.Errorf("read the suppressions of deliveries.database: %w", err)
		}
		if len(list) == 0 {
			fmt.Fprintln(s.out, "No address is suppressed.")
			return nil
		}
		table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ADDRESS\tREASON\tPROVIDER\tSINCE (UTC)\tUNTIL (UTC)")
		for _, one := range list {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", one.To, one.Reason, one.Provider, one.Since.Format(time.DateTime), one.Until.Format(time.DateTime))
		}
		return table.Flush()
	})
}

type suppressionsAdd struct {
	Address, For, Note string
}

// run writes to the database itself. A relay that is running knows with the next mail.
func (cmd suppressionsAdd) run(s *environment) error {
	to, err := mail.ParseRecipient(cmd.Address)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	var length settings.Duration
	if err := length.UnmarshalText([]byte(cmd.For)); err != nil || length == 0 {
		return fmt.Errorf(`%w: --for: write a time such as "24h" or "30d"`, errUsage)
	}
	return s.withRecord(func(ctx context.Context, record *deliveries.Reader) error {
		held, err := record.Suppress(ctx, to, time.Duration(length), cmd.Note)
		if err != nil {
			return fmt.Errorf("write the suppression: %w", err)
		}
		fmt.Fprintf(s.out, "%s gets no mails until %s UTC.\n", to, held.Until.Format(time.DateTime))
		return nil
	})
}

type suppressionsLift struct {
	Address string
}

// run takes the address out of the database, and asks the providers to do the same.
func (cmd suppressionsLift) run(s *environment) error {
	to, err := mail.ParseRecipient(cmd.Address)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return s.withRecord(func(ctx context.Context, record *deliveries.Reader) error {
		_, g, err := s.build()
		if err != nil {
			return err
		}
		defer func() { _ = g.Close() }()
		lifted, err := record.Lift(ctx, to)
		if err != nil {
			return fmt.Errorf("lift the suppression: %w", err)
		}
		if lifted {
			fmt.Fprintf(s.out, "%s gets mails again.\n", to)
		} else {
			fmt.Fprintf(s.out, "%s was not suppressed here.\n", to)
		}
		said := g.Lift(ctx, to)
		for _, name := range slices.Sorted(maps.Keys(said)) {
			fmt.Fprintf(s.out, "%s: %s\n", name, said[name])
		}
		return nil
	})
}

// withRecord opens the record of the configuration for a moment.
func (s *environment) withRecord(do func(context.Context, *deliveries.Reader) error) (err error) {
	loaded, err := s.load()
	if err != nil {
		return err
	}
	if loaded.Config.Deliveries.Database.Reveal() == "" {
		return fmt.Errorf("%w: nothing is recorded: deliveries.database is not set", errUsage)
	}
	record, err := deliveries.OpenReader(loaded.Config.Deliveries)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	ctx, cancel := context.WithTimeout(s.ctx, searchPatience)
	defer cancel()
	return do(ctx, record)
}
