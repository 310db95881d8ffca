package providers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
			s.Accept, s.ID = []int{200, 201}, "data.ids.0"
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
			"url":        func(s Settings) { s.(*httpSettings).URL = "http://api.service.example/" },
			"endpoint":   func(s Settings) { s.Shared().Endpoint = "https://api.service.example/" },
			"headers.a:": func(s Settings) { s.(*httpSettings).Headers["a:"] = settings.NewSecret("x") },
			"headers.a":  func(s Settings) { s.(*httpSettings).Headers["a"] = settings.NewSecret("x\r\ny") },
			"accept":     func(s Settings) { s.(*httpSettings).Accept = []int{200, 302} },
			"body":       func(s Settings) { setBody(s.(*httpSettings), `{"to":"{{to}}"}`) },
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
				{name: "bad request", answer: answer{400, nil, `{"code":"invalid_parameter","message":"email is not valid"}`}, kind: Content},
				{name: "unauthorized", answer: answer{401, nil, `{"message":"Key not found"}`}, kind: Configuration},
				{name: "payment", answer: answer{402, nil, `{"message":"no credits"}`}, kind: Configuration},
				{name: "forbidden", answer: answer{403, nil, `{"message":"not allowed"}`}, kind: Configuration},
				{name: "unprocessable", answer: answer{422, nil, `{"message":"The subject is required"}`}, kind: Content},
				{name: "unavailable", answer: answer{503, nil, `{"message":"later"}`}, kind: Temporary},
			},
		},
	}
}

// setBody reads the body the way the loader does.
func setBody(s *httpSettings, text string) {
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		panic(err)
	}
	if err := s.Body.UnmarshalSetting(value); err != nil {
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

// TestHTTPExamples sends through each of the shipped examples, to a server that
// answers as that service documents.
func TestHTTPExamples(t *testing.T) {
	answers := map[string]struct {
		answer
		id string
	}{
		"brevo":      {answer{201, nil, `{"messageId":"<201798300811.5787683@relay.domain.com>"}`}, "<201798300811.5787683@relay.domain.com>"},
		"smtp2go":    {answer{200, nil, `{"request_id":"1","data":{"succeeded":1,"failed":0,"failures":[],"email_id":"1er8bV-6Tw0Mi-7h"}}`}, "1er8bV-6Tw0Mi-7h"},
		"mailersend": {answer{202, map[string]string{"X-Message-Id": "5e42957d51f1d94a1070a733"}, ""}, plainMessage().ID},
		"mailjet":    {answer{200, nil, `{"Messages":[{"Status":"success","To":[{"Email":"x","MessageUUID":"1","MessageID":1152921511742440156}]}]}`}, "1152921511742440156"},
		"azure":      {answer{202, nil, `{"id":"8540c0de-899f-5cce-acb5-3ec493af3800","status":"Running"}`}, "8540c0de-899f-5cce-acb5-3ec493af3800"},
	}
	files, err := filepath.Glob(filepath.Join("testdata", "http", "*.json"))
	if err != nil || len(files) != len(answers) {
		t.Fatalf("examples %v, %v", files, err)
	}
	var all strings.Builder
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		s := readHTTPExample(t, file)
		if found := s.Check(); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
		var arrived string
		server, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			var body json.RawMessage
			_ = json.NewDecoder(r.Body).Decode(&body)
			arrived = jsonText(r, body)
			answers[name].write(w)
		})
		address, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		s.URL = server.URL + address.RequestURI()
		for _, m := range []*mail.Message{plainMessage(), unicodeMessage()} {
			m.ReplyTo.Address = map[bool]string{true: m.ReplyTo.Address}[!m.HTML.IsEmpty()]
			receipt, err := open(t, s).Send(t.Context(), m)
			if err != nil || receipt.ID != answers[name].id {
				t.Errorf("%s: receipt %+v, %v", name, receipt, err)
			}
			fmt.Fprintf(&all, "# %s\n\n%s\n", name, arrived)
		}
	}
	compareGolden(t, "http_examples", all.String())
}

func readHTTPExample(t *testing.T, file string) *httpSettings {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var example struct {
		URL     string
		Headers map[string]settings.Secret
		Body    json.RawMessage
		Accept  []int
		ID      string
	}
	if err := json.Unmarshal(text, &example); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	s := newHTTPSettings()
	s.URL, s.Headers, s.Accept, s.ID = example.URL, example.Headers, example.Accept, example.ID
	setBody(s, string(example.Body))
	return s
}
