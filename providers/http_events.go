package providers

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// httpEventSignature is an HMAC-SHA256 of the body in hexadecimal digits.
type httpEventSignature struct {
	// Header is the header with the signature.
	Header string `json:"header"`
	// Secret is the key.
	Secret settings.Secret `json:"secret"`
}

// httpEventMapping tells where things stand in an event, each as a path such as
// "data.email.id". A call may hold one event or a list of them.
type httpEventMapping struct {
	// ID is the path of the message's id: that of the service, or the relay's own,
	// which "{{id}}" puts into a mail.
	ID string `json:"id"`
	// Status is the path of what happened, or a list of paths, whose texts are put
	// together with a blank between them.
	Status settings.Texts `json:"status"`
	// Statuses are the service's words for what happened, and what they mean. Other
	// words are of no interest.
	Statuses map[string]string `json:"statuses"`
	// Time is the path of the time: seconds or milliseconds since 1970, or a text
	// such as "2026-11-21T08:00:00Z". That of the call when not given.
	Time string `json:"time"`
	// Recipient is the path of the address that the mail went to. It is not stored:
	// what the words say of it is taken out of them, and words for a bounce that are
	// about another address say nothing of this one.
	Recipient string `json:"recipient"`
	// Detail is the path of the words that the service has for it.
	Detail string `json:"detail"`
	// Key is the path of the event's own id, by which one that is reported again is
	// known. When not given, an event is known by its whole text.
	Key string `json:"key"`
}

// softBounced stands for a bounce that says little of the next mail.
const softBounced = "softBounced"

// httpStatuses are what the words of a service can mean.
var httpStatuses = []string{string(mail.StatusDelivered), string(mail.StatusDeferred), string(mail.StatusBounced), softBounced,
	string(mail.StatusComplained), string(mail.StatusSuppressed), string(mail.StatusFailed)}

// TakesEvents tells whether events can be verified.
func (s *httpSettings) TakesEvents() bool {
	return s.EventCredentials.Reveal() != "" || s.EventSignature.Secret.Reveal() != ""
}

// checkEvents wants all that events need.
func (s *httpSettings) checkEvents() []settings.Problem {
	problems := checkCredentials("eventCredentials", s.EventCredentials)
	complain := func(key, text string) { problems = append(problems, settings.Problem{Key: key, Text: text}) }
	if signature := s.EventSignature; (signature.Header == "") != (signature.Secret.Reveal() == "") {
		complain("eventSignature", "write both header and secret")
	}
	mapping := s.EventMapping
	for _, word := range slices.Sorted(maps.Keys(mapping.Statuses)) {
		if !slices.Contains(httpStatuses, mapping.Statuses[word]) {
			complain("eventMapping.statuses."+word, "write one of: "+strings.Join(httpStatuses, ", "))
		}
	}
	isMapped := mapping.ID != "" && len(mapping.Status) > 0 && len(mapping.Statuses) > 0
	switch {
	case s.TakesEvents() && !isMapped:
		complain("eventMapping", "write at least id, status and statuses, so that events can be understood")
	case !s.TakesEvents() && isMapped:
		complain("eventCredentials", "events need a user and a password, or eventSignature, so that nobody else can send them")
	}
	return problems
}

var _ EventReceiver = (*httpProvider)(nil)

// DropsUnavailable tells that the service may drop what is answered 503, and comes again after
// 429, as Brevo does: https://developers.brevo.com/docs/retry-mechanism
func (p *httpProvider) DropsUnavailable() bool { return true }

// Events checks the credentials and the signature, as far as there are to be any.
func (p *httpProvider) Events(_ context.Context, header http.Header, body []byte, now time.Time) ([]mail.Report, error) {
	s := p.settings
	if s.EventCredentials.Reveal() != "" {
		if refused := verifyCredentials(header, s.EventCredentials); refused != nil {
			return nil, refused
		}
	}
	if secret := s.EventSignature.Secret.Reveal(); secret != "" {
		signature, err := hex.DecodeString(header.Get(s.EventSignature.Header))
		if err != nil || !isSigned([]byte(secret), signature, string(body)) {
			return nil, &EventError{Status: http.StatusUnauthorized, Detail: "the signature is missing or not by the secret of eventSignature"}
		}
	}
	if !s.TakesEvents() {
		return nil, &EventError{Status: http.StatusUnauthorized, Detail: "events cannot be verified"}
	}
	_, raw, failed := decodeEvents[map[string]json.RawMessage](body)
	if failed != nil {
		return nil, failed
	}
	var reports []mail.Report
	for _, one := range raw {
		if r, ok := s.EventMapping.reportOf(one, now); ok {
			reports = append(reports, r)
		}
	}
	return reports, nil
}

// reportOf reads one event. It is of no interest if its word has no meaning.
func (m *httpEventMapping) reportOf(event []byte, now time.Time) (r mail.Report, ok bool) {
	var words []string
	for _, path := range m.Status {
		if values := jsonValues(event, path); len(values) > 0 {
			if is, ok := values[0].(bool); ok {
				words = append(words, strconv.FormatBool(is))
				continue
			}
		}
		if word := jsonPath(event, path); word != "" {
			words = append(words, word)
		}
	}
	status, ok := m.Statuses[strings.Join(words, " ")]
	if !ok {
		return r, false
	}
	soft := status == softBounced
	if soft {
		status = string(mail.StatusBounced)
	}
	id := jsonPath(event, m.ID)
	return report(id, id, cmp.Or(jsonPath(event, m.Key), sumOf(event)), moment(jsonPath(event, m.Time), now), mail.Status(status), soft,
		recipientsOf(loose(jsonPath(event, m.Recipient))), "", loose(jsonPath(event, m.Detail))), true
}
