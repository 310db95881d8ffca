package handlers

import (
	"net"
	"net/http"
	"net/netip"
	"slices"

	"github.com/labstack/echo/v4"

	"logto-email-relay/settings"
)

// callerAddress returns what finds the caller's address: that of the connection
// or, through trusted proxies, the last in X-Forwarded-For that is not one of
// theirs. No network is trusted unless the operator wrote it.
func callerAddress(trusted []settings.Network) echo.IPExtractor {
	extract := echo.ExtractIPDirect()
	if len(trusted) > 0 {
		options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
		for _, network := range trusted {
			options = append(options, echo.TrustIPRange(&net.IPNet{
				IP:   network.Addr().AsSlice(),
				Mask: net.CIDRMask(network.Bits(), network.Addr().BitLen()),
			}))
		}
		extract = echo.ExtractIPFromXFFHeader(options...)
	}
	return func(r *http.Request) string { return plain(extract(r)) }
}

// plain writes an IPv4 address as such where it came inside an IPv6 one, and
// drops the zone, which only this machine can make sense of.
func plain(address string) string {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	return parsed.Unmap().WithZone("").String()
}

func contains(networks []settings.Network, address netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n settings.Network) bool { return n.Contains(address) })
}
