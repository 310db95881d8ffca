package handlers

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/relay"
)

// crowded serves at most so many callers at a time.
func crowded(t *testing.T, limit int, h http.Handler) *Server {
	t.Helper()
	s := listen(t, h, new(logs))
	serveCrowded(t, s, limit)
	return s
}

func serveCrowded(t *testing.T, s *Server, limit int) {
	t.Helper()
	s.listener.max = limit
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// Whoever says nothing, begins to speak, or has been answered makes room for the next.
func TestIdleCallersMakeRoom(t *testing.T) {
	for name, idle := range map[string]func(*client){
		"silent":      func(*client) {},
		"half a head": func(c *client) { c.send(t, "POST /logto/email HTTP/1.1\r\nHost: re") },
		"answered":    func(c *client) { c.send(t, whole(good)); c.answer(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := crowded(t, 4, publicWith(deliver(accept), new(logs)))
			var callers []*client
			for range 12 {
				c := dial(t, s)
				idle(c)
				callers = append(callers, c)
			}
			begin := time.Now()
			late := dial(t, s)
			late.send(t, whole(good))
			if got, _ := late.answer(t); got.StatusCode != 200 {
				t.Error(got.Status)
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("it took %v", took)
			}
			s.listener.mu.Lock()
			if s.listener.open > 4 {
				t.Errorf("%d connections are open", s.listener.open)
			}
			s.listener.mu.Unlock()
			if name != "answered" { // which is noted when others have come already
				for _, c := range callers[:9] {
					if _, err := io.Copy(io.Discard, c.reader); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("a connection is still open")
					}
				}
			}
			// Who has spoken last stays.
			late.send(t, whole(good))
			if got, _ := late.answer(t); got.StatusCode != 200 {
				t.Error(got.Status)
			}
		})
	}
}

// More callers at once than there is room for are answered one after the other, also
// those whose requests were there before they were seen.
func TestABurstOfCallersIsAnswered(t *testing.T) {
	s := listen(t, publicWith(deliver(accept), new(logs)), new(logs))
	var callers []*client
	for range 16 {
		c := dial(t, s)
		c.send(t, whole(good))
		callers = append(callers, c)
	}
	serveCrowded(t, s, 4)
	for _, c := range callers {
		if got, _ := c.answer(t); got.StatusCode != 200 {
			t.Error(got.Status)
		}
	}
}

// Callers who wait for their mail are not cut; the next one waits for them.
func TestBusyCallersAreNotCut(t *testing.T) {
	entered, release := make(chan struct{}, 10), make(chan struct{})
	s := crowded(t, 2, publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		entered <- struct{}{}
		<-release
		return accept(ctx, r)
	}), new(logs)))
	var busy []*client
	for range 2 {
		c := dial(t, s)
		c.send(t, whole(good))
		<-entered
		busy = append(busy, c)
	}
	late := dial(t, s)
	late.send(t, whole(good))
	select {
	case <-entered:
		t.Fatal("more callers than there is room for")
	case <-time.After(50 * time.Millisecond): // as long as nobody is answered, nothing happens
	}
	close(release)
	for _, c := range append(busy, late) {
		if got, _ := c.answer(t); got.StatusCode != 200 {
			t.Error(got.Status)
		}
	}
}

// Nothing waits beside a webhook for its caller to hang up.
func TestAWaitingCallerTakesOneGoroutine(t *testing.T) {
	const callers = 20
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		entered <- struct{}{}
		<-release
		return accept(ctx, r)
	}), new(logs)), new(logs))
	before := runtime.NumGoroutine()
	var waiting []*client
	for range callers {
		c := dial(t, s)
		c.send(t, whole(good))
		<-entered
		waiting = append(waiting, c)
	}
	eventually(t, "nothing waits beside them", func() bool { return runtime.NumGoroutine()-before <= callers+callers/2 })
	close(release)
	for _, c := range waiting {
		if got, _ := c.answer(t); got.StatusCode != 200 {
			t.Error(got.Status)
		}
	}
}

func TestDrainEndsWhereAllAreBusy(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := crowded(t, 1, publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		entered <- struct{}{}
		<-release
		return accept(ctx, r)
	}), new(logs)))
	s.IdleWindow = time.Millisecond
	c := dial(t, s)
	c.send(t, whole(good))
	<-entered
	late := dial(t, s) // is accepted and waits
	late.send(t, whole(good))
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(t.Context()) }()
	eventually(t, "the drain", s.Draining)
	close(release)
	if got, _ := c.answer(t); got.StatusCode != 200 {
		t.Error(got.Status)
	}
	<-entered
	if got, _ := late.answer(t); got.StatusCode != 200 {
		t.Error(got.Status)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// Who does not read is let go. Each write has its own time, however long the
// connection has been in use.
func TestACallerWhoDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := &connection{Conn: ours}
		go func() { _, _ = io.ReadFull(theirs, make([]byte, 5)) }()
		time.Sleep(time.Hour)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Errorf("a reader: %v", err)
		}
		time.Sleep(time.Hour)
		begin := time.Now()
		if _, err := c.Write([]byte("hello")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("nobody reads: %v", err)
		}
		if took := time.Since(begin); took != writeTimeout {
			t.Errorf("it took %v", took)
		}
	})
}
