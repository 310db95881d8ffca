package e2e_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"logto-email-relay/templates"
)

// What linters of HTML and of mails find, and why it is there: in
// docs/mail-quality.md each of these is named.
var exceptions = map[string]string{
	// of html-validate
	"no-conditional-comment": "the classic Outlook reads them",
	"no-deprecated-attr":     "the classic Outlook reads them",
	"no-inline-style":        "many programs drop a style sheet",
	"prefer-native-element":  "Gmail and Outlook drop <article>",
	"prefer-tbody":           "nothing is gained by it",
	// of doiuse-email, with the data of caniemail.com
	"@media":                "adds to what is there without it",
	"Attribute selector":    "adds to what is there without it",
	"Class selector":        "adds to what is there without it",
	"Descendant combinator": "adds to what is there without it",
	"Type selector":         "adds to what is there without it",
	"display:none":          "adds to what is there without it",
	"<body> element":        "what it says is said on a <div> too",
	"overflow":              "one of four ways in which the preheader is hidden",
	"opacity":               "one of four ways in which the preheader is hidden",
	"border-radius":         "corners are square then",
	"overflow-wrap":         "word-break does the same elsewhere",
	"word-break":            "overflow-wrap does the same elsewhere",
	"white-space":           "lines break inside of a word then",
	"aria-label attribute":  "for those who have it",
	"aria-hidden attribute": "for those who have it",
}

func TestMailsUseWhatMailProgramsKnow(t *testing.T) {
	for _, name := range []string{"html-validate", "doiuse-email"} {
		if _, err := os.Stat("connector/node_modules/" + name); err != nil {
			unavailable(t, name+" is not installed: run npm ci in e2e/connector")
		}
	}
	settings := templates.DefaultSettings()
	settings.RequestDetails = "time+ip"
	catalogue, err := templates.Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	var mails []string
	for _, locale := range []string{"en", "ar", "ja", "th", "de"} {
		for _, kind := range catalogue.Types() {
			for _, dark := range []string{"", "https://acme.example/dark.png"} {
				mail, err := catalogue.Preview(kind, locale, nil, templates.Branding{SenderName: "Acme", CompanyInformation: "Acme Inc.",
					AppLogo: "https://acme.example/logo.png", AppLogoDark: dark})
				if err != nil {
					t.Fatal(err)
				}
				mails = append(mails, mail.HTML.String())
			}
		}
	}
	var found struct{ Rules, Features []string }
	if err := json.Unmarshal(runNode(t, "clients.mjs", mails), &found); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../docs/mail-quality.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := append(found.Rules, found.Features...)
	for _, name := range seen {
		if exceptions[name] == "" {
			t.Errorf("new: %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(exceptions)) {
		if !slices.Contains(seen, name) {
			t.Errorf("no longer there: %s", name)
		}
		if !strings.Contains(string(document), "`"+name+"`") {
			t.Errorf("docs/mail-quality.md does not name `%s`", name)
		}
	}
}
