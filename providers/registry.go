package providers

import "logto-email-relay/settings"

// Settings are what an operator writes for one provider. Each provider file has
// its own struct, which embeds Common.
type Settings interface {
	// Shared returns the keys that every provider has.
	Shared() *Common
	// Sender returns the sender written into this provider, if any.
	Sender() Sender
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
		{"inbox", func() Settings { return newInboxSettings() }},
	}
}

// Common are the keys that every provider has beside those of its service.
type Common struct {
	// Type is the name of the kind of provider, one of Types.
	Type string `json:"type" validate:"required"`
	// Name is how logs, metrics and routes call this provider; the type when
	// not given.
	Name string `json:"name" validate:"omitempty,max=64,providername"`
	// Endpoint is the base URL of the service, for regions and tests.
	Endpoint string `json:"endpoint" validate:"omitempty,http_url"`
	// Proxy is a forward proxy for this provider's connections: http://, https://
	// or socks5://, with user and password if it wants them.
	Proxy settings.Secret `json:"proxy" validate:"omitempty,url"`
	// LocalAddress is the local IP address that connections leave from.
	LocalAddress string `json:"localAddress" validate:"omitempty,ip"`
	// Timeout bounds one attempt at this provider; the mail's own deadline
	// alone when not given.
	Timeout settings.Duration `json:"timeout"`
	// MaxConcurrent bounds the sends under way at a time; 50 when not given.
	MaxConcurrent int `json:"maxConcurrent" validate:"gte=0,lte=10000"`
}

// Shared makes every settings struct that embeds Common a holder of it.
func (c *Common) Shared() *Common { return c }
