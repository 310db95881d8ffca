package providers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

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
	// Headers are those of the request, the service's key among them.
	Headers map[string]settings.Secret `json:"headers"`
	// Body is the JSON to send; Logto's own when not given.
	Body jsonTemplate `json:"body"`
	// Accept are the statuses that mean that the service took the mail; any
	// from 200 to 299 when none are given.
	Accept []int `json:"accept"`
	// ID is the path of the message's id in the answer, such as "data.email_id"
	// or "Messages.0.To.0.MessageID". Without it the relay's own id is the
	// message's, and the status alone is the verdict.
	ID string `json:"id"`
	// EventCredentials are the user and password ("user:pass") that delivery events
	// come with.
	EventCredentials settings.Secret `json:"eventCredentials"`
	// EventSignature is how delivery events are signed, in place of the credentials or
	// beside them.
	EventSignature httpEventSignature `json:"eventSignature"`
	// EventMapping tells where things stand in an event.
	EventMapping httpEventMapping `json:"eventMapping"`
}

func newHTTPSettings() *httpSettings { return &httpSettings{Method: http.MethodPost} }

// Check asks for a body that sends the mail, and for TLS.
func (s *httpSettings) Check() []settings.Problem {
	var problems []settings.Problem
	switch {
	case s.URL == "" && s.Endpoint == "":
		problems = append(problems, settings.Problem{Key: "url", Text: "this is needed; write the address that takes a mail"})
	case s.URL != "" && s.Endpoint != "":
		problems = append(problems, settings.Problem{Key: "endpoint", Text: "this type takes the whole address as url"})
	}
	problems = append(problems, checkURL("url", s.URL)...)
	problems = append(problems, s.checkConnection()...)
	if breaksLine(s.Authorization.Reveal()) {
		problems = append(problems, settings.Problem{Key: "authorization", Text: "write a value of one line"})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		if !httpHeaderName.MatchString(name) || breaksLine(s.Headers[name].Reveal()) {
			problems = append(problems, settings.Problem{Key: "headers." + name, Text: "write a header name and a value of one line"})
		}
	}
	if slices.ContainsFunc(s.Accept, func(status int) bool { return status < 200 || status > 299 }) {
		problems = append(problems, settings.Problem{Key: "accept", Text: "write statuses from 200 to 299"})
	}
	switch used := placeholders(map[string]any(s.Body)); {
	case len(s.Body) == 0: // Logto's
	case !used["to"]:
		problems = append(problems, settings.Problem{Key: "body",
			Text: "this uses {{to}} nowhere, so that the service could not know the recipient"})
	case !used["text"] && !used["html"] && !used["code"] && !used["link"]:
		problems = append(problems, settings.Problem{Key: "body",
			Text: "this uses none of {{text}}, {{html}}, {{code}} and {{link}}, so that the mail would be empty"})
	}
	return append(problems, s.checkEvents()...)
}

var httpHeaderName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// Sender returns none: the sender is the configuration's.
func (s *httpSettings) Sender() Sender { return Sender{} }

// Open makes the provider.
func (s *httpSettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared())
	if err != nil {
		return nil, err
	}
	return &httpProvider{api, s}, nil
}

var _ Provider = (*httpProvider)(nil)

type httpProvider struct {
	*api
	settings *httpSettings
}

// Send posts the message. What is accepted is the operator's word.
func (p *httpProvider) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkASCII(m); e != nil {
		return Receipt{}, e
	}
	body, err := p.body(m)
	if err != nil {
		return Receipt{}, &Error{Kind: Content, Stage: "request", Detail: Redact(err.Error()), Err: err}
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	if value := p.settings.Authorization.Reveal(); value != "" {
		header.Set("Authorization", value)
	}
	for name, value := range p.settings.Headers {
		header.Set(name, value.Reveal())
	}
	x, err := p.request(ctx, p.settings.Method, cmp.Or(p.settings.URL, p.settings.Endpoint), header, body)
	if e := x.refusal(m, err, httpAnswerErrors); e != nil {
		return Receipt{}, e
	}
	if len(p.settings.Accept) > 0 && !slices.Contains(p.settings.Accept, x.status) {
		return Receipt{}, x.finish(m, Error{Kind: Uncertain, Detail: "the status is none of those in accept"})
	}
	if p.settings.ID == "" {
		return Receipt{ID: m.ID}, nil
	}
	id := jsonPath(x.body, p.settings.ID)
	if id == "" {
		return Receipt{}, x.unreadable(m)
	}
	return Receipt{ID: id}, nil
}

// body is the operator's, or what Logto's HTTP email connector posts.
func (p *httpProvider) body(m *mail.Message) ([]byte, error) {
	if len(p.settings.Body) > 0 {
		return p.settings.Body.render(m)
	}
	return json.Marshal(struct {
		To      string         `json:"to"`
		Type    string         `json:"type"`
		Payload map[string]any `json:"payload"`
	}{m.To, m.Type, m.Payload})
}

// httpAnswerErrors takes the words from where most services put them; what they mean
// only the status tells.
func httpAnswerErrors(x *exchange) Error {
	var answer any
	x.read(&answer)
	return Error{Detail: complaint(answer, 4)}
}

// complaint finds the first text under one of the usual names.
func complaint(value any, depth int) string {
	if depth == 0 {
		return ""
	}
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			if text := complaint(item, depth-1); text != "" {
				return text
			}
		}
	case map[string]any:
		for _, name := range []string{"message", "Message", "ErrorMessage", "error", "Error", "detail", "title",
			"errors", "Errors", "data", "Messages"} {
			if text, ok := v[name].(string); ok && text != "" {
				return text
			}
			if text := complaint(v[name], depth-1); text != "" {
				return text
			}
		}
	}
	return ""
}

// jsonPath returns the text or number at a dotted path; empty if none is there.
func jsonPath(body []byte, path string) string {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return ""
	}
	return textAt(value, path)
}

// textAt is jsonPath in what is decoded already.
func textAt(value any, path string) string {
	for step := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return ""
			}
			value = v[i]
		default:
			return ""
		}
	}
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// jsonTemplate is a JSON object whose texts hold placeholders. It may hold a key
// of the service, so it does not print.
type jsonTemplate map[string]any

// UnmarshalSetting takes the object and refuses placeholders that no mail fills.
func (t *jsonTemplate) UnmarshalSetting(value any) error {
	object, ok := value.(map[string]any)
	if !ok {
		return errors.New("write the JSON object that the service expects")
	}
	for _, name := range slices.Sorted(maps.Keys(placeholders(object))) {
		if _, ok := httpValues[name]; !ok && !isPayloadPath(name) {
			return fmt.Errorf("{{%s}} is nothing that can be filled in; there are %s, and of Logto's payload %s", name,
				strings.Join(slices.Sorted(maps.Keys(httpValues)), ", "), strings.Join(payloadRoots, ", "))
		}
	}
	*t = object
	return nil
}

// String hides the object.
func (t jsonTemplate) String() string { return "[body]" }

// GoString keeps %#v from showing it.
func (t jsonTemplate) GoString() string { return t.String() }

// MarshalText keeps JSON from showing it.
func (t jsonTemplate) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// httpValues are the placeholders.
var httpValues = map[string]func(*mail.Message) string{
	"to":           func(m *mail.Message) string { return quotedAddress(m.To) },
	"from":         func(m *mail.Message) string { return mailbox(m.From) },
	"from.address": func(m *mail.Message) string { return quotedAddress(m.From.Address) },
	"from.name":    func(m *mail.Message) string { return m.From.Name },
	"replyTo":      func(m *mail.Message) string { return quotedAddress(m.ReplyTo.Address) },
	"subject":      func(m *mail.Message) string { return m.Subject },
	"html":         func(m *mail.Message) string { return m.HTML.String() },
	"text":         func(m *mail.Message) string { return m.Text },
	"id":           func(m *mail.Message) string { return m.ID },
	"messageId":    func(m *mail.Message) string { return m.MessageID },
	"type":         func(m *mail.Message) string { return m.Type },
	"locale":       func(m *mail.Message) string { return m.Locale },
}

// payloadRoots are what a body may take from Logto's payload, with dots for what
// is below: user.name. JSON escapes it; whether the service does is the service's
// own.
var payloadRoots = []string{"code", "link", "application", "organization", "user", "inviter"}

func isPayloadPath(name string) bool {
	root, _, _ := strings.Cut(name, ".")
	return slices.Contains(payloadRoots, root)
}

// payloadText returns the text at a path of the payload, empty if there is none.
func payloadText(payload map[string]any, path string) string {
	var value any = payload
	for key := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	switch text := value.(type) {
	case string:
		return text
	case json.Number:
		return text.String()
	}
	return ""
}

// httpValue is what a placeholder stands for.
func httpValue(name string, m *mail.Message) string {
	if own, ok := httpValues[name]; ok {
		return own(m)
	}
	return payloadText(m.Payload, name)
}

var httpPlaceholder = regexp.MustCompile(`\{\{\s*([^{}\s]+)\s*\}\}`)

// placeholders returns the names that a JSON value uses.
func placeholders(value any) map[string]bool {
	used := make(map[string]bool)
	switch v := value.(type) {
	case string:
		for _, found := range httpPlaceholder.FindAllStringSubmatch(v, -1) {
			used[found[1]] = true
		}
	case []any:
		for _, item := range v {
			maps.Copy(used, placeholders(item))
		}
	case map[string]any:
		for _, item := range v {
			maps.Copy(used, placeholders(item))
		}
	}
	return used
}

// render fills in the message. A text that a placeholder leaves empty goes, and
// so does an object or list that this leaves empty: a mail without a reply
// address has no "replyTo": {"email": ""}.
func (t jsonTemplate) render(m *mail.Message) ([]byte, error) {
	filled, _ := fill(map[string]any(t), m)
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(filled)
	return body.Bytes(), err
}

// fill returns the value with its placeholders filled in, and whether there is
// anything of it left.
func fill(value any, m *mail.Message) (any, bool) {
	switch v := value.(type) {
	case string:
		filled := httpPlaceholder.ReplaceAllStringFunc(v, func(placeholder string) string {
			return httpValue(httpPlaceholder.FindStringSubmatch(placeholder)[1], m)
		})
		return filled, filled != "" || v == ""
	case []any:
		list := make([]any, 0, len(v))
		for _, item := range v {
			if filled, ok := fill(item, m); ok {
				list = append(list, filled)
			}
		}
		return list, len(list) > 0 || len(v) == 0
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, item := range v {
			if filled, ok := fill(item, m); ok {
				object[name] = filled
			}
		}
		return object, len(object) > 0 || len(v) == 0
	}
	return value, true
}
