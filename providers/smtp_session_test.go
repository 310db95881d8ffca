package providers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/settings"
)

// A mail on a warm connection costs two flights where the server pipelines, and
// four elsewhere.
func TestSMTPRoundTrips(t *testing.T) {
	for _, test := range []struct {
		extensions []string
		flights    int
		commands   string
	}{
		{[]string{"PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "CHUNKING"}, 2, "MAIL FROM:<no-reply@acme.example> SIZE="},
		{[]string{"SIZE"}, 4, "MAIL FROM:<no-reply@acme.example> SIZE="},
		{nil, 4, "MAIL FROM:<no-reply@acme.example>"},
	} {
		fake := (&fakeSMTP{extensions: test.extensions}).start(t)
		provider := openSMTP(t, fake.port())
		message := smtpMessage()
		if _, err := provider.Send(shortly(t), message); err != nil {
			t.Fatal(err)
		}
		_, before, _ := fake.seen()
		warm := fake.flights()
		const mails = 10
		for range mails {
			receipt, err := provider.Send(shortly(t), message)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(receipt.ID, "FAKE1X") {
				t.Errorf("%+v", receipt)
			}
		}
		if got := fake.flights() - warm; got != mails*test.flights {
			t.Errorf("%v: %d flights for %d mails, want %d each", test.extensions, got, mails, test.flights)
		}
		connections, commands, got := fake.seen()
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
		built := buildMIME(t, message)
		if got[0] != strings.ReplaceAll(string(built), "\r\n", "\n") {
			t.Errorf("what arrived is not what was built:\n%s", got[0])
		}
	}
}

// openPiped opens a provider that reaches the server without a network.
func openPiped(t testing.TB, fake *fakeSMTP, change ...func(*SMTPSettings)) *smtpProvider {
	provider := openSMTP(t, 2525, change...)
	provider.pool.server.dial = fake.dial
	return provider
}

// A mail that is cancelled, or whose deadline passes, ends at once, wherever it
// waits; and so it does when a wait of the settings is over.
func TestSMTPStalls(t *testing.T) {
	stages := []smtpStage{atTLS, atGreeting, atEHLO, atSTARTTLS, atAUTH, atMAIL, atRCPT, atDATA, atBody, atDot}
	for _, stage := range stages {
		for _, way := range []string{"cancelled", "deadline", "own timeout"} {
			t.Run(stage.String()+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testSMTPStall(t, stage, way) })
			})
		}
	}
}

func testSMTPStall(t *testing.T, stage smtpStage, way string) {
	authority := newTestAuthority(t)
	fake := (&fakeSMTP{
		extensions: []string{"PIPELINING", "STARTTLS", "AUTH PLAIN"},
		tls:        authority.server,
		answer: func(at smtpStage, _, _ int) string {
			if at == stage {
				return fakeStall
			}
			return ""
		},
	}).prepare(t)
	provider := openPiped(t, fake, withLogin, func(s *SMTPSettings) {
		s.TLS.CA = settings.Texts{authority.pem}
		s.ConnectionTimeout = settings.Milliseconds(2 * time.Second)
		s.GreetingTimeout = settings.Milliseconds(3 * time.Second)
		s.SocketTimeout = settings.Milliseconds(4 * time.Second)
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
		case atGreeting:
			want = 3 * time.Second
		case atDot:
			want = finalDotTimeout
		default:
			want = 4 * time.Second
		}
	}
	message := smtpMessage()
	if stage == atBody {
		message = bulkyMessage()
	}
	started := time.Now()
	_, err := provider.Send(ctx, message)
	took := time.Since(started)
	failure := asSMTPError(t, err)
	kind := Temporary
	if stage == atDot {
		kind = Uncertain
	}
	if failure.Kind != kind || failure.Stage != stage.String() {
		t.Errorf("got %v, want %v: %s", err, kind, stage)
	}
	if took != want {
		t.Errorf("took %v, want %v", took, want)
	}
	if cause != nil && !errors.Is(err, cause) {
		t.Errorf("the cause is lost: %v", err)
	}
	if cause == nil && stage != atDot && !strings.Contains(failure.Hint, "Timeout bounds this") {
		t.Errorf("no setting is named: %v", err)
	}
	if stage != atBody { // where the server does not look
		synctest.Wait()
		if n := fake.openConnections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	}
}

// A name server that says nothing is not waited for longer than dnsTimeout.
func TestSMTPLookupTimeout(t *testing.T) {
	dialer := &smtpDialer{network: "tcp", address: "relay.example:587", dnsTimeout: 50 * time.Millisecond}
	dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	_, err := dialer.dial(shortly(t))
	failure := smtpFailure(shortly(t), atConnect, err)
	if failure.Kind != Temporary || !strings.Contains(failure.Hint, "dnsTimeout") {
		t.Error(failure)
	}
}

// A pooled connection that died is replaced, and the mail goes out once.
func TestSMTPDeadConnectionIsReplaced(t *testing.T) {
	for name, kill := range map[string]func(*fakeSMTP){
		"closed while idle":   func(f *fakeSMTP) { f.hangUp() },
		"421 while idle":      func(f *fakeSMTP) { f.shout("421 4.4.2 idle for too long") },
		"421 then closed":     func(f *fakeSMTP) { f.shout("421 4.4.2 idle for too long"); f.hangUp() },
		"an unasked for line": func(f *fakeSMTP) { f.shout("250 Ok") },
	} {
		for _, extensions := range [][]string{{"PIPELINING"}, {}} {
			for _, looked := range []bool{true, false} {
				t.Run(fmt.Sprint(name, " ", extensions, " looked at ", looked), func(t *testing.T) {
					fake := (&fakeSMTP{extensions: extensions}).start(t)
					provider := openSMTP(t, fake.port())
					if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
						t.Fatal(err)
					}
					idle := idleSession(t, provider)
					kill(fake)
					eventually(t, "the end is noticed", func() bool { return !idle.isAlive() })
					if idle.used = time.Now(); looked {
						idle.used = idle.used.Add(-smtpWarm)
					}
					if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
						t.Fatal(err)
					}
					connections, commands, mails := fake.seen()
					if connections != 2 || len(mails) != 2 || looked && countCommands(commands, "MAIL") != 2 {
						t.Errorf("%d connections, %d mails, commands %q", connections, len(mails), commands)
					}
				})
			}
		}
	}
	for _, extensions := range [][]string{{"PIPELINING"}, {}} {
		for _, stunt := range []string{fakeEOF, fakeReset, fakeStall, "421 4.4.2 too late"} {
			for _, stage := range []smtpStage{atMAIL, atRCPT, atDATA, atBody, atDot} {
				if stage == atBody && strings.HasPrefix(stunt, "421") {
					continue
				}
				t.Run(fmt.Sprint(stunt, " at ", stage, " ", extensions), func(t *testing.T) {
					fake := &fakeSMTP{extensions: extensions, answer: func(at smtpStage, connection, mail int) string {
						if at == stage && connection == 1 && mail == 2 {
							return stunt
						}
						return ""
					}}
					if stunt == fakeStall {
						synctest.Test(t, func(t *testing.T) {
							fake.prepare(t)
							testSMTPReplacement(t, fake, openPiped(t, fake), stage, stunt)
						})
						return
					}
					fake.start(t)
					testSMTPReplacement(t, fake, openSMTP(t, fake.port()), stage, stunt)
				})
			}
		}
	}
}

func testSMTPReplacement(t *testing.T, fake *fakeSMTP, provider *smtpProvider, stage smtpStage, stunt string) {
	ctx := shortly(t)
	message := smtpMessage()
	if _, err := provider.Send(ctx, message); err != nil {
		t.Fatal(err)
	}
	if stage == atBody {
		message = bulkyMessage()
	}
	_, err := provider.Send(ctx, message)
	connections, _, mails := fake.seen()
	switch {
	case stage != atDot:
		if err != nil || connections != 2 || len(mails) != 2 {
			t.Errorf("%v, %d connections, %d mails", err, connections, len(mails))
		}
	case strings.HasPrefix(stunt, "421"):
		if asSMTPError(t, err).Kind != Temporary || connections != 1 {
			t.Errorf("%v, %d connections", err, connections)
		}
	default:
		if asSMTPError(t, err).Kind != Uncertain || connections != 1 {
			t.Errorf("%v, %d connections", err, connections)
		}
	}
}

// A server that fails every connection gets two tries, not more.
func TestSMTPReplacementIsTriedOnce(t *testing.T) {
	fake := (&fakeSMTP{extensions: []string{"PIPELINING"}, answer: func(at smtpStage, connection, mail int) string {
		if at == atMAIL && (connection > 1 || mail > 1) {
			return fakeEOF
		}
		return ""
	}}).start(t)
	provider := openSMTP(t, fake.port())
	if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
		t.Fatal(err)
	}
	_, err := provider.Send(shortly(t), smtpMessage())
	if failure := asSMTPError(t, err); failure.Kind != Temporary {
		t.Error(err)
	}
	if connections, _, _ := fake.seen(); connections != 2 {
		t.Errorf("%d connections", connections)
	}
}

func idleSession(t testing.TB, p *smtpProvider) *smtpSession {
	t.Helper()
	idle := p.pool.seats.AcquireAllIdle()
	if len(idle) != 1 {
		t.Fatalf("%d idle connections", len(idle))
	}
	defer idle[0].ReleaseUnused()
	return idle[0].Value().session
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
func TestSMTPAfterRefusal(t *testing.T) {
	for _, test := range []struct {
		name        string
		extensions  []string
		data        string // the answer to DATA after a refused RCPT
		connections int
		resets      int
	}{
		{"pipelined", []string{"PIPELINING"}, "554 5.5.1 no valid recipients", 1, 1},
		{"in turn", nil, "", 1, 1},
		{"unwanted 354", []string{"PIPELINING"}, "354 go ahead", 2, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var friendly atomic.Bool
			fake := (&fakeSMTP{extensions: test.extensions, answer: func(at smtpStage, _, _ int) string {
				switch {
				case friendly.Load():
				case at == atRCPT:
					return "550 5.1.1 no such user"
				case at == atDATA:
					return test.data
				}
				return ""
			}}).start(t)
			provider := openSMTP(t, fake.port())
			_, err := provider.Send(shortly(t), smtpMessage())
			if failure := asSMTPError(t, err); failure.Kind != Recipient || failure.Stage != "RCPT TO" || failure.Code != "550 5.1.1" {
				t.Fatal(err)
			}
			if _, _, mails := fake.seen(); len(mails) != 0 {
				t.Fatalf("delivered %q", mails)
			}
			if kept := int(provider.pool.seats.Stat().TotalResources()); kept != 2-test.connections {
				t.Errorf("%d connections are kept", kept)
			}
			friendly.Store(true)
			if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
				t.Fatal(err)
			}
			connections, commands, mails := fake.seen()
			if connections != test.connections || countCommands(commands, "RSET") != test.resets || len(mails) != 1 {
				t.Errorf("%d connections, %d mails, commands %q", connections, len(mails), commands)
			}
		})
	}
}

// Trouble after the accepting 250 is no trouble of the mail's.
func TestSMTPTroubleAfterAcceptance(t *testing.T) {
	for _, stunt := range []string{fakeEOF, fakeReset} {
		fake := &fakeSMTP{extensions: []string{"PIPELINING"}}
		fake.answer = func(at smtpStage, _, mail int) string {
			if at == 0 {
				return stunt
			}
			return ""
		}
		fake.start(t)
		provider := openSMTP(t, fake.port(), func(s *SMTPSettings) { s.MaxMessages = 1 })
		for range 3 {
			if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
				t.Error(err)
			}
		}
		if err := provider.Close(); err != nil {
			t.Error(err)
		}
		if connections, commands, mails := fake.seen(); connections != 3 || len(mails) != 3 || countCommands(commands, "QUIT") != 3 {
			t.Errorf("%d connections, %d mails, %q", connections, len(mails), commands)
		}
	}
}

func TestSMTPWhatTheServerSaidBefore(t *testing.T) {
	t.Run("too large", func(t *testing.T) {
		fake := (&fakeSMTP{extensions: []string{"SIZE 500"}}).start(t)
		_, err := openSMTP(t, fake.port()).Send(shortly(t), smtpMessage())
		_, commands, _ := fake.seen()
		if asSMTPError(t, err).Kind != Content || countCommands(commands, "MAIL") != 0 {
			t.Errorf("%v %q", err, commands)
		}
	})
	t.Run("recipient needs SMTPUTF8", func(t *testing.T) {
		message := smtpMessage()
		message.To = "ünïcode@xn--exmple-cua.com"
		fake := (&fakeSMTP{}).start(t)
		_, err := openSMTP(t, fake.port()).Send(shortly(t), message)
		if asSMTPError(t, err).Kind != Recipient || strings.Contains(err.Error(), "ünï") {
			t.Error(err)
		}
		fake = (&fakeSMTP{extensions: []string{"SMTPUTF8", "PIPELINING"}}).start(t)
		if _, err := openSMTP(t, fake.port()).Send(shortly(t), message); err != nil {
			t.Fatal(err)
		}
		_, commands, _ := fake.seen()
		if !slices.Contains(commands, "MAIL FROM:<no-reply@acme.example> SMTPUTF8") ||
			!slices.Contains(commands, "RCPT TO:<ünïcode@xn--exmple-cua.com>") {
			t.Errorf("%q", commands)
		}
	})
	t.Run("sender needs SMTPUTF8", func(t *testing.T) {
		message := smtpMessage()
		message.ReplyTo.Address = "hülfe@acme.example"
		fake := (&fakeSMTP{}).start(t)
		_, err := openSMTP(t, fake.port()).Send(shortly(t), message)
		if asSMTPError(t, err).Kind != Configuration {
			t.Error(err)
		}
	})
	t.Run("quoted local part", func(t *testing.T) {
		message := smtpMessage()
		message.To = "foo.@docomo.ne.jp"
		fake := (&fakeSMTP{}).start(t)
		if _, err := openSMTP(t, fake.port()).Send(shortly(t), message); err != nil {
			t.Fatal(err)
		}
		_, commands, mails := fake.seen()
		if !slices.Contains(commands, `RCPT TO:<"foo."@docomo.ne.jp>`) || !strings.Contains(mails[0], "\nTo: <\"foo.\"@docomo.ne.jp>\n") {
			t.Errorf("%q\n%s", commands, mails[0])
		}
	})
	for _, to := range []string{"a@example.com\r\nRCPT TO:<eve@example.com>", "no-at", "a\r\nDATA@example.com", ""} {
		message := smtpMessage()
		message.To = to
		fake := (&fakeSMTP{}).start(t)
		_, err := openSMTP(t, fake.port()).Send(shortly(t), message)
		if connections, _, _ := fake.seen(); asSMTPError(t, err).Kind != Recipient || connections != 0 {
			t.Errorf("%q: %v", to, err)
		}
	}
}

func TestSMTPConnectionLimits(t *testing.T) {
	t.Run("mails a connection", func(t *testing.T) {
		fake := (&fakeSMTP{extensions: []string{"PIPELINING"}}).start(t)
		provider := openSMTP(t, fake.port(), func(s *SMTPSettings) { s.MaxMessages = 3 })
		for range 7 {
			if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
				t.Fatal(err)
			}
			// One that is spent is replaced before the next mail comes.
			eventually(t, "there is a connection", func() bool { return provider.pool.seats.Stat().IdleResources() == 1 })
		}
		provider.Close()
		if connections, commands, _ := fake.seen(); connections != 3 || countCommands(commands, "QUIT") != 3 {
			t.Errorf("%d connections, %q", connections, commands)
		}
	})
	t.Run("age and idleness", func(t *testing.T) {
		fake := (&fakeSMTP{extensions: []string{"PIPELINING"}}).start(t)
		provider := openSMTP(t, fake.port())
		// One that nobody used goes, one that is only old is replaced.
		for left, grow := range []func(*smtpSession){
			func(s *smtpSession) { s.used = s.used.Add(-2 * smtpMaxIdle) },
			func(s *smtpSession) { s.opened = s.opened.Add(-2 * smtpMaxAge) },
		} {
			if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
				t.Fatal(err)
			}
			provider.pool.sweep()
			old := idleSession(t, provider)
			grow(old)
			provider.pool.sweep()
			eventually(t, "the connection is closed", func() bool {
				return fake.openConnections() == left && int(provider.pool.seats.Stat().IdleResources()) == left
			})
			if left > 0 && idleSession(t, provider) == old {
				t.Error("an old connection stays")
			}
		}
	})
	t.Run("all busy", func(t *testing.T) {
		fake := (&fakeSMTP{answer: func(at smtpStage, _, _ int) string {
			if at == atDot {
				return fakeStall
			}
			return ""
		}}).start(t)
		provider := openSMTP(t, fake.port(), func(s *SMTPSettings) { s.MaxConnections = 1 })
		ctx, cancel := context.WithCancel(shortly(t))
		first := make(chan error)
		go func() { _, err := provider.Send(ctx, smtpMessage()); first <- err }()
		eventually(t, "the first is under way", func() bool { _, commands, _ := fake.seen(); return countCommands(commands, "DATA") == 1 })
		short, cancelShort := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancelShort()
		_, err := provider.Send(short, smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Temporary || !strings.Contains(failure.Hint, "maxConnections") {
			t.Error(err)
		}
		cancel()
		if failure := asSMTPError(t, <-first); failure.Kind != Uncertain {
			t.Error(failure)
		}
	})
}

// Close lets mails under way end, takes leave of the server, and leaves nothing
// behind.
func TestSMTPClose(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("", func(t *testing.T) {
		hold := make(chan struct{})
		fake := (&fakeSMTP{extensions: []string{"PIPELINING"}, answer: func(at smtpStage, connection, mail int) string {
			if at == atDot && mail == 2 {
				<-hold
			}
			return ""
		}}).start(t)
		provider := openSMTP(t, fake.port())
		if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
			t.Fatal(err)
		}
		sent := make(chan error)
		go func() { _, err := provider.Send(shortly(t), smtpMessage()); sent <- err }()
		eventually(t, "the second is under way", func() bool { _, commands, _ := fake.seen(); return countCommands(commands, "DATA") == 2 })
		closed := make(chan struct{})
		go func() { provider.Close(); close(closed) }()
		eventually(t, "the pool is closing", func() bool {
			_, err := provider.Send(shortly(t), smtpMessage())
			return err != nil && asSMTPError(t, err).Kind == Temporary
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
		provider.Close() // a second time does no harm
		_, commands, _ := fake.seen()
		if countCommands(commands, "QUIT") != fakeConnections(fake) {
			t.Errorf("%q", commands)
		}
	})
	eventually(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}

func fakeConnections(f *fakeSMTP) int { n, _, _ := f.seen(); return n }

// A connection that a cancelled mail has put its hands on is not used again.
func TestSMTPCancelledConnectionIsSpent(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	session := &smtpSession{conn: &boundedConn{Conn: client}}
	ctx, cancel := context.WithCancel(t.Context())
	session.release(session.bind(ctx))
	if session.broken {
		t.Error("nothing was cancelled")
	}
	stop := session.bind(ctx)
	cancel()
	session.release(stop)
	if !session.broken {
		t.Error("its deadline may still be changed from behind")
	}
}

// A mail takes a connection that is there before it opens another.
func TestSMTPIdleConnectionGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeSMTP{extensions: []string{"PIPELINING"}, answer: func(at smtpStage, connection, mail int) string {
			switch {
			case at == atDot && connection == 1 && mail == 1:
				time.Sleep(time.Second)
			case at == atGreeting && connection == 2:
				time.Sleep(2 * time.Second)
				return "554 not you"
			}
			return ""
		}}).prepare(t)
		provider := openPiped(t, fake)
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() { _, _ = provider.Send(shortly(t), smtpMessage()) })
			synctest.Wait()
		}
		group.Wait()
		if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
			t.Fatal(err)
		}
		if connections, _, mails := fake.seen(); connections != 2 || len(mails) != 2 {
			t.Errorf("%d connections, %d mails", connections, len(mails))
		}
	})
}

// Nobody has to send for idle connections to be closed in the end.
func TestSMTPIdleConnectionsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeSMTP{extensions: []string{"PIPELINING"}}).prepare(t)
		provider := openPiped(t, fake)
		if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(smtpMaxIdle - time.Second)
		synctest.Wait()
		if fake.openConnections() != 1 {
			t.Error("closed too early")
		}
		time.Sleep(smtpSweepGap + 2*time.Second)
		synctest.Wait()
		if fake.openConnections() != 0 {
			t.Error("not closed")
		}
		if _, commands, _ := fake.seen(); countCommands(commands, "QUIT") != 1 {
			t.Errorf("%q", commands)
		}
	})
}

// A mail is not begun that could only end uncertain.
func TestSMTPHandsOverWhatItHasTimeFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeSMTP{extensions: []string{"PIPELINING"}}).prepare(t)
		fake.answer = func(stage smtpStage, _, _ int) string {
			if stage == atGreeting {
				time.Sleep(900 * time.Millisecond)
			}
			return ""
		}
		provider := openSMTP(t, 25)
		provider.pool.server.dial = fake.dial
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := provider.Send(ctx, smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Temporary || failure.Stage != "connect" {
			t.Error(failure)
		}
		if _, commands, _ := fake.seen(); countCommands(commands, "MAIL") != 0 {
			t.Errorf("the mail was begun: %q", commands)
		}
		// The connection serves the next one.
		if _, err := provider.Send(t.Context(), smtpMessage()); err != nil {
			t.Error(err)
		}
		if connections, _, mails := fake.seen(); connections != 1 || len(mails) != 1 {
			t.Errorf("%d connections and %d mails", connections, len(mails))
		}
		provider.Close()
	})
}

// What a server says without being asked must not be taken for the answer to a
// later command.
func TestSMTPUnaskedReply(t *testing.T) {
	fake := (&fakeSMTP{answer: func(stage smtpStage, _, _ int) string {
		if stage == atEHLO {
			return "250 fake\r\n250 2.1.0 Ok"
		}
		return ""
	}}).start(t)
	provider := openSMTP(t, fake.port())
	_, err := provider.Send(shortly(t), smtpMessage())
	if failure := asSMTPError(t, err); failure.Kind != Temporary || failure.Stage != atEHLO.String() {
		t.Errorf("%v", failure)
	}
	if len(fake.mails) > 0 {
		t.Error("a mail went out over a connection that is out of step")
	}
}
