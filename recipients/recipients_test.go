package recipients_test

import (
	"testing"

	"logto-email-relay/mail"
	"logto-email-relay/recipients"
	"logto-email-relay/settings"
)

func TestTheLists(t *testing.T) {
	for _, test := range []struct {
		allow, deny []string
		recipient   string
		want        string
	}{
		{nil, nil, "ada@example.org", ""},
		{nil, []string{"example.org"}, "ada@example.org", "recipients.deny"},
		{nil, []string{"example.org"}, "ada@mail.example.org", ""},
		{nil, []string{"*.example.org"}, "ada@mail.example.org", "recipients.deny"},
		{nil, []string{"*.example.org"}, "ada@example.org", ""},
		{nil, []string{"Ada@Example.org"}, "aDa@example.org", "recipients.deny"},
		{nil, []string{"ada@example.org"}, "bob@example.org", ""},
		{[]string{"acme.example"}, nil, "ada@example.org", "recipients.allow"},
		{[]string{"kim@example.org"}, nil, "\u212aim@example.org", "recipients.allow"}, // the sign of the kelvin
		{[]string{"acme.example", "ada@example.org"}, nil, "ada@example.org", ""},
		{[]string{"ACME.example"}, nil, "ada@acme.example", ""},
		{[]string{"acme.example"}, []string{"root@acme.example"}, "root@acme.example", "recipients.deny"},
	} {
		s := recipients.Settings{Allow: test.allow, Deny: test.deny}
		if got := s.Refuses(test.recipient); got != test.want {
			t.Errorf("allow %v, deny %v: %s is refused by %q", test.allow, test.deny, test.recipient, got)
		}
	}
}

func TestARouteOverridesKeyByKey(t *testing.T) {
	yes, no := true, false
	staging := settings.Mailbox{Address: mail.Address{Address: "staging@acme.example"}}
	general := recipients.Settings{Allow: []string{"acme.example"}, RedirectTo: &staging, CheckDomain: &yes}
	if s := general.OverriddenBy(nil); s.Redirected() != "staging@acme.example" || s.ChecksDomain() {
		t.Errorf("got %+v", s)
	}
	s := general.OverriddenBy(&recipients.Settings{Deny: []string{"example.org"}})
	if s.Refuses("ada@example.org") == "" || s.Refuses("ada@acme.example") != "" || s.Redirected() == "" {
		t.Errorf("got %+v", s)
	}
	s = general.OverriddenBy(&recipients.Settings{Allow: []string{}, RedirectTo: new(settings.Mailbox)})
	if s.Refuses("ada@example.org") != "" || s.Redirected() != "" || !s.ChecksDomain() {
		t.Errorf("got %+v", s)
	}
	if s := new(recipients.Settings); s.ChecksDomain() || s.Redirected() != "" || s.Refuses("ada@example.org") != "" {
		t.Error("what is not written counts")
	}
	general.Deny = []string{"root@acme.example"}
	if s := general.OverriddenBy(&recipients.Settings{CheckDomain: &no}); s.Refuses("root@acme.example") != "recipients.deny" {
		t.Errorf("got %+v", s)
	}
	if s = s.OverriddenBy(&recipients.Settings{CheckDomain: &no}); s.ChecksDomain() {
		t.Errorf("got %+v", s)
	}
}

func TestSuggestions(t *testing.T) {
	for domain, want := range map[string]string{
		"gmial.con": "gmail.com", "gmail.con": "gmail.com", "gmai.com": "gmail.com", "gnail.com": "gmail.com", "gmaill.com": "gmail.com",
		"hotmial.com": "hotmail.com", "hotmail.cmo": "hotmail.com", "yaho.co.uk": "yahoo.co.uk", "outlok.fr": "outlook.fr",
		"gmx.dd": "gmx.de", "gmx.dt": "gmx.de", "wbe.de": "web.de", "iclod.com": "icloud.com", "qq.con": "qq.com", "yandx.ru": "yandex.ru",
		"aa.com": "", "qa.com": "", "acme.example": "", "gmail.example": "", "mail.gmail.con": "", "gmail": "", "": "", "gmxx.exe": "",
	} {
		if got := recipients.Suggest(domain); got != want {
			t.Errorf("%s: got %q, want %q", domain, got, want)
		}
	}
}
