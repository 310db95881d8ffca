package relay

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"logto-email-relay/providers"
)

// A mail that nobody could take waits while its time allows, if the trouble is of the
// kind that passes by itself: a sign-in that takes a second longer is better than one
// that fails.
const (
	// The pause before another attempt doubles from the first to the longest.
	firstPause   = 300 * time.Millisecond
	longestPause = 2 * time.Second
	// timeToAnswer is what has to be left of a mail's time after a wait.
	timeToAnswer = time.Second
	// timeInLine is what has to be left of it where many wait for places, since sends are
	// slow then.
	timeInLine = 2 * timeToAnswer
	// maxWaiting bounds the memory of the mails that wait. Others fail at once.
	maxWaiting = 2000
)

// later is a provider that may take the mail in a while.
type later struct {
	Member
	at      time.Time     // of the next attempt
	pause   time.Duration // before it, unless it has said how long
	hasSaid bool          // how long it wants to be left alone, which is heeded once
}

// reconsider says after an attempt at a provider whether and when there is another.
func (d *delivery) reconsider(m Member, failure *providers.Error, left time.Duration) {
	i := slices.IndexFunc(d.later, func(l later) bool { return l.Provider == m.Provider })
	l := later{Member: m, pause: firstPause}
	if i >= 0 {
		l = d.later[i]
		d.later = slices.Delete(d.later, i, i+1)
	}
	switch {
	case failure == nil:
		return
	case failure.RetryAfter > 0:
		if failure.Quota || l.hasSaid || !l.waitFor(failure.RetryAfter, left) {
			return
		}
		l.hasSaid = true
	case !failure.Momentary || !l.waitAgain(left):
		return
	}
	d.later = append(d.later, l)
}

// waitAgain sets the next attempt to the end of a pause, or of what the mail's time
// allows. It tells whether that is worth it.
func (l *later) waitAgain(left time.Duration) bool {
	return left-timeToAnswer >= firstPause && l.waitFor(min(l.pause, left-timeToAnswer), left)
}

// waitFor sets the next attempt, if it is in time. Mails that were sent away together
// do not come back together.
func (l *later) waitFor(wait, left time.Duration) bool {
	spare := left - wait - timeToAnswer
	if spare < 0 {
		return false
	}
	l.at = time.Now().Add(wait + rand.N(min(wait/4, spare)+1))
	return true
}

// attemptLater makes further attempts, until one ends the delivery or the time is up.
func (d *delivery) attemptLater(ctx context.Context) {
	if len(d.later) == 0 {
		return
	}
	if d.relay.waiting.Add(1) > maxWaiting {
		d.relay.waiting.Add(-1)
		return
	}
	defer d.relay.waiting.Add(-1)
	deadline, _ := ctx.Deadline()
	for len(d.later) > 0 && !d.seen[providers.Uncertain] {
		d.rendered = nil // to keep it would cost every mail that waits
		slices.SortFunc(d.later, func(a, b later) int { return a.at.Compare(b.at) })
		next := &d.later[0]
		if !sleep(ctx, time.Until(next.at)) {
			return
		}
		// Whatever happens to this attempt, there may be another. Only the last that the
		// time allows is made in any case.
		m, now := next.Member, time.Now()
		next.pause = min(2*next.pause, longestPause)
		again := next.waitAgain(deadline.Sub(now))
		if again && !m.admitAgain(now) {
			continue
		}
		d.isFinal = !again && len(d.later) == 1
		if ends := d.attempt(ctx, m, true, len(d.later) > 1); ends {
			return
		}
	}
}

// sleep tells whether it came to its end before the context did.
func sleep(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
