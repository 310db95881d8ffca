package templates

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/feature/plural"

	"logto-email-relay/settings"
)

var update = flag.Bool("update", false, "write the golden files again")

// names returns what a sentence's placeholders and blocks are about, sorted.
func names(sentence string) []string {
	var found []string
	for _, t := range (&source{text: sentence}).scan() {
		if t.kind != elseTag && t.kind != closeTag {
			found = append(found, t.path)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Every language of Logto's sign-in page has every text that English has, with
// the same placeholders, in its own words and with the plural forms that it has
// for the minutes of an hour and a day.
func TestLocalesAreComplete(t *testing.T) {
	c, err := Open(DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	languages := make(map[string]*tongue)
	for _, l := range c.languages {
		languages[l.name] = l
	}
	original := languages[english].texts
	for _, locale := range logtoLocales() {
		l, ok := languages[locale]
		if !ok {
			t.Errorf("there are no texts in %s", locale)
			continue
		}
		if err := l.texts.check(locale+".json", original, c.vocabulary("")); err != nil {
			t.Error(err)
		}
		if lacks := l.texts.missing(original); len(lacks) > 0 {
			t.Errorf("%s lacks %s", locale, strings.Join(lacks, ", "))
		}
		needed := map[string]bool{"other": true}
		for minutes := 1; minutes <= 24*60; minutes++ {
			needed[pluralName(plural.Cardinal.MatchPlural(l.tag, minutes, 0, 0, 0, 0))] = true
		}
		for form := range needed {
			if l.texts["validity."+form].text == "" {
				t.Errorf("%s lacks validity.%s", locale, form)
			}
		}
		for key, s := range l.texts {
			english, known := original[key]
			switch {
			case !known && !strings.HasPrefix(key, "validity."):
				t.Errorf("%s has %s, which English does not have", locale, key)
			case strings.TrimSpace(s.text) != s.text || s.text == "":
				t.Errorf("%s: %s is empty or has blanks around it: %q", locale, key, s.text)
			case locale != "en" && s.text == english.text && key != "dir" && key != "fonts":
				t.Errorf("%s: %s is English: %s", locale, key, s.text)
			}
			if strings.HasPrefix(key, "validity.") {
				if got := names(s.text); len(got) > 1 || len(got) == 1 && got[0] != "codeLifetime" {
					t.Errorf("%s: %s has the placeholders %v", locale, key, got)
				}
			} else if got, want := names(s.text), names(english.text); !slices.Equal(got, want) {
				t.Errorf("%s: %s has the placeholders %v, English has %v", locale, key, got, want)
			}
		}
	}
	for name := range languages {
		if !slices.Contains(logtoLocales(), name) {
			t.Errorf("%s is none of Logto's languages", name)
		}
	}
}

// goldenPayload is what the mails in the golden files are about.
func goldenPayload(t *testing.T, messageType, locale string) map[string]any {
	p := payload(t, `{"code":"048213","application":{"id":"a1","name":"Acme Shop"},"organization":{"id":"o1","name":"Northwind"},
		"user":{"name":"Alice","primaryEmail":"alice@example.com"}}`)
	if messageType == invitation {
		p = payload(t, `{"organization":{"id":"o1","name":"Northwind"},"link":"https://app.acme.example/join?token=abc123&x=1",
			"inviter":{"name":"Bob","primaryEmail":"bob@example.com"}}`)
	}
	p["locale"] = locale
	return p
}

// The golden files hold what people read: the nine mails of every language as
// text, and as HTML in one language of each direction and one of Asia. After a
// change on purpose, go test ./templates -run Golden -update writes them again;
// read the difference.
func TestGolden(t *testing.T) {
	c, err := Open(DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	var supportAddress settings.Mailbox
	if err := supportAddress.UnmarshalText([]byte("help@acme.example")); err != nil {
		t.Fatal(err)
	}
	branding := Branding{SenderName: "Acme", CompanyInformation: "Acme Inc., 1 Main Street, Springfield", AppLogo: "https://acme.example/logo.png",
		AppLogoDark: "https://acme.example/logo-dark.png", Color: "#1a5fb4", Support: supportAddress}
	golden := make(map[string]string)
	for _, locale := range c.Locales() {
		var text strings.Builder
		for _, messageType := range c.Types() {
			m, err := c.Render(Request{Type: messageType, Payload: goldenPayload(t, messageType, locale), Branding: branding})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&text, "==== %s\nSubject: %s\n\n%s\n", messageType, m.Subject, m.Text)
			if locale == "en" || locale == "ar" || locale == "ja" {
				golden[locale+"/"+messageType+".html"] = m.HTML
			}
		}
		golden[locale+".txt"] = text.String()
	}
	dir := filepath.Join("testdata", "golden")
	for _, name := range slices.Sorted(maps.Keys(golden)) {
		file := filepath.Join(dir, name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(golden[name]), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		} else if string(want) != golden[name] {
			t.Errorf("%s differs from what is written now:\n%s", file, difference(string(want), golden[name]))
		}
	}
}

// difference shows the first line that differs.
func difference(want, got string) string {
	wanted, found := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(wanted), len(found)) {
		var w, g string
		if i < len(wanted) {
			w = wanted[i]
		}
		if i < len(found) {
			g = found[i]
		}
		if w != g {
			return fmt.Sprintf("line %d\n\twas %s\n\tis  %s", i+1, w, g)
		}
	}
	return ""
}
