package providers

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"logto-email-relay/settings"
)

// realSMTP is a server of another make.
type realSMTP struct {
	mutex       sync.Mutex
	connections int
	mails       map[string]int // by recipient
	raw         []string
}

type realSMTPSession struct {
	server *realSMTP
	known  bool
	to     string
}

func (r *realSMTP) NewSession(*smtp.Conn) (smtp.Session, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.connections++
	return &realSMTPSession{server: r}, nil
}

func (s *realSMTPSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *realSMTPSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "relay" || password != "pa55-word-of-the-relay" {
			return errors.New("no")
		}
		s.known = true
		return nil
	}), nil
}

func (s *realSMTPSession) Mail(string, *smtp.MailOptions) error {
	if !s.known {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (s *realSMTPSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to == "unknown@example.net" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.to = to
	return nil
}

func (s *realSMTPSession) Data(body io.Reader) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	s.server.mutex.Lock()
	defer s.server.mutex.Unlock()
	s.server.mails[s.to]++
	s.server.raw = append(s.server.raw, string(raw))
	return nil
}

func (s *realSMTPSession) Reset()        { s.to = "" }
func (s *realSMTPSession) Logout() error { return nil }

func startRealSMTP(t *testing.T, authority *testAuthority) (*realSMTP, int) {
	t.Helper()
	backend := &realSMTP{mails: map[string]int{}}
	server := smtp.NewServer(backend)
	server.Domain, server.TLSConfig, server.EnableSMTPUTF8 = "real.example", authority.server, true
	server.MaxMessageBytes = 1 << 20
	server.ErrorLog = log.New(io.Discard, "", 0)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-served })
	return backend, listener.Addr().(*net.TCPAddr).Port
}

// Many mails at a time over few connections, with STARTTLS and a login: each
// arrives once, and the unknown recipients among them disturb nobody.
func TestSMTPManyAtATime(t *testing.T) {
	authority := newTestAuthority(t)
	backend, port := startRealSMTP(t, authority)
	provider := openSMTP(t, port, withLogin, func(s *SMTPSettings) {
		s.TLS.CA = settings.Texts{authority.pem}
		s.RequireTLS = true
		s.MaxConnections = 5
		s.MaxMessages = 0
	})
	const senders, each = 24, 15
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			for i := range each {
				message := smtpMessage()
				message.To = fmt.Sprintf("user-%d-%d@example.net", sender, i)
				unknown := i%5 == 4
				if unknown {
					message.To = "unknown@example.net"
				}
				receipt, err := provider.Send(shortly(t), message)
				if unknown {
					if failure, ok := err.(*Error); !ok || failure.Kind != Recipient {
						t.Errorf("%v", err)
					}
					continue
				}
				if err != nil {
					t.Error(err)
				} else if receipt.ID != message.MessageID {
					t.Errorf("%+v", receipt)
				}
			}
		})
	}
	group.Wait()
	backend.mutex.Lock()
	defer backend.mutex.Unlock()
	if want := senders * each * 4 / 5; len(backend.mails) != want {
		t.Errorf("%d recipients, want %d", len(backend.mails), want)
	}
	for to, times := range backend.mails {
		if times != 1 {
			t.Errorf("%s got %d mails", to, times)
		}
	}
	// EHLO is said twice on each, before and after STARTTLS.
	if backend.connections > 10 {
		t.Errorf("%d sessions for 5 connections", backend.connections)
	}
	for _, raw := range backend.raw {
		readMIME(t, []byte(raw))
	}
}
