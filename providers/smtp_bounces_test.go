package providers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"logto-email-relay/bounces"
	"logto-email-relay/bounces/dovecottest"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

func withSender(from string) func(*SMTPSettings) {
	return func(s *SMTPSettings) { s.Envelope.From.Address.Address = from }
}

// Every mail has a sender of its own between servers, if the operator wants so.
func TestSenderWithTheIDOfTheMail(t *testing.T) {
	server := (&fakeSMTP{extensions: []string{"PIPELINING"}}).start(t)
	for from, want := range map[string]string{
		"":                                "no-reply@acme.example",
		"bounces@acme.example":            "bounces@acme.example",
		"bounces+{{id}}@acme.example":     "bounces+01jx2n8c5v7q0w3e4r5t6y7u8i@acme.example",
		"b-{{id}}-of@bounce.acme.example": "b-01jx2n8c5v7q0w3e4r5t6y7u8i-of@bounce.acme.example",
	} {
		if _, err := openSMTP(t, server.Port(), withSender(from)).Send(shortly(t), smtpMessage()); err != nil {
			t.Fatal(err)
		}
		_, commands, _ := server.Seen()
		if said := strings.Join(commands, "\n"); !strings.Contains(said, "MAIL FROM:<"+want+">") {
			t.Errorf("%q: no %s in\n%s", from, want, said)
		}
	}
	longest := newSMTPSettings()
	longest.Host, longest.Auth = "smtp.example.com", &SMTPAuth{User: "relay", Pass: settings.NewSecret("x")}
	longest.Bounces = &SMTPBounces{Host: "imap.example.com", Poll: settings.Duration(10 * time.Second)}
	withSender(strings.Repeat("b", 38) + "{{id}}@acme.example")(longest)
	if problems := longest.Check(); len(problems) > 0 {
		t.Errorf("64 characters before the @, a look every 10 s, with the login of the server: %v", problems)
	}
	withSender(strings.Repeat("b", 64) + "@acme.example")(longest)
	if problems := longest.Check(); len(problems) > 0 {
		t.Errorf("64 characters before the @, none of them an id's: %v", problems)
	}
	for _, from := range []string{"{{id}}{{id}}@acme.example", "{{ref}}@acme.example", strings.Repeat("b", 39) + "{{id}}@acme.example"} {
		s := newSMTPSettings()
		s.Host = "smtp.example.com"
		withSender(from)(s)
		if problems := s.Check(); len(problems) != 1 || problems[0].Key != "envelope.from" {
			t.Errorf("%s: %v", from, problems)
		}
	}
	var from settings.Mailbox
	if err := from.UnmarshalText([]byte("bounces+{{id}}@acme.example")); err != nil {
		t.Error(err)
	}
}

// sampleBounce is a report of the samples, about the mail with the id 0123456789abcdefghjkmnpqrs.
func sampleBounce(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../bounces/testdata/reports", name+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const bouncedID = "0123456789abcdefghjkmnpqrs"

func TestBounces(t *testing.T) {
	p := openSMTP(t, 25, withSender("bounces+{{id}}@acme.example"))
	at := time.Date(2026, 3, 2, 9, 0, 5, 0, time.UTC)
	for name, want := range map[string]mail.Report{
		"postfix-unknown": {To: []string{"ada@example.org"}, Event: mail.Event{Time: at, Status: mail.StatusBounced,
			Detail: "550 5.1.1 <…>: Recipient address rejected: User unknown"}},
		"postfix-delayed": {To: []string{"ada@example.org"}, Event: mail.Event{Time: at, Status: mail.StatusDeferred,
			Detail: "4.4.1 connect to …[…]: Connection timed out"}},
		"postfix-forwarded": {To: []string{"ada.home@example.net", "ada@example.org"}, Event: mail.Event{Time: at, Status: mail.StatusBounced, Soft: true, Ours: true,
			Detail: "552 5.2.2 mailbox full"}},
		"complaint": {To: []string{"ada@example.org"}, Event: mail.Event{Time: at, Status: mail.StatusComplained}},
		"delivered": {To: []string{"ada@example.org"}, Event: mail.Event{Time: at, Status: mail.StatusDelivered, Detail: "2.1.5"}},
	} {
		reports := p.Bounce([]byte(sampleBounce(t, name)))
		if len(reports) != 1 {
			t.Errorf("%s: %+v", name, reports)
			continue
		}
		got := reports[0]
		if got.Key == "" || strings.Count(got.Key, " ") < 2 {
			t.Errorf("%s: key %q", name, got.Key)
		}
		if strings.Contains(got.Detail, "ada") {
			t.Errorf("%s: %s", name, got.Detail)
		}
		want.ID, want.Key = bouncedID, got.Key
		if strings.Contains(want.Detail, "…") { // how addresses are left out is another test's
			want.Detail = got.Detail
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, got, want)
		}
	}
}

// What a report says of the sender, and of the operator's own way out, says nothing of the
// address.
func TestBouncesThatAreOurs(t *testing.T) {
	p := openSMTP(t, 25, withSender("bounces+{{id}}@acme.example"))
	sample := strings.ReplaceAll(sampleBounce(t, "postfix-unknown"), "5.1.1", "5.0.0")
	sample = strings.ReplaceAll(sample, "User unknown", "as the server said")
	i := strings.Index(sample, "Diagnostic-Code:")
	for words, ours := range map[string]bool{
		"550 5.1.1 <ada@example.org>: user unknown":                                                             false,
		"550 5.7.1 <ada@example.org>: Recipient address rejected: User unknown":                                 false,
		"553 5.3.0 <ada@example.org>... No such user here":                                                      false,
		"550 5.7.1 550 User Unknown":                                                                            false,
		"552 5.2.2 <ada@example.org>: mailbox full":                                                             false,
		"550 5.1.1 <no-reply@acme.example>: user unknown":                                                       true,
		"554 IP=192.0.2.7 - A problem occurred. (Ask us) (BL)":                                                  true,
		"connect to smtp.acme.example[10.0.0.1]:587: Connection refused":                                        true,
		"Host or domain name not found. Name service error for name=smtp.acme.example type=A: Host not found":   true,
		"4.7.8 SASL authentication failed; server smtp.acme.example[10.0.0.1] said: 535 5.7.8 Error: bad login": true,
		"4.3.5 Server configuration problem":                                                                    true,
		"550 5.1.1 no-reply@acme.example: user unknown":                                                         true,
		"550 5.1.1 <postmaster@acme.example> User unknown; callback failed":                                     true,
		"550 5.7.1 [from] address does not exist (in reply to MAIL FROM command)":                               true,
		"550 5.1.1 <support@acme.example>: user unknown":                                                        true,
		"550 5.1.1 <help.desk@acme.example>: user unknown":                                                      true,
		"550 5.1.1 contact@acme.example: user unknown":                                                          true,
		"550 5.1.1 user unknown; please contact <jane@example.net> for more":                                    false,
		"550 5.1.1 User unknown - email postmaster@example.net if this is wrong":                                false,
		"550 5.1.1 user unknown, ask postmaster@example.org":                                                    false,
		"550 5.1.7 <support@acme.example>: Sender address rejected: undeliverable address: host mx.acme.example[192.0.2.1] said: 550 5.1.1 <support@acme.example>: User unknown": true,
		"550-Verification failed for <support@acme.example> 550-Callout verification failed: 550-550 no such user 550 Sender verify failed":                                      true,
		// Cisco's gateway, which says this of whatever it was answered: AsyncOS Email Daily
		// Management Guide, "Examples of Bounce Log Entries".
		"5.1.0 - Unknown address error 550-'Administrative prohibition' (delivery attempts: 0)":                                        true,
		"5.1.0 - Unknown address error 550-'5.7.1 Command rejected' (delivery attempts: 0)":                                            true,
		"5.1.0 - Unknown address error 554-'5.4.0 Error: too many hops' (delivery attempts: 0)":                                        true,
		"5.1.0 - Unknown address error 550-'5.1.1 <ada@example.org>: Recipient address rejected: User unknown' (delivery attempts: 0)": false,
		"553 Relaying disallowed. Invalid Domain":                                                                                      true,
		"550 error: no valid recipients from 192.0.2.7":                                                                                true,
		"550 5.2.1 The email account that you tried to reach is inactive":                                                              false,
	} {
		end := i + strings.Index(sample[i:], "\r\n\r\n")
		reports := p.Bounce([]byte(sample[:i] + "Diagnostic-Code: smtp; " + words + sample[end:]))
		if len(reports) != 1 || reports[0].Ours != ours {
			t.Errorf("%s: %+v", words, reports)
		}
	}
}

// Sendmail calls each refusal of a recipient 5.1.1 that has no code of its own.
func TestTheGuessOfAServerBetween(t *testing.T) {
	p := openSMTP(t, 25, withSender("bounces+{{id}}@acme.example"))
	sample := strings.ReplaceAll(sampleBounce(t, "postfix-unknown"), "550 5.1.1", "550")
	sample = strings.ReplaceAll(sample, "Recipient address rejected:", "")
	for words, soft := range map[string]bool{
		"User unknown": false, "Administrative prohibition": true, "Connection denied": true, "<ada@example.org> no smtp MX only": true,
	} {
		reports := p.Bounce([]byte(strings.ReplaceAll(sample, "User unknown", words)))
		if len(reports) != 1 || reports[0].Soft != soft {
			t.Errorf("%s: %+v", words, reports)
		}
	}
}

// Of a report without the server's words its code has to agree.
func TestABounceWithACodeAlone(t *testing.T) {
	p := openSMTP(t, 25, withSender("bounces+{{id}}@acme.example"))
	sample := strings.ReplaceAll(sampleBounce(t, "postfix-unknown"), "host mx.example.org[192.0.2.9] said: 550 5.1.1\r\n    <ada@example.org>: Recipient address rejected:", "")
	sample = strings.ReplaceAll(sample, "Diagnostic-Code: smtp; 550 5.1.1 <ada@example.org>: Recipient address rejected:\r\n    User unknown\r\n", "")
	for code, soft := range map[string]bool{"5.1.1": false, "5.0.0": false, "5.7.1": true, "5.5.3": true, "5.6.7": false, "5.3.0": true, "5.7.13": true, "5.2.2": true, "5.4.7": true, "4.4.1": true, "5.1.8": true} {
		reports := p.Bounce([]byte(strings.ReplaceAll(sample, "Status: 5.1.1", "Status: "+code)))
		if len(reports) != 1 || reports[0].Soft != soft || !strings.HasPrefix(reports[0].Detail, code) {
			t.Errorf("%s: %+v", code, reports)
		}
	}
}

// Each of the ids that a mail has leads to it alone, and nothing that can be guessed or
// that people read to each other does.
func TestWhatABounceHasToName(t *testing.T) {
	verp := openSMTP(t, 25, withSender("Bounces+{{id}}@acme.example"))
	plain := openSMTP(t, 25, withSender("bounces@acme.example"))
	report := func(to, refs string) string {
		return "From: MAILER-DAEMON@mx.example.org\r\nTo: " + to + "\r\n" + refs +
			"Subject: Undelivered Mail Returned to Sender\r\n\r\n<ada@example.org>: 550 5.1.1 user unknown (queue id 4XyZ)\r\n"
	}
	for name, c := range map[string]struct {
		p       *smtpProvider
		message string
		is      bool
	}{
		"the sender":               {verp, report("bounces+"+bouncedID+"@acme.example", ""), true},
		"in capitals":              {verp, report("BOUNCES+"+strings.ToUpper(bouncedID)+"@ACME.example", ""), true},
		"another sender":           {plain, report("bounces+"+bouncedID+"@acme.example", ""), false},
		"another domain":           {verp, report("bounces+"+bouncedID+"@other.example", ""), false},
		"the id alone":             {verp, report(bouncedID+"@acme.example", ""), false},
		"the reference alone":      {verp, report("bounces+"+mail.Reference(bouncedID)+"@acme.example", ""), false},
		"In-Reply-To":              {plain, report("bounces@acme.example", "In-Reply-To: <"+bouncedID+"@acme.example>\r\n"), true},
		"References":               {plain, report("bounces@acme.example", "References: <a@b.example>\r\n <"+bouncedID+"@acme.example>\r\n"), true},
		"another mail":             {plain, report("bounces@acme.example", "In-Reply-To: <abc@acme.example>\r\n"), false},
		"a queue id alone":         {plain, report("bounces@acme.example", ""), false},
		"a copy's X-Entity-Ref-ID": {plain, report("bounces@acme.example", "") + "\r\nReceived: from a\r\nFrom: b@acme.example\r\nX-Entity-Ref-ID: " + bouncedID + "\r\n\r\n", true},
		"an answer of hers":        {verp, sampleBounce(t, "no-answer"), false},
	} {
		if got := len(c.p.Bounce([]byte(c.message))); got != map[bool]int{true: 1}[c.is] {
			t.Errorf("%s: %d reports", name, got)
		}
	}
}

// mailbox is a provider whose bounces come to Dovecot.
func withMailbox(t *testing.T, server *dovecottest.Server, change func(*SMTPSettings)) *smtpProvider {
	return openSMTP(t, 25, func(s *SMTPSettings) {
		s.TLS.CA = settings.Texts{string(server.CA)}
		s.Bounces = &SMTPBounces{Host: "localhost", Port: server.Port, Auth: &SMTPBouncesAuth{User: dovecottest.User, Pass: settings.NewSecret(dovecottest.Password)}}
		change(s)
	})
}

// What becomes of the reports is the operator's word, and nothing is deleted without it.
func TestWhatBecomesOfReports(t *testing.T) {
	for _, test := range []struct {
		bounces SMTPBounces
		want    bounces.Mailbox
	}{
		{SMTPBounces{}, bounces.Mailbox{Name: "INBOX", Poll: time.Minute}},
		{SMTPBounces{Processed: "seen", Port: 143}, bounces.Mailbox{Name: "INBOX", Poll: time.Minute, STARTTLS: true}},
		{SMTPBounces{Processed: "deleted", Mailbox: "Bounces"}, bounces.Mailbox{Name: "Bounces", Poll: time.Minute, Delete: true}},
		{SMTPBounces{Processed: "moved", MoveTo: "Done", Poll: settings.Duration(time.Hour)}, bounces.Mailbox{Name: "INBOX", Poll: time.Hour, MoveTo: "Done"}},
	} {
		s := newSMTPSettings()
		test.bounces.Host = "imap.example.com"
		if s.ReadsBounces() {
			t.Error("bounces are read from nowhere")
		}
		s.Auth, s.Bounces = &SMTPAuth{User: "relay"}, &test.bounces
		if !s.ReadsBounces() {
			t.Error("no bounces are read")
		}
		m, err := s.mailbox(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := (bounces.Mailbox{Name: m.Name, Poll: m.Poll, STARTTLS: m.STARTTLS, Delete: m.Delete, MoveTo: m.MoveTo}); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%+v: %+v", test.bounces, got)
		}
	}
}

// An access token that the mailbox refuses is not shown to it again.
func TestATokenThatTheMailboxRefuses(t *testing.T) {
	endpoint := startTokenEndpoint(t)
	byPassword := openSMTP(t, 25, byRefreshToken(endpoint.url), func(s *SMTPSettings) {
		s.Bounces = &SMTPBounces{Host: "localhost", Auth: &SMTPBouncesAuth{User: "relay", Pass: settings.NewSecret("x")}}
	})
	var refused *Error
	if err := byPassword.mailboxFailure(t.Context(), &bounces.Error{Stage: "login", Refused: true, Said: "no"}); !errors.As(err, &refused) || refused.Kind != Configuration || len(endpoint.asked()) > 0 {
		t.Errorf("a password: %v, %d tokens were asked for", err, len(endpoint.asked()))
	}
	p := openSMTP(t, 25, byRefreshToken(endpoint.url), func(s *SMTPSettings) { s.Bounces = &SMTPBounces{Host: "localhost"} })
	for want := 1; want <= 2; want++ {
		for range 2 {
			if _, err := p.mailbox.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(endpoint.asked()); n != want {
			t.Errorf("%d tokens were asked for, want %d", n, want)
		}
		var e *Error
		if err := p.mailboxFailure(t.Context(), &bounces.Error{Stage: "login", Refused: true, Said: "no"}); !errors.As(err, &e) || e.Kind != Configuration {
			t.Error(err)
		}
	}
}

// A mailbox that cannot be read for a moment is no matter of the login.
func TestAMailboxThatIsBusy(t *testing.T) {
	p := openSMTP(t, 25)
	for _, c := range []struct {
		stage, code, said string
		kind              Kind
		hint              string
	}{
		{"login", "", "LOGIN failed.", Configuration, "check the login"},
		{"login", "UNAVAILABLE", "Temporary authentication failure.", Temporary, ""},
		{"login", "LIMIT", "LOGIN Rate limit hit", Temporary, ""},
		{"login", "ALERT", "Too many simultaneous connections. (Failure)", Temporary, ""},
		{"login", "", "Request is throttled. Suggested Backoff Time: 92415 milliseconds", Temporary, ""},
		{"mailbox", "", "Server Unavailable. 15", Temporary, ""},
		{"mailbox", "OVERQUOTA", "Account exceeded command or bandwidth limits. (Failure)", Temporary, ""},
		{"read", "", "SEARCH failed.", Temporary, ""},
		{"mailbox", "SERVERBUG", "Internal error occurred.", Temporary, ""},
		{"mailbox", "NONEXISTENT", "Unknown Mailbox: bounces (Failure)", Configuration, "bounces.mailbox"},
		{"mailbox", "", "User is authenticated but not connected.", Configuration, "licence"},
	} {
		var e *Error
		err := p.mailboxFailure(t.Context(), &bounces.Error{Stage: c.stage, Refused: true, Code: c.code, Said: c.said})
		if !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(e.Hint, c.hint) || (c.hint == "") != (e.Hint == "") {
			t.Errorf("%s: %v", c.said, err)
		}
	}
}

// A connection that breaks at the login says nothing of it.
func TestAMailboxThatIsGone(t *testing.T) {
	for _, stage := range []string{"login", "mailbox"} {
		var e *Error
		if err := openSMTP(t, 25).mailboxFailure(t.Context(), &bounces.Error{Stage: stage, Err: io.EOF}); !errors.As(err, &e) || e.Kind != Temporary || e.Hint != "" {
			t.Errorf("%s: %v", stage, err)
		}
	}
	for _, c := range []struct {
		cause net.DNSError
		kind  Kind
	}{{net.DNSError{IsNotFound: true}, Configuration}, {net.DNSError{IsTemporary: true}, Temporary}} {
		var e *Error
		if err := openSMTP(t, 25).mailboxFailure(t.Context(), &bounces.Error{Stage: "connect", Err: &c.cause}); !errors.As(err, &e) || e.Kind != c.kind {
			t.Errorf("%v: %v", c.cause, err)
		}
	}
}

// What is wrong with a mailbox is told, and where to mend it.
func TestMailboxOfBounces(t *testing.T) {
	server := dovecottest.Start(t)
	for name, c := range map[string]struct {
		change func(*SMTPSettings)
		want   string
	}{
		"fine": {func(*SMTPSettings) {}, ""},
		"its own login": {func(s *SMTPSettings) {
			s.Auth, s.Bounces.Auth = &SMTPAuth{User: dovecottest.User, Pass: settings.NewSecret(dovecottest.Password)}, nil
		}, ""},
		"wrong password":            {func(s *SMTPSettings) { s.Bounces.Auth.Pass = settings.NewSecret("never-print-that") }, "configuration: login: AUTHENTICATIONFAILED: Authentication failed.: check the login"},
		"no mailbox":                {func(s *SMTPSettings) { s.Bounces.Mailbox = "Missing" }, "configuration: mailbox: Mailbox doesn't exist: Missing"},
		"no authority":              {func(s *SMTPSettings) { s.TLS.CA = nil }, "configuration: TLS: "},
		"no server":                 {func(s *SMTPSettings) { s.Bounces.Port = 1 }, "temporary: connect: connection refused"},
		"no TLS":                    {func(s *SMTPSettings) { s.Bounces.Port = server.StartPort }, "configuration: TLS: "},
		"no proxy":                  {func(s *SMTPSettings) { s.Proxy = settings.NewSecret("socks5://relay:never-print-that@127.0.0.1:1") }, "connect: connection refused"},
		"another machine's address": {func(s *SMTPSettings) { s.LocalAddress = "192.0.2.1" }, "configuration: connect: "},
	} {
		t.Run(name, func(t *testing.T) {
			err := withMailbox(t, server, c.change).CheckBounces(shortly(t))
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if said := fmt.Sprintf("%v %+v", err, err); strings.Contains(said, "never-print") {
				t.Error(said)
			}
		})
	}
}

// The mailbox is opened by the token of the provider's login. One that the server
// refuses is not shown to it again.
func TestMailboxOfBouncesByAToken(t *testing.T) {
	server, endpoint := dovecottest.Start(t), startTokenEndpoint(t)
	endpoint.answer = func(w http.ResponseWriter, _ *http.Request, n int) bool {
		token := "never-print-that-old-token"
		if n > 1 {
			token = dovecottest.Token
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
		return true
	}
	p := withMailbox(t, server, func(s *SMTPSettings) {
		s.Auth = &SMTPAuth{Type: "oauth2", User: dovecottest.User, ClientID: "relay-client", ClientSecret: settings.NewSecret("secret"), AccessURL: endpoint.url}
		s.Bounces.Auth = nil
	})
	var e *Error
	if err := p.CheckBounces(shortly(t)); !errors.As(err, &e) || e.Kind != Configuration || e.Stage != "login" || strings.Contains(e.Error(), "never-print") {
		t.Errorf("the old token gives %v", err)
	}
	for range 2 {
		if err := p.CheckBounces(shortly(t)); err != nil {
			t.Error(err)
		}
	}
	if asked := len(endpoint.asked()); asked != 2 {
		t.Errorf("%d tokens were asked for, want 2", asked)
	}
}
