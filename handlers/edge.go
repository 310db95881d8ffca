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
	"logto-email-relay/relay"
)

// edge is what every request passes on either listener: recovery, id and access
// log.
type edge struct {
	logger *slog.Logger
	// answer writes a failure.
	answer func(echo.Context, *failure) error
	// accessLevel is how loudly a request is logged that ends well.
	accessLevel slog.Level
	// observe counts a request.
	observe func(route string, code int, reason relay.Reason, took time.Duration)
}

// newEcho returns an Echo that keeps quiet and answers every error in one way.
func (e *edge) newEcho() *echo.Echo {
	server := echo.New()
	server.Logger.SetOutput(io.Discard)
	server.Use(e.passed)
	return server
}

// passed gives a request its id, under which it is logged and answered, whatever
// happens.
func (e *edge) passed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		// The mail will bear the id too. Here the caller finds it.
		c.Response().Header()[requestIDHeader] = []string{mail.NewID()}
		defer e.recovered(c, &err)
		return e.logged(c, next)
	}
}

// recovered turns a panic into an answer. What the panic says may quote the
// message, so that only its type and the stack are logged.
func (e *edge) recovered(c echo.Context, err *error) {
	if value := recover(); value != nil {
		e.logger.Error("panic", "id", requestID(c), "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
		*err = e.answer(c, &failure{reason: relay.Internal})
	}
}

// requestIDHeader is in its canonical form, which Set and Get would make anew.
const requestIDHeader = "X-Request-Id"

// requestID returns the id of a request that has passed.
func requestID(c echo.Context) string { return c.Response().Header()[requestIDHeader][0] }

// reference is the part of the id that people are shown.
func reference(c echo.Context) string { return mail.Reference(requestID(c)) }

// logged answers a failure and writes the one access line of a request. A
// webhook that was refused before a mail came of it has its cause there.
func (e *edge) logged(c echo.Context, next echo.HandlerFunc) error {
	start := time.Now()
	var failed *failure
	finished := false
	defer func() {
		code := c.Response().Status
		if !finished { // next has panicked
			failed, code = &failure{reason: relay.Internal}, http.StatusInternalServerError
		}
		e.access(c, code, failed, start)
	}()

	err := next(c)
	// An error after the answer is a caller who has gone.
	if err != nil && !c.Response().Committed {
		failed = asFailure(err)
		err = e.answer(c, failed)
	}
	finished = true
	return err
}

func (e *edge) access(c echo.Context, code int, failed *failure, start time.Time) {
	end := time.Now()
	took := end.Sub(start)
	level, id := e.accessLevel, requestID(c)
	attrs := []slog.Attr{
		slog.String("ref", mail.Reference(id)),
		slog.String("id", id),
		slog.String("method", method(c.Request().Method)),
		slog.String("path", route(c)),
		slog.Int("status", code),
		slog.Float64("ms", milliseconds(took)),
		slog.Int64("bytes", c.Response().Size),
		slog.String("caller", c.RealIP()),
	}
	var reason relay.Reason
	if failed != nil {
		reason = failed.reason
		attrs = append(attrs, slog.String("error", string(reason)))
		if failed.detail != "" {
			level = max(level, severity(reason))
			attrs = append(attrs, slog.String("detail", failed.detail))
		}
	}
	if c.Path() == healthPath {
		level = slog.LevelDebug
	} else if e.observe != nil {
		e.observe(c.Path(), code, reason, took)
	}
	logLine(c, e.logger, end, level, "request", attrs)
}

// logLine writes one line about a request. The logger's own methods would look
// up the place in the code that they are called from, which no format shows.
func logLine(c echo.Context, logger *slog.Logger, when time.Time, level slog.Level, message string, attrs []slog.Attr) {
	ctx := c.Request().Context()
	if !logger.Enabled(ctx, level) {
		return
	}
	line := slog.NewRecord(when, level, message, 0)
	line.AddAttrs(attrs...)
	_ = logger.Handler().Handle(ctx, line) // there is nowhere else to say it
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
