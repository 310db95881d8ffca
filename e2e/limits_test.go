package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Somebody has mails sent to one address as fast as it goes: ten arrive, spelled
// as it may be, and the rest is told how long to wait, in the reader's language.
func TestMailBombing(t *testing.T) {
	server := startSink(t)
	relay := startRelayWith(t, fmt.Sprintf(`[{"type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true}]`, server.port()),
		`"limits": {"recipient": "10/10m"}`)
	spellings := []string{"ada.lovelace@gmail.com", "AdaLovelace@gmail.com", "ada.lovelace+%d@gmail.com", "a.d.a.lovelace@googlemail.com"}
	var mu sync.Mutex
	answers := make(map[int]int)
	var senders sync.WaitGroup
	for sender := range 20 {
		senders.Go(func() {
			for i := range 50 {
				address := strings.Replace(spellings[i%len(spellings)], "%d", fmt.Sprint(i), 1)
				body := fmt.Sprintf(`{"to":%q,"type":"SignIn","payload":{"code":"482913","locale":"ru"},"ip":"203.0.113.%d"}`, address, sender)
				got := post(t, relay.webhook(), "application/json", authorization, strings.NewReader(body))
				mu.Lock()
				answers[got.status]++
				mu.Unlock()
				if got.status == http.StatusTooManyRequests && (got.header.Get("X-Relay-Error") != "rate_limited" ||
					got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "примерно через 1\u00a0минуту. (ref ")) {
					t.Errorf("%v %s", got.header, got.body)
				}
			}
		})
	}
	senders.Wait()
	if answers[http.StatusOK] != 10 || answers[http.StatusTooManyRequests] != 990 {
		t.Errorf("answers by status: %v", answers)
	}
	if mails := server.take(); len(mails) != 10 {
		t.Errorf("%d mails arrived", len(mails))
	}
	other := post(t, relay.webhook(), "application/json", authorization,
		strings.NewReader(`{"to":"bob@gmail.com","type":"SignIn","payload":{"code":"482913"}}`))
	if other.status != http.StatusOK {
		t.Errorf("somebody else gets %d", other.status)
	}
}

// startRedis starts a Redis or Valkey, and returns its process and how to start it anew.
func startRedis(t testing.TB) (url string, running func() *os.Process, again func()) {
	t.Helper()
	path, socket := need(t, "redis-server", "valkey-server"), filepath.Join(t.TempDir(), "redis.sock")
	var p *process
	again = func() {
		p = start(t, exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"))
		until(t, "Redis listens", func() bool {
			conn, err := net.Dial("unix", socket)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
	}
	again()
	return "unix://" + socket, func() *os.Process { return p.cmd.Process }, again
}

// Three relays on one Redis count as one does: of 14 webhooks for one person that come
// at the same time, whichever relay they reach, 10 are served.
func TestThreeRelaysCountExactly(t *testing.T) {
	url, _, _ := startRedis(t)
	section := fmt.Sprintf(`"limits": {"recipient": "10/10m", "redis": %q}`, url)
	var relays []*relayProcess
	for range 3 {
		relays = append(relays, startRelayWith(t, inbox, section))
	}
	for run, failures := 0, 0; run < 50; {
		var served, limited atomic.Int64
		var senders sync.WaitGroup
		address := fmt.Sprintf("%s-%d@example.org", strings.ToLower(t.Name()), run+100*failures)
		for i := range 14 {
			senders.Go(func() {
				switch post(t, relays[i%3].webhook(), "application/json", authorization,
					strings.NewReader(fmt.Sprintf(`{"to":%q,"type":"SignIn","payload":{"code":"482913"}}`, address))).status {
				case http.StatusOK:
					served.Add(1)
				case http.StatusTooManyRequests:
					limited.Add(1)
				}
			})
		}
		senders.Wait()
		if told := strings.Count(relays[0].log()+relays[1].log()+relays[2].log(), "Redis does not answer"); told > failures {
			if failures = told; failures > 20 { // a machine so busy that Redis takes over 100 ms
				t.Fatal("Redis failed again and again")
			}
			until(t, "Redis is asked again", func() bool {
				return strings.Count(relays[0].log()+relays[1].log()+relays[2].log(), "Redis answers again") == failures
			})
			continue
		}
		if served.Load() != 10 || limited.Load() != 4 {
			t.Errorf("run %d: %d served, %d refused", run, served.Load(), limited.Load())
		}
		run++
	}
}

// Redis is killed, comes back, hangs and comes back under 500 webhooks a second: every
// mail is sent, and none takes 300 ms longer than without that.
func TestADeadOrHungRedisCostsNoWebhook(t *testing.T) {
	url, running, again := startRedis(t)
	relay := startRelayWith(t, inbox, fmt.Sprintf(`"limits": {"recipient": "1000/1m", "ip": "1000000/1m", "redis": %q}`, url))
	told := func(words string, times int) {
		until(t, words, func() bool { return strings.Count(relay.log(), words) >= times })
	}
	const second = 500
	measure := func(phase string, during func(s *steadyLoad)) time.Duration {
		s := startSteadyLoad(t, phase, second, func() string { return relay.public })
		during(s)
		s.stop()
		t.Logf("%s: %v", phase, s)
		if len(s.lost) > 0 {
			t.Errorf("%s: lost %+v", phase, s.lost[0])
		}
		return s.slowest
	}
	answered := func(s *steadyLoad, webhooks int64) {
		wanted := s.answered.Load() + webhooks
		until(t, "webhooks are answered", func() bool { return s.answered.Load() >= wanted })
	}
	calm := measure("calm", func(s *steadyLoad) { answered(s, 2*second) })
	for _, fault := range []struct {
		name         string
		strike, mend func()
	}{
		{"killed", func() { _ = running().Kill() }, again},
		{"hung", func() { _ = running().Signal(hang) }, func() { _ = running().Signal(goOn) }},
	} {
		lost, back := strings.Count(relay.log(), "Redis does not answer"), strings.Count(relay.log(), "Redis answers again")
		slowest := measure(fault.name, func(s *steadyLoad) {
			answered(s, second)
			fault.strike()
			told("Redis does not answer", lost+1)
			answered(s, second)
			fault.mend()
			told("Redis answers again", back+1)
			answered(s, second)
		})
		// Beside other work on the machine even a calm relay has slow moments.
		if slowest > 300*time.Millisecond+max(calm, 100*time.Millisecond) {
			t.Errorf("%s: the slowest took %v, without that %v", fault.name, slowest, calm)
		}
	}
}
