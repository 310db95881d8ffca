package e2e_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"logto-email-relay/templates"
)

// Whoever reads Logto's sign-in page in a language gets the mails in it.
func TestMailsSpeakTheLanguagesOfLogtosSignInPage(t *testing.T) {
	if _, err := os.Stat("connector/node_modules/@logto/phrases-experience"); err != nil {
		unavailable(t, "the phrases of Logto's sign-in page are not installed: run npm ci in e2e/connector")
	}
	var theirs []string
	if err := json.Unmarshal(runNode(t, "languages.mjs", nil), &theirs); err != nil {
		t.Fatal(err)
	}
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	ours := catalogue.Locales()
	slices.Sort(theirs)
	if !slices.Equal(theirs, ours) {
		t.Errorf("Logto's sign-in page speaks\n%v, the mails speak\n%v", theirs, ours)
	}
	if !slices.Equal(ours, slices.Sorted(slices.Values(everyLanguage))) {
		t.Errorf("the tests of this package send mails in %v", everyLanguage)
	}
}
