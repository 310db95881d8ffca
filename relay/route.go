package relay

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"slices"

	"logto-email-relay/mail"
	"logto-email-relay/recipients"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// routed is a route, or none, with what it means for the mails that take it.
type routed struct {
	Route
	index    int      // in the configuration, -1 for none
	key      string   // of its counts
	groups   []group  // in order of failover
	members  []Member // of all groups, as they are written
	branding templates.Branding
	// recipients are those of the route, laid over the general ones.
	recipients recipients.Settings
}

// routeOf finds the route of a mail.
func (r *Relay) routeOf(d *mail.Delivery) *routed {
	for i := range r.routes {
		if r.routes[i].matches(d) {
			return &r.routes[i]
		}
	}
	return &r.unrouted
}

// group is the members of a Group.
type group []weighted

type weighted struct {
	Member
	weight int
}

// order returns the members in the order in which one mail tries them: group by group,
// and within a group by lot. Of all orders each is as likely as if the weights were
// tickets, and the tickets of those drawn were thrown away.
func (r *routed) order() []Member {
	if len(r.members) == len(r.groups) { // nobody shares
		return r.members
	}
	order := make([]Member, 0, len(r.members))
	for _, g := range r.groups {
		if len(g) == 1 {
			order = append(order, g[0].Member)
			continue
		}
		left, tickets := slices.Clone(g), 0
		for _, w := range left {
			tickets += w.weight
		}
		for len(left) > 0 {
			i, ticket := 0, rand.IntN(tickets)
			for ; ticket >= left[i].weight; i++ {
				ticket -= left[i].weight
			}
			order, tickets = append(order, left[i].Member), tickets-left[i].weight
			left = slices.Delete(left, i, i+1)
		}
	}
	return order
}

// matches tells whether every condition that the route names holds.
func (r *Route) matches(d *mail.Delivery) bool {
	return holds(r.Tenants, d.Tenant, equal) &&
		holds(r.Domains, mail.Domain(d.To), settings.MatchHost) &&
		holds(r.Types, d.Type, equal) &&
		holds(r.Applications, d.Application, equal) &&
		holds(r.Organizations, d.Organization, equal) &&
		holds(r.Locales, d.Locale, templates.MatchLocale)
}

// conditions tells the routes apart, wherever they stand: of two with the same, the second
// takes no mail.
func (r *Route) conditions() string {
	text, _ := json.Marshal([][]string{r.Tenants, r.Domains, r.Types, r.Applications, r.Organizations, r.Locales})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// override lays a route's branding over the general one, key by key.
func override(branding templates.Branding, by *templates.Branding) templates.Branding {
	if by == nil {
		return branding
	}
	if by.AppLogo != "" { // which the general dark one would not match
		branding.AppLogoDark = ""
	}
	for _, key := range []struct{ to, from *string }{
		{&branding.SenderName, &by.SenderName},
		{&branding.CompanyInformation, &by.CompanyInformation},
		{&branding.AppLogo, &by.AppLogo},
		{&branding.AppLogoDark, &by.AppLogoDark},
		{&branding.Color, &by.Color},
	} {
		if *key.from != "" {
			*key.to = *key.from
		}
	}
	if !by.Support.IsZero() {
		branding.Support = by.Support
	}
	if by.ReplyToInviter != nil {
		branding.ReplyToInviter = by.ReplyToInviter
	}
	return branding
}

func holds(wanted []string, actual string, match func(wanted, actual string) bool) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return match(w, actual) })
}

func equal(wanted, actual string) bool { return wanted == actual }
