package smtp

import (
	"context"
	"sync"
	"time"
)

// leastSend is what a message needs from MAIL to the reply to its final dot where servers are
// quick.
const leastSend = 150 * time.Millisecond

// slowFor is how long it is known that messages take longer. Without any it may be over.
const slowFor = time.Minute

// sends knows how long messages take from MAIL to the reply to the final dot: the longest of
// the last ones, of which each that is quicker takes an eighth off.
type sends struct {
	mu      sync.Mutex
	longest time.Duration
	last    time.Time
}

// took takes down how long one took.
func (s *sends) took(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.longest, s.last = max(d, s.longest-s.longest/8), time.Now()
}

// expected is how long the next one is expected to take.
func (s *sends) expected() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.last) > slowFor {
		return leastSend
	}
	return leastSend + s.longest
}

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
