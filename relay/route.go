package relay

import (
	"slices"
	"strings"

	"golang.org/x/text/language"

	"logto-email-relay/mail"
	"logto-email-relay/recipients"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// routed is a route, or none, with what it means for the mails that take it.
type routed struct {
	Route
	index    int // in the configuration, -1 for none
	members  []Member
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

// matches tells whether every condition that the route names holds.
func (r *Route) matches(d *mail.Delivery) bool {
	return holds(r.Tenants, d.Tenant, equal) &&
		holds(r.Domains, mail.Domain(d.To), settings.MatchHost) &&
		holds(r.Types, d.Type, equal) &&
		holds(r.Applications, d.Application, equal) &&
		holds(r.Organizations, d.Organization, equal) &&
		holds(r.Locales, d.Locale, matchLocale)
}

// override lays a route's branding over the general one, key by key.
func override(branding templates.Branding, by *templates.Branding) templates.Branding {
	if by == nil {
		return branding
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
	branding.ReplyToInviter = branding.ReplyToInviter || by.ReplyToInviter
	return branding
}

func holds(wanted []string, actual string, match func(wanted, actual string) bool) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return match(w, actual) })
}

func equal(wanted, actual string) bool { return wanted == actual }

// matchLocale lets "pt" stand for pt-BR and pt-PT, and "zh-Hant" for zh-TW.
func matchLocale(wanted, actual string) bool {
	if strings.EqualFold(wanted, actual) {
		return true
	}
	want, err := language.Parse(wanted)
	if err != nil {
		return false
	}
	is, err := language.Parse(actual)
	if err != nil {
		return false
	}
	wantBase, _ := want.Base()
	isBase, _ := is.Base()
	if wantBase != isBase {
		return false
	}
	if script, confidence := want.Script(); confidence == language.Exact {
		if isScript, _ := is.Script(); isScript != script {
			return false
		}
	}
	if region, confidence := want.Region(); confidence == language.Exact {
		isRegion, _ := is.Region()
		return isRegion == region
	}
	return true
}
