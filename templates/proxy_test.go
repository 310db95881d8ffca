package templates_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"logto-email-relay/templates"
)

// nginxSentences is what nginx says in the reader's language while no relay answers.
const nginxSentences = "../deploy/nginx-sentences.conf"

// The file has the sentence of every language, the special ones before the general.
func TestTheProxySpeaksEveryLanguage(t *testing.T) {
	c, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`# For http { … } of nginx: $relay_sentence is what people read at the sign-in page while
# no relay answers. Logto does not pass on what their browsers accept, so that the
# language is that of the webhook; client_body_buffer_size has to be at least 64k.
map $request_body $relay_sentence {
    default "` + c.Sentence("en", templates.Failure{Reason: "provider_unavailable"}) + `";
`)
	special := map[string]bool{"zh-HK": true, "zh-TW": true, "pt-PT": true, "es-MX": true}
	for _, first := range []bool{true, false} {
		for _, locale := range c.Locales() {
			if special[locale] == first && locale != "en" {
				tag := locale + `"`
				if !first {
					tag, _, _ = strings.Cut(locale, "-")
					tag += `["-]`
				}
				fmt.Fprintf(&b, "    '~\"locale\":\"%s' \"%s\";\n", tag, c.Sentence(locale, templates.Failure{Reason: "provider_unavailable"}))
			}
		}
	}
	b.WriteString("}\n")
	if strings.ContainsAny(strings.ReplaceAll(b.String(), "$re", ""), "$\\") || strings.Count(b.String(), "\n") != len(c.Locales())+5 {
		t.Errorf("nginx would read it otherwise:\n%s", &b)
	}
	if *update {
		if err := os.WriteFile(nginxSentences, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(nginxSentences); err != nil || string(got) != b.String() {
		t.Errorf("%s is not up to date, run go test ./templates -update: %v", nginxSentences, err)
	}
}
