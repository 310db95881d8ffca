package templates_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

var update = flag.Bool("update", false, "write the golden mails anew")

// languages are those of Logto's sign-in page.
var languages = []string{"ar", "cs", "de", "en", "es", "es-MX", "fa-IR", "fr", "it", "ja", "ko", "pl-PL", "pt-BR", "pt-PT", "ru", "th",
	"tr-TR", "uk-UA", "zh-CN", "zh-HK", "zh-TW"}

func acme(t *testing.T) templates.Branding {
	t.Helper()
	branding := templates.Branding{SenderName: "Acme", CompanyInformation: "Acme Inc., 1 Main Street",
		AppLogo: "https://acme.example/logo.png", Color: "#6b3fa0"}
	var support settings.Mailbox
	if err := support.UnmarshalText([]byte("help@acme.example")); err != nil {
		t.Fatal(err)
	}
	branding.Support = support
	return branding
}

// The mails as people read them: the nine texts of every language, and the HTML
// of one language of each kind. A change of a word shows in the diff.
func TestTheMailsAreAsReviewed(t *testing.T) {
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	for _, locale := range languages {
		var all strings.Builder
		for _, kind := range catalogue.Types() {
			for _, branding := range []templates.Branding{acme(t), {}} {
				payload := templates.Sample(kind, locale)
				if branding.SenderName == "" {
					// What Logto sends when it knows nothing.
					delete(payload, "application")
					delete(payload, "organization")
					delete(payload, "inviter")
					delete(payload, "user")
				}
				mail, err := catalogue.Render(templates.Request{Type: kind, Locale: catalogue.Locale(kind, payload), Payload: payload, Branding: branding,
					To: "ada@example.org", IP: "203.0.113.7", Time: time.Date(2026, time.November, 26, 3, 50, 0, 0, time.UTC)})
				if err != nil {
					t.Fatalf("%s %s: %v", locale, kind, err)
				}
				if mail.Locale != locale {
					t.Errorf("%s %s came in %s", locale, kind, mail.Locale)
				}
				checkMail(t, mail, kind)
				title := kind
				if branding.SenderName == "" {
					title += ", nothing known"
				}
				fmt.Fprintf(&all, "======== %s\nSubject: %s\n\n%s\n", title, mail.Subject, mail.Text)
				if branding.SenderName != "" && (locale == "en" || locale == "ar" || locale == "ja") {
					compare(t, filepath.Join("testdata", "mails", locale, kind+".html"), mail.HTML.String())
				}
			}
		}
		compare(t, filepath.Join("testdata", "mails", locale+".txt"), all.String())
	}
}

// The sentences that say how long to wait and what was meant, in every language and
// for numbers that have all of its plurals.
func TestTheSentencesAreAsReviewed(t *testing.T) {
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, locale := range catalogue.Locales() {
		fmt.Fprintf(&all, "======== %s\n", locale)
		for _, wait := range []time.Duration{time.Second, time.Minute, 61 * time.Second, 5 * time.Minute, 11 * time.Minute, 21 * time.Minute, 90 * time.Minute,
			90*time.Minute + 1, 3 * time.Hour, 24 * time.Hour, 101 * time.Hour} {
			fmt.Fprintf(&all, "%v: %s\n", wait, catalogue.Sentence(locale, templates.Failure{Reason: "rate_limited", Wait: wait}))
		}
		fmt.Fprintln(&all, catalogue.Sentence(locale, templates.Failure{Reason: "recipient_refused", Suggestion: "gmail.com"}))
	}
	if strings.Contains(all.String(), "{{") {
		t.Error("a sentence shows a placeholder")
	}
	compare(t, filepath.Join("testdata", "sentences.txt"), all.String())
}

// checkMail asks for what holds for a mail in any language.
func checkMail(t *testing.T, mail *templates.Mail, kind string) {
	t.Helper()
	where := mail.Locale + " " + kind
	for part, text := range map[string]string{"subject": mail.Subject, "text": mail.Text, "HTML": mail.HTML.String()} {
		if strings.TrimSpace(text) == "" {
			t.Errorf("%s: the %s is empty", where, part)
		}
		if strings.Contains(text, "{{") || strings.Contains(text, "}}") && part != "HTML" {
			t.Errorf("%s: the %s shows a placeholder", where, part)
		}
		code := kind != "OrganizationInvitation" && part != "subject"
		if strings.Contains(text, "123456") != code {
			t.Errorf("%s: the %s has the code: %v", where, part, !code)
		}
		if link := kind == "OrganizationInvitation" && part != "subject"; strings.Contains(text, "app.example.com/join") != link {
			t.Errorf("%s: the %s has the link: %v", where, part, !link)
		}
	}
	if size := mail.HTML.Len(); size < 3200 || size > 12<<10 {
		t.Errorf("%s: the HTML has %d bytes, want 3,200 (spam filters) to 12,288", where, size)
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what was reviewed; look at it, and if it is right run the test with -update", file)
	}
}
