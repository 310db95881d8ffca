package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

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

const (
	// logBuffer bounds the lines that wait, in bytes: more than a thousand mails.
	logBuffer = 1 << 20
	// logPause is how long lines gather after some were written, since each call of
	// the system costs as much as several lines do.
	logPause = 5 * time.Millisecond
	// logPatience is how long one write may take before the reader counts as stuck,
	// and how long the end of the process waits for it.
	logPatience = time.Second
)

// logWriter hands lines on in the background, so that no mail waits for whoever
// reads the log. A reader that stands still, a pipe without one or a full disk cost
// lines, which are counted, and nothing else.
type logWriter struct {
	out io.Writer
	// back is told how many lines were dropped once the reader takes lines again.
	back func(lines int)

	wake, stop, ended chan struct{}
	torn              bool // the last write ended within a line

	mu      sync.Mutex
	waiting []byte
	since   time.Time // of the write that is under way; zero if there is none
	err     error     // of the last write
	dropped int       // lines of all times
	untold  int       // lines that back was not told of
}

func newLogWriter(out io.Writer, back func(lines int)) *logWriter {
	w := &logWriter{out: out, back: back, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	return w
}

// Write takes one line, or drops it. It never waits for the reader.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting)+len(line) > logBuffer {
		w.drop(1)
		return len(line), nil
	}
	if len(w.waiting) == 0 {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	w.waiting = append(w.waiting, line...)
	return len(line), nil
}

func (w *logWriter) drop(lines int) {
	w.dropped += lines
	w.untold += lines
}

// Close writes what waits, unless the reader is stuck.
func (w *logWriter) Close() {
	close(w.stop)
	select {
	case <-w.ended:
	case <-time.After(logPatience):
	}
}

func (w *logWriter) run() {
	defer close(w.ended)
	var spare []byte
	for {
		select {
		case <-w.wake:
			spare = w.flush(spare[:0])
		case <-w.stop:
			w.flush(nil)
			return
		}
		select {
		case <-time.After(logPause):
		case <-w.stop:
		}
	}
}

// flush writes the lines that wait, while others gather in next. It returns the
// memory that is free now.
func (w *logWriter) flush(next []byte) (free []byte) {
	w.mu.Lock()
	lines := w.waiting
	w.waiting, w.since = next, time.Now()
	w.mu.Unlock()

	if w.torn { // or the first line after an outage would be lost with it
		_, err := w.out.Write([]byte("\n"))
		w.torn = err != nil
	}
	n, err := w.out.Write(lines)
	if n > 0 {
		w.torn = lines[n-1] != '\n'
	}

	w.mu.Lock()
	w.since, w.err = time.Time{}, err
	if err != nil {
		w.drop(bytes.Count(lines[n:], []byte("\n")))
	}
	untold := 0
	if err == nil && len(w.waiting) < logBuffer/2 { // there is room to tell
		untold, w.untold = w.untold, 0
	}
	w.mu.Unlock()
	if untold > 0 {
		w.back(untold)
	}
	return lines
}

// lost returns how many lines were dropped since the process began.
func (w *logWriter) lost() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// problem tells what is wrong with the reader; empty if nothing is.
func (w *logWriter) problem() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return fmt.Sprintf("it cannot be written: %v; %d lines are lost so far", w.err, w.dropped)
	case !w.since.IsZero() && time.Since(w.since) > logPatience:
		return fmt.Sprintf("nobody has read it since %s; %d lines are lost so far", w.since.UTC().Format(time.RFC3339), w.dropped)
	}
	return ""
}
