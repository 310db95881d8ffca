package providers

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

var (
	urls      = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://\S+`)
	addresses = regexp.MustCompile(localPart + `@` + mailDomain)
	tokens    = regexp.MustCompile(`[A-Za-z0-9+/=_%.~-]{20,}`)
	longWords = regexp.MustCompile(`^(?:[a-z]+(?:[-_][a-z]+)*|(?:[A-Z][a-z]+)+)[.:]?$`)
	numbers   = regexp.MustCompile(`\p{Nd}{4,}`)
)

// What addresses look like in a service's words. A quoted local part may stand
// in JSON or HTML, which escape its quotes once more; an apostrophe at the start
// does not belong to the address, because services quote with it too.
const (
	localPart  = `(?:` + mailQuote + `(?:[^"\\\n]|\\.)*?` + mailQuote + `|[^\s<>()\[\],;:"']+(?:'+[^\s<>()\[\],;:"']+)*'*|'+)`
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
	text = tokens.ReplaceAllStringFunc(text, func(token string) string {
		if longWords.MatchString(token) { // OnAccountSuppressionList, suppress-unsubscribe
			return token
		}
		return "[token]"
	})
	text = numbers.ReplaceAllString(text, "[number]")
	return shortened(strings.Join(strings.Fields(text), " "))
}

func shortened(text string) string {
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
	return folded(plain(addresses.ReplaceAllString(folded(text), "[address]")))
}

// folded is a text as a reader may type it: full-width, circled and raised characters
// are those that they stand for.
func folded(text string) string { return norm.NFKC.String(visible(text)) }

// visible makes a blank of every character that has no shape, which could hide
// in the middle of something.
func visible(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// maxWords bounds what is looked at of a service's words, in bytes.
const maxWords = 4096

var escapes = regexp.MustCompile(`(?:%[0-9A-Fa-f]{2})+|(?:\\u[0-9A-Fa-f]{4})+|(?:\\x[0-9A-Fa-f]{2})+|(?:=[0-9A-F]{2}){2,}|\\["'\\/nrt]`)

// plain takes the escapes of URLs, JSON, quoted-printable and HTML out of a text, however often it
// was escaped, so that what it quotes is found whatever it came through.
func plain(text string) string {
	for range 8 {
		if !strings.ContainsAny(text, `%\&=`) {
			return text
		}
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
	case escape[0] == '=' || escape[1] == 'x':
		bytes, _ := hex.DecodeString(strings.NewReplacer("=", "", `\x`, "").Replace(escape))
		text = string(bytes)
	case escape[1] == 'u':
		_ = json.Unmarshal([]byte(`"`+escape+`"`), &text)
	case strings.Contains("nrt", escape[1:]):
		text = " "
	default:
		text = escape[1:]
	}
	return text
}

// Private is what of a mail no log may hold, though services like to quote it.
type Private struct{ id, to, code, link string }

// PrivateOf finds it in a message.
func PrivateOf(m *mail.Message) *Private {
	link, _ := m.Payload["link"].(string)
	return &Private{m.ID, m.To, payloadText(m.Payload, "code"), link}
}

// local is the recipient's address up to the @.
func (p *Private) local() string { return p.to[:max(strings.LastIndexByte(p.to, '@'), 0)] }

// redactFor is Redact for words about a mail, of which it takes out what it holds
// by what that is, and not by how it looks: recipient, code and link, and what we sign
// in with. m is nil where no mail was sent.
func redactFor(m *mail.Message, text string, logins []settings.Secret) string {
	text = unescaped(text)
	for _, part := range partsOfLogins(logins) {
		text = replaceAll(text, spelled(part, blanks), "[key]")
	}
	if m == nil {
		return Redact(text)
	}
	return PrivateOf(m).redact(text)
}

// partsOfLogins are the words that they consist of, such as "Bearer" and the key.
func partsOfLogins(logins []settings.Secret) (parts []string) {
	for _, login := range logins {
		fields := strings.Fields(login.Reveal())
		if len(fields) > 2 { // of an app password each group is short
			fields = append(fields, strings.Join(fields, ""))
		}
		for _, part := range fields {
			if len(part) >= shortestSecret {
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// quotesLogin tells whether a machine's word, an id or a code, holds what we sign in with.
// A region and the like, which stand in headers too, are shorter than keys.
func (x *exchange) quotesLogin(word string) bool {
	const shortestKey = 16
	word = strings.ToLower(folded(plain(word)))
	return slices.ContainsFunc(partsOfLogins(x.logins), func(part string) bool {
		return len(part) >= shortestKey && spells(word, part, isBlank, 3, false)
	})
}

// receipt is that of an accepted mail, without an id that quotes what we sign in with.
func (x *exchange) receipt(id string) Receipt {
	if x.quotesLogin(id) {
		id = ""
	}
	return Receipt{ID: id}
}

// Redact is redactFor for a mail of which nothing else is known.
func (p *Private) Redact(text string) string { return p.redact(unescaped(text)) }

func (p *Private) redact(text string) string {
	for _, part := range partsOfLink(p.link) {
		text = replaceAll(text, spelled(part, blanks), "[link]")
	}
	for _, form := range []string{quotedAddress(p.to), p.to} {
		text = replaceAll(text, spelled(form, blanks), "[address]")
	}
	for _, form := range inBase64(p.to) {
		text = strings.ReplaceAll(text, form, "[address]")
	}
	local, domain := spelled(p.local(), blanks), spelled(mail.Domain(p.to), blanks)
	if local != "" { // "anna at example.org", "example.org!anna"
		text = replaceAll(text, local+`.{1,9}?`+domain+`|`+domain+`.{1,3}?`+local, "[address]")
	}
	if utf8.RuneCountInString(p.to)-len(mail.Domain(p.to)) <= shortestSecret { // may be a word of the service's own
		local = "[<\"'`]" + local + "[>\"'`]"
	}
	text = replaceAll(text, local, "[address]")
	switch {
	case len(p.code) >= shortestSecret:
		text = replaceAll(text, spelled(p.code, breaks), "[code]")
	case len(p.code) > 2:
		text = replaceAll(text, `\b`+spelled(p.code, breaks)+`\b`, "[code]")
	}
	if len(p.code) > 3 {
		for _, form := range inBase64(p.code) {
			text = strings.ReplaceAll(text, form, "[code]")
		}
	}
	return Redact(text)
}

const (
	// shortestSecret is the length from which on a text is none of a service's
	// own words by chance.
	shortestSecret = 6
	// blanks and breaks are what services put between the characters of an address or
	// a link, where quoted-printable folds them, and of a code: "482 913", "<b>482</b><b>913</b>".
	blanks = `=?\s{0,3}`
	breaks = `(?:[^\p{L}\p{N}]|<[^<>]*>){0,6}`
)

// spelled is an expression for a text with something between its characters.
func spelled(text, between string) string {
	var characters []string
	for _, r := range folded(plain(text)) {
		characters = append(characters, regexp.QuoteMeta(string(r)))
	}
	return strings.Join(characters, between)
}

// inBase64 returns what is the same of a text wherever in a Base64 it stands: 0, 1 or 2
// bytes behind the beginning of a group.
func inBase64(text string) (forms []string) {
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), text...))
		end := (before + len(text)) * 8 / 6 // the character behind also holds bits of what follows
		forms = append(forms, encoded[(before*8+5)/6:end])
	}
	return forms
}

// replaceAll replaces what an expression finds in small and capital letters.
func replaceAll(text, expression, by string) string {
	if expression == "" {
		return text
	}
	return regexp.MustCompile("(?i)"+expression).ReplaceAllLiteralString(text, by)
}

// partsOfLink are a link and what makes it worth having: its values, and what has a
// digit in its path.
func partsOfLink(link string) []string {
	_, rest, found := strings.Cut(link, "://")
	if !found {
		return nil
	}
	parts := []string{link, rest}
	if address, err := url.Parse(link); err == nil {
		for _, part := range append(strings.Split(address.Path, "/"), address.Fragment) {
			if len(part) >= shortestSecret && strings.ContainsAny(part, "0123456789") {
				parts = append(parts, part)
			}
		}
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
func (p *Private) FitID(id string) string {
	id = visibleID(id)
	if id == "" || p.isQuotedIn(id) {
		return p.id
	}
	return shortID(id)
}

// visibleID and shortID make what a service calls a mail fit for records and logs. Both are
// for what it says when it takes the mail and for what it says later, so that both are the same.
func visibleID(id string) string { return strings.TrimSpace(visible(id)) }

func shortID(id string) string {
	if runes := []rune(id); len(runes) > maxID {
		return string(runes[:maxID])
	}
	return id
}

// isQuotedIn tells whether a machine's word holds the recipient, the code or the
// link of the mail. Every accepted mail has an id to be looked at, so that this
// does without regular expressions.
func (p *Private) isQuotedIn(word string) bool {
	word = strings.ToLower(folded(plain(word)))
	forms := append(partsOfLink(p.link), quotedAddress(p.to), p.to)
	if local := p.local(); len(local) >= shortestSecret {
		forms = append(forms, local)
	}
	for _, form := range forms {
		if spells(word, form, isBlank, 2, false) {
			return true
		}
	}
	return len(p.code) > 2 && spells(word, p.code, isBreak, 3, true)
}

func isBlank(r rune) bool { return r == ' ' }

// isBreak knows less than breaks: words joined by other marks are what many ids are.
func isBreak(r rune) bool { return r == ' ' || r == '.' || r == '-' || 0x2010 <= r && r <= 0x2015 }

// spells tells whether a text in lower case holds a word, with at most so many
// characters of a kind between its own; alone is for a word that no letter or digit
// stands beside.
func spells(text, word string, between func(rune) bool, most int, alone bool) bool {
	word = strings.ToLower(folded(plain(word)))
	if word == "" {
		return false
	}
	first, _ := utf8.DecodeRuneInString(word)
	before := ' '
	for i, r := range text {
		if r == first && !(alone && isLetterOrDigit(before)) {
			if rest, found := cutSpelled(text[i:], word, between, most); found {
				after, _ := utf8.DecodeRuneInString(rest)
				if !alone || !isLetterOrDigit(after) {
					return true
				}
			}
		}
		before = r
	}
	return false
}

// cutSpelled returns what follows the word at the beginning of a text.
func cutSpelled(text, word string, between func(rune) bool, most int) (rest string, found bool) {
	for word != "" {
		want, size := utf8.DecodeRuneInString(word)
		for n := 0; ; n++ {
			r, width := utf8.DecodeRuneInString(text)
			if r == want {
				text = text[width:]
				break
			}
			if n == most || !between(r) {
				return "", false
			}
			text = text[width:]
		}
		word = word[size:]
	}
	return text, true
}

func isLetterOrDigit(r rune) bool { return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' }
