package e2e_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"

	"logto-email-relay/templates"
)

// sink is an SMTP server that keeps what it gets, byte for byte.
type sink struct {
	listener net.Listener
	mu       sync.Mutex
	messages [][]byte
}

func startSink(t testing.TB) *sink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{listener: listener}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return sinkSession{s}, nil }))
	server.Domain = "sink.example"
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close() // which the server does not know yet if the test ended at once
		if err := <-served; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

func (s *sink) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// take returns what has come since the last time.
func (s *sink) take() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.messages
	s.messages = nil
	return taken
}

type sinkSession struct{ sink *sink }

func (sinkSession) Mail(string, *smtp.MailOptions) error { return nil }
func (sinkSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (sinkSession) Reset()                               {}
func (sinkSession) Logout() error                        { return nil }

func (c sinkSession) Data(r io.Reader) error {
	message, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	c.sink.messages = append(c.sink.messages, message)
	return nil
}

// arrived is one mail as its recipient gets it.
type arrived struct {
	kind, locale string
	payload      map[string]any
	raw          []byte
}

func (a arrived) String() string { return a.kind + " " + a.locale }

// branded is a route that has everything that mails can show.
const branded = `{%s "sender": {"from": "Acme Söhne <no-reply@acme.example>", "replyTo": "Help <help@acme.example>"},
	"branding": {"senderName": "%s", "companyInformation": "%s", "appLogo": "https://cdn.acme.example/logo.png", "support": "info@acme.example"}}`

// sendAllTypes sends every message type in some languages through the real
// binary, signed and with everything that an operator may have in a mail.
func sendAllTypes(t testing.TB, locales ...string) []arrived {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	server := startSink(t)
	relay := startRelayWith(t,
		fmt.Sprintf(`[{"type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true,
			"dkim": {"domain": "acme.example", "selector": "test", "privateKey": %q}}]`,
			server.port(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		fmt.Sprintf(`"routes": [%s, %s]`,
			// English names in a Russian mail are not what people send, and spam
			// filters know.
			fmt.Sprintf(branded, `"locales": ["ru", "uk"],`, "Акме", "ООО «Акме», Москва"),
			fmt.Sprintf(branded, "", "Acme", "Acme Inc., 1 Main Street, Springfield")))
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	var all []arrived
	for _, locale := range locales {
		for _, kind := range catalogue.Types() {
			payload := templates.Sample(kind, locale)
			if kind == "OrganizationInvitation" && (locale == "ru" || locale == "uk-UA") {
				payload["link"] = "https://app.example.com/join/4821"
				payload["organization"] = map[string]any{"id": "o1", "name": "Гребной клуб «Волна»"}
				payload["inviter"] = map[string]any{"name": "Анна Орлова", "primaryEmail": "anna@example.com"}
			}
			body, err := json.Marshal(map[string]any{"to": "ada@example.org", "type": kind, "payload": payload})
			if err != nil {
				t.Fatal(err)
			}
			if got := post(t, relay.webhook(), "application/json", authorization, bytes.NewReader(body)); got.status != 200 {
				t.Fatalf("%s %s: %d %s", kind, locale, got.status, got.body)
			}
			messages := server.take()
			if len(messages) != 1 {
				t.Fatalf("%s %s: %d messages arrived", kind, locale, len(messages))
			}
			all = append(all, arrived{kind, locale, payload, messages[0]})
		}
	}
	return all
}
