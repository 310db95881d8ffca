package templates_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"logto-email-relay/templates"
)

// Every example in docs/templates.md is a file that the relay takes. Their names
// stand above them; locale files are fenced as json5, because examples fenced as
// json are configurations, which the tests of package commands load.
func TestTheExamplesInTheDocumentWork(t *testing.T) {
	content, err := os.ReadFile("../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	document := string(content)
	s := templates.DefaultSettings()
	configuration := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(document)
	if err := json.Unmarshal([]byte(configuration[1]), &struct{ Templates *templates.Settings }{&s}); err != nil {
		t.Fatal(err)
	}
	tree := regexp.MustCompile("(?s)```\n(templates/.*?)```").FindString(document)

	s.Dir = t.TempDir()
	examples := regexp.MustCompile("(?sm)^`([^`\n]+)`:\n\n```(html|json5|text)\n(.*?)```").FindAllStringSubmatch(document, -1)
	if blocks := regexp.MustCompile("(?m)^```(html|json5|text)$").FindAllString(document, -1); len(examples) != len(blocks) || len(blocks) < 6 {
		t.Errorf("%d examples have names, of %d", len(examples), len(blocks))
	}
	files := make(map[string]bool)
	for _, example := range examples {
		name, text := example[1], example[3]
		if files[name] {
			t.Errorf("%s is there twice", name)
		}
		files[name] = true
		if !strings.Contains(tree, filepath.Base(name)) {
			t.Errorf("%s is not in the tree of files", name)
		}
		file := filepath.Join(s.Dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	catalogue, err := templates.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range catalogue.Warnings() {
		t.Error(warning)
	}

	// What the document says of them.
	used := make(map[string]bool)
	for _, test := range []struct {
		locale, messageType, file, subject, html, text string
	}{
		{"fr-CA", "SignIn", "fr.json", "Votre code de connexion pour Acme", "espace client", "1\u00a0rue de la Gare"},
		{"en", "SignIn", "en/SignIn.html", "Sign in to Sample App", "<strong>123456</strong>", "Your code is 123456. It is good for 10 minutes."},
		{"en", "OrganizationInvitation", "en/OrganizationInvitation.html", "Join Riverside Rowing Club",
			`background: #6b3fa0;`, "Alice Wonder invites you to Riverside Rowing Club."},
		{"en", "Register", "", "Finish signing up for Acme", "123456", "123456"},
		{"en-GB", "MfaVerification", "en-GB.json", "Your 2-step verification code for Acme", "share this code with anybody", "123456"},
		{"sv", "BindMfa", "sv/Generic.txt", "Din verifieringskod", "", "Din kod är 123456. Den gäller i 10 minuter."},
	} {
		mail, err := catalogue.Preview(test.messageType, test.locale, nil, acme(t))
		if err != nil {
			t.Fatal(err)
		}
		source := templates.Embedded
		if test.file != "" {
			source = filepath.Join(s.Dir, test.file)
			used[test.file] = true
		}
		if mail.Source != source || mail.Subject != test.subject ||
			!strings.Contains(mail.HTML.String(), test.html) || !strings.Contains(mail.Text, test.text) {
			t.Errorf("%s in %s: got %q from %s:\n%s", test.messageType, test.locale, mail.Subject, mail.Source, mail.Text)
		}
	}
	for name := range files {
		if !used[name] && name != "en/SignIn.txt" {
			t.Errorf("nothing was asked of %s", name)
		}
	}
}
