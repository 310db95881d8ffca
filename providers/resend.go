package providers

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Resend, Send Email:
//
//	request and answer   https://resend.com/docs/api-reference/emails/send-email
//	errors               https://resend.com/docs/api-reference/errors
//	domains              https://resend.com/docs/api-reference/domains/list-domains
//	idempotency          https://resend.com/docs/dashboard/emails/idempotency-keys
const resendEndpoint = "https://api.resend.com"

// resendSettings are those of a service that Logto has no connector for.
type resendSettings struct {
	Common
	// APIKey is best one with sending access to one domain.
	APIKey settings.Secret `json:"apiKey" validate:"required"`
	// FromEmail is the sender of this provider's mails.
	FromEmail settings.Mailbox `json:"fromEmail"`
	// EventSecret verifies the signature of delivery events: the signing secret of
	// the webhook, which begins with whsec_.
	EventSecret settings.Secret `json:"eventSecret"`
}

func newResendSettings() *resendSettings { return &resendSettings{} }

// Check asks for a key that can be one, and for TLS on its way.
func (s *resendSettings) Check() []settings.Problem {
	problems := append(checkKey("apiKey", s.APIKey), s.checkConnection()...)
	if key, err := s.eventKey(); s.TakesEvents() && (err != nil || len(key) < 16) {
		problems = append(problems, settings.Problem{Key: "eventSecret", Text: `write the webhook's signing secret, which begins with "whsec_"`})
	}
	return problems
}

// Sender returns fromEmail.
func (s *resendSettings) Sender() Sender { return Sender{From: s.FromEmail} }

// Open makes the provider.
func (s *resendSettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared(), s.APIKey)
	if err != nil {
		return nil, err
	}
	key, err := s.eventKey()
	if err != nil {
		return nil, err
	}
	return &resend{api, s.APIKey, s.endpointOr(resendEndpoint), mail.Domain(s.FromEmail.Address.Address), key}, nil
}

var (
	_ Repeatable = (*resend)(nil)
	_ Verifier   = (*resend)(nil)
)

type resend struct {
	*api
	key      settings.Secret
	endpoint string
	domain   string // of the sender; empty if it is not this provider's own
	eventKey []byte // empty for none
}

// resendMail is the body of a request. Tracking is a setting of the domain and
// cannot be switched off here.
type resendMail struct {
	From    string            `json:"from"`
	To      []string          `json:"to"`
	ReplyTo string            `json:"reply_to,omitempty"`
	Subject string            `json:"subject"`
	Text    string            `json:"text"`
	HTML    string            `json:"html,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Tags    []resendTag       `json:"tags"`
}

type resendTag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Send posts the message. Accepted is a 200 with an id.
//
// The message's own id is the idempotency key: for 24 hours, the same message
// sent again is answered like the first time and mailed once. It also tells
// net/http that it may send the request again when a pooled connection breaks.
func (p *resend) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkASCII(m); e != nil {
		return Receipt{}, e
	}
	body, err := json.Marshal(newResendMail(m))
	if err != nil {
		return Receipt{}, unbuilt(err)
	}
	header := p.header()
	header.Set("Content-Type", "application/json")
	header.Set("Idempotency-Key", m.ID)
	x, err := p.request(ctx, http.MethodPost, p.endpoint+"/emails", header, body)
	if e := x.refusal(m, err, resendErrors); e != nil {
		return Receipt{}, e
	}
	var answer struct{ ID string }
	x.read(&answer)
	if answer.ID == "" {
		return Receipt{}, x.unreadable(m)
	}
	return x.receipt(answer.ID), nil
}

func (p *resend) header() http.Header {
	return http.Header{"Authorization": {"Bearer " + p.key.Reveal()}}
}

// Verify lists the domains. A key with sending access may not, and is told so in
// other words than a wrong one.
func (p *resend) Verify(ctx context.Context) (string, error) {
	x, err := p.request(ctx, http.MethodGet, p.endpoint+"/domains", p.header(), nil)
	e := x.verdict(err, resendErrors)
	switch {
	case e != nil && e.Code == "restricted_api_key":
		return "this key may only send, so that the state of the domain is not known", nil
	case e != nil:
		return "", e
	}
	var answer struct {
		Data []struct {
			Name, Status string
			Capabilities struct{ Sending string }
		}
		HasMore bool `json:"has_more"`
	}
	x.read(&answer)
	if answer.Data == nil {
		return "", x.foreign()
	}
	for _, domain := range answer.Data {
		if p.domain != "" && !strings.EqualFold(domain.Name, p.domain) {
			continue
		}
		var fault, hint string
		switch domain.Status {
		case "not_started", "pending", "failed", "failure":
			fault, hint = "the sender's domain is not verified", "add its DNS records, under Domains"
		default:
			if domain.Capabilities.Sending != "disabled" { // https://resend.com/docs/api-reference/domains/create-domain
				return "", nil
			}
			fault, hint = "the sender's domain does not send", "enable sending for it, under Domains"
		}
		if p.domain != "" {
			return "", x.unfit(fault, hint)
		}
	}
	if answer.HasMore {
		return "the account has more domains than were looked at, so that the state of the sender's is not known", nil
	}
	return "", x.unfit("the sender's domain is not among the account's verified ones", "add it under Domains")
}

// Repeatable holds for 24 hours, by the idempotency key.
func (p *resend) Repeatable() {}

func newResendMail(m *mail.Message) resendMail {
	body := resendMail{
		From: quotedMailbox(m.From), To: []string{quotedAddress(m.To)}, ReplyTo: quotedMailbox(m.ReplyTo),
		Subject: m.Subject, Text: m.Text, HTML: m.HTML.String(),
		Tags: []resendTag{{"relay_id", m.ID}},
	}
	if tag := tag(m); tag != "" {
		body.Tags = append(body.Tags, resendTag{"type", tag})
	}
	body.Headers = make(map[string]string, len(m.Headers))
	for _, header := range m.Headers {
		body.Headers[header.Name] = encodedHeader(header.Value)
	}
	return body
}

// resendToField is how Resend names the field that it complains of.
var (
	resendToField   = regexp.MustCompile("(?i)[`'\"]to[`'\"] field|\\bto field")
	resendFromField = regexp.MustCompile("(?i)[`'\"]?\\b(from|reply_?to)[`'\"]? field")
)

// resendErrors reads {"statusCode":…,"name":…,"message":…}. A name alone does
// not tell: validation_error comes with 400, 403 and 422.
func resendErrors(x *exchange) Error {
	var answer struct{ Name, Message string }
	x.read(&answer)
	e := Error{Code: answer.Name, Detail: answer.Message}
	said := strings.ToLower(answer.Message)
	switch x.status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		switch {
		case resendToField.MatchString(answer.Message):
			e.Kind = Recipient
		case strings.Contains(said, "not verified"):
			e.Kind, e.Hint = Configuration, "verify the sender's domain under Domains"
		case strings.Contains(said, "api key"):
			e.Kind, e.Hint = Configuration, "check apiKey"
		case resendFromField.MatchString(answer.Message):
			e.Kind, e.Hint = Configuration, "check the sender and the reply address"
		}
	case http.StatusUnavailableForLegalReasons:
		e.Kind, e.Hint = Configuration, "Resend has stopped the account's mails; ask its support"
	case http.StatusUnauthorized:
		e.Hint = "check apiKey"
	case http.StatusForbidden:
		switch {
		case strings.Contains(said, "not verified"):
			e.Hint = "verify the sender's domain under Domains"
		case strings.Contains(said, "testing emails"):
			e.Hint = "without a verified domain Resend sends to the account's own address only"
		default:
			e.Hint = "check apiKey and what it may do"
		}
	case http.StatusConflict:
		switch answer.Name {
		case "concurrent_idempotent_requests":
			// The same mail is still being worked on; a moment later it is known what became of it.
			e.Kind, e.RetryAfter, e.AboutAddress = Uncertain, soonest, true
		case "resource_locked":
			e.Kind = Temporary
		case "invalid_idempotent_request":
			// An earlier, different mail was accepted under this key.
			e.Kind = Uncertain
		}
	case http.StatusTooManyRequests:
		e.Quota = answer.Name == "daily_quota_exceeded" || answer.Name == "monthly_quota_exceeded"
		if x.header.Get("Retry-After") == "" {
			e.RetryAfter = retryAfter(x.header.Get("RateLimit-Reset"), time.Now())
		}
	case http.StatusServiceUnavailable:
		if !x.isObject() {
			e.Kind = Uncertain
		}
	}
	return e
}
