package commands

import (
	"io"
	"log/slog"

	"logto-email-relay/config"
)

// newLogger makes the log that the operator asked for. It goes to standard
// output, where containers and systemd look for it.
func newLogger(l config.Log, out io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // checked by the configuration
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "text" {
		return slog.New(slog.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, options))
}
