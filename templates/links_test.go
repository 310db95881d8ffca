package templates

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

func TestLinks(t *testing.T) {
	links := Links{Schemes: []string{"https", "myapp"}, Hosts: []string{"acme.example", "*.acme.example", "192.0.2.1", "xn--bcher-kva.example"}}
	for link, want := range map[string]string{
		"https://acme.example":                                  "https://acme.example",
		"HTTPS://App.ACME.example/A?b#c":                        "https://app.acme.example/A?b#c",
		"https://acme.example:8443/x":                           "https://acme.example:8443/x",
		"https://my_app.acme.example/":                          "https://my_app.acme.example/",
		"https://r3---a.acme.example/":                          "https://r3---a.acme.example/",
		"https://192.0.2.1/":                                    "https://192.0.2.1/",
		"https://bücher.example/":                               "https://xn--bcher-kva.example/",
		"https://BÜCHER.example/":                               "https://xn--bcher-kva.example/",
		"https://acme.example/é?ü=\"<>`#'{}":                    "https://acme.example/%C3%A9?%C3%BC=%22%3C%3E%60#'{}",
		"https://acme.example/a%2Fb?x=%20":                      "https://acme.example/a%2Fb?x=%20",
		"https://acme.example/\u200b\u3000":                     "https://acme.example/%E2%80%8B%E3%80%80",
		"https://acme.example?@evil.example":                    "https://acme.example?@evil.example",
		"myapp://acme.example/join":                             "myapp://acme.example/join",
		"https://acme.example/\u0080":                           "https://acme.example/%C2%80",
		"https://acme.example/" + strings.Repeat("a", 2027):     "https://acme.example/" + strings.Repeat("a", 2027), // 2048 bytes
		"https://" + strings.Repeat("a", 63) + ".acme.example/": "https://" + strings.Repeat("a", 63) + ".acme.example/",
		"https://" + strings.Repeat("a.", 60) + "acme.example/": "https://" + strings.Repeat("a.", 60) + "acme.example/",
	} {
		if got, err := links.Parse(link); got != want || err != nil {
			t.Errorf("%q: got %q and %v, want %q", link, got, err, want)
		}
	}
	for _, link := range []string{
		"", "https", "https:", "https://", "https:///", "https:acme.example", "https:/acme.example", "//acme.example", "acme.example",
		"javascript:alert(1)", "http://acme.example", "ftp://acme.example", "https://evil.example", "https://acme.example.evil.example",
		"https://evilacme.example", "https://user@acme.example", "https://evil.example@acme.example", "https://acme.example@evil.example",
		"https://acme.example:80:80/", "https://acme.example:/", "https://acme.example:99999/", "https://acme.example:x/", "https://acme.example:-1/",
		"https://acme.example./", "https://.acme.example/", "https://a..acme.example/", "https://%61cme.example/", "https://acme.example%2f.acme.example/",
		"https://[::1]/", "https://[::1].acme.example/", "https://[acme.example]/", "https://[::1%25eth0]/", "https://[::1/",
		"https://0300.0.2.1/", "https://192.0.2.01/", "https://3221225985/", "https://0xC0000201/", "https://192.0.513/",
		"https://xn--.acme.example/", "https://xn--a.acme.example/", "https://xn--80ak6aa92e.evil.example/",
		"https://acme.example\\@evil.example/", "https://evil.example\\.acme.example/", " https://acme.example", "https://acme.example ", "https://acme.example/a b",
		"https://acme.example/\t", "https://acme.example/\n", "ht\ttps://acme.example/", "https://acme.example/\x00", "https://acme.example/\x7f",
		"https://evil.example\x00.acme.example/", "https://\xff.acme.example/", "https://evil.example\ufffd.acme.example/",
		"https://" + strings.Repeat("a", 64) + ".acme.example/", "https://" + strings.Repeat("a.", 130) + "acme.example/",
		"https://acme.example/" + strings.Repeat("a", 2028), "myapp://evil.example/", "myapp:///join", "https://acme.example/%zz", "https://acme.example/%",
	} {
		if got, err := links.Parse(link); err == nil || got != "" {
			t.Errorf("%q: got %q", link, got)
		}
	}
}

// Without a list every host is taken that all programs read alike, and a scheme of an
// app may have none.
func TestLinksToAnyHost(t *testing.T) {
	label := strings.Repeat("a", 61)
	longest := strings.Repeat(label+".", 4) + "a.com" // 253 characters
	for link, want := range map[string]string{
		"myapp:///join":                   "myapp:///join",
		"myapp://join":                    "myapp://join",
		"https://[2001:DB8::1]:8080/x":    "https://[2001:db8::1]:8080/x",
		"https://192.0.2.1/":              "https://192.0.2.1/",
		"https://example.0xg/":            "https://example.0xg/",
		"https://" + longest + "/":        "https://" + longest + "/",
		"https://" + longest + "a/":       "",
		"https:///x":                      "",
		"http:///x":                       "",
		"myapp://:80/x":                   "",
		"myapp://0300.0.2.1/":             "",
		"https://0xC0000201/":             "",
		"https://0x/":                     "",
		"https://3221225985/":             "",
		"https://[192.0.2.1]/":            "",
		"https://[fe80::1%25eth0]/":       "",
		"https://[::1/":                   "",
		"https://[::1].evil.example/":     "",
		"https://evil.example:0x50/":      "",
		"https://evil.example\u0080.com/": "",
	} {
		if got, err := (Links{Schemes: []string{"https", "http", "myapp"}}).Parse(link); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q and %v, want %q", link, got, err, want)
		}
	}
}

// No character may make a host that browsers read in another way: what is mapped to
// something else, what cannot be seen, what ends a host.
func TestNoCharacterDisguisesAHost(t *testing.T) {
	links := Links{Schemes: []string{"https"}, Hosts: []string{"*.acme.example"}}
	taken := 0
	for r := rune(1); r <= 0xe01ff; r++ {
		switch r { // nothing but Han and Hangul in between
		case 0x3400, 0x4e10, 0xac10, 0x20000:
			r = map[rune]rune{0x3400: 0x4dc0, 0x4e10: 0x9f00, 0xac10: 0xd700, 0x20000: 0xe0000}[r]
		}
		printed, err := links.Parse(fmt.Sprintf("https://evil.com%ca.acme.example/", r))
		if err != nil {
			continue
		}
		taken++
		u, err := url.Parse(printed)
		if err != nil || !strings.HasSuffix(u.Hostname(), ".acme.example") || strings.Trim(u.Hostname(), "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Errorf("U+%04X: got %q", r, printed)
		}
		if lower := strings.ToLower(string(r)); norm.NFKC.String(lower) != lower {
			t.Errorf("U+%04X, which NFKC maps to %q, is taken: %q", r, norm.NFKC.String(lower), printed)
		}
	}
	if taken < 20_000 {
		t.Errorf("only %d characters are taken; letters of all scripts should be", taken)
	}
	for _, odd := range "／？＃＠：。．｡․﹒︓﹕℀℁℅℆⁄∕⧸＼﹨？﹖⁇＃﹟＠﹫\u00ad\u200b\u200c\u200d\u200e\u202e\u2060\u2800\u3000\u3164\u00a0\ufeff\ufe0f'\"`^{}|<>~!$&()*+,;=" {
		if odd == '．' || odd == '。' || odd == '｡' {
			continue // below
		}
		for _, link := range []string{"https://evil.com%c.acme.example/", "https://evil.com%cacme.example/", "https://a%c.acme.example/"} {
			if got, err := links.Parse(fmt.Sprintf(link, odd)); err == nil {
				t.Errorf("U+%04X: got %q", odd, got)
			}
		}
	}
}

// The operator reads which part of a link to allow, and nothing else of it.
func TestARefusedLinkIsExplained(t *testing.T) {
	links := Links{Schemes: []string{"https"}, Hosts: []string{"acme.example"}}
	for link, want := range map[string]string{
		"https://u:secret@acme.example/":              "there is a user before the host, which only serves to disguise it",
		"https://secret@acme.example/":                "there is a user before the host, which only serves to disguise it",
		"https://acme.example:secret":                 `the host "acme.example" is none that all programs read alike`,
		"https://acme.example&token=secret":           `the host "acme.example" is none that all programs read alike`,
		"https://[::1secret]/":                        `the host "[::1" is none that all programs read alike`,
		"482913: secret":                              "not an absolute URL",
		"http://acme.example/?token=secret":           `the scheme "http" is not in templates.links.schemes`,
		"https://evil.example/?token=secret":          `the host "evil.example" is not in templates.links.hosts`,
		"https://evil\u202e.example/secret":           `the host "evil\u202e.example" is none that all programs read alike`,
		"https://" + strings.Repeat("a", 500) + "/":   `the host "` + strings.Repeat("a", maxNameRunes) + `" is none that all programs read alike`,
		strings.Repeat("x", 200) + "://acme.example/": `the scheme "` + strings.Repeat("x", maxNameRunes) + `" is not in templates.links.schemes`,
	} {
		if _, err := links.Parse(link); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", link, err, want)
		}
	}
}
