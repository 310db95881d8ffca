package providers

import (
	"errors"
	"os"
	"strings"
)

// What failures on the way to a service mean, whatever is spoken there.

const (
	familyHint = "the host has no address of the family (IPv4 or IPv6) that localAddress or ipv4 asks for"

	deadProxyHint = "this is about the way to the proxy: check proxy"

	proxyHint = "the proxy refuses the connection; check proxy, its user and password, and where it may connect to"
)

// isForeignAddress tells whether a connection could not leave from localAddress. The
// same errno at connect means that no port is left, which passes.
func isForeignAddress(err error) bool {
	var call *os.SyscallError
	return errors.As(err, &call) && call.Syscall == "bind"
}

// socksRefuses tells whether a SOCKS5 proxy would not serve us, by the words of
// golang.org/x/net, which has no types for them. Its other answers are about the
// network behind it.
func socksRefuses(err error) bool {
	said := err.Error()
	return strings.Contains(said, "authentication") || strings.Contains(said, "username/password") ||
		strings.Contains(said, "not allowed by ruleset")
}
