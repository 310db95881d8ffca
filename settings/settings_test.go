package settings_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"logto-email-relay/settings"
)

// Whatever prints a secret, or the settings that it is in, tells only that there is one.
func TestASecretIsNotPrinted(t *testing.T) {
	for value, want := range map[string]string{"never-print-this": "[secret]", "": ""} {
		secret := settings.NewSecret(value)
		var written strings.Builder
		slog.New(slog.NewTextHandler(&written, nil)).Info("x", "secret", secret)
		inJSON, err := json.Marshal(secret)
		if err != nil || string(inJSON) != `"`+want+`"` || secret.String() != want || !strings.Contains(written.String(), "secret="+want) {
			t.Errorf("%q: %s, %s, %s, %v", value, inJSON, secret, written.String(), err)
		}
		within := struct{ Token settings.Token }{settings.Token{Secret: secret}}
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if got := fmt.Sprintf(format, within); strings.Contains(got, "never") {
				t.Errorf("%s prints %s", format, got)
			}
		}
		if secret.Reveal() != value {
			t.Errorf("the secret is %q", secret.Reveal())
		}
	}
	if none := (settings.Secret{}); none.Reveal() != "" || none.String() != "" {
		t.Errorf("no secret is %q", none)
	}
}

func TestToken(t *testing.T) {
	type object = map[string]any
	longest := "a" + strings.Repeat("b", 63)
	for _, test := range []struct {
		value        any
		token, owner string // empty: refused
	}{
		{"Bearer x", "Bearer x", ""},
		{object{"tenant": "eu", "value": "Bearer x"}, "Bearer x", "eu"},
		{object{"tenant": "E.u-1_", "value": "Bearer x"}, "Bearer x", "E.u-1_"},
		{object{"tenant": longest, "value": "Bearer x"}, "Bearer x", longest},
		{object{"tenant": longest + "b", "value": "Bearer x"}, "", ""},
		{object{"tenant": "1", "value": "Bearer x"}, "", ""},
		{object{"tenant": "eu"}, "", ""},
		{object{"value": "Bearer x"}, "", ""},
		{object{"tenant": "eu", "value": 1}, "", ""},
		{object{"tenant": "eu", "value": "Bearer x", "more": ""}, "", ""},
		{[]any{"Bearer x"}, "", ""},
		{nil, "", ""},
	} {
		var token settings.Token
		err := token.UnmarshalSetting(test.value)
		if (err == nil) != (test.token != "") || token.Reveal() != test.token || token.Tenant != test.owner {
			t.Errorf("%v: %q of %q, %v", test.value, token.Reveal(), token.Tenant, err)
		}
		if err != nil && strings.Contains(err.Error(), "Bearer x") {
			t.Errorf("%v: %v", test.value, err)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	for _, test := range []struct {
		value any
		want  time.Duration // -1: refused
	}{
		{int64(0), 0}, {int64(5000), 5 * time.Second}, {int64(86_400_000), 24 * time.Hour}, {int64(86_400_001), -1}, {int64(-1), -1},
		{"5000", 5 * time.Second}, {"5s", 5 * time.Second}, {"0", 0}, {"-5", -1}, {"five", -1}, {"", -1}, {5.5, -1}, {nil, -1},
	} {
		got := settings.Milliseconds(-1)
		if err := got.UnmarshalSetting(test.value); (err == nil) != (test.want >= 0) || time.Duration(got) != max(test.want, -1) {
			t.Errorf("%v: %v, %v", test.value, time.Duration(got), err)
		}
	}
}

func TestHeaders(t *testing.T) {
	type object = map[string]any
	pair := func(name, value any) []any { return []any{object{"key": name, "value": value}} }
	for _, test := range []struct {
		value any
		want  string // empty: refused
	}{
		{object{"X-B": "2", "X-A": "1"}, "[{X-A 1} {X-B 2}]"},
		{object{"X-A": []any{"1", "2"}}, "[{X-A 1} {X-A 2}]"},
		{append(pair("X-B", "2"), pair("X-A", "1")...), "[{X-B 2} {X-A 1}]"},
		{object{"!\"~": ""}, "[{!\"~ }]"},
		{object{"X-A": 1}, ""},
		{pair("X-A", 1), ""},
		{pair(1, "x"), ""},
		{[]any{"X-A: 1"}, ""},
		{"X-A: 1", ""},
		{object{"": "x"}, ""},
		{object{"X A": "x"}, ""},
		{object{"X:A": "x"}, ""},
		{object{"X\x7f": "x"}, ""},
		{object{"Ä": "x"}, ""},
		{object{"X-A": "x\r\nBcc: a@b.c"}, ""},
		{object{"X-A": "x\x00"}, ""},
		{object{"From": "x"}, ""},
		{pair("BCC", "x"), ""},
		{object{"Content-Type": "x"}, ""},
	} {
		var headers settings.Headers
		if err := headers.UnmarshalSetting(test.value); (err == nil) != (test.want != "") || err == nil && fmt.Sprint(headers) != test.want {
			t.Errorf("%v: %v, %v", test.value, headers, err)
		}
	}
}

func TestTexts(t *testing.T) {
	for _, test := range []struct {
		value any
		want  settings.Texts // nil: refused
	}{
		{"a", settings.Texts{"a"}}, {[]any{"a", "b"}, settings.Texts{"a", "b"}}, {[]any{}, settings.Texts{}}, {[]any{"a", 1}, nil}, {1, nil}, {nil, nil},
	} {
		var texts settings.Texts
		if err := texts.UnmarshalSetting(test.value); (err == nil) != (test.want != nil) || !reflect.DeepEqual(texts, test.want) {
			t.Errorf("%v: %q, %v", test.value, texts, err)
		}
	}
}

func TestMailbox(t *testing.T) {
	name, domain := strings.Repeat("ü", 128), strings.Repeat("a", 63)+"."+strings.Repeat("b", 63)+"."+strings.Repeat("c", 60)
	local := strings.Repeat("x", 253-len(domain)) // 254 bytes with the @
	for text, want := range map[string]string{    // a part of the error for those that are refused
		"a@acme.example":                  "{ a@acme.example}",
		"Acme <a@Acme.Example>":           "{Acme a@acme.example}",
		`"Acme, Inc." <a@acme.example>`:   "{Acme, Inc. a@acme.example}",
		name + " <a@acme.example>":        "{" + name + " a@acme.example}",
		local + "@" + domain:              "{ " + local + "@" + domain + "}",
		"":                                "{ }",
		name + "ü <a@acme.example>":       "at most 128 characters",
		local + "x@" + domain:             "at most 254 characters",
		"Acme, Inc. <a@acme.example>":     "put the name in quotes",
		`Acme "Inc <a@acme.example>`:      "write one mail address",
		"Acme, Inc. <nobody>":             "write one mail address",
		"a@acme.example, b@acme.example":  "write one mail address",
		"nobody":                          "write one mail address",
		"=?utf-8?q?a=0Ab?= <a@b.example>": "such as",
		"=?utf-8?q?a=00b?= <a@b.example>": "such as",
		"ü@acme.example":                  "in plain letters",
		"a@acme..example":                 "mail address",
		"a@-acme.example":                 "not a domain",
		"Acme\r\nBcc: x <a@acme.example>": "write one mail address",
	} {
		var mailbox settings.Mailbox
		err := mailbox.UnmarshalText([]byte(text))
		if got := fmt.Sprint(mailbox.Address); strings.HasPrefix(want, "{") != (err == nil) || err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s, %v", text, got, err)
		}
		if mailbox.IsZero() != (err != nil || text == "") {
			t.Errorf("%q: IsZero is %v", text, mailbox.IsZero())
		}
	}
}

func TestMatchHost(t *testing.T) {
	for _, test := range []struct {
		written, host string
		want          bool
	}{
		{"acme.example", "acme.example", true}, {"Acme.Example", "acme.example", true}, {"acme.example", "www.acme.example", false},
		{"*.acme.example", "www.acme.example", true}, {"*.Acme.example", "a.b.acme.example", true},
		{"*.acme.example", "acme.example", false}, {"*.acme.example", "badacme.example", false}, {"*.acme.example", "www.acme.example.org", false},
	} {
		if got := settings.MatchHost(test.written, test.host); got != test.want {
			t.Errorf("%s of %s: %v", test.host, test.written, got)
		}
	}
}

func TestParseURL(t *testing.T) {
	for text, good := range map[string]bool{
		"https://relay:p@api.acme.example/send?from=a@acme.example": true, "https://api.acme.example/@me/send": true, "https://relay:p@[::1]/@me": true,
		"http://relay:p@ss/word@proxy:3128": false, "http://relay:p@ss?word@proxy:3128": false, "http://relay:p@s.s#word@proxy:3128": false,
		"https://a.example": true, "https://a.example:1": true, "https://a.example:65535/x": true, "https://[::1]:80": true,
		"https://a.example:0": false, "https://a.example:65536": false, "https://a.example:x": false, "https://a b": false,
	} {
		if u, err := settings.ParseURL(text); (err == nil) != good || (u != nil) != good {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.9.1": true, "::1": true, "": false, "localhost.example": false, "10.0.0.1": false, "0.0.0.0": false, "::": false,
	} {
		if settings.IsLoopback(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "abcde": "abcde", "äöüßé": "äöüßé", "abcdef": "abcde…", "a\x1b[2J": "a?[2J", "a\nb": "a?b", "\u202e": "?",
	} {
		if got := settings.Printable(text, 5); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8":             "10.0.0.0/8",
		"10.1.2.3/8":             "10.0.0.0/8",
		"10.1.2.3":               "10.1.2.3/32",
		"::ffff:10.1.2.3":        "10.1.2.3/32",
		"::ffff:10.0.0.0/104":    "10.0.0.0/8",
		"::ffff:10.1.2.3/128":    "10.1.2.3/32",
		"::ffff:0.0.0.0/96":      "0.0.0.0/0",
		"2001:db8::/32":          "2001:db8::/32",
		"2001:db8::1":            "2001:db8::1/128",
		"::/0":                   "::/0",
		"fe80::1%eth0":           "",
		"10.0.0.0/33":            "",
		"10.0.0.0/8, 10.1.0.0/9": "",
		"":                       "",
	} {
		var network settings.Network
		err := network.UnmarshalText([]byte(text))
		switch {
		case want == "" && err == nil:
			t.Errorf("%q is taken as %v", text, network.Prefix)
		case want != "" && (err != nil || network.Prefix != netip.MustParsePrefix(want)):
			t.Errorf("%q: %v, %v, want %s", text, network.Prefix, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, test := range []struct {
		written string
		words   []string
		want    string
	}{
		{"Timeout", []string{"address", "timeout"}, "timeout"},
		{"hots", []string{"hosts", "host"}, "hosts"}, // the first of two
		{"ab", []string{"ac"}, "ac"},
		{"ab", []string{"cd"}, ""},
		{"abcdefghi", []string{"abcdefxyz"}, "abcdefxyz"},
		{"abcdefghijkl", []string{"abcdefghwxyz"}, ""},
		{long + "a", []string{long + "b"}, long + "b"},
		{"from", []string{"fromage", "fromEmail", "fromName"}, "fromEmail"},
		{"from", []string{"fromage", "informal"}, ""},
		{long + "aa", []string{long + "a"}, ""},
	} {
		if got := settings.Nearest(test.written, test.words); got != test.want {
			t.Errorf("%q of %q: got %q, want %q", test.written, test.words, got, test.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "0d": 0, "8s": 8 * time.Second, " 1h30m ": 90 * time.Minute, "30d": 30 * 24 * time.Hour, "-1s": -1, "-1d": -1, "8": -1, "": -1,
	} {
		var got settings.Duration
		if err := got.UnmarshalText([]byte(text)); (err == nil) != (want >= 0) || err == nil && time.Duration(got) != want {
			t.Errorf("%q: %v, %v", text, time.Duration(got), err)
		}
	}
}
