package providers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailgun/mailgun-go/v4"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Mailgun, Messages v3:
//
//	request and answer   https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages
//	errors               https://documentation.mailgun.com/docs/mailgun/quickstart-guide/responses
//	domain               https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/domains
//	allowed addresses    https://help.mailgun.com/hc/en-us/articles/360012244474-IP-Allowlist
const mailgunEndpoint = "https://api.mailgun.net"

// mailgunSettings bear the keys of Logto's Mailgun connector; endpoint is one of
// Common's.
type mailgunSettings struct {
	Common
	// Domain is the sending domain, as set up at Mailgun.
	Domain string `json:"domain" validate:"required,fqdn"`
	// APIKey is best a sending key of the domain, which can do nothing else.
	APIKey settings.Secret `json:"apiKey" validate:"required"`
	// From is the sender of this provider's mails.
	From settings.Mailbox `json:"from"`
	// Deliveries are the mails by message type.
	Deliveries map[string]delivery `json:"deliveries" validate:"dive"`
	// EventSigningKey verifies the signature of delivery events: the account's HTTP
	// webhook signing key, or that of the account above a subaccount.
	EventSigningKey settings.Secret `json:"eventSigningKey"`
}

func newMailgunSettings() *mailgunSettings { return &mailgunSettings{} }

// Check asks for a key that can be one, and for TLS on its way.
func (s *mailgunSettings) Check() []settings.Problem {
	return slices.Concat(checkKey("apiKey", s.APIKey), s.checkConnection(), checkDeliveries(s.Deliveries), checkKey("eventSigningKey", s.EventSigningKey))
}

// Mails returns deliveries.
func (s *mailgunSettings) Mails() []mail.ConnectorTemplate { return deliveriesOf(s.Deliveries) }

// Sender returns from.
func (s *mailgunSettings) Sender() Sender { return Sender{From: s.From} }

// Open makes the provider.
func (s *mailgunSettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared(), s.APIKey)
	if err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(s.endpointOr(mailgunEndpoint), "/v3") + "/v3"
	client := mailgun.NewMailgun(s.Domain, s.APIKey.Reveal())
	client.SetClient(api.client)
	client.SetAPIBase(base)
	return &mailGun{api: api, mailgun: client, key: s.APIKey, url: base + "/" + s.Domain + "/messages", eventKey: s.EventSigningKey}, nil
}

var _ Verifier = (*mailGun)(nil)

type mailGun struct {
	*api
	mailgun *mailgun.MailgunImpl // safe to share
	key     settings.Secret
	url     string
	// eventKey verifies events; tokens are those of the calls of late.
	eventKey settings.Secret
	tokens   tokenMemory
}

// Send posts the message. Accepted is a 200 with an id; a 200 alone also comes
// from addresses that are not the API.
func (p *mailGun) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkASCII(m); e != nil {
		return Receipt{}, e
	}
	send := p.sendMail
	if m.Stored != nil {
		send = p.sendStored
	}
	x, err := send(ctx, m)
	if x == nil {
		return Receipt{}, unbuilt(err)
	}
	if e := x.refusal(m, err, mailgunErrors); e != nil {
		return Receipt{}, e
	}
	var answer struct{ ID string }
	x.read(&answer)
	if answer.ID != "" {
		return x.receipt(answer.ID), nil
	}
	if strings.HasPrefix(string(x.body), "Mailgun") {
		return Receipt{}, x.finish(m, Error{Kind: Configuration, Detail: "the answer is not the API's",
			Hint: "endpoint is only the host, such as https://api.eu.mailgun.net"})
	}
	return Receipt{}, x.unreadable(m)
}

// sendMail posts a complete mail. Without an exchange the mail cannot be one.
func (p *mailGun) sendMail(ctx context.Context, m *mail.Message) (*exchange, error) {
	message, err := mailgunMessage(m)
	if err != nil {
		return nil, err
	}
	ctx, x := withExchange(ctx)
	_, _, err = p.mailgun.Send(ctx, message)
	return x, err
}

// sendStored posts a request for a mail from a template at Mailgun. The library
// would put the values into a header, which the recipient gets too, and an empty
// subject in place of the template's.
func (p *mailGun) sendStored(ctx context.Context, m *mail.Message) (*exchange, error) {
	data, err := json.Marshal(m.Stored.Data)
	if err != nil {
		return nil, err
	}
	form := url.Values{
		"from": {mailbox(m.From)}, "to": {quotedAddress(m.To)},
		"template": {m.Stored.Name}, "t:variables": {withoutWords(string(data))},
		"o:tracking": {"no"}, "o:tracking-clicks": {"no"}, "o:tracking-opens": {"no"},
		"v:relay_id": {m.ID},
	}
	for _, header := range m.Headers {
		form.Set("h:"+header.Name, encodedHeader(header.Value))
	}
	for name, value := range map[string]string{
		"subject": withoutWords(m.Subject), "h:Reply-To": mailbox(m.ReplyTo), "h:Message-Id": bracketed(m.MessageID), "o:tag": tag(m),
	} {
		if value != "" {
			form.Set(name, value)
		}
	}
	return p.request(ctx, http.MethodPost, p.url, p.header(), []byte(form.Encode()))
}

// header is that of the requests that the library does not make.
func (p *mailGun) header() http.Header {
	return http.Header{"Content-Type": {"application/x-www-form-urlencoded"},
		"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("api:"+p.key.Reveal()))}}
}

// mailgunWord is the start of what Mailgun replaces in a mail, such as
// %recipient.name% and %unsubscribe_url%. No letter of these follows a % in a URL.
var mailgunWord = regexp.MustCompile(`(?i)%(recipient|unsubscribe|tag_unsubscribe|mailing_list|list_)`)

// withoutWords breaks what Mailgun would replace: people may have such names.
func withoutWords(text string) string { return mailgunWord.ReplaceAllString(text, "% $1") }

// bracketed writes a Message-ID as in its header, and nothing for none.
func bracketed(id string) string {
	if id == "" {
		return ""
	}
	return "<" + id + ">"
}

// Verify reads the state of the domain. A domain sending key may not read it,
// and gets the same answer as a wrong key. It may send, though, so that it is told
// from a wrong one by a message without anything in it, which no service can mail.
func (p *mailGun) Verify(ctx context.Context) (string, error) {
	base := strings.TrimSuffix(p.mailgun.APIBase(), "/v3")
	x, err := p.request(ctx, http.MethodGet, base+"/v4/domains/"+p.mailgun.Domain(), p.header(), nil)
	if x.status == http.StatusUnauthorized || x.status == http.StatusForbidden {
		return p.verifySendingKey(ctx)
	}
	if e := x.verdict(err, mailgunErrors); e != nil {
		return "", e
	}
	var answer struct {
		Domain struct {
			State, Type string
			IsDisabled  bool `json:"is_disabled"`
		}
	}
	x.read(&answer)
	switch domain := answer.Domain; {
	case domain.State == "":
		return "", x.foreign()
	case domain.State == "disabled", domain.IsDisabled:
		return "", x.unfit("the domain is disabled", "see its page in the control panel")
	case domain.State != "active":
		return "", x.unfit("the domain is not verified", "verify the domain's DNS records")
	case domain.Type == "sandbox":
		return "", x.unfit("this is a sandbox domain, which sends to its authorized recipients only", "use a verified domain")
	}
	return "", nil
}

func (p *mailGun) verifySendingKey(ctx context.Context) (string, error) {
	x, err := p.request(ctx, http.MethodPost, p.url, p.header(), []byte("o:testmode=yes"))
	if x.status == http.StatusBadRequest && mailgunMissing.Match(x.body) {
		return "this key may only send, so that the state of the domain is not known", nil
	}
	if e := x.verdict(err, mailgunErrors); e != nil {
		return "", e
	}
	return "", x.foreign()
}

// mailgunMissing are the words for a message without sender, recipient or text.
var mailgunMissing = regexp.MustCompile(`(?i)parameter is (missing|not a valid address)|need at least one of`)

func mailgunMessage(m *mail.Message) (*mailgun.Message, error) {
	message := mailgun.NewMessage(mailbox(m.From), withoutWords(m.Subject), withoutWords(m.Text))
	if err := message.AddRecipient(quotedAddress(m.To)); err != nil {
		return nil, err
	}
	if !m.HTML.IsEmpty() {
		message.SetHTML(withoutWords(m.HTML.String()))
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
	if tag := tag(m); tag != "" {
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
	// mailgunTemplate is a template that is not there, or has no active version.
	mailgunTemplate = regexp.MustCompile(`(?i)template.*(not found|doesn't exist|does not exist|no active)`)
	// mailgunWait is the end of "… limit exceeded, try again after 120 seconds"
	// or "… after Mon, 20 Dec 2021 20:33:21 UTC".
	mailgunWait = regexp.MustCompile(`(?i)try again after (?:(\d+) seconds?|(\w{3}, \d{1,2} \w{3} \d{4} [\d:]{8} \w+))`)
)

// mailgunErrors reads {"message":…}, and the bare word Forbidden of a 401. The
// phrase "is not allowed to send" also comes with a limit that ends, under 400,
// 420 and 429: the time goes first.
func mailgunErrors(x *exchange) Error {
	var answer struct{ Message string }
	x.read(&answer)
	said := strings.ToLower(answer.Message)
	e := Error{Detail: answer.Message}
	if wait := mailgunRetryAfter(answer.Message, time.Now()); wait > 0 {
		// A wait of hours is a spent quota, not a burst.
		e.Kind, e.RetryAfter, e.Quota = RateLimited, wait, wait > maxRetryAfter
		return e
	}
	switch x.status {
	case http.StatusBadRequest, http.StatusForbidden:
		switch {
		case strings.Contains(said, "large batches"), strings.Contains(said, "too fast"):
			e.Kind = RateLimited
		case strings.Contains(said, "limit exceeded"): // without saying until when
			e.Kind, e.Quota, e.Hint = RateLimited, true, "the plan's limit is reached; raise it in the control panel"
		case mailgunTo.MatchString(answer.Message):
			e.Kind = Recipient
		case mailgunTemplate.MatchString(answer.Message):
			e.Kind, e.Hint = Configuration, "check the template's name in deliveries; it belongs to the domain"
		case mailgunFrom.MatchString(answer.Message):
			e.Kind, e.Hint = Configuration, "check the sender"
		case strings.Contains(said, "authorized recipients"):
			e.Kind, e.Hint = Configuration, "a sandbox domain sends to its authorized recipients only; use a verified domain"
		case refusesAddress(answer.Message):
			e.Kind, e.Hint = Configuration, addressHint+" (IP Access Management), or the sending IP is not usable"
		case strings.Contains(said, "is not allowed to send"):
			e.Kind, e.Hint = Configuration, "verify the domain's DNS records and activate the account"
		}
	case http.StatusUnauthorized:
		e.Hint = "check apiKey; a domain of the EU region belongs to the endpoint https://api.eu.mailgun.net; or " + addressHint
	case http.StatusPaymentRequired:
		e.Hint = "check the account's billing and state"
	case http.StatusNotFound:
		e.Hint = "check domain; a domain of the EU region belongs to the endpoint https://api.eu.mailgun.net"
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
		return max(time.Duration(seconds)*time.Second, soonest)
	}
	if date, err := time.Parse(time.RFC1123, found[2]); err == nil {
		return max(date.Sub(now), soonest)
	}
	return 0
}
