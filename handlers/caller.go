package handlers

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"logto-email-relay/settings"
)

// callerAddress returns what finds the caller's address: that of the connection
// or, through trusted proxies, the last in X-Forwarded-For that is not one of
// theirs. No network is trusted unless the operator wrote it. A caller whose address
// cannot be read has an empty one, and never that of the proxy.
func callerAddress(trusted []settings.Network) echo.IPExtractor {
	return func(r *http.Request) string {
		caller, err := parseAddress(r.RemoteAddr)
		forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for len(forwarded) > 0 && contains(trusted, caller) { // what cannot be read is in no network
			last := strings.TrimSpace(forwarded[len(forwarded)-1])
			if forwarded = forwarded[:len(forwarded)-1]; last != "" {
				caller, err = parseAddress(last)
			}
		}
		if err != nil {
			return ""
		}
		return caller.String()
	}
}

// parseAddress reads an address as connections and proxies have it: alone, with a
// port, in brackets. An IPv4 address inside an IPv6 one is taken as such, and the
// zone is dropped, which only one machine can make sense of.
func parseAddress(text string) (netip.Addr, error) {
	withPort, err := netip.ParseAddrPort(text)
	address := withPort.Addr()
	if err != nil {
		address, err = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	}
	return address.Unmap().WithZone(""), err
}

func contains(networks []settings.Network, address netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n settings.Network) bool { return n.Contains(address) })
}
