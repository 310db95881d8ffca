package providers

import (
	"cmp"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Whatever form an address has in a service's words, none of it is left.
func TestRedactTakesOutAddresses(t *testing.T) {
	for _, form := range []string{
		`ada.lovelace@example.org`,
		`<ada.lovelace@example.org>`,
		`'ada.lovelace@example.org'`,
		`mailto:ada.lovelace@example.org`,
		`d'ada@example.org`,
		`<''''@example.org>`,
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

// What a mail holds is taken out of words about it in every form that services
// give it.
func TestRedactForTakesOutWhatTheMailHolds(t *testing.T) {
	m := plainMessage()
	m.To = `anna.bell'@example.org`
	m.Payload = map[string]any{"code": "48a2913", "link": "https://acme.example/join?token=mag1c7&x=1"}
	for form, want := range map[string]string{
		`<anna.bell'@example.org>`:              "<[address]>",
		`ANNA.BELL'@EXAMPLE.ORG`:                "[address]",
		`anna.bell%27%40example.org`:            "[address]",
		`anna.bell%2527%2540example.org`:        "[address]",
		`anna.bell\u0027\u0040example.org`:      "[address]",
		`anna.bell&#39;&commat;example.org`:     "[address]",
		`anna . bell' @ example . org`:          "[address]",
		"anna.bell'\u200b@example.org":          "[address]",
		`the mailbox anna.bell' is full`:        "the mailbox [address] is full",
		`%61nna.bell'`:                          "[address]",
		`48a2913`:                               "[code]",
		`48A 2913`:                              "[code]",
		`4 8 a 2 9 1 3`:                         "[code]",
		`48a-2913`:                              "[code]",
		"48a\u200b2913":                         "[code]",
		"48a&nbsp;2913":                         "[code]",
		"48a\u202f2913":                         "[code]",
		"48a/2913 48a_2913 48a,2913":            "[code] [code] [code]",
		"<b>48a</b><b>2913</b>":                 "<b>[code]</b>",
		`["4","8","a","2","9","1","3"]`:         `["[code]"]`,
		"④８a²９１３":                               "[code]",
		"48a=\r\n2913":                          "[code]",
		"**48a** **2913**":                      "**[code]**",
		"<td>48a</td>\n   <td>2913</td>":        "<td>[code]</td>",
		"acme.example/join?token=3Dma=\r\ng1c7": "acme.example/join?token=3D[link]",
		"anna.bell'=\r\n@example.org":           "[address]",
		`48a\n2913`:                             "[code]",
		`\x34\x38a2913`:                         "[code]",
		"=34=38=61=32=39=31=33":                 "[code]",
		"anna.bell'＠example.org":                "[address]",
		"anna.bell' at example.org":             "[address]",
		"example.org!anna.bell'":                "[address]",
		"YW5uYS5iZWxsJ0BleGFtcGxlLm9yZw==":      "[address]w==",
		`%34%38a2913`:                           "[code]",
		`NDhhMjkxMw==`:                          "[code]w==",
		`"YyA0OGEyOTEz"`:                        `"YyA[code]"`,   // c 48a2913
		`a: eDQ4YTI5MTN4`:                       `a: eD[code]N4`, // x48a2913x
		`join?token=mag1c7`:                     `join?token=[link]`,
		`http://acme.example/join?token=x`:      "[link]",
		`acme.example/join?token=mag1c7&x=1`:    "[link]",
		`acme.example%2Fjoin%3Ftoken%3Dmag1c7`:  "acme.example/join?token=[link]",
	} {
		if got := redactFor(m, form, nil); got != want {
			t.Errorf("%s: %q, want %q", form, got, want)
		}
	}
	m.To, m.Payload = "anna@example.org", map[string]any{"code": "A10b", "link": "https://acme.example/account/v2/once/mag1c7#fr4gment"}
	for form, want := range map[string]string{
		"anna[at]example.org": "[address]", "anna=40example.org": "[address]", "x QTEwYg== x": "x [code]g== x",
		"your account v2": "your account v2", "segment mag1c7 of /once/": "segment [link] of /once/", "fr4gment": "[link]",
	} {
		if got := redactFor(m, form, nil); got != want {
			t.Errorf("%s: %q, want %q", form, got, want)
		}
	}
	m.To, m.Payload = "anna@example.org", map[string]any{"code": json.Number("101")}
	for form, want := range map[string]string{
		"<anna> unknown": "[address] unknown", "anna unknown": "anna unknown", "5101 or 101": "[number] or [code]", "５１０１": "[number]", "": "",
	} {
		if got := redactFor(m, form, nil); got != want {
			t.Errorf("%s: %q, want %q", form, got, want)
		}
	}
	m.Payload = map[string]any{"code": "7"}
	if got := redactFor(m, "line 7", nil); got != "line 7" {
		t.Errorf("a code that is too short to be one: %q", got)
	}
	if got := Redact(strings.Repeat("%25", 2000) + "40"); strings.Contains(got, "%") {
		t.Errorf("%q", got)
	}
}

// From which length on a text is taken out wherever it stands.
func TestWhatIsShortIsTakenOutWithCare(t *testing.T) {
	full := strings.Repeat("ab ", 79) + "abc" // 240 bytes
	for _, test := range []struct{ to, code, login, text, want string }{
		{"annabe@example.org", "", "", "annabe is full", "[address] is full"},
		{"annab@example.org", "", "", "annab is full, <annab>", "annab is full, [address]"},
		{"", "48a913", "", "x48a913y", "x[code]y"},
		{"", "48a91", "", "x48a91y 48-a91", "x48a91y [code]"},
		{"", "4a1", "", "4a1 x4a1", "[code] x4a1"},
		{"", "4a1", "", "NGEx", "NGEx"},
		{"", "4a", "", "line 4a", "line 4a"},
		{"", "", "Bearer k3y-k3", "Bearer k3y-k3 Basic", "[key] [key] Basic"},
		{"", "", "Basic k3y", "Basic k3y", "Basic k3y"},
		{"", "", "abcd efgh ijkl mnop", "abcd: no, abcdefghijklmnop and abcd efgh ijkl mnop", "abcd: no, [key] and [key]"},
		{"", "", "", full, full},
		{"", "", "", full + "d", full + "…"},
	} {
		m := plainMessage()
		m.To, m.Payload = cmp.Or(test.to, m.To), map[string]any{"code": test.code}
		if got := redactFor(m, test.text, []settings.Secret{settings.NewSecret(test.login)}); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// An id that quotes the mail is none, in whatever form; one that only looks alike is.
func TestAnIDThatQuotesTheMail(t *testing.T) {
	m := plainMessage()
	m.To, m.Payload = "anna.bell@example.org", map[string]any{"code": "az09", "link": "https://acme.example/join?token=mag1c7"}
	for id, quotes := range map[string]bool{
		"1-AnnA.Bell-2": true, "<anna.bell%40example.org>": true, "an na.bell": true, "a  nna.bell": true, "a   nna.bell": false, "anna-bell": false,
		"anna.bel": false, "nna.bell": false, "x-mag1c7": true, "mag1c": false,
		"az09": true, "AZ09": true, "id az09 x": true, "a-z.0 9": true, "a...z09": true, "a....z09": false, "a\u2010z\u201509": true, "az\u200f09": true,
		"a\u2016z09": false, "az_09": false, "az09a": false, "az09z": false, "az090": false, "az099": false, "aaz09": false, "zaz09": false, "0az09": false, "9az09": false,
		"\x00\x1b": true, "\u200b": true, // nothing that could be looked up
		strings.Repeat("é", 256): false, strings.Repeat("é", 257): false,
		"xanna.bell": true, "anna.bellx": true, "az09_x": true, "az09éx": true, "éaz09": true, "_az09": true,
		"az0": false, "-az09-": true, "az0az09": false, "az0 az09": true,
	} {
		if got := PrivateOf(m).FitID(id); (got == m.ID) != quotes || utf8.RuneCountInString(got) > 256 || !quotes && len(id) < 500 && len(got) != len(id) {
			t.Errorf("%q became %q", id, got)
		}
	}
	m.To, m.Payload = "annabe@example.org", map[string]any{"code": "az"}
	if got := PrivateOf(m).FitID("annabe"); got != m.ID {
		t.Errorf("the local part is the id %q", got)
	}
	if got := PrivateOf(m).FitID("az"); got != "az" {
		t.Errorf("a code that is too short to be one makes the id %q", got)
	}
	m.To = "annab@example.org"
	if got := PrivateOf(m).FitID("annab"); got != "annab" {
		t.Errorf("a local part that may be a word makes the id %q", got)
	}
	m.Payload["code"] = "az0"
	if got := PrivateOf(m).FitID("az0"); got != m.ID {
		t.Errorf("the code is the id %q", got)
	}
}

// Neither a code nor an id is what we sign in with, and words are without it in every spelling.
func TestWhatAServiceSaysHoldsNoKey(t *testing.T) {
	x := &exchange{status: 400, logins: []settings.Secret{settings.NewSecret("Bearer k3y-Of-0urs-2026"), settings.NewSecret("eu-west")}}
	for said, holds := range map[string]bool{"k3y-Of-0urs-2026": true, "K3Y-OF-0URS-2026": true, "id-k3y-Of-0urs-2026-1": true, "k3y%2DOf-0urs-2026": true, "k3y-Of": false, "invalid_bearer": false, "eu-west-1c4f": false} {
		e := x.finish(nil, Error{Kind: Configuration, Code: said})
		if code, id := e.Code, x.receipt(said).ID; holds && (code != "400" || id != "") || !holds && (code != said || id != said) {
			t.Errorf("%s: code %q, id %q", said, code, id)
		}
	}
	for _, said := range []string{"k3y-Of-0urs-2026", "k 3 y - O f - 0 u r s - 2 0 2 6", "k3y-Of=\r\n-0urs-2026", "k3y\u200b-Of-0urs-2026"} {
		if e := x.finish(nil, Error{Kind: Configuration, Detail: said}); e.Detail != "[key]" {
			t.Errorf("%q: %s", said, e.Detail)
		}
	}
}

// Long words are no keys.
func TestLongWords(t *testing.T) {
	for said, want := range map[string]string{
		"suppress-unsubscribe":              "suppress-unsubscribe",
		"OnAccountSuppressionList":          "OnAccountSuppressionList",
		"the smtp.of-somebody-else.example": "the [token]",
		"key abcdefghijklmnopqrst1":         "key [token]",
		"key QWxhZGRpbjpvcGVuIHNlc2FtZQ":    "key [token]",
		"key re_AbCdEfGhIjKlMnOpQrSt":       "key [token]",
		"join/abcdefghijklmnopqrstuvwx/yz?": "[token]?",
	} {
		if got := Redact(said); got != want {
			t.Errorf("%s: %s", said, got)
		}
	}
}

// A code stands in an error as it is, if it is a word for machines.
func TestWhatIsNoCode(t *testing.T) {
	for said, is := range map[string]bool{"InvalidParameter.Malformed": true, "550 5.1.1": true, "no such user": false, "1234567": false, strings.Repeat("c", 64): true, strings.Repeat("c", 65): false} {
		if e := (&exchange{status: 400}).finish(nil, Error{Kind: Configuration, Code: said}); (e.Code == said) != is {
			t.Errorf("%s: %s", said, e.Code)
		}
	}
	m := plainMessage()
	m.To, m.Payload = "anna.bell@example.org", map[string]any{"code": "az09"}
	for said, is := range map[string]bool{"az09": false, "Anna.Bell": false, "az10": true} {
		if e := (&exchange{status: 400}).finish(m, Error{Kind: Configuration, Code: said}); (e.Code == said) != is {
			t.Errorf("%s of the mail: %s", said, e.Code)
		}
	}
}

// What came in a coding that nobody reads has no words; what can be read does.
func TestACodingThatIsNone(t *testing.T) {
	for body, detail := range map[string]string{`{"message":"no"}`: "no", "\x1f\x8b": "the answer came in the coding br"} {
		x := &exchange{status: 400, header: http.Header{"Content-Encoding": {"br"}}, body: []byte(body)}
		if e := x.finish(nil, Error{Kind: Configuration, Detail: "no"}); !strings.HasPrefix(e.Detail, detail) {
			t.Errorf("%q: %s", body, e.Detail)
		}
	}
}

func FuzzRedactFor(f *testing.F) {
	f.Add("anna.bell'", "example.org", "482913", uint8(0))
	f.Add("foo.", "docomo.ne.jp", "A1-b2c3", uint8(7))
	f.Fuzz(func(t *testing.T, local, domain, code string, form uint8) {
		to, err := mail.ParseRecipient(local + "@" + domain)
		if err != nil || len(code) < 6 || len(code) > 20 || strings.IndexFunc(code, func(r rune) bool {
			return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
		}) >= 0 {
			t.Skip()
		}
		m := plainMessage()
		m.To, m.Payload = to, map[string]any{"code": code}
		quoted, _ := json.Marshal(to + " " + quotedAddress(to))
		forms := []string{to, quotedAddress(to), url.QueryEscape(to), url.PathEscape(quotedAddress(to)), string(quoted), html.EscapeString(quotedAddress(to)),
			strings.ToUpper(to), strings.ReplaceAll(to, "@", " @ "), strings.Join(strings.Split(code, ""), " "), code[:3] + " " + code[3:], code[:3] + "-" + code[3:]}
		got := strings.ToLower(redactFor(m, "no <"+forms[int(form)%len(forms)]+"> "+code, nil))
		for _, secret := range []string{to, code, code[:3] + " " + code[3:]} {
			if strings.Contains(got, strings.ToLower(secret)) {
				t.Errorf("%q of %q, %q: %q", forms[int(form)%len(forms)], to, code, got)
			}
		}
	})
}
