package providers

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

const (
	httpKey  = "xkeysib-5e1f0a9c7b3d4826-Qm9vTGVhbg"
	httpKey2 = "api-6A2C8E4F0B1D3957QWERTZ"
)

func httpProviderFixture() fixture {
	const id = "<202611211030.12345678901@smtp-relay.service.example>"
	return fixture{
		settings: func(address string) Settings {
			s := newHTTPSettings()
			s.URL = address + "/v3/mail"
			s.Headers = map[string]settings.Secret{"api-key": settings.NewSecret(httpKey)}
			s.Accept, s.ID = []int{200, 201, 299}, "data.ids.0"
			setBody(s, `{
				"key": "`+httpKey2+`",
				"sender": {"name": "{{from.name}}", "email": "{{ from.address }}"},
				"recipients": ["{{to}}"],
				"replyTo": {"email": "{{replyTo}}"},
				"mail": {"subject": "{{locale}}: {{subject}}", "html": "{{html}}", "text": "{{text}}"},
				"track": false, "priority": 1, "cc": [], "note": "",
				"tags": ["{{type}}"], "metadata": {"relay_id": "{{id}}", "message_id": "{{messageId}}"}
			}`)
			return s
		},
		mistakes: map[string]func(Settings){
			"url":       func(s Settings) { s.(*httpSettings).URL = "http://api.service.example/" },
			"endpoint":  func(s Settings) { s.Shared().Endpoint = "https://api.service.example/" },
			"headers":   func(s Settings) { s.(*httpSettings).Headers["a:"] = settings.NewSecret("x") },
			"headers.a": func(s Settings) { s.(*httpSettings).Headers["a"] = settings.NewSecret("x\r\ny") },
			"headers.accept-encoding": func(s Settings) {
				s.(*httpSettings).Headers["accept-encoding"] = settings.NewSecret("gzip, deflate, br")
			},
			"headers.Host": func(s Settings) { s.(*httpSettings).Headers["Host"] = settings.NewSecret("b.example") },
			"accept":       func(s Settings) { s.(*httpSettings).Accept = []int{200, 300} },
			"body":         func(s Settings) { setBody(s.(*httpSettings), `{"to":"{{to}}"}`) },
			"form":         func(s Settings) { setTemplate(&s.(*httpSettings).Form, `{"to":"{{to}}","text":"{{text}}","x":{}}`) },
			"form.x": func(s Settings) {
				s.(*httpSettings).Body = nil
				setTemplate(&s.(*httpSettings).Form, `{"to":"{{to}}","text":"{{text}}","x":[{}]}`)
			},
			"auth.accessUrl": func(s Settings) { s.(*httpSettings).Auth = &httpAuth{AccessURL: "http://login.service.example"} },
			"authorization": func(s Settings) {
				s.(*httpSettings).Auth, s.(*httpSettings).Authorization = &httpAuth{}, settings.NewSecret("x")
			},
		},
		secrets:      []string{httpKey, httpKey2},
		id:           id,
		brokenAnswer: Uncertain,
		unverifiable: true,
		http: &httpFixture{
			path:       "/v3/mail",
			authorized: func(r *http.Request) bool { return r.Header.Get("Api-Key") == httpKey },
			accepted:   answer{201, nil, `{"data":{"ids":["` + id + `"]}}`},
			refusal: func(words string) answer {
				body, _ := json.Marshal(map[string]any{"errors": []any{map[string]string{"detail": words}}})
				return answer{400, nil, string(body)}
			},
			table: httpAnswerErrors,
			errors: []errorCase{
				{name: "no id", answer: answer{200, nil, `{"data":{"ids":[]}}`}, kind: Uncertain},
				{name: "not JSON", answer: answer{200, nil, proxyPage}, kind: Uncertain},
				{name: "other status", answer: answer{204, nil, ""}, kind: Uncertain},
				{name: "a page in a coding", answer: answer{200, map[string]string{"Content-Encoding": "gzip"}, zipped(proxyPage)}, kind: Uncertain},
				{name: "bad request", answer: answer{400, nil, `{"code":"invalid_parameter","message":"email is not valid"}`}, kind: Content},
				{name: "unauthorized", answer: answer{401, nil, `{"message":"Key not found"}`}, kind: Configuration},
				{name: "limit of a day", answer: answer{400, nil, `{"message":"Daily limit exceeded"}`}, kind: Configuration},
				{name: "IP address", answer: answer{400, nil, `{"message":"Your IP 192.0.2.7 is not whitelisted"}`}, kind: Configuration},
				{name: "blocked domain", answer: answer{400, nil, `{"message":"Domain acme.example is blocked"}`}, kind: Configuration},
				{name: "token", answer: answer{400, nil, `{"message":"Invalid token"}`}, kind: Configuration},
				{name: "no object", answer: answer{400, nil, `["sender not verified"]`}, kind: Configuration, unplaced: true},
				{name: "a text", answer: answer{422, nil, `Unknown API`}, kind: Configuration, unplaced: true},
				{name: "payment", answer: answer{402, nil, `{"message":"no credits"}`}, kind: Configuration},
				{name: "forbidden", answer: answer{403, nil, `{"message":"not allowed"}`}, kind: Configuration},
				{name: "unprocessable", answer: answer{422, nil, `{"message":"The subject is required"}`}, kind: Content},
				{name: "unavailable", answer: answer{503, nil, `{"message":"later"}`}, kind: Temporary},
				{name: "unavailable for now", answer: answer{503, map[string]string{"Retry-After": "0"}, `{"message":"later"}`}, kind: Temporary},
			},
		},
	}
}

// setBody reads the body the way the loader does.
func setBody(s *httpSettings, text string) { setTemplate(&s.Body, text) }

func setTemplate(target *jsonTemplate, text string) {
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		panic(err)
	}
	if err := target.UnmarshalSetting(value); err != nil {
		panic(err)
	}
}

func TestHTTPBody(t *testing.T) {
	for text, want := range map[string]string{
		`"{{to}}"`:                "object",
		`["{{to}}"]`:              "object",
		`{"to":"{{recipient}}"}`:  "{{recipient}}",
		`{"a":[{"b":"{{ x }}"}]}`: "{{x}}",
		`{"to":"{{to}}","a":[1,true,null,"{{ subject }}{{text}}"]}`: "",
	} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		err := new(jsonTemplate).UnmarshalSetting(value)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestHTTPInjection fills in values that look like JSON or like placeholders.
// A service that keeps its own templates gets the payload's values, as JSON.
func TestHTTPBodyOfThePayload(t *testing.T) {
	var body jsonTemplate
	err := body.UnmarshalSetting(map[string]any{"to": "{{to}}", "template": "sign-in", "variables": map[string]any{
		"code": "{{ code }}", "app": "{{application.name}}", "link": "{{link}}", "who": "{{user.profile.nickname}}"}})
	if err != nil {
		t.Fatal(err)
	}
	m := plainMessage()
	m.Payload = map[string]any{"code": json.Number("482913"), "application": map[string]any{"name": `Acme "Shop" {{code}}`}, "user": "odd"}
	got, err := body.render(m)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"template":"sign-in","to":"ada.lovelace@example.org","variables":{"app":"Acme \"Shop\" {{code}}","code":"482913"}}`
	if strings.TrimSpace(string(got)) != want {
		t.Errorf("the body is\n%s, want\n%s", got, want)
	}
	if err := body.UnmarshalSetting(map[string]any{"to": "{{to}}", "x": "{{password}}"}); err == nil || !strings.Contains(err.Error(), "code, link") {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestHTTPInjection(t *testing.T) {
	s := newHTTPSettings()
	setBody(s, `{"to":"{{to}}","subject":"{{subject}}","name":"{{from.name}}"}`)
	m := plainMessage()
	m.Subject = `","to":"eve@example.net","x":"{{text}}\`
	m.From.Name = `{{to}}`
	body, err := s.Body.render(m)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(body, &got); err != nil || len(got) != 3 ||
		got["to"] != m.To || got["subject"] != m.Subject || got["name"] != m.From.Name {
		t.Errorf("%s; %v", body, err)
	}
}

func TestJSONPath(t *testing.T) {
	const body = `{"a":{"b":["x",{"c":12345678901234567890}]},"n":null,"o":{},"t":true}`
	for path, want := range map[string]string{
		"a.b.0": "x", "a.b.1.c": "12345678901234567890",
		"": "", "a": "", "a.b": "", "a.b.2": "", "a.b.-1": "", "a.b.x": "", "a.b.0.c": "", "n": "", "o": "", "t": "", "zz.y": "",
	} {
		if got := jsonPath([]byte(body), path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := jsonPath([]byte("no JSON"), "a"); got != "" {
		t.Errorf("no JSON: %q", got)
	}
}

// TestHTTPExamples sends through each of the documents' examples, to a server that
// answers as that service documents, and reads its refusals.
func TestHTTPExamples(t *testing.T) {
	type refusal struct {
		answer
		kind       Kind
		suppressed bool
		words      string
	}
	examples := map[string]struct {
		answer
		id       string
		refusals []refusal
	}{
		"brevo": {answer{201, nil, `{"messageId":"<201798300811.5787683@relay.domain.com>"}`}, "<201798300811.5787683@relay.domain.com>", []refusal{
			{answer{400, nil, `{"code":"invalid_parameter","message":"email is not valid in to"}`}, Recipient, false, "invalid_parameter: email is not valid"},
			{answer{402, nil, `{"code":"not_enough_credits","message":"no"}`}, RateLimited, false, "quota"},
			{answer{400, nil, `{"code":"invalid_parameter","message":"Sender is invalid / inactive"}`}, Configuration, false, ""},
			{answer{400, nil, `{"code":"invalid_parameter","message":"Sending has been rejected because the sender you used no-reply@acme.example is not valid. Validate your sender or authenticate your domain"}`},
				Configuration, false, ""},
			{answer{201, nil, `{}`}, Uncertain, false, ""}}},
		"mailersend": {answer{202, map[string]string{"X-Message-Id": "5e42957d51f1d94a1070a733"}, ""}, "5e42957d51f1d94a1070a733", []refusal{
			{answer{202, nil, `{"message":"There are some warnings for your request.","warnings":[{"type":"ALL_SUPPRESSED","warning":"all","recipients":[]}]}`}, Recipient, true, "some warnings"},
			{answer{422, nil, `{"message":"The to.0.email must be a valid email address.","errors":{"to.0.email":["x"]}}`}, Recipient, false, ""},
			{answer{422, nil, `{"message":"The from.email domain must be verified in your account to send emails. #MS42207"}`}, Configuration, false, ""},
			{answer{422, nil, `{"message":"You have reached your email limit. #MS42222"}`}, Configuration, false, ""},
			{answer{422, nil, `{"message":"Recipient domain must match the sender's domain. #MS42209","errors":{"to.0.email":["x"]}}`}, Configuration, false, ""},
			{answer{422, nil, `{"message":"Trial accounts can only send emails to the administrator's email. #MS42225","errors":{"to":["x"]}}`}, Configuration, false, ""},
			{answer{422, nil, `{"message":"You have reached the trial limit of unique recipients. #MS42223"}`}, Configuration, false, ""},
			{answer{202, map[string]string{"X-Message-Id": "5e42957d51f1d94a1070a733", "X-Send-Paused": "true"}, ""}, Configuration, false, ""},
			{answer{202, nil, ""}, Uncertain, false, ""}}},
		"mailjet": {answer{200, nil, `{"Messages":[{"Status":"success","To":[{"Email":"x","MessageUUID":"1","MessageID":1152921511742440156}]}]}`}, "1152921511742440156", []refusal{
			{answer{400, nil, `{"Messages":[{"Status":"error","Errors":[{"ErrorCode":"mj-0013","StatusCode":400,"ErrorMessage":"is an invalid email address.","ErrorRelatedTo":["To[0].Email"]}]}]}`},
				Recipient, false, "mj-0013: is an invalid email address."},
			{answer{400, nil, `{"Messages":[{"Status":"error","Errors":[{"ErrorCode":"mj-0013","ErrorMessage":"is an invalid email address.","ErrorRelatedTo":["From.Email"]}]}]}`},
				Configuration, false, "invalid"},
			{answer{200, nil, `{"Messages":[{"Status":"error","Errors":[{"ErrorMessage":"x","ErrorRelatedTo":["To[0]"]}]}]}`}, Recipient, false, ""}}},
		"azure": {answer{202, nil, `{"id":"8540c0de-899f-5cce-acb5-3ec493af3800","status":"Running"}`}, "8540c0de-899f-5cce-acb5-3ec493af3800", []refusal{
			{answer{400, nil, `{"error":{"code":"EmailDroppedAllRecipientsSuppressed","message":"x"}}`}, Recipient, true, ""},
			{answer{400, nil, `{"error":{"code":"BadRequest","message":"Invalid format for email address","target":"recipients.to[0].address"}}`}, Recipient, false, "BadRequest"},
			{answer{202, nil, `{"id":"8540c0de-899f-5cce-acb5-3ec493af3800","status":"Failed"}`}, Configuration, false, ""},
			{answer{400, nil, `{"error":{"code":"DomainNotLinked","message":"The specified sender domain has not been linked."}}`}, Configuration, false, "DomainNotLinked"}}},
		"graph": {answer{202, map[string]string{"Request-Id": "90a7aea5-29ea-49c2-b297-695ee0f2d296"}, ""}, "90a7aea5-29ea-49c2-b297-695ee0f2d296", []refusal{
			{answer{400, nil, `{"error":{"code":"ErrorInvalidRecipients","message":"At least one recipient isn't valid."}}`}, Recipient, false, "ErrorInvalidRecipients"},
			{answer{403, nil, `{"error":{"code":"ErrorAccessDenied","message":"Access is denied."}}`}, Configuration, false, ""},
			{answer{400, nil, `{"error":{"code":"ErrorInvalidUser","message":"The requested user 'no-reply@acme.example' is invalid."}}`}, Configuration, false, ""},
			{answer{429, map[string]string{"Retry-After": "5"}, `{"error":{"code":"ApplicationThrottled","message":"x"}}`}, RateLimited, false, ""},
			{answer{202, nil, proxyPage}, Uncertain, false, ""}}},
		"elasticemail": {answer{200, nil, `{"success":true,"data":{"transactionid":"t","messageid":"m"}}`}, "m", []refusal{
			{answer{200, nil, `{"success":false,"error":"Incorrect apikey"}`}, Configuration, false, "Incorrect apikey"}}},
	}
	found := httpExamples(t)
	if len(found) != len(examples) {
		t.Fatalf("the documents have %d examples", len(found))
	}
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(examples)) {
		s, example := found[name], examples[name]
		if s == nil {
			t.Fatalf("no example %s", name)
		}
		if found := s.Check(); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
		var arrived string
		answering := example.answer
		server, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.URL.Path == "/token" {
				answer{200, map[string]string{"Content-Type": "application/json"}, `{"access_token":"a-token","token_type":"Bearer","expires_in":3600}`}.write(w)
				return
			}
			if s.Auth != nil && r.Header.Get("Authorization") != "Bearer a-token" {
				t.Errorf("%s: signed in with %q", name, r.Header.Get("Authorization"))
			}
			arrived = string(body)
			if s.Form == nil {
				arrived = jsonText(r, body)
			}
			answering.write(w)
		})
		address, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		s.URL = server.URL + address.RequestURI()
		if s.Auth != nil {
			s.Auth.AccessURL = server.URL + "/token"
		}
		provider := open(t, s)
		for _, m := range []*mail.Message{plainMessage(), unicodeMessage()} {
			m.ReplyTo.Address = map[bool]string{true: m.ReplyTo.Address}[!m.HTML.IsEmpty()]
			receipt, err := provider.Send(t.Context(), m)
			if err != nil || receipt.ID != example.id {
				t.Errorf("%s: receipt %+v, %v", name, receipt, err)
			}
			fmt.Fprintf(&all, "# %s\n\n%s\n", name, arrived)
		}
		for _, refused := range example.refusals {
			answering = refused.answer
			_, err := provider.Send(t.Context(), plainMessage())
			if e := wantError(t, err); e.Kind != refused.kind || e.Suppressed != refused.suppressed || !strings.Contains(e.Error(), refused.words) {
				t.Errorf("%s: %d %s: %v, want %v", name, refused.status, refused.body, e, refused.kind)
			}
		}
	}
	compareGolden(t, "http_examples", all.String())
}

// httpExamples are the examples in the documents, by name.
func httpExamples(t *testing.T) map[string]*httpSettings {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "http-providers.md"))
	if err != nil {
		t.Fatal(err)
	}
	examples := make(map[string]*httpSettings)
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		var example struct {
			Name, URL, ID string
			Headers       map[string]settings.Secret
			Body, Form    json.RawMessage
			Accept        []int
			Refused       []refusedAnswer
			Auth          *httpAuth
			// What events need.
			EventCredentials settings.Secret
			EventSignature   httpEventSignature
			EventMapping     struct {
				ID, Status, Time, Recipient, Detail, Key string
				Statuses                                 map[string]string
			}
		}
		if err := json.Unmarshal([]byte(block[1]), &example); err != nil {
			t.Fatalf("%s: %v", block[1], err)
		}
		s := newHTTPSettings()
		s.URL, s.Headers, s.Accept, s.ID, s.Refused, s.Auth = example.URL, example.Headers, example.Accept, example.ID, example.Refused, example.Auth
		s.EventCredentials, s.EventSignature = example.EventCredentials, example.EventSignature
		if m := example.EventMapping; m.ID != "" {
			s.EventMapping = httpEventMapping{m.ID, settings.Texts{m.Status}, m.Statuses, m.Time, m.Recipient, m.Detail, m.Key}
		}
		if example.Form != nil {
			setTemplate(&s.Form, string(example.Form))
		} else {
			setBody(s, string(example.Body))
		}
		examples[example.Name] = s
	}
	return examples
}

// What an answer without an id has to be in order to count.
func TestHTTPAcceptanceByStatus(t *testing.T) {
	for body, accepted := range map[string]bool{
		"": true, " \r\n": true, "{}": true, "[]": true, `"queued"`: true, "null": true,
		"<html><title>Welcome to our network</title></html>": false, "OK": false, `{"a":`: false, "{} <html>": false,
	} {
		s := newHTTPSettings()
		setBody(s, `{"to":"{{to}}","text":"{{text}}"}`)
		server, _ := startServer(t, always(answer{200, nil, body}))
		s.URL = server.URL
		receipt, err := open(t, s).Send(t.Context(), plainMessage())
		if accepted != (err == nil && receipt.ID == plainMessage().ID) || !accepted && AsError(err).Kind != Uncertain {
			t.Errorf("%q: %+v, %v", body, receipt, err)
		}
	}
}

// What another endpoint of Logto's webhooks has to answer: more than Logto's connector asks
// for, but not more than web frameworks say.
func TestAnswersOfWhereAMailIsHandedOn(t *testing.T) {
	for body, accepted := range map[string]bool{
		"": true, "{}": true, "OK": true, "ok\n": true, "Accepted": true, "success": true, "Your mail has been sent successfully.": true, "Email sent!": true, "queued": true, "Thank you": true,
		"<html>": false, "<a>OK</a>": false, "error": false, "Failed": false, "not sent": false, `{"a":`: false, "OK, but not sent": false,
		"Unable to send email. Please try again.": false, "Unauthorized": false, "Ошибка 1": false, "错误：1": false, "✅ OK": true, "NOK": false, "no": false, "Welcome to nginx!": false, "Hello World!": false, "Rate limit exceeded": false, "\x00": false,
	} {
		s := newHTTPSettings()
		server, _ := startServer(t, always(answer{200, nil, body}))
		s.Endpoint = server.URL
		if _, err := open(t, s).Send(t.Context(), plainMessage()); accepted != (err == nil) || !accepted && AsError(err).Kind != Uncertain {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// A service that knows a mail by a header gets one for each.
func TestHTTPPlaceholdersInHeaders(t *testing.T) {
	var got http.Header
	server, _ := startServer(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	s := newHTTPSettings()
	setBody(s, `{"to":"{{to}}","text":"{{text}}"}`)
	s.URL = server.URL
	s.Headers = map[string]settings.Secret{"Idempotency-Key": settings.NewSecret("{{id}}"),
		"X-About": settings.NewSecret("{{type}} {{ messageId }}"), "X-Language": settings.NewSecret("{{locale}}"), "X-Key": settings.NewSecret("a{b}c")}
	p := open(t, s)
	for _, id := range []string{"one", "two"} {
		m := plainMessage()
		m.ID, m.Locale = id, ""
		_, err := p.Send(t.Context(), m)
		if _, hasLanguage := got["X-Language"]; err != nil || got.Get("Idempotency-Key") != id || hasLanguage ||
			got.Get("X-About") != m.Type+" "+m.MessageID || got.Get("X-Key") != "a{b}c" {
			t.Errorf("%v, %v", err, got)
		}
	}
}

// Nobody knows what an answer that breaks off would have said.
func TestHTTPBrokenAnswers(t *testing.T) {
	for body, accepted := range map[string]bool{"": false, "0": false, `{"success":`: false, `{"success":true}`: true} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "61")
			_, _ = io.WriteString(w, body)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}))
		t.Cleanup(server.Close)
		s := newHTTPSettings()
		setBody(s, `{"to":"{{to}}","text":"{{text}}"}`)
		s.URL = server.URL
		if _, err := open(t, s).Send(t.Context(), plainMessage()); accepted != (err == nil) || !accepted && AsError(err).Kind != Uncertain {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// The log tells of an answer that nobody can read, and nothing of what is in it.
func TestHTTPAnswerInACoding(t *testing.T) {
	for _, body := range []string{"\x0b\x02\x80{}\x03", "noise"} {
		server, _ := startServer(t, always(answer{200, map[string]string{"Content-Encoding": "br"}, body}))
		s := newHTTPSettings()
		setBody(s, `{"to":"{{to}}","text":"{{text}}"}`)
		s.URL, s.ID = server.URL, "id"
		_, err := open(t, s).Send(t.Context(), plainMessage())
		if e := AsError(err); e.Kind != Uncertain || !strings.Contains(e.Detail, "coding br,") {
			t.Errorf("%q: %v", body, e)
		}
	}
}

// A gateway that did not reach the service may be asked again; what it says of one that left
// in between is no verdict. Whose words come with a 502 nobody can tell.
func TestHTTPGateways(t *testing.T) {
	const envoy = "upstream connect error or disconnect/reset before headers. reset reason: "
	for _, c := range []struct {
		answer answer
		want   Kind
	}{
		{answer{503, nil, envoy + "connection failure"}, Temporary}, {answer{503, nil, envoy + "overflow"}, Temporary},
		{answer{503, nil, envoy + "remote reset"}, Uncertain},
		{answer{503, nil, "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure"}, Uncertain}, {answer{503, nil, "no healthy upstream"}, Temporary},
		{answer{503, nil, "<style>body{overflow:hidden}</style><title>503 Backend fetch failed</title>"}, Uncertain},
		{answer{503, nil, `<iframe src="//www.herokucdn.com/error-pages/application-error.html">`}, Uncertain},
		{answer{503, nil, `<iframe src="//www.herokucdn.com/error-pages/maintenance-mode.html">`}, Temporary},
		{answer{421, nil, `{"message":"under maintenance"}`}, Temporary}, {answer{425, nil, ""}, Temporary},
		{answer{421, nil, "<h1>Misdirected Request</h1>"}, Configuration},
		{answer{521, nil, "error code: 521"}, Temporary}, {answer{523, nil, "error code: 523"}, Temporary},
		{answer{502, nil, `{"message":"An invalid response was received from the upstream server"}`}, Uncertain},
	} {
		server, _ := startServer(t, always(c.answer))
		s := newHTTPSettings()
		setBody(s, `{"to":"{{to}}","text":"{{text}}"}`)
		s.URL = server.URL
		if _, err := open(t, s).Send(t.Context(), plainMessage()); AsError(err).Kind != c.want || AsError(err).Momentary != (c.want == Temporary) {
			t.Errorf("%+v: %v", c.answer, err)
		}
	}
}

// A service may want its key anywhere, and repeats it from there.
func TestHTTPKeysOutsideOfHeaders(t *testing.T) {
	const key = "k3y-Zx81!pQ7w"
	server, _ := startServer(t, always(answer{401, nil, `{"message":"apiUser relay with apiKey ` + key + ` may not /send?k=` + url.QueryEscape(key) + `"}`}))
	const rest = `"to":"{{to}}","text":"{{text}}"`
	for name, c := range map[string][3]string{
		"body":        {`{"apiKey":"` + key + `",` + rest + `}`},
		"deep":        {`{"auth":{"values":["` + key + `"]},` + rest + `}`},
		"form":        {"", `{"api_user":"relay","api_token":"` + key + `",` + rest + `}`},
		"query":       {`{` + rest + `}`, "", "/?k=" + url.QueryEscape(key)},
		"user info":   {`{` + rest + `}`, "", ""},
		"logto's own": {"", "", "/?k=" + url.QueryEscape(key)},
	} {
		s := newHTTPSettings()
		s.URL = server.URL + c[2]
		if c[0] != "" {
			setBody(s, c[0])
		}
		if c[1] != "" {
			setTemplate(&s.Form, c[1])
		}
		if name == "user info" {
			s.URL = strings.Replace(s.URL, "://", "://relay:"+url.QueryEscape(key)+"@", 1)
		}
		_, err := open(t, s).Send(t.Context(), plainMessage())
		if e := AsError(err); e.Kind != Configuration || strings.Contains(e.Error(), key) || !strings.Contains(e.Detail, "apiUser relay") {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// An answer's words are looked for as deep as services have them, and no deeper.
func TestHTTPWordsOfAnAnswer(t *testing.T) {
	for body, want := range map[string]string{
		`{"message":"","detail":"no"}`: "no", `{"message":{"error":"no"},"detail":"other"}`: "no", `{"message":7,"detail":"no"}`: "no",
		`{"Messages":[{"Errors":[{"ErrorMessage":"no"}]}]}`: "no", `{"error":{"errors":[{"detail":"no"}]}}`: "no",
		strings.Repeat(`{"data":`, 7) + `{"message":"no"}` + strings.Repeat("}", 7): "no", strings.Repeat(`{"data":`, 8) + `{"message":"no"}` + strings.Repeat("}", 8): "",
		strings.Repeat("[", 7) + `{"message":"no"}` + strings.Repeat("]", 7): "no", strings.Repeat("[", 8) + `{"message":"no"}` + strings.Repeat("]", 8): "",
	} {
		if got := httpAnswerErrors(&exchange{body: []byte(body)}).Detail; got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
}

// What a status alone says of the mail does not keep the next provider from being asked.
func TestHTTPGuessesOfAStatus(t *testing.T) {
	f := httpProviderFixture()
	for text, want := range map[string]struct {
		kind     Kind
		filtered bool
	}{
		`{"message":"Bad request"}`: {Content, true}, `{}`: {Content, true}, `null`: {Configuration, false}, `[]`: {Configuration, false}, `{"message":"refused"}`: {Content, false},
		`{"message":"Recipient limit exceeded"}`: {Configuration, false}, `{"message":"Sending IP is blocked"}`: {Configuration, false},
		`{"message":"Too many of your mails bounced"}`: {Configuration, false}, `{"message":"accounts@example.org is malformed"}`: {Content, true}, `{"message":"You can only send to verified recipients"}`: {Configuration, false},
	} {
		server, _ := startServer(t, always(answer{400, nil, text}))
		s := f.settings(server.URL).(*httpSettings)
		s.Refused = []refusedAnswer{{Path: "message", Values: []any{"refused"}, Kind: "message"}}
		_, err := open(t, s).Send(t.Context(), plainMessage())
		if e := AsError(err); e.Kind != want.kind || e.Filtered != want.filtered {
			t.Errorf("%s: %v, filtered %v", text, e, e.Filtered)
		}
	}
}

// One text may hold several placeholders.
func TestHTTPPlaceholdersOfOneText(t *testing.T) {
	for body, fits := range map[string]bool{
		`{"mail":"{{subject}} {{to}} {{text}}"}`: true, `{"to":"{{to}}","code":"{{code}}"}`: true, `{"to":"{{to}}","link":"{{link}}"}`: true,
		`{"to":"{{to}}","html":"{{html}}"}`: true, `{"to":"{{to}}","subject":"{{subject}}"}`: false,
	} {
		s := newHTTPSettings()
		s.URL = "https://api.service.example/"
		setBody(s, body)
		if problems := s.Check(); (len(problems) == 0) != fits {
			t.Errorf("%s: %v", body, problems)
		}
	}
}

// Other statuses than those of success cannot be taken for it.
func TestHTTPAccept(t *testing.T) {
	for status, fits := range map[int]bool{199: false, 200: true, 299: true, 300: false} {
		s := newHTTPSettings()
		s.URL, s.Accept = "https://api.service.example/", []int{status}
		if problems := s.Check(); (len(problems) == 0) != fits {
			t.Errorf("%d: %v", status, problems)
		}
	}
}

func TestHTTPRefused(t *testing.T) {
	const body = `{"ok":false,"n":0,"one":1,"huge":1e999,"list":[{"type":"A"},{"type":"Not Verified yet"}],"null":null,"some":{"x":1},"empty":[],"void":{}}`
	for _, test := range []struct {
		refused refusedAnswer
		holds   bool
	}{
		{refusedAnswer{Path: "ok", Values: []any{false}}, true},
		{refusedAnswer{Path: "ok", Values: []any{"true"}}, false},
		{refusedAnswer{Path: "n", Values: []any{1, "0"}}, true},
		{refusedAnswer{Path: "list.*.type", Values: []any{"*not verified*"}}, true},
		{refusedAnswer{Path: "list.*.type", Values: []any{"verified"}}, false},
		{refusedAnswer{Path: "list.0.type"}, true},
		{refusedAnswer{Path: "list.7.type"}, false},
		{refusedAnswer{Path: "ok"}, false}, {refusedAnswer{Path: "n"}, false}, {refusedAnswer{Path: "one"}, true}, {refusedAnswer{Path: "huge"}, true}, {refusedAnswer{Path: "null"}, false},
		{refusedAnswer{Path: "empty"}, false}, {refusedAnswer{Path: "void"}, false}, {refusedAnswer{Path: "some"}, true}, {refusedAnswer{Path: "nothing"}, false},
		{refusedAnswer{Path: "list"}, true}, {refusedAnswer{Path: "header:X-Refused"}, true}, {refusedAnswer{Path: "header:X-Other"}, false},
	} {
		x := &exchange{body: []byte(body), header: http.Header{"X-Refused": {"1"}}}
		if got := test.refused.holds(x.at(test.refused.Path)); got != test.holds {
			t.Errorf("%+v: %v", test.refused, got)
		}
	}
}

// A token that the service stops to take is replaced once; a mail that nobody can
// sign in for is refused by the settings.
func TestHTTPAuth(t *testing.T) {
	var issued, asked, refusing atomic.Int64
	server, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		switch {
		case r.URL.Path == "/token" && refusing.Load() == 3:
			answer{503, map[string]string{"Retry-After": "1"}, ""}.write(w)
		case r.URL.Path == "/token" && refusing.Load() > 0:
			answer{400, nil, []string{`{"error":"unauthorized_client"}`, `{"error":"access_denied"}`}[refusing.Load()-1]}.write(w)
		case r.URL.Path == "/token":
			if r.Form.Get("client_id") != "c" || r.Form.Get("client_secret") != httpKey || r.Form.Get("scope") != "a b" {
				t.Errorf("%v", r.Form)
			}
			answer{200, map[string]string{"Content-Type": "application/json"}, fmt.Sprintf(`{"access_token":"opaque%d","expires_in":3600}`, issued.Add(1))}.write(w)
		case asked.Add(1) == 2: // the second mail, with the first token
			answer{401, nil, "{}"}.write(w)
		case refusing.Load() < 0:
			answer{403, nil, `{"message":"token ` + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + ` is bad"}`}.write(w)
		default:
			answer{202, map[string]string{"X-Id": r.Header.Get("Authorization")}, ""}.write(w)
		}
	})
	s := newHTTPSettings()
	setBody(s, `{"to":"{{to}}","text":"{{text}}"}`)
	s.URL, s.ID = server.URL, "header:x-id"
	s.Auth = &httpAuth{ClientID: "c", ClientSecret: settings.NewSecret(httpKey), AccessURL: server.URL + "/token", Scope: "a b"}
	provider := open(t, s)
	for _, want := range []string{"Bearer opaque1", "Bearer opaque2", "Bearer opaque2"} {
		if receipt, err := provider.Send(t.Context(), plainMessage()); err != nil || receipt.ID != want {
			t.Errorf("%+v, %v, want %s", receipt, err, want)
		}
	}
	refusing.Store(-1)
	_, err := provider.Send(t.Context(), plainMessage())
	if e := wantError(t, err); e.Kind != Configuration || strings.Contains(e.Detail, "opaque") {
		t.Errorf("%v", e)
	}
	for code := range int64(2) {
		refusing.Store(code + 1)
		_, err = open(t, s).Send(t.Context(), plainMessage())
		if e := wantError(t, err); e.Kind != Configuration || e.Stage != "OAuth2" || !strings.Contains(e.Hint, "consent") {
			t.Errorf("%v", e)
		}
	}
	refusing.Store(3)
	_, err = open(t, s).Send(t.Context(), plainMessage())
	if e := wantError(t, err); e.Kind != Temporary || !e.Momentary || e.RetryAfter != time.Second {
		t.Errorf("%v, tried again: %v after %v", e, e.Momentary, e.RetryAfter)
	}
}

// A service that takes no token at all gets each mail twice, and not once for each of the
// others' tokens too.
func TestHTTPAuthThatIsNeverTaken(t *testing.T) {
	var posts, issued atomic.Int64
	server, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			answer{200, map[string]string{"Content-Type": "application/json"}, fmt.Sprintf(`{"access_token":"opaque%d","expires_in":3600}`, issued.Add(1))}.write(w)
			return
		}
		posts.Add(1)
		answer{401, nil, "{}"}.write(w)
	})
	s := newHTTPSettings()
	setBody(s, `{"to":"{{to}}","text":"{{text}}"}`)
	s.URL, s.Auth = server.URL, &httpAuth{ClientID: "c", ClientSecret: settings.NewSecret(httpKey), AccessURL: server.URL + "/token"}
	provider := open(t, s)
	if _, err := provider.Send(t.Context(), plainMessage()); AsError(err).Kind != Configuration || posts.Load() != 1 {
		t.Errorf("a new token gets %d posts: %v", posts.Load(), err)
	}
	posts.Store(0)
	const mails = 20
	var all sync.WaitGroup
	for range mails {
		all.Go(func() {
			if _, err := provider.Send(t.Context(), plainMessage()); AsError(err).Kind != Configuration {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if posts.Load() > 2*mails {
		t.Errorf("%d posts, %d tokens for %d mails", posts.Load(), issued.Load(), mails)
	}
}

// A form has no nesting, and other people's words do not become fields.
func TestHTTPForm(t *testing.T) {
	var form jsonTemplate
	setTemplate(&form, `{"to[]":["{{to}}","x"],"subject":"{{subject}}","n":1,"t":true,"replyTo":"{{replyTo}}"}`)
	for name, value := range form {
		if !isFormValue(value) {
			t.Errorf("%s is refused", name)
		}
	}
	m := plainMessage()
	m.Subject, m.ReplyTo.Address = "a&to[]=eve@example.net;b=c", ""
	if got := string(form.renderForm(m)); got != "n=1&subject=a%26to%5B%5D%3Deve%40example.net%3Bb%3Dc&t=true&to%5B%5D=ada.lovelace%40example.org&to%5B%5D=x" {
		t.Error(got)
	}
}

// A service that takes HTML alone still gets the code of a mail that has none.
func TestHTTPWithoutText(t *testing.T) {
	var body jsonTemplate
	setTemplate(&body, `{"to":"{{to}}","html":"{{html}}"}`)
	m := plainMessage()
	m.HTML, m.Text = nil, "1 < 2: "+testCode
	got, err := body.render(m)
	if err != nil || !strings.Contains(string(got), "1 &lt; 2: "+testCode) {
		t.Errorf("%s, %v", got, err)
	}
}

// Frameworks repeat the path of a request that they do not know.
func TestKeysInThePath(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"Cannot POST `+r.URL.Path+`"}`)
	}))
	t.Cleanup(service.Close)
	s := newHTTPSettings()
	s.URL = service.URL + "/hooks/k3y-Zx81!pQ"
	setTemplate(&s.Body, `{"to":"{{to}}"}`)
	_, err := open(t, s).Send(t.Context(), plainMessage())
	if said := fmt.Sprintf("%+v", err); !strings.Contains(said, "Cannot POST /hooks/[key]") || strings.Contains(said, "Zx81") {
		t.Error(said)
	}
}
