package handlers

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

// middleware is what every request passes first on either listener: its id,
// recovery from panics and the access log.
type middleware struct {
	logger *slog.Logger
	// readTimeout bounds the reading of a body, and ends the wait for one that never
	// comes, even where none is wanted, with an answer. The context of the request
	// may end with it, so that what takes longer needs one of its own.
	readTimeout time.Duration
	// answer writes a failure.
	answer func(echo.Context, *failure) error
	// accessLevel is how loudly a request is logged that ends well.
	accessLevel slog.Level
	// observe counts a request; nil where nobody counts.
	observe func(c echo.Context, code int, reason mail.Reason, took time.Duration)
	// strangers are bounded together, whatever they ask for.
	strangers *strangers
}

// exchange is a request with its answer, and who sent it.
type exchange struct {
	echo.Context
	caller *caller // nil if nobody has shown that he may
}

// newEcho returns an Echo that keeps quiet and answers every error in one way.
func (m *middleware) newEcho() *echo.Echo {
	server := echo.New()
	server.Logger.SetOutput(io.Discard)
	m.strangers = newStrangers()
	server.Use(m.identify)
	return server
}

// identify gives a request its id, under which it is logged and answered,
// whatever happens.
func (m *middleware) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(plain echo.Context) (err error) {
		c := &exchange{Context: plain}
		// The mail will bear the id too. Here the caller finds it.
		c.Response().Header()[requestIDHeader] = []string{mail.NewID()}
		defer m.recoverPanic(c, &err)
		_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(m.readTimeout)) // tests may have no connection
		return m.logAccess(c, next)
	}
}

// requestIDHeader is in its canonical form, which Set and Get would make anew.
const requestIDHeader = "X-Request-Id"

// requestID returns the id of an identified request.
func requestID(c echo.Context) string { return c.Response().Header()[requestIDHeader][0] }

// reference is the part of the id that people are shown.
func reference(c echo.Context) string { return mail.Reference(requestID(c)) }

// recoverPanic turns a panic into an answer. What the panic says may quote the
// message, so that only its type and the stack are logged.
func (m *middleware) recoverPanic(c echo.Context, err *error) {
	if value := recover(); value != nil {
		m.logger.Error("panic", "id", requestID(c), "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
		*err = m.answer(c, &failure{reason: mail.Internal})
	}
}

// logAccess answers a failure and writes the one access line of a request. A
// webhook that was refused before a mail came of it has its cause there.
func (m *middleware) logAccess(c echo.Context, next echo.HandlerFunc) error {
	start := time.Now()
	var failed *failure
	finished := false
	defer func() {
		code := c.Response().Status
		if !finished { // next has panicked
			failed, code = &failure{reason: mail.Internal}, http.StatusInternalServerError
		}
		m.access(c, code, failed, time.Since(start))
	}()

	err := next(c)
	// An error after the answer is a caller who has gone.
	if err != nil && !c.Response().Committed {
		failed = m.strangers.throttle(c, asFailure(err))
		err = m.answer(c, failed)
	}
	finished = true
	return err
}

func (m *middleware) access(c echo.Context, code int, failed *failure, took time.Duration) {
	level := m.accessLevel
	attrs := append(make([]slog.Attr, 0, 12),
		slog.String("ref", reference(c)),
		slog.String("id", requestID(c)),
		slog.String("method", method(c.Request().Method)),
		slog.String("path", route(c)),
		slog.Int("status", code),
		slog.Float64("ms", milliseconds(took)),
		slog.Int64("bytes", c.Response().Size),
		slog.String("caller", c.RealIP()),
	)
	if label := authorizedCaller(c).label; label != "" {
		attrs = append(attrs, slog.String("authorization", label))
	}
	var reason mail.Reason
	if failed != nil {
		reason = failed.reason
		attrs = append(attrs, slog.String("error", string(reason)))
		if failed.detail != "" {
			level = max(level, severity(reason))
			attrs = append(attrs, slog.String("detail", failed.detail))
		}
		if authorizedCaller(c).label == "" {
			logged, unlogged := m.strangers.hasLine(failed)
			if !logged {
				level = slog.LevelDebug
			} else if unlogged > 0 {
				attrs = append(attrs, slog.Int64("unlogged", unlogged))
			}
		}
	}
	if c.Path() == healthPath || c.Path() == readyPath {
		level = slog.LevelDebug
	} else if m.observe != nil {
		m.observe(c, code, reason, took)
	}
	m.logger.LogAttrs(c.Request().Context(), level, "request", attrs...)
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

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
