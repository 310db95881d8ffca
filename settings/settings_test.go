package settings_test

import (
	"net/netip"
	"testing"

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
