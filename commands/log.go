package commands

import (
	"io"
	"log/slog"
	"sync"

	"logto-email-relay/config"
)

// newLoggers makes the log that the operator asked for. It goes to standard
// output, where containers and systemd look for it. What is told to mails may
// wait for the next line of general.
func newLoggers(l config.Log, out io.Writer) (general, mails *slog.Logger) {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // checked by the configuration
	logger := func(out io.Writer) *slog.Logger {
		options := &slog.HandlerOptions{Level: level}
		if l.Format == "text" {
			return slog.New(slog.NewTextHandler(out, options))
		}
		return slog.New(newJSONHandler(out, options))
	}
	written := &lines{out: out}
	general = logger(written)
	if level > slog.LevelInfo {
		return general, general // the line of a request may not follow
	}
	return general, logger(heldLines{written})
}

// lines writes lines of the log, and those that were held before in one go: the
// line of a mail and that of its request, which follows at once, cost one call
// of the kernel instead of two.
type lines struct {
	mu   sync.Mutex
	out  io.Writer
	held []byte
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.held) == 0 {
		return l.out.Write(line)
	}
	l.held = append(l.held, line...)
	_, err := l.out.Write(l.held)
	l.held = l.held[:0]
	return len(line), err
}

// heldLines are lines that another follows.
type heldLines struct{ *lines }

func (h heldLines) Write(line []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = append(h.held, line...)
	return len(line), nil
}
