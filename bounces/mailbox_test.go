package bounces

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logto-email-relay/bounces/dovecottest"
)

func mailboxOf(s *dovecottest.Server) *Mailbox {
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(s.CA)
	m := &Mailbox{TLS: &tls.Config{RootCAs: authorities, ServerName: "localhost"}, User: dovecottest.User, Password: dovecottest.Password,
		Name: "INBOX", Poll: 50 * time.Millisecond}
	m.Dial = func(ctx context.Context) (net.Conn, error) {
		port := s.Port
		if m.STARTTLS {
			port = s.StartPort
		}
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	return m
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// reader is who takes the mails of a mailbox that is watched.
type reader struct {
	mu     sync.Mutex
	mails  []string
	errors []error
	refuse atomic.Bool
}

// watched begins to watch a mailbox, until the end of the test.
func watched(t *testing.T, m *Mailbox) *reader {
	t.Helper()
	r := new(reader)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Watch(ctx, r.take, r.told)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Error("the watch does not end")
		}
	})
	return r
}

func (r *reader) take(_ context.Context, mail []byte) (Verdict, error) {
	if r.refuse.Load() {
		return Ignored, errors.New("the record is away")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mails = append(r.mails, string(mail))
	if Parse(mail) == nil {
		return Ignored, nil
	}
	if strings.Contains(string(mail), "X-Early: yes") && len(r.mails) == 1 {
		return Unknown, nil
	}
	return Taken, nil
}

func (r *reader) told(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, err)
}

// taken is how many mails were handed over.
func (r *reader) taken() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mails)
}

// last is what was told last.
func (r *reader) last() (told bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errors) == 0 {
		return false, nil
	}
	return true, r.errors[len(r.errors)-1]
}

func (r *reader) isWell() bool {
	told, err := r.last()
	return told && err == nil
}

// Reports are marked, moved or deleted, and nothing else is touched.
func TestMailbox(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set                func(*Mailbox)
		conf               string
		unseen, seen, done int
	}{
		"seen":      {func(*Mailbox) {}, "", 1, 2, 0},
		"moved":     {func(m *Mailbox) { m.MoveTo = "Done" }, "", 1, 0, 2},
		"deleted":   {func(m *Mailbox) { m.Delete = true }, "", 1, 0, 0},
		"STARTTLS":  {func(m *Mailbox) { m.STARTTLS = true }, "", 1, 2, 0},
		"no IDLE":   {func(*Mailbox) {}, "imap_capability = IMAP4rev1 UIDPLUS", 1, 2, 0},
		"IMAP only": {func(m *Mailbox) { m.MoveTo = "Done" }, "imap_capability = IMAP4rev1", 1, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := dovecottest.Start(t, c.conf)
			m := mailboxOf(server)
			c.set(m)
			server.Deliver(sample(t, "postfix-unknown"))
			r := watched(t, m)
			eventually(t, "the report that was there", func() bool { return r.taken() == 1 })
			eventually(t, "all is well", r.isWell)
			server.Deliver(sample(t, "no-answer"))
			eventually(t, "the answer", func() bool { return r.taken() == 2 })
			server.Deliver(sample(t, "qmail"))
			eventually(t, "the report that comes", func() bool { return r.taken() == 3 })
			eventually(t, "its mark", func() bool {
				unseen, seen, done := server.Count()
				return unseen == c.unseen && seen == c.seen && done == c.done
			})
		})
	}
}

// A server that restarts is found again, and so is a record that was away.
func TestMailboxAfterTrouble(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t)
	r := watched(t, mailboxOf(server))
	eventually(t, "all is well", r.isWell)
	server.Stop()
	eventually(t, "the trouble is told", func() bool { return !r.isWell() })
	server.Deliver(sample(t, "qmail"))
	server.Begin()
	eventually(t, "the report", func() bool { return r.taken() == 1 })
	eventually(t, "all is well", r.isWell)

	r.refuse.Store(true)
	server.Deliver(sample(t, "exim"))
	eventually(t, "the trouble is told", func() bool { return !r.isWell() })
	r.refuse.Store(false)
	eventually(t, "the report", func() bool { return r.taken() == 2 })
	eventually(t, "its mark", func() bool { _, seen, _ := server.Count(); return seen == 2 })
}

// A report that is quicker than the record is looked at again; others are not.
func TestMailboxLooksAgain(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t)
	server.Deliver(append([]byte("X-Early: yes\r\n"), sample(t, "qmail")...))
	r := watched(t, mailboxOf(server))
	eventually(t, "it is handed over again", func() bool { return r.taken() == 2 })
	eventually(t, "its mark", func() bool { _, seen, _ := server.Count(); return seen == 1 })
}

// What is wrong is told by its stage, and never with a secret in it.
func TestMailboxThatCannotBeRead(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t)
	for stage, set := range map[string]func(*Mailbox){
		"connect": func(m *Mailbox) {
			m.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("no way") }
		},
		"TLS":      func(m *Mailbox) { m.TLS = &tls.Config{ServerName: "localhost"} },
		"login":    func(m *Mailbox) { m.Password = "never-print-this-other-password" },
		"mailbox":  func(m *Mailbox) { m.Name = "Missing" },
		"mailbox ": func(m *Mailbox) { m.MoveTo = "Missing" },
		"login ": func(m *Mailbox) {
			m.Token = func(context.Context) (string, error) { return "", errors.New("no token") }
		},
		"login  ": func(m *Mailbox) {
			m.Token = func(context.Context) (string, error) { return "never-print-this-old-token", nil }
		},
	} {
		t.Run(stage, func(t *testing.T) {
			m := mailboxOf(server)
			set(m)
			var failed *Error
			if err := m.Check(context.Background()); !errors.As(err, &failed) || failed.Stage != strings.TrimSpace(stage) {
				t.Fatal(err)
			}
			if strings.Contains(failed.Error(), "never-print") {
				t.Error(failed)
			}
		})
	}
	if err := mailboxOf(server).Check(context.Background()); err != nil {
		t.Error(err)
	}
}

// Microsoft and Google let programs in by a token alone.
func TestMailboxIsOpenedByAToken(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t)
	m := mailboxOf(server)
	m.Password = ""
	m.Token = func(context.Context) (string, error) { return dovecottest.Token, nil }
	r := watched(t, m)
	server.Deliver([]byte("Subject: hello\r\n\r\nhello\r\n"))
	eventually(t, "the mail", func() bool { return r.taken() == 1 })
	if told, err := r.last(); !told || err != nil {
		t.Error(told, err)
	}
}

// A server that says nothing does not keep anybody for ever.
func TestMailboxEndsWithItsContext(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	m := &Mailbox{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", silent.Addr().String())
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := m.Check(ctx); err == nil {
		t.Error("it was read")
	}
}
