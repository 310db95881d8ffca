package providers

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Postmark, Email API:
//
//	request and answer   https://postmarkapp.com/developer/user-guide/send-email-with-api
//	errors               https://postmarkapp.com/developer/api/overview#error-codes
//	server               https://postmarkapp.com/developer/api/server-api
//	allowed addresses    https://postmarkapp.com/developer/user-guide/ip-allowlisting
const postmarkEndpoint = "https://api.postmarkapp.com"

// postmarkSettings bear the keys of Logto's Postmark connector.
type postmarkSettings struct {
	Common
	// ServerToken is that of one server, not of the account.
	ServerToken settings.Secret `json:"serverToken" validate:"required"`
	// FromEmail is the sender of this provider's mails.
	FromEmail settings.Mailbox `json:"fromEmail"`
	// Templates name templates at Postmark.
	Templates []postmarkTemplate `json:"templates" validate:"dive"`
	// EventCredentials are the user and password ("user:pass") that delivery events
	// come with. Both stand in the webhook's address too.
	EventCredentials settings.Secret `json:"eventCredentials"`
}

// postmarkTemplate names a template at Postmark.
type postmarkTemplate struct {
	// UsageType is Logto's message type.
	UsageType string `json:"usageType" validate:"required,usagetype"`
	// TemplateAlias is the template's alias.
	TemplateAlias string `json:"templateAlias" validate:"required"`
}

func newPostmarkSettings() *postmarkSettings { return &postmarkSettings{} }

// Check asks for a token that can be one, and for TLS on its way.
func (s *postmarkSettings) Check() []settings.Problem {
	return slices.Concat(checkKey("serverToken", s.ServerToken), s.checkConnection(), checkCredentials("eventCredentials", s.EventCredentials))
}

// Sender returns fromEmail.
func (s *postmarkSettings) Sender() Sender { return Sender{From: s.FromEmail} }

// Mails returns templates.
func (s *postmarkSettings) Mails() []mail.ConnectorTemplate {
	var list []mail.ConnectorTemplate
	for i, t := range s.Templates {
		list = append(list, mail.ConnectorTemplate{Key: templateKey(i), Type: t.UsageType, Stored: t.TemplateAlias})
	}
	return list
}

// Open makes the provider.
func (s *postmarkSettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared(), s.ServerToken)
	if err != nil {
		return nil, err
	}
	return &postmark{api, s.ServerToken, s.endpointOr(postmarkEndpoint), s.EventCredentials}, nil
}

var _ Verifier = (*postmark)(nil)

type postmark struct {
	*api
	token    settings.Secret
	endpoint string
	events   settings.Secret // the credentials of calls with events; empty for none
}

// postmarkMail is the body of a request. Open tracking that is switched on for
// the whole server cannot be switched off here.
type postmarkMail struct {
	From, To string
	ReplyTo  string `json:",omitempty"`
	Subject  string `json:",omitempty"`
	TextBody string `json:",omitempty"`
	HTMLBody string `json:"HtmlBody,omitempty"`
	// TemplateAlias and TemplateModel stand in for the three above at
	// /email/withTemplate.
	TemplateAlias string `json:",omitempty"`
	TemplateModel any    `json:",omitempty"`
	MessageStream string
	Tag           string `json:",omitempty"`
	Metadata      map[string]string
	TrackOpens    bool
	TrackLinks    string
	Headers       []postmarkHeader
}

type postmarkHeader struct{ Name, Value string }

// postmarkAnswer is the body of every answer.
type postmarkAnswer struct {
	ErrorCode int
	Message   string
	MessageID string
}

// Send posts the message. Accepted is a 200 whose ErrorCode is 0, or absent
// beside a MessageID, as in times of trouble at Postmark. The token POSTMARK_API_TEST
// sends nothing: https://postmarkapp.com/developer/user-guide/send-email-with-api/send-test-emails
func (p *postmark) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkASCII(m); e != nil {
		return Receipt{}, e
	}
	body, err := json.Marshal(newPostmarkMail(m))
	if err != nil {
		return Receipt{}, unbuilt(err)
	}
	address := p.endpoint + "/email"
	if m.Stored != nil {
		address += "/withTemplate"
	}
	x, err := p.request(ctx, http.MethodPost, address, p.header(), body)
	if e := x.refusal(m, err, postmarkErrors); e != nil {
		return Receipt{}, e
	}
	var answer postmarkAnswer
	x.read(&answer)
	switch {
	case answer.ErrorCode != 0:
		return Receipt{}, x.failure(m, nil, postmarkErrors(x))
	case answer.MessageID == "":
		return Receipt{}, x.unreadable(m)
	case answer.Message == "Test job accepted":
		return Receipt{}, x.finish(m, Error{Kind: Configuration, Detail: answer.Message, Hint: "serverToken is the one for tests, with which nothing is sent"})
	}
	return x.receipt(answer.MessageID), nil
}

func (p *postmark) header() http.Header {
	return http.Header{
		"Accept":                  {"application/json"},
		"Content-Type":            {"application/json"},
		"X-Postmark-Server-Token": {p.token.Reveal()},
	}
}

// Verify reads the server that the token belongs to. The list of allowed
// addresses does not bear on this request, so that only a mail shows whether
// ours is on it.
func (p *postmark) Verify(ctx context.Context) (string, error) {
	x, err := p.request(ctx, http.MethodGet, p.endpoint+"/server", p.header(), nil)
	if e := x.verdict(err, postmarkErrors); e != nil {
		return "", e
	}
	var server struct {
		ID           int
		DeliveryType string
		TrackOpens   bool
	}
	x.read(&server)
	switch {
	case server.ID == 0:
		return "", x.foreign()
	case server.DeliveryType == "Sandbox":
		return "", x.unfit("this is the token of a sandbox server, which delivers nothing", "use the token of a live server")
	case server.TrackOpens:
		return "the server tracks opens, which no mail can switch off; switch it off in the server's settings", nil
	}
	return "", nil
}

// postmarkMailbox writes a name without what would have to be escaped in it, which
// Postmark does not read.
func postmarkMailbox(a mail.Address) string {
	a.Name = strings.NewReplacer(`"`, "'", `\`, "").Replace(a.Name)
	return quotedMailbox(a)
}

func newPostmarkMail(m *mail.Message) postmarkMail {
	body := postmarkMail{
		From: postmarkMailbox(m.From), To: quotedAddress(m.To), ReplyTo: postmarkMailbox(m.ReplyTo),
		Subject: m.Subject, TextBody: m.Text, HTMLBody: m.HTML.String(),
		MessageStream: "outbound", Tag: tag(m), Metadata: map[string]string{"relay_id": m.ID},
		TrackLinks: "None",
	}
	if m.Stored != nil {
		body.TemplateAlias, body.TemplateModel = m.Stored.Name, m.Stored.Data
	}
	for _, header := range m.Headers {
		body.Headers = append(body.Headers, postmarkHeader{header.Name, encodedHeader(header.Value)})
	}
	if m.MessageID != "" {
		// Without the second one Postmark writes a Message-ID of its own.
		body.Headers = append(body.Headers,
			postmarkHeader{"Message-ID", "<" + m.MessageID + ">"}, postmarkHeader{"X-PM-KeepID", "true"})
	}
	return body
}

// postmarkKinds are the meanings of an ErrorCode. The numbers look like HTTP
// statuses and are none; the status of most of them is 422.
var postmarkKinds = map[int]Error{
	10:   {Kind: Configuration, Hint: "check serverToken; it is that of a server, not of the account"},
	11:   {Kind: Content},
	12:   {Kind: Configuration},
	100:  {Kind: Temporary},
	400:  {Kind: Configuration, Hint: "add the sender as a sender signature or verify its domain"},
	401:  {Kind: Configuration, Hint: "confirm the sender signature by the mail that Postmark sent to it"},
	402:  {Kind: Content},
	403:  {Kind: Content},
	405:  {Kind: RateLimited, Quota: true, Hint: "the account's credits are used up"},
	406:  {Kind: Recipient, Suppressed: true},
	409:  {Kind: Configuration},
	411:  {Kind: Content},
	412:  {Kind: Configuration, Hint: "until Postmark has approved the account it sends to the sender's own domain only"},
	429:  {Kind: RateLimited},
	413:  {Kind: Configuration, Hint: "the account may not send; ask Postmark"},
	1101: {Kind: Configuration, Hint: "the server has no template of this alias; check templateAlias"},
	1235: {Kind: Configuration, Hint: "the server has no message stream outbound"},
	1236: {Kind: Configuration, Hint: "the message stream outbound cannot send"},
}

// postmarkField is the field that the text of ErrorCode 300 names first.
var postmarkField = regexp.MustCompile(`'(To|From|Reply-?To)'`)

func postmarkErrors(x *exchange) Error {
	var answer postmarkAnswer
	x.read(&answer)
	e := postmarkKinds[answer.ErrorCode]
	// The addresses that follow are nobody's business here.
	e.Detail, _, _ = strings.Cut(answer.Message, "Found inactive addresses")
	if answer.ErrorCode == 300 {
		e.Kind = Content
		if field := postmarkField.FindStringSubmatch(answer.Message); field != nil {
			e.Kind = Recipient
			if field[1] != "To" {
				e.Kind, e.Hint = Configuration, "check the sender and the reply address"
			}
		}
	}
	if x.status == http.StatusForbidden && e.Kind == 0 {
		e.Hint = addressHint + " (IP Allowlisting, which knows IPv4 only)"
	}
	if answer.ErrorCode != 0 {
		e.Code = strconv.Itoa(x.status) + " " + strconv.Itoa(answer.ErrorCode)
	}
	return e
}
