package smtp

import (
	"context"
	"errors"
	"slices"
	"time"
)

// How a message waits for one of the places, and for a connection.

// takePlace waits for a place, until the latest time that makes sense; zero is for none.
func (p *Pool) takePlace(ctx context.Context, latest time.Time) *Error {
	if p.life.Err() == nil {
		if err := p.acquire(ctx, latest); err != nil {
			return &Error{Stage: AtConnect, Err: &BusyError{p.config.MaxConnections, failure(ctx, AtConnect, err).Err}}
		}
		if p.life.Err() == nil {
			return nil
		}
		p.places.Release(1)
	}
	return &Error{Stage: AtConnect, Err: ErrClosed}
}

func (p *Pool) acquire(ctx context.Context, latest time.Time) error {
	if p.places.TryAcquire(1) {
		return nil
	}
	if !latest.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, latest)
		defer cancel()
	}
	return p.places.Acquire(ctx, 1)
}

// openOrTake opens a connection, or takes one that is free before that; the other
// then stays in the pool. A server may be slow with another connection, or lose it in
// a queue that is full, while it would take the message through one that there is.
func (p *Pool) openOrTake(ctx context.Context) (s *session, isFresh bool, e *Error) {
	spare := make(chan *session, 1)
	p.mutex.Lock()
	p.waiting = append(p.waiting, spare)
	p.mutex.Unlock()
	select {
	case p.opening <- struct{}{}:
	case s = <-spare:
		p.places.Release(1) // that of the connection that is not opened
		return s, false, nil
	case <-ctx.Done():
		if s = p.stopWaiting(spare); s != nil {
			p.release(s)
		}
		return nil, false, failure(ctx, AtConnect, ctx.Err())
	}
	end, bounded := ctx.Deadline()
	if !bounded {
		end = time.Now().Add(maxAge)
	}
	opening, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) { // the deadline is both's
			cancel()
		}
	})
	type result struct {
		s *session
		e *Error
	}
	opened := make(chan result, 1)
	go func() {
		s, e := p.openNow(opening, false)
		opened <- result{s, e}
	}()
	select {
	case r := <-opened:
		stop()
		cancel()
		if s = p.stopWaiting(spare); s != nil { // both at once
			if r.e != nil {
				p.leaveOpening(r.e)
				return s, false, nil
			}
			p.release(s)
		}
		return r.s, true, r.e
	case s = <-spare:
		stop()
		p.background.Go(func() {
			defer cancel()
			if r := <-opened; r.e != nil {
				p.leaveOpening(r.e)
			} else {
				p.release(r.s)
			}
		})
		return s, false, nil
	}
}

// stopWaiting ends the wait for a free connection, and returns the one that came
// meanwhile, if one did.
func (p *Pool) stopWaiting(spare chan *session) *session {
	p.mutex.Lock()
	p.waiting = slices.DeleteFunc(p.waiting, func(w chan *session) bool { return w == spare })
	p.mutex.Unlock()
	select {
	case s := <-spare:
		return s
	default:
		return nil
	}
}

// leaveOpening gives back the place of a connection that could not be opened and
// that no message waits for any more.
func (p *Pool) leaveOpening(e *Error) {
	if !e.refusesConnection() || !p.holdPlaces() {
		p.places.Release(1)
	}
}

// handOver gives a connection, with its place, to a message that opens another.
func (p *Pool) handOver(s *session) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(p.waiting) == 0 {
		return false
	}
	p.waiting[0] <- s
	p.waiting = p.waiting[1:]
	return true
}
