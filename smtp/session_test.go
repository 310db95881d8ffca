package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/dialing"
	"logto-email-relay/smtp/smtptest"
)

// A mail on a warm connection costs two flights where the server pipelines, and
// four elsewhere.
func TestRoundTrips(t *testing.T) {
	for _, test := range []struct {
		extensions []string
		flights    int
		commands   string
	}{
		{[]string{"PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "CHUNKING"}, 2, "MAIL FROM:<no-reply@acme.example> SIZE="},
		{[]string{"SIZE"}, 4, "MAIL FROM:<no-reply@acme.example> SIZE="},
		{nil, 4, "MAIL FROM:<no-reply@acme.example>"},
	} {
		fake := (&fakeServer{extensions: test.extensions}).start(t)
		pool := testPool(t, fake)
		message := testMessage()
		if _, err := send(t, pool, message); err != nil {
			t.Fatal(err)
		}
		_, before, _ := fake.Seen()
		warm := fake.Flights()
		const mails = 10
		for range mails {
			reply, err := send(t, pool, message)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(reply.QueueID(), "FAKE1X") {
				t.Errorf("%+v", reply)
			}
		}
		if got := fake.Flights() - warm; got != mails*test.flights {
			t.Errorf("%v: %d flights for %d mails, want %d each", test.extensions, got, mails, test.flights)
		}
		connections, commands, got := fake.Seen()
		if connections != 1 || len(got) != mails+1 {
			t.Errorf("%d connections, %d mails", connections, len(got))
		}
		if len(commands)-len(before) != 3*mails {
			t.Errorf("%d commands for %d mails: %q", len(commands)-len(before), mails, commands[len(before):])
		}
		for _, command := range commands {
			if strings.HasPrefix(command, "MAIL") && !strings.HasPrefix(command, test.commands) ||
				strings.Contains(command, "SMTPUTF8") || strings.Contains(command, "BODY") {
				t.Errorf("%v: %s", test.extensions, command)
			}
		}
		built, _ := message.AppendTo(nil)
		if got[0] != strings.ReplaceAll(string(built), "\r\n", "\n") {
			t.Errorf("what arrived is not what was built:\n%s", got[0])
		}
	}
}

// A mail that is cancelled, or whose deadline passes, ends at once, wherever it
// waits; and so it does when a wait of the settings is over.
func TestStalls(t *testing.T) {
	stages := []Stage{AtTLS, AtGreeting, AtEHLO, AtSTARTTLS, AtAUTH, AtMAIL, AtRCPT, AtDATA, AtBody, AtDot}
	for _, stage := range stages {
		for _, way := range []string{"cancelled", "deadline", "own timeout"} {
			t.Run(stage.String()+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testSMTPStall(t, stage, way) })
			})
		}
	}
}

func testSMTPStall(t *testing.T, stage Stage, way string) {
	server, client := testCertificate(t)
	fake := (&fakeServer{
		extensions: []string{"PIPELINING", "STARTTLS", "AUTH PLAIN"},
		tls:        server,
		answer: func(at Stage, _, _ int) string {
			if at == stage {
				return smtptest.Stall
			}
			return ""
		},
	}).prepare(t)
	pool := testPool(t, fake, withLogin, func(c *Config) {
		c.TLS = client
		c.TLSTimeout, c.GreetingTimeout, c.ReplyTimeout = 2*time.Second, 3*time.Second, 4*time.Second
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	want, cause := time.Second, context.Canceled
	switch way {
	case "deadline":
		ctx, cancel = context.WithTimeout(ctx, want)
		defer cancel()
		cause = context.DeadlineExceeded
	case "cancelled":
		time.AfterFunc(want, cancel)
	default:
		cause = nil
		switch stage {
		case AtGreeting:
			want = 3 * time.Second
		case AtDot:
			want = verdictTimeout
		default:
			want = 4 * time.Second
		}
	}
	message := testMessage()
	if stage == AtBody {
		message = bulkyMessage()
	}
	started := time.Now()
	_, err := sendWithin(ctx, pool, message)
	took := time.Since(started)
	failure := failed(t, err)
	if failure.Stage != stage || failure.Reply.Code != 0 {
		t.Errorf("got %v, want %s", err, stage)
	}
	if took != want {
		t.Errorf("took %v, want %v", took, want)
	}
	if cause != nil && !errors.Is(err, cause) {
		t.Errorf("the cause is lost: %v", err)
	}
	if waited := net.Error(nil); cause == nil && (!errors.As(err, &waited) || !waited.Timeout() || errors.Is(err, context.DeadlineExceeded)) {
		t.Errorf("not a time-out: %v", err)
	}
	if stage != AtBody { // where the server does not look
		synctest.Wait()
		if n := fake.OpenConnections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	}
}

// A mail whose time is over on a connection that was idle does not try another.
func TestStallOfAnIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{answer: func(at Stage, _, mail int) string {
			if at == AtMAIL && mail == 2 {
				return smtptest.Stall
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake)
		if _, err := send(t, pool, testMessage()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := sendWithin(ctx, pool, testMessage())
		if e := failed(t, err); e.Stage != AtMAIL || !errors.Is(err, context.DeadlineExceeded) || fakeConnections(fake) != 1 {
			t.Errorf("%v, %d connections", err, fakeConnections(fake))
		}
	})
}

// A name server that says nothing is not waited for longer than dnsTimeout.
func TestLookupTimeout(t *testing.T) {
	dialer := &Dialer{Network: "tcp", Address: "relay.example:587", TCP: dialing.Dialer{LookupTimeout: 50 * time.Millisecond}}
	dialer.TCP.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	_, err := dialer.Dial(shortly(t))
	if slow := new(net.DNSError); !errors.As(err, &slow) || !slow.IsTimeout {
		t.Error(err)
	}
}

// A pooled connection that died is replaced, and the mail goes out once.
func TestDeadConnectionIsReplaced(t *testing.T) {
	for name, kill := range map[string]func(*fakeServer){
		"closed while idle":   func(f *fakeServer) { f.HangUp() },
		"421 while idle":      func(f *fakeServer) { f.Shout("421 4.4.2 idle for too long") },
		"421 then closed":     func(f *fakeServer) { f.Shout("421 4.4.2 idle for too long"); f.HangUp() },
		"an unasked for line": func(f *fakeServer) { f.Shout("250 Ok") },
	} {
		for _, extensions := range [][]string{{"PIPELINING"}, {}} {
			for _, looked := range []bool{true, false} {
				t.Run(fmt.Sprint(name, " ", extensions, " looked at ", looked), func(t *testing.T) {
					fake := (&fakeServer{extensions: extensions}).start(t)
					pool := testPool(t, fake)
					if _, err := send(t, pool, testMessage()); err != nil {
						t.Fatal(err)
					}
					idle := idleSession(t, pool)
					kill(fake)
					eventually(t, "the end is noticed", func() bool { return !idle.isQuiet() })
					if idle.used = time.Now(); looked {
						idle.used = idle.used.Add(-warm)
					}
					if _, err := send(t, pool, testMessage()); err != nil {
						t.Fatal(err)
					}
					connections, commands, mails := fake.Seen()
					if connections != 2 || len(mails) != 2 || looked && countCommands(commands, "MAIL") != 2 {
						t.Errorf("%d connections, %d mails, commands %q", connections, len(mails), commands)
					}
				})
			}
		}
	}
	for _, extensions := range [][]string{{"PIPELINING"}, {}} {
		for _, stunt := range []string{smtptest.EOF, smtptest.Reset, smtptest.Stall, "421 4.4.2 too late"} {
			for _, stage := range []Stage{AtMAIL, AtRCPT, AtDATA, AtBody, AtDot} {
				if stage == AtBody && strings.HasPrefix(stunt, "421") {
					continue
				}
				t.Run(fmt.Sprint(stunt, " at ", stage, " ", extensions), func(t *testing.T) {
					fake := &fakeServer{extensions: extensions, answer: func(at Stage, connection, mail int) string {
						if at == stage && connection == 1 && mail == 2 {
							return stunt
						}
						return ""
					}}
					if stunt == smtptest.Stall {
						synctest.Test(t, func(t *testing.T) {
							fake.prepare(t)
							testSMTPReplacement(t, fake, testPool(t, fake), stage, stunt)
						})
						return
					}
					fake.start(t)
					testSMTPReplacement(t, fake, testPool(t, fake), stage, stunt)
				})
			}
		}
	}
}

func testSMTPReplacement(t *testing.T, fake *fakeServer, pool *Pool, stage Stage, stunt string) {
	ctx := shortly(t)
	message := testMessage()
	if _, err := sendWithin(ctx, pool, message); err != nil {
		t.Fatal(err)
	}
	if stage == AtBody {
		message = bulkyMessage()
	}
	_, err := sendWithin(ctx, pool, message)
	connections, _, mails := fake.Seen()
	switch {
	case stage != AtDot:
		if err != nil || connections != 2 || len(mails) != 2 {
			t.Errorf("%v, %d connections, %d mails", err, connections, len(mails))
		}
	case strings.HasPrefix(stunt, "421"):
		if failed(t, err).Reply.Code != 421 || connections != 1 {
			t.Errorf("%v, %d connections", err, connections)
		}
	default:
		if !isUncertain(failed(t, err)) || connections != 1 {
			t.Errorf("%v, %d connections", err, connections)
		}
	}
}

// A server that fails every connection gets two tries, not more.
func TestReplacementIsTriedOnce(t *testing.T) {
	fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, connection, mail int) string {
		if at == AtMAIL && (connection > 1 || mail > 1) {
			return smtptest.EOF
		}
		return ""
	}}).start(t)
	pool := testPool(t, fake)
	if _, err := send(t, pool, testMessage()); err != nil {
		t.Fatal(err)
	}
	_, err := send(t, pool, testMessage())
	if !isTemporary(failed(t, err)) {
		t.Error(err)
	}
	if connections, _, _ := fake.Seen(); connections != 2 {
		t.Errorf("%d connections", connections)
	}
}

func idleSession(t testing.TB, p *Pool) *session {
	t.Helper()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(p.idle) != 1 {
		t.Fatalf("%d idle connections", len(p.idle))
	}
	return p.idle[0]
}

func countCommands(commands []string, verb string) (n int) {
	for _, command := range commands {
		if strings.HasPrefix(command, verb) {
			n++
		}
	}
	return n
}

// After a refusal the connection goes on with RSET, unless the server is left
// waiting for a message that must not come.
func TestAfterRefusal(t *testing.T) {
	for _, test := range []struct {
		name        string
		extensions  []string
		at          Stage
		data        string // the answer to DATA after a refused RCPT
		connections int
		resets      int
	}{
		{"pipelined", []string{"PIPELINING"}, AtRCPT, "554 5.5.1 no valid recipients", 1, 1},
		{"in turn", nil, AtRCPT, "", 1, 1},
		{"unwanted 354", []string{"PIPELINING"}, AtRCPT, "354 go ahead", 2, 0},
		{"sender, pipelined", []string{"PIPELINING"}, AtMAIL, "503 5.5.1 no sender", 1, 1},
		{"sender, in turn", nil, AtMAIL, "", 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var friendly atomic.Bool
			fake := (&fakeServer{extensions: test.extensions, answer: func(at Stage, _, _ int) string {
				switch {
				case friendly.Load():
				case at == test.at:
					return "550 5.1.1 no such user"
				case at == AtRCPT:
					return "503 5.5.1 no sender"
				case at == AtDATA:
					return test.data
				}
				return ""
			}}).start(t)
			pool := testPool(t, fake)
			_, err := send(t, pool, testMessage())
			if failure := failed(t, err); failure.Stage != test.at || failure.Reply.Code != 550 || failure.Reply.Enhanced != "5.1.1" {
				t.Fatal(err)
			}
			if _, _, mails := fake.Seen(); len(mails) != 0 {
				t.Fatalf("delivered %q", mails)
			}
			eventually(t, "what the server owed has come", func() bool {
				return atRest(pool) && idleConnections(pool) == 2-test.connections
			})
			friendly.Store(true)
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Fatal(err)
			}
			connections, commands, mails := fake.Seen()
			if connections != test.connections || countCommands(commands, "RSET") != test.resets || len(mails) != 1 {
				t.Errorf("%d connections, %d mails, commands %q", connections, len(mails), commands)
			}
		})
	}
}

// Trouble after the accepting 250 is no trouble of the mail's.
func TestTroubleAfterAcceptance(t *testing.T) {
	for _, stunt := range []string{smtptest.EOF, smtptest.Reset} {
		fake := &fakeServer{extensions: []string{"PIPELINING"}}
		fake.answer = func(at Stage, _, mail int) string {
			if at == 0 {
				return stunt
			}
			return ""
		}
		fake.start(t)
		pool := testPool(t, fake, func(c *Config) { c.MaxMessages = 1 })
		for range 3 {
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Error(err)
			}
		}
		pool.Close()
		if connections, commands, mails := fake.Seen(); connections != 3 || len(mails) != 3 || countCommands(commands, "QUIT") != 3 {
			t.Errorf("%d connections, %d mails, %q", connections, len(mails), commands)
		}
	}
}

func TestWhatTheServerSaidBefore(t *testing.T) {
	t.Run("too large", func(t *testing.T) {
		fake := (&fakeServer{extensions: []string{"SIZE 500"}}).start(t)
		_, err := send(t, testPool(t, fake), testMessage())
		_, commands, _ := fake.Seen()
		if large := new(SizeError); !errors.As(err, &large) || failed(t, err).Stage != AtMAIL || large.Limit != 500 || countCommands(commands, "MAIL") != 0 {
			t.Errorf("%v %q", err, commands)
		}
	})
	t.Run("just not too large", func(t *testing.T) {
		fake := (&fakeServer{extensions: []string{fmt.Sprintf("SIZE %d", len(build(t, testMessage())))}}).start(t)
		if _, err := send(t, testPool(t, fake), testMessage()); err != nil {
			t.Error(err)
		}
	})
	t.Run("recipient needs SMTPUTF8", func(t *testing.T) {
		message := testMessage()
		message.To = "ünïcode@xn--exmple-cua.com"
		fake := (&fakeServer{}).start(t)
		_, err := send(t, testPool(t, fake), message)
		if failed(t, err).Stage != AtRCPT || !errors.Is(err, ErrNoUTF8) || strings.Contains(err.Error(), "ünï") {
			t.Error(err)
		}
		odd := testMessage()
		odd.To = "ada\x80@example.net" // is no UTF-8 either
		if _, err := send(t, testPool(t, fake), odd); failed(t, err).Stage != AtRCPT || !errors.Is(err, ErrNoUTF8) {
			t.Error(err)
		}
		fake = (&fakeServer{extensions: []string{"SMTPUTF8", "PIPELINING"}}).start(t)
		if _, err := send(t, testPool(t, fake), message); err != nil {
			t.Fatal(err)
		}
		_, commands, _ := fake.Seen()
		if !slices.Contains(commands, "MAIL FROM:<no-reply@acme.example> SMTPUTF8") ||
			!slices.Contains(commands, "RCPT TO:<ünïcode@xn--exmple-cua.com>") {
			t.Errorf("%q", commands)
		}
	})
	t.Run("sender needs SMTPUTF8", func(t *testing.T) {
		message := testMessage()
		message.ReplyTo.Address = "hülfe@acme.example"
		fake := (&fakeServer{}).start(t)
		_, err := send(t, testPool(t, fake), message)
		if failed(t, err).Stage != AtMAIL || !errors.Is(err, ErrNoUTF8) {
			t.Error(err)
		}
		message = testMessage()
		message.From.Address = "bürö@acme.example"
		_, err = send(t, testPool(t, fake), message)
		if failed(t, err).Stage != AtMAIL || !errors.Is(err, ErrNoUTF8) {
			t.Error(err)
		}
	})
	t.Run("quoted local part", func(t *testing.T) {
		message := testMessage()
		message.To = `"foo."@docomo.ne.jp`
		fake := (&fakeServer{}).start(t)
		if _, err := send(t, testPool(t, fake), message); err != nil {
			t.Fatal(err)
		}
		_, commands, mails := fake.Seen()
		if !slices.Contains(commands, `RCPT TO:<"foo."@docomo.ne.jp>`) || !strings.Contains(mails[0], "\nTo: <\"foo.\"@docomo.ne.jp>\n") {
			t.Errorf("%q\n%s", commands, mails[0])
		}
	})
	for _, to := range []string{"a@example.com>\r\nRCPT TO:<eve@example.com", "a\r\nDATA@example.com", "a\x00@example.com"} {
		message := testMessage()
		message.To = to
		fake := (&fakeServer{}).start(t)
		_, err := send(t, testPool(t, fake), message)
		if connections, _, _ := fake.Seen(); failed(t, err).Stage != AtRCPT || connections != 0 {
			t.Errorf("%q: %v", to, err)
		}
	}
}

func TestConnectionLimits(t *testing.T) {
	t.Run("mails a connection", func(t *testing.T) {
		fake := (&fakeServer{extensions: []string{"PIPELINING"}}).start(t)
		pool := testPool(t, fake, func(c *Config) { c.MaxMessages = 3 })
		for range 7 {
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Fatal(err)
			}
			// One that is spent is replaced before the next mail comes.
			eventually(t, "there is a connection", func() bool { return idleConnections(pool) == 1 })
		}
		pool.Close()
		if connections, commands, _ := fake.Seen(); connections != 3 || countCommands(commands, "QUIT") != 3 {
			t.Errorf("%d connections, %q", connections, commands)
		}
	})
	t.Run("age and idleness", func(t *testing.T) {
		fake := (&fakeServer{extensions: []string{"PIPELINING"}}).start(t)
		pool := testPool(t, fake)
		// One that nobody used goes, one that is only old is replaced.
		for left, grow := range []func(*session){
			func(s *session) { s.used = s.used.Add(-2 * maxIdle) },
			func(s *session) { s.opened = s.opened.Add(-2 * maxAge) },
		} {
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Fatal(err)
			}
			pool.sweep()
			old := idleSession(t, pool)
			grow(old)
			pool.sweep()
			eventually(t, "the connection is closed", func() bool {
				return fake.OpenConnections() == left && idleConnections(pool) == left
			})
			if left > 0 && idleSession(t, pool) == old {
				t.Error("an old connection stays")
			}
		}
	})
	t.Run("all busy", func(t *testing.T) {
		fake := (&fakeServer{answer: func(at Stage, _, _ int) string {
			if at == AtDot {
				return smtptest.Stall
			}
			return ""
		}}).start(t)
		pool := testPool(t, fake, func(c *Config) { c.MaxConnections = 1 })
		ctx, cancel := context.WithCancel(shortly(t))
		first := make(chan error)
		go func() { _, err := sendWithin(ctx, pool, testMessage()); first <- err }()
		eventually(t, "the first is under way", func() bool { _, commands, _ := fake.Seen(); return countCommands(commands, "DATA") == 1 })
		short, cancelShort := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancelShort()
		_, err := sendWithin(short, pool, testMessage())
		if failure := failed(t, err); !isTemporary(failure) || !strings.Contains(err.Error(), "all 1 connections") {
			t.Error(err)
		}
		cancel()
		if failure := failed(t, <-first); !isUncertain(failure) {
			t.Error(failure)
		}
	})
}

// Close lets mails under way end, takes leave of the server, and leaves nothing
// behind.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("", func(t *testing.T) {
		hold := make(chan struct{})
		fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, connection, mail int) string {
			if at == AtDot && mail == 2 {
				<-hold
			}
			return ""
		}}).start(t)
		pool := testPool(t, fake)
		if _, err := send(t, pool, testMessage()); err != nil {
			t.Fatal(err)
		}
		sent := make(chan error)
		go func() { _, err := send(t, pool, testMessage()); sent <- err }()
		eventually(t, "the second is under way", func() bool { _, commands, _ := fake.Seen(); return countCommands(commands, "DATA") == 2 })
		closed := make(chan struct{})
		go func() { pool.Close(); close(closed) }()
		eventually(t, "the pool is closing", func() bool {
			_, err := send(t, pool, testMessage())
			return errors.Is(err, ErrClosed)
		})
		select {
		case <-closed:
			t.Error("closed while a mail was under way")
		default:
		}
		close(hold)
		if err := <-sent; err != nil {
			t.Error(err)
		}
		<-closed
		pool.Close() // a second time does no harm
		_, commands, _ := fake.Seen()
		if open, idle := pool.Connections(); countCommands(commands, "QUIT") != fakeConnections(fake) || open != 0 || idle != 0 {
			t.Errorf("%d connections are open, %d idle, %q", open, idle, commands)
		}
	})
	eventually(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}

// A server that does not say goodbye is waited for once, however many connections there are.
func TestCloseOfManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{answer: func(at Stage, _, _ int) string {
			switch at {
			case AtDot:
				time.Sleep(time.Second) // so that each mail has a connection of its own
			case 0: // QUIT
				return smtptest.Stall
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake)
		sendAtOnce(t, pool, 20)
		if open, idle := pool.Connections(); open != 20 || idle != 20 {
			t.Fatalf("%d connections, %d idle", open, idle)
		}
		began := time.Now()
		pool.Close()
		if took := time.Since(began); took != quitTimeout {
			t.Errorf("closed after %v", took)
		}
	})
}

// A message that the server has no connection for does not keep the pool from closing.
func TestCloseWhileTheServerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{answer: func(at Stage, connection, _ int) string {
			switch {
			case at == AtDot:
				time.Sleep(3 * time.Second)
			case at == AtGreeting && connection == 2:
				time.Sleep(2 * time.Second)
				return "421 4.7.0 too many connections"
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake)
		var group sync.WaitGroup
		for _, works := range []bool{true, false} {
			group.Go(func() {
				if _, err := send(t, pool, testMessage()); (err == nil) != works || err != nil && failed(t, err).Reply.Code != 421 {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		time.Sleep(time.Second)
		began := time.Now()
		pool.Close()
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("closed after %v", took)
		}
		group.Wait()
	})
}

func fakeConnections(f *fakeServer) int { n, _, _ := f.Seen(); return n }

// A connection that a cancelled mail has put its hands on is not used again.
func TestCancelledConnectionIsSpent(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	session := &session{conn: &boundedConn{Conn: client}}
	ctx, cancel := context.WithCancel(t.Context())
	session.unbind(session.bind(ctx))
	if session.broken {
		t.Error("nothing was cancelled")
	}
	stop := session.bind(ctx)
	cancel()
	session.unbind(stop)
	if !session.broken {
		t.Error("its deadline may still be changed from behind")
	}
}

// A mail takes a connection that is there before it opens another, and one that is
// free again before another is open.
func TestIdleConnectionGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, connection, mail int) string {
			switch {
			case at == AtDot && connection == 1 && mail == 1:
				time.Sleep(time.Second)
			case at == AtGreeting && connection == 2:
				time.Sleep(2 * time.Second)
				return "554 not you"
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake)
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() { _, _ = send(t, pool, testMessage()) })
			synctest.Wait()
		}
		group.Wait()
		if _, err := send(t, pool, testMessage()); err != nil {
			t.Fatal(err)
		}
		if connections, _, mails := fake.Seen(); connections != 2 || len(mails) != 3 {
			t.Errorf("%d connections, %d mails", connections, len(mails))
		}
		if time.Sleep(2 * time.Second); !atRest(pool) { // when the other was refused
			t.Error("a place is held for a refusal that is no limit")
		}
		pool.Close()
	})
}

// Nobody has to send for idle connections to be closed in the end.
func TestIdleConnectionsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{extensions: []string{"PIPELINING"}}).prepare(t)
		pool := testPool(t, fake)
		if _, err := send(t, pool, testMessage()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(maxIdle)
		synctest.Wait()
		if fake.OpenConnections() != 1 {
			t.Error("closed too early")
		}
		time.Sleep(sweepGap + time.Second)
		synctest.Wait()
		if fake.OpenConnections() != 0 {
			t.Error("not closed")
		}
		if pool.sweeper != nil {
			t.Error("what is there to sweep?")
		}
		if _, commands, _ := fake.Seen(); countCommands(commands, "QUIT") != 1 {
			t.Errorf("%q", commands)
		}
	})
}

// A connection that is in use all the time is replaced when it is old.
func TestOldConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{extensions: []string{"PIPELINING"}}).prepare(t)
		pool := testPool(t, fake)
		for began := time.Now(); time.Since(began) <= maxAge; time.Sleep(maxIdle) {
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if connections := fakeConnections(fake); connections != 1 {
				t.Errorf("%d connections after %v", connections, time.Since(began))
			}
		}
		synctest.Wait()
		if _, commands, _ := fake.Seen(); fakeConnections(fake) != 2 || countCommands(commands, "QUIT") != 1 {
			t.Errorf("%d connections, %q", fakeConnections(fake), commands)
		}
		pool.Close()
	})
}

// So is one that is never idle for a moment.
func TestOldConnectionThatIsBusyIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{answer: func(at Stage, _, _ int) string {
			if at == AtDot {
				time.Sleep(10 * time.Second)
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake)
		for began := time.Now(); time.Since(began) <= maxAge+20*time.Second; {
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if _, commands, _ := fake.Seen(); fakeConnections(fake) != 2 || countCommands(commands, "QUIT") != 1 {
			t.Errorf("%d connections, %q", fakeConnections(fake), commands)
		}
		pool.Close()
	})
}

// A connection that is spent is not replaced when a message has done so already.
func TestReplacementsStayWithinTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{answer: func(at Stage, _, _ int) string {
			if at == 0 { // QUIT
				time.Sleep(quitTimeout / 2)
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake, func(c *Config) { c.MaxConnections, c.MaxMessages = 1, 2 })
		for range 3 {
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(quitTimeout)
		if open, idle := pool.Connections(); open != 1 || idle != 1 || fakeConnections(fake) != 2 {
			t.Errorf("%d open, %d idle, of %d", open, idle, fakeConnections(fake))
		}
		pool.Close()
	})
}

// Verify finds out whether the server takes the login, and opens one connection for it.
func TestVerify(t *testing.T) {
	fake := (&fakeServer{extensions: []string{"AUTH PLAIN"}, converse: plainServer}).start(t)
	pool := testPool(t, fake, withLogin)
	for range 2 {
		if err := pool.Verify(shortly(t)); err != nil {
			t.Error(err)
		}
		if _, commands, _ := fake.Seen(); fakeConnections(fake) != 1 || countCommands(commands, "AUTH") != 1 || idleConnections(pool) != 1 {
			t.Errorf("%d connections, %q", fakeConnections(fake), commands)
		}
	}
	if _, err := send(t, pool, testMessage()); err != nil || fakeConnections(fake) != 1 {
		t.Errorf("%v, %d connections", err, fakeConnections(fake))
	}
	other := testPool(t, fake, withLogin, func(c *Config) { c.Login.Password = "another" })
	for range 2 {
		if e := failed(t, other.Verify(shortly(t))); e.Stage != AtAUTH || e.Reply.Code != 535 {
			t.Error(e)
		}
	}
	pool.Close()
	if e := failed(t, pool.Verify(shortly(t))); !errors.Is(e, ErrClosed) {
		t.Error(e)
	}
}

// A mail is not begun that could only end uncertain.
func TestHandsOverWhatItHasTimeFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{extensions: []string{"PIPELINING"}}).prepare(t)
		fake.answer = func(stage Stage, _, _ int) string {
			if stage == AtGreeting {
				time.Sleep(900 * time.Millisecond)
			}
			return ""
		}
		pool := testPool(t, fake)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := sendWithin(ctx, pool, testMessage())
		if failure := failed(t, err); failure.Stage != AtConnect || !errors.Is(failure, ErrTooLate) {
			t.Error(failure)
		}
		if _, commands, _ := fake.Seen(); countCommands(commands, "MAIL") != 0 {
			t.Errorf("the mail was begun: %q", commands)
		}
		// The connection serves the next one.
		if _, err := sendWithin(t.Context(), pool, testMessage()); err != nil {
			t.Error(err)
		}
		if connections, _, mails := fake.Seen(); connections != 1 || len(mails) != 1 {
			t.Errorf("%d connections and %d mails", connections, len(mails))
		}
		pool.Close()
		pool = testPool(t, fake)
		enough, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond+leastSend)
		defer cancel()
		if _, err := sendWithin(enough, pool, testMessage()); err != nil {
			t.Error(err)
		}
		pool.Close()
	})
}

// What a server says without being asked must not be taken for the answer to a
// later command.
func TestUnaskedReply(t *testing.T) {
	fake := (&fakeServer{answer: func(stage Stage, _, _ int) string {
		if stage == AtEHLO {
			return "250 fake\r\n250 2.1.0 Ok"
		}
		return ""
	}}).start(t)
	pool := testPool(t, fake)
	_, err := send(t, pool, testMessage())
	if failure := failed(t, err); !isTemporary(failure) || failure.Stage != AtEHLO {
		t.Errorf("%v", failure)
	}
	if _, _, mails := fake.Seen(); len(mails) > 0 {
		t.Error("a mail went out over a connection that is out of step")
	}
}

// One that talks without end is not listened to.
func TestEndlessReply(t *testing.T) {
	fake := (&fakeServer{answer: func(stage Stage, _, _ int) string {
		if stage == AtEHLO {
			return strings.Repeat("250-X-MORE\r\n", maxReplyBytes/10)
		}
		return ""
	}}).start(t)
	_, err := send(t, testPool(t, fake), testMessage())
	if failed(t, err).Stage != AtEHLO || !errors.Is(err, errTooLong) {
		t.Error(err)
	}
}

// Replies that are owed and come with a refusal are read with it; what comes beyond them
// is no answer to the next mail.
func TestRefusalWithMore(t *testing.T) {
	const first, envelope = "250-hi\r\n250 PIPELINING", "250 1\r\n250 2\r\n354 go"
	for refusal, connections := range map[string]int{
		"250 1\r\n550 2\r\n554 3":          1,
		"250 1\r\n250 2\r\n554 3\r\n250 4": 2,
	} {
		scripts := make(chan []string, 2)
		scripts <- []string{first, refusal, "250 0\r\n" + envelope, "250 Ok"}
		scripts <- []string{first, envelope, "250 Ok"}
		pool := testPool(t, new(fakeServer).prepare(t), func(c *Config) {
			c.Dial = func(context.Context) (net.Conn, error) {
				near, far := net.Pipe()
				replies := <-scripts
				go func() {
					defer far.Close()
					_, _ = io.WriteString(far, "220 hi\r\n")
					for _, reply := range replies {
						_, _ = far.Read(make([]byte, 4096))
						_, _ = io.WriteString(far, reply+"\r\n")
					}
				}()
				return near, nil
			}
		})
		if _, err := send(t, pool, testMessage()); failed(t, err).Reply.Code/100 != 5 {
			t.Error(err)
		}
		if _, err := send(t, pool, testMessage()); err != nil {
			t.Errorf("%q: %v", refusal, err)
		}
		if got := 2 - len(scripts); got != connections {
			t.Errorf("%q: %d connections, want %d", refusal, got, connections)
		}
	}
}
