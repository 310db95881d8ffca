package app

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"

	"logto-email-relay/config"
)

// logHandler writes the log in the format and from the level on that the current
// configuration asks for. The relay's loggers have no attributes and groups of
// their own, which would be lost.
type logHandler struct{ current atomic.Pointer[slog.Handler] }

// set follows a configuration. Every line is one call of Write, so that the last
// lines of an earlier handler do not mix with those of the next.
func (h *logHandler) set(l config.Log, out io.Writer) {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // checked by the configuration
	options := &slog.HandlerOptions{Level: level}
	var next slog.Handler = slog.NewJSONHandler(out, options)
	if l.Format == "text" {
		next = slog.NewTextHandler(out, options)
	}
	h.current.Store(&next)
}

func (h *logHandler) handler() slog.Handler { return *h.current.Load() }

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.handler().Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.handler().Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.handler().WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler { return h.handler().WithGroup(name) }
