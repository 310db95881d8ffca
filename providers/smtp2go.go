package providers

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// SMTP2GO, API v3:
//
//	request and answer   https://developers.smtp2go.com/reference/send-standard-email
//	errors               https://developers.smtp2go.com/docs/response-codes
//	permissions          https://developers.smtp2go.com/reference/view-api-key-permissions
const smtp2goEndpoint = "https://api.smtp2go.com"

// smtp2goSettings bear the keys of Logto's SMTP2GO connector.
type smtp2goSettings struct {
	Common
	// APIKey needs the permission for /email/send and no other.
	APIKey settings.Secret `json:"apiKey" validate:"required"`
	// SenderMail is the sender of this provider's mails, SenderName its display name.
	SenderMail settings.Mailbox `json:"sender"`
	SenderName string           `json:"senderName" validate:"max=128,oneline"`
	// Templates are the mails of Logto's connector.
	Templates []typedTemplate `json:"templates" validate:"dive"`
	// EventCredentials are the user and password ("user:pass") that delivery events
	// come with. Both stand in the webhook's address too.
	EventCredentials settings.Secret `json:"eventCredentials"`
}

func newSMTP2GOSettings() *smtp2goSettings { return &smtp2goSettings{} }

// Check asks for a key that can be one, and for TLS on its way.
func (s *smtp2goSettings) Check() []settings.Problem {
	return slices.Concat(checkKey("apiKey", s.APIKey), s.checkConnection(), checkCredentials("eventCredentials", s.EventCredentials))
}

// Mails returns templates.
func (s *smtp2goSettings) Mails() []mail.ConnectorTemplate { return typedMails(s.Templates) }

// Sender returns sender under the name senderName.
func (s *smtp2goSettings) Sender() Sender { return Sender{From: named(s.SenderMail, s.SenderName)} }

// Open makes the provider.
func (s *smtp2goSettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared(), s.APIKey)
	if err != nil {
		return nil, err
	}
	// The service's pages give the addresses of its regions with the version.
	base := strings.TrimSuffix(s.endpointOr(smtp2goEndpoint), "/v3") + "/v3"
	return &smtp2go{api, s.APIKey, base, s.EventCredentials}, nil
}

var _ Verifier = (*smtp2go)(nil)

type smtp2go struct {
	*api
	key      settings.Secret
	endpoint string
	events   settings.Secret // the credentials of calls with events; empty for none
}

// smtp2goMail is the body of a request. Tracking is a setting of the API key and
// cannot be switched off here.
type smtp2goMail struct {
	Sender  string          `json:"sender"`
	To      []string        `json:"to"`
	Subject string          `json:"subject"`
	Text    string          `json:"text_body"`
	HTML    string          `json:"html_body,omitempty"`
	Headers []smtp2goHeader `json:"custom_headers,omitempty"`
}

type smtp2goHeader struct {
	Header string `json:"header"`
	Value  string `json:"value"`
}

// smtp2goAnswer is the body of every answer.
type smtp2goAnswer struct {
	Data struct {
		Succeeded, Failed int
		Failures          []json.RawMessage
		ID                string `json:"email_id"`
		Error             string
		Code              string          `json:"error_code"`
		Fields            json.RawMessage `json:"field_validation_errors"`
		Permissions       json.RawMessage
	}
}

// Send posts the message. Accepted is a 200 with an email_id that tells of no
// failure: a mail that is refused is answered 200, too.
func (p *smtp2go) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkASCII(m); e != nil {
		return Receipt{}, e
	}
	message := smtp2goMail{Sender: quotedMailbox(m.From), To: []string{quotedAddress(m.To)}, Subject: m.Subject, Text: m.Text, HTML: m.HTML.String()}
	for _, header := range m.Headers {
		message.Headers = append(message.Headers, smtp2goHeader{header.Name, encodedHeader(header.Value)})
	}
	message.Headers = append(message.Headers, smtp2goHeader{"X-Relay-Id", m.ID})
	if m.MessageID != "" {
		message.Headers = append(message.Headers, smtp2goHeader{"Message-ID", "<" + m.MessageID + ">"})
	}
	if m.ReplyTo.Address != "" {
		message.Headers = append(message.Headers, smtp2goHeader{"Reply-To", mailbox(m.ReplyTo)})
	}
	body, err := json.Marshal(message)
	if err != nil {
		return Receipt{}, unbuilt(err)
	}
	x, err := p.request(ctx, http.MethodPost, p.endpoint+"/email/send", p.header(), body)
	if e := x.refusal(m, err, smtp2goErrors); e != nil {
		return Receipt{}, e
	}
	var answer smtp2goAnswer
	x.read(&answer)
	switch data := answer.Data; {
	case data.Succeeded == 0 && data.Failed > 0, data.Error != "", data.Code != "":
		return Receipt{}, x.failure(m, nil, smtp2goErrors(x))
	case data.ID == "", data.Succeeded == 0:
		return Receipt{}, x.unreadable(m)
	default:
		return x.receipt(data.ID), nil
	}
}

// Verify asks what the key may do, which every key may.
func (p *smtp2go) Verify(ctx context.Context) (string, error) {
	x, err := p.request(ctx, http.MethodPost, p.endpoint+"/api_keys/permissions", p.header(), []byte("{}"))
	if e := x.verdict(err, smtp2goErrors); e != nil {
		return "", e
	}
	var answer smtp2goAnswer
	x.read(&answer)
	switch data := answer.Data; {
	case data.Error != "", data.Code != "":
		return "", x.failure(nil, nil, smtp2goErrors(x))
	case len(data.Permissions) == 0:
		return "", x.foreign()
	case !strings.Contains(string(data.Permissions), "email/send") && !strings.Contains(string(data.Permissions), `email\/send`):
		return "the permission /email/send is not named among those of the key", nil
	}
	return "", nil
}

func (p *smtp2go) header() http.Header {
	return http.Header{"X-Smtp2go-Api-Key": {p.key.Reveal()}, "Content-Type": {"application/json"}, "Accept": {"application/json"}}
}

var (
	smtp2goField  = regexp.MustCompile(`(?i)"fieldname":\s*"(to|sender)\b`)
	smtp2goPerson = regexp.MustCompile(`(?i)\brecipient|\bto (email )?address|mailbox`)
	smtp2goListed = regexp.MustCompile(`(?i)suppress|block.?list|unsubscribed|bounced`)
)

// smtp2goErrors reads {"data":{"error":…,"error_code":…}} and, of a mail that was
// refused with 200, {"data":{"failures":[…]}}. A wrong permission is a 400.
func smtp2goErrors(x *exchange) Error {
	var answer smtp2goAnswer
	x.read(&answer)
	data := answer.Data
	e := Error{Detail: data.Error, Code: strings.TrimPrefix(data.Code, "E_ApiResponseCodes.")}
	if e.Detail == "" && len(data.Failures) > 0 {
		e.Detail = string(data.Failures[0])
	}
	words := addresses.ReplaceAllString(e.Detail, "")
	field := smtp2goField.FindSubmatch(data.Fields)
	switch {
	case x.status == http.StatusTooManyRequests:
	case e.Code == "ENDPOINT_PERMISSION_DENIED":
		e.Kind, e.Hint = Configuration, "give the key the permission /email/send; or "+addressHint
	case refusesAddress(data.Error):
		e.Kind, e.Hint = Configuration, addressHint+" (Settings, Sending Options, IP Allowlist)"
	case e.Code == "SENDER_NOT_VERIFIED":
		e.Kind, e.Hint = Configuration, smtp2goVerify
	case field != nil && strings.EqualFold(string(field[1]), "to"):
		e.Kind = Recipient
	case field != nil:
		e.Kind, e.Hint = Configuration, "check the sender"
	case x.status == http.StatusUnauthorized:
		e.Hint = "check apiKey"
	case isAboutOperator(e.Detail):
		e.Kind, e.Hint = Configuration, smtp2goVerify
	case smtp2goListed.MatchString(words):
		e.Kind, e.Suppressed = Recipient, true
	case smtp2goPerson.MatchString(words):
		e.Kind = Recipient
	case x.is2xx(): // refused, and nobody knows why: nothing was taken
		e.Kind, e.Hint = Configuration, smtp2goVerify
	}
	return e
}

const smtp2goVerify = "verify the sender or its domain under Sending, Verified Senders, and see the state of the account"
