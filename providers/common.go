package providers

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"logto-email-relay/settings"
)

// Common are the keys that every provider has beside those of its service.
type Common struct {
	// Type is the kind of provider.
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
	// IPv4 keeps connections from using IPv6, for a service whose list of allowed
	// addresses does not take it.
	IPv4 bool `json:"ipv4"`
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

// network is what Go is told to dial.
func (c *Common) network() string {
	if c.IPv4 {
		return "tcp4"
	}
	return "tcp"
}

// localAddr is where connections leave from; nil for the system's choice.
func (c *Common) localAddr() (net.Addr, error) {
	if c.LocalAddress == "" {
		return nil, nil
	}
	ip, err := netip.ParseAddr(c.LocalAddress)
	if err != nil {
		return nil, fmt.Errorf("localAddress: %w", err)
	}
	// Go then dials addresses of the same family only.
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)), nil
}

// proxyURL is the forward proxy; nil for none. Its error does not quote the
// text, which may hold a password.
func (c *Common) proxyURL() (*url.URL, error) {
	text := c.Proxy.Reveal()
	if text == "" {
		return nil, nil
	}
	proxy, err := settings.ParseURL(text)
	if err != nil || proxy.Hostname() == "" || strings.Trim(proxy.Path, "/")+proxy.RawQuery != "" || !slices.Contains(proxySchemes, proxy.Scheme) {
		return nil, errors.New("proxy: not the address of a proxy")
	}
	return proxy, nil
}

var proxySchemes = []string{"http", "https", "socks5", "socks5h"}

// checkEgress reports what keeps connections from leaving as they should.
func (c *Common) checkEgress() []settings.Problem {
	var problems []settings.Problem
	if _, err := c.proxyURL(); err != nil {
		problems = append(problems, settings.Problem{Key: "proxy",
			Text: `write http://, https:// or socks5:// before the proxy's host and port, such as "socks5://proxy.example.com:1080"`})
	}
	if ip, err := netip.ParseAddr(c.LocalAddress); err == nil && c.IPv4 && !ip.Unmap().Is4() {
		problems = append(problems, settings.Problem{Key: "localAddress", Text: "an IPv6 address contradicts ipv4; remove one of them"})
	}
	return problems
}

// checkConnection is checkEgress for services that have an endpoint.
func (c *Common) checkConnection() []settings.Problem {
	return append(c.checkURL("endpoint", c.Endpoint), c.checkEgress()...)
}

// endpointOr returns the base URL of the service without a final slash: the
// operator's, or the given one.
func (c *Common) endpointOr(usual string) string {
	if c.Endpoint == "" {
		return usual
	}
	return strings.TrimRight(c.Endpoint, "/")
}

// isHere tells whether what goes to a host, in lower case, never leaves this machine. Behind
// a proxy on another one localhost is that one's.
func (c *Common) isHere(host string) bool {
	proxy, err := c.proxyURL()
	return settings.IsLoopback(host) && err == nil && (proxy == nil || settings.IsLoopback(strings.ToLower(proxy.Hostname())))
}

// checkURL asks for TLS, which keeps the key and the code from everybody on the
// way. Only this machine is near enough to do without.
func (c *Common) checkURL(key, text string) []settings.Problem {
	address, err := url.Parse(text)
	if err != nil || address.Scheme != "http" || c.isHere(address.Hostname()) {
		return nil
	}
	return []settings.Problem{{Key: key,
		Text: "use https://; plain http:// goes to this machine only, because keys and codes travel this way"}}
}
