package smtp

import (
	"context"
	"sync/atomic"
	"time"
)

// leastSend is what a message needs from MAIL to the reply to its final dot where servers are
// quick.
const leastSend = 150 * time.Millisecond

// sends knows how long messages take from MAIL to the reply to the final dot: the longest of
// the last ones, in nanoseconds, of which each that is quicker takes an eighth off.
type sends struct{ longest atomic.Int64 }

// took takes down how long one took.
func (s *sends) took(d time.Duration) {
	longest := s.longest.Load()
	s.longest.Store(max(int64(d), longest-longest/8))
}

// latest is until when a message may wait before it is begun. With less time left it would most
// likely end uncertain, where another server can still take it for certain. It waits for half of
// its time in any case; zero is for as long as it likes.
func (s *sends) latest(ctx context.Context) time.Time {
	end, bounded := ctx.Deadline()
	if !bounded {
		return time.Time{}
	}
	expected := leastSend + time.Duration(s.longest.Load())
	return end.Add(-max(leastSend, min(expected, time.Until(end)/2)))
}
