package providers

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"regexp"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// MailJunky, API v1, as Logto's connector for it uses it:
//
//	request, answer, errors   https://www.mailjunky.ai/docs
//	connector                 https://www.npmjs.com/package/@logto/connector-mailjunky
const mailJunkyEndpoint = "https://mailjunky.ai"

// mailJunkySettings bear the keys of Logto's MailJunky connector.
type mailJunkySettings struct {
	Common
	// APIKey is one of the account's.
	APIKey settings.Secret `json:"apiKey" validate:"required"`
	// FromEmail is the sender of this provider's mails, FromName its display name.
	FromEmail settings.Mailbox `json:"fromEmail"`
	FromName  string           `json:"fromName" validate:"max=128,oneline"`
	// Templates are the mails of Logto's connector.
	Templates []typedTemplate `json:"templates" validate:"dive"`
}

func newMailJunkySettings() *mailJunkySettings { return &mailJunkySettings{} }

// Check asks for a key that can be one, and for TLS on its way.
func (s *mailJunkySettings) Check() []settings.Problem {
	return append(checkKey("apiKey", s.APIKey), s.checkConnection()...)
}

// Mails returns templates.
func (s *mailJunkySettings) Mails() []mail.ConnectorTemplate { return typedMails(s.Templates) }

// Sender returns fromEmail under the name fromName.
func (s *mailJunkySettings) Sender() Sender { return Sender{From: named(s.FromEmail, s.FromName)} }

// Open makes the provider.
func (s *mailJunkySettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared(), s.APIKey)
	if err != nil {
		return nil, err
	}
	return &mailJunky{api, s.APIKey, s.endpointOr(mailJunkyEndpoint) + "/api/v1/emails/send"}, nil
}

var _ Verifier = (*mailJunky)(nil)

type mailJunky struct {
	*api
	key settings.Secret
	url string
}

// mailJunkyMail is the body of a request: what Logto's connector sends, and a
// reply address.
type mailJunkyMail struct {
	From    string `json:"from"`
	To      string `json:"to"`
	ReplyTo string `json:"reply_to,omitempty"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
	HTML    string `json:"html,omitempty"`
}

// Send posts the message. Accepted is a 2xx with an id.
func (p *mailJunky) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkASCII(m); e != nil {
		return Receipt{}, e
	}
	body, err := json.Marshal(mailJunkyMail{From: quotedMailbox(m.From), To: quotedAddress(m.To), ReplyTo: quotedAddress(m.ReplyTo.Address),
		Subject: m.Subject, Text: m.Text, HTML: m.HTML.String()})
	if err != nil {
		return Receipt{}, unbuilt(err)
	}
	x, err := p.request(ctx, http.MethodPost, p.url, p.header(m.ID), body)
	if e := x.refusal(m, err, mailJunkyErrors); e != nil {
		return Receipt{}, e
	}
	var answer struct {
		ID        string
		MessageID string `json:"message_id"`
		Status    string
		Error     any
	}
	x.read(&answer)
	id := cmp.Or(answer.ID, answer.MessageID)
	switch {
	case id != "" && !mailJunkyUnsent.MatchString(answer.Status):
		return x.receipt(id), nil
	case id != "", complaint(map[string]any{"error": answer.Error}, 3) != "": // a message alone may be of a mail that was taken
		return Receipt{}, x.failure(m, nil, mailJunkyErrors(x))
	}
	return Receipt{}, x.unreadable(m)
}

// Verify posts a message without anything in it, which no service can mail: a
// wrong key is refused before its fields are looked at.
func (p *mailJunky) Verify(ctx context.Context) (string, error) {
	x, err := p.request(ctx, http.MethodPost, p.url, p.header(""), []byte("{}"))
	if (x.status == http.StatusBadRequest || x.status == http.StatusUnprocessableEntity) &&
		mailJunkyMissing.MatchString(mailJunkyErrors(x).Detail) {
		return "", nil
	}
	if e := x.verdict(err, mailJunkyErrors); e != nil {
		return "", e
	}
	return "", x.foreign()
}

// header bears the id of the mail, which has no place in the body.
func (p *mailJunky) header(id string) http.Header {
	header := http.Header{"Authorization": {"Bearer " + p.key.Reveal()}, "Content-Type": {"application/json"}}
	if id != "" {
		header.Set("X-Request-Id", id)
	}
	return header
}

var (
	// mailJunkyMissing are the words for a message without its fields.
	mailJunkyMissing = regexp.MustCompile(`(?i)required|missing|must (be|have|include|provide)|validation failed`)
	mailJunkyTo      = regexp.MustCompile("(?i)[`'\"]to[`'\"]|\\bto (field|address)|\\brecipient")
	mailJunkyUnsent  = regexp.MustCompile(`(?i)^(?:failed|error|rejected|suppressed|bounced|dropped|blocked|cancell?ed)$`)
	mailJunkyListed  = regexp.MustCompile(`(?i)suppress|unsubscribed`)
)

// mailJunkyErrors reads {"message":…,"code":…}, or {"error":…} in place of the
// message. What it says of sender and account is the operator's.
func mailJunkyErrors(x *exchange) Error {
	var answer struct {
		Message, Code, Status string
		Error                 any
	}
	x.read(&answer)
	e := Error{Code: answer.Code, Detail: cmp.Or(answer.Message, complaint(map[string]any{"error": answer.Error}, 3), answer.Status)}
	switch {
	case x.status == http.StatusTooManyRequests:
	case x.status == http.StatusUnauthorized:
		e.Hint = "check apiKey"
	case x.status == http.StatusForbidden:
		e.Hint = "check what the key may do, and that the sender's domain is verified; or " + addressHint
	case isAboutOperator(e.Detail):
		e.Kind, e.Hint = Configuration, "verify the sender's domain, and see the state of the account"
	case x.status != http.StatusBadRequest && x.status != http.StatusUnprocessableEntity && !x.is2xx():
	case mailJunkyListed.MatchString(addresses.ReplaceAllString(e.Detail, "")):
		e.Kind, e.Suppressed = Recipient, true
	case mailJunkyTo.MatchString(e.Detail):
		e.Kind = Recipient
	case x.is2xx(): // refused, and nobody knows why: nothing was taken
		e.Kind = Configuration
	}
	return e
}
