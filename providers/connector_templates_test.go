package providers

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"testing"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// What stands in the settings comes out as templates, whatever its form.
func TestMailsOfAProvidersOwnSettings(t *testing.T) {
	inline := inlineTemplate{"SignIn", "Your code", "It is {{code}}"}
	stored := storableTemplate{UsageType: "Generic", Template: "d-1", Variables: map[string]any{"brand": "Acme"}}
	reply := settings.Mailbox{}
	reply.Address.Address = "help@acme.example"
	for name, test := range map[string]struct {
		settings Settings
		want     []mail.ConnectorTemplate
	}{
		"smtp, HTML": {&SMTPSettings{Templates: []smtpTemplate{{inline, "text/html"}}},
			[]mail.ConnectorTemplate{{Key: "templates[0]", Type: "SignIn", Subject: "Your code", HTML: "It is {{code}}"}}},
		"smtp, text": {&SMTPSettings{Templates: []smtpTemplate{{inline, "text/plain"}}},
			[]mail.ConnectorTemplate{{Key: "templates[0]", Type: "SignIn", Subject: "Your code", Text: "It is {{code}}"}}},
		"aliyun": {&aliyunSettings{Templates: []inlineTemplate{inline}},
			[]mail.ConnectorTemplate{{Key: "templates[0]", Type: "SignIn", Subject: "Your code", HTML: "It is {{code}}"}}},
		"ses": {&sesSettings{Templates: []storableTemplate{{UsageType: "SignIn", Subject: "Your code", Content: "It is {{code}}"}, stored}},
			[]mail.ConnectorTemplate{{Key: "templates[0]", Type: "SignIn", Subject: "Your code", HTML: "It is {{code}}"},
				{Key: "templates[1]", Type: "Generic", Stored: "d-1", Variables: stored.Variables}}},
		"sendgrid": {&sendGridSettings{Templates: []sendGridTemplate{
			{storableTemplate{UsageType: "SignIn", Subject: "Your code", Content: "It is {{code}}"}, "text/plain"}, {stored, ""}}},
			[]mail.ConnectorTemplate{{Key: "templates[0]", Type: "SignIn", Subject: "Your code", Text: "It is {{code}}"},
				{Key: "templates[1]", Type: "Generic", Stored: "d-1", Variables: stored.Variables}}},
		"postmark": {&postmarkSettings{Templates: []postmarkTemplate{{"SignIn", "logto-sign-in"}}},
			[]mail.ConnectorTemplate{{Key: "templates[0]", Type: "SignIn", Stored: "logto-sign-in"}}},
		"mailgun": {&mailgunSettings{Deliveries: map[string]delivery{
			"SignIn":  {Subject: "Your code", HTML: "<b>{{code}}</b>", Text: "{{code}}", ReplyTo: reply},
			"Generic": {Template: "generic", Subject: "Hello", Variables: stored.Variables}}},
			[]mail.ConnectorTemplate{{Key: "deliveries.Generic", Type: "Generic", Subject: "Hello", Stored: "generic", Variables: stored.Variables},
				{Key: "deliveries.SignIn", Type: "SignIn", Subject: "Your code", HTML: "<b>{{code}}</b>", Text: "{{code}}", ReplyTo: reply.Address}}},
		"smtp2go": {&smtp2goSettings{Templates: []typedTemplate{
			{inlineTemplate{"SignIn", "Your code", "It is {{code}}"}, "text/plain"}, {inlineTemplate{"Generic", "Your code", "<b>{{code}}</b>"}, ""}}},
			[]mail.ConnectorTemplate{{Key: "templates[0]", Type: "SignIn", Subject: "Your code", Text: "It is {{code}}"},
				{Key: "templates[1]", Type: "Generic", Subject: "Your code", HTML: "<b>{{code}}</b>"}}},
		"mailjunky": {&mailJunkySettings{Templates: []typedTemplate{{inlineTemplate{"SignIn", "s", "c"}, "text/html"}}},
			[]mail.ConnectorTemplate{{Key: "templates[0]", Type: "SignIn", Subject: "s", HTML: "c"}}},
		"resend": {&resendSettings{}, nil},
	} {
		if got := test.settings.Mails(); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// Either a content with a subject, or the name of a template at the service.
func TestATemplateHasAContentOrAName(t *testing.T) {
	for _, test := range []struct{ subject, content, template, key string }{
		{"s", "c", "", ""}, {"", "", "d-1", ""},
		{"s", "", "", "templates[3]"}, {"", "c", "", "templates[3].subject"}, {"", "", "", "templates[3]"},
		{"s", "c", "d-1", "templates[3].template"}, {"s", "", "d-1", "templates[3].template"}, {"", "c", "d-1", "templates[3].template"},
	} {
		template := storableTemplate{Subject: test.subject, Content: test.content, Template: test.template}
		if problems := template.check(3); (len(problems) == 0) != (test.key == "") || len(problems) > 0 && problems[0].Key != test.key {
			t.Errorf("%+v: %v", test, problems)
		}
	}
}

// The two keys of Logto's HTTP email connector hand on what Logto sent.
func TestHTTPHandsOnWhatLogtoSent(t *testing.T) {
	type webhook struct {
		To, Type string
		Payload  map[string]any
	}
	var got webhook
	server, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &got) != nil || r.Header.Get("Authorization") != "Bearer "+httpKey {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	s := newHTTPSettings()
	s.Endpoint, s.Authorization = server.URL+"/logto/email", settings.NewSecret("Bearer "+httpKey)
	if found := s.Check(); len(found) > 0 {
		t.Fatal(found)
	}
	m := plainMessage()
	m.Payload = map[string]any{"code": testCode, "locale": "de"}
	receipt, err := open(t, s).Send(t.Context(), m)
	if err != nil || receipt.ID != m.ID {
		t.Fatalf("%+v, %v", receipt, err)
	}
	if want := (webhook{m.To, m.Type, m.Payload}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
