package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"logto-email-relay/smtp/smtptest"
)

// fakeServer is a scripted server whose script speaks of stages.
type fakeServer struct {
	extensions      []string
	tls             *tls.Config
	implicit, nagle bool
	answer          func(stage Stage, connection, mail int) string
	converse        func(command string, ask func(challenge string) string) string

	smtptest.Server
}

// start makes the server listen on a real socket.
func (f *fakeServer) start(t testing.TB) *fakeServer {
	t.Helper()
	f.script()
	f.Start(t)
	return f
}

// prepare readies a server without a network.
func (f *fakeServer) prepare(t testing.TB) *fakeServer {
	f.script()
	f.Prepare(t)
	return f
}

func (f *fakeServer) script() {
	f.Extensions, f.TLS, f.Implicit, f.Nagle, f.Converse = f.extensions, f.tls, f.implicit, f.nagle, f.converse
	f.Answer = func(name string, connection, mail int) string {
		if f.answer == nil {
			return ""
		}
		return f.answer(stageOf(name), connection, mail)
	}
}

// stageOf finds a stage by its name; 0 if there is none.
func stageOf(name string) Stage {
	for stage, known := range stageNames {
		if known == name {
			return stage
		}
	}
	return 0
}

// dial connects to the server: without a network, which lets time be fake, if it
// does not listen.
func (f *fakeServer) dial(ctx context.Context) (net.Conn, error) {
	if f.Listens() {
		return (&Dialer{Network: "tcp", Address: f.Addr().String()}).Dial(ctx)
	}
	client, server := net.Pipe()
	f.Take(server)
	return client, nil
}

// testPool makes a pool for the server, with changes to its configuration.
func testPool(t testing.TB, fake *fakeServer, change ...func(*Config)) *Pool {
	t.Helper()
	config := Config{Name: "relay.example", Dial: fake.dial, ClearTextLogin: true, MaxConnections: 50, MaxMessages: 1000,
		TLSTimeout: 4 * time.Second, GreetingTimeout: 5 * time.Second, ReplyTimeout: 4 * time.Second}
	for _, c := range change {
		c(&config)
	}
	pool := NewPool(config)
	t.Cleanup(pool.Close)
	return pool
}

// idleConnections is how many wait for a message.
func idleConnections(p *Pool) int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return len(p.idle)
}

// atRest tells whether no place is taken or held.
func atRest(p *Pool) bool {
	all := int64(p.config.MaxConnections)
	if !p.places.TryAcquire(all) {
		return false
	}
	p.places.Release(all)
	return true
}

func withLogin(c *Config) { c.Login = &Login{User: "relay", Password: "pa55-word-of-the-relay"} }

// testCertificate returns what a server at 127.0.0.1 and its client need for TLS.
func testCertificate(t testing.TB) (server, client *tls.Config) {
	s := httptest.NewTLSServer(nil)
	s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates},
		&tls.Config{RootCAs: roots, ServerName: "127.0.0.1", ClientSessionCache: tls.NewLRUClientSessionCache(0)}
}

// send hands a message over within a time that only a hang exceeds.
func send(t testing.TB, pool *Pool, m *Message) (Reply, error) {
	t.Helper()
	return sendWithin(shortly(t), pool, m)
}

// sendAtOnce hands so many messages over at the same time, which all have to be accepted.
func sendAtOnce(t testing.TB, pool *Pool, mails int) {
	t.Helper()
	var group sync.WaitGroup
	for range mails {
		group.Go(func() {
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func sendWithin(ctx context.Context, pool *Pool, m *Message) (Reply, error) {
	return pool.Send(ctx, Envelope{From: m.From.Address, To: m.To, UTF8Header: !isASCII(m.ReplyTo.Address)}, m.AppendTo)
}

// failed asks for what every failed send promises.
func failed(t testing.TB, err error) *Error {
	t.Helper()
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("not an *Error: %v", err)
	}
	return e
}

// isTemporary tells whether a message that got no verdict may be sent again.
func isTemporary(e *Error) bool { return e.Reply.Code == 0 && e.Stage != AtDot }

// isUncertain tells whether a server may have the message.
func isUncertain(e *Error) bool { return e.Stage == AtDot && e.Reply.Code < 400 }

// testText is a body as simple as can be.
type testText string

func (text testText) lines() string { return strings.ReplaceAll(string(text), "\r\n", "\n") }

func (text testText) QuotedLen() int { return len(text.AppendQuoted(nil)) }
func (text testText) Base64Len() int { return len(text.AppendBase64(nil)) }

func (text testText) AppendQuoted(b []byte) []byte {
	lines, used := text.lines(), 0
	for i := range len(lines) {
		c := lines[i]
		if c == '\n' {
			b, used = append(b, "\r\n"...), 0
			continue
		}
		if used > 72 {
			b, used = append(b, "=\r\n"...), 0
		}
		if c > ' ' && c <= '~' && c != '=' && c != '.' || c == ' ' && i+1 < len(lines) && lines[i+1] != '\n' {
			b, used = append(b, c), used+1
		} else {
			b, used = fmt.Appendf(b, "=%02X", c), used+3
		}
	}
	return b
}

func (text testText) AppendBase64(b []byte) []byte {
	encoded := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(text.lines(), "\n", "\r\n")))
	for line := range slices.Chunk([]byte(encoded), 76) {
		b = append(append(b, line...), "\r\n"...)
	}
	return b
}

func testMessage() *Message {
	return &Message{
		From:     Mailbox{"Acme", "no-reply@acme.example"},
		ReplyTo:  Mailbox{Address: "help@acme.example"},
		To:       "ada@example.net",
		Subject:  "Your sign-in code",
		Date:     time.Date(2026, 11, 20, 9, 30, 15, 0, time.FixedZone("", 3600)),
		ID:       "01jx2n8c5v7q0w3e4r5t6y7u8i@acme.example",
		Boundary: "01jx2n8c5v7q0w3e4r5t6y7u8i",
		Headers:  []Header{{"Auto-Submitted", "auto-generated"}, {"Content-Language", "en"}},
		Text:     testText("Your code is 482913.\n\nIt is valid for 10 minutes.\n"),
		HTML:     testText("<!DOCTYPE html>\n<html lang=\"en\"><body>\n<p>Your code is <strong>482913</strong>.</p>\n</body></html>\n"),
	}
}

// bulkyMessage is larger than the buffers of two sockets.
func bulkyMessage() *Message {
	m := testMessage()
	m.HTML = testText(strings.Repeat("This paragraph is one of many and they all are the same\n", 100_000))
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
