// Package config reads what an operator writes.
//
// A file of JSON or YAML becomes a tree of values that know their line and
// column. The defaults are made, the tree is laid over them key by key, and
// then everything is checked: the rules that the settings name in their tags,
// their Check methods, and the few rules that concern more than one section.
//
// Nothing is guessed and nothing is dropped. A key that no setting has, a key
// written twice or a value of the wrong type is a problem, and all problems are
// reported together, each with its place in the file and with words that say
// what to write instead. Texts may hold ${NAME} for an environment variable and
// ${file:/path} for a file; what they stand for, and every secret, stays out of
// all problems.
//
// The same tables of keys and rules make the JSON Schema that editors use.
package config

import (
	"slices"

	"logto-email-relay/deliveries"
	"logto-email-relay/limits"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/recipients"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
	"logto-email-relay/webhooks"
)

// Config is a whole configuration, section by section.
type Config struct {
	// Editor is the address of the JSON Schema, which only editors follow.
	Editor string `json:"$schema"`

	Server    Server             `json:"server"`
	Admin     Admin              `json:"admin"`
	Sender    relay.Sender       `json:"sender"`
	Branding  templates.Branding `json:"branding"`
	Templates templates.Settings `json:"templates"`
	// Providers are in order of failover. Every one has a name of its own.
	Providers []providers.Settings `json:"providers" validate:"dive"`
	// Routes are tried from first to last; the first one whose conditions all hold
	// decides.
	Routes     []relay.Route       `json:"routes" validate:"dive"`
	Recipients recipients.Settings `json:"recipients"`
	Limits     limits.Settings     `json:"limits"`
	Deliveries deliveries.Settings `json:"deliveries"`
	Events     webhooks.Settings   `json:"events"`
	// Uncertain says what becomes of a mail that a provider took without
	// answering: "resend" offers it to the next provider, once and unchanged, "fail"
	// answers an error.
	Uncertain string `json:"uncertain" validate:"oneof=resend fail"`
	Log       Log    `json:"log"`
}

// What becomes of a mail whose fate is unknown.
const (
	// Resend offers it to the next provider, once and unchanged.
	Resend = "resend"
	// Fail answers an error.
	Fail = "fail"
)

// Log says what the relay writes to its standard output.
type Log struct {
	// Level is the least important level that is written.
	Level string `json:"level" validate:"oneof=debug info warn error"`
	// Format is json for machines and text for people.
	Format string `json:"format" validate:"oneof=json text"`
}

// defaults returns what holds where an operator writes nothing.
func defaults() *Config {
	return &Config{
		Server:     defaultServer(),
		Admin:      defaultAdmin(),
		Templates:  templates.DefaultSettings(),
		Limits:     limits.DefaultSettings(),
		Deliveries: deliveries.DefaultSettings(),
		Uncertain:  Resend,
		Log:        Log{Level: "info", Format: "json"},
	}
}

// inboxType is the provider that shows mails instead of sending them, so that
// nobody has to own its sender's address.
const inboxType = "inbox"

// OnlyInbox tells that no mail leaves this process.
func (c *Config) OnlyInbox() bool {
	return !slices.ContainsFunc(c.Providers, func(p providers.Settings) bool { return p.Shared().Type != inboxType })
}

// Development is the configuration of a relay that was started without any: it
// listens on the loopback interface only, keeps every mail in its inbox and the
// record in memory, and takes webhooks that bear the token.
func Development(token string) *Config {
	c := defaults()
	c.Server.Address = "127.0.0.1:8080"
	c.Server.Authorization = []settings.Token{{Secret: settings.NewSecret("Bearer " + token)}}
	c.Sender.From = settings.Mailbox{Address: mail.Address{Name: "Logto Email Relay", Address: "no-reply@example.com"}}
	c.Deliveries.Database = settings.NewSecret(deliveries.InMemory)
	c.Log.Format = "text"
	for _, kind := range providers.Types() {
		if kind.Name == inboxType {
			inbox := kind.New()
			inbox.Shared().Type, inbox.Shared().Name = inboxType, inboxType
			c.Providers = []providers.Settings{inbox}
		}
	}
	return c
}
