package templates_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"logto-email-relay/mail"
	"logto-email-relay/templates"
)

func catalogue(t *testing.T) *templates.Catalogue {
	t.Helper()
	c, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAProvidersOwnTemplatesGoFirst(t *testing.T) {
	c := catalogue(t)
	overlay, err := c.With([]mail.ConnectorTemplate{
		{Key: "templates[0]", Type: "SignIn", Subject: "Hello {{user.name}}", HTML: "<p>Hi {{user.name}},<br>it is <b>{{code}}</b>{{nothing}}</p>"},
		{Key: "templates[1]", Type: "Generic", Subject: "Code", Text: "It is {{ code }}."},
	})
	if err != nil {
		t.Fatal(err)
	}
	payload := map[string]any{"code": "482913", "locale": "ja", "nothing": nil,
		"user": map[string]any{"name": `<b>Ada</b> evil.example`}}
	for kind, want := range map[string]templates.Mail{
		"SignIn": {Source: "templates[0]", Subject: "Hello <b>Ada</b> evil. example",
			HTML: mail.Body{mail.OwnPart("<p>Hi &lt;b&gt;Ada&lt;/b&gt; evil. example,<br>it is <b>482913</b></p>")},
			Text: "Hi <b>Ada</b> evil. example,\nit is 482913"},
		"BindMfa":   {Source: "templates[1]", Subject: "Code", Text: "It is 482913."},
		"Invention": {Source: "templates[1]", Subject: "Code", Text: "It is 482913."},
	} {
		got, err := overlay.Render(templates.Request{Type: kind, Locale: "ja", Payload: payload})
		got.Text = strings.TrimSpace(got.Text)
		if !got.HTML.IsEmpty() {
			got.HTML = mail.Body{mail.OwnPart(got.HTML.String())}
		}
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v, want %+v", kind, got, err, want)
		}
	}
	if got := overlay.Locale("SignIn", payload); got != "ja" {
		t.Errorf("locale %s", got)
	}
	told := strings.Join(overlay.Warnings(), "\n")
	for _, want := range []string{"templates[0] (subject):1:7: SignIn mails often come without user", "{{nothing}} prints as nothing"} {
		if !strings.Contains(told, want) {
			t.Errorf("the warnings do not say %q:\n%s", want, told)
		}
	}
}

func TestTypesThatAProviderLacksAreTheCatalogues(t *testing.T) {
	c := catalogue(t)
	overlay, err := c.With([]mail.ConnectorTemplate{{Key: "templates[0]", Type: "SignIn", Subject: "s", Text: "t {{code}}"}})
	if err != nil {
		t.Fatal(err)
	}
	r := templates.Request{Type: "Register", Locale: "de", Payload: map[string]any{"code": "482913", "locale": "de"}}
	got, err := overlay.Render(r)
	want, wantErr := c.Render(r)
	if err != nil || wantErr != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v, %v", got, err, want, wantErr)
	}
}

// They have no language of their own; what they print of it is the one decided.
func TestTheLanguageOfAProvidersOwnTemplates(t *testing.T) {
	overlay, err := catalogue(t).With([]mail.ConnectorTemplate{
		{Key: "templates[0]", Type: "SignIn", Subject: "{{locale}}", Text: "{{dir}} {{uiLocales}} {{code}}"}})
	if err != nil {
		t.Fatal(err)
	}
	r := templates.Request{Type: "SignIn", Locale: "ar", Payload: map[string]any{"locale": "ja", "uiLocales": "ja", "code": "1"}}
	if got, err := overlay.Render(r); err != nil || got.Locale != "" || got.Subject != "ar" || got.Text != "rtl ja 1" {
		t.Errorf("%+v, %v", got, err)
	}
	r.Locale = "xx"
	if got, err := overlay.Render(r); err == nil {
		t.Errorf("in no language: %+v", got)
	}
}

// A service that writes the mail itself is given the link as it is printed.
func TestTheLinkOfAMail(t *testing.T) {
	overlay, err := catalogue(t).With([]mail.ConnectorTemplate{{Key: "deliveries.Generic", Type: "Generic", Stored: "otp"}})
	if err != nil {
		t.Fatal(err)
	}
	for link, want := range map[string]string{
		`HTTPS://App.acme.example/?a="><b>x`: "https://app.acme.example/?a=%22%3E%3Cb%3Ex", "javascript:alert(1)": "",
	} {
		request := templates.Request{Type: "OrganizationInvitation", Locale: "en", Payload: map[string]any{"link": link}}
		for _, renderer := range []interface {
			Render(templates.Request) (*templates.Mail, error)
		}{catalogue(t), overlay} {
			if got, err := renderer.Render(request); err != nil || got.Link != want {
				t.Errorf("%q: %q, %v", link, got.Link, err)
			}
		}
	}
}

// The values go to a template that is not ours, so names are neutralised here.
func TestATemplateKeptAtTheService(t *testing.T) {
	overlay, err := catalogue(t).With([]mail.ConnectorTemplate{{Key: "deliveries.Generic", Type: "Generic", Stored: "otp",
		Variables: map[string]any{"brand": "Acme", "code": "of the payload instead"}}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := overlay.Render(templates.Request{Type: "OrganizationInvitation", Locale: "fr", Payload: map[string]any{
		"code": "482913", "link": "javascript:alert(1)", "locale": "fr-CA", "seats": 3,
		"user": map[string]any{"name": `<a href=&#104;ttps&#58;&#47;&#47;evil&#46;com>now</a>`, "company": `AT&T "R&D" O'Brien`, "bold": "&lt;b&gt", "primaryEmail": `"><img/src=x>@example.com`, "first": "{{contact.EMAIL}} {% if %} *|UNSUB|*"},
		"list": []any{"evil.example", nil}, "number": json.Number(strings.Repeat("1", 5000)), "few": json.Number("12345"),
		"inviter": map[string]any{"name": "evil.example", "primaryEmail": "alice@example.com", "avatar": "http://tracker.example/a.png",
			"profile": map[string]any{"website": "https://alice.example"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := templates.Mail{Source: "deliveries.Generic", Stored: &mail.StoredTemplate{Name: "otp", Data: map[string]any{
		"brand": "Acme", "code": "482913", "link": "", "locale": "fr-CA", "seats": 3,
		"user": map[string]any{"name": `‹a href=& #104;ttps& #58;& #47;& #47;evil& #46;com›now‹/a›`, "company": `AT&T ”R&D” O'Brien`, "bold": "& lt;b& gt", "primaryEmail": "”›‹img/src=x› @ example. com", "first": "{ { contact. EMAIL}} { % if %} * |UNSUB|*"},
		"list": []any{"evil. example", nil}, "number": strings.Repeat("1", 99) + "…", "few": json.Number("12345"),
		"inviter": map[string]any{"name": "evil. example", "primaryEmail": "alice@example.com", "avatar": "",
			"profile": map[string]any{"website": "https://alice.example"}},
	}}}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v\n%+v\nwant %+v", got, got.Stored, want.Stored)
	}
}

func TestMistakesInAProvidersOwnTemplates(t *testing.T) {
	_, err := catalogue(t).With([]mail.ConnectorTemplate{
		{Key: "providers[0].templates[0]", Type: "SignIn", Subject: "{{code", HTML: "<script>{{code}}</script>"},
		{Key: "providers[0].templates[1]", Type: "Generic", Subject: "s", HTML: "<!-- nothing -->"},
	})
	if err == nil {
		t.Fatal("no mistake found")
	}
	for _, want := range []string{"providers[0].templates[0] (subject):1:1: ", "providers[0].templates[0]:1:9: ",
		"providers[0].templates[1]:1:1: no text can be made"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

func TestTheFirstOfTwoTemplatesOfATypeIsUsed(t *testing.T) {
	overlay, err := catalogue(t).With([]mail.ConnectorTemplate{
		{Key: "templates[0]", Type: "SignIn", Subject: "first", Text: "t {{code}}"},
		{Key: "templates[1]", Type: "SignIn", Subject: "second", Text: "t {{code}}"},
		{Key: "templates[2]", Type: "Signin", Subject: "third", Text: "t"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if mail, _ := overlay.Render(templates.Request{Type: "SignIn", Locale: "en"}); mail.Subject != "first" {
		t.Errorf("the subject is %s", mail.Subject)
	}
	told := strings.Join(overlay.Warnings(), "\n")
	if !strings.Contains(told, "templates[1]: an earlier template") || !strings.Contains(told, "templates[2]: Logto has no message type Signin") {
		t.Errorf("the warnings are\n%s", told)
	}
}

// A mail of a code that does not say it is a mistake in a provider's settings too,
// also in the Generic one that stands in for others. Names that no message has are
// told, since a connector's templates may have them.
func TestAProvidersOwnTemplatesSayTheCode(t *testing.T) {
	with := func(messageType, html string) mail.ConnectorTemplate {
		return mail.ConnectorTemplate{Key: "templates[0]", Type: messageType, Subject: "s {{code}}", HTML: html}
	}
	for _, broken := range []mail.ConnectorTemplate{with("SignIn", "<p>x</p>"), with("SignIn", "<p hidden>{{code}}</p>x"), with("Generic", "<p>{{link}} x</p>")} {
		if _, err := catalogue(t).With([]mail.ConnectorTemplate{broken}); err == nil || !strings.Contains(err.Error(), "SignIn mails are sent for their code") {
			t.Errorf("%s: got %v", broken.Type, err)
		}
	}
	stored := mail.ConnectorTemplate{Key: "templates[0]", Type: "SignIn", Subject: "s", Stored: "d-1"}
	overlay, err := catalogue(t).With([]mail.ConnectorTemplate{stored, with("Register", "<p>{{code}} {{application.nmae}} {{application.name}}")})
	if err != nil {
		t.Fatal(err)
	}
	const want = "templates[0]:1:13: Logto sends no application.nmae; did you mean application.name?"
	if told := strings.Join(overlay.Warnings(), "\n"); !strings.Contains(told, want) || strings.Count(told, "Logto sends no") != 1 {
		t.Errorf("the warnings are\n%s", told)
	}
}
