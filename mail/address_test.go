package mail_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"logto-email-relay/mail"
)

func TestMask(t *testing.T) {
	for address, want := range map[string]string{
		"alice@example.com":       "a***@example.com",
		"a@example.com":           "a***@example.com",
		"ünïcode@xn--exmple.com":  "ü***@xn--exmple.com",
		"odd..@local@example.com": "o***@example.com",
		"":                        "***",
		"nobody":                  "***",
		"@example.com":            "***@example.com",
	} {
		if got := mail.Mask(address); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}

func TestFoldAddress(t *testing.T) {
	for _, spelling := range []string{"Zo\u00eb@Example.COM", "zo\u00eb@example.com", "zoe\u0308@example.com", "ZOE\u0308@example.com"} {
		if folded := mail.FoldAddress(spelling); folded != "zo\u00eb@example.com" {
			t.Errorf("%+q: %+q", spelling, folded)
		}
	}
}

// Nobody is to be kept from mails by asking for one to an address that only looks like theirs.
func TestNoCharacterFoldsIntoASCII(t *testing.T) {
	for r := rune(utf8.RuneSelf); r <= unicode.MaxRune; r++ {
		address := "vi" + string(r) + "tor@example.com"
		if !utf8.ValidRune(r) || norm.NFC.QuickSpanString(address) == len(address) && unicode.ToLower(r) == r {
			continue
		}
		if folded := mail.FoldAddress(address); mail.IsASCII(folded) || mail.FoldAddress(folded) != folded {
			t.Errorf("%+q: %+q", address, folded)
		}
	}
}

func TestPath(t *testing.T) {
	for address, want := range map[string]string{
		"ada@example.net":                 "ada@example.net",
		"foo.@docomo.ne.jp":               `"foo."@docomo.ne.jp`,
		".foo@docomo.ne.jp":               `".foo"@docomo.ne.jp`,
		"odd..local@example.com":          `"odd..local"@example.com`,
		`"odd..local"@example.com`:        `"odd..local"@example.com`,
		`"a\"b"@example.com`:              `"a\"b"@example.com`,
		`"a"b"@example.com`:               `"\"a\"b\""@example.com`,
		`"a\"@example.com`:                `"\"a\\\""@example.com`,
		`"ab@example.com`:                 `"\"ab"@example.com`,
		`ab"@example.com`:                 `"ab\""@example.com`,
		`"@example.com`:                   `"\""@example.com`,
		`a\b@example.com`:                 `"a\\b"@example.com`,
		"a b@example.com":                 `"a b"@example.com`,
		"a@b@example.com":                 `"a@b"@example.com`,
		"a,b@example.com":                 `"a,b"@example.com`,
		"new.user+tag@example.com":        "new.user+tag@example.com",
		"ünïcode@xn--exmple-cua.com":      "ünïcode@xn--exmple-cua.com",
		"ada@[192.0.2.1]":                 "ada@[192.0.2.1]",
		"a@example.com":                   "a@example.com",
		"azAZ09@example.com":              "azAZ09@example.com",
		"a~b@example.com":                 "a~b@example.com",
		"À@example.com":                   "À@example.com",
		"a\u00a0b@example.com":            "a\u00a0b@example.com",
		`""@example.com`:                  `""@example.com`,
		"ada@exam~ple.com":                "ada@exam~ple.com",
		"no-at":                           "",
		"@example.com":                    "",
		"ada@":                            "",
		"ada@exämple.com":                 "",
		"ada@example.com>":                "",
		"ada@example.com\r\nRCPT TO:<x@y": "",
		"a\r\nb@example.com":              "",
		"a\x00b@example.com":              "",
		"a\u0080b@example.com":            "",
		"a\u0085b@example.com":            "",
		`ada@exam"ple.com`:                "",
		"\xff@example.com":                "",
		"ada@exam ple.com":                "",
	} {
		path, ascii, err := mail.Path(address)
		if path != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v, want %q", address, path, err, want)
		}
		if err == nil && ascii != mail.IsASCII(path) {
			t.Errorf("%q: ascii is %v", address, ascii)
		}
	}
}

func TestIsASCII(t *testing.T) {
	for text, want := range map[string]bool{"": true, " a~": true, "a\x7f": false, "ü": false} {
		if got := mail.IsASCII(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestASCIIDomain(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Repeat(label+".", 3) + strings.Repeat("a", 61) // 253 characters
	for address, want := range map[string]string{
		"Ada@Example.COM":            "Ada@example.com",
		"ada@az09.a-z.example":       "ada@az09.a-z.example",
		"ada@exämple.com":            "ada@xn--exmple-cua.com",
		"ada@" + label + ".example":  "ada@" + label + ".example",
		"ada@a" + label + ".example": "",
		"ada@" + longest:             "ada@" + longest,
		"ada@" + longest + "a":       "",
		"@example.com":               "",
		"ada":                        "",
		"ada@":                       "",
		"ada@-a.example":             "",
		"ada@a-.example":             "",
		"ada@a_b.example":            "",
		"ada@ab--cd.example":         "",
		"ada@xn--a.example":          "",
		"ada@aℵb.example":            "", // the punycode of which is refused
	} {
		if got, err := mail.ASCIIDomain(address); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v, want %q", address, got, err, want)
		}
	}
}

func TestWithoutHosts(t *testing.T) {
	for text, want := range map[string]string{
		"mx1.antispam.example: no such user":              ": no such user",
		"host <mail.policy.example> said [in.spf.co.uk]":  "host <> said []",
		"see https://ipcheck.proofpoint.com/?ip=1":        "see https://ipcheck.proofpoint.com/?ip=1",
		"5.1.1 STOREDRV.Submission.Exception:Quota":       "5.1.1 STOREDRV.Submission.Exception:Quota",
		"mailbox full.Please try later. Goodbye":          "mailbox full.Please try later. Goodbye",
		"host mx.antispam.example[192.0.2.1] said":        "host [192.0.2.1] said",
		"dns;mx.spam.example in.virus.xn--p1ai#smtp; 550": "dns; #smtp; 550",
		"550 mx.example.net.User unknown":                 "550 .User unknown",
		"MX.ANTISPAM.EXAMPLE said":                        " said",
		"192.0.2.1 and 4.2.2":                             "192.0.2.1 and 4.2.2",
	} {
		if got := mail.WithoutHosts(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestCopied(t *testing.T) {
	for text, want := range map[string]string{
		"ada@example.com": "ada@example.com", " <ada@example.com>\r\n": "ada@example.com", "Ada <ada@example.com>\n": "ada@example.com",
		"Acme, Inc <ada@example.com>": "ada@example.com", "Ada <ada.@docomo.ne.jp>": "ada.@docomo.ne.jp", "MAILTO:ada@example.com": "ada@example.com",
		"(ada@example.com)": "ada@example.com", "Ada <mailto:ada@example.com>": "ada@example.com", "ada@example.com,": "ada@example.com",
		"ada@example.com<mailto:ada@example.com>": "ada@example.com", "<ada@example.com>,": "ada@example.com", "Ada Lovelace <ada@example.com>;": "ada@example.com", "<foo.@docomo.ne.jp>,": "foo.@docomo.ne.jp",
		"mailto:ada%2Btag@example.com?subject=x": "ada+tag@example.com", "Ada <ada@example.com>, Bob <bob@example.com>": "Ada <ada@example.com>, Bob <bob@example.com",
		"(ref 7k3f9qab).": "ref 7k3f9qab", "ada@example.com (Ada)": "ada@example.com", "7k3f9qab": "7k3f9qab", "": "",
	} {
		if got := mail.Copied(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
