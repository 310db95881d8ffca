package mail

import (
	"errors"
	netmail "net/mail"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Path returns the address as it stands between the angle brackets of a
// command or a header: a local part that is no dot-atom is quoted (RFC 5321
// section 4.1.2). ascii is false when the address needs SMTPUTF8.
func Path(address string) (path string, ascii bool, err error) {
	at := strings.LastIndexByte(address, '@')
	if at < 1 || at == len(address)-1 {
		return "", false, errors.New("not an address")
	}
	local, domain := address[:at], address[at+1:]
	if !isDomainText(domain) {
		return "", false, errors.New("the part after the @ is not a domain in ASCII")
	}
	ascii = IsASCII(local)
	if ascii && isDotAtom(local) { // as nearly all are
		return address, true, nil
	}
	for _, r := range local {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || 0x80 <= r && r < 0xa0 {
			return "", false, errors.New("the part before the @ holds a control character")
		}
	}
	if isDotAtom(local) || isQuoted(local) {
		return address, ascii, nil
	}
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local)
	return `"` + quoted + `"@` + domain, ascii, nil
}

// isDomainText tells whether a text has only characters that a domain or an
// address literal may have.
func isDomainText(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || strings.IndexByte(`"<>@()\,;`, c) >= 0 {
			return false
		}
	}
	return true
}

// isDotAtom tells whether a local part may go without quotes; RFC 6531 counts
// everything outside ASCII as an ordinary letter.
func isDotAtom(local string) bool {
	dot := true // the start counts as one: a dot there is as wrong as two
	for i := range len(local) {
		c := local[i]
		if c == '.' {
			if dot {
				return false
			}
			dot = true
			continue
		}
		dot = false
		if !isAtomText(c) {
			return false
		}
	}
	return !dot
}

// isAtomText is atext of RFC 5322 section 3.2.3, with everything outside ASCII.
func isAtomText(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c >= utf8.RuneSelf || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// isQuoted tells whether a local part is a well-formed quoted string already.
func isQuoted(local string) bool {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return false
	}
	inner := local[1 : len(local)-1]
	for i := 0; i < len(inner); i++ {
		switch inner[i] {
		case '"':
			return false
		case '\\':
			if i++; i == len(inner) {
				return false
			}
		}
	}
	return true
}

// IsASCII tells whether every character of a text is ASCII and not DEL.
func IsASCII(text string) bool {
	for i := range len(text) {
		if text[i] > '~' {
			return false
		}
	}
	return true
}

// Domain returns the part of an address behind its last @; all of it if there is
// none.
func Domain(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// FoldAddress returns the form in which two spellings of one address are the same:
// hardly any service tells A@example.com from a@example.com, and RFC 6532 section 3.1
// wants an ä to be one character and not two. An address that looks like another one in ASCII
// is not the same: its mails go elsewhere, and so does what becomes of them.
func FoldAddress(address string) string {
	if IsASCII(address) {
		return strings.ToLower(address)
	}
	return norm.NFC.String(strings.Map(func(r rune) rune {
		lower := unicode.ToLower(r)
		switch {
		case r < utf8.RuneSelf:
		case norm.NFC.String(string(r))[0] < utf8.RuneSelf: // the sign of the kelvin, a K to Unicode
			return utf8.RuneError
		case lower < utf8.RuneSelf: // a Turkish I with its dot, which Go lets lose it
			return r
		}
		return lower
	}, address))
}

// Mask keeps of an address what tells two readers of a log that they speak of the
// same one: the first character and the domain.
func Mask(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "***"
	}
	_, size := utf8.DecodeRuneInString(address[:at])
	return address[:size] + "***" + address[at:]
}

// Copied returns an address without what came along when it was copied from elsewhere, such as
// "Ada <ada@example.com>", "mailto:ada@example.com" and a line break.
func Copied(text string) string {
	text = strings.TrimRight(strings.TrimSpace(text), " \t\r\n.,;")
	if parsed, err := netmail.ParseAddress(text); err == nil {
		return parsed.Address
	}
	if i := strings.LastIndexByte(text, '<'); i >= 0 && strings.HasSuffix(text, ">") {
		// Behind a name that no header could have, or once more.
		inner := strings.TrimPrefix(text[i+1:len(text)-1], "mailto:")
		if name := text[:i]; !strings.Contains(name, "@") || strings.TrimSpace(name) == inner {
			text = inner
		}
	}
	text = strings.Trim(text, " \t\r\n<>()")
	if before, rest, found := strings.Cut(text, ":"); found && strings.EqualFold(before, "mailto") {
		rest, _, _ = strings.Cut(rest, "?")
		if plain, err := url.PathUnescape(rest); err == nil {
			return plain
		}
	}
	return text
}

// IsMasked tells whether an address is what Mask makes of one.
func IsMasked(address string) bool { return Mask(address) == address }

// ASCIIDomain returns the address with its domain as mail travels: lower case,
// internationalized labels as punycode. The local part stays as it is. It
// refuses a domain that cannot be in the DNS.
func ASCIIDomain(address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 {
		return "", errors.New("the address has no @")
	}
	domain := address[at+1:]
	if isHostName(domain) && !strings.Contains(domain, "--") {
		return address, nil // nothing that IDNA would change or refuse
	}
	domain, err := idna.Lookup.ToASCII(domain)
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

// hostNames have three labels or more. Exchange writes its exceptions in the same way, but
// with longer words at their end, and some servers a sentence without a blank before.
var hostNames = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(^|[^\w@/.-])(?:[A-Za-z0-9_-]+\.){2,}(?:xn--[a-z0-9-]+|[a-z]{2,8}|[A-Z]{2,8})\b`)
})

// WithoutHosts takes the names of hosts out of what a server says, so that a name such as
// mx.antispam.example is no word about spam. Those in links stay: they belong to what a
// server wants to say.
func WithoutHosts(text string) string { return hostNames().ReplaceAllString(text, "$1") }
