package providers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// httpSettings describe a mail service with a JSON API that has no provider of
// its own here. Its documentation says what to write.
//
// The two keys of Logto's HTTP email connector, endpoint and authorization, do
// without a body: what Logto sent is handed on as that connector would.
type httpSettings struct {
	Common
	// Authorization is the value of that header.
	Authorization settings.Secret `json:"authorization"`
	// URL is where a mail is posted to; endpoint when not given.
	URL string `json:"url" validate:"omitempty,http_url"`
	// Method is that of the request.
	Method string `json:"method" validate:"oneof=POST PUT PATCH"`
	// Headers are those of the request, the service's key among them. {{id}},
	// {{messageId}}, {{type}} and {{locale}} in them are replaced.
	Headers map[string]settings.Secret `json:"headers" placeholders:"id messageId type locale"`
	// Auth gets the value of Authorization from a token endpoint.
	Auth *httpAuth `json:"auth"`
	// Body is the JSON to send; Logto's own when not given. Form is the same for a
	// service that takes a form.
	Body jsonTemplate `json:"body" placeholders:"any"`
	Form jsonTemplate `json:"form" placeholders:"any"`
	// Accept are the statuses that mean that the service took the mail; any
	// from 200 to 299 when none are given.
	Accept []int `json:"accept"`
	// ID is the place of the message's id in the answer, such as "data.email_id",
	// "Messages.0.To.0.MessageID" or "header:X-Message-Id". Without it the relay's
	// own id is the message's, and any JSON will do for an answer.
	ID string `json:"id"`
	// Refused are the places in an answer that mean that the mail was refused,
	// whatever its status. The first one that holds decides.
	Refused []refusedAnswer `json:"refused" validate:"dive"`
	// EventCredentials are the user and password ("user:pass") that delivery events
	// come with.
	EventCredentials settings.Secret `json:"eventCredentials"`
	// EventSignature is how delivery events are signed, in place of the credentials or
	// beside them.
	EventSignature httpEventSignature `json:"eventSignature"`
	// EventMapping tells where things stand in an event.
	EventMapping httpEventMapping `json:"eventMapping"`
}

// httpAuth is a client of OAuth2 that acts for itself (RFC 6749, 4.4). The keys are
// those of the provider smtp.
type httpAuth struct {
	// ClientID is the application at the service.
	ClientID string `json:"clientId" validate:"required"`
	// ClientSecret is the application's secret.
	ClientSecret settings.Secret `json:"clientSecret" validate:"required"`
	// AccessURL is where tokens are issued.
	AccessURL string `json:"accessUrl" validate:"required,http_url"`
	// Scope is what the token is for, with blanks between several.
	Scope string `json:"scope"`
}

func newHTTPSettings() *httpSettings { return &httpSettings{Method: http.MethodPost} }

// Check asks for an address with TLS, headers that can be sent, a body that sends the mail, and
// what events need.
func (s *httpSettings) Check() []settings.Problem {
	var problems []settings.Problem
	switch {
	case s.URL == "" && s.Endpoint == "":
		problems = append(problems, settings.Problem{Key: "url", Text: "this is needed; write the address that takes a mail"})
	case s.URL != "" && s.Endpoint != "":
		problems = append(problems, settings.Problem{Key: "endpoint", Text: "this type takes the whole address as url"})
	}
	problems = append(problems, s.checkURL("url", s.URL)...)
	problems = append(problems, s.checkConnection()...)
	if breaksLine(s.Authorization.Reveal()) {
		problems = append(problems, settings.Problem{Key: "authorization", Text: "write a value of one line"})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		if !httpHeaderName.MatchString(name) { // a value may be in it
			problems = append(problems, settings.Problem{Key: "headers", Text: "write header names of letters, digits and dashes alone, and values of one line"})
		} else if breaksLine(s.Headers[name].Reveal()) {
			problems = append(problems, settings.Problem{Key: "headers." + name, Text: "write a value of one line"})
		}
		if slices.Contains(connectionHeaders, http.CanonicalHeaderKey(name)) {
			problems = append(problems, settings.Problem{Key: "headers." + name, Text: "remove it; the connection writes this header itself"})
		}
	}
	if slices.ContainsFunc(s.Accept, func(status int) bool { return status < 200 || status > 299 }) {
		problems = append(problems, settings.Problem{Key: "accept", Text: "write statuses from 200 to 299"})
	}
	if s.Auth != nil {
		problems = append(problems, s.checkURL("auth.accessUrl", s.Auth.AccessURL)...)
		if s.Authorization.Reveal() != "" {
			problems = append(problems, settings.Problem{Key: "authorization", Text: "remove it; its value comes from auth"})
		}
	}
	return slices.Concat(problems, s.checkBody(), s.checkEvents())
}

// checkBody asks for a body that sends the mail.
func (s *httpSettings) checkBody() []settings.Problem {
	key, body := "body", s.Body
	if len(s.Form) > 0 {
		key, body = "form", s.Form
	}
	var problems []settings.Problem
	if len(s.Form) > 0 && len(s.Body) > 0 {
		problems = append(problems, settings.Problem{Key: "form", Text: "the request has body already; keep one of the two"})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Form)) {
		if !isFormValue(s.Form[name]) {
			problems = append(problems, settings.Problem{Key: "form." + name, Text: "a field of a form is a text, a number, true, false or a list of these"})
		}
	}
	switch used := placeholders(map[string]any(body)); {
	case len(body) == 0: // Logto's
	case !used["to"]:
		problems = append(problems, settings.Problem{Key: key,
			Text: "this uses {{to}} nowhere, so that the service could not know the recipient"})
	case !used["text"] && !used["html"] && !used["code"] && !used["link"]:
		problems = append(problems, settings.Problem{Key: key,
			Text: "this uses none of {{text}}, {{html}}, {{code}} and {{link}}, so that the mail would be empty"})
	}
	return problems
}

// connectionHeaders would contradict what is sent, or are not sent.
var connectionHeaders = []string{"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade"}

var httpHeaderName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// Sender returns none: the sender is the configuration's.
func (s *httpSettings) Sender() Sender { return Sender{} }

// Open makes the provider.
func (s *httpSettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared(), s.logins()...)
	if err != nil {
		return nil, err
	}
	p := &httpProvider{api, s, s.Auth.tokens(api)}
	if p.tokens != nil {
		return &httpWithTokens{p}, nil
	}
	return p, nil
}

// logins are what the request may hold to sign in with, wherever the service wants it.
func (s *httpSettings) logins() []settings.Secret {
	logins := append(slices.Collect(maps.Values(s.Headers)), s.Authorization)
	if s.Auth != nil {
		logins = append(logins, s.Auth.ClientSecret)
	}
	logins = append(append(logins, s.Body.secrets()...), s.Form.secrets()...)
	if u, err := url.Parse(cmp.Or(s.URL, s.Endpoint)); err == nil {
		password, _ := u.User.Password()
		logins = append(logins, settings.NewSecret(password))
		for _, part := range strings.Split(u.Path, "/") { // some services have keys there
			if strings.ContainsAny(part, "0123456789") && !strings.Contains(part, ".") { // nor is a domain
				logins = append(logins, settings.NewSecret(part))
			}
		}
		for _, values := range u.Query() {
			for _, value := range values {
				logins = append(logins, settings.NewSecret(value))
			}
		}
	}
	return logins
}

// tokens is where access tokens come from; nil without auth.
func (a *httpAuth) tokens(api *api) *accessTokens {
	if a == nil {
		return nil
	}
	app := &clientcredentials.Config{ClientID: a.ClientID, ClientSecret: a.ClientSecret.Reveal(), TokenURL: a.AccessURL,
		Scopes: strings.Fields(a.Scope), AuthStyle: oauth2.AuthStyleInParams}
	return newAccessTokens(api, app.Token)
}

var (
	_ Composer = (*httpProvider)(nil)
	_ Verifier = (*httpWithTokens)(nil)
)

type httpProvider struct {
	*api
	settings *httpSettings
	tokens   *accessTokens // nil where the settings hold what to sign in with
}

// Composes tells that the operator's body may hold anything of the payload.
func (p *httpProvider) Composes() {}

// httpWithTokens signs in by access tokens, which can be asked for without sending.
type httpWithTokens struct{ *httpProvider }

// Verify asks for an access token.
func (p *httpWithTokens) Verify(ctx context.Context) (string, error) {
	if _, _, err := p.token(ctx); err != nil {
		return "", err
	}
	return "only a mail can show whether the access token lets this send (logto-email-relay send --to …)", nil
}

// token returns an access token, and whether it is as new as one can be. Its error is an *Error.
func (p *httpProvider) token(ctx context.Context) (token string, isNew bool, err error) {
	token, isNew, err = p.tokens.Token(ctx)
	if err == nil {
		return token, isNew, nil
	}
	failure := AsError(err)
	if failure.Code == "unauthorized_client" || failure.Code == "access_denied" {
		failure.Hint = "allow this client to send; at Microsoft this takes the consent of an administrator"
	}
	return "", false, failure
}

// Send posts the message. What is accepted is the operator's word.
func (p *httpProvider) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkASCII(m); e != nil {
		return Receipt{}, e
	}
	body, contentType, err := p.body(m)
	if err != nil {
		return Receipt{}, unbuilt(err)
	}
	header := http.Header{"Content-Type": {contentType}, "Accept": {"application/json"}}
	if value := p.settings.Authorization.Reveal(); value != "" {
		header.Set("Authorization", value)
	}
	for name, value := range p.settings.Headers {
		if filled, ok := fillText(value.Reveal(), m); ok {
			header.Set(name, filled)
		}
	}
	x, err := p.post(ctx, header, body)
	if failure := (*Error)(nil); errors.As(err, &failure) {
		return Receipt{}, failure // there was no token to sign in with
	}
	if e := x.refusal(m, err, p.errors); e != nil {
		return Receipt{}, e
	}
	switch e := p.errors(x); {
	case e.Kind != 0:
		return Receipt{}, x.failure(m, nil, e)
	case len(p.settings.Accept) > 0 && !slices.Contains(p.settings.Accept, x.status):
		return Receipt{}, x.finish(m, Error{Kind: Uncertain, Detail: "the status is none of those in accept"})
	case p.settings.ID != "":
		id := x.text(p.settings.ID)
		if id == "" {
			return Receipt{}, x.unreadable(m)
		}
		return x.receipt(id), nil
	case x.broken && !x.isObject():
		return Receipt{}, x.finish(m, Error{Kind: Uncertain, Detail: "the answer broke off"})
	case !x.isJSONOrEmpty() && !(p.handsOn() && acknowledgement.Match(x.body)):
		return Receipt{}, x.finish(m, Error{Kind: Uncertain, Detail: "the answer is neither JSON nor empty",
			Hint: "something in front of the service may have answered; name the place of the message's id in id"})
	}
	return Receipt{ID: m.ID}, nil
}

// handsOn tells whether another endpoint gets what Logto sent, as by Logto's own HTTP email
// connector, which takes a 2xx whatever the answer says.
func (p *httpProvider) handsOn() bool { return len(p.settings.Form)+len(p.settings.Body) == 0 }

// acknowledgement knows the answers of handlers that have nothing else to say, such as OK,
// which web frameworks write themselves. What else stands in clear text may as well be why
// nothing was sent.
var acknowledgement = regexp.MustCompile(`(?i)^[^\pL\pN]*(ok(ay)?|accepted|success(ful|fully)?|` +
	`((your )?(e-?mail|mail|message) )?(was |has been )?(sent|queued|received|accepted|delivered)( successfully)?|done|created|thank(s| you)|true|1)[^\pL\pN]*$`)

// post sends the request, with a token if one is wanted. A token that the service refuses
// before its expiry is replaced once.
func (p *httpProvider) post(ctx context.Context, header http.Header, body []byte) (*exchange, error) {
	address := cmp.Or(p.settings.URL, p.settings.Endpoint)
	for isSecond := false; p.tokens != nil; isSecond = true {
		token, isNew, err := p.token(ctx)
		if err != nil {
			return nil, err
		}
		header.Set("Authorization", "Bearer "+token)
		x, err := p.request(ctx, p.settings.Method, address, header, body)
		x.logins = append(slices.Clip(x.logins), settings.NewSecret(token))
		if x.status != http.StatusUnauthorized || isNew || isSecond {
			return x, err
		}
		p.tokens.Drop(token)
		if ctx.Err() != nil {
			return x, err
		}
	}
	return p.request(ctx, p.settings.Method, address, header, body)
}

// body is the operator's, or what Logto's HTTP email connector posts.
func (p *httpProvider) body(m *mail.Message) (body []byte, contentType string, err error) {
	switch {
	case len(p.settings.Form) > 0:
		return p.settings.Form.renderForm(m), "application/x-www-form-urlencoded", nil
	case len(p.settings.Body) > 0:
		body, err = p.settings.Body.render(m)
	default:
		body, err = json.Marshal(struct {
			To      string         `json:"to"`
			Type    string         `json:"type"`
			Payload map[string]any `json:"payload"`
		}{m.To, m.Type, m.Payload})
	}
	return body, "application/json", err
}
