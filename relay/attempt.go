package relay

import (
	"context"
	"slices"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
)

const (
	// leastTime is how little time makes an attempt pointless: a provider that
	// answers takes 50 to 500 ms.
	leastTime = 300 * time.Millisecond
	// longestWait bounds the wait for one of a provider's places where another one may take
	// the mail, or this one may hang. A longer queue would only turn a quick refusal into a
	// slow one.
	longestWait = 250 * time.Millisecond
)

// turn is a provider whose turn it is with a mail.
type turn struct {
	Member
	isLast     bool // nobody comes after it
	sharesTime bool // whoever comes after it is to have half of the time
}

// attempt makes one attempt at a provider if it has a place for the mail in time, else the
// mail stands in line there. It tells whether the delivery ends here, accepted or not.
func (d *delivery) attempt(ctx context.Context, t turn) (ends bool) {
	start := time.Now()
	deadline, _ := ctx.Deadline()
	left := deadline.Sub(start)
	if left < leastTime {
		t.health.abandon()
		d.outOfTime = true
		d.note(t.Name, start, start, &providers.Error{Kind: providers.Temporary, Stage: "wait", Detail: "no time left"})
		return true
	}
	wait := min(longestWait, left/4)
	switch {
	case d.isFinal:
		wait = left - timeToAnswer/2
	case t.isLast && t.health.isWorthWaiting(start) && left-timeInLine > wait:
		wait = 0 // which is no longer than it waits in line
	}
	if !t.acquire(ctx, wait) {
		t.health.abandon()
		d.later = slices.DeleteFunc(d.later, func(l later) bool { return l.Provider == t.Provider })
		d.line = append(d.line, standing{Member: t.Member, since: start})
		if wait > 0 {
			d.noteFull(&d.line[len(d.line)-1])
		}
		return false
	}
	return d.attemptWithPlace(ctx, t)
}

// attemptWithPlace is an attempt at a provider that has a place for it, which is free
// again afterwards. It may be several sends, if the first ended in doubt and the service
// knows a repeated mail.
func (d *delivery) attemptWithPlace(ctx context.Context, t turn) (ends bool) {
	holdsPlace := true
	defer func() {
		if holdsPlace {
			t.release()
		}
	}()
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	failure := d.send(ctx, t)
	if failure != nil && failure.Kind == providers.Uncertain && t.isRepeatable() {
		failure, holdsPlace = d.repeat(ctx, t, failure, left)
	}
	return failure == nil || d.endsWith(failure)
}

// repeat sends a mail in doubt again, whose service sees to it that this cannot become a
// second mail, until that ends the doubt or others are to have the time that is left; before
// the doubt it was left. It returns the doubt or what has ended it, and whether the mail still
// has its place, which others may have while it waits.
func (d *delivery) repeat(ctx context.Context, t turn, doubt *providers.Error, left time.Duration) (failure *providers.Error, holdsPlace bool) {
	deadline, _ := ctx.Deadline()
	// The mail stays while nobody else may take it, for half of its time where it stands in
	// line or shares it, and for most of it while all others rest.
	staysAlone, least := t.isLast && len(d.line) == 0 || d.relay.failUncertain, timeToAnswer
	switch {
	case staysAlone:
	case t.sharesTime || len(d.line) > 0:
		least = left / 2
	default:
		least = left / 4
	}
	for pause := firstPause; !d.outOfTime; pause = min(2*pause, longestPause) {
		if !staysAlone && time.Until(deadline) <= timeToAnswer {
			break // which is left for others
		}
		again := d.send(ctx, t)
		if again == nil || (again.Kind == providers.Recipient || again.Kind == providers.Content) && !again.Filtered {
			return again, true // only a verdict on the mail puts an end to the doubt
		}
		// The service may still be at work on the first one, or away for a moment. For that a
		// mail waits that nobody else may take.
		passes := again.RetryAfter > 0 && !again.Quota || (staysAlone || !t.sharesTime) && (again.Kind == providers.Uncertain || again.Momentary)
		wait := max(pause, again.RetryAfter)
		if !passes || time.Until(deadline)-wait < least {
			break
		}
		t.release()
		if !sleep(ctx, wait) || !t.acquire(ctx, time.Until(deadline)) {
			return doubt, false
		}
	}
	return doubt, true
}

// send renders the mail, hands it to a provider once, and notes what became of
// it.
func (d *delivery) send(ctx context.Context, t turn) *providers.Error {
	start := time.Now()
	deadline, _ := ctx.Deadline()
	left := deadline.Sub(start)
	limit := left
	switch {
	case t.sharesTime:
		limit = left / 2
	case !t.isLast && left > 2*timeToAnswer: // those that rest may be well again
		limit = left - timeToAnswer
	}
	if t.Timeout > 0 {
		limit = min(limit, t.Timeout)
	}
	if limit < left {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	message, failure := d.message(t.Member, !t.isLast || t.isRepeatable())
	if failure != nil { // a fault of templates says nothing of the service
		t.health.abandon()
		d.reconsider(t.Member, failure, left)
		d.note(t.Name, start, time.Now(), failure)
		return failure
	}
	private := providers.PrivateOf(message) // of the message nothing else is needed while the service works
	receipt, err := t.Service.Send(ctx, message)
	if err == nil {
		d.Status, d.Provider, d.ProviderID = mail.StatusAccepted, t.Name, private.FitID(receipt.ID)
	} else {
		failure = providers.AsError(err).About(private)
		if failure.Kind == providers.Configuration && failure.IsGone() && t.health.hasWorked() {
			failure.Kind, failure.Momentary = providers.Temporary, true
		}
	}
	end := time.Now()
	d.reconsider(t.Member, failure, deadline.Sub(end))
	d.note(t.Name, start, end, failure)
	if t.health.record(failure, end.Sub(start), end) {
		d.relay.changed(t.Status())
	}
	d.outOfTime = failure != nil && deadline.Sub(end) < leastTime
	return failure
}

// note takes down an attempt; failure is nil if it was accepted. This is where an
// error of a provider becomes part of the delivery.
func (d *delivery) note(provider string, start, end time.Time, failure *providers.Error) {
	d.Attempts = append(d.Attempts, mail.Attempt{})
	attempt := &d.Attempts[len(d.Attempts)-1]
	attempt.Provider, attempt.Kind = provider, mail.AttemptAccepted
	attempt.Start, attempt.Duration = start.Sub(d.Time), end.Sub(start)
	if failure != nil {
		attempt.Kind, attempt.Stage, attempt.Code = failure.Kind.String(), failure.Stage, failure.Code
		attempt.Detail, attempt.Hint, attempt.RetryAfter = failure.Detail, failure.Hint, failure.RetryAfter
		// What is filtered is no last word on the mail, but an answer about the address is one to its reader.
		d.seen[failure.Kind] = d.seen[failure.Kind] || !failure.Filtered || failure.Kind == providers.Recipient && failure.Code != ""
		d.declined = d.declined || failure.Kind == providers.Recipient
		d.suppressed = d.suppressed || failure.Suppressed
	}
}

// endsWith tells whether a failure is the end of the delivery.
func (d *delivery) endsWith(failure *providers.Error) bool {
	switch failure.Kind {
	case providers.Recipient, providers.Content:
		return !failure.Filtered
	case providers.Uncertain:
		d.uncertain++
		return d.relay.failUncertain || d.uncertain > 1
	}
	return d.Reason != ""
}
