package providers

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mailgun/mailgun-go/v4"

	"logto-email-relay/settings"
)

// Mailgun, Messages v3:
//
//	request and answer   https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages
//	errors               https://documentation.mailgun.com/docs/mailgun/quickstart-guide/responses
//	allowed addresses    https://help.mailgun.com/hc/en-us/articles/360012244474-IP-Allowlist
const mailgunEndpoint = "https://api.mailgun.net"

// mailgunSettings bear the keys of Logto's Mailgun connector; endpoint is one of
// Common's.
type mailgunSettings struct {
	Common
	Domain string `json:"domain" validate:"required,fqdn"`
	// APIKey is best a sending key of the domain, which can do nothing else.
	APIKey     settings.Secret  `json:"apiKey" validate:"required"`
	From       settings.Mailbox `json:"from"`
	Deliveries any              `json:"deliveries" future:"templates inside a provider"`
	// EventSigningKey verifies the signature of delivery events.
	EventSigningKey settings.Secret `json:"eventSigningKey" future:"delivery events"`
}

func newMailgunSettings() *mailgunSettings { return &mailgunSettings{} }

// Check asks for a key that can be one, and for TLS on its way.
func (s *mailgunSettings) Check() []settings.Problem {
	return append(checkKey("apiKey", s.APIKey), s.checkEndpoint()...)
}

// Sender returns from.
func (s *mailgunSettings) Sender() Sender { return Sender{From: s.From} }

// Open makes the provider.
func (s *mailgunSettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared())
	if err != nil {
		return nil, err
	}
	client := mailgun.NewMailgun(s.Domain, s.APIKey.Reveal())
	client.SetClient(api.client)
	client.SetAPIBase(strings.TrimSuffix(s.endpointOr(mailgunEndpoint), "/v3") + "/v3")
	return &mailGun{api, client}, nil
}

var _ Provider = (*mailGun)(nil)

type mailGun struct {
	*api
	mailgun *mailgun.MailgunImpl // safe to share
}

// Send posts the message. Accepted is a 200 with an id; a 200 alone also comes
// from addresses that are not the API.
func (p *mailGun) Send(ctx context.Context, m *Message) (Receipt, error) {
	if e := m.checkASCII(); e != nil {
		return Receipt{}, e
	}
	message, err := mailgunMessage(m)
	if err != nil {
		return Receipt{}, &Error{Kind: Content, Detail: Redact(err.Error()), Err: err}
	}
	ctx, x := withExchange(ctx)
	_, id, err := p.mailgun.Send(ctx, message)
	if e := x.refusal(m, err, mailgunErrors); e != nil {
		return Receipt{}, e
	}
	if id != "" {
		return Receipt{ID: id}, nil
	}
	if strings.HasPrefix(string(x.body), "Mailgun") {
		return Receipt{}, x.finish(m, Error{Kind: Configuration, Detail: "the answer is not the API's",
			Hint: "endpoint is only the host, such as https://api.eu.mailgun.net"})
	}
	return Receipt{}, x.unreadable(m)
}

func mailgunMessage(m *Message) (*mailgun.Message, error) {
	message := mailgun.NewMessage(mailbox(m.From), m.Subject, m.Text)
	if err := message.AddRecipient(quotedAddress(m.To)); err != nil {
		return nil, err
	}
	if m.HTML != "" {
		message.SetHTML(m.HTML)
	}
	for _, header := range m.Headers {
		message.AddHeader(header.Name, encodedHeader(header.Value))
	}
	if m.ReplyTo.Address != "" {
		message.AddHeader("Reply-To", mailbox(m.ReplyTo))
	}
	if m.MessageID != "" {
		message.AddHeader("Message-Id", "<"+m.MessageID+">")
	}
	if tag := m.tag(); tag != "" {
		if err := message.AddTag(tag); err != nil {
			return nil, err
		}
	}
	if err := message.AddVariable("relay_id", m.ID); err != nil {
		return nil, err
	}
	message.SetTracking(false)
	message.SetTrackingClicks(false)
	message.SetTrackingOpens(false)
	return message, nil
}

var (
	mailgunTo   = regexp.MustCompile(`(?i)^'?to'? parameter`)
	mailgunFrom = regexp.MustCompile(`(?i)^'?from'? parameter`)
	// mailgunWait is the end of "… limit exceeded, try again after 120 seconds"
	// or "… after Mon, 20 Dec 2021 20:33:21 UTC".
	mailgunWait = regexp.MustCompile(`(?i)try again after (?:(\d+) seconds?|(\w{3}, \d{1,2} \w{3} \d{4} [\d:]{8} \w+))`)
)

// mailgunErrors reads {"message":…}, and the bare word Forbidden of a 401. The
// phrase "is not allowed to send" comes with 400 and with 429: the status goes
// first.
func mailgunErrors(x *exchange) Error {
	var answer struct{ Message string }
	x.read(&answer)
	said := strings.ToLower(answer.Message)
	e := Error{Detail: answer.Message}
	switch x.status {
	case http.StatusBadRequest:
		switch {
		case mailgunTo.MatchString(answer.Message):
			e.Kind = Recipient
		case mailgunFrom.MatchString(answer.Message):
			e.Kind, e.Hint = Configuration, "check the sender"
		case strings.Contains(said, "authorized recipients"):
			e.Kind, e.Hint = Configuration, "a sandbox domain sends to its authorized recipients only; use a verified domain"
		case strings.Contains(said, "is not allowed to send"):
			e.Kind, e.Hint = Configuration, "verify the domain's DNS records and activate the account"
		default:
			e.Kind = Content
		}
	case http.StatusUnauthorized:
		e.Hint = "check apiKey; a domain of the EU region belongs to the endpoint https://api.eu.mailgun.net; or " + addressHint
	case http.StatusPaymentRequired:
		e.Hint = "check the account's billing and state"
	case http.StatusForbidden:
		switch {
		case strings.Contains(said, "large batches"):
			e.Kind = RateLimited
		case refusesAddress(answer.Message):
			e.Hint = addressHint + " (IP Access Management), or the sending IP is not usable"
		}
	case http.StatusNotFound:
		e.Hint = "check domain; a domain of the EU region belongs to the endpoint https://api.eu.mailgun.net"
	case http.StatusTooManyRequests:
		e.RetryAfter = mailgunRetryAfter(answer.Message, time.Now())
		// A wait of hours is a spent quota, not a burst.
		e.Quota = e.RetryAfter > maxRetryAfter
	case http.StatusGatewayTimeout:
		e.Kind = Uncertain
	}
	return e
}

// mailgunRetryAfter reads the wait out of a refusal's text; zero if none is in it.
func mailgunRetryAfter(message string, now time.Time) time.Duration {
	found := mailgunWait.FindStringSubmatch(message)
	if found == nil {
		return 0
	}
	if seconds, err := strconv.ParseUint(found[1], 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := time.Parse(time.RFC1123, found[2]); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}
