package providers

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// smtpPath returns the address as it stands between the angle brackets of a
// command or a header: a local part that is no dot-atom is quoted (RFC 5321
// section 4.1.2). ascii is false when the address needs SMTPUTF8.
func smtpPath(address string) (path string, ascii bool, err error) {
	at := strings.LastIndexByte(address, '@')
	if at < 1 || at == len(address)-1 {
		return "", false, errors.New("not an address")
	}
	local, domain := address[:at], address[at+1:]
	if !isDomainText(domain) {
		return "", false, errors.New("the part after the @ is not a domain in ASCII")
	}
	if isASCII(local) && isDotAtom(local) { // as nearly all are
		return address, true, nil
	}
	ascii = true
	for _, r := range local {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || 0x80 <= r && r < 0xa0 {
			return "", false, errors.New("the part before the @ holds a control character")
		}
		ascii = ascii && r < utf8.RuneSelf
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
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-':
		case c <= ' ' || c > '~' || strings.IndexByte(`"<>@()\,;`, c) >= 0:
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

// quotedAddress is smtpPath for the services' APIs, which judge by themselves an
// address that cannot be.
func quotedAddress(address string) string {
	if path, _, err := smtpPath(address); err == nil {
		return path
	}
	return address
}
