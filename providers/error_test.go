package providers

import (
	"strings"
	"testing"

	"logto-email-relay/mail"
)

// Whatever form an address has in a service's words, none of it is left.
func TestRedactTakesOutAddresses(t *testing.T) {
	for _, form := range []string{
		`ada.lovelace@example.org`,
		`<ada.lovelace@example.org>`,
		`'ada.lovelace@example.org'`,
		`mailto:ada.lovelace@example.org`,
		`d'ada@example.org`,
		`"ada."@docomo.ne.jp`,
		`<"ada."@docomo.ne.jp>`,
		`\"ada.\"@docomo.ne.jp`,
		`{"to":"\"ada.\"@docomo.ne.jp"}`,
		`{\"to\":\"\\\"ada.\\\"@docomo.ne.jp\"}`,
		`&quot;ada.&quot;@docomo.ne.jp`,
		`&#34;ada.&#34;@docomo.ne.jp`,
		`"ada lovelace"@example.org`,
		`"ada\"b"@example.org`,
		`"ada@home"@example.org`,
		`"ada,b;c:d"@example.org`,
		`"ada"@[192.0.2.1]`,
		`ada@[192.0.2.1]`,
		`"アダ ada"@example.org`,
		`アダada@example.org`,
	} {
		text := `550 5.1.1 the "RCPT" of ` + form + ` is "unknown" here`
		got := Redact(text)
		for _, part := range []string{"ada", "lovelace", "アダ", "docomo", "example", "192"} {
			if strings.Contains(got, part) {
				t.Errorf("%s: %s", form, got)
				break
			}
		}
		if !strings.Contains(got, "[address]") || !strings.HasPrefix(got, "550 5.1.1 the") || !strings.HasSuffix(got, `"unknown" here`) {
			t.Errorf("%s: more was taken out than the address: %s", form, got)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("foo.", "docomo.ne.jp")
	f.Add(`a"b`, "example.org")
	f.Add(`a\`, "example.org")
	f.Fuzz(func(t *testing.T, local, domain string) {
		path, _, err := mail.Path(local + "@" + domain)
		if err != nil || domain == "" || len(local) < 8 || len(path) > 1000 || strings.ContainsAny(domain, `[]<>:"' `) {
			t.Skip()
		}
		if got := Redact("user <" + path + "> unknown"); strings.Contains(got, local) {
			t.Errorf("%q: %q", path, got)
		}
	})
}
