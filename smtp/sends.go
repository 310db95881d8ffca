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

// expected is how long the next one is expected to take.
func (s *sends) expected() time.Duration { return leastSend + time.Duration(s.longest.Load()) }

// patience is how long a message may wait before it is begun. With less time left it would most
// likely end uncertain, where another server can still take it for certain. It waits for half of its
// time in any case.
type patience struct {
	sends *sends
	end   time.Time     // of the message's time; zero where it has any
	half  time.Duration // of its time
}

func (s *sends) patience(ctx context.Context) patience {
	end, bounded := ctx.Deadline()
	if !bounded {
		return patience{}
	}
	return patience{s, end, time.Until(end) / 2}
}

// latest is when a message may be begun at the latest, as far as is known by now; zero for any time.
func (p *patience) latest() time.Time {
	if p.end.IsZero() {
		return p.end
	}
	return p.end.Add(-min(p.sends.expected(), p.half))
}

func (p *patience) isOver() bool {
	latest := p.latest()
	return !latest.IsZero() && time.Now().After(latest)
}
