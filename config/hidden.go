package config

import (
	"regexp"
	"strings"
	"unicode"

	"logto-email-relay/settings"
)

// hidden stands for a key that may be a secret.
const hidden = "…"

var (
	// harmlessURL has nothing but a scheme, which may have been forgotten, a host and a port.
	harmlessURL = regexp.MustCompile(`^(?:[A-Za-z][A-Za-z0-9+.-]*://)?[^/?#@\s]*/?$`)
	// bareURL is one without its scheme, which somebody forgot.
	bareURL = regexp.MustCompile(`^(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?::\d+)?[/?]\S`)
	keyLike = regexp.MustCompile(`[A-Za-z0-9+/=_-]{20,}`)
	// login is user:password@host without a scheme.
	login = regexp.MustCompile(`^[^:@\s]+:[^\s]+@`)
)

// mayHoldKey tells whether a text of a setting that is no secret looks like one all
// the same: services have keys in their URLs, and people paste into the wrong line.
func mayHoldKey(text string) bool {
	return strings.Contains(text, "://") && !harmlessURL.MatchString(text) ||
		bareURL.MatchString(text) || login.MatchString(text) || keyLike.MatchString(text) && strings.ContainsAny(text, "0123456789")
}

// shownKey is a key of the file as a problem tells it. No key has a blank: then what
// follows the blank may be a secret, behind a colon that is missing.
func shownKey(key string) string {
	if mayHoldKey(key) || strings.ContainsFunc(key, unicode.IsSpace) {
		return hidden
	}
	return settings.Printable(key, 64)
}
