package smtp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"logto-email-relay/smtp/smtptest"
)

// otherServer is a server of another make.
type otherServer struct {
	mutex       sync.Mutex
	connections int
	mails       map[string]int // by recipient
	raw         []string
}

type otherServerSession struct {
	server *otherServer
	known  bool
	to     string
}

func (r *otherServer) NewSession(*smtp.Conn) (smtp.Session, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.connections++
	return &otherServerSession{server: r}, nil
}

func (s *otherServerSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *otherServerSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "relay" || password != "pa55-word-of-the-relay" {
			return errors.New("no")
		}
		s.known = true
		return nil
	}), nil
}

func (s *otherServerSession) Mail(string, *smtp.MailOptions) error {
	if !s.known {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (s *otherServerSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to == "unknown@example.net" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.to = to
	return nil
}

func (s *otherServerSession) Data(body io.Reader) error {
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

func (s *otherServerSession) Reset()        { s.to = "" }
func (s *otherServerSession) Logout() error { return nil }

func startOtherServer(t *testing.T, config *tls.Config) (*otherServer, string) {
	t.Helper()
	backend := &otherServer{mails: map[string]int{}}
	server := smtp.NewServer(backend)
	server.Domain, server.TLSConfig, server.EnableSMTPUTF8 = "real.example", config, true
	server.MaxMessageBytes = 1 << 20
	server.ErrorLog = log.New(io.Discard, "", 0)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-served })
	return backend, listener.Addr().String()
}

// Many mails at a time over few connections, with STARTTLS and a login: each
// arrives once, and the unknown recipients among them disturb nobody.
func TestManyAtATime(t *testing.T) {
	config, client := testCertificate(t)
	backend, address := startOtherServer(t, config)
	dialer := Dialer{Network: "tcp", Address: address}
	pool := testPool(t, new(fakeServer).prepare(t), withLogin, func(c *Config) {
		c.Dial, c.TLS, c.TLSMode, c.ClearTextLogin = dialer.Dial, client, TLSRequired, false
		c.MaxConnections, c.MaxMessages = 5, -1
	})
	const senders, each = 24, 15
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			for i := range each {
				message := testMessage()
				message.To = fmt.Sprintf("user-%d-%d@example.net", sender, i)
				unknown := (sender+i)%5 == 4 // not all at the same time
				if unknown {
					message.To = "unknown@example.net"
				}
				_, err := send(t, pool, message)
				if unknown {
					if e, ok := err.(*Error); !ok || e.Stage != AtRCPT || e.Reply.Enhanced != "5.1.1" {
						t.Errorf("%v", err)
					}
					continue
				}
				if err != nil {
					t.Error(err)
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
	// EHLO is said twice on each, before and after STARTTLS. Refusals in a row end one now and then.
	if backend.connections > 24 {
		t.Errorf("%d sessions for 5 connections", backend.connections)
	}
	for _, raw := range backend.raw {
		smtptest.ReadMIME(t, []byte(raw))
	}
}
