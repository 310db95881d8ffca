package providers

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
	"logto-email-relay/smtp"
	"logto-email-relay/smtp/smtptest"
)

// fakeSMTP is a scripted server whose script speaks of stages.
type fakeSMTP struct {
	extensions []string
	tls        *tls.Config
	implicit   bool
	answer     func(stage smtp.Stage, connection, mail int) string
	converse   func(command string, ask func(challenge string) string) string

	smtptest.Server
}

// saying is the script of a server that says this at one stage, and what is usual at all others.
func saying(at smtp.Stage, reply string) func(stage smtp.Stage, _, _ int) string {
	return func(stage smtp.Stage, _, _ int) string {
		if stage == at {
			return reply
		}
		return ""
	}
}

// start makes the server listen on a real socket.
func (f *fakeSMTP) start(t testing.TB) *fakeSMTP {
	t.Helper()
	return f.serveOn(t, listen(t))
}

func (f *fakeSMTP) serveOn(t testing.TB, listener net.Listener) *fakeSMTP {
	f.Extensions, f.TLS, f.Implicit, f.Converse = f.extensions, f.tls, f.implicit, f.converse
	f.Answer = func(name string, connection, mail int) string {
		if f.answer == nil {
			return ""
		}
		return f.answer(stageOf(name), connection, mail)
	}
	f.Serve(t, listener)
	return f
}

// stageOf finds a stage by its name; 0 if there is none.
func stageOf(name string) smtp.Stage {
	for stage := smtp.AtConnect; stage <= smtp.AtDot; stage <<= 1 {
		if stage.String() == name {
			return stage
		}
	}
	return 0
}

// openSMTP opens a provider for the server, with changes to its settings.
func openSMTP(t testing.TB, port int, change ...func(*SMTPSettings)) *smtpProvider {
	t.Helper()
	s := newSMTPSettings()
	s.Type, s.Host, s.Port = "smtp", "127.0.0.1", port
	for _, c := range change {
		c(s)
	}
	if problems := s.Check(); len(problems) > 0 {
		t.Fatalf("settings: %v", problems)
	}
	provider, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.(io.Closer).Close() })
	return provider.(*smtpProvider)
}

func withLogin(s *SMTPSettings) {
	s.Auth = &SMTPAuth{User: "relay", Pass: settings.NewSecret("pa55-word-of-the-relay")}
}

// smtpMessage is a mail as the relay makes them.
func smtpMessage() *mail.Message {
	return &mail.Message{
		ID:        "01jx2n8c5v7q0w3e4r5t6y7u8i",
		MessageID: "01jx2n8c5v7q0w3e4r5t6y7u8i@acme.example",
		Date:      time.Date(2026, 11, 20, 9, 30, 15, 0, time.FixedZone("", 3600)),
		From:      mail.Address{Name: "Acme", Address: "no-reply@acme.example"},
		ReplyTo:   mail.Address{Address: "help@acme.example"},
		To:        "ada@example.net",
		Subject:   "Your sign-in code",
		Text:      "Your code is 482913.\n\nIt is valid for 10 minutes.\n",
		HTML:      mail.Body{mail.OwnPart("<!DOCTYPE html>\n<html lang=\"en\"><body>\n<p>Your code is <strong>"), mail.OwnPart("482913"), mail.OwnPart("</strong>.</p>\n</body></html>\n")},
		Locale:    "en",
		Type:      "SignIn",
		Headers: []mail.Header{
			{Name: "Auto-Submitted", Value: "auto-generated"},
			{Name: "Content-Language", Value: "en"},
		},
	}
}

// bulkyMessage is larger than the buffers of two sockets.
func bulkyMessage() *mail.Message {
	m := smtpMessage()
	m.HTML = mail.Body{mail.OwnPart(strings.Repeat("<p>This paragraph is one of many, and they all are the same.</p>\n", 100_000))}
	return m
}

// shortly is a context that fails a test which would otherwise hang.
func shortly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}
