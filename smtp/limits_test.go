package smtp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/smtp/smtptest"
)

// Postfix is slow on a connection that has had nothing but errors, such as mistyped addresses.
func TestRefusalsInARow(t *testing.T) {
	for _, extensions := range [][]string{{"PIPELINING"}, {}} {
		for name, test := range map[string]struct{ accepted, least, most int }{ // each so many-th is accepted
			"all are refused":                 {1000, maxRefused, maxRefused},
			"one between makes good for them": {maxRefused, 3 * maxRefused, 1000},
		} {
			var mutex sync.Mutex
			refused := make(map[int]int) // by connection
			sent := 0
			fake := (&fakeServer{extensions: extensions, answer: func(at Stage, connection, _ int) string {
				mutex.Lock()
				defer mutex.Unlock()
				if at == AtRCPT {
					sent++
				}
				switch {
				case sent%test.accepted == 0:
				case at == AtRCPT:
					refused[connection]++
					return "550 5.1.1 User unknown"
				case at == AtDATA:
					return "554 5.5.1 no valid recipients"
				}
				return ""
			}}).start(t)
			pool := testPool(t, fake, func(c *Config) { c.MaxConnections = 1 })
			for range 10 * maxRefused {
				_, _ = send(t, pool, testMessage())
			}
			mutex.Lock()
			most := slices.Max(slices.Collect(maps.Values(refused)))
			mutex.Unlock()
			if most < test.least || most > test.most {
				t.Errorf("%s, %q: %d on one connection", name, extensions, most)
			}
		}
	}
}

// A server that takes few messages a connection loses none: the one that it refuses
// goes out on a fresh connection, and soon no more are refused.
func TestLimitOfMessages(t *testing.T) {
	for _, test := range []struct {
		at    Stage
		reply string
		most  int
	}{
		{AtMAIL, "452 4.5.3 Too many recipients: Too many messages sent", 1000},               // OpenSMTPD
		{AtMAIL, "452 4.5.3 Too many recipients: Too many messages sent", -1},                 // any number
		{AtMAIL, "452 4.4.5 Maximum number of messages per session exceeded.", 1000},          // Stalwart
		{AtMAIL, "421 too many messages in this connection", 1000},                            // Exim
		{AtMAIL, "400 enough", 1000},                                                          // who knows
		{AtMAIL, "550 5.5.0 enough", 1000},                                                    // who knows
		{AtDATA, "450 MI:DMC 163 smtp2,the current session has sent too many messages", 1000}, // 163.com
	} {
		for _, extensions := range [][]string{{"PIPELINING"}, {}} {
			t.Run(fmt.Sprint(test.reply, extensions, test.most), func(t *testing.T) {
				const limit, mails = 4, 40
				var refused atomic.Int32
				fake := (&fakeServer{extensions: extensions, answer: func(at Stage, _, mail int) string {
					if at == test.at && mail > limit {
						refused.Add(1)
						return test.reply
					}
					return ""
				}}).start(t)
				pool := testPool(t, fake, func(c *Config) { c.MaxMessages = test.most })
				for range mails {
					if _, err := send(t, pool, testMessage()); err != nil {
						t.Fatal(err)
					}
				}
				// The fake is asked twice about DATA.
				if n := refused.Load(); n < 2 || n > 4 {
					t.Errorf("%d were refused", n)
				}
				if _, _, got := fake.Seen(); len(got) != mails {
					t.Errorf("%d mails", len(got))
				}
			})
		}
	}
}

// What is refused on a fresh connection too is refused, and teaches nothing.
func TestRefusalIsNoLimit(t *testing.T) {
	var sour atomic.Bool
	fake := (&fakeServer{answer: func(at Stage, _, _ int) string {
		if at == AtMAIL && sour.Load() {
			return "451 4.3.0 not now"
		}
		return ""
	}}).start(t)
	pool := testPool(t, fake)
	for range 3 {
		sour.Store(false)
		if _, err := send(t, pool, testMessage()); err != nil {
			t.Fatal(err)
		}
		sour.Store(true)
		for range 2 { // the second comes to a connection that has carried nothing
			if _, err := send(t, pool, testMessage()); failed(t, err).Reply.Code != 451 {
				t.Error(err)
			}
		}
	}
	if connections, _, _ := fake.Seen(); connections != 4 {
		t.Errorf("%d connections", connections)
	}
	if pool.mostMessages != 0 {
		t.Errorf("learned a limit of %d", pool.mostMessages)
	}
}

// A server that restarts, or lets go of idle connections with a word, has no limit. One that
// had one may have lost it since.
func TestALimitIsLearntWithCare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reply := "421 4.3.2 Service shutting down"
		var sour atomic.Bool
		fake := (&fakeServer{answer: func(at Stage, _, mail int) string {
			if at == AtMAIL && mail == 2 && sour.Load() {
				return reply
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake)
		opened := func(messages int, isSour bool) int {
			sour.Store(isSour)
			before, _, _ := fake.Seen()
			for range messages {
				if _, err := send(t, pool, testMessage()); err != nil {
					t.Fatal(err)
				}
			}
			after, _, _ := fake.Seen()
			return after - before
		}
		opened(6, true)
		if n := opened(20, false); n > 1 {
			t.Errorf("%d connections after 421", n)
		}
		reply = "451 4.7.0 too many messages"
		pool.Close()
		pool = testPool(t, fake)
		opened(6, true)
		if n := opened(20, false); n < 15 {
			t.Errorf("%d connections while the limit is known", n)
		}
		time.Sleep(limitHolds)
		if n := opened(20, false); n > 1 {
			t.Errorf("%d connections an hour later", n)
		}
		pool.Close()
	})
}

// Connections that die after as many messages teach nothing either, and a refusal for
// good at DATA is none of the connection's.
func TestWhatIsNoLimit(t *testing.T) {
	fake := (&fakeServer{answer: func(at Stage, _, mail int) string {
		if at == AtMAIL && mail > 2 {
			return smtptest.EOF
		}
		return ""
	}}).start(t)
	pool := testPool(t, fake)
	for range 8 {
		if _, err := send(t, pool, testMessage()); err != nil {
			t.Error(err)
		}
	}
	if pool.mostMessages != 0 {
		t.Errorf("learned a limit of %d", pool.mostMessages)
	}
	fake = (&fakeServer{answer: func(at Stage, _, mail int) string {
		if at == AtDATA && mail > 1 {
			return "554 5.5.1 no"
		}
		return ""
	}}).start(t)
	pool = testPool(t, fake)
	for _, works := range []bool{true, false} {
		if _, err := send(t, pool, testMessage()); (err == nil) != works || fakeConnections(fake) != 1 {
			t.Errorf("%v, %d connections", err, fakeConnections(fake))
		}
	}
}

// Exim delivers only the first ten messages of a connection at once.
func TestExim(t *testing.T) {
	const exim = "220 mail.example ESMTP Exim 4.96 Thu, 26 Nov 2026 04:21:07 +0000"
	for _, test := range []struct {
		greeting          string
		most, connections int
	}{{exim, 0, 3}, {exim, 25, 1}, {"220 mail.example ESMTP Postfix", 0, 1}} {
		greeting, most, connections := test.greeting, test.most, test.connections
		fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, _, _ int) string {
			if at == AtGreeting {
				return greeting
			}
			return ""
		}}).start(t)
		pool := testPool(t, fake, func(c *Config) { c.MaxMessages = most })
		for range 25 {
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "there is a connection", func() bool { return most == 25 || idleConnections(pool) == 1 })
		}
		if got, _, _ := fake.Seen(); got != connections && got != connections+1 { // the last of 25 is replaced
			t.Errorf("%q, MaxMessages %d: %d connections", greeting, most, got)
		}
	}
}

// Messages that the server has no connection for wait for those that it has.
func TestLimitOfConnections(t *testing.T) {
	for _, refusal := range []string{"421 4.7.0 fake.example Error: too many connections from 192.0.2.1",
		"421 Too many concurrent SMTP connections; please try again later.", smtptest.EOF, smtptest.Reset} {
		t.Run(refusal, func(t *testing.T) {
			const limit, mails = 5, 200
			fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, connection, _ int) string {
				if at == AtGreeting && connection > limit { // the first ones stay
					return refusal
				}
				return ""
			}}).start(t)
			pool := testPool(t, fake)
			for range 2 {
				sendAtOnce(t, pool, mails)
			}
			connections, _, got := fake.Seen()
			if len(got) != 2*mails {
				t.Errorf("%d mails", len(got))
			}
			// Those refused at first, and a few that find out whether there is more room.
			if connections > 50+2*limit*3 {
				t.Errorf("%d connections", connections)
			}
		})
	}
}

// A server that refuses for good is not asked again, and neither is one that has
// taken the connection; one that refuses for now gets the message through another.
func TestWhichRefusalsAreWaitedWith(t *testing.T) {
	for _, test := range []struct {
		at     Stage
		reply  string
		waited bool
	}{
		{AtGreeting, "421 4.7.0 too many connections", true},
		{AtGreeting, "450 4.7.1 too many connections", true},
		{AtGreeting, "500 no", false},
		{AtGreeting, "554 5.7.1 no", false},
		{AtGreeting, "554 Too many connections", true},
		{AtEHLO, "421 4.7.0 too many connections", true},
		{AtEHLO, "450 4.7.1 later", false},
		{AtMAIL, "421 4.7.0 later", false},
		{AtMAIL, "450 4.7.1 later", false},
	} {
		t.Run(test.at.String()+" "+test.reply, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := (&fakeServer{answer: func(at Stage, connection, _ int) string {
					switch {
					case at == test.at && connection == 2:
						return test.reply
					case at == AtDot && connection == 1:
						time.Sleep(time.Second)
					}
					return ""
				}}).prepare(t)
				pool := testPool(t, fake)
				var group sync.WaitGroup
				defer group.Wait()
				group.Go(func() {
					if _, err := send(t, pool, testMessage()); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
				began := time.Now()
				_, err := send(t, pool, testMessage())
				if waited := time.Since(began) > 0; waited != test.waited || (err == nil) != test.waited {
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		})
	}
}

// The pool becomes as small as the server wants it, not smaller, for a while.
func TestPoolShrinksToWhatTheServerTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, limit = 8, 3
		fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, connection, _ int) string {
			switch {
			case at == AtDot:
				time.Sleep(time.Second)
			case at == AtGreeting && connection > limit: // when the others are idle again
				time.Sleep(2500 * time.Millisecond)
				return "421 4.7.0 too many connections"
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake, func(c *Config) { c.MaxConnections = most })
		attempts := 0
		burst := func(mails int, want time.Duration, opened int) {
			t.Helper()
			began := time.Now()
			sendAtOnce(t, pool, mails)
			took := time.Since(began)
			time.Sleep(2 * time.Second) // the refused attempts have ended
			before := attempts
			if attempts, _, _ = fake.Seen(); attempts-before != opened || took != want {
				t.Errorf("%d mails took %v, want %v, and opened %d connections, want %d", mails, took, want, attempts-before, opened)
			}
		}
		burst(limit, time.Second, limit)
		for _, surplus := range []int{1, 2} {
			burst(limit+surplus, 2*time.Second, surplus)
			burst(limit, time.Second, 0)
			burst(limit+1, 2*time.Second, 1) // one waits, and asks whether it was for a moment only
			burst(limit+1, 2*time.Second, 0)
			time.Sleep(holdTime)
		}
		pool.Close()
	})
}

// One connection that is refused for once does not keep a burst waiting.
func TestOneRefusedConnectionIsNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{answer: func(at Stage, connection, _ int) string {
			switch {
			case at == AtGreeting && connection == 2:
				return "421 4.7.0 Try again later, closing connection."
			case at == AtDot:
				time.Sleep(300 * time.Millisecond)
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake, func(c *Config) { c.MaxConnections = 50 })
		sendAtOnce(t, pool, 2)
		time.Sleep(5 * time.Second)
		began := time.Now()
		sendAtOnce(t, pool, 40)
		if took := time.Since(began); took > time.Second {
			t.Errorf("40 messages took %v", took)
		}
		pool.Close()
	})
}

// A server that has no connection left for anybody refuses messages too, and once it
// has more the pool grows again.
func TestLimitOfConnectionsIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limit atomic.Int32
		var fake *fakeServer
		fake = &fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, _, _ int) string {
			switch {
			case at == AtGreeting && fake.OpenConnections() > int(limit.Load()):
				return "421 4.7.0 too many connections"
			case at == AtDot:
				time.Sleep(time.Second)
			}
			return ""
		}}
		fake.prepare(t)
		pool := testPool(t, fake, func(c *Config) { c.MaxConnections = 8 })
		burst := func() (failures int32) {
			var failed atomic.Int32
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					if _, err := send(t, pool, testMessage()); err != nil {
						failed.Add(1)
					}
				})
			}
			group.Wait()
			synctest.Wait() // the fake has seen the end of those that it refused
			return failed.Load()
		}
		if n := burst(); n != 8 {
			t.Errorf("%d of 8 failed at a server that takes none", n)
		}
		limit.Store(2)
		if n := burst(); n != 0 || fake.OpenConnections() > 2 {
			t.Errorf("%d failed, %d connections", n, fake.OpenConnections())
		}
		limit.Store(8)
		time.Sleep(2 * holdTime)
		began := time.Now()
		if n := burst(); n != 0 || fake.OpenConnections() != 8 || time.Since(began) != time.Second {
			t.Errorf("%d failed, %d connections after %v", n, fake.OpenConnections(), time.Since(began))
		}
		pool.Close()
	})
}

// No more messages begin in any span of time than are allowed.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{extensions: []string{"PIPELINING"}}).prepare(t)
		pool := testPool(t, fake, func(c *Config) { c.RateLimit, c.RateDelta = 2, time.Second })
		began := time.Now()
		for i, want := range []time.Duration{0, 0, 1, 1, 2} {
			if _, err := send(t, pool, testMessage()); err != nil || time.Since(began) != want*time.Second {
				t.Errorf("message %d: %v after %v", i, err, time.Since(began))
			}
		}
		if _, err := send(t, pool, testMessage()); err != nil {
			t.Error(err)
		}
		// One that would come too late does not wait, and takes nobody's turn.
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := sendWithin(short, pool, testMessage())
		var paced *PaceError
		if !errors.As(err, &paced) || paced.Wait != time.Second || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		for range 2 {
			if _, err := send(t, pool, testMessage()); err != nil || time.Since(began) != 3*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		pool.Close()
	})
}

// A message that may begin at once, or just in time, does.
func TestPaceInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{extensions: []string{"PIPELINING"}}).prepare(t)
		pool := testPool(t, fake, func(c *Config) { c.RateLimit, c.RateDelta = 1, time.Second })
		for _, test := range []struct {
			pause, left time.Duration
			inTime      bool
		}{
			{0, time.Minute, true},
			{time.Second, leastSend / 2, true}, // as without a limit
			{0, time.Second + leastSend, true},
			{0, time.Second + leastSend - 1, false},
		} {
			time.Sleep(test.pause)
			ctx, cancel := context.WithTimeout(t.Context(), test.left)
			_, err := sendWithin(ctx, pool, testMessage())
			cancel()
			if (err == nil) != test.inTime {
				t.Errorf("%v after %v: %v", test.left, test.pause, err)
			}
		}
		if _, err := sendWithin(t.Context(), pool, testMessage()); err != nil { // has any time
			t.Error(err)
		}
		pool.Close()
	})
}

// A message that waits, for its pace or for another one's place, leaves the time that messages
// take, and half of its time at most. Else it would end uncertain.
func TestWhoWaitsLeavesTimeToSend(t *testing.T) {
	for _, paced := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			verdict := time.Second
			fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, _, _ int) string {
				if at == AtDot {
					time.Sleep(verdict)
				}
				return ""
			}}).prepare(t)
			pool := testPool(t, fake, func(c *Config) {
				if c.MaxConnections = 1; paced {
					c.MaxConnections, c.RateLimit, c.RateDelta = 10, 1, 2*time.Second
				}
			})
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Fatal(err)
			}
			for _, row := range []struct {
				left          time.Duration
				place, begins time.Duration // when it gives up, or begins where it is accepted: for want of a place, or of its turn
				accepted      bool
			}{
				{4200 * time.Millisecond, 1900 * time.Millisecond, 2 * time.Second, true},
				{3700 * time.Millisecond, 1900 * time.Millisecond, 2 * time.Second, false}, // since the one before it was slow
				{3 * time.Second, 2*time.Second - leastSend, 0, false},
				{2 * time.Second, time.Second, 0, false},
			} {
				time.Sleep(time.Minute)
				verdict = 1900 * time.Millisecond
				var first sync.WaitGroup
				first.Go(func() { _, _ = sendWithin(t.Context(), pool, testMessage()) })
				synctest.Wait()
				verdict = time.Second
				ctx, cancel := context.WithTimeout(t.Context(), row.left)
				start := time.Now()
				_, err := sendWithin(ctx, pool, testMessage())
				cancel()
				want := row.place
				if paced {
					want = row.begins // one that is too late is told so at once
				}
				if row.accepted {
					want += verdict
				}
				if took := time.Since(start); (err == nil) != row.accepted || took != want {
					t.Errorf("paced %v, %v left: %v after %v, want %v", paced, row.left, err, took, want)
				}
				first.Wait()
				for range 20 { // which are quicker
					time.Sleep(2 * time.Second)
					if _, err := send(t, pool, testMessage()); err != nil {
						t.Fatal(err)
					}
				}
			}
			pool.Close()
		})
	}
}

// Servers that let everybody wait before the greeting, or after a wrong password, are
// waited for where no message waits; a message waits for the greeting as long as it
// is told to.
func TestSlowOpening(t *testing.T) {
	for _, slow := range []Stage{AtGreeting, AtAUTH} {
		for _, verify := range []bool{true, false} {
			t.Run(fmt.Sprint(slow, verify), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := (&fakeServer{extensions: []string{"AUTH PLAIN"}, answer: func(at Stage, _, _ int) string {
						if at == slow {
							time.Sleep(15 * time.Second)
						}
						return ""
					}}).prepare(t)
					pool := testPool(t, fake, withLogin, func(c *Config) { c.GreetingTimeout = 0 })
					var err error
					if verify {
						err = pool.Verify(shortly(t))
					} else {
						_, err = send(t, pool, testMessage())
					}
					if want := verify || slow == AtGreeting; (err == nil) != want {
						t.Error(err)
					}
					pool.Close()
				})
			})
		}
	}
}

// Messages of a burst take turns in opening connections. One whose turn has not come
// takes a connection that is free before, and opens none.
func TestWhoWaitsForItsTurnTakesWhatIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened atomic.Int64
		fake := (&fakeServer{answer: func(at Stage, connection, mail int) string {
			switch {
			case at == AtGreeting && opened.Add(1) > 1:
				time.Sleep(4 * time.Second)
			case at == AtDot && connection == 1 && mail == 1:
				time.Sleep(time.Second)
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake, func(c *Config) { c.MaxConnections = 2 * maxOpening })
		start := time.Now()
		var first sync.WaitGroup
		first.Go(func() { sendAtOnce(t, pool, 1) })
		time.Sleep(time.Millisecond)
		sendAtOnce(t, pool, maxOpening+20)
		first.Wait()
		if took := time.Since(start); took > 2*time.Second || opened.Load() != 1+maxOpening {
			t.Errorf("%v, %d connections opened", took, opened.Load())
		}
		time.Sleep(5 * time.Second) // those that were begun are there
		if !atRest(pool) {
			t.Error("places are missing")
		}
		pool.Close()
	})
}

// One whose time ends before its turn leaves nothing behind.
func TestTimeEndsBeforeTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := (&fakeServer{answer: func(at Stage, _, _ int) string {
			if at == AtGreeting {
				time.Sleep(3 * time.Second)
			}
			return ""
		}}).prepare(t)
		pool := testPool(t, fake, func(c *Config) { c.MaxConnections = 2 * maxOpening })
		var burst sync.WaitGroup
		burst.Go(func() { sendAtOnce(t, pool, maxOpening) })
		time.Sleep(time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := sendWithin(ctx, pool, testMessage())
		if e := failed(t, err); e.Stage != AtConnect || !errors.Is(e, context.DeadlineExceeded) {
			t.Error(e)
		}
		burst.Wait()
		synctest.Wait() // for whoever hands on the last place
		if !atRest(pool) {
			t.Error("places are missing")
		}
		pool.Close()
	})
}

// What a server says at DATA on a fresh connection as well is no limit of mails a connection.
func TestGreylistingAtDATAIsNoLimit(t *testing.T) {
	var greylists atomic.Bool
	fake := (&fakeServer{answer: func(at Stage, _, _ int) string {
		if at == AtDATA && greylists.Load() {
			return "451 4.7.1 Greylisting in action, please come back later"
		}
		return ""
	}}).start(t)
	pool := testPool(t, fake)
	for i := range 8 {
		greylists.Store(i%2 == 1)
		_, _ = send(t, pool, testMessage())
	}
	if pool.mostMessages != 0 {
		t.Errorf("learned a limit of %d", pool.mostMessages)
	}
}
