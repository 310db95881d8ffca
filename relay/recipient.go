package relay

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"logto-email-relay/settings"
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
// comments, angle brackets, blanks, controls) and wider where people have real
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
		local = inner
	}
	if err := checkLocalPart(local); err != nil {
		return "", err
	}
	if !strings.Contains(strings.Trim(domain, "."), ".") {
		return "", errors.New("recipient's domain has no dot")
	}
	address, err := settings.ASCIIDomain(local + "@" + domain)
	if err != nil {
		return "", errors.New("recipient's domain cannot exist")
	}
	if len(address) > maxAddress {
		return "", errors.New("recipient is too long")
	}
	return address, nil
}

func unquote(local string) (string, bool) {
	if len(local) >= 2 && local[0] == '"' && local[len(local)-1] == '"' {
		return local[1 : len(local)-1], true
	}
	return local, false
}

func checkLocalPart(local string) error {
	if local == "" || len(local) > maxLocalPart || !utf8.ValidString(local) {
		return errors.New("recipient's local part is empty, too long or not UTF-8")
	}
	for _, r := range local {
		if r < utf8.RuneSelf {
			if isAtext(byte(r)) || r == '.' {
				continue
			}
			return errors.New("recipient's local part has a character that no mailbox needs")
		}
		if !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsNumber(r) && !unicode.IsSymbol(r) {
			return errors.New("recipient's local part has an invisible character")
		}
	}
	return nil
}

// isAtext is atext of RFC 5322, 3.2.3.
func isAtext(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns a correlation id: 128 random bits as 26 characters of digits and
// lower-case letters, without those that are easily misread.
func NewID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	var id [26]byte
	idEncoding.Encode(id[:], random[:])
	return string(id[:])
}

// Reference is the part of a correlation id that people read to each other.
func Reference(id string) string { return id[:min(8, len(id))] }
