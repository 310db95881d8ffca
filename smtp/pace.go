package smtp

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// pace keeps messages to a number in any span of time. A token bucket, such as
// golang.org/x/time/rate, would let twice as many through when it is full.
type pace struct {
	span time.Duration

	mutex sync.Mutex
	begun []time.Time // when the last messages began or may begin, in a ring
	next  int         // the oldest of them
}

// await waits until another message may begin. It does not wait for a moment that
// comes too late; latest is zero where none does.
func (p *pace) await(ctx context.Context, latest time.Time) *Error {
	if p == nil {
		return nil
	}
	wait, inTime := p.take(latest)
	if !inTime {
		return &Error{Stage: AtConnect, Err: &PaceError{wait}}
	}
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return failure(ctx, AtConnect, ctx.Err())
	}
}

func (p *pace) take(latest time.Time) (wait time.Duration, inTime bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	now := time.Now()
	wait = p.begun[p.next].Add(p.span).Sub(now)
	if wait > 0 && !latest.IsZero() && now.Add(wait).After(latest) {
		return wait, false
	}
	p.begun[p.next] = now.Add(max(wait, 0))
	p.next = (p.next + 1) % len(p.begun)
	return wait, true
}

// PaceError is the cause for a message that Config.RateLimit held back for longer
// than it had time.
type PaceError struct{ Wait time.Duration }

// Error names the wait.
func (e *PaceError) Error() string {
	return fmt.Sprintf("the limit of messages is reached for another %v", e.Wait.Round(time.Millisecond))
}
