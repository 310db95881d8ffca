package limits_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"logto-email-relay/limits"
	"logto-email-relay/settings"
)

// servers are the programs that are installed, Redis, Valkey or both.
func servers(t testing.TB) (programs []string) {
	t.Helper()
	for _, program := range []string{"redis-server", "valkey-server"} {
		if _, err := exec.LookPath(program); err == nil {
			programs = append(programs, program)
		}
	}
	if why := "neither redis-server nor valkey-server is installed"; len(programs) > 0 {
		return programs
	} else if os.Getenv("RELAY_TEST_REQUIRE") == "1" {
		t.Fatal(why + ", and RELAY_TEST_REQUIRE=1")
	} else {
		t.Skip(why)
	}
	return nil
}

// onEach runs a test with each of them.
func onEach(t *testing.T, test func(t *testing.T, running *server)) {
	t.Helper()
	for _, program := range servers(t) {
		t.Run(program, func(t *testing.T) { test(t, startServer(t, program)) })
	}
}

// server is a running Redis or Valkey.
type server struct {
	url     string
	process *os.Process
	exited  chan struct{} // closed when the process has ended
	start   func()
}

// startServer starts a program on a socket in a directory of its own.
func startServer(t testing.TB, program string) *server {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "redis.sock")
	s := &server{url: "unix://" + socket}
	s.start = func() {
		cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--daemonize", "no")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		s.process, s.exited = cmd.Process, exited
		go func() { _ = cmd.Wait(); close(exited) }()
		t.Cleanup(func() { _ = cmd.Process.Kill(); <-exited })
		until(t, program+" listens", func() bool {
			conn, err := net.Dial("unix", socket)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
	}
	s.start()
	return s
}

// until waits for a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// replica makes a limiter of a process of its own.
func replica(t testing.TB, url string, told *log, r limits.Rules) *limits.Limiter {
	t.Helper()
	l, err := limits.New(limits.Settings{Rules: r, Redis: settings.NewSecret(url)}, nil, told.logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(nil) })
	return l
}

// verdict keeps the errors of a test until they count.
type verdict struct {
	testing.TB
	errors []string
}

func (v *verdict) Errorf(format string, arguments ...any) {
	v.errors = append(v.errors, fmt.Sprintf(format, arguments...))
}

// calmly runs a test anew when the machine was so busy that Redis did not answer
// within the patience that mails have.
func calmly(t *testing.T, test func(t testing.TB, told *log)) {
	t.Helper()
	for range 20 {
		var told log
		v := &verdict{TB: t}
		test(v, &told)
		if told.count("Redis does not answer") > 0 {
			continue
		}
		for _, text := range v.errors {
			t.Error(text)
		}
		return
	}
	t.Error("Redis failed again and again")
}

// Whatever counts, counts alike.
func TestRedisCountsAsMemoryDoes(t *testing.T) {
	for _, program := range append(servers(t), "miniredis") {
		t.Run(program, func(t *testing.T) {
			calmly(t, func(t testing.TB, told *log) {
				var url string
				if program == "miniredis" {
					url = "redis://" + miniredis.RunT(t).Addr()
				} else {
					url = startServer(t, program).url
				}
				r := rules(t, "10/1h", "", "15/1h", "18/1h")
				replicas := []*limits.Limiter{replica(t, url, told, r), replica(t, url, told, r), replica(t, url, told, r)}
				take := func(mails int, m limits.Mail) (n int) {
					for i := range mails {
						n += passed(t, replicas[i%3], 1, m)
					}
					return n
				}
				if n := take(14, to("Ada@example.org")); n != 10 {
					t.Errorf("%d of 14 passed", n)
				}
				refusal := replicas[0].Take(t.Context(), to("ada@example.org"))
				if refusal == nil || refusal.Limit != "limits.recipient" || refusal.Wait <= 5*time.Minute || refusal.Wait > 6*time.Minute {
					t.Errorf("refused by %+v", refusal)
				}
				if n := take(14, to("bob@example.org")); n != 5 {
					t.Errorf("%d more in the domain passed", n)
				}
				if n := take(14, to("ada@example.net")); n != 3 {
					t.Errorf("%d more passed", n)
				}
				routed := to("ada@example.com")
				routed.Route, routed.Own = 2, &limits.Rules{Total: rate(t, "4/1h")}
				for _, routed.RouteKey = range []string{"a", "b"} {
					if n := take(5, routed); n != 4 {
						t.Errorf("%d passed on a route with a limit of its own", n)
					}
				}
				// By the clock of Redis; and a limit that is changed begins anew.
				quick := replica(t, url, told, rules(t, "", "", "", "2/100ms"))
				quick.Take(t.Context(), to("x@example.org"))
				until(t, "there is room again", func() bool { return quick.Take(t.Context(), to("x@example.org")) == nil })
			})
		})
	}
}

func TestThreeReplicasCountExactly(t *testing.T) {
	onEach(t, func(t *testing.T, redis *server) {
		for run := range 50 {
			calmly(t, func(t testing.TB, told *log) {
				var replicas []*limits.Limiter
				for range 3 {
					replicas = append(replicas, replica(t, redis.url, told, *tenAnHour(t)))
				}
				if n := together(t, 14, replicas...); n != 10 {
					t.Errorf("run %d: %d of 14 passed", run, n)
				}
			})
		}
	})
}

func tenAnHour(t testing.TB) *limits.Rules {
	return &limits.Rules{Recipient: rate(t, "10/1h")}
}

func TestAMailCostsOneRoundTrip(t *testing.T) {
	onEach(t, func(t *testing.T, redis *server) {
		requests := new(atomic.Int64)
		url := "redis://" + forwarding(t, strings.TrimPrefix(redis.url, "unix://"), requests, 0)
		calmly(t, func(t testing.TB, told *log) {
			l := replica(t, url, told, rules(t, "100/1h", "100/1h", "100/1h", "100/1h"))
			m := limits.Mail{To: "ada@example.org", IP: "198.51.100.7"}
			passed(t, l, 1, m) // teaches Redis the script
			before := requests.Load()
			passed(t, l, 30, m)
			if n := requests.Load() - before; n != 30 {
				t.Errorf("%d requests for 30 mails", n)
			}
		})
	})
}

// forwarding listens in front of a socket or an address, counts what is sent there and hands
// the answers on with a delay.
func forwarding(t *testing.T, place string, requests *atomic.Int64, delay time.Duration) (address string) {
	t.Helper()
	network := "unix"
	if strings.Contains(place, ":") {
		network = "tcp"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial(network, place)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() {
				defer in.Close()
				buffer := make([]byte, 64<<10)
				for n, err := out.Read(buffer); err == nil; n, err = out.Read(buffer) {
					time.Sleep(delay)
					_, _ = in.Write(buffer[:n])
				}
			}()
			go func() {
				defer out.Close()
				buffer := make([]byte, 64<<10)
				for {
					n, err := in.Read(buffer)
					if err != nil {
						return
					}
					requests.Add(1)
					_, _ = out.Write(buffer[:n])
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// Redis is killed, hung and brought back while 500 mails a second go through: no
// mail is refused for that, and none is much later.
func TestADeadOrHungRedisStopsNoMail(t *testing.T) { onEach(t, testADeadOrHungRedis) }

func testADeadOrHungRedis(t *testing.T, redis *server) {
	var told log
	l := replica(t, redis.url, &told, *tenAnHour(t))
	const lost, back = "Redis does not answer", "Redis answers again"

	ctx, stop := context.WithCancel(t.Context())
	var mails sync.WaitGroup
	var mu sync.Mutex
	var slowest time.Duration
	var sent, refused int
	mails.Go(func() {
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			<-ticker.C
			mails.Go(func() {
				start := time.Now()
				r := l.Take(context.Background(), to(fmt.Sprintf("%d@example.org", i)))
				took := time.Since(start)
				mu.Lock()
				defer mu.Unlock()
				sent++
				slowest = max(slowest, took)
				if r != nil {
					refused++
				}
			})
		}
	})
	for round, fault := range []struct{ strike, mend func() }{
		{func() { _ = redis.process.Kill() }, redis.start},
		{func() { _ = redis.process.Signal(hang) }, func() { _ = redis.process.Signal(goOn) }},
	} {
		fault.strike()
		until(t, "the loss is told", func() bool { return told.count(lost) == round+1 })
		before := together(t, 14, l)
		if before != 10 {
			t.Errorf("round %d: %d of 14 passed in memory", round, before)
		}
		fault.mend()
		until(t, "the return is told", func() bool { return told.count(back) == round+1 })
		if n := together(t, 14, l); n != 10 {
			t.Errorf("round %d: %d of 14 passed afterwards", round, n)
		}
	}
	stop()
	mails.Wait()
	t.Logf("%d mails, the slowest took %v", sent, slowest)
	if refused > 0 || slowest > 300*time.Millisecond {
		t.Errorf("%d of %d mails refused, the slowest took %v", refused, sent, slowest)
	}
}

// Who restarts Redis closes connections that nobody uses at the moment. No mail finds
// them so.
func TestARestartOfRedisIsNotNoticed(t *testing.T) {
	onEach(t, func(t *testing.T, redis *server) {
		var told log
		l := replica(t, redis.url, &told, *tenAnHour(t))
		together(t, 14, l)
		_ = redis.process.Kill()
		<-redis.exited
		redis.start()
		if n := passed(t, l, 1, to("ada@example.org")); n != 1 {
			t.Error("the mail is refused")
		}
		for _, word := range []string{"EOF", "reset", "broken", "closed"} {
			if told.count(word) > 0 {
				t.Errorf("told:\n%s", &told.text)
			}
		}
	})
}

// After a failover connections may live on to what is a replica by now, while the address
// leads to another one. No mail finds them so.
func TestAFailoverOfRedisIsNotNoticed(t *testing.T) {
	for _, program := range servers(t) {
		calmly(t, func(t testing.TB, told *log) {
			address := filepath.Join(t.TempDir(), "address")
			lead := func(to *server) {
				_ = os.Remove(address)
				if err := os.Symlink(strings.TrimPrefix(to.url, "unix://"), address); err != nil {
					t.Fatal(err)
				}
			}
			old, master := startServer(t, program), startServer(t, program)
			lead(old)
			l := replica(t, "unix://"+address, told, *tenAnHour(t))
			together(t, 14, l)
			lead(master)
			conn, err := net.Dial("unix", strings.TrimPrefix(old.url, "unix://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := conn.Write([]byte("REPLICAOF 127.0.0.1 1\r\n")); err != nil {
				t.Fatal(err)
			}
			if said, err := bufio.NewReader(conn).ReadString('\n'); err != nil || said != "+OK\r\n" {
				t.Fatalf("%q, %v", said, err)
			}
			if n := together(t, 14, l); n != 10 || told.text.Len() != 0 {
				t.Errorf("%d of 14 passed, told:\n%s", n, &told.text)
			}
		})
	}
}

// A Redis that takes calls and says nothing, in clear text or TLS, keeps no mail for long.
func TestASilentRedisKeepsNoMail(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the system accepts
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	for _, scheme := range []string{"redis", "rediss"} {
		var told log
		l := replica(t, scheme+"://:password@"+listener.Addr().String(), &told, *tenAnHour(t))
		begin := time.Now()
		if n := passed(t, l, 1, to("ada@example.org")); n != 1 || told.count("no answer in 100ms") != 1 {
			t.Errorf("%s: %d of 1 passed, told:\n%s", scheme, n, &told.text)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%s: it took %v", scheme, took)
		}
	}
}

// saying listens and gives the same answer to whatever is asked.
func saying(t *testing.T, answer string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			buffer := make([]byte, 64<<10)
			for _, err := conn.Read(buffer); err == nil; _, err = conn.Read(buffer) {
				_, _ = io.WriteString(conn, answer)
			}
		}
	}()
	return listener.Addr().String()
}

// What cannot be true is as good as no answer: mails are counted in memory.
func TestARedisThatLies(t *testing.T) {
	for answer, isTrue := range map[string]bool{"*2\r\n:2\r\n:0\r\n": false, "*2\r\n:-1\r\n:0\r\n": false, "*2\r\n:9223372036854775807\r\n:0\r\n": false,
		"*2\r\n:1\r\n:9223372036854775807\r\n": false, "*2\r\n:1\r\n:-1\r\n": false, "*1\r\n:0\r\n": false, "+OK\r\n": false,
		"*2\r\n:1\r\n:0\r\n": true, "*2\r\n:1\r\n:7200000000\r\n": true, "*2\r\n:1\r\n:7200000001\r\n": false} { // twice the period
		var told log
		l := replica(t, "redis://"+saying(t, answer), &told, *tenAnHour(t))
		want, failures := 10, 1
		if isTrue {
			want, failures = 0, 0
		}
		if n := passed(t, l, 14, to("ada@example.org")); n != want || told.count("counted in memory") != failures {
			t.Errorf("%q: %d of 14 passed, told:\n%s", answer, n, &told.text)
		}
	}
}

// A clock that is set back makes nobody wait for longer than the limit is.
func TestRedisClockIsSetBack(t *testing.T) {
	redis := miniredis.RunT(t)
	var told log
	l := replica(t, "redis://"+redis.Addr(), &told, *tenAnHour(t))
	now := time.Now()
	redis.SetTime(now.Add(24 * time.Hour))
	passed(t, l, 14, to("ada@example.org"))
	redis.SetTime(now)
	if n := passed(t, l, 14, to("ada@example.org")); n != 10 || told.text.Len() != 0 {
		t.Errorf("%d of 14 passed, told:\n%s", n, &told.text)
	}
	redis.SetTime(now.Add(-time.Second)) // a step is no reason to begin anew
	if n := passed(t, l, 14, to("ada@example.org")); n != 0 || told.text.Len() != 0 {
		t.Errorf("%d of 14 passed, told:\n%s", n, &told.text)
	}
}

// A Redis that failed is left alone for a second, and then asked in the background.
func TestAFailedRedisIsLeftAlone(t *testing.T) {
	var calls atomic.Int64
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			_ = conn.Close()
		}
	}()
	var told log
	l := replica(t, "redis://"+listener.Addr().String(), &told, *tenAnHour(t))
	begin := time.Now()
	passed(t, l, 1, to("ada@example.org"))
	const atOnce = 2 // what closes a connection may take another one
	until(t, "Redis is called", func() bool { return calls.Load() == atOnce })
	until(t, "it is called again", func() bool {
		passed(t, l, 1, to("eve@example.org"))
		return calls.Load() > atOnce
	})
	if pause := time.Since(begin); pause < time.Second {
		t.Errorf("called again after %v", pause)
	}
}

// A limiter lets go of its connections, unless the next one has them.
func TestCloseLetsGoOfRedis(t *testing.T) {
	redis := miniredis.RunT(t)
	var told log
	settings := limits.Settings{Rules: *tenAnHour(t), Redis: settings.NewSecret("redis://" + redis.Addr())}
	first, err := limits.New(settings, nil, told.logger())
	if err != nil {
		t.Fatal(err)
	}
	passed(t, first, 1, to("ada@example.org"))
	next, err := limits.New(settings, first, told.logger())
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(next); err != nil {
		t.Error(err)
	}
	if n := passed(t, next, 14, to("ada@example.org")); n != 9 || redis.TotalConnectionCount() != 1 || told.text.Len() != 0 {
		t.Errorf("%d of 14 passed after one before, over %d connections, told:\n%s", n, redis.TotalConnectionCount(), &told.text)
	}
	if err := next.Close(nil); err != nil {
		t.Error(err)
	}
	until(t, "the connections are closed", func() bool { return redis.CurrentConnectionCount() == 0 })
	var none *limits.Limiter
	if err := none.Close(nil); err != nil {
		t.Error(err)
	}
}

// A reload that names a Redis, or another one, counts there.
func TestAReloadMayChangeTheRedis(t *testing.T) {
	var told log
	var last *limits.Limiter
	var before *miniredis.Miniredis
	for _, redis := range []*miniredis.Miniredis{nil, miniredis.RunT(t), miniredis.RunT(t), nil} {
		s := limits.Settings{Rules: *tenAnHour(t)}
		if redis != nil {
			s.Redis = settings.NewSecret("redis://" + redis.Addr())
		}
		next, err := limits.New(s, last, told.logger())
		if err != nil {
			t.Fatal(err)
		}
		if err := last.Close(next); err != nil {
			t.Error(err)
		}
		if passed(t, next, 1, to("ada@example.org")); redis != nil && len(redis.Keys()) != 1 {
			t.Errorf("%d keys are counted in the new Redis:\n%s", len(redis.Keys()), &told.text)
		}
		if before != nil {
			until(t, "the connections to the one before are closed", func() bool { return before.CurrentConnectionCount() == 0 })
		}
		last, before = next, redis
	}
}

// What Redis has counted is known when it fails.
func TestAFailingRedisIsNoNewStart(t *testing.T) {
	redis := miniredis.RunT(t)
	var told log
	l := replica(t, "redis://"+redis.Addr(), &told, *tenAnHour(t))
	if n := passed(t, l, 8, to("ada@example.org")); n != 8 {
		t.Fatalf("%d of 8 passed", n)
	}
	redis.SetError("OOM command not allowed when used memory > 'maxmemory'.")
	if n := passed(t, l, 14, to("ada@example.org")); n != 2 {
		t.Errorf("%d more passed", n)
	}
	if told.count("OOM") != 1 {
		t.Errorf("told:\n%s", &told.text)
	}
}

// Whoever reads the Redis finds no addresses.
func TestRedisHoldsNoAddresses(t *testing.T) {
	redis := miniredis.RunT(t)
	var told log
	if n := passed(t, replica(t, "redis://"+redis.Addr(), &told, *tenAnHour(t)), 1, to("ada@example.org")); n != 1 {
		t.Fatal("the mail is refused")
	}
	if len(redis.Keys()) == 0 {
		t.Fatalf("nothing is counted there:\n%s", &told.text)
	}
	if all := redis.Dump(); strings.Contains(all, "ada") || strings.Contains(all, "example") {
		t.Error(all)
	}
}

// The address says who signs in, and which database counts.
func TestTheAddressIsObeyed(t *testing.T) {
	redis := miniredis.RunT(t)
	redis.RequireUserAuth("relay", "secret")
	for path, database := range map[string]int{"": 0, "/": 0, "/3": 3, "?db=4": 4} {
		var told log
		l := replica(t, "redis://relay:secret@"+redis.Addr()+path, &told, *tenAnHour(t))
		if n := passed(t, l, 1, to("ada@example.org")); n != 1 || len(redis.DB(database).Keys()) == 0 {
			t.Errorf("%q: nothing is counted in %d, told:\n%s", path, database, &told.text)
		}
		redis.FlushAll()
	}
}

// A password is in no message.
func TestAWrongPasswordIsToldWithoutIt(t *testing.T) {
	redis := miniredis.RunT(t)
	redis.RequireAuth("right")
	var told log
	l := replica(t, "redis://:never-print-this@"+redis.Addr(), &told, *tenAnHour(t))
	if n := passed(t, l, 14, to("ada@example.org")); n != 10 {
		t.Errorf("%d of 14 passed", n)
	}
	if told.count("WRONGPASS") != 1 || told.count("never-print-this") != 0 {
		t.Errorf("told:\n%s", &told.text)
	}
	if shared, alone := l.IsShared(); !shared || !strings.Contains(alone, "WRONGPASS") {
		t.Errorf("shared is %t, alone %q", shared, alone)
	}
	redis.RequireAuth("never-print-this")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if shared, alone := l.IsShared(); shared && alone == "" { // though no mail comes
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("it stays alone: %s", alone)
		}
	}
}

// Redis repeats what it was asked where it does not know the command: the login, or the sum
// of an address.
func TestWhatRedisRepeatsIsNotTold(t *testing.T) {
	for _, said := range []string{
		"-ERR unknown command 'AUTH', with args beginning with: 'relay' 'never-print-this' \r\n", // Redis 7 with rename-command
		"-ERR unknown command `AUTH`, with args beginning with: `relay`, `never-print-this`, \r\n",
		"-ERR wrong login never-print-this\r\n",
	} {
		var told log
		l := replica(t, "redis://relay:never-print-this@"+saying(t, said), &told, *tenAnHour(t))
		if n := passed(t, l, 1, to("ada@example.org")); n != 1 || told.count(`"error":"ERR `) != 1 || told.count("never-print-this")+told.count("with args") != 0 {
			t.Errorf("%d of 1 passed, told:\n%s", n, &told.text)
		}
	}
}

// A Redis in another region takes longer for a new connection than a mail waits, and not
// for a question: the first mail does without it, later ones do not.
func TestARedisFarAwayIsUsed(t *testing.T) {
	redis := miniredis.RunT(t)
	redis.RequireAuth("password")
	url := "redis://:password@" + forwarding(t, redis.Addr(), new(atomic.Int64), 40*time.Millisecond) + "/3"
	var logs [2]log
	one, other := replica(t, url, &logs[0], *tenAnHour(t)), replica(t, url, &logs[1], *tenAnHour(t))
	isUsed := func(l *log) bool {
		return l.count("answers again") > 0 && l.count("answers again") == l.count("Redis does not answer")
	}
	failures := func() int { return logs[0].count("Redis does not answer") + logs[1].count("Redis does not answer") }
	for i := range 20 {
		for deadline := time.Now().Add(20 * time.Second); !isUsed(&logs[0]) || !isUsed(&logs[1]); {
			if time.Now().After(deadline) {
				t.Fatalf("it is never used; told:\n%s%s", &logs[0].text, &logs[1].text)
			}
			passed(t, one, 1, to("bob@example.org"))
			passed(t, other, 1, to("bob@example.org"))
			time.Sleep(10 * time.Millisecond)
		}
		before, ada := failures(), to(fmt.Sprintf("ada%d@example.org", i))
		n := passed(t, one, 6, ada) + passed(t, other, 6, ada)
		if failures() > before { // the machine is busy
			continue
		}
		if n != 10 {
			t.Errorf("%d of 12 passed", n)
		}
		return
	}
	t.Error("Redis failed again and again")
}

// A Redis that takes longer for an answer than a mail waits is not back because it answers.
func TestARedisTooFarAwayIsNotUsed(t *testing.T) {
	redis := miniredis.RunT(t)
	var requests atomic.Int64
	var told log
	l := replica(t, "redis://"+forwarding(t, redis.Addr(), &requests, 150*time.Millisecond), &told, *tenAnHour(t))
	for deadline := time.Now().Add(20 * time.Second); requests.Load() < 6; time.Sleep(10 * time.Millisecond) { // it was looked at twice
		passed(t, l, 1, to("ada@example.org"))
		if time.Now().After(deadline) {
			t.Fatalf("%d requests", requests.Load())
		}
	}
	if told.count("Redis does not answer") != 1 || told.count("answers again") != 0 {
		t.Errorf("told:\n%s", &told.text)
	}
}
