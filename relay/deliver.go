package relay

import (
	"cmp"
	"context"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/templates"
)

// defaultRetryAfter is what we ask Logto's side to wait when no provider says how long.
const defaultRetryAfter = 10 * time.Second

// delivery is one mail on its way, and what is known of it so far.
type delivery struct {
	mail.Delivery
	relay   *Relay
	request *Request
	route   *routed
	// rendered is the mail of the relay's own renderer, kept while a later attempt
	// may want it.
	rendered *templates.Mail
	// What the attempts ended with, as far as the verdict depends on it.
	seen       [providers.Uncertain + 1]bool // by kind
	suppressed bool
	declined   bool // by a provider that takes no such address, of which another may think otherwise
	uncertain  int  // sends that ended so and were not repeated
	outOfTime  bool // the last send ended with the mail's time
	isFinal    bool // no attempt comes after this one, which waits for longer for one of the places
	later      []later
	line       []standing
}

// Deliver sends one mail and tells what became of it: it was accepted, or the
// delivery has a reason why not. Either way that is recorded when it returns, but for
// what a limit refuses. The context must have a deadline.
func (r *Relay) Deliver(ctx context.Context, request Request) *mail.Delivery {
	d := r.begin(&request)
	if !d.withinLimits(ctx) {
		return &d.Delivery // unrecorded, since a flood must not fill the record
	}
	if r.recorder != nil {
		r.recorder.Begin(&d.Delivery)
	}
	if d.mayReceive(ctx) {
		if ended := d.attemptAll(ctx); !ended {
			d.attemptLater(ctx)
		}
	}
	if !d.Accepted() {
		d.conclude()
	}
	d.Duration = time.Since(d.Time)
	if r.recorder != nil {
		r.recorder.Finish(ctx, &d.Delivery)
	}
	return &d.Delivery
}

// begin decides what does not depend on any provider: language and route.
func (r *Relay) begin(request *Request) *delivery {
	d := &delivery{relay: r, request: request, Delivery: mail.Delivery{
		ID:           request.ID,
		Time:         time.Now(),
		Tenant:       request.Tenant,
		Trace:        request.Trace,
		To:           request.To,
		Type:         request.Type,
		Locale:       r.renderer.Locale(request.Type, request.Payload),
		Application:  idOf(request.Payload["application"]),
		Organization: idOf(request.Payload["organization"]),
	}}
	d.route = r.routeOf(&d.Delivery)
	d.Route = d.route.index
	return d
}

func idOf(context any) string {
	object, _ := context.(map[string]any)
	id, _ := object["id"].(string)
	return id
}

// attemptAll makes an attempt at the providers in order, those that rest after all
// others, and tells whether one of them was the end of the delivery.
func (d *delivery) attemptAll(ctx context.Context) (ended bool) {
	var resting []Member
	members := d.route.order()
	for i, m := range members {
		if !m.health.admit(time.Now()) {
			resting = append(resting, m)
			continue
		}
		behind := members[i+1:]
		if ends := d.attempt(ctx, turn{
			Member:     m,
			isLast:     len(behind)+len(resting) == 0,
			sharesTime: anyMayBeWell(behind) || d.sharesWithEarlier(m),
		}); ends {
			return true
		}
	}
	for i, m := range resting {
		isLast := i == len(resting)-1
		if ends := d.attempt(ctx, turn{Member: m, isLast: isLast, sharesTime: !isLast || d.sharesWithEarlier(m)}); ends {
			return true
		}
	}
	return false
}

// sharesWithEarlier tells whether those that were asked before and may take the mail in a while
// are to have half of the time of one whose last attempt failed: it may hang again. One that is
// only slow gets all of it, and so does one after a doubt, in which nobody is asked again.
func (d *delivery) sharesWithEarlier(m Member) bool {
	return len(d.later)+len(d.line) > 0 && !d.seen[providers.Uncertain] && m.health.failedLast()
}

func anyMayBeWell(members []Member) bool {
	for _, m := range members {
		if m.health.mayBeWell(time.Now()) {
			return true
		}
	}
	return false
}

// conclude is the end of a delivery that nobody accepted.
func (d *delivery) conclude() {
	if d.Reason == "" {
		d.Reason = d.reason()
	}
	d.RetryAfter = d.retryAfter()
	switch d.Reason {
	case mail.Uncertain:
		d.Status = mail.StatusUncertain
	case mail.RecipientRefused:
		d.Status = mail.StatusRefused
	case mail.RecipientSuppressed:
		d.Status = mail.StatusSuppressed
	default:
		d.Status = mail.StatusFailed
	}
}

// reason picks the most helpful word of what the attempts ended with: that a
// mail may be on its way, then what the reader can mend, then what will pass,
// then what only an operator can mend.
func (d *delivery) reason() mail.Reason {
	switch {
	case d.seen[providers.Uncertain]:
		return mail.Uncertain
	case d.suppressed:
		return mail.RecipientSuppressed
	case d.seen[providers.Recipient]:
		return mail.RecipientRefused
	case d.seen[providers.Content]:
		return mail.ProviderRefused
	case d.outOfTime:
		return mail.Timeout
	case d.seen[providers.Temporary], d.seen[providers.RateLimited]:
		return mail.ProviderUnavailable
	case d.declined:
		return mail.RecipientRefused
	}
	return mail.ProviderRefused
}

// retryAfter is the shortest wait that a provider asked for.
func (d *delivery) retryAfter() time.Duration {
	shortest := time.Duration(0)
	for _, a := range d.Attempts {
		if a.RetryAfter > 0 {
			shortest = min(cmp.Or(shortest, a.RetryAfter), a.RetryAfter)
		}
	}
	return cmp.Or(shortest, defaultRetryAfter)
}
