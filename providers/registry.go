package providers

import (
	"logto-email-relay/mail"
)

// Settings are what an operator writes for one provider. Each provider file has
// its own struct, which embeds Common.
type Settings interface {
	// Shared returns the keys that every provider has.
	Shared() *Common
	// Sender returns the sender written into this provider, if any.
	Sender() Sender
	// Mails returns the templates written into this provider, if any. They go
	// before all others in the mails that it sends.
	Mails() []mail.ConnectorTemplate
	// Open makes the provider. It connects to nothing: a service that is down
	// when the relay starts must not keep it from starting.
	Open() (Provider, error)
}

// Type is one kind of provider that this build knows.
type Type struct {
	// Name is what operators write as "type".
	Name string
	// New returns settings that hold the defaults, to be decoded over.
	New func() Settings
}

// Types lists every kind of provider.
func Types() []Type {
	return []Type{
		{"smtp", func() Settings { return newSMTPSettings() }},
		{"sendgrid", func() Settings { return newSendGridSettings() }},
		{"mailgun", func() Settings { return newMailgunSettings() }},
		{"ses", func() Settings { return newSESSettings() }},
		{"postmark", func() Settings { return newPostmarkSettings() }},
		{"aliyun", func() Settings { return newAliyunSettings() }},
		{"resend", func() Settings { return newResendSettings() }},
		{"smtp2go", func() Settings { return newSMTP2GOSettings() }},
		{"mailjunky", func() Settings { return newMailJunkySettings() }},
		{"http", func() Settings { return newHTTPSettings() }},
		{"inbox", func() Settings { return newInboxSettings() }},
	}
}
