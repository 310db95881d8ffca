package app

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The log has a line for what is new alone, and the state since when there is trouble.
func TestAMailboxTellsWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a, box := &App{logger: slog.New(slog.NewTextHandler(&log, nil))}, new(mailbox)
		if got := box.String(); got != "the mailbox is being opened" {
			t.Error(got)
		}
		for i, c := range []struct {
			err   error
			lines int
			state string
		}{
			{nil, 1, "read"}, {nil, 1, "read"},
			{errors.New("login"), 2, "not read since 2000-01-01T00:02:00Z: login"},
			{errors.New("login"), 2, "not read since 2000-01-01T00:02:00Z: login"},
			{errors.New("network"), 3, "not read since 2000-01-01T00:02:00Z: network"},
			{nil, 4, "read"},
			{errors.New("network"), 5, "not read since 2000-01-01T00:06:00Z: network"},
		} {
			box.told(a, "main", c.err)
			if got, lines := box.String(), strings.Count(log.String(), "provider=main"); got != c.state || lines != c.lines {
				t.Errorf("step %d: %s, %d lines", i, got, lines)
			}
			time.Sleep(time.Minute)
		}
	})
}
