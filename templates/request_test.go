package templates

import (
	"strings"
	"testing"
	"time"
)

// What a mail tells of the request that it answers.
func TestRequestDetails(t *testing.T) {
	at := time.Date(2026, time.November, 26, 3, 50, 59, 0, time.UTC)
	payloads := map[string]string{
		"SignIn":            `{"code":"123456"}`,
		"BindNewIdentifier": `{"code":"123456","user":{"primaryEmail":"ada@example.org","username":"ada","name":"Ada"}}`,
		invitation:          `{"link":"https://a.example/"}`,
		generic:             `{"code":"123456"}`,
	}
	for _, test := range []struct {
		details, messageType string
		want, not            []string
	}{
		{"none", "SignIn", []string{"Sent to: new@example.org"}, []string{"Requested", "IP address", "Account:"}},
		{"time", "SignIn", []string{"Sent to: new@example.org\nRequested: 26\u00a0November 2026, 03:50 (UTC)\n"}, []string{"IP address"}},
		{"time+ip", "SignIn", []string{"Requested: 26\u00a0November 2026, 03:50 (UTC)\nApproximate IP address: 203.0.113.7\n"}, nil},
		// Nobody asked for it, or a program of the operator's did.
		{"time+ip", invitation, []string{"Sent to: new@example.org"}, []string{"Requested", "IP address"}},
		{"time+ip", generic, []string{"Requested: "}, []string{"IP address"}},
		{"none", "BindNewIdentifier", []string{"Account: ada@example.org\nSent to: new@example.org\n"}, nil},
	} {
		s := DefaultSettings()
		s.RequestDetails = test.details
		c, err := Open(s)
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Render(Request{Type: test.messageType, Locale: "en", Payload: payload(t, payloads[test.messageType]), To: "new@example.org", IP: "203.0.113.7", Time: at})
		if err != nil {
			t.Fatal(err)
		}
		html := strings.NewReplacer("<br>", "\n", "</p>", "\n", `<span dir="ltr">`, "", "</span>", "").Replace(m.HTML.String())
		for part, text := range map[string]string{"text": m.Text, "HTML": html} {
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("%s %s: the %s does not say %q:\n%s", test.details, test.messageType, part, want, text)
				}
			}
			for _, not := range test.not {
				if strings.Contains(text, not) {
					t.Errorf("%s %s: the %s says %q", test.details, test.messageType, part, not)
				}
			}
		}
	}
}

// The account that gets a new address is named by whatever Logto knows of it.
func TestTheAccountIsNamed(t *testing.T) {
	c, err := Open(DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{
		`{"primaryEmail":"ada@example.org","username":"ada"}`: "Account: ada@example.org\n", `{"primaryEmail":null,"username":"ada","name":"Ada L."}`: "Account: ada\n",
		`{"name":"Ada Lovelace"}`: "Account: Ada Lovelace\n", `{"name":"evil.com"}`: "Account: evil. com\n", `{}`: "\n\nSent to: new@example.org\n",
	} {
		m, err := c.Render(Request{Type: "BindNewIdentifier", Locale: "en", Payload: payload(t, `{"code":"1","user":`+user+`}`), To: "new@example.org"})
		if err != nil || !strings.Contains(m.Text, want) {
			t.Errorf("%s: got %s, %v", user, m.Text, err)
		}
	}
}

func TestPlaceholdersOfTheRequest(t *testing.T) {
	for _, test := range []struct{ to, ip, want string }{
		{"ada@example.org", "203.0.113.7", "ada@example.org|203.0.113.7"},
		{`"go to evil.com"@x.org`, "::ffff:203.0.113.7", `"go to evil. com" @ x. org|203.0.113.7`},
		{"ada@example.org", "1.2.3.4:567", "ada@example.org|1.2.3.4"},
		{"ada@example.org", "[2001:db8::1]:567", "ada@example.org|2001:db8::1"},
		{"ada@example.org", "fe80::1%eth0", "ada@example.org|fe80::1"},
		{"ada@example.org", "203.0.113.7, 10.0.0.1", "ada@example.org|"},
		{"ada@example.org", "<b>evil.com</b>", "ada@example.org|"},
		{"", "", "|"},
	} {
		c := openMiniature(t, nil, "en")
		p, err := compile(&source{text: "{{to}}|{{ip}}{{requestedAt}}"}, textFormat, vocabulary{messageType: "SignIn"})
		if err != nil {
			t.Fatal(err)
		}
		var v values
		c.fill(&v, &Request{To: test.to, IP: test.ip}, c.translations["en"])
		if got := p.text(&v); got != test.want {
			t.Errorf("%q, %q: got %q, want %q", test.to, test.ip, got, test.want)
		}
	}
}

func TestMoments(t *testing.T) {
	c, err := Open(DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	p, err := compile(&source{text: "{{requestedAt}}"}, textFormat, vocabulary{messageType: "SignIn"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ locale, at, zone, want string }{
		{"en", "2026-11-26T03:50:59Z", "", "26\u00a0November 2026, 03:50 (UTC)"},
		{"de", "2026-11-26T23:50:59Z", "Europe/Berlin", "27.\u00a0November 2026, 00:50\u00a0Uhr (UTC+1)"},
		{"fr", "2026-07-01T03:50:59Z", "America/St_Johns", "1er\u00a0juillet 2026 à\u00a001:20 (UTC-2:30)"},
		{"fr", "2026-07-21T03:50:59Z", "", "21\u00a0juillet 2026 à\u00a003:50 (UTC)"},
		{"pt-BR", "2026-07-01T03:50:59Z", "", "1º\u00a0de\u00a0julho de\u00a02026, 03:50 (UTC)"},
		{"pt-BR", "2026-07-21T03:50:59Z", "", "21\u00a0de\u00a0julho de\u00a02026, 03:50 (UTC)"},
		{"pt-PT", "2026-07-01T03:50:59Z", "", "1\u00a0de\u00a0julho de\u00a02026, 03:50 (UTC)"},
		{"ru", "2026-05-09T03:50:59Z", "", "9\u00a0мая 2026\u00a0г., 03:50 (UTC)"},
		{"ja", "2026-11-26T03:50:59Z", "Asia/Tokyo", "2026年11月26日 12:50（UTC+9）"},
		{"th", "2028-02-29T03:50:59Z", "", "29\u00a0กุมภาพันธ์ 2571 เวลา\u00a003:50\u00a0น. (UTC)"},
		{"ar", "2026-11-26T03:50:59Z", "", "26\u00a0نوفمبر 2026، 03:50 (UTC)"},
		{"fa-IR", "2026-11-26T03:50:59Z", "Asia/Tehran", "۵\u00a0آذر ۱۴۰۵، ساعت\u00a0۰۷:۲۰ (UTC+۳:۳۰)"},
		{"fa-IR", "2025-03-20T12:00:00Z", "", "۳۰\u00a0اسفند ۱۴۰۳، ساعت\u00a0۱۲:۰۰ (UTC)"}, // a leap year
		{"fa-IR", "2025-03-21T12:00:00Z", "", "۱\u00a0فروردین ۱۴۰۴، ساعت\u00a0۱۲:۰۰ (UTC)"},
		{"fa-IR", "2021-03-21T12:00:00Z", "", "۱\u00a0فروردین ۱۴۰۰، ساعت\u00a0۱۲:۰۰ (UTC)"},
		{"fa-IR", "2026-06-21T12:00:00Z", "", "۳۱\u00a0خرداد ۱۴۰۵، ساعت\u00a0۱۲:۰۰ (UTC)"},
		{"fa-IR", "2026-06-22T12:00:00Z", "", "۱\u00a0تیر ۱۴۰۵، ساعت\u00a0۱۲:۰۰ (UTC)"},
		{"fa-IR", "2030-03-20T12:00:00Z", "", "۳۰\u00a0اسفند ۱۴۰۸، ساعت\u00a0۱۲:۰۰ (UTC)"},
		// What is no zone, and the zone of the relay's machine.
		{"en", "2026-11-26T03:50:59Z", "../../etc/passwd", "26\u00a0November 2026, 03:50 (UTC)"},
		{"en", "2026-11-26T03:50:59Z", "Local", "26\u00a0November 2026, 03:50 (UTC)"},
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		data := map[string]any{"user": map[string]any{"profile": map[string]any{"zoneinfo": test.zone}}}
		var v values
		c.fill(&v, &Request{Payload: data, Time: at}, c.translations[test.locale])
		if got := p.text(&v); got != test.want {
			t.Errorf("%s, %s in %q: got %q, want %q", test.locale, test.at, test.zone, got, test.want)
		}
	}
	at := time.Date(2026, time.November, 26, 3, 50, 0, 0, time.UTC)
	if got := newTranslation("sv", c.translations["de"].tag, nil, "").moment(at); got != "2026-11-26 03:50 UTC" {
		t.Errorf("without texts: got %q", got)
	}
}

func TestRepliesToAnInvitation(t *testing.T) {
	c := openMiniature(t, nil, "en")
	for _, test := range []struct {
		messageType, data string
		wanted            bool
		want              string
	}{
		{invitation, `{"inviter":{"primaryEmail":"alice@example.com"}}`, true, "alice@example.com"},
		{invitation, `{"inviter":{"primaryEmail":"alice@example.com"}}`, false, ""},
		{invitation, `{"inviter":{"primaryEmail":null}}`, true, ""},
		{invitation, `{"inviter":{"primaryEmail":"a@b.c, d@e.f"}}`, true, ""},
		{invitation, `{}`, true, ""},
		{"SignIn", `{"inviter":{"primaryEmail":"alice@example.com"}}`, true, ""},
	} {
		m, err := c.Render(Request{Type: test.messageType, Locale: "en", Payload: payload(t, test.data), Branding: Branding{ReplyToInviter: &test.wanted}})
		if err != nil || m.ReplyTo.Address != test.want || m.ReplyTo.Name != "" {
			t.Errorf("%s %s: got %v, %v", test.messageType, test.data, m.ReplyTo, err)
		}
	}
}

// What an inbox shows of a mail: the code only where the operator wants it to.
func TestTheInboxLine(t *testing.T) {
	for _, inSubject := range []bool{false, true} {
		s := DefaultSettings()
		s.CodeInSubject = inSubject
		c, err := Open(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, messageType := range Types() {
			for _, locale := range c.Locales() {
				m, err := c.Render(Request{Type: messageType, Locale: locale, Payload: Sample(messageType, locale), Branding: Branding{SenderName: "Acme"}})
				if err != nil {
					t.Fatal(err)
				}
				// Not where somebody who sees the locked phone could take the account.
				want := inSubject && messageType != forgotPassword && messageType != invitation
				if strings.HasPrefix(m.Subject, "123456 – ") != want || strings.Contains(m.Subject, "123456") != want {
					t.Errorf("%s %s, code in subject %v: got %q", messageType, locale, inSubject, m.Subject)
				}
				html := m.HTML.String()
				if title := "<title>" + m.Subject + "</title>"; !strings.Contains(html, title) {
					t.Errorf("%s %s: there is no %s", messageType, locale, title)
				}
				_, body, _ := strings.Cut(html, "<body")
				before, _, shown := strings.Cut(body, "123456")
				if shown != (messageType != invitation) || shown && strings.Count(before, filler) != fillers {
					t.Errorf("%s %s: the code stands behind %d fillers", messageType, locale, strings.Count(before, filler))
				}
				if !shown && strings.Contains(body, filler) || strings.Contains(m.Text, filler) {
					t.Errorf("%s %s: there is filler for nothing", messageType, locale)
				}
			}
		}
	}
}
