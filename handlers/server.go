package handlers

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// What a connection may take. There is no write timeout of the server's, which would
// cut callers who wait for a mail; see connection.Write. How long a body may take is
// the middleware's.
const (
	// idleTimeout outlasts the 5 s after which Logto closes an idle connection,
	// so that it is never we who close one that Logto is about to use, and the
	// 60 s that proxies commonly keep one.
	idleTimeout = 75 * time.Second
	// readHeaderTimeout is longer than anybody takes, because who exceeds it gets
	// no answer, and a machine that stands still for a second looks like a caller
	// who does.
	readHeaderTimeout = 10 * time.Second
	// maxHeaderBytes makes 16 KiB together with the 4 that net/http lets pass.
	maxHeaderBytes = 12 << 10
	// callerIdleWindow is a little more than the 5 s after which Logto closes
	// an idle connection.
	callerIdleWindow = 6 * time.Second
	// lastReading is how long requests have to be read that came as the port closed.
	lastReading = time.Second
)

// Server is one listener with its handler.
type Server struct {
	// IdleWindow is how long Drain waits for callers to give up their idle
	// connections.
	IdleWindow time.Duration

	listener *connections
	http     *http.Server
	draining atomic.Bool
}

// NewServer makes a server of a listener. Connections wait until Serve. Not more than
// limit are open at a time.
func NewServer(listener net.Listener, limit int, handler http.Handler, logger *slog.Logger) *Server {
	s := &Server{IdleWindow: callerIdleWindow, listener: newConnections(listener, min(limit, maxConnections))}
	s.http = &http.Server{
		Handler:           s.announceClose(handler),
		IdleTimeout:       idleTimeout,
		ReadHeaderTimeout: readHeaderTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       remember,
		ConnState:         s.listener.state,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	return s
}

// Addr returns the address that is listened on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers requests until Drain or Close, and then returns nil.
func (s *Server) Serve() error {
	err := s.http.Serve(s.listener)
	if errors.Is(err, http.ErrServerClosed) || s.Draining() && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Draining tells whether the server is on its way out, and so not ready for
// more.
func (s *Server) Draining() bool { return s.draining.Load() }

// Drain stops without cutting anybody off. From now on every answer asks
// its caller to close the connection, and requests are still served, on new
// connections too. No idle connection is closed early: its owner may be writing
// the next request at that moment. After the idle window nobody uses the old
// connections any more; then the listener is closed, what has just come is read,
// and the requests under way are finished. If the context ends first, everything
// stops at once.
func (s *Server) Drain(ctx context.Context) error {
	s.draining.Store(true)
	window := time.NewTimer(s.IdleWindow)
	defer window.Stop()
	select {
	case <-window.C:
	case <-ctx.Done():
	}
	// Shutdown gives up a connection whose request it has not read yet, even one
	// that was accepted a moment ago. So the port closes first.
	_ = s.listener.Close()
	read := time.NewTimer(lastReading)
	defer read.Stop()
	select {
	case <-read.C:
	case <-ctx.Done():
	}
	err := s.http.Shutdown(ctx)
	if err == nil || errors.Is(err, net.ErrClosed) { // the port was closed above, and all is done
		return nil
	}
	return errors.Join(err, s.http.Close())
}

// Close stops at once. Requests under way get no answer.
func (s *Server) Close() error { return s.http.Close() }

// announceClose notes that the caller waits for an answer. When the answer begins, and not
// before, it decides whether the connection is to be closed after it: the drain may have begun
// since the request came.
func (s *Server) announceClose(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, _ := r.Context().Value(connectionKey{}).(*connection); !s.listener.busy(c) {
			panic(http.ErrAbortHandler) // nobody is there to read an answer, so there is no mail
		}
		next.ServeHTTP(&lastAnswer{ResponseWriter: w, draining: &s.draining}, r)
	})
}

type lastAnswer struct {
	http.ResponseWriter
	draining *atomic.Bool
}

func (w *lastAnswer) WriteHeader(code int) {
	w.announce()
	w.ResponseWriter.WriteHeader(code)
}

func (w *lastAnswer) Write(body []byte) (int, error) {
	w.announce() // Without effect if the answer has begun.
	return w.ResponseWriter.Write(body)
}

func (w *lastAnswer) announce() {
	if w.draining.Load() {
		w.Header().Set("Connection", "close")
	}
}

// Unwrap lets http.ResponseController find the deadlines of the connection.
func (w *lastAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
