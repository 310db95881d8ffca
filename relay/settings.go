package relay

import (
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

	// Providers are names of providers in order of failover; all when empty.
	Providers []string `json:"providers" validate:"dive,required"`
	// Sender replaces the sender, also a provider's own.
	Sender *Sender `json:"sender"`
	// Branding replaces the branding, key by key.
	Branding *templates.Branding `json:"branding"`
	// Limits replace the general ones, limit by limit.
	Limits *limits.Rules `json:"limits"`
	// Recipients replace the general ones, key by key.
	Recipients *recipients.Settings `json:"recipients"`
}
