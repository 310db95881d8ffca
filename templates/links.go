package templates

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// maxLink bounds a link, in bytes.
const maxLink = 2048

// Parse reads a URL from a payload that may become a link, as browsers read it
// (https://url.spec.whatwg.org), and returns it as it is printed: in ASCII, its host
// in the form that is asked of the DNS. It is absolute, has one of the schemes and
// hosts, and no user information, which only serves to disguise the host. What
// programs could read in two ways is refused rather than mended: characters in the
// host that some of them map to others, blanks, backslashes, numbers as addresses.
func (l Links) Parse(link string) (string, error) {
	scheme, rest, found := strings.Cut(link, ":")
	scheme = strings.ToLower(scheme)
	rest, hasHost := strings.CutPrefix(rest, "//")
	switch {
	case len(link) > maxLink:
		return "", fmt.Errorf("longer than %d bytes", maxLink)
	case !found || !isScheme.MatchString(scheme):
		return "", errors.New("not an absolute URL")
	case !slices.Contains(l.Schemes, scheme):
		return "", fmt.Errorf("the scheme %s is not in templates.links.schemes", quoted(scheme))
	case !hasHost || strings.ContainsFunc(link, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }):
		return "", errors.New("no // after the scheme, or a blank, a control or a backslash")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if strings.Contains(rest[:end], "@") {
		return "", errors.New("there is a user before the host, which only serves to disguise it")
	}
	host, port, err := splitPort(rest[:end])
	if err == nil && (host != "" || scheme == "http" || scheme == "https") {
		host, err = parseHost(host)
	}
	if err != nil {
		return "", fmt.Errorf("the host %s is none that all programs read alike", quoted(hostOnly.FindString(rest[:end])))
	}
	if len(l.Hosts) > 0 && !slices.ContainsFunc(l.Hosts, func(written string) bool { return settings.MatchHost(written, strings.Trim(host, "[]")) }) {
		return "", fmt.Errorf("the host %s is not in templates.links.hosts", quoted(host))
	}
	printed := scheme + "://" + host + port + percentEncoded(rest[end:])
	if u, err := url.Parse(printed); err != nil || u.Host != host+port {
		return "", errors.New("not a URL")
	}
	return printed, nil
}

var (
	isScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
	// hostOnly ends where what may be a secret could begin.
	hostOnly = regexp.MustCompile(`^(?:\[[0-9A-Fa-f:.]*|[A-Za-z0-9._\x80-\x{10ffff}-]*)`)
)

// quoted prints a part of a link for the operator.
func quoted(part string) string { return strconv.QuoteToASCII(part[:min(len(part), maxNameRunes)]) }

// splitPort returns the port with its colon.
func splitPort(authority string) (host, port string, err error) {
	colon := strings.LastIndexByte(authority, ':')
	if colon <= 0 || strings.HasSuffix(authority, "]") {
		return authority, "", nil
	}
	host, port = authority[:colon], authority[colon:]
	_, err = strconv.ParseUint(port[1:], 10, 16)
	return host, port, err
}

var errHost = errors.New("not a host")

// strict are the rules of browsers without their exceptions.
var strict = idna.New(idna.MapForLookup(), idna.StrictDomainName(true), idna.CheckHyphens(false), idna.CheckJoiners(true),
	idna.BidiRule(), idna.VerifyDNSLength(true))

// parseHost returns a host in the form of the DNS, in lower case: a name, an IPv4
// address in its usual form or an IPv6 address in brackets.
func parseHost(written string) (string, error) {
	if address, bracketed := strings.CutPrefix(written, "["); bracketed {
		ip, err := netip.ParseAddr(strings.TrimSuffix(address, "]"))
		if err != nil || !ip.Is6() || ip.Zone() != "" || !strings.HasSuffix(address, "]") {
			return "", errHost
		}
		return "[" + ip.String() + "]", nil
	}
	host := strings.ToLower(written)
	isASCII := mail.IsASCII(host)
	if !isASCII || strings.Contains(host, "xn--") {
		ascii, err := strict.ToASCII(host)
		if err != nil {
			return "", err
		}
		// No character may stand for another one, nor look like a sign.
		shown, err := strict.ToUnicode(ascii)
		if err != nil || !isASCII && shown != host || strings.ContainsFunc(shown, isOddInHost) {
			return "", errHost
		}
		host = ascii
	}
	label := ""
	for label = range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", errHost
		}
	}
	// Browsers take a name for an IPv4 address if its last part is a number.
	if isNumber(label) {
		if ip, err := netip.ParseAddr(host); err != nil || ip.String() != host {
			return "", errHost
		}
	}
	if len(host) > 253 {
		return "", errHost
	}
	return host, nil
}

func isOddInHost(r rune) bool {
	return r >= 0x80 && !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && !isJoiner(r)
}

func isNumber(label string) bool {
	return strings.Trim(label, "0123456789") == "" || strings.HasPrefix(label, "0x") && strings.Trim(label[2:], "0123456789abcdef") == ""
}

// percentEncoded encodes what browsers encode too, in the path, the query or the
// fragment of a URL.
func percentEncoded(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c >= 0x80 || strings.IndexByte("\"<>`", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
