package templates_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"logto-email-relay/templates"
)

// A sample has the keys of a message that Logto has sent, at every depth.
func TestSamplesHaveTheShapeOfLogtosMessages(t *testing.T) {
	type message struct {
		Type    string
		Payload map[string]any
	}
	var captured []message
	files, err := filepath.Glob("../handlers/testdata/logto/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var m message
		if err := json.Unmarshal(content, &m); err != nil {
			t.Fatal(err)
		}
		// An invitation has whatever its author gives it.
		if m.Type == "OrganizationInvitation" {
			m.Payload["locale"] = "en"
		}
		captured = append(captured, m)
	}
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	for _, messageType := range catalogue.Types() {
		payload := templates.Sample(messageType, "en")
		if !slices.ContainsFunc(captured, func(m message) bool {
			return m.Type == messageType && sameKeys(payload, m.Payload)
		}) {
			t.Errorf("Logto has never sent a %s with %v", messageType, payload)
		}
		if _, found := templates.Sample(messageType, "")["locale"]; found {
			t.Errorf("%s: a language that was not asked for", messageType)
		}
	}
}

// sameKeys compares objects by their keys; an empty one stands for any.
func sameKeys(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a {
		other, found := b[key]
		if !found {
			return false
		}
		inner, isObject := value.(map[string]any)
		if !isObject || len(inner) == 0 {
			continue
		}
		if otherInner, isObject := other.(map[string]any); !isObject || !sameKeys(inner, otherInner) {
			return false
		}
	}
	return true
}

func TestTheSampleLinkIsAllowed(t *testing.T) {
	for _, links := range []templates.Links{
		{Schemes: []string{"https"}},
		{Schemes: []string{"https", "http"}, Hosts: []string{"join.acme.example", "other.example"}},
		{Schemes: []string{"http"}, Hosts: []string{"*.acme.example"}},
		{Schemes: []string{"acme"}},
	} {
		s := templates.DefaultSettings()
		s.Links = links
		catalogue, err := templates.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		link, _ := catalogue.Sample("OrganizationInvitation", "en")["link"].(string)
		if _, err := links.Parse(link); err != nil {
			t.Errorf("%+v does not allow %s: %v", links, link, err)
		}
		if payload := catalogue.Sample("SignIn", "en"); payload["link"] != nil {
			t.Errorf("a sign-in with a link: %v", payload)
		}
	}
}

func TestLanguagesHaveTheirOwnNames(t *testing.T) {
	s := templates.DefaultSettings()
	s.Dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(s.Dir, "sr-Latn"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "sr-Latn", "SignIn.txt"), []byte("Subject: Kod\n\n{{code}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	catalogue, err := templates.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	all := catalogue.Languages()
	for _, want := range []templates.Language{
		{Locale: "fa-IR", Name: "فارسی", Dir: "rtl"}, {Locale: "ja", Name: "日本語", Dir: "ltr"}, {Locale: "sr-Latn", Name: "sr-Latn", Dir: "ltr"},
	} {
		if !slices.Contains(all, want) {
			t.Errorf("no %+v among %+v", want, all)
		}
	}
	if len(all) != len(languages)+1 {
		t.Errorf("there are %d languages", len(all))
	}
	// Where the operator's language lacks a type, its readers get another one.
	mail, err := catalogue.Preview("Register", "sr-Latn", nil, templates.Branding{})
	if err != nil || mail.Locale != "en" || mail.Source != templates.Embedded {
		t.Errorf("got %+v, %v", mail, err)
	}
}
