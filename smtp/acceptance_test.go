package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/smtp/smtptest"
)

// What a server says before the final dot was written accepts nothing, and neither
// does anything but 250, 251 and 252 after it.
func TestEarlyAcceptance(t *testing.T) {
	server, client := testCertificate(t)
	for name, early := range map[string]string{
		"a 250 together with the 354": "354 go ahead\r\n250 2.0.0 Ok: queued as EARLY",
		"half a line":                 "354 go ahead\r\n25",
		"a second 354":                "354 go ahead\r\n354 go ahead",
		"a refusal":                   "354 go ahead\r\n550 5.7.1 no",
	} {
		for _, extensions := range [][]string{{"PIPELINING"}, {}} {
			for _, secure := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " ", extensions, " ", secure), func(t *testing.T) {
					fake := (&fakeServer{extensions: extensions, tls: server, implicit: secure, answer: func(at Stage, _, _ int) string {
						if at == AtDATA {
							return early
						}
						return ""
					}}).start(t)
					pool := testPool(t, fake, func(c *Config) {
						if c.TLS, c.TLSMode = client, TLSOff; secure {
							c.TLSMode = TLSImplicit
						}
					})
					reply, err := send(t, pool, testMessage())
					if err == nil {
						t.Fatalf("accepted: %v", reply)
					}
					if e := failed(t, err); !isTemporary(e) || e.Stage != AtBody || !errors.Is(err, errUnasked) {
						t.Error(err)
					}
					eventually(t, "the connection is closed", func() bool { return fake.OpenConnections() == 0 })
					if connections, _, mails := fake.Seen(); connections != 1 || len(mails) != 0 {
						t.Errorf("%d connections, %q", connections, mails)
					}
				})
			}
		}
	}
}

// A server that leaves behind its 354 has not spoken.
func TestTheServerLeavesBehindIts354(t *testing.T) {
	fake := (&fakeServer{answer: func(at Stage, _, _ int) string {
		if at == AtDATA {
			return "354 go ahead\r\n" + smtptest.EOF
		}
		return ""
	}}).start(t)
	pool := testPool(t, fake, func(c *Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context) (net.Conn, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return slowReader{conn.(*net.TCPConn), func() {
				eventually(t, "the server has left", func() bool { return fake.OpenConnections() == 0 })
			}}, nil
		}
	})
	_, err := send(t, pool, testMessage())
	if e := failed(t, err); e.Stage != AtBody || !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// slowReader tells of a 354 later.
type slowReader struct {
	*net.TCPConn
	wait func()
}

func (r slowReader) Read(b []byte) (int, error) {
	n, err := r.TCPConn.Read(b)
	if strings.Contains(string(b[:n]), "354") {
		r.wait()
	}
	return n, err
}

// The same, where the 250 follows in a packet of its own: while it is on its way for
// a small message, and while a large one is being written.
func TestEarlyAcceptanceLater(t *testing.T) {
	for name, message := range map[string]*Message{"small": testMessage(), "large": bulkyMessage()} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			said := make(chan struct{})
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				replies := strings.Split("220 hi,250-hi\r\n250 PIPELINING,250 1\r\n250 2\r\n354 go", ",")
				for i, reply := range replies {
					if i > 0 {
						_, _ = conn.Read(make([]byte, 4096))
					}
					_, _ = io.WriteString(conn, reply+"\r\n")
				}
				if name == "large" { // it has been begun, and cannot end before it is read
					_, _ = io.ReadFull(conn, make([]byte, 4096))
				}
				_, _ = io.WriteString(conn, "250 2.0.0 Ok: queued as EARLY\r\n")
				close(said)
				_, _ = io.Copy(io.Discard, conn)
			}()
			dialer := Dialer{Network: "tcp", Address: listener.Addr().String()}
			pool := testPool(t, new(fakeServer).prepare(t), func(c *Config) {
				c.Dial = func(ctx context.Context) (net.Conn, error) {
					conn, err := dialer.Dial(ctx)
					if err != nil || name == "large" {
						return conn, err
					}
					return &patientConn{TCPConn: conn.(*net.TCPConn), until: said}, nil
				}
			})
			reply, err := send(t, pool, message)
			if err == nil {
				t.Fatalf("accepted: %v", reply)
			}
			if e := failed(t, err); !isTemporary(e) || e.Stage != AtBody {
				t.Error(err)
			}
		})
	}
}

// patientConn returns what it has read of a 354 only after something was said.
type patientConn struct {
	*net.TCPConn
	until chan struct{}
}

func (c *patientConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if strings.Contains(string(b[:n]), "354 ") {
		<-c.until
	}
	return n, err
}

func TestVerdicts(t *testing.T) {
	for reply, want := range map[string]string{
		"250 2.0.0 Ok": "", "250 ": "", "251 will forward": "", "252 will try": "",
		"200 Ok": "uncertain", "214 help": "uncertain", "220 hello again": "uncertain", "221 bye": "uncertain", "235 welcome": "uncertain",
		"253 Ok": "uncertain", "354 go ahead": "uncertain", "400 later": "refused", "421 4.3.2 shutting down": "refused", "451 4.3.0 later": "refused", "550 no": "refused",
	} {
		for _, warm := range []bool{false, true} {
			fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, _, mail int) string {
				if at == AtDot && (mail == 2 || !warm) {
					return reply
				}
				return ""
			}}).start(t)
			pool := testPool(t, fake)
			if warm {
				if _, err := send(t, pool, testMessage()); err != nil {
					t.Fatal(err)
				}
			}
			_, err := send(t, pool, testMessage())
			got := ""
			if err != nil {
				if got = "refused"; isUncertain(failed(t, err)) {
					got = "uncertain"
				}
				if e := failed(t, err); e.Stage != AtDot || e.Reply.String() != reply {
					t.Errorf("%q: %v", reply, err)
				}
			}
			if connections, _, _ := fake.Seen(); got != want || connections != 1 {
				t.Errorf("%q: %s, want %s, over %d connections", reply, got, want, connections)
			}
			if kept := pool.connections.Load() == 1; kept != (err == nil || reply[0] >= '4' && reply[:3] != "421") {
				t.Errorf("%q: connection kept: %v", reply, kept)
			}
		}
	}
}

// The verdict on a recipient does not wait for DATA's reply. The connection is used
// again once that has come, and not before.
func TestRefusedRecipientIsKnownAtOnce(t *testing.T) {
	for last, kept := range map[string]bool{"554 5.5.1 no valid recipients": true, "354 go ahead": false, "421 4.7.0 too many errors": false, smtptest.EOF: false} {
		t.Run(last, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, _, mail int) string {
					switch {
					case mail > 1:
					case at == AtRCPT:
						return "550 5.1.1 no such user"
					case at == AtDATA:
						time.Sleep(time.Second) // as Postfix does after some errors; it is asked for twice
						return last
					}
					return ""
				}}).prepare(t)
				pool := testPool(t, fake, func(c *Config) { c.MaxConnections = 1 })
				started := time.Now()
				_, err := send(t, pool, testMessage())
				if e := failed(t, err); e.Stage != AtRCPT || e.Reply.Enhanced != "5.1.1" || time.Since(started) != 0 {
					t.Errorf("%v after %v", err, time.Since(started))
				}
				time.Sleep(4 * time.Second)
				synctest.Wait()
				if idle := idleConnections(pool); !atRest(pool) || idle == 1 != kept {
					t.Errorf("%d connections are kept, all at rest: %v", idle, atRest(pool))
				}
				if open := fake.OpenConnections() == 1; open != kept {
					t.Errorf("open: %v", open)
				}
				if _, _, mails := fake.Seen(); len(mails) != 0 {
					t.Errorf("delivered %q", mails)
				}
			})
		})
	}
	t.Run("never", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, _, _ int) string {
				switch at {
				case AtRCPT:
					return "550 5.1.1 no such user"
				case AtDATA:
					return smtptest.Stall
				}
				return ""
			}}).prepare(t)
			pool := testPool(t, fake)
			if _, err := send(t, pool, testMessage()); failed(t, err).Stage != AtRCPT {
				t.Error(err)
			}
			started := time.Now()
			pool.Close() // does not wait for it
			if time.Since(started) != 0 || fake.OpenConnections() != 0 {
				synctest.Wait()
				if time.Since(started) != 0 || fake.OpenConnections() != 0 {
					t.Errorf("closed after %v, %d connections", time.Since(started), fake.OpenConnections())
				}
			}
		})
	})
}

// What a server offers counts in any letter case, down to the wire.
func TestExtensionsInLowerCase(t *testing.T) {
	fake := (&fakeServer{extensions: []string{"pipelining", "size 1000000", "smtputf8", "auth=login plain"}, converse: plainServer}).start(t)
	message := testMessage()
	message.To = "ünïcode@xn--exmple-cua.com"
	pool := testPool(t, fake, withLogin)
	if _, err := send(t, pool, message); err != nil {
		t.Fatal(err)
	}
	before := fake.Flights()
	if _, err := send(t, pool, message); err != nil || fake.Flights()-before != 2 {
		t.Errorf("%v, %d flights", err, fake.Flights()-before)
	}
	if _, commands, _ := fake.Seen(); countCommands(commands, "AUTH PLAIN") != 1 ||
		countCommands(commands, "MAIL FROM:<no-reply@acme.example> SIZE=") != 2 || !strings.HasSuffix(commands[len(commands)-3], " SMTPUTF8") {
		t.Errorf("%q", commands)
	}
}

// A server from before EHLO is spoken to in HELO; one that refuses us is not.
func TestHELO(t *testing.T) {
	for refusal, works := range map[string]bool{"500 what?": true, "502 5.5.1 not implemented": true, "504 5.5.1 not implemented": true, "505 5.7.0 no": false, "550 5.7.1 go away": false, "421 later": false} {
		ehlo := 0
		fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, _, _ int) string {
			if at == AtEHLO {
				if ehlo++; ehlo == 1 {
					return refusal
				}
			}
			return ""
		}}).start(t)
		_, err := send(t, testPool(t, fake), testMessage())
		_, commands, _ := fake.Seen()
		if (err == nil) != works || (countCommands(commands, "HELO relay.example") == 1) != works || works && fake.Flights() < 6 {
			t.Errorf("%s: %v %q", refusal, err, commands)
		}
	}
}
