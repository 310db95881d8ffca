package providers

import (
	"strings"
	"testing"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// A message type is a tag where every service takes it as one.
func TestATypeThatIsNoTag(t *testing.T) {
	for kind, is := range map[string]bool{"SignIn": true, "sign-in_2": true, "sign in": false, "Anmeldung für": false, strings.Repeat("t", 64): true, strings.Repeat("t", 65): false} {
		m := plainMessage()
		m.Type = kind
		if got := tag(m); is && got != kind || !is && got != "" {
			t.Errorf("%q: %q", kind, got)
		}
	}
}

// Services take no addresses with other letters: that of a reader goes to the next one,
// those of the operator are to be mended.
func TestAddressesInOtherLetters(t *testing.T) {
	const other = "jürgen@example.org"
	for _, c := range []struct {
		to, from, replyTo string
		kind              Kind
	}{
		{"ada@example.org", "no-reply@acme.example", "", 0},
		{"ada@example.org", "no-reply@acme.example", "help@acme.example", 0},
		{other, "no-reply@acme.example", "", Recipient},
		{"ada@example.org", other, "", Configuration},
		{"ada@example.org", "no-reply@acme.example", other, Configuration},
	} {
		m := plainMessage()
		m.To, m.From.Address, m.ReplyTo.Address = c.to, c.from, c.replyTo
		if e := checkASCII(m); (e == nil) != (c.kind == 0) || e != nil && (e.Kind != c.kind || e.Filtered != (c.kind == Recipient)) {
			t.Errorf("%+v: %v", c, e)
		}
	}
}

// A name without an address is nobody.
func TestMailboxes(t *testing.T) {
	for a, want := range map[mail.Address][2]string{
		{}: {}, {Name: "Acme"}: {}, {Address: "help@acme.example"}: {"help@acme.example", "help@acme.example"},
		{Name: `A "c" me`, Address: "help@acme.example"}: {`"A \"c\" me" <help@acme.example>`, `"A \"c\" me" <help@acme.example>`},
		{Name: "Äcme", Address: "help@acme.example"}:     {"=?utf-8?q?=C3=84cme?= <help@acme.example>", `"Äcme" <help@acme.example>`},
	} {
		if got := [2]string{mailbox(a), quotedMailbox(a)}; got != want {
			t.Errorf("%+v: %q", a, got)
		}
	}
}

// A name of the operator's goes before that of the mailbox, if there is a mailbox.
func TestNamed(t *testing.T) {
	box := settings.Mailbox{Address: mail.Address{Name: "Acme", Address: "help@acme.example"}}
	renamed := box
	renamed.Name = "Help"
	for _, c := range []struct {
		m    settings.Mailbox
		name string
		want settings.Mailbox
	}{{box, "", box}, {box, "Help", renamed}, {settings.Mailbox{}, "Help", settings.Mailbox{}}} {
		if got := named(c.m, c.name); got != c.want {
			t.Errorf("%q: %+v", c.name, got)
		}
	}
}
