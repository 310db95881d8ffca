package settings_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"logto-email-relay/settings"
)

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
