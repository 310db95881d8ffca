package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"logto-email-relay/app"
	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// storeTime bounds how long a database is waited for.
const storeTime = 5 * time.Second

// sampleRecipient is whose mails' way is shown if nobody is named.
const sampleRecipient = "ada@example.org"

type checkCommand struct {
	Connect bool
	mailFlags
}

// mailFlags describe the mails whose way check shows.
type mailFlags struct {
	To, Tenant, Type, Locale, Organization, Application string
}

func newCheck(s *environment) *cobra.Command {
	var cmd checkCommand
	c := &cobra.Command{
		Use: "check", Short: "Check the configuration and the templates, and show what would be used", Args: noArguments,
		RunE: s.runs(func([]string) error { return cmd.run(s) }),
	}
	flags := c.Flags()
	flags.BoolVar(&cmd.Connect, "connect", false, "sign in at every provider too, and at the mailboxes for bounces; no mail is sent")
	flags.StringVar(&cmd.To, "to", sampleRecipient, "show the way of mails to this `ADDRESS`")
	flags.StringVar(&cmd.Tenant, "tenant", "", "of the tenant of this `NAME`, as server.authorization has it")
	flags.StringVar(&cmd.Type, "type", "", "of this one of Logto's message `TYPES`; of all otherwise")
	flags.StringVar(&cmd.Locale, "locale", "", "for readers of this language, a BCP 47 `TAG`")
	flags.StringVar(&cmd.Organization, "organization", "", "from the organization of this `ID`")
	flags.StringVar(&cmd.Application, "application", "", "from the application of this `ID`")
	return c
}

// run reads everything that serve would read, and shows what it would use.
func (cmd checkCommand) run(s *environment) error {
	to, err := mail.ParseRecipient(mail.Copied(cmd.To))
	if err != nil {
		return fmt.Errorf("%w: --to: %w", errUsage, err)
	}
	types := templates.Types()
	if cmd.Type != "" {
		if err := knownType(cmd.Type); err != nil {
			return err
		}
		types = []string{cmd.Type}
	}
	loaded, g, err := s.build()
	if err != nil {
		return err
	}
	defer func() { _ = g.Close() }()
	c := loaded.Config
	if tenants := c.Server.Tenants(); cmd.Tenant != "" && !slices.Contains(tenants, cmd.Tenant) {
		return fmt.Errorf("%w: --tenant: server.authorization has the tenants %s", errUsage, cmp.Or(strings.Join(tenants, ", "), "none"))
	}

	for _, notice := range loaded.Notices {
		fmt.Fprintf(s.out, "note: %s\n", notice)
	}
	for _, warning := range g.Warnings {
		fmt.Fprintf(s.out, "warning: %s\n", warning)
	}
	fmt.Fprintf(s.out, "configuration: %s is fine\n", settings.Printable(s.configFile(), maxName))
	fmt.Fprintf(s.out, "languages: %s\n", strings.Join(g.Catalogue.Locales(), " "))
	unfit := errors.Join(cmd.providers(s, g), cmd.stores(s, g))
	fmt.Fprintf(s.out, "\nmails to %s:\n\n", to)
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TYPE\tROUTE\tSENDER\tBRAND\tLANGUAGE\tPROVIDERS\tLIMITS")
	for _, messageType := range types {
		fmt.Fprintln(table, strings.Join(cmd.way(g, to, messageType), "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return unfit
}

// providers lists the providers and, if that is wanted, what became of signing in. It returns
// why one of them could not do its work, nil if all could.
func (cmd checkCommand) providers(s *environment, g *app.Graph) error {
	var found []app.SignIn
	var mailboxes map[string]error
	if cmd.Connect {
		ctx, cancel := context.WithTimeout(s.ctx, app.SignInTime(time.Duration(g.Config.Server.Timeout)))
		defer cancel()
		var asking sync.WaitGroup
		asking.Go(func() { mailboxes = g.CheckBounces(ctx) })
		found = g.SignIn(ctx, func(*relay.Provider) bool { return true })
		asking.Wait()
	}
	failed, unread := 0, 0
	for i, p := range g.Config.Providers {
		shared := p.Shared()
		fmt.Fprintf(s.out, "provider %d: %s (%s)", i+1, shared.Name, shared.Type)
		if cmd.Connect {
			fmt.Fprintf(s.out, ": %s", describe(found[i]))
			if found[i].Err != nil {
				failed++
			}
			if err, hasMailbox := mailboxes[shared.Name]; err != nil {
				unread++
				fmt.Fprintf(s.out, "; bounces cannot be read: %v", err)
			} else if hasMailbox {
				fmt.Fprint(s.out, "; bounces can be read")
			}
		}
		fmt.Fprintln(s.out)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d providers could not send", failed, len(found))
	}
	if unread > 0 {
		return fmt.Errorf("the bounces of %d of %d mailboxes could not be read", unread, len(mailboxes))
	}
	return nil
}

// stores tells, if that is wanted, whether Redis and the record can be used. It returns an error
// if one cannot.
func (cmd checkCommand) stores(s *environment, g *app.Graph) error {
	if !cmd.Connect {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, storeTime)
	defer cancel()
	failed := 0
	found := g.CheckStores(ctx)
	for _, section := range slices.Sorted(maps.Keys(found)) {
		err := found[section]
		if err == nil {
			fmt.Fprintf(s.out, "%s: the database can be used\n", section)
			continue
		}
		failed++
		fmt.Fprintf(s.out, "%s: the database cannot be used: %v\n", section, err)
	}
	if failed > 0 {
		return fmt.Errorf("%d of the databases cannot be used; mails go out all the same", failed)
	}
	return nil
}

// way tells what one mail would be sent as and through, column by column.
func (f *mailFlags) way(g *app.Graph, to, messageType string) []string {
	c, payload := g.Config, g.Catalogue.Sample(messageType, f.Locale)
	for key, id := range map[string]string{"organization": f.Organization, "application": f.Application} {
		if id != "" {
			payload[key] = map[string]any{"id": id}
		}
	}
	index, groups := g.Relay.RouteFor(relay.Request{Tenant: f.Tenant, To: to, Type: messageType, Payload: payload})
	taken, route := "none", relay.Route{}
	if index >= 0 {
		taken, route = fmt.Sprintf("routes[%d]", index), c.Routes[index]
	}
	brand := c.Branding.SenderName
	if route.Branding != nil {
		brand = cmp.Or(route.Branding.SenderName, brand)
	}
	own := make(map[string]settings.Mailbox)
	for _, p := range c.Providers {
		own[p.Shared().Name] = p.Sender().From
	}
	var senders []string
	for _, provider := range slices.Concat(groups...) {
		from := c.Sender.From
		if !own[provider.Name].IsZero() {
			from = own[provider.Name]
		}
		if route.Sender != nil && !route.Sender.From.IsZero() {
			from = route.Sender.From
		}
		text := from.Address.Address
		if name := cmp.Or(from.Name, brand); name != "" {
			text = settings.Printable(name, 128) + " <" + text + ">"
		}
		if !slices.Contains(senders, text) {
			senders = append(senders, text)
		}
	}
	through, policy := spread(groups), c.Recipients.OverriddenBy(route.Recipients)
	if instead := policy.Redirected(); instead != "" {
		through += ", to " + settings.Printable(instead, 254)
	}
	if list := policy.Refuses(to); list != "" && to != sampleRecipient {
		through = "none, by " + list
	}
	return []string{messageType, taken, strings.Join(senders, ", then "), cmp.Or(settings.Printable(brand, 64), "-"),
		g.Catalogue.Locale(messageType, payload), through,
		cmp.Or(c.Limits.With(route.Limits).String(), "-")}
}

// spread tells the order of providers, and how a group shares the mails.
func spread(groups []relay.Group) string {
	var order []string
	for _, group := range groups {
		sum := 0
		for _, share := range group {
			sum += share.Weight
		}
		var names []string
		for _, share := range group {
			name := share.Name
			if len(group) > 1 {
				name = fmt.Sprintf("%s (%.3g %%)", name, 100*float64(share.Weight)/float64(sum))
			}
			names = append(names, name)
		}
		order = append(order, strings.Join(names, " or "))
	}
	return strings.Join(order, ", then ")
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
