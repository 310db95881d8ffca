package handlers

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/relay"
)

// patience bounds every wait of these tests. It is reached only when one fails.
const patience = 10 * time.Second

func listen(t *testing.T, h http.Handler, log *logs) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return NewServer(listener, maxConnections, h, log.logger())
}

// start serves a handler on a port of its own.
func start(t *testing.T, h http.Handler, log *logs) *Server {
	t.Helper()
	s := listen(t, h, log)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// client is one connection, written to by hand.
type client struct {
	net.Conn
	reader *bufio.Reader
}

func dial(t *testing.T, s *Server) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{conn, bufio.NewReader(conn)}
}

func (c *client) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads one answer whole.
func (c *client) answer(t *testing.T) (*http.Response, string) {
	t.Helper()
	r, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("a broken answer: %v", err)
	}
	return r, string(body)
}

// closed waits for the server to close the connection.
func (c *client) closed(t *testing.T) {
	t.Helper()
	if _, err := c.reader.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is not closed: %v", err)
	}
}

func head(extra ...string) string {
	return "POST /logto/email HTTP/1.1\r\nHost: relay\r\nAuthorization: " + testToken +
		"\r\nContent-Type: application/json\r\n" + strings.Join(extra, "\r\n") + "\r\n\r\n"
}

func whole(body string) string { return head("Content-Length: "+strconv.Itoa(len(body))) + body }

func impatient() Public {
	s := testOptions()
	s.Timeout = 200 * time.Millisecond
	return s
}

func TestConnectionIsReused(t *testing.T) {
	c := dial(t, start(t, publicWith(deliver(accept), new(logs)), new(logs)))
	for _, sent := range []struct {
		text string
		code int
	}{
		{whole(good), 200},
		{whole(`{"to":`), 400},
		{strings.Replace(whole(good), testToken, "wrong", 1), 401},
		{strings.Replace(whole(good), "application/json", "text/plain", 1), 415},
		{strings.Replace(whole(good), "/logto/email", "/elsewhere", 1), 404},
		{whole(good), 200},
	} {
		c.send(t, sent.text)
		if got, body := c.answer(t); got.StatusCode != sent.code || got.Close {
			t.Fatalf("got %d %q (close: %v), want %d", got.StatusCode, body, got.Close, sent.code)
		}
	}
}

// A body that does not come ends in an answer, on a route that wants one and on
// one that does not.
func TestSlowBody(t *testing.T) {
	for _, test := range []struct {
		name, text string
		code       int
		word       mail.Reason
	}{
		{"half a body", head("Content-Length: 100") + `{"to":`, 504, "timeout"},
		{"no body", head("Content-Length: 100"), 504, "timeout"},
		{"half a chunk", head("Transfer-Encoding: chunked") + "10\r\n{", 504, "timeout"},
		{"unauthorized", strings.Replace(head("Content-Length: 100"), testToken, "wrong", 1), 401, "unauthorized"},
		{"a probe", "GET /readyz HTTP/1.1\r\nHost: relay\r\nContent-Length: 100\r\n\r\n", 200, ""},
		{"no such route", strings.Replace(head("Content-Length: 100"), "/logto/email", "/elsewhere", 1), 404, "not_found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, start(t, publicOver(impatient(), deliver(accept), new(logs)), new(logs)))
			begin := time.Now()
			c.send(t, test.text)
			got, _ := c.answer(t)
			if got.StatusCode != test.code || got.Header.Get("X-Relay-Error") != string(test.word) || !got.Close {
				t.Errorf("got %d %v", got.StatusCode, got.Header)
			}
			if took := time.Since(begin); took > patience/2 {
				t.Errorf("it took %v", took)
			}
			c.closed(t)
		})
	}
}

// reading is a connection that tells until when it is read.
type reading struct {
	*httptest.ResponseRecorder
	until time.Time
}

func (r *reading) SetReadDeadline(until time.Time) error {
	r.until = until
	return nil
}

// A body has half of the time that a webhook has.
func TestTheTimeOfABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &reading{ResponseRecorder: httptest.NewRecorder()}
		publicWith(deliver(accept), new(logs)).ServeHTTP(w, webhookRequest(good))
		if left := time.Until(w.until); left != testOptions().Timeout/2 {
			t.Errorf("the body has %v", left)
		}
	})
}

// Whom nobody knows takes no place with a body that never comes.
func TestTheTimeOfAStrangersBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, r := range map[string]*http.Request{
			"wrong token": httptest.NewRequest("POST", "/logto/email", strings.NewReader(good)),
			"no route":    httptest.NewRequest("POST", "/elsewhere", strings.NewReader(good)),
			"a probe":     httptest.NewRequest("GET", "/readyz", strings.NewReader(good)),
			"another":     httptest.NewRequest("HEAD", "/healthz", strings.NewReader(good)),
		} {
			w := &reading{ResponseRecorder: httptest.NewRecorder()}
			publicWith(deliver(accept), new(logs)).ServeHTTP(w, r)
			if left := time.Until(w.until); left != web.StrangersPatience {
				t.Errorf("%s: the body has %v", name, left)
			}
		}
	})
}

// The deadline of the body must not end the wait for the mail.
func TestMailTakesLongerThanBody(t *testing.T) {
	c := dial(t, start(t, publicOver(impatient(), deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		<-ctx.Done()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("the context ends with %v", ctx.Err())
		}
		return accept(ctx, r)
	}), new(logs)), new(logs)))
	for range 2 {
		c.send(t, whole(good))
		if got, body := c.answer(t); got.StatusCode != 200 || got.Close {
			t.Errorf("got %d %s", got.StatusCode, body)
		}
	}
}

func TestBodyBrokenOff(t *testing.T) {
	c := dial(t, start(t, publicWith(deliver(accept), new(logs)), new(logs)))
	c.send(t, head("Content-Length: 100")+`{"to":`)
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.answer(t); got.StatusCode != 400 || got.Header.Get("X-Relay-Error") != "malformed" {
		t.Errorf("got %d %v", got.StatusCode, got.Header)
	}
}

// Whoever sends far too much before reading gets to read the answer all the
// same.
func TestLargeBodyIsAnswered(t *testing.T) {
	const size = 900 << 10
	for _, test := range []struct {
		name, text string
		code       int
		word       mail.Reason
		closes     bool
	}{
		{"announced", head("Content-Length: "+strconv.Itoa(size)) + strings.Repeat("x", size), 413, "too_large", false},
		{"chunked", head("Transfer-Encoding: chunked") + strconv.FormatInt(size, 16) + "\r\n" + strings.Repeat("x", size) + "\r\n0\r\n\r\n", 413, "too_large", false},
		{"a stranger's", strings.Replace(head("Transfer-Encoding: chunked"), testToken, "wrong", 1) +
			strconv.FormatInt(size, 16) + "\r\n" + strings.Repeat("x", size) + "\r\n0\r\n\r\n", 401, "unauthorized", false},
		{"only announced, after asking", head("Content-Length: 2000000000", "Expect: 100-continue"), 413, "too_large", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dial(t, start(t, publicWith(deliver(accept), new(logs)), new(logs)))
			c.send(t, test.text)
			got, _ := c.answer(t)
			if got.StatusCode != test.code || got.Header.Get("X-Relay-Error") != string(test.word) || got.Close != test.closes {
				t.Errorf("got %d %v (close: %v)", got.StatusCode, got.Header, got.Close)
			}
		})
	}
	t.Run("without end", func(t *testing.T) {
		c := dial(t, start(t, publicWith(deliver(accept), new(logs)), new(logs)))
		c.send(t, head("Transfer-Encoding: chunked"))
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			chunk := "10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n"
			for {
				if _, err := io.WriteString(c, chunk); err != nil {
					return
				}
			}
		}()
		got, _ := c.answer(t)
		if got.StatusCode != 413 || !got.Close {
			t.Errorf("got %d (close: %v)", got.StatusCode, got.Close)
		}
		_ = c.Close()
		<-sent
	})
}

// A caller who hangs up does not cut the mail that it asked for.
func TestCallerGone(t *testing.T) {
	log := new(logs)
	entered, gone := make(chan struct{}), make(chan struct{})
	delivered := make(chan error, 1)
	s := start(t, publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		close(entered)
		<-gone
		delivered <- ctx.Err()
		return accept(ctx, r)
	}), log), log)
	c := dial(t, s)
	c.send(t, whole(good))
	<-entered
	// The reset is on its way before the next connection is, so that it has
	// most likely been noticed when that one is answered.
	if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	other := dial(t, s)
	other.send(t, "GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
	other.answer(t)
	close(gone)
	if err := <-delivered; err != nil {
		t.Errorf("the context ended: %v", err)
	}
	eventually(t, "the access line", func() bool { return strings.Contains(log.String(), `"path":"/logto/email"`) })
	log.line(t, "mail accepted")
}

// A webhook that waits for its mail is one goroutine: nothing waits beside it for its
// caller, whose next request is read when this one is answered.
func TestAWebhookIsOneGoroutine(t *testing.T) {
	log := new(logs)
	entered, accepting := make(chan struct{}, 10), make(chan struct{})
	s := start(t, publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		entered <- struct{}{}
		<-accepting
		return accept(ctx, r)
	}), log), log)
	var callers []*client
	for range 10 {
		c := dial(t, s)
		c.send(t, whole(good)+"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
		callers = append(callers, c)
	}
	for range callers {
		<-entered
	}
	eventually(t, "the readers beside the webhooks end", func() bool {
		all := make([]byte, 1<<20)
		return !strings.Contains(string(all[:runtime.Stack(all, true)]), "backgroundRead")
	})
	close(accepting)
	for _, c := range callers {
		for _, status := range []int{200, 200} {
			if got, _ := c.answer(t); got.StatusCode != status {
				t.Errorf("got %d, want %d", got.StatusCode, status)
			}
		}
	}
}

// eventually polls a condition that no channel tells of.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestDrainServesOnAndAsksToClose(t *testing.T) {
	s := start(t, publicWith(deliver(accept), new(logs)), new(logs))
	s.IdleWindow = time.Hour // The context ends it.
	used, idle := dial(t, s), dial(t, s)
	for _, c := range []*client{used, idle} {
		c.send(t, whole(good))
		if got, _ := c.answer(t); got.Close {
			t.Fatal("closed before the drain")
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(ctx) }()
	eventually(t, "the drain", s.Draining)

	fresh := dial(t, s)
	for _, c := range []*client{used, fresh} {
		c.send(t, whole(good))
		if got, _ := c.answer(t); got.StatusCode != 200 || !got.Close {
			t.Errorf("got %d (close: %v), want 200 and closing", got.StatusCode, got.Close)
		}
		c.closed(t)
	}
	failing := dial(t, s)
	failing.send(t, whole("{"))
	if got, _ := failing.answer(t); got.StatusCode != 400 || !got.Close {
		t.Errorf("got %d (close: %v), want 400 and closing", got.StatusCode, got.Close)
	}
	// The connection that was idle all the time is still good.
	idle.send(t, whole(good))
	if got, _ := idle.answer(t); got.StatusCode != 200 || !got.Close {
		t.Errorf("got %d (close: %v), want 200 and closing", got.StatusCode, got.Close)
	}

	cancel()
	if err := <-drained; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v", err)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		close(entered)
		<-release
		return accept(ctx, r)
	}), new(logs)), new(logs))
	s.IdleWindow = time.Millisecond
	c := dial(t, s)
	c.send(t, whole(good))
	<-entered

	drained := make(chan error, 1)
	go func() { drained <- s.Drain(t.Context()) }()
	eventually(t, "the listener to close", func() bool {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	select {
	case err := <-drained:
		t.Fatalf("Drain left a request behind: %v", err)
	default:
	}
	close(release)
	if got, _ := c.answer(t); got.StatusCode != 200 || !got.Close {
		t.Errorf("got %d (close: %v)", got.StatusCode, got.Close)
	}
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
}

func TestDrainStopsAtOnceWhenTold(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		close(entered)
		<-release
		return accept(ctx, r)
	}), new(logs)), new(logs))
	defer close(release)
	c := dial(t, s)
	c.send(t, whole(good))
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v", err)
	}
	c.closed(t)
}

func TestOversizedHeaderIsAnswered(t *testing.T) {
	for padding, want := range map[int]int{15 << 10: http.StatusBadRequest, 17 << 10: http.StatusRequestHeaderFieldsTooLarge, 24 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		c := dial(t, start(t, publicWith(deliver(accept), new(logs)), new(logs)))
		c.send(t, head("X-Padding: "+strings.Repeat("x", padding)))
		if got, _ := c.answer(t); got.StatusCode != want {
			t.Errorf("%d bytes: %s", padding, got.Status)
		}
	}
}

// Serve may still hold the port that Drain has closed when nobody waits any more.
func TestDrainClosesThePortOnce(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 300 {
		s := listen(t, http.NotFoundHandler(), new(logs))
		served := make(chan error, 1)
		go func() { served <- s.Serve() }()
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if err := s.Drain(ended); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("Drain: %v", err)
		}
		if err := <-served; err != nil {
			t.Fatalf("Serve: %v", err)
		}
	}
}
