package webhooks

import (
	"reflect"
	"strings"
	"testing"

	"logto-email-relay/settings"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct{ url, secret, status, key, says string }{
		{"https://acme.example/hooks", secret, "bounced", "", ""},
		{"https://acme.example:70000/hooks", secret, "bounced", "url", "https://acme.example/hooks/mail"},
		{"https://acme.example/hooks", "any text of some length", "bounced", "secret", "at least 24 bytes"},
		{"https://acme.example/hooks", "any text of some length.", "failover", "", ""},
		{"https://acme.example/hooks", strings.TrimRight(secret, "="), "bounced", "", ""},
		{"https://acme.example/hooks", "whsec_never print this", "bounced", "secret", "write Base64"},
		{"https://acme.example/hooks", "whsec_c2hvcnQ=", "bounced", "secret", "openssl rand"},
		{"https://acme.example/hooks", secret, "bouncd", "statuses[0]", `did you mean "bounced"?`},
		{"https://acme.example/hooks", secret, "provider-resting", "statuses[0]", `did you mean "provider_resting"?`},
		{"https://acme.example/hooks", secret, "sending", "statuses[0]", "no such status"},
		{"https://acme.example/hooks", secret, "zzzzzzzzzzzz", "statuses[0]", "write one of: accepted, deferred"},
		{"http://acme.example/hooks", secret, "bounced", "url", "begins with https://"},
		{"http://203.0.113.5/", secret, "bounced", "url", "begins with https://"},
		{"http://local.example/", secret, "bounced", "url", "begins with https://"},
		{"http://0.0.0.0/", secret, "bounced", "url", "begins with https://"},
		{"http://internal.example/", secret, "bounced", "url", "begins with https://"},
		{"http://acme.example./", secret, "bounced", "url", "begins with https://"},
		{"ftp://acme.example/hooks", secret, "bounced", "url", "write an address"},
		{"acme.example/hooks", secret, "bounced", "url", "write an address"},
		{"https:///hooks", secret, "bounced", "url", "write an address"},
		{"https://acme.example/#hooks", secret, "bounced", "url", "write an address"},
		{"http://127.0.0.1:3000/", secret, "bounced", "", ""},
		{"http://[::1]:3000/", secret, "bounced", "", ""},
		{"http://[fd00::5]/", secret, "bounced", "", ""},
		{"http://10.1.2.3/", secret, "bounced", "", ""},
		{"http://169.254.1.2/", secret, "bounced", "", ""},
		{"http://hooks.internal/", secret, "bounced", "", ""},
		{"http://hooks.local/", secret, "bounced", "", ""},
		{"http://hooks.localhost/", secret, "bounced", "", ""},
		{"http://LOCALHOST:3000/", secret, "bounced", "", ""},
		{"http://hooks:3000/", secret, "bounced", "", ""},
		{"http://hooks.default.svc/", secret, "bounced", "", ""},
		{"http://hooks.default.svc.cluster.local/", secret, "bounced", "", ""},
	} {
		e := Endpoint{URL: settings.NewSecret(c.url), Secret: settings.NewSecret(c.secret), Statuses: []string{c.status}}
		problems := e.Check()
		if c.key == "" {
			if len(problems) > 0 {
				t.Errorf("%+v: %v", c, problems)
			}
			continue
		}
		if len(problems) != 1 || problems[0].Key != c.key || !strings.Contains(problems[0].Text, c.says) || strings.Contains(problems[0].Text, "never print this") {
			t.Errorf("%+v: %v", c, problems)
		}
	}
	twice := Settings{Send: []Endpoint{endpointAt("https://a.example"), endpointAt("https://b.example"), endpointAt("https://a.example")}}
	if problems := twice.Check(); len(problems) != 1 || problems[0].Key != "send[2].url" {
		t.Errorf("%v", problems)
	}
}

func TestWants(t *testing.T) {
	one, two := endpointAt("https://a.example"), endpointAt("https://b.example")
	two.Statuses = []string{"failed", "bounced", "failed"}
	s := Settings{Send: []Endpoint{one, two}}
	want := map[string][]string{"bounced": {one.key(), two.key()}, "failed": {two.key()}}
	if got := s.Wants(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}
