package web

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/mail"
)

// The paths of the probes, which both listeners have.
const (
	HealthPath = "/healthz"
	ReadyPath  = "/readyz"
)

// Alive answers the probe of a running process.
func Alive(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// Middleware is what every request passes first on either listener: its id,
// recovery from panics and the access log.
type Middleware struct {
	Logger *slog.Logger
	// ReadTimeout bounds the reading of a body, and ends the wait for one that never
	// comes, even where none is wanted, with an answer. The context of the request
	// may end with it, so that what takes longer needs one of its own.
	ReadTimeout time.Duration
	// Answer writes a failure.
	Answer func(echo.Context, *Failure) error
	// AccessLevel is how loudly a request is logged that ends well.
	AccessLevel slog.Level
	// Observe counts a request; nil where nobody counts.
	Observe func(c echo.Context, code int, reason mail.Reason, took time.Duration)
	// strangers are bounded together, whatever they ask for.
	strangers *strangers
}

// Exchange is a request with its answer, and who sent it.
type Exchange struct {
	echo.Context
	// Caller is the zero value if nobody has shown that he may.
	Caller Caller
	// Trace is the id by which an authorized caller knows the request; mostly empty.
	Trace string
}

// Caller is who bears an accepted value of the Authorization header.
type Caller struct {
	Tenant string
	// Label is what log and metrics call the value: the tenant's name, else the place
	// of the value in server.authorization, counted from 0.
	Label string
}

// CallerOf returns who sent a request.
func CallerOf(c echo.Context) Caller { return c.(*Exchange).Caller }

// NewEcho returns an Echo that keeps quiet and answers every error in one way.
func (m *Middleware) NewEcho() *echo.Echo {
	server := echo.New()
	server.Logger.SetOutput(io.Discard)
	m.strangers = newStrangers()
	server.Use(m.identify)
	return server
}

// identify gives a request its id, under which it is logged and answered,
// whatever happens.
func (m *Middleware) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(plain echo.Context) (err error) {
		c := &Exchange{Context: plain}
		// The mail will bear the id too. Here the caller finds it.
		c.Response().Header()[RequestIDHeader] = []string{mail.NewID()}
		defer m.recoverPanic(c, &err)
		_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(m.ReadTimeout)) // tests may have no connection
		return m.logAccess(c, next)
	}
}

// RequestIDHeader is in its canonical form, which Set and Get would make anew.
const RequestIDHeader = "X-Request-Id"

// RequestID returns the id of an identified request.
func RequestID(c echo.Context) string { return c.Response().Header()[RequestIDHeader][0] }

// Reference is the part of the id that people are shown.
func Reference(c echo.Context) string { return mail.Reference(RequestID(c)) }

// recoverPanic turns a panic into an answer. What the panic says may quote the
// message, so that only its type and the stack are logged.
func (m *Middleware) recoverPanic(c echo.Context, err *error) {
	if value := recover(); value != nil {
		m.Logger.Error("panic", "id", RequestID(c), "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
		*err = m.Answer(c, &Failure{Reason: mail.Internal})
	}
}

// logAccess answers a failure and writes the one access line of a request. A
// webhook that was refused before a mail came of it has its cause there.
func (m *Middleware) logAccess(c echo.Context, next echo.HandlerFunc) error {
	start := time.Now()
	var failed *Failure
	finished := false
	defer func() {
		code := c.Response().Status
		if !finished { // next has panicked
			failed, code = &Failure{Reason: mail.Internal}, http.StatusInternalServerError
		}
		m.access(c, code, failed, time.Since(start))
	}()

	err := next(c)
	// An error after the answer is a caller who has gone.
	if err != nil && !c.Response().Committed {
		failed = m.strangers.throttle(c, AsFailure(err))
		err = m.Answer(c, failed)
	}
	finished = true
	return err
}

func (m *Middleware) access(c echo.Context, code int, failed *Failure, took time.Duration) {
	level := m.AccessLevel
	attrs := append(make([]slog.Attr, 0, 13),
		slog.String("ref", Reference(c)),
		slog.String("id", RequestID(c)),
		slog.String("method", method(c.Request().Method)),
		slog.String("path", route(c)),
		slog.Int("status", code),
		slog.Float64("ms", Milliseconds(took)),
		slog.Int64("bytes", c.Response().Size),
		slog.String("caller", c.RealIP()),
	)
	if label := CallerOf(c).Label; label != "" {
		attrs = append(attrs, slog.String("authorization", label))
	}
	if trace := c.(*Exchange).Trace; trace != "" {
		attrs = append(attrs, slog.String("trace", trace))
	}
	var reason mail.Reason
	if failed != nil {
		reason = failed.Reason
		attrs = append(attrs, slog.String("error", string(reason)))
		if failed.Detail != "" {
			level = max(level, Severity(reason))
			attrs = append(attrs, slog.String("detail", failed.Detail))
		}
		if CallerOf(c).Label == "" {
			logged, unlogged := m.strangers.hasLine(failed)
			if !logged {
				level = slog.LevelDebug
			} else if unlogged > 0 {
				attrs = append(attrs, slog.Int64("unlogged", unlogged))
			}
		}
	}
	if c.Path() == HealthPath || c.Path() == ReadyPath {
		level = slog.LevelDebug
	} else if m.Observe != nil {
		m.Observe(c, code, reason, took)
	}
	Log(c.Request().Context(), m.Logger, level, "request", attrs...)
}

// method keeps invented methods out of the log.
func method(name string) string {
	switch name {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return name
	}
	return "other"
}

// route is the pattern that a request matched, since paths are the caller's
// words.
func route(c echo.Context) string {
	if c.Path() == "" {
		return "other"
	}
	return c.Path()
}

// Milliseconds is a time as log lines and JSON have it.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
