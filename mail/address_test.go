package mail_test

import (
	"strings"
	"testing"

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
	} {
		if got := mail.Mask(address); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
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
		`a\b@example.com`:                 `"a\\b"@example.com`,
		"a b@example.com":                 `"a b"@example.com`,
		"a@b@example.com":                 `"a@b"@example.com`,
		"a,b@example.com":                 `"a,b"@example.com`,
		"new.user+tag@example.com":        "new.user+tag@example.com",
		"ünïcode@xn--exmple-cua.com":      "ünïcode@xn--exmple-cua.com",
		"ada@[192.0.2.1]":                 "ada@[192.0.2.1]",
		"no-at":                           "",
		"@example.com":                    "",
		"ada@":                            "",
		"ada@exämple.com":                 "",
		"ada@example.com>":                "",
		"ada@example.com\r\nRCPT TO:<x@y": "",
		"a\r\nb@example.com":              "",
		"a\x00b@example.com":              "",
		"a\u0085b@example.com":            "",
		"\xff@example.com":                "",
		"ada@exam ple.com":                "",
	} {
		path, ascii, err := mail.Path(address)
		if path != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v, want %q", address, path, err, want)
		}
		if err == nil && ascii == strings.Contains(path, "ü") {
			t.Errorf("%q: ascii is %v", address, ascii)
		}
	}
}
