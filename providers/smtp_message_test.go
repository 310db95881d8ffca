package providers

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"logto-email-relay/mail"
	"logto-email-relay/smtp"
	"logto-email-relay/smtp/smtptest"
)

func buildMIME(t testing.TB, m *mail.Message, own ...mail.Header) []byte {
	t.Helper()
	built, err := (&smtpProvider{headers: own}).build(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func TestSMTPMessageGolden(t *testing.T) {
	english := smtpMessage()
	english.Headers = append(english.Headers,
		mail.Header{Name: "X-Auto-Response-Suppress", Value: "OOF, AutoReply, DR, RN, NRN"},
		mail.Header{Name: "X-Entity-Ref-ID", Value: english.ID})

	japanese := smtpMessage()
	japanese.From.Name = "アクメ株式会社"
	japanese.ReplyTo.Name = `Acme "Help" Desk`
	japanese.To = "foo.@docomo.ne.jp"
	japanese.Subject = "アクメ株式会社のサインイン用確認コードをお送りします。このメールに心当たりがない場合は無視してください"
	japanese.Text = "確認コードは 482913 です。\n\n有効期限は 10 分です。\n.\n"
	japanese.HTML = mail.Body{mail.OwnPart("<!DOCTYPE html>\n<html lang=\"ja\"><head><title>確認コード</title>\n"), mail.OwnPart(
		"<!--[if mso]><style>td{font-family:Arial}</style><![endif]-->\n</head>\n"), mail.OwnPart(

		"<body style=\"margin:0;padding:0;background-color:#f3f4f6\">\n<p>確認コードは <strong>482913</strong> です。</p>   \n"), mail.OwnPart(

		".signature { }\n</body></html>")}

	japanese.Locale = "ja"

	plain := smtpMessage()
	plain.HTML = nil
	plain.ReplyTo = mail.Address{}
	plain.Subject = "Somebody with quite a long name has invited you to join an organization whose name is long as well"

	for name, m := range map[string]*mail.Message{"english": english, "japanese": japanese, "plain": plain} {
		t.Run(name, func(t *testing.T) {
			built := buildMIME(t, m)
			file := filepath.Join("testdata", "smtp_"+name+".eml")
			if *update {
				if err := os.WriteFile(file, built, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(built, golden) {
				t.Errorf("differs from %s:\n%s", file, built)
			}
			header, parts := smtptest.ReadMIME(t, built)
			decoded, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
			if err != nil || decoded != m.Subject {
				t.Errorf("subject %q: %v", decoded, err)
			}
			if got := parts["text/plain"]; strings.TrimSuffix(got, "\n") != strings.TrimSuffix(m.Text, "\n") {
				t.Errorf("text %q", got)
			}
			if parts["text/html"] != m.HTML.String() {
				t.Errorf("HTML %q", parts["text/html"])
			}
			date, err := header.Date()
			if err != nil || !date.Equal(m.Date) {
				t.Errorf("date %v: %v", date, err)
			}
			if header.Get("Message-ID") != "<"+m.MessageID+">" {
				t.Errorf("Message-ID %q", header.Get("Message-ID"))
			}
			from, err := header.AddressList("From")
			if err != nil || *from[0] != m.From {
				t.Errorf("from %v: %v", from, err)
			}
			if to := header.Get("To"); !strings.HasPrefix(to, "<") || !strings.HasSuffix(to, ">") {
				t.Errorf("to %q", to)
			}
		})
	}
}

// inPieces cuts a text into as many pieces as it has characters.
func inPieces(text string) (list mail.Body) {
	for _, r := range text {
		list = append(list, mail.OwnPart(string(r)))
	}
	return list
}

// A header must say the same address to others as the envelope.
func TestSMTPRecipientHeader(t *testing.T) {
	for _, address := range []string{"ada@example.net", "foo.@docomo.ne.jp", ".foo@docomo.ne.jp", "odd..local@example.com",
		`"odd..local"@example.com`, `"a\"b"@example.com`, `"a"b"@example.com`, `"a\"@example.com`, `a\b@example.com`, "a b@example.com",
		"a@b@example.com", "a,b@example.com", "new.user+tag@example.com", "ünïcode@xn--exmple-cua.com"} {
		m := smtpMessage()
		m.To = address
		header, _ := smtptest.ReadMIME(t, buildMIME(t, m))
		list, err := header.AddressList("To")
		if err != nil || len(list) != 1 || list[0].Name != "" {
			t.Errorf("%q: To %q: %v", address, header.Get("To"), err)
		}
	}
}

func TestSMTPMessageRefusesBreaks(t *testing.T) {
	for name, spoil := range map[string]func(*mail.Message){
		"subject":    func(m *mail.Message) { m.Subject = "a\r\nBcc: eve@example.com" },
		"subject LF": func(m *mail.Message) { m.Subject = "a\nb" },
		"NUL":        func(m *mail.Message) { m.Subject = "a\x00b" },
		"from name":  func(m *mail.Message) { m.From.Name = "a\r\nb" },
		"reply name": func(m *mail.Message) { m.ReplyTo.Name = "a\rb" },
		"message id": func(m *mail.Message) { m.MessageID = "a>\r\nb" },
		"no id":      func(m *mail.Message) { m.MessageID = "" },
		"boundary":   func(m *mail.Message) { m.ID = "a\"b" },
		"header":     func(m *mail.Message) { m.Headers = []mail.Header{{Name: "X-A", Value: "a\nb"}} },
		"name":       func(m *mail.Message) { m.Headers = []mail.Header{{Name: "X A", Value: "a"}} },
		"colon":      func(m *mail.Message) { m.Headers = []mail.Header{{Name: "X:A", Value: "a"}} },
	} {
		m := smtpMessage()
		spoil(m)
		_, failure := new(smtpProvider).envelope(m)
		if failure != nil {
			continue
		}
		if built, err := new(smtpProvider).build(nil, m); err == nil || AsError(err).Kind != Content {
			t.Errorf("%s: %v, built\n%s", name, err, built)
		}
	}
}

// The operator's headers of a provider replace those of every mail.
func TestSMTPCustomHeaders(t *testing.T) {
	m := smtpMessage()
	m.Headers = append(m.Headers, mail.Header{Name: "X-Environment", Value: "staging"})
	header, _ := smtptest.ReadMIME(t, buildMIME(t, m, mail.Header{Name: "x-environment", Value: "production ✓"},
		mail.Header{Name: "X-SMTPAPI", Value: `{"filters":{"clicktrack":{"settings":{"enable":0}}}}`},
		mail.Header{Name: "Resend-Idempotency-Key", Value: "{{type}}/{{id}}"}))
	got, _ := new(mime.WordDecoder).DecodeHeader(header.Get("X-Environment"))
	if len(header["X-Environment"]) != 1 || got != "production ✓" {
		t.Errorf("%q", header["X-Environment"])
	}
	if header.Get("X-Smtpapi") != `{"filters":{"clicktrack":{"settings":{"enable":0}}}}` {
		t.Errorf("%q", header["X-Smtpapi"])
	}
	if got := header.Get("Resend-Idempotency-Key"); got != m.Type+"/"+m.ID {
		t.Errorf("%q", got)
	}
	if header.Get("Auto-Submitted") != "auto-generated" || header.Get("Content-Language") != "en" {
		t.Errorf("%v", header)
	}
}

func FuzzSMTPMessage(f *testing.F) {
	f.Add("Your code", "Acme", "ada@example.net", "Your code is 1.\n.\n", "<p>=</p>\r\n  \n", "x")
	f.Add("код", `A "B"`, "foo.@docomo.ne.jp", "код \r\n", "", "значение")
	f.Add(strings.Repeat("長", 99), "ї", "ü@example.net", strings.Repeat(". ", 200), strings.Repeat("é.", 99), "a b")
	f.Fuzz(func(t *testing.T, subject, name, to, text, html, value string) {
		for _, s := range []string{subject, name, text, html, value} {
			if !utf8.ValidString(s) || len(s) > 5000 {
				return
			}
		}
		m := smtpMessage()
		m.Subject, m.From.Name, m.To, m.Text = subject, name, to, text
		m.HTML = inPieces(html)
		m.Headers = []mail.Header{{Name: "X-Value", Value: value}}
		if _, failure := new(smtpProvider).envelope(m); failure != nil {
			return
		}
		built := buildMIME(t, m)
		header, parts := smtptest.ReadMIME(t, built)
		if got, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject")); err != nil || got != strings.Trim(subject, " ") {
			t.Errorf("subject %q arrives as %q: %v", subject, got, err)
		}
		lines := strings.NewReplacer("\r\n", "\n", "\r", "\n")
		if got := parts["text/plain"]; strings.TrimSuffix(got, "\n") != strings.TrimSuffix(lines.Replace(text), "\n") {
			t.Errorf("text %q arrives as %q", text, got)
		}
		if got := parts["text/html"]; got != lines.Replace(html) {
			t.Errorf("HTML %q arrives as %q", html, got)
		}
	})
}

// The envelope has the address as the server wants it, and none that could break
// out of it.
func TestSMTPEnvelope(t *testing.T) {
	message := smtpMessage()
	message.To = "foo.@docomo.ne.jp"
	fake := (&fakeSMTP{}).start(t)
	if _, err := openSMTP(t, fake.Port()).Send(shortly(t), message); err != nil {
		t.Fatal(err)
	}
	_, commands, mails := fake.Seen()
	if !slices.Contains(commands, `RCPT TO:<"foo."@docomo.ne.jp>`) || !strings.Contains(mails[0], "\nTo: <\"foo.\"@docomo.ne.jp>\n") {
		t.Errorf("%q\n%s", commands, mails[0])
	}
	for _, to := range []string{"a@example.com\r\nRCPT TO:<eve@example.com>", "no-at", "a\r\nDATA@example.com", ""} {
		message := smtpMessage()
		message.To = to
		fake := (&fakeSMTP{}).start(t)
		_, err := openSMTP(t, fake.Port()).Send(shortly(t), message)
		if connections, _, _ := fake.Seen(); asSMTPError(t, err).Kind != Recipient || connections != 0 {
			t.Errorf("%q: %v", to, err)
		}
	}
	for _, test := range []struct {
		change func(*mail.Message)
		kind   Kind
	}{
		{func(m *mail.Message) { m.To = "ünïcode@xn--exmple-cua.com" }, Recipient},
		{func(m *mail.Message) { m.From.Address = "hülfe@acme.example" }, Configuration},
		{func(m *mail.Message) { m.ReplyTo.Address = "hülfe@acme.example" }, Configuration},
	} {
		message := smtpMessage()
		test.change(message)
		_, err := openSMTP(t, (&fakeSMTP{}).start(t).Port()).Send(shortly(t), message)
		if asSMTPError(t, err).Kind != test.kind || strings.Contains(err.Error(), "ü") {
			t.Error(err)
		}
	}
}

// Bounces go where the operator wants them; the mail's sender stays.
func TestSMTPEnvelopeSender(t *testing.T) {
	fake := (&fakeSMTP{}).start(t)
	provider := openSMTP(t, fake.Port(), func(s *SMTPSettings) {
		if err := s.Envelope.From.UnmarshalText([]byte("Bounces <bounces@acme.example>")); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
		t.Fatal(err)
	}
	_, commands, mails := fake.Seen()
	if !slices.Contains(commands, "MAIL FROM:<bounces@acme.example>") || !strings.Contains(mails[0], "<no-reply@acme.example>") ||
		strings.Contains(mails[0], "bounces@") {
		t.Errorf("%q\n%s", commands, mails[0])
	}
}

// A server whose own DNS fails says of every domain that there is none. Of those that exist nobody is
// told to check the address, and the operator hears of it.
func TestSMTPServerWithoutDNS(t *testing.T) {
	for _, text := range []string{
		"450 4.1.2 <ada@gmail.com>: Recipient address rejected: Domain not found", // https://www.postfix.org/postconf.5.html#reject_unknown_recipient_domain
		"450 4.4.4 <ada@gmail.com>: unknown domain",
		"550 Unrouteable address: all relevant MX records point to non-existent hosts",
		"550 Unrouteable address",
		"554 5.1.2 <ada@gmail.com>: Recipient address rejected: Domain not found", // unknown_address_reject_code
		"550 5.1.1 <ada@gmail.com>: Recipient address rejected: undeliverable address: Host or domain name not found. Name service error for name=gmail.com type=MX: Host not found",
		"550 5.1.2 <ada@gmail.com>... Host unknown (Name server: gmail.com: host not found)",
	} {
		fake := (&fakeSMTP{answer: saying(smtp.AtRCPT, text)}).start(t)
		provider := openSMTP(t, fake.Port(), func(s *SMTPSettings) { s.Auth = nil })
		for _, row := range []struct {
			domain string
			known  bool
		}{{"acme.exmaple", false}, {"gmail.com", true}, {"acme.exmaple", true}} { // for a minute of all
			message := smtpMessage()
			message.To = "ada@" + row.domain
			_, err := provider.Send(shortly(t), message)
			failure := asSMTPError(t, err)
			isServers := failure.Kind == Temporary && !failure.AboutAddress && failure.Hint == noNames
			if isServers != row.known || row.known && failure.Momentary != strings.HasPrefix(text, "4") {
				t.Errorf("%s: %s: %+v", row.domain, text, failure)
			}
		}
	}
	p := new(smtpProvider)
	now := time.Now()
	for _, row := range []struct {
		domain  string
		after   time.Duration
		isBlind bool
	}{{"acme.example", 0, false}, {"web.de", 0, true}, {"acme.example", blindTime - 1, true}, {"acme.example", blindTime, false}} {
		if p.isBlind(row.domain, now.Add(row.after)) != row.isBlind {
			t.Errorf("%s after %v: want %v", row.domain, row.after, row.isBlind)
		}
	}
}

// A message that the server is known not to take is not begun. Another server may take
// it, and the log tells both sizes.
func TestSMTPTooLarge(t *testing.T) {
	fake := (&fakeSMTP{extensions: []string{"SIZE 500"}}).start(t)
	m := smtpMessage()
	m.Text = strings.Repeat("A long text.\n", 1000)
	_, err := openSMTP(t, fake.Port()).Send(shortly(t), m)
	_, commands, _ := fake.Seen()
	failure := asSMTPError(t, err).About(PrivateOf(m))
	if failure.Kind != Content || !failure.Filtered || failure.Stage != "MAIL FROM" || len(commands) != 1 ||
		!regexp.MustCompile(`^the message has \d{5} bytes, and the server takes 500$`).MatchString(failure.Detail) {
		t.Errorf("%v %q", failure, commands)
	}
}

// All connections busy is no fault of the server's.
func TestSMTPAllBusy(t *testing.T) {
	fake := (&fakeSMTP{answer: saying(smtp.AtDot, smtptest.Stall)}).start(t)
	provider := openSMTP(t, fake.Port(), func(s *SMTPSettings) { s.MaxConnections = 1 })
	ctx, cancel := context.WithCancel(shortly(t))
	first := make(chan error)
	go func() { _, err := provider.Send(ctx, smtpMessage()); first <- err }()
	eventually(t, "the first is under way", func() bool { _, commands, _ := fake.Seen(); return slices.Contains(commands, "DATA") })
	short, cancelShort := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancelShort()
	_, err := provider.Send(short, smtpMessage())
	if failure := asSMTPError(t, err); failure.Kind != Temporary || !strings.Contains(failure.Hint, "maxConnections") {
		t.Error(err)
	}
	cancel()
	if failure := asSMTPError(t, <-first); failure.Kind != Uncertain || failure.Detail != "the mail was cancelled" {
		t.Error(failure)
	}
	provider.Close()
	_, err = provider.Send(shortly(t), smtpMessage())
	if failure := asSMTPError(t, err); failure.Kind != Temporary || failure.Detail != "the pool is closed" {
		t.Error(failure)
	}
}

// A time-out names the setting that bounds it.
func TestSMTPTimeouts(t *testing.T) {
	timeout := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	for stage, words := range map[smtp.Stage]string{
		smtp.AtConnect: "connectionTimeout", smtp.AtTLS: "connectionTimeout", smtp.AtGreeting: "greetingTimeout",
		smtp.AtEHLO: "socketTimeout", smtp.AtBody: "socketTimeout", smtp.AtDot: "",
	} {
		failure := smtpFailure(&smtp.Error{Stage: stage, Err: timeout})
		if want := stage == smtp.AtDot; (failure.Kind == Uncertain) != want || !strings.Contains(failure.Hint, words) ||
			failure.Detail != "no answer in time" {
			t.Error(failure)
		}
	}
	failure := smtpFailure(&smtp.Error{Stage: smtp.AtConnect, Err: &net.DNSError{Err: "timeout", IsTimeout: true}})
	if failure.Kind != Temporary || !strings.Contains(failure.Hint, "dnsTimeout") {
		t.Error(failure)
	}
	failure = smtpFailure(&smtp.Error{Stage: smtp.AtConnect, Err: smtp.ErrTooLate})
	if failure.Kind != Temporary || failure.Stage != "connect" || !errors.Is(failure, context.DeadlineExceeded) {
		t.Error(failure)
	}
}
