package limits

import (
	"net/netip"
	"strings"

	"logto-email-relay/mail"
)

// mailbox returns a recipient such that spellings of one mailbox are the same:
// without regard to case, and at Gmail, which delivers them all to one person,
// without dots and tags.
func mailbox(address string, foldTags bool) string {
	address = mail.FoldAddress(address)
	domain := mail.Domain(address)
	isGmail := domain == "gmail.com" || domain == "googlemail.com"
	if !isGmail && !foldTags {
		return address
	}
	local := strings.TrimSuffix(address, "@"+domain)
	if tag := strings.IndexByte(local, '+'); tag > 0 {
		local = local[:tag]
	}
	if isGmail {
		local, domain = strings.ReplaceAll(local, ".", ""), "gmail.com"
	}
	return local + "@" + domain
}

// sharedAddresses are what a network's operator puts many of its customers behind
// (RFC 6598).
var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")

// network returns the address of a client, of IPv6 the network that one client has
// for itself; empty where it does not tell who that is. Proxies may have added a
// port, and people may have written anything.
func network(text string) string {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		withPort, _ := netip.ParseAddrPort(text)
		ip = withPort.Addr()
	}
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || sharedAddresses.Contains(ip) {
		return ""
	}
	return NetworkOf(ip)
}

// NetworkOf returns what one client has for itself: an IPv4 address, or a /64 network
// of IPv6.
func NetworkOf(ip netip.Addr) string {
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64) // an IPv6 address has one, without a zone
	return network.String()
}
