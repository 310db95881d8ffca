package mail

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The lengths of RFC 5321, 4.5.3.1, in bytes.
const (
	maxLocalPart = 64
	maxAddress   = 254
)

// ParseRecipient returns the one mailbox that text names, as mail travels: its
// domain in lower-case ASCII, a quoted local part without its quotes.
//
// It is narrower than RFC 5322 where width only helps an attacker (lists,
// comments, angle brackets, blanks, controls, routes to other domains) and wider where people have real
// addresses that the RFC frowns at: dots at the end of a local part or in a row,
// as some Japanese carriers gave out, and local parts outside ASCII. Its errors
// do not repeat the text.
func ParseRecipient(text string) (string, error) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return "", errors.New("recipient has no @")
	}
	local, domain := text[:at], text[at+1:]
	if inner, quoted := unquote(local); quoted {
		local, text = inner, inner+"@"+domain
	}
	if err := checkLocalPart(local); err != nil {
		return "", err
	}
	if !strings.Contains(strings.Trim(domain, "."), ".") {
		return "", errors.New("recipient's domain has no dot")
	}
	address, err := ASCIIDomain(text)
	if err != nil {
		return "", errors.New("recipient's domain cannot exist")
	}
	if len(address) > maxAddress {
		return "", errors.New("recipient is too long")
	}
	return address, nil
}

func unquote(local string) (inner string, quoted bool) {
	inner, opened := strings.CutPrefix(local, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	return inner, opened && closed
}

func checkLocalPart(local string) error {
	if local == "" || len(local) > maxLocalPart || !utf8.ValidString(local) {
		return errors.New("recipient's local part is empty, too long or not UTF-8")
	}
	for _, r := range local {
		if r < utf8.RuneSelf {
			if isAtomText(byte(r)) || r == '.' {
				continue
			}
			return errors.New("recipient's local part has a character that no mailbox needs")
		}
		if !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsNumber(r) && !unicode.IsSymbol(r) {
			return errors.New("recipient's local part has an invisible character")
		}
	}
	if isRoute(local) {
		return errors.New("recipient's local part leads to another domain")
	}
	return nil
}

// isRoute tells whether a mail server may send on what it gets for a local part, as Postfix does
// by itself with eve%example.com@acme.example and example.com!eve@acme.example, where it takes
// mail for that domain: https://www.postfix.org/postconf.5.html#allow_percent_hack. Whoever may
// get mail would be decided by the wrong domain.
func isRoute(local string) bool {
	percent, bang := strings.IndexByte(local, '%'), strings.LastIndexByte(local, '!')
	return percent >= 0 && strings.Contains(local[percent:], ".") || bang >= 0 && strings.Contains(local[:bang], ".")
}
