package relay

import (
	"errors"
	"fmt"
	"slices"

	"logto-email-relay/limits"
	"logto-email-relay/recipients"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// Sender is the "sender" section: who the mails are from, unless a route or the
// provider says otherwise.
type Sender struct {
	// From is the address, with a display name or without:
	// "Acme <no-reply@acme.example>".
	From settings.Mailbox `json:"from"`
	// ReplyTo is where answers go.
	ReplyTo settings.Mailbox `json:"replyTo"`
}

// overriddenBy lays another sender over this one, key by key.
func (s Sender) overriddenBy(other Sender) Sender {
	if !other.From.IsZero() {
		s.From = other.From
	}
	if !other.ReplyTo.IsZero() {
		s.ReplyTo = other.ReplyTo
	}
	return s
}

// Route is one entry of "routes". It matches a mail when every condition that
// it names does; the first route that matches decides.
type Route struct {
	// Tenants are those whose webhooks it takes, as server.authorization names them.
	Tenants []string `json:"tenants" validate:"dive,required"`
	// Domains are recipient domains; "*.example.com" stands for every domain
	// below example.com.
	Domains []string `json:"domains" validate:"dive,hostpattern"`
	// Types are Logto's message types.
	Types []string `json:"types" validate:"dive,required,messagetype"`
	// Applications and Organizations are Logto's ids.
	Applications  []string `json:"applications" validate:"dive,required"`
	Organizations []string `json:"organizations" validate:"dive,required"`
	// Locales are the languages that a mail is written in; "pt" stands for
	// pt-BR and pt-PT too.
	Locales []string `json:"locales" validate:"dive,bcp47_language_tag"`

	// Providers are names of providers in order of failover; all when empty. In place
	// of a name there may be a group in brackets that shares the mails, names or such as
	// {"name": "main", "weight": 3}: with a weight of 3 a provider gets three times as
	// many as one without.
	Providers []Group `json:"providers"`
	// Sender replaces the sender, also a provider's own.
	Sender *Sender `json:"sender"`
	// Branding replaces the branding, key by key; an appLogo takes the place of the
	// general appLogoDark, too.
	Branding *templates.Branding `json:"branding"`
	// Limits replace the general ones, limit by limit.
	Limits *limits.Rules `json:"limits"`
	// Recipients replace the general ones, key by key.
	Recipients *recipients.Settings `json:"recipients"`
}

// Group is providers that share the mails of a route. When one of them does not take a
// mail, the others of its group are tried before the next group.
type Group []Share

// Share is a provider in a group, and how much it gets beside the others.
type Share struct {
	Name   string
	Weight int
}

// heaviest bounds a weight. It leaves room for one mail in ten thousand.
const heaviest = 10_000

// UnmarshalSetting takes a provider's name, or a list of names and of objects with a
// name and a weight.
func (g *Group) UnmarshalSetting(value any) error {
	*g = nil
	items, isList := value.([]any)
	if _, isObject := value.(map[string]any); isObject {
		return errors.New(`a weight means something in a group only, which is a list of its own: [[{"name": "a", "weight": 3}, {"name": "b"}], "c"]`)
	}
	if !isList {
		items = []any{value}
	}
	for _, item := range items {
		share := Share{Weight: 1}
		switch item := item.(type) {
		case string:
			share.Name = item
		case map[string]any:
			share.Name, _ = item["name"].(string)
			known := 1
			if weight, weighs := item["weight"]; weighs {
				known++
				whole, _ := weight.(int64)
				if whole < 1 || whole > heaviest {
					return fmt.Errorf("write a weight as a whole number from 1 to %d", heaviest)
				}
				share.Weight = int(whole)
			}
			if len(item) > known {
				return errors.New(`write a provider in a group as a name, or as {"name": "a", "weight": 3}`)
			}
		}
		switch {
		case share.Name == "":
			return errors.New(`write a provider's name, or a group of them such as [{"name": "a", "weight": 3}, {"name": "b"}]`)
		case g.has(share.Name):
			return fmt.Errorf("%q is in this group twice; give it a weight instead", share.Name)
		}
		*g = append(*g, share)
	}
	if len(*g) == 0 {
		return errors.New("a group has at least one provider")
	}
	return nil
}

func (g Group) has(name string) bool {
	return slices.ContainsFunc(g, func(s Share) bool { return s.Name == name })
}

// Uses tells whether the route's mails may go through a provider.
func (r *Route) Uses(provider string) bool {
	return len(r.Providers) == 0 || slices.ContainsFunc(r.Providers, func(g Group) bool { return g.has(provider) })
}
