package smtp

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
)

// How a connection is encrypted, and what a pooled one keeps to under TLS.
func TestTLS(t *testing.T) {
	server, client := testCertificate(t)
	starttls := []string{"PIPELINING", "STARTTLS"}
	for _, test := range []struct {
		name       string
		extensions []string
		mode       TLSMode
		server     *tls.Config
		secure     bool
	}{
		{"offered", starttls, TLSOffered, server, true},
		{"offered in lower case", []string{"pipelining", "starttls"}, TLSOffered, server, true},
		{"not offered", []string{"PIPELINING"}, TLSOffered, server, false},
		{"off", starttls, TLSOff, server, false},
		{"required", starttls, TLSRequired, server, true},
		{"implicit", []string{"PIPELINING"}, TLSImplicit, server, true},
		{"TLS 1.2", starttls, TLSRequired, &tls.Config{Certificates: server.Certificates, MaxVersion: tls.VersionTLS12}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := client.Clone()
			client.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			fake := (&fakeServer{extensions: test.extensions, implicit: test.mode == TLSImplicit, tls: test.server}).start(t)
			pool := testPool(t, fake, func(c *Config) { c.TLS, c.TLSMode = client, test.mode })
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Fatal(err)
			}
			session := idleSession(t, pool)
			if session.secure != test.secure {
				t.Errorf("encrypted: %v", session.secure)
			}
			// Warm and alive under TLS too, session tickets and all.
			for range 3 {
				if !session.isQuiet() {
					t.Error("a live connection looks dead")
				}
				if _, err := send(t, pool, testMessage()); err != nil {
					t.Error(err)
				}
			}
			if connections := fakeConnections(fake); connections != 1 {
				t.Errorf("%d connections", connections)
			}
			fake.HangUp()
			eventually(t, "the end is noticed", func() bool { return !session.isQuiet() })
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Error(err)
			}
			if session := idleSession(t, pool); test.secure && !session.wire.(*tls.Conn).ConnectionState().DidResume {
				t.Error("the TLS session was not resumed")
			}
		})
	}
}

func TestTLSFailures(t *testing.T) {
	server, client := testCertificate(t)
	introduced := 0
	stranger := client.Clone()
	stranger.RootCAs = nil
	for _, test := range []struct {
		name   string
		fake   *fakeServer
		mode   TLSMode
		client *tls.Config
		stage  Stage
		is     error
	}{
		{"not offered", &fakeServer{extensions: []string{"AUTH PLAIN"}}, TLSRequired, client, AtSTARTTLS, ErrNoTLS},
		{"unknown authority", &fakeServer{extensions: []string{"STARTTLS"}, tls: server}, TLSOffered, stranger, AtTLS, nil},
		{"refused", &fakeServer{extensions: []string{"STARTTLS"}, answer: func(at Stage, _, _ int) string {
			if at == AtSTARTTLS {
				return "454 4.7.0 TLS not available"
			}
			return ""
		}}, TLSOffered, client, AtSTARTTLS, nil},
		// What somebody in between puts behind the consent must not count inside TLS.
		{"injected", &fakeServer{extensions: []string{"STARTTLS"}, answer: func(at Stage, _, _ int) string {
			if at == AtSTARTTLS {
				return "220 go ahead\r\n250 AUTH PLAIN"
			}
			return ""
		}}, TLSOffered, client, AtSTARTTLS, errUnasked},
		// What was offered in clear text may be somebody's else.
		{"offered in clear text alone", &fakeServer{extensions: []string{"STARTTLS", "AUTH PLAIN"}, tls: server, answer: func(at Stage, _, _ int) string {
			if at == AtEHLO {
				if introduced++; introduced == 2 {
					return "250 fake.example"
				}
			}
			return ""
		}}, TLSOffered, client, AtAUTH, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := test.fake.start(t)
			_, err := send(t, testPool(t, fake, withLogin, func(c *Config) { c.TLS, c.TLSMode = test.client, test.mode }), testMessage())
			if e := failed(t, err); e.Stage != test.stage || test.is != nil && !errors.Is(err, test.is) {
				t.Error(err)
			}
			if _, commands, mails := fake.Seen(); len(mails) != 0 || countCommands(commands, "AUTH") != 0 {
				t.Errorf("%q", commands)
			}
		})
	}
}

// bothAtOnce hands over only whole pairs of writes, so that two records arrive
// together.
type bothAtOnce struct {
	net.Conn
	held []byte
	hold bool
}

func (c *bothAtOnce) Write(b []byte) (int, error) {
	if c.held = append(c.held, b...); c.hold {
		return len(b), nil
	}
	_, err := c.Conn.Write(c.held)
	c.held = nil
	return len(b), err
}

// A reply that TLS has read ahead together with the one before is seen too.
func TestTLSReadAhead(t *testing.T) {
	server, client := testCertificate(t)
	for _, more := range []bool{false, true} {
		near, far := net.Pipe()
		defer near.Close()
		go func() {
			wire := &bothAtOnce{Conn: far}
			conn := tls.Server(wire, server)
			_ = conn.Handshake()
			wire.hold = more
			_, _ = io.WriteString(conn, "354 go ahead\r\n")
			wire.hold = false
			if more {
				_, _ = io.WriteString(conn, "250 Ok\r\n")
			}
		}()
		s := &session{config: &Config{TLS: client}, conn: &boundedConn{Conn: near}, socketIsQuiet: func() bool { return true }}
		if e := s.handshake(t.Context(), 0); e != nil {
			t.Fatal(e)
		}
		if code, _, err := s.in.read(); code != 354 || err != nil {
			t.Fatal(code, err)
		}
		if s.isQuiet() == more {
			t.Errorf("quiet although a 250 has come: %v", more)
		}
	}
}
