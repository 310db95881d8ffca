package settings

import (
	"errors"
	"maps"
	"net"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// ASCIIDomain returns the address with its domain as mail travels: lower case,
// internationalized labels as punycode. The local part stays as it is. It
// refuses a domain that cannot be in the DNS.
func ASCIIDomain(address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 {
		return "", errors.New("the address has no @")
	}
	if domain := address[at+1:]; isHostName(domain) && !strings.Contains(domain, "--") {
		return address, nil // nothing that IDNA would change or refuse
	}
	domain, err := idna.Lookup.ToASCII(address[at+1:])
	if err != nil || !isHostName(domain) {
		return "", errors.New("the part after the @ is not a domain")
	}
	// Some odd labels become punycode that is itself refused.
	if again, err := idna.Lookup.ToASCII(domain); err != nil || again != domain {
		return "", errors.New("the part after the @ is not a domain")
	}
	return address[:at+1] + domain, nil
}

// isHostName asks for labels of letters, digits and inner dashes, within the
// lengths of RFC 1035.
func isHostName(domain string) bool {
	if domain == "" || len(domain) > 253 {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if c != '-' && !('a' <= c && c <= 'z') && !('0' <= c && c <= '9') {
				return false
			}
		}
	}
	return true
}

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

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
