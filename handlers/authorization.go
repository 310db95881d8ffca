package handlers

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"logto-email-relay/settings"
)

// What is wrong with an Authorization header, for the operator's log. The
// caller is told nothing of it.
const (
	headerMissing    = "no Authorization header"
	headerRepeated   = "more than one Authorization header"
	schemeMissing    = "the Authorization header lacks the scheme that the configured value begins with"
	schemeUnexpected = "the Authorization header has a scheme that the configured value lacks"
	blanksDiffer     = "the Authorization header differs from the configured value in blanks"
	headerWrong      = "the Authorization header is not one of the configured values"
)

// authorization holds the sums of the accepted header values, and of their
// usual misspellings, which are told apart for the log alone. Sums are of one
// length, so that comparing them takes the same time for every guess.
type authorization struct {
	accepted, withoutScheme, withoutBlanks [][sha256.Size]byte
}

// newAuthorization takes the accepted values. Blanks around them are dropped,
// since HTTP drops those of the header.
func newAuthorization(values []settings.Secret) *authorization {
	a := new(authorization)
	for _, value := range values {
		text := strings.TrimSpace(value.Reveal())
		a.accepted = append(a.accepted, sha256.Sum256([]byte(text)))
		a.withoutBlanks = append(a.withoutBlanks, sha256.Sum256([]byte(withoutBlanks(text))))
		if _, bare, found := strings.Cut(text, " "); found {
			a.withoutScheme = append(a.withoutScheme, sha256.Sum256([]byte(bare)))
		}
	}
	return a
}

// check returns what is wrong with the header, or an empty text.
func (a *authorization) check(header http.Header) string {
	values := header.Values("Authorization")
	switch {
	case len(values) == 0:
		return headerMissing
	case len(values) > 1:
		return headerRepeated
	}
	given := values[0]
	_, bare, hasScheme := strings.Cut(given, " ")
	switch {
	case isAmong(a.accepted, given):
		return ""
	case isAmong(a.withoutScheme, given):
		return schemeMissing
	case hasScheme && isAmong(a.accepted, bare):
		return schemeUnexpected
	case isAmong(a.withoutBlanks, withoutBlanks(given)):
		return blanksDiffer
	}
	return headerWrong
}

// isAmong compares with every sum, whether or not an earlier one matched.
func isAmong(sums [][sha256.Size]byte, text string) bool {
	sum := sha256.Sum256([]byte(text))
	match := 0
	for i := range sums {
		match |= subtle.ConstantTimeCompare(sums[i][:], sum[:])
	}
	return match == 1
}

func withoutBlanks(text string) string { return strings.Join(strings.Fields(text), "") }
