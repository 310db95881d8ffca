package settings

import (
	"net"
	"strings"
)

// MatchHost tells whether a host, in lower case, is the one that an operator
// wrote; "*.acme.example" stands for every host below acme.example.
func MatchHost(written, host string) bool {
	written = strings.ToLower(written)
	if below, wildcard := strings.CutPrefix(written, "*"); wildcard {
		return strings.HasSuffix(host, below)
	}
	return written == host
}

// IsLoopback tells whether a host, in lower case, can only be this machine.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
