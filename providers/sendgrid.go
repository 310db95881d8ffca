package providers

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sendgrid/rest"
	"github.com/sendgrid/sendgrid-go"
	sendgridmail "github.com/sendgrid/sendgrid-go/helpers/mail"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Twilio SendGrid, Mail Send v3:
//
//	request and answer   https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
//	errors               https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
//	permissions          https://www.twilio.com/docs/sendgrid/api-reference/api-key-permissions/retrieve-a-list-of-scopes-for-which-this-user-has-access
//	allowed addresses    https://www.twilio.com/docs/sendgrid/api-reference/ip-access-management
const sendGridEndpoint = "https://api.sendgrid.com"

// sendGridSettings bear the keys of Logto's SendGrid connector.
type sendGridSettings struct {
	Common
	// APIKey needs the permission Mail Send and no other.
	APIKey settings.Secret `json:"apiKey" validate:"required"`
	// FromEmail is the sender of this provider's mails, FromName its display name.
	FromEmail settings.Mailbox `json:"fromEmail"`
	FromName  string           `json:"fromName" validate:"max=128,oneline"`
	// Templates are the mails of Logto's connector, or ids of templates at SendGrid.
	Templates []sendGridTemplate `json:"templates" validate:"dive"`
	// EventPublicKey verifies the signature of delivery events. It is shown beside the
	// Event Webhook, under its security features.
	EventPublicKey settings.Secret `json:"eventPublicKey"`
}

// sendGridTemplate is one mail of Logto's SendGrid connector, or the id ("d-…")
// of a dynamic template at SendGrid.
type sendGridTemplate struct {
	storableTemplate
	// ContentType is text/html or text/plain. This connector calls it so.
	ContentType string `json:"type" validate:"omitempty,oneof=text/plain text/html"`
}

func newSendGridSettings() *sendGridSettings { return &sendGridSettings{} }

// Check asks for a key that can be one, and for TLS on its way.
func (s *sendGridSettings) Check() []settings.Problem {
	problems := append(checkKey("apiKey", s.APIKey), s.checkConnection()...)
	if _, err := s.eventKey(); s.TakesEvents() && err != nil {
		problems = append(problems, settings.Problem{Key: "eventPublicKey",
			Text: "write the verification key as SendGrid shows it beside the signed Event Webhook, one line of Base64"})
	}
	for i, t := range s.Templates {
		problems = append(problems, t.check(i)...)
		if t.Template != "" && !strings.HasPrefix(t.Template, "d-") {
			problems = append(problems, settings.Problem{Key: templateKey(i) + ".template",
				Text: `write the id of a dynamic template, which begins with "d-"`})
		}
	}
	return problems
}

// Mails returns templates.
func (s *sendGridSettings) Mails() []mail.ConnectorTemplate {
	var list []mail.ConnectorTemplate
	for i, t := range s.Templates {
		list = append(list, t.mail(i, t.ContentType))
	}
	return list
}

// Sender returns fromEmail under the name fromName.
func (s *sendGridSettings) Sender() Sender { return Sender{From: named(s.FromEmail, s.FromName)} }

// Open makes the provider.
func (s *sendGridSettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared(), s.APIKey)
	if err != nil {
		return nil, err
	}
	p := &sendGrid{api: api, key: s.APIKey, endpoint: s.endpointOr(sendGridEndpoint)}
	if s.TakesEvents() {
		if p.eventKey, err = s.eventKey(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

var _ Verifier = (*sendGrid)(nil)

type sendGrid struct {
	*api
	key      settings.Secret
	endpoint string
	eventKey *ecdsa.PublicKey // nil for none
}

// Send posts the message. The status 202 is the whole verdict: it comes with an
// empty body, and an answer that breaks off after it was an acceptance.
func (p *sendGrid) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkASCII(m); e != nil {
		return Receipt{}, e
	}
	// The library's Client writes into itself while it sends, so each mail gets
	// its own request.
	request := sendgrid.GetRequest(p.key.Reveal(), "/v3/mail/send", p.endpoint)
	request.Method = rest.Post
	request.Body = sendgridmail.GetRequestBody(sendGridMail(m))

	ctx, x := withExchange(ctx)
	_, err := (&rest.Client{HTTPClient: p.client}).SendWithContext(ctx, request)
	if e := x.refusal(m, err, sendGridErrors); e != nil {
		return Receipt{}, e
	}
	switch x.status {
	case http.StatusAccepted:
	case http.StatusOK:
		return Receipt{}, x.finish(m, Error{Kind: Configuration, Detail: "the mail was only checked, not sent",
			Hint: "switch off sandbox mode in the account's mail settings"})
	default:
		return Receipt{}, x.finish(m, Error{Kind: Uncertain, Detail: "the status is not the one for accepted mails"})
	}
	id, body := x.header.Get("X-Message-Id"), bytes.TrimSpace(x.body)
	switch {
	case id != "":
		return x.receipt(id), nil
	case len(body) > 0 && body[0] != '{', sendGridErrors(x).Detail != "": // of something else that answers 202
		return Receipt{}, x.unreadable(m)
	}
	return Receipt{ID: m.ID}, nil
}

// header is that of the requests that the library does not make.
func (p *sendGrid) header() http.Header {
	return http.Header{"Authorization": {"Bearer " + p.key.Reveal()}}
}

// Verify asks what the key may do.
func (p *sendGrid) Verify(ctx context.Context) (string, error) {
	x, err := p.request(ctx, http.MethodGet, p.endpoint+"/v3/scopes", p.header(), nil)
	if e := x.verdict(err, sendGridErrors); e != nil {
		return "", e
	}
	var answer struct{ Scopes []string }
	x.read(&answer)
	switch {
	case len(answer.Scopes) == 0:
		return "", x.foreign()
	case !slices.Contains(answer.Scopes, "mail.send"):
		return "", x.unfit("the key may not send", "give the key the permission Mail Send")
	}
	return "", nil
}

func sendGridMail(m *mail.Message) *sendgridmail.SGMailV3 {
	to := sendgridmail.NewPersonalization()
	// No name: SendGrid refuses some in "to".
	to.AddTos(sendgridmail.NewEmail("", quotedAddress(m.To)))
	to.SetCustomArg("relay_id", m.ID)

	body := sendgridmail.NewV3Mail()
	body.AddPersonalizations(to)
	// In the object form display names go as they are, not encoded.
	body.SetFrom(sendgridmail.NewEmail(m.From.Name, quotedAddress(m.From.Address)))
	if m.ReplyTo.Address != "" {
		body.SetReplyTo(sendgridmail.NewEmail(m.ReplyTo.Name, quotedAddress(m.ReplyTo.Address)))
	}
	if m.Stored != nil {
		body.SetTemplateID(m.Stored.Name)
		to.DynamicTemplateData = m.Stored.Data
	} else {
		body.Subject = m.Subject
		body.AddContent(sendgridmail.NewContent("text/plain", m.Text))
		if !m.HTML.IsEmpty() {
			body.AddContent(sendgridmail.NewContent("text/html", m.HTML.String()))
		}
	}
	for _, header := range m.Headers {
		switch strings.ToLower(header.Name) {
		case "x-sg-id", "x-sg-eid": // SendGrid's own
		default:
			body.SetHeader(header.Name, encodedHeader(header.Value))
		}
	}
	if m.MessageID != "" {
		body.SetHeader("Message-ID", "<"+m.MessageID+">")
	}
	if tag := tag(m); tag != "" {
		body.AddCategories(tag)
	}
	body.SetTrackingSettings(sendgridmail.NewTrackingSettings().
		SetClickTracking(sendgridmail.NewClickTrackingSetting().SetEnable(false).SetEnableText(false)).
		SetOpenTracking(sendgridmail.NewOpenTrackingSetting().SetEnable(false)).
		SetSubscriptionTracking(sendgridmail.NewSubscriptionTrackingSetting().SetEnable(false)).
		SetGoogleAnalytics(sendgridmail.NewGaSetting().SetEnable(false)))
	return body
}

var (
	sendGridToField     = regexp.MustCompile(`^personalizations\.\d+\.to\b`)
	sendGridSenderField = regexp.MustCompile(`^(from|reply_to|reply_to_list|ip_pool_name|asm)\b`)
)

const creditsUsed = "the account's credits are used up"

// sendGridErrors reads {"errors":[{"message":…,"field":…}]}. There are no
// machine-readable codes; the field tells whose fault it is.
func sendGridErrors(x *exchange) Error {
	var answer struct {
		Errors []struct{ Message, Field string }
	}
	x.read(&answer)
	var field, message string
	if len(answer.Errors) > 0 {
		field, message = answer.Errors[0].Field, answer.Errors[0].Message
	}
	said := strings.ToLower(message)
	e := Error{Detail: message}
	switch x.status {
	case http.StatusBadRequest:
		switch {
		case sendGridToField.MatchString(field):
			e.Kind = Recipient
		case field == "template_id":
			e.Kind, e.Hint = Configuration, "check the template's id, and that it has an active version"
		case sendGridSenderField.MatchString(field):
			e.Kind, e.Hint = Configuration, "check the sender and the reply address"
		}
	case http.StatusUnauthorized:
		if strings.Contains(said, "maximum credits exceeded") {
			e.Kind, e.Quota, e.Hint = RateLimited, true, creditsUsed
			break
		}
		if strings.Contains(said, "not authorized to send") {
			e.Hint = "the key is right: see the account's state at SendGrid (under review, trial over), or " + addressHint + " (Settings, IP Access Management)"
			break
		}
		e.Hint = "check apiKey; a key of an EU subuser belongs to the endpoint https://api.eu.sendgrid.com"
	case http.StatusForbidden:
		switch {
		case strings.Contains(said, "messaging limits"): // https://github.com/sendgrid/sendgrid-php/issues/931
			e.Kind, e.Quota, e.Hint = RateLimited, true, creditsUsed
		case field == "from" || strings.Contains(said, "sender identity"):
			e.Hint = "verify this sender or its domain under Settings, Sender Authentication"
		case refusesAddress(said):
			e.Hint = addressHint + " (Settings, IP Access Management)"
		case strings.Contains(said, "bad requests"):
			e.Hint = "the account is blocked for a while after too many refused requests"
		default:
			e.Hint = "give the key the permission Mail Send; if it has it, " + addressHint + " (Settings, IP Access Management)"
		}
	case http.StatusTooManyRequests:
		if reset, err := strconv.ParseInt(x.header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			e.RetryAfter = max(time.Until(time.Unix(reset, 0)), soonest)
		}
	case http.StatusUnavailableForLegalReasons:
		e.Kind = Configuration
		e.Hint = "the account lives in another region; set endpoint to https://api.eu.sendgrid.com or leave it out"
	}
	return e
}
