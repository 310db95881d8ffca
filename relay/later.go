package relay

import (
	"context"
	"math/rand/v2"
	"reflect"
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

// standing is a provider that has no place for the mail, which stands in line for one.
type standing struct {
	Member
	since time.Time
	told  bool // an attempt has been noted
}

// noteFull takes down that a provider had no place.
func (d *delivery) noteFull(s *standing) {
	s.told = true
	d.note(s.Name, s.since, time.Now(), &providers.Error{Kind: providers.Temporary, Stage: "wait",
		Detail: "all concurrent sends are taken", Hint: "raise maxConcurrent if the provider allows it"})
}

// attemptLater makes further attempts, until one ends the delivery or the time is up.
func (d *delivery) attemptLater(ctx context.Context) {
	if len(d.later)+len(d.line) == 0 {
		return
	}
	defer func() {
		for i := range d.line {
			if s := &d.line[i]; !s.told && !d.Accepted() {
				d.noteFull(s)
			}
		}
	}()
	if d.relay.waiting.Add(1) > maxWaiting {
		d.relay.waiting.Add(-1)
		return
	}
	defer d.relay.waiting.Add(-1)
	deadline, _ := ctx.Deadline()
	for d.rendered = nil; ; d.rendered = nil { // to keep it would cost every mail that waits
		if d.seen[providers.Uncertain] || d.seen[providers.Recipient] {
			d.later = nil // nobody is asked again
		}
		slices.SortFunc(d.later, func(a, b later) int { return a.at.Compare(b.at) })
		m, found := d.standInLine(ctx, deadline)
		switch {
		case found:
			if ends := d.attemptWithPlace(ctx, turn{Member: m, isLast: true, sharesTime: d.sharesWithEarlier(m) && m.health.hangs()}); ends {
				return
			}
		case len(d.later) == 0:
			return
		default:
			if ends := d.attemptAgain(ctx, deadline); ends {
				return
			}
		}
	}
}

// answers tells whether the provider does not hang.
func answers(s standing) bool { return !s.health.hangs() }

// endOfLine is until when a mail stands in line: not so near to its deadline that a slow send
// would end in doubt, nor beyond the time of its next attempt at another provider, unless that
// one hangs and one of these does not.
func (d *delivery) endOfLine(deadline time.Time) time.Time {
	end := deadline.Add(-timeInLine)
	if len(d.later) == 0 || d.later[0].at.After(end) || d.later[0].health.hangs() && slices.ContainsFunc(d.line, answers) {
		return end
	}
	return d.later[0].at
}

// standInLine waits for a place at any of the providers that had none, but at one that hangs
// only if there is no other. It makes sense where one of them takes mails, or may in a moment:
// then the others may be well, too.
func (d *delivery) standInLine(ctx context.Context, deadline time.Time) (m Member, found bool) {
	for {
		now := time.Now()
		wait := d.endOfLine(deadline).Sub(now)
		if wait <= 0 || !slices.ContainsFunc(d.line, func(s standing) bool { return s.health.isWorthWaiting(now) }) {
			return m, false
		}
		line, turns := d.atThoseThatAnswer()
		i, turned := firstPlace(ctx, line, turns, wait)
		switch {
		case turned: // so that the line is another
		case i < 0:
			return m, false
		default:
			m = line[i].Member
			d.line = slices.DeleteFunc(d.line, func(s standing) bool { return s.Provider == m.Provider })
			return m, true
		}
	}
}

// atThoseThatAnswer returns the line without the providers that hang, whose turns to the better
// it returns, or all of it where all do. Who stands in line at one stays there when that one
// begins to hang: it may have been for a moment, and nobody else may ask it again.
func (d *delivery) atThoseThatAnswer() (line []standing, turns []<-chan struct{}) {
	for _, s := range d.line {
		if hangs, turn := s.health.hangsUntil(); hangs {
			turns = append(turns, turn)
		} else {
			line = append(line, s)
		}
	}
	if len(line) == 0 {
		return d.line, nil
	}
	return line, turns
}

// firstPlace waits for a place at any of several providers, and returns the index of the
// one that has it; -1 if none had one in time, or if one of the turns came first.
func firstPlace(ctx context.Context, line []standing, turns []<-chan struct{}, wait time.Duration) (i int, turned bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	receive := func(from any) reflect.SelectCase {
		return reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(from)}
	}
	var cases []reflect.SelectCase
	for _, s := range line {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectSend, Chan: reflect.ValueOf(s.places), Send: reflect.ValueOf(struct{}{})})
	}
	cases = append(cases, receive(timer.C), receive(ctx.Done()))
	ends := len(cases)
	for _, t := range turns {
		cases = append(cases, receive(t))
	}
	chosen, _, _ := reflect.Select(cases)
	if chosen < len(line) {
		return chosen, false
	}
	return -1, chosen >= ends
}

// attemptAgain waits for the next of the further attempts, and makes it. It tells whether
// the delivery ends with it, or its time is up.
func (d *delivery) attemptAgain(ctx context.Context, deadline time.Time) (ends bool) {
	next := &d.later[0]
	if !sleep(ctx, time.Until(next.at)) {
		return true
	}
	// Whatever happens to this attempt, there may be another. Only the last that the
	// time allows is made in any case.
	m, now := next.Member, time.Now()
	next.pause = min(2*next.pause, longestPause)
	again := next.waitAgain(deadline.Sub(now))
	if again && !m.admitAgain(now) {
		return false
	}
	d.isFinal = !again && len(d.later) == 1
	return d.attempt(ctx, turn{Member: m, isLast: true, sharesTime: len(d.later) > 1})
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
