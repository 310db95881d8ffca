package handlers

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"logto-email-relay/handlers/web"
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
	// callers are those who bear the accepted values, by their place.
	callers []web.Caller
}

// newAuthorization takes the accepted values. Blanks around them are dropped,
// since HTTP drops those of the header.
func newAuthorization(values []settings.Token) *authorization {
	a := new(authorization)
	for place, value := range values {
		a.callers = append(a.callers, web.Caller{Tenant: value.Tenant, Label: cmp.Or(value.Tenant, strconv.Itoa(place))})
		text := strings.TrimSpace(value.Reveal())
		a.accepted = append(a.accepted, sha256.Sum256([]byte(text)))
		a.withoutBlanks = append(a.withoutBlanks, sha256.Sum256([]byte(withoutBlanks(text))))
		if _, bare, found := strings.Cut(text, " "); found {
			a.withoutScheme = append(a.withoutScheme, sha256.Sum256([]byte(bare)))
		}
	}
	return a
}

// check returns the place of the value that the header bears, or what is wrong
// with it.
func (a *authorization) check(header http.Header) (place int, mismatch string) {
	values := header.Values("Authorization")
	switch {
	case len(values) == 0:
		return none, headerMissing
	case len(values) > 1:
		return none, headerRepeated
	}
	given := values[0]
	if place := placeOf(a.accepted, given); place != none {
		return place, ""
	}
	_, bare, _ := strings.Cut(given, " ") // empty without a scheme, which no value is
	switch {
	case placeOf(a.withoutScheme, given) != none:
		return none, schemeMissing
	case placeOf(a.accepted, bare) != none:
		return none, schemeUnexpected
	case placeOf(a.withoutBlanks, withoutBlanks(given)) != none:
		return none, blanksDiffer
	}
	return none, headerWrong
}

// none is the place of a text that is not there.
const none = -1

// placeOf returns which of the sums is that of the text. It compares with every
// sum, whether or not an earlier one matched.
func placeOf(sums [][sha256.Size]byte, text string) int {
	sum := sha256.Sum256([]byte(text))
	place := none
	for i := range sums {
		place = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sums[i][:], sum[:]), i, place)
	}
	return place
}

func withoutBlanks(text string) string { return strings.Join(strings.Fields(text), "") }

// tenantHeader tells a caller with an accepted value whose it is. Logto passes no header
// of an answer on to the sign-in page.
const tenantHeader = "X-Relay-Tenant"

// requireAuthorization lets only those pass who know one of the accepted values,
// and notes which, so that an operator who changes the value sees that the old one
// is out of use. Only they may name a trace, so that nobody else writes into the log.
func (p *public) requireAuthorization(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		place, mismatch := p.accepted.check(c.Request().Header)
		if mismatch != "" {
			return &web.Failure{Reason: web.Unauthorized, Detail: mismatch}
		}
		x := c.(*web.Exchange)
		x.Caller, x.Trace = p.accepted.callers[place], traceOf(c.Request().Header)
		if x.Caller.Tenant != "" {
			c.Response().Header().Set(tenantHeader, x.Caller.Tenant)
		}
		return next(c)
	}
}
