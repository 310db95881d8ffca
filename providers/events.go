package providers

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"logto-email-relay/bounces"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

// EventSettings are those of a provider whose service reports what becomes of its
// mails.
type EventSettings interface {
	Settings
	// TakesEvents tells whether the operator wrote what reports are verified by. Only
	// then the provider is an EventReceiver that may be asked.
	TakesEvents() bool
}

// EventReceiver is a Provider that understands the reports of its service.
type EventReceiver interface {
	Provider
	// Events verifies one call of the service, and returns what it reports. The
	// header and the body are as they came. What is of no interest here, such as an
	// opened mail, is left out. Its error is always an *EventError.
	Events(ctx context.Context, header http.Header, body []byte, now time.Time) ([]mail.Report, error)
}

// EventError is a call that was not taken.
type EventError struct {
	// Status is that of the answer. Services differ in what makes them come again.
	Status int
	// Detail tells the operator why. It quotes nothing of the call.
	Detail string
	// Err is the cause, whose text is never printed; nil if there is none.
	Err error
}

// Error describes the failure in one line.
func (e *EventError) Error() string { return strconv.Itoa(e.Status) + ": " + e.Detail }

// Unwrap returns the cause.
func (e *EventError) Unwrap() error { return e.Err }

// maxEvents bounds the events of one call. The most that is known is SendGrid's: it
// calls after 768 kB.
const maxEvents = 5000

// ahead is how much a service's clock may be ahead of ours.
const ahead = 5 * time.Minute

// isCurrent tells whether a time is not older than a service goes on trying to
// report, and not in the future.
func isCurrent(at, now time.Time, oldest time.Duration) bool {
	age := now.Sub(at)
	return age <= oldest && age >= -ahead
}

// isCurrentUnix is isCurrent for seconds since 1970, as headers write them.
func isCurrentUnix(text string, now time.Time, oldest time.Duration) bool {
	seconds, err := strconv.ParseInt(text, 10, 64)
	return err == nil && isCurrent(time.Unix(seconds, 0), now, oldest)
}

// tooOld is why a call is refused whose time is not current.
const tooOld = "the call is too old, or our clock is wrong"

// isSigned tells whether a signature is the HMAC-SHA256 of parts, in constant time.
func isSigned(key, signature []byte, parts ...string) bool {
	return hmac.Equal(signatureOf(key, parts...), signature)
}

func signatureOf(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// verifyCredentials refuses a call that does not bear "user:pass" by HTTP Basic
// authentication, in constant time. No call bears empty ones.
func verifyCredentials(header http.Header, credentials settings.Secret) *EventError {
	request := http.Request{Header: header}
	user, pass, _ := request.BasicAuth()
	given, wanted := sha256.Sum256([]byte(user+":"+pass)), sha256.Sum256([]byte(credentials.Reveal()))
	if len(header.Values("Authorization")) == 1 && subtle.ConstantTimeCompare(given[:], wanted[:]) == 1 {
		return nil
	}
	return &EventError{Status: http.StatusUnauthorized, Detail: "the address at the service does not have the eventCredentials"}
}

// checkCredentials wants a user and a password that cannot be guessed.
func checkCredentials(key string, credentials settings.Secret) []settings.Problem {
	text := credentials.Reveal()
	user, pass, _ := strings.Cut(text, ":")
	if text == "" || user != "" && len(pass) >= 12 && !breaksLine(text) {
		return nil
	}
	return []settings.Problem{{Key: key,
		Text: `write a user and a password of at least 12 characters, such as "relay:${EVENT_PASSWORD}", and both into the address at the service`}}
}

// decodeEvents reads a list of events, or a single one. One that is not as the
// service documents it does not keep the others from being read: it is left out.
func decodeEvents[T any](body []byte) (list []T, raw []json.RawMessage, err *EventError) {
	var all []json.RawMessage
	if json.Unmarshal(body, &all) != nil {
		if !json.Valid(body) {
			return nil, nil, &EventError{Status: http.StatusBadRequest, Detail: "the body is not JSON"}
		}
		all = []json.RawMessage{body}
	}
	if len(all) > maxEvents {
		return nil, nil, &EventError{Status: http.StatusRequestEntityTooLarge, Detail: "there are more than " + strconv.Itoa(maxEvents) + " events in the call"}
	}
	for _, one := range all {
		var event T
		if json.Unmarshal(one, &event) == nil {
			list, raw = append(list, event), append(raw, one)
		}
	}
	if len(list) == 0 && len(all) > 0 {
		return nil, nil, &EventError{Status: http.StatusBadRequest, Detail: "no event in the body is as the service documents it"}
	}
	return list, raw, nil
}

// loose is a text in JSON, or a number, which services write in place of one;
// everything else is empty.
type loose string

// UnmarshalJSON takes anything.
func (l *loose) UnmarshalJSON(value []byte) error {
	var text string
	var number json.Number
	if json.Unmarshal(value, &text) == nil {
		*l = loose(text)
	} else if json.Unmarshal(value, &number) == nil {
		*l = loose(number.String())
	}
	return nil
}

// eventKind is a word of a service's own for what happened.
var eventKind = regexp.MustCompile(`^[A-Za-z]{1,40}$`)

// report makes what goes into the record of what a service says: the kind of the
// event in a word of its own, and details of which only harmless words stay.
// There are no recipients where the service does not tell.
func report(id, providerID, key string, at time.Time, status mail.Status, soft bool, recipients []string, kind loose, details ...loose) mail.Report {
	r := newReport(id, providerID, key, at, status, recipients, kind, details...)
	if status == mail.StatusBounced {
		words := joined(details)
		b, isOther := bounceOf(words), len(recipients) > 0 && namesAnother(words, recipients...)
		isHard := b.hard || words == "" || !b.isReply && serviceWords.MatchString(words)
		r.Soft = soft || !isHard || isOther
		r.Ours = r.Soft && (isOther || !isHard && !b.ofMailbox)
	}
	return r
}

// recipientsOf leaves out addresses that are not there.
func recipientsOf(all ...loose) (list []string) {
	for _, address := range all {
		if address != "" {
			list = append(list, string(address))
		}
	}
	return list
}

// namesAnother tells whether words for a bounce are about an address, and the recipient's
// is not among them: they are about the sender then.
func namesAnother(words string, recipients ...string) bool {
	return anyAddress.MatchString(whomToAsk.ReplaceAllString(words, "")) && !slices.ContainsFunc(recipients, func(to string) bool {
		return to != "" && strings.Contains(strings.ToLower(words), strings.ToLower(to))
	})
}

// newReport makes one that does not tell yet what a bounce means.
func newReport(id, providerID, key string, at time.Time, status mail.Status, recipients []string, kind loose, details ...loose) mail.Report {
	var said []string
	if eventKind.MatchString(string(kind)) {
		said = append(said, string(kind))
	}
	if words := joined(details); words != "" {
		redacted := Redact(words)
		for _, to := range recipients {
			if address, err := mail.ParseRecipient(to); err == nil && mayName(words, address) {
				redacted = (&Private{to: address}).Redact(words)
				words = redacted
			}
		}
		said = append(said, redacted)
	}
	if !mail.IsID(id) {
		id = ""
	}
	return mail.Report{ID: id, ProviderID: shortID(visibleID(providerID)), Key: key,
		Event: mail.Event{Time: at, Status: status, Detail: shortened(strings.Join(said, ": "))}}
}

// mayName tells quickly whether words may hold what stands before the @ of an address. Nearly
// none do, and services report thousands of events at a time.
func mayName(words, address string) bool {
	letters := func(text string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || r == '=' {
				return -1
			}
			return unicode.ToLower(r)
		}, unescaped(text))
	}
	local, _, _ := strings.Cut(address, "@")
	return strings.Contains(letters(words), letters(local)) ||
		slices.ContainsFunc(inBase64(address), func(form string) bool { return strings.Contains(words, form) })
}

func joined(details []loose) string {
	var words []string
	for _, detail := range details {
		if detail != "" {
			words = append(words, string(detail))
		}
	}
	return strings.Join(words, ": ")
}

// bounce is what words for one mean.
type bounce struct {
	// isReply tells that they have a mail server's code. hard are words or codes about the
	// address: no others make a bounce hard, whatever a service calls it.
	isReply, hard bool
	// ofMailbox are words about the mailbox, such as that it is full or closed, and
	// soft is a code that is known to say nothing of the address, for a report that has
	// no words.
	ofMailbox, soft bool
}

func bounceOf(words string) (b bounce) {
	if quoted := quotedIn(words); quoted != nil {
		words = strings.Join(quoted, " ")
	}
	said := smtp.Reply{Code: 550, Text: words}
	if found := basicCode.FindStringSubmatch(words); found != nil {
		said.Code, _ = strconv.Atoi(found[1])
	}
	if found := enhancedCode.FindStringSubmatch(words); found != nil {
		said.Enhanced = found[1]
	}
	b.isReply = said.Enhanced != "" || basicCode.MatchString(words)
	text, enhanced := smtpWords(said)
	e := refusal(smtp.AtDot, said)
	isFull := mailboxCodes.MatchString(enhanced) || anyOf(fullWords+"|"+quotaExceeded, "|", func(w string) bool { return strings.Contains(text, w) })
	passes := isFull || bounces.HasAddress(words) || softCodes.MatchString(enhanced) || toMailFrom.MatchString(words)
	b.hard = !passes && (e.Kind == Recipient || e.Hint == "" && noMailDomain.MatchString(enhanced+text))
	b.ofMailbox = e.AboutAddress && !triedLater.MatchString(enhanced+text) || isFull && e.Hint == "" || b.hard && closedWords.MatchString(text)
	b.soft = passes || !b.hard && (e.Hint != "" || otherCodes.MatchString(enhanced))
	return b
}

const anAddress = `[\w.+=-]+@[\w-]+(?:\.[\w-]+)+`

var (
	anyAddress = regexp.MustCompile(anAddress)
	whomToAsk  = regexp.MustCompile(`(?i)\b(?:ask|contact|consult|mailto|write to|reach|via|help|assistance|support|questions?)[\s:,?][^@<]{0,40}?<?` + anAddress +
		`|(?i)\b(?:e-?mail|to) <?(?:postmaster|abuse|tosa)@[\w.-]+`)
	basicCode    = regexp.MustCompile(`(?:^|[\s:;(])([45]\d\d)(?:[\s:;-]|$)`)
	enhancedCode = regexp.MustCompile(`(?:^|[^.\d])([45]\.[0-7]\.\d{1,3})(?:\.?[^.\d]|\.?$)`)
	mailboxCodes = regexp.MustCompile(`^4\.2\.|^5\.2\.([23]|12[12])$`)
	softCodes    = regexp.MustCompile(`^4\.|^5\.4\.([67]|14|300|316)$`)                        // given up on the way
	otherCodes   = regexp.MustCompile(`^5\.[367]\.`)                                           // of the server, the content and policies
	toMailFrom   = regexp.MustCompile(`(?i)\b(in reply to|after) mail from\b|>>> mail from\b`) // before the address was named
	triedLater   = regexp.MustCompile(`^4\.[14]\.|gr[ea]y.?list|verif|policy rejection`)       // which the reader's server asks of every new sender
	closedWords  = regexp.MustCompile(`(mailbox|account|user)\b.{0,40}\b(disabled|inactive|inactivity|deactivated|suspended)`)
	// serviceWords are a service's own for a bounce that it calls hard, and what it makes of
	// those of a server: Brevo's, Mandrill's, Mailjet's, and without a code others'.
	serviceWords = regexp.MustCompile(`(?i)^(?:(?:previously )?bounced address|hard[ _-]?bounced?|hard|permanent|invalid|bad[ _](?:mailbox|address)|` +
		`no mail host|unknown host|domain not found|unknown or illegal alias|user account is unavailable|` +
		`(?:account|address)(?: is| was| has been)? (?:invalid|not found|unknown|closed|disabled|deactivated))\.?$|` +
		`\bsent a hard bounce message\b|\binvalid[ _](?:e-?mail|domain)\b|\b(?:e-?mail|e-?mail address|address) is (?:invalid|not valid)\b|` +
		`\bmailbox inactive\b|\binactive user\b|\b(?:unable to find|invalid) mx of domain\b|\bcouldn't find any host\b|` +
		`\bmx records point to non-existent\b|\brecipient no longer on server\b`)
	noMailDomain = regexp.MustCompile(`^5\.4\.4 |\bno mx\b|null mx|nxdomain|domain name not found|domain is not reachable`)
)

// sumOf is the key of an event that has none of its own.
func sumOf(event []byte) string {
	sum := sha256.Sum256(event)
	return hex.EncodeToString(sum[:])
}

// moment is a time in any of the forms that services write: seconds or milliseconds
// since 1970, RFC 3339, or the same without a zone, which is UTC; now if it is none.
func moment(text string, now time.Time) time.Time {
	if number, err := strconv.ParseFloat(text, 64); err == nil {
		if number > 1e11 {
			number /= 1000
		}
		if !(number > 0 && number < 1e11) { // nor NaN
			return now
		}
		return time.UnixMicro(int64(number * 1e6)).UTC()
	}
	for _, layout := range []string{time.RFC3339, time.DateTime} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC()
		}
	}
	return now
}
