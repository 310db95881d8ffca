package relay

import (
	"context"
	"time"

	"logto-email-relay/providers"
	"logto-email-relay/templates"
)

const (
	// tooLate is how little time makes an attempt pointless: a provider that
	// answers takes 50 to 500 ms.
	tooLate = 300 * time.Millisecond
	// patience bounds the wait for one of a provider's slots. A longer queue
	// would only turn a quick refusal into a slow one.
	patience = 250 * time.Millisecond
	// defaultRetryAfter is what we ask Logto's side to wait when no provider
	// says how long.
	defaultRetryAfter = 10 * time.Second
)

// walk is one mail's way along its providers.
type walk struct {
	relay   *Relay
	request Request
	path    *path
	locale  string
	// mail is for the first attempt. It is written again for another: to keep it
	// would cost every mail that waits for its provider.
	mail      *templates.Mail
	start     time.Time
	attempts  []Attempt
	uncertain int  // attempts that ended so
	outOfTime bool // the last attempt ended with the mail's time
}

// offer tries the providers in order, those that rest after all others.
func (w *walk) offer(ctx context.Context) (Receipt, error) {
	var resting []*member
	for i, m := range w.path.members {
		if !m.health.admit(time.Now()) {
			resting = append(resting, m)
			continue
		}
		receipt, done, err := w.try(ctx, m, anyWell(w.path.members[i+1:]))
		if done {
			return receipt, err
		}
	}
	for i, m := range resting {
		receipt, done, err := w.try(ctx, m, i < len(resting)-1)
		if done {
			return receipt, err
		}
	}
	return Receipt{}, errNobodyAccepted
}

func anyWell(members []*member) bool {
	for _, m := range members {
		if m.health.wellNow() {
			return true
		}
	}
	return false
}

// share is the part of the time left that one attempt may take.
func share(left time.Duration, another bool) time.Duration {
	if another {
		return left / 2
	}
	return left
}

// try makes one attempt. done tells that the walk ends with it.
func (w *walk) try(ctx context.Context, m *member, another bool) (receipt Receipt, done bool, err error) {
	start := time.Now()
	deadline, _ := ctx.Deadline()
	left := deadline.Sub(start)
	if left < tooLate {
		m.health.abandon()
		w.outOfTime = true
		w.ended(m, 0, &providers.Error{Kind: providers.Temporary, Stage: "wait", Detail: "no time left"})
		return Receipt{}, true, errNobodyAccepted
	}
	if !m.acquire(ctx, min(patience, left/4)) {
		m.health.abandon()
		w.ended(m, time.Since(start), &providers.Error{Kind: providers.Temporary, Stage: "wait",
			Detail: "all concurrent sends are taken", Hint: "raise maxConcurrent if the provider allows it"})
		return Receipt{}, false, nil
	}
	defer m.release()

	receipt, failure := w.send(ctx, m, another)
	if failure != nil && failure.Kind == providers.Uncertain && !w.outOfTime && isRepeatable(m.Provider) {
		// The service itself sees to it that this cannot become a second mail. Only
		// a verdict on the mail puts an end to the doubt.
		var again *providers.Error
		receipt, again = w.send(ctx, m, another)
		if again == nil || again.Kind == providers.Recipient || again.Kind == providers.Content {
			failure = again
		}
	}
	if failure == nil {
		return receipt, true, nil
	}
	return Receipt{}, w.stopsAfter(failure), errNobodyAccepted
}

// ended takes down an attempt.
func (w *walk) ended(m *member, took time.Duration, failure *providers.Error) {
	w.attempts = append(w.attempts, Attempt{Provider: m.Name, Duration: took, Err: failure})
}

// send makes one attempt with a provider and takes down what became of it.
func (w *walk) send(ctx context.Context, m *member, another bool) (Receipt, *providers.Error) {
	start := time.Now()
	deadline, _ := ctx.Deadline()
	left := deadline.Sub(start)
	limit := share(left, another)
	if m.Timeout > 0 {
		limit = min(limit, m.Timeout)
	}
	attempt := ctx
	if limit < left {
		var cancel context.CancelFunc
		attempt, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	receipt, failure := w.hand(attempt, m)
	end := time.Now()
	w.ended(m, end.Sub(start), failure)
	if m.health.record(failure, end) {
		w.relay.changed(m.status())
	}
	if failure != nil {
		w.outOfTime = deadline.Sub(end) < tooLate
	}
	return receipt, failure
}

// hand writes the mail for a provider and hands it over.
func (w *walk) hand(ctx context.Context, m *member) (Receipt, *providers.Error) {
	mail, err := w.write(m)
	if err != nil {
		return Receipt{}, &providers.Error{Kind: providers.Configuration, Stage: "render",
			Detail: providers.Redact(err.Error()), Err: err}
	}
	locale := mail.Locale // of mail nothing else is needed while the provider works
	accepted, err := m.Provider.Send(ctx, w.message(m, mail))
	if err != nil {
		return Receipt{}, providers.AsError(err)
	}
	return Receipt{Provider: m.Name, ID: accepted.ID, Locale: locale}, nil
}

func isRepeatable(p providers.Provider) bool {
	_, ok := p.(providers.Repeatable)
	return ok
}

// stopsAfter tells whether a failure ends the walk.
func (w *walk) stopsAfter(failure *providers.Error) bool {
	switch failure.Kind {
	case providers.Recipient, providers.Content:
		return true
	case providers.Uncertain:
		w.uncertain++
		return w.relay.failUncertain || w.uncertain > 1
	}
	return false
}

func (m *member) acquire(ctx context.Context, wait time.Duration) bool {
	select {
	case m.slots <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case m.slots <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (m *member) release() { <-m.slots }

// failed is the end of a walk on which nobody accepted the mail.
func (w *walk) failed(cause error) *Error {
	return &Error{Reason: w.reason(), RetryAfter: w.retryAfter(), Locale: w.locale, Attempts: w.attempts, Err: cause}
}

// reason picks the most helpful word of what the attempts ended with: that a
// mail may be on its way, then what the reader can mend, then what will pass,
// then what only an operator can mend.
func (w *walk) reason() Reason {
	seen := make(map[providers.Kind]*providers.Error)
	for _, a := range w.attempts {
		seen[a.Err.Kind] = a.Err
	}
	switch {
	case seen[providers.Uncertain] != nil:
		return Uncertain
	case seen[providers.Recipient] != nil && seen[providers.Recipient].Suppressed:
		return RecipientSuppressed
	case seen[providers.Recipient] != nil:
		return RecipientRefused
	case seen[providers.Content] != nil:
		return ProviderRefused
	case w.outOfTime:
		return Timeout
	case seen[providers.Temporary] != nil, seen[providers.RateLimited] != nil:
		return ProviderUnavailable
	}
	return ProviderRefused
}

// retryAfter is the shortest wait that a provider asked for.
func (w *walk) retryAfter() time.Duration {
	wait := time.Duration(0)
	for _, a := range w.attempts {
		if after := a.Err.RetryAfter; after > 0 && (wait == 0 || after < wait) {
			wait = after
		}
	}
	if wait == 0 {
		return defaultRetryAfter
	}
	return wait
}
