// Package recipients decides who may be sent mail: by lists of the operator's, by
// whether the domain exists (domains.go), and, so that a test environment writes to
// no customer, by sending everything to one address.
//
// A refusal is for the person who typed the address. Where a domain does not exist
// and a well-known one is a letter away, it says which was probably meant
// (suggest.go).
package recipients

import (
	"slices"
	"strings"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Settings are the "recipients" section, the general one or that of a route. What is
// not written is nil.
type Settings struct {
	// Allow are the only recipients; everybody when empty. Both lists hold addresses
	// and domains; "*.example.com" stands for every domain below example.com.
	Allow []string `json:"allow" validate:"dive,recipient"`
	// Deny are no recipients, also where Allow has them.
	Deny []string `json:"deny" validate:"dive,recipient"`
	// RedirectTo gets every mail in the place of its recipient.
	RedirectTo *settings.Mailbox `json:"redirectTo"`
	// CheckDomain refuses recipients whose domain does not exist or takes no mail.
	CheckDomain *bool `json:"checkDomain"`
}

// OverriddenBy lays a route's settings over the general ones, key by key.
func (s Settings) OverriddenBy(route *Settings) Settings {
	if route == nil {
		return s
	}
	if route.Allow != nil {
		s.Allow = route.Allow
	}
	if route.Deny != nil {
		s.Deny = route.Deny
	}
	if route.RedirectTo != nil {
		s.RedirectTo = route.RedirectTo
	}
	if route.CheckDomain != nil {
		s.CheckDomain = route.CheckDomain
	}
	return s
}

// Refuses returns the key of the list that a recipient may not be sent mail by;
// empty if there is none.
func (s *Settings) Refuses(recipient string) (key string) {
	switch {
	case isListed(s.Deny, recipient):
		return "recipients.deny"
	case len(s.Allow) > 0 && !isListed(s.Allow, recipient):
		return "recipients.allow"
	}
	return ""
}

func isListed(list []string, recipient string) bool {
	return slices.ContainsFunc(list, func(written string) bool {
		if strings.Contains(written, "@") {
			return mail.FoldAddress(written) == mail.FoldAddress(recipient)
		}
		return settings.MatchHost(written, mail.Domain(recipient))
	})
}

// Redirected returns the address that every mail goes to; empty if mails go to their
// recipients.
func (s *Settings) Redirected() string {
	if s.RedirectTo == nil {
		return ""
	}
	return s.RedirectTo.Address.Address
}

// ChecksDomain tells whether the domain of a recipient has to take mail. It does not
// matter where nothing is sent there.
func (s *Settings) ChecksDomain() bool {
	return s.CheckDomain != nil && *s.CheckDomain && s.Redirected() == ""
}
