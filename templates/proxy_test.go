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

// proxyHead has a backslash as \x5c, because nginx takes one of two away.
const proxyHead = `# For http { … } of nginx: $relay_sentence is what people read at the sign-in page while
# no relay answers. Logto does not pass on what their browsers accept, so that the
# language is that of the webhook; client_body_buffer_size has to be at least 64k.

# The locale of the payload itself: texts and whole objects are passed over, such as a user
# whose profile has a locale too.
map $request_body $relay_locale {
    '~"payload":\{(?:[^{}"]++|"(?:[^"\x5c]|\x5c.)*+"|(\{(?:[^{}"]++|"(?:[^"\x5c]|\x5c.)*+"|(?1))*+\}))*?"locale":"(?<relay_tag>[^"]*)"' $relay_tag;
}
`

// The file has the sentence of every language, the special ones before the general.
func TestTheProxySpeaksEveryLanguage(t *testing.T) {
	c, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(proxyHead + `map $relay_locale $relay_sentence {
    default "` + c.Sentence("en", templates.Failure{Reason: "provider_unavailable"}) + `";
`)
	special := map[string]bool{"zh-HK": true, "zh-TW": true, "pt-PT": true, "es-MX": true}
	for _, first := range []bool{true, false} {
		for _, locale := range c.Locales() {
			if special[locale] == first && locale != "en" {
				tag := locale
				if !first {
					tag, _, _ = strings.Cut(locale, "-")
					tag = "'~^" + tag + "(-|$)'"
				}
				fmt.Fprintf(&b, "    %s \"%s\";\n", tag, c.Sentence(locale, templates.Failure{Reason: "provider_unavailable"}))
			}
		}
	}
	b.WriteString("}\n")
	written := strings.NewReplacer("$re", "", "(-|$)", "").Replace(strings.TrimPrefix(b.String(), proxyHead))
	if strings.ContainsAny(written, "$\\") || strings.Count(written, "\n") != len(c.Locales())+2 {
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
