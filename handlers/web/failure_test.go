package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/mail"
)

// What the caller can mend is a warning, and every status of ours and of providers an
// error.
func TestSeverity(t *testing.T) {
	for reason, want := range map[mail.Reason]slog.Level{
		Malformed: slog.LevelWarn, Invalid: slog.LevelWarn, mail.RateLimited: slog.LevelWarn,
		mail.Internal: slog.LevelError, mail.ProviderRefused: slog.LevelError, mail.Uncertain: slog.LevelError,
	} {
		if got := Severity(reason); got != want {
			t.Errorf("%s: %v", reason, got)
		}
	}
}

func TestSeconds(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "1", time.Nanosecond: "1", time.Second: "1", time.Second + 1: "2", -time.Second: "1", time.Minute: "60"} {
		if got := Seconds(wait); got != want {
			t.Errorf("%v: %s", wait, got)
		}
	}
}

func TestAsFailure(t *testing.T) {
	known := &Failure{Reason: Forbidden}
	for _, test := range []struct {
		err  error
		want mail.Reason
	}{
		{fmt.Errorf("a handler: %w", known), Forbidden},
		{fmt.Errorf("a handler: %w", context.DeadlineExceeded), mail.Timeout},
		{echo.ErrNotFound, NotFound},
		{echo.ErrMethodNotAllowed, MethodNotAllowed},
		{echo.ErrTeapot, mail.Internal},
		{errors.New("anything else"), mail.Internal},
	} {
		if got := AsFailure(test.err); got.Reason != test.want {
			t.Errorf("%v: %s", test.err, got.Reason)
		}
	}
	if got := AsFailure(errors.New("mail to ada@example.com broke")); got.Detail != "mail to [address] broke" {
		t.Errorf("the detail is %q", got.Detail)
	}
}
