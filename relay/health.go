package relay

import (
	"sync"
	"time"

	"logto-email-relay/providers"
)

// recovery is how long after a failure a provider may have more to do than usual, since
// the mails that waited come together with the new ones.
const recovery = 10 * time.Second

// How often mails that have waited come again to a provider that is in trouble or
// has just been. There may be very many, and they must not make it worse.
const (
	calmAfter = 250 * time.Millisecond // the last failure
	againGap  = 100 * time.Millisecond
)

// How long a provider rests after a failure that says it will fail again.
const (
	// restAfterFailures follows the third temporary or uncertain failure in a row.
	restAfterFailures = 10 * time.Second
	failuresToRest    = 3
	// restAfterConfiguration follows a wrong key or a spent quota, which take a
	// person or a new day to mend.
	restAfterConfiguration = 2 * time.Minute
	// A throttled provider rests for as long as it asks, within these.
	restAfterThrottling = 5 * time.Second
	longestThrottling   = time.Minute
)

// health is a provider's circuit breaker. An open one does not forbid the
// provider, it puts it behind all others: a mail that nobody else takes is
// still offered, because a sign-in that may fail is better than one that must.
// Once the rest is over, one mail at a time tries the provider in its turn until
// one is accepted.
//
// It is our own rather than a library's because of that, and because the rest
// depends on the kind of the failure.
type health struct {
	mu        sync.Mutex
	failures  int // in a row
	restUntil time.Time
	resting   bool // from the failure to the next acceptance
	probing   bool // one mail is trying the provider after its rest
	cause     *providers.Error
	signIn    bool          // the rest is for a failure to sign in
	accepted  time.Time     // last
	failed    time.Time     // last
	hung      bool          // the last attempt failed after more than a moment
	turned    chan struct{} // closed when that changes
	again     time.Time     // when a mail that has waited came last while there was trouble
}

// admit tells whether the provider may be tried in its turn. After a rest it
// says so to one caller, who then must record what became of it.
func (h *health) admit(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.resting {
		return true
	}
	if h.probing || now.Before(h.restUntil) {
		return false
	}
	h.probing = true
	return true
}

// admitAgain tells whether a mail that has waited may try the provider now.
func (h *health) admitAgain(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.failed) >= calmAfter {
		return true
	}
	if now.Sub(h.again) < againGap {
		return false
	}
	h.again = now
	return true
}

// isWorthWaiting tells whether a provider whose places are all taken may have some again
// soon: it takes mails, or failed lately, as of a restart. One that has never taken any may
// hang.
func (h *health) isWorthWaiting(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Sub(h.failed) < recovery || !h.accepted.IsZero()
}

// failedLast tells whether the last attempt that says something of the provider failed.
func (h *health) failedLast() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed.After(h.accepted)
}

// hangs tells whether the last attempt failed after more than a moment. A quick refusal of one
// mail says little of the next.
func (h *health) hangs() bool {
	hangs, _ := h.hangsUntil()
	return hangs
}

// hangsUntil is hangs, and returns a channel that is closed when that will have changed.
func (h *health) hangsUntil() (hangs bool, turned <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hung, h.turned
}

func (h *health) setHung(hung bool) {
	if hung != h.hung {
		h.hung = hung
		close(h.turned)
		h.turned = make(chan struct{})
	}
}

// hasWorked tells whether the service has taken a mail or a login before.
func (h *health) hasWorked() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.accepted.IsZero()
}

// mayBeWell tells whether the provider is in use, or would be tried again in its turn. A
// provider that only gets what others do not take may have been well for long, without a mail
// that could have shown it.
func (h *health) mayBeWell(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.resting || !now.Before(h.restUntil)
}

// record takes the end of an attempt, nil when the mail was accepted, and how long it took. A
// refusal that is about one recipient or one message shows that the service works. It tells
// whether the provider began to rest, or is well again, with this.
func (h *health) record(err *providers.Error, took time.Duration, now time.Time) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.resting
	h.probing = false
	if err != nil && err.Kind == providers.Recipient && err.Filtered && err.Code == "" { // which the service was not asked
		return false
	}
	if err == nil || err.Kind == providers.Recipient || err.Kind == providers.Content || err.AboutAddress {
		h.failures, h.resting, h.cause, h.accepted = 0, false, nil, now
		h.setHung(false)
		return before
	}
	h.failures++
	h.failed = now
	h.setHung(took > timeToAnswer)
	switch rest := restFor(err); {
	case rest > 0:
		h.rest(err, now, rest)
	case h.failures >= failuresToRest:
		h.rest(err, now, restAfterFailures)
	}
	return h.resting != before
}

// suspend takes a failure to sign in, which speaks for every mail to come, and tells
// whether a rest has begun with it.
func (h *health) suspend(err *providers.Error, now time.Time) (began bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	began = !h.resting
	h.rest(err, now, max(restFor(err), restAfterFailures))
	h.signIn = true
	return began
}

// signedIn takes a success to sign in, and tells whether a rest has ended with it. One
// that a mail began says more, such as that the quota is spent.
func (h *health) signedIn(now time.Time) (ended bool) {
	h.mu.Lock()
	ofAMail := h.resting && !h.signIn && restFor(h.cause) > 0
	h.mu.Unlock()
	return !ofAMail && h.record(nil, 0, now)
}

func (h *health) rest(cause *providers.Error, now time.Time, length time.Duration) {
	h.resting, h.restUntil, h.cause, h.signIn = true, now.Add(length), cause, false
}

// restFor returns the rest that one failure alone calls for.
func restFor(err *providers.Error) time.Duration {
	switch {
	case err.Kind == providers.Configuration && !err.Unplaced, err.Quota:
		return restAfterConfiguration
	case err.Kind == providers.RateLimited && err.RetryAfter > 0:
		return min(err.RetryAfter, longestThrottling)
	case err.Kind == providers.RateLimited:
		return restAfterThrottling
	}
	return 0
}

// abandon gives back a claimed probe that never became an attempt.
func (h *health) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
}
