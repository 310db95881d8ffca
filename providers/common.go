package providers

import "logto-email-relay/settings"

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

// defaultConcurrent is MaxConcurrent when the operator gives none.
const defaultConcurrent = 50

// Concurrent returns how many sends may be under way at a time.
func (c *Common) Concurrent() int {
	if c.MaxConcurrent == 0 {
		return defaultConcurrent
	}
	return c.MaxConcurrent
}
