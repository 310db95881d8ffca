package providers

import (
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

var (
	urls      = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://\S+`)
	addresses = regexp.MustCompile(localPart + `@` + mailDomain)
	tokens    = regexp.MustCompile(`[A-Za-z0-9+/=_%.~-]{20,}`)
	numbers   = regexp.MustCompile(`\d{4,}`)
)

// What addresses look like in a service's words. A quoted local part may stand
// in JSON or HTML, which escape its quotes once more; an apostrophe at the start
// does not belong to the address, because services quote with it too.
const (
	localPart  = `(?:` + mailQuote + `(?:[^"\\\n]|\\.)*?` + mailQuote + `|[^\s<>()\[\],;:"']+(?:'+[^\s<>()\[\],;:"']+)*'*)`
	mailQuote  = `(?:\\*"|&quot;|&#34;)`
	mailDomain = `(?:\[[^\]\s]*\]|[^\s<>()\[\],;:"']+)`
)

// maxDetail bounds what a log line repeats of a service's words, in bytes.
const maxDetail = 240

// Redact makes a service's words fit for a log. Services quote what they were
// sent: addresses, links, whole bodies with the code in them, keys. What looks
// like any of these is replaced, white space and controls are folded, and the
// rest is shortened.
func Redact(text string) string {
	text = unescaped(text)
	text = urls.ReplaceAllString(text, "[link]")
	text = addresses.ReplaceAllString(text, "[address]")
	text = tokens.ReplaceAllString(text, "[token]")
	text = numbers.ReplaceAllString(text, "[number]")
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}

// unescaped is what a service's words look like to a reader. Addresses go first,
// because the escapes in quoted ones are their own.
func unescaped(text string) string {
	if len(text) > maxWords {
		text = text[:maxWords]
	}
	return visible(plain(addresses.ReplaceAllString(visible(text), "[address]")))
}

// visible makes a blank of every character that has no shape, which could hide
// in the middle of something.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// maxWords bounds what is looked at of a service's words, in bytes.
const maxWords = 4096

var escapes = regexp.MustCompile(`(?:%[0-9A-Fa-f]{2})+|(?:\\u[0-9A-Fa-f]{4})+|\\["'\\/]`)

// plain takes the escapes of URLs, JSON and HTML out of a text, however often it
// was escaped, so that what it quotes is found whatever it came through.
func plain(text string) string {
	for range 8 {
		next := html.UnescapeString(escapes.ReplaceAllStringFunc(text, unescape))
		if next == text {
			return text
		}
		text = next
	}
	return escapes.ReplaceAllString(text, "?") // nobody quotes that deep
}

func unescape(escape string) string {
	var text string
	switch {
	case escape[0] == '%':
		text, _ = url.PathUnescape(escape)
	case escape[1] == 'u':
		_ = json.Unmarshal([]byte(`"`+escape+`"`), &text)
	default:
		text = escape[1:]
	}
	return text
}

// RedactFor is Redact for words about a mail, of which it takes out what it holds
// by what that is, and not by how it looks: recipient, code and link. m is nil
// where no mail was sent.
func RedactFor(m *mail.Message, text string) string { return redactFor(m, text, nil) }

// redactFor takes out what we sign in with, too.
func redactFor(m *mail.Message, text string, logins []settings.Secret) string {
	text = unescaped(text)
	for _, login := range logins {
		for _, part := range strings.Fields(login.Reveal()) { // "Bearer" and the key
			if len(part) >= shortestSecret {
				text = replaceAll(text, spelled(part, ""), "[key]")
			}
		}
	}
	if m == nil {
		return Redact(text)
	}
	link, _ := m.Payload["link"].(string)
	for _, part := range partsOfLink(link) {
		text = replaceAll(text, spelled(part, ""), "[link]")
	}
	quoted := quotedAddress(m.To)
	for _, form := range []string{quoted, m.To} {
		text = replaceAll(text, spelled(form, blanks), "[address]")
	}
	local := spelled(m.To[:max(strings.LastIndexByte(m.To, '@'), 0)], blanks)
	if utf8.RuneCountInString(m.To)-len(mail.Domain(m.To)) <= shortestSecret { // may be a word of the service's own
		local = "[<\"'`]" + local + "[>\"'`]"
	}
	text = replaceAll(text, local, "[address]")
	switch code := payloadText(m.Payload, "code"); {
	case len(code) >= shortestSecret:
		text = replaceAll(text, spelled(code, breaks), "[code]")
	case len(code) > 2:
		text = replaceAll(text, `\b`+spelled(code, breaks)+`\b`, "[code]")
	}
	return Redact(text)
}

const (
	// shortestSecret is the length from which on a text is none of a service's
	// own words by chance.
	shortestSecret = 6
	// blanks and breaks are what services put between the characters of an address
	// and of a code: "482 913".
	blanks = `\s{0,2}`
	breaks = `[\s.\-\x{2010}-\x{2015}]{0,3}`
)

// spelled is an expression for a text with something between its characters.
func spelled(text, between string) string {
	var characters []string
	for _, r := range visible(plain(text)) {
		characters = append(characters, regexp.QuoteMeta(string(r)))
	}
	return strings.Join(characters, between)
}

// replaceAll replaces what an expression finds in small and capital letters.
func replaceAll(text, expression, by string) string {
	if expression == "" {
		return text
	}
	return regexp.MustCompile("(?i)"+expression).ReplaceAllLiteralString(text, by)
}

// partsOfLink are a link and what makes it worth having: its values.
func partsOfLink(link string) []string {
	_, rest, found := strings.Cut(link, "://")
	if !found {
		return nil
	}
	parts := []string{link, rest}
	if address, err := url.Parse(link); err == nil {
		for _, values := range address.Query() {
			for _, value := range values {
				if len(value) >= shortestSecret {
					parts = append(parts, value)
				}
			}
		}
	}
	return parts
}

// maxID bounds the id that a service gives a mail, in characters.
const maxID = 256

// FitID returns a service's id of a mail as records and logs may hold it, and the
// relay's own in place of one that quotes the mail.
func FitID(m *mail.Message, id string) string {
	id = strings.TrimSpace(visible(id))
	if id == "" || quotes(m, id) {
		return m.ID
	}
	if runes := []rune(id); len(runes) > maxID {
		return string(runes[:maxID])
	}
	return id
}

// quotes tells whether a machine's word holds the recipient, the code or the link
// of a mail.
func quotes(m *mail.Message, id string) bool {
	id = visible(plain(id))
	link, _ := m.Payload["link"].(string)
	forms := append(partsOfLink(link), quotedAddress(m.To), m.To)
	if local := m.To[:max(strings.LastIndexByte(m.To, '@'), 0)]; len(local) >= shortestSecret {
		forms = append(forms, local)
	}
	for _, form := range forms {
		if form != "" && regexp.MustCompile("(?i)"+spelled(form, blanks)).MatchString(id) {
			return true
		}
	}
	code := payloadText(m.Payload, "code")
	return len(code) > 2 && regexp.MustCompile(`(?i)(?:^|[^0-9A-Za-z])`+spelled(code, breaks)+`(?:$|[^0-9A-Za-z])`).MatchString(id)
}
