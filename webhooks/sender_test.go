package webhooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="

func endpointAt(url string) Endpoint {
	return Endpoint{URL: settings.NewSecret(url), Secret: settings.NewSecret(secret), Statuses: []string{"bounced"}}
}

// memory is a queue without a database.
type memory struct {
	mu     sync.Mutex
	queues map[string][]mail.Notification // by endpoint
	broken error
	counts int // how often it was counted
	stuck  bool
}

func (q *memory) add(e Endpoint, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.queues == nil {
		q.queues = make(map[string][]mail.Notification)
	}
	for range n {
		id := fmt.Sprintf("msg_%s%d", e.key(), len(q.queues[e.key()]))
		q.queues[e.key()] = append(q.queues[e.key()], mail.Notification{ID: id, Body: []byte(`{"type":"delivery.bounced"}`), Since: time.Now(), Due: time.Now()})
	}
}

func (q *memory) Claim(ctx context.Context, endpoint string, limit int, end time.Time) (claimed []mail.Notification, err error) {
	if q.stuck {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.queues[endpoint]
	for i := range all {
		if len(claimed) < limit && !all[i].Due.After(time.Now()) {
			all[i].Attempts++
			all[i].Due = end
			claimed = append(claimed, all[i])
		}
	}
	return claimed, q.broken
}

func (q *memory) Settle(_ context.Context, done []string, again []mail.Notification) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for endpoint, all := range q.queues {
		all = slices.DeleteFunc(all, func(n mail.Notification) bool { return slices.Contains(done, n.ID) })
		for _, other := range again {
			for i := range all {
				if all[i].ID == other.ID {
					all[i].Due = other.Due
				}
			}
		}
		q.queues[endpoint] = all
	}
	return q.broken
}

func (q *memory) Pending(_ context.Context, endpoint string) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts++
	return len(q.queues[endpoint]), nil
}

func (q *memory) Expire(_ context.Context, endpoint string, before time.Time) (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queues[endpoint] = slices.DeleteFunc(q.queues[endpoint], func(one mail.Notification) bool {
		isOld := one.Due.Before(before)
		if isOld {
			n++
		}
		return isOld
	})
	return n, q.broken
}

func (q *memory) left() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, all := range q.queues {
		n += len(all)
	}
	return n
}

// log is safe for use by many goroutines.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// service answers calls without a network, so that time is not real.
type service func(*http.Request) (*http.Response, error)

func (s service) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

func answer(status int, header ...string) (*http.Response, error) {
	w := httptest.NewRecorder()
	for i := 0; i+1 < len(header); i += 2 {
		w.Header().Set(header[i], header[i+1])
	}
	w.WriteHeader(status)
	return w.Result(), nil
}

// sending is a Sender with its queue and its log.
type sending struct {
	*Sender
	queue *memory
	log   *log
}

func start(t *testing.T, transport http.RoundTripper) *sending {
	s := &sending{queue: new(memory), log: new(log)}
	s.Sender = New(s.queue, slog.New(slog.NewTextHandler(s.log, nil)))
	if transport != nil {
		s.transport = transport
	}
	return s
}

func (s *sending) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.Close(ctx)
}

func verify(t *testing.T, r *http.Request) {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	at, _ := strconv.ParseInt(r.Header.Get("Webhook-Timestamp"), 10, 64)
	// The library has the real time; here it may be another.
	if err := wh.VerifyIgnoringTimestamp(body, r.Header); err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
		t.Errorf("of %v: %v", time.Unix(at, 0), err)
	}
	if string(body) != `{"type":"delivery.bounced"}` || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v %s", r.Method, r.Header, body)
	}
}

func TestAnEndpointThatFailsIsTriedForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var calls []time.Duration
		var called atomic.Int32
		s := start(t, service(func(r *http.Request) (*http.Response, error) {
			verify(t, r)
			calls = append(calls, time.Since(begin))
			called.Add(1)
			return answer(500)
		}))
		defer s.close()
		e := endpointAt("https://acme.example/hooks?never-print-this")
		s.queue.add(e, 1)
		s.Use(Settings{Send: []Endpoint{e}})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		state := s.State()[0]
		if state.Name != "acme.example" || state.Failed != int(called.Load()) || state.Pending != 1 || state.Cause == nil ||
			!strings.Contains(state.String(), "takes nothing since 2000-01-01T00:00:00Z, 1 wait: the answer is 500") {
			t.Errorf("%+v: %s", state, state)
		}
		time.Sleep(26 * time.Hour)
		synctest.Wait()
		if len(calls) < 9 || len(calls) > 15 || calls[0] > time.Second {
			t.Errorf("called after %v", calls)
		}
		want := firstWait
		for i := range calls[1:] {
			gap := calls[i+1] - calls[i]
			if isLast := i == len(calls)-2; !isLast && gap < want*4/5 || gap > want*6/5+longestRest*6/5 {
				t.Errorf("call %d comes after %v, not %v", i+2, gap, want)
			}
			want = min(4*want, longestWait)
		}
		if last := calls[len(calls)-1]; last < 24*time.Hour || last > 24*time.Hour+2*time.Minute {
			t.Errorf("the last call is after %v", last)
		}
		state = s.State()[0]
		if s.queue.left() != 0 || state.GivenUp != 1 || state.Failed != len(calls) || state.Sent != 0 || state.Pending != 0 {
			t.Errorf("%d left, %+v", s.queue.left(), state)
		}
		for line, n := range map[string]int{"events cannot be sent": 1, "events are given up": 1, "never-print-this": 0, "whsec": 0} {
			if got := strings.Count(s.log.String(), line); got != n {
				t.Errorf("the log says %q %d times:\n%s", line, got, s.log)
			}
		}
	})
}

// Where more wait than an endpoint that is dead is called with in a day, they leave all the same.
func TestWhatWaitsForADeadEndpointLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, service(func(*http.Request) (*http.Response, error) { return answer(503, "Retry-After", "3600") }))
		defer s.close()
		e := endpointAt("https://acme.example/")
		s.queue.add(e, 5000)
		s.Use(Settings{Send: []Endpoint{e}})
		for _, row := range []struct {
			after       time.Duration
			least, most int
		}{
			{patience + lastTry/2, 4000, 5000}, // those that are due at its end are called once more
			{patience + lastTry + 2*counting, 1, 300},
			{2*patience + 2*lastTry, 0, 0}, // those that it was called with
		} {
			time.Sleep(row.after - time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))
			synctest.Wait()
			if left := s.queue.left(); left < row.least || left > row.most {
				t.Errorf("%d are left after %v", left, row.after)
			}
		}
		if state := s.State()[0]; state.Pending != 0 || state.GivenUp != 5000 || !strings.Contains(s.log.String(), "the answer is 503") {
			t.Errorf("%+v", state)
		}
	})
}

func TestAnEndpointSaysWhenToComeAgain(t *testing.T) {
	for name, c := range map[string]struct {
		header   func() string
		from, to time.Duration
	}{
		"seconds":      {func() string { return "7200" }, 2 * time.Hour, 2*time.Hour + time.Minute},
		"a date":       {func() string { return time.Now().Add(3 * time.Hour).UTC().Format(http.TimeFormat) }, 3*time.Hour - time.Second, 3*time.Hour + time.Minute},
		"beyond a day": {func() string { return "1000000" }, 24 * time.Hour, 24*time.Hour + time.Hour},
		"nonsense":     {func() string { return "soon" }, 4 * time.Second, 10 * time.Second},
		"the past":     {func() string { return "Mon, 02 Jan 2006 15:04:05 MST" }, 4 * time.Second, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls []time.Time
				s := start(t, service(func(*http.Request) (*http.Response, error) {
					calls = append(calls, time.Now())
					if len(calls) == 1 {
						return answer(503, "Retry-After", c.header())
					}
					return answer(204)
				}))
				defer s.close()
				e := endpointAt("https://acme.example/")
				s.queue.add(e, 1)
				s.Use(Settings{Send: []Endpoint{e}})
				time.Sleep(c.to + time.Minute)
				synctest.Wait()
				if len(calls) != 2 || calls[1].Sub(calls[0]) < c.from || calls[1].Sub(calls[0]) > c.to {
					t.Errorf("called at %v", calls)
				}
				state := s.State()[0]
				if s.queue.left() != 0 || state.Sent != 1 || state.Failed != 1 || state.Cause != nil || state.String() != "in use" || !strings.Contains(s.log.String(), "events are sent again") {
					t.Errorf("%+v", state)
				}
			})
		})
	}
}

// 410 means that this is not wanted, now or later.
func TestAnEndpointThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		s := start(t, service(func(*http.Request) (*http.Response, error) {
			calls++
			return answer(410)
		}))
		defer s.close()
		e := endpointAt("https://acme.example/")
		s.queue.add(e, 1)
		s.Use(Settings{Send: []Endpoint{e}})
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if calls != 1 || s.queue.left() != 0 || s.State()[0].GivenUp != 1 || !strings.Contains(s.log.String(), "410") {
			t.Errorf("%d calls, %+v\n%s", calls, s.State(), s.log)
		}
	})
}

// One that hangs keeps its own events waiting and nobody else's, and gets few calls.
func TestAnEndpointThatHangsHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hanging, most, calls, taken atomic.Int32
		s := start(t, service(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "taking.example" {
				taken.Add(1)
				return answer(200)
			}
			calls.Add(1)
			if now := hanging.Add(1); now > most.Load() {
				most.Store(now)
			}
			defer hanging.Add(-1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		defer s.close()
		hangs, takes := endpointAt("https://hanging.example/"), endpointAt("https://taking.example/")
		s.queue.add(hangs, 1000)
		s.queue.add(takes, 1000)
		s.Use(Settings{Send: []Endpoint{hangs, takes}})
		time.Sleep(time.Second)
		synctest.Wait()
		if taken.Load() != 1000 {
			t.Errorf("%d of 1000 are taken", taken.Load())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if most.Load() != atATime || calls.Load() > 600 {
			t.Errorf("%d calls, %d at a time", calls.Load(), most.Load())
		}
		if state := s.State()[0]; state.Sent != 0 || state.Pending != 1000 || !strings.Contains(fmt.Sprint(state.Cause), "no answer within 10s") {
			t.Errorf("%+v", state)
		}
	})
}

// A change of the secret holds for the next call, and an endpoint that is removed gets
// none.
func TestOtherSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signatures []error
		other := "a plain text of some length"
		s := start(t, service(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			wh, _ := standardwebhooks.NewWebhookRaw([]byte(other))
			signatures = append(signatures, wh.VerifyIgnoringTimestamp(body, r.Header))
			return answer(200)
		}))
		defer s.close()
		e := endpointAt("https://acme.example/")
		s.Use(Settings{Send: []Endpoint{e, endpointAt("https://acme.example/other")}})
		if states := s.State(); states[0].Name != "acme.example" || states[1].Name != "acme.example (2)" {
			t.Errorf("%+v", states)
		}
		s.queue.add(e, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		e.Secret = settings.NewSecret(other)
		s.Use(Settings{Send: []Endpoint{e}})
		s.queue.add(e, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(signatures) != 2 || signatures[0] == nil || signatures[1] != nil || s.State()[0].Sent != 2 {
			t.Errorf("%v, %+v", signatures, s.State())
		}
		s.Use(Settings{})
		s.queue.add(e, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(signatures) != 2 || s.queue.left() != 1 || len(s.State()) != 0 {
			t.Errorf("%v, %d left", signatures, s.queue.left())
		}
	})
}

// Who has nothing to send does not ask for that more often than need be.
func TestAnIdleQueueIsCountedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, nil)
		defer s.close()
		s.Use(Settings{Send: []Endpoint{endpointAt("https://acme.example/")}})
		time.Sleep(6 * counting)
		synctest.Wait()
		if s.queue.counts != 7 {
			t.Errorf("counted %d times", s.queue.counts)
		}
	})
}

// What failed together does not come back together.
// What comes while an endpoint is left alone is counted all the same.
func TestAQueueIsCountedWhileItsEndpointRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		s := start(t, service(func(*http.Request) (*http.Response, error) {
			calls.Add(1)
			return answer(503, "Retry-After", "3600")
		}))
		defer s.close()
		e := endpointAt("https://acme.example/")
		s.queue.add(e, 1)
		s.Use(Settings{Send: []Endpoint{e}})
		time.Sleep(looking)
		s.queue.add(e, 30)
		time.Sleep(2 * counting)
		synctest.Wait()
		if state := s.State()[0]; state.Pending != 31 || calls.Load() != 1 || !strings.Contains(state.String(), "31 wait") {
			t.Errorf("%d calls, %+v", calls.Load(), state)
		}
		time.Sleep(longestAsked - looking - 2*counting - time.Second)
		synctest.Wait()
		if calls.Load() != 1 {
			t.Errorf("%d calls within the hour", calls.Load())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if calls.Load() == 1 {
			t.Error("no call after it")
		}
	})
}

func TestJitter(t *testing.T) {
	seen := make(map[time.Duration]bool)
	for range 1000 {
		seen[jittered(10)] = true
	}
	for want := time.Duration(8); want <= 12; want++ {
		if !seen[want] || len(seen) != 5 {
			t.Fatalf("%v of 8 to 12", seen)
		}
	}
}

func TestAQueueThatCannotBeReadIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, nil)
		defer s.close()
		s.queue.broken = errors.New("no such table")
		s.Use(Settings{Send: []Endpoint{endpointAt("https://acme.example/")}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(s.log.String(), "no such table"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// A stop waits for calls under way, and what it cuts is due at once.
func TestStopping(t *testing.T) {
	for _, c := range []struct {
		patience    time.Duration
		quick, left int // of three calls
	}{{5 * time.Second, 0, 0}, {time.Second, 0, 3}, {time.Second, 1, 2}} {
		patience, left := c.patience, c.left
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int32
			s := start(t, service(func(r *http.Request) (*http.Response, error) {
				if int(calls.Add(1)) <= c.quick {
					return answer(200)
				}
				select {
				case <-time.After(3 * time.Second):
					return answer(200)
				case <-r.Context().Done():
					return nil, r.Context().Err()
				}
			}))
			e := endpointAt("https://acme.example/")
			s.queue.add(e, 3)
			s.Use(Settings{Send: []Endpoint{e}})
			time.Sleep(time.Second)
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s.Close(ctx)
			if s.queue.left() != left || strings.Contains(s.log.String(), "cannot be sent") {
				t.Errorf("%d left, not %d\n%s", s.queue.left(), left, s.log)
			}
			for _, n := range s.queue.queues[e.key()] {
				if n.Due.After(time.Now()) {
					t.Errorf("due %v later", time.Until(n.Due))
				}
			}
		})
	}
}

// A stop is no reason to worry about the queue.
func TestStoppingWhileTheQueueIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, nil)
		s.queue.stuck = true
		s.Use(Settings{Send: []Endpoint{endpointAt("https://acme.example/")}})
		time.Sleep(time.Second)
		s.close()
		if s.log.String() != "" {
			t.Errorf("%s", s.log)
		}
	})
}

// The cause of a failure is told as it is.
func TestWhyACallFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const cause = `tls: server selected unadvertised ALPN protocol "h9"`
		s := start(t, service(func(*http.Request) (*http.Response, error) { return nil, errors.New(cause) }))
		defer s.close()
		e := endpointAt("https://acme.example/")
		s.queue.add(e, 1)
		s.Use(Settings{Send: []Endpoint{e}})
		time.Sleep(time.Second)
		synctest.Wait()
		if state := s.State()[0]; state.Cause == nil || state.Cause.Error() != cause {
			t.Errorf("%v", state)
		}
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never holds that %s", what)
		}
	}
}

func TestOverARealConnection(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verify(t, r)
		if user, password, _ := r.BasicAuth(); user != "relay" || password != "never-print-this" {
			t.Error("there is no password")
		}
		calls.Add(1)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, strings.Repeat("x", 2*maxAnswer))
	}))
	defer server.Close()
	s := start(t, nil)
	defer s.close()
	e := endpointAt(strings.Replace(server.URL, "//", "//relay:never-print-this@", 1) + "/hooks")
	s.queue.add(e, 20)
	s.Use(Settings{Send: []Endpoint{e}})
	eventually(t, "all are sent", func() bool { return s.queue.left() == 0 })
	if calls.Load() != 20 || s.log.String() != "" {
		t.Errorf("%d calls\n%s", calls.Load(), s.log)
	}
}

// pipes is a listener without a network.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, open := <-p; open {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error { return nil }

func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// A connection serves one call after the other, and is left before most servers and
// proxies would do so, after a minute: a call that they cut would have to be repeated.
func TestAConnectionIsKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := make(pipes)
		var opened, closed atomic.Int32
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { verify(t, r) }),
			ConnState: func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					opened.Add(1)
				case http.StateClosed:
					closed.Add(1)
				}
			}}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(listener) }()
		s := start(t, nil)
		s.transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			listener <- theirs
			return ours, nil
		}
		e := endpointAt("http://acme.example/hooks")
		s.Use(Settings{Send: []Endpoint{e}})
		for range 2 {
			s.queue.add(e, 1)
			time.Sleep(30 * time.Second)
			synctest.Wait()
		}
		if s.queue.left() != 0 || opened.Load() != 1 || closed.Load() != 0 {
			t.Errorf("%d left, %d connections, %d closed", s.queue.left(), opened.Load(), closed.Load())
		}
		time.Sleep(time.Minute - 30*time.Second)
		synctest.Wait()
		if closed.Load() != 1 {
			t.Errorf("%d connections are closed", closed.Load())
		}
		s.close()
		close(listener)
		_ = server.Close()
		<-served
	})
}

// What is no answer of the endpoint itself is none, and no error tells its address.
func TestWhatIsNoSuccess(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	redirecting := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer redirecting.Close()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	defer untrusted.Close()
	cutting := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer cutting.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	saying := func(text string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, strings.ReplaceAll(text, "PATH", r.URL.Path))
			if strings.Contains(text, " 101 ") { // and stays
				t.Cleanup(func() { _ = conn.Close() })
				return
			}
			_ = conn.Close()
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	const notHTTP, redirect = "the answer is not HTTP", "redirects are not followed"
	moving := func(to string) string {
		return saying("HTTP/1.1 301 Moved\r\nLocation: " + to + "\r\nContent-Length: 0\r\n\r\n")
	}
	for url, says := range map[string]string{redirecting.URL: redirect, moving("https://acme.example:undefinedPATH"): redirect, moving("http://[acmePATH"): redirect,
		moving("PATH%zz"): redirect, untrusted.URL: "certificate", cutting.URL: "EOF", closed.URL: "refused",
		saying("POST PATH HTTP/1.1\r\n\r\n"): notHTTP, saying("HTTP/1.1 PATH\r\n\r\n"): notHTTP, saying("HTTP/1.1 200 OK\r\nPATH\r\n\r\n"): notHTTP,
		saying("HTTP/1.1 200 OK\r\nContent-Length: PATH\r\n\r\n"):                               notHTTP,
		saying("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"): "the answer is 101",
		saying("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxAnswer) + "\r\n\r\n"):        "exceeded"} {
		s := start(t, nil)
		e := endpointAt(url + "/never-print-this")
		s.queue.add(e, 1)
		s.Use(Settings{Send: []Endpoint{e}})
		eventually(t, "it fails", func() bool { return s.State()[0].Failed > 0 })
		if text := s.State()[0].String(); !strings.Contains(text, says) || strings.Contains(text+s.log.String(), "never-print-this") {
			t.Errorf("%s\n%s", text, s.log)
		}
		s.close()
	}
}
