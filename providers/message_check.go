package providers

import (
	"mime"
	"regexp"
	"strconv"
	"strings"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// checkMessage refuses, before anything is built or sent, what could break out of a
// header: CR, LF or NUL in anything that becomes one.
func checkMessage(m *mail.Message) *Error {
	if breaksLine(m.To) {
		return &Error{Kind: Recipient, Detail: "the address holds a control character"}
	}
	for _, part := range []struct{ what, value string }{
		{"From", m.From.Name}, {"From", m.From.Address},
		{"Reply-To", m.ReplyTo.Name}, {"Reply-To", m.ReplyTo.Address},
		{"Subject", m.Subject}, {"Message-ID", m.MessageID},
	} {
		if breaksLine(part.value) {
			return &Error{Kind: Content, Detail: part.what + " holds a line break or NUL"}
		}
	}
	for _, header := range m.Headers {
		if breaksLine(header.Name) || breaksLine(header.Value) {
			return &Error{Kind: Content, Detail: "an additional header holds a line break or NUL"}
		}
	}
	return nil
}

// checkASCII is checkMessage for the services' APIs, none of which takes a local part
// outside ASCII as it should: some refuse it, some write broken headers.
func checkASCII(m *mail.Message) *Error {
	if e := checkMessage(m); e != nil {
		return e
	}
	if !mail.IsASCII(m.To) {
		return &Error{Kind: Recipient, Filtered: true, Detail: "the service takes no address with letters outside ASCII before the @"}
	}
	if !mail.IsASCII(m.From.Address) || !mail.IsASCII(m.ReplyTo.Address) {
		return &Error{Kind: Configuration, Detail: "the service takes no sender with letters outside ASCII before the @",
			Hint: "send from an address in plain letters, or through SMTP"}
	}
	return nil
}

func breaksLine(value string) bool { return strings.ContainsAny(value, "\r\n\x00") }

// mailbox writes an address with its display name quoted or encoded, for the
// services that take it as one text; empty for none.
func mailbox(a mail.Address) string {
	if a.Name == "" || a.Address == "" {
		return quotedAddress(a.Address)
	}
	return a.String()
}

// quotedMailbox is mailbox for the services that take the text as JSON and do not
// decode names: in UTF-8, between quotes.
func quotedMailbox(a mail.Address) string {
	address := quotedAddress(a.Address)
	if a.Name == "" || a.Address == "" {
		return address
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.Name) + `" <` + address + ">"
}

// word is what every service takes as a tag, up to 64 characters.
var word = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// tag returns the message type if it is fit to be a tag at any service, and an
// empty text otherwise: a tag is for statistics, no reason to refuse a mail.
func tag(m *mail.Message) string {
	if len(m.Type) <= 64 && word.MatchString(m.Type) {
		return m.Type
	}
	return ""
}

// checkKey reports a key of a service that cannot be one, such as one with the
// white space that copying leaves behind.
func checkKey(name string, key settings.Secret) []settings.Problem {
	if !strings.ContainsFunc(key.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil
	}
	return []settings.Problem{{Key: name,
		Text: "this holds a space, a line break or another character that is in no key; copy it again"}}
}

// isStatus tells whether a machine-readable code is a bare number.
func isStatus(code string) bool {
	_, err := strconv.ParseUint(code, 10, 32)
	return err == nil
}

// encodedHeader writes the value of an additional header in ASCII.
func encodedHeader(value string) string { return mime.QEncoding.Encode("utf-8", value) }

// named returns the mailbox under the given display name, if there is one.
func named(m settings.Mailbox, name string) settings.Mailbox {
	if name != "" && !m.IsZero() {
		m.Name = name
	}
	return m
}

// addressHint is for the refusal that egress pinning is about.
const addressHint = "this machine's address may be missing from the account's list of allowed IP addresses"

// aboutOperator are words about the sender and the account, which the reader of a
// mail has no part in, and which another provider may do without.
var aboutOperator = regexp.MustCompile(`(?i)\bnot (yet )?(been )?(verified|authenticated|activated|approved|authori[sz]ed|allowed to send)|` +
	`\bunverified\b|\bunauthori[sz]ed\b|\bsuspended\b|` +
	"\\b(from|sender|reply[-_ ]?to|reply address)[`'\"]? (field|address|e-?mail|parameter|domain|name|header|identity|signature|is|was|must)\\b|" +
	"\\b(invalid|missing|unknown|illegal|bad|malformed|unrecognized)[a-z ]{0,12}[`'\"]?(from|sender|reply[-_ ]?to)\\b|" +
	`\b(api|access) key\b|\baccounts?\b|\bsender you used\b|\bsender's\b|\btrial\b|\brequested user\b|\bsubscription\b|\bcredits?\b|\bquota\b|\bpermissions?\b|configuration set|` +
	`\b(hourly|daily|monthly)\b|\brate limit|\bthrottl|\btokens?\b|\bbalance\b|\byour plan\b|message stream|\bfrom object\b|\bdomain\b.*\bblocked\b|` +
	`\bips?\b.*\bblock|\bsandbox\b|\bverified recipients?\b|\bbounce rate|\bmails bounced|\btoo many (of your|recipients|requests|e-?mails)\b|\brecipient limit\b|\bper (second|minute|hour|day|month)\b|\b(e-?mail|sending) limit\b|` +
	`\b(from|sender) mailbox\b|\bdomain\b.*\bverif`)

var aboutAddress = regexp.MustCompile(`(?i)\bip\b.*(allow|white|authori|permit|restrict|can't be used)|(allow|white)-?list`)

// isAboutOperator looks for them beside the addresses, which may have such words in them:
// accounts@example.org. So does refusesAddress.
func isAboutOperator(words string) bool {
	return aboutOperator.MatchString(addresses.ReplaceAllString(words, ""))
}

// refusesAddress tells whether a refusal is about the address that we come from.
func refusesAddress(message string) bool {
	return aboutAddress.MatchString(addresses.ReplaceAllString(message, ""))
}

// quotedAddress returns an address as headers write it (see mail.Path), for the
// services' APIs, which judge by themselves an address that cannot be.
func quotedAddress(address string) string {
	if path, _, err := mail.Path(address); err == nil {
		return path
	}
	return address
}
