package relay

import (
	"cmp"
	"context"
	"slices"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/templates"
)

const (
	// leastTime is how little time makes an attempt pointless: a provider that
	// answers takes 50 to 500 ms.
	leastTime = 300 * time.Millisecond
	// longestWait bounds the wait for one of a provider's places where another one may take
	// the mail, or this one may hang. A longer queue would only turn a quick refusal into a
	// slow one.
	longestWait = 250 * time.Millisecond
	// defaultRetryAfter is what we ask Logto's side to wait when no provider
	// says how long.
	defaultRetryAfter = 10 * time.Second
)

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
		later := members[i+1:]
		if ends := d.attempt(ctx, m, len(later)+len(resting) == 0, anyMayBeWell(later) || d.sharesWithEarlier(m)); ends {
			return true
		}
	}
	for i, m := range resting {
		isLast := i == len(resting)-1
		if ends := d.attempt(ctx, m, isLast, !isLast || d.sharesWithEarlier(m)); ends {
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

// attempt makes one attempt at a provider, which may be two sends if the first
// ended in doubt and the service knows a repeated mail. isLast tells that nobody
// comes after, sharesTime that the next one is to have half of the time. It tells
// whether the delivery ends here, accepted or not.
func (d *delivery) attempt(ctx context.Context, m Member, isLast, sharesTime bool) (ends bool) {
	start := time.Now()
	deadline, _ := ctx.Deadline()
	left := deadline.Sub(start)
	if left < leastTime {
		m.health.abandon()
		d.outOfTime = true
		d.note(m.Name, start, start, &providers.Error{Kind: providers.Temporary, Stage: "wait", Detail: "no time left"})
		return true
	}
	wait := min(longestWait, left/4)
	switch {
	case d.isFinal:
		wait = left - timeToAnswer/2
	case isLast && m.health.isWorthWaiting(start) && left-timeInLine > wait:
		wait = 0 // which is no longer than it waits in line
	}
	if !m.acquire(ctx, wait) {
		m.health.abandon()
		d.later = slices.DeleteFunc(d.later, func(l later) bool { return l.Provider == m.Provider })
		d.line = append(d.line, standing{Member: m, since: start})
		if wait > 0 {
			d.noteFull(&d.line[len(d.line)-1])
		}
		return false
	}
	return d.attemptWithPlace(ctx, m, isLast, sharesTime)
}

// attemptWithPlace is an attempt at a provider that has a place for it, which is free
// again afterwards.
func (d *delivery) attemptWithPlace(ctx context.Context, m Member, isLast, sharesTime bool) (ends bool) {
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	holdsPlace := true
	defer func() {
		if holdsPlace {
			m.release()
		}
	}()

	failure := d.send(ctx, m, isLast, sharesTime)
	// A mail in doubt stays with a service that knows it again while nobody else may take it,
	// for half of its time where it stands in line, and for most of it while all others rest.
	staysAlone, least := isLast && len(d.line) == 0 || d.relay.failUncertain, timeToAnswer
	switch {
	case staysAlone:
	case sharesTime || len(d.line) > 0:
		least = left / 2
	default:
		least = left / 4
	}
	for pause := firstPause; failure != nil && failure.Kind == providers.Uncertain && m.isRepeatable() && !d.outOfTime; pause = min(2*pause, longestPause) {
		if !staysAlone && time.Until(deadline) <= timeToAnswer {
			break // which is left for others
		}
		// The service itself sees to it that this cannot become a second mail. Only
		// a verdict on the mail puts an end to the doubt.
		again := d.send(ctx, m, isLast, sharesTime)
		if again == nil || (again.Kind == providers.Recipient || again.Kind == providers.Content) && !again.Filtered {
			failure = again
			break
		}
		// It may still be at work on the first one, or away for a moment. For that a mail
		// waits that nobody else may take.
		passes := again.RetryAfter > 0 && !again.Quota || (staysAlone || !sharesTime) && (again.Kind == providers.Uncertain || again.Momentary)
		wait := max(pause, again.RetryAfter)
		if !passes || time.Until(deadline)-wait < least {
			break
		}
		m.release() // for the mails behind
		holdsPlace = sleep(ctx, wait) && m.acquire(ctx, time.Until(deadline))
		if !holdsPlace {
			break
		}
	}
	return failure == nil || d.endsWith(failure)
}

// send renders the mail, hands it to a provider once, and notes what became of
// it.
func (d *delivery) send(ctx context.Context, m Member, isLast, sharesTime bool) *providers.Error {
	start := time.Now()
	deadline, _ := ctx.Deadline()
	left := deadline.Sub(start)
	limit := left
	switch {
	case sharesTime:
		limit = left / 2
	case !isLast && left > 2*timeToAnswer: // those that rest may be well again
		limit = left - timeToAnswer
	}
	if m.Timeout > 0 {
		limit = min(limit, m.Timeout)
	}
	if limit < left {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	message, failure := d.message(m, !isLast || m.isRepeatable())
	if failure != nil { // a fault of templates says nothing of the service
		m.health.abandon()
		d.reconsider(m, failure, left)
		d.note(m.Name, start, time.Now(), failure)
		return failure
	}
	private := providers.PrivateOf(message) // of the message nothing else is needed while the service works
	receipt, err := m.Service.Send(ctx, message)
	if err == nil {
		d.Status, d.Provider, d.ProviderID = mail.StatusAccepted, m.Name, private.FitID(receipt.ID)
	} else {
		failure = providers.AsError(err).About(private)
		if failure.Kind == providers.Configuration && failure.IsGone() && m.health.hasWorked() {
			failure.Kind, failure.Momentary = providers.Temporary, true
		}
	}
	end := time.Now()
	d.reconsider(m, failure, deadline.Sub(end))
	d.note(m.Name, start, end, failure)
	if m.health.record(failure, end.Sub(start), end) {
		d.relay.changed(m.Status())
	}
	d.outOfTime = failure != nil && deadline.Sub(end) < leastTime
	return failure
}

// message renders the mail and makes the message for a provider. Its sender is the
// route's, else the provider's own, where a template may have a reply address of
// its own, else the general one.
func (d *delivery) message(m Member, keep bool) (*mail.Message, *providers.Error) {
	rendered, err := d.render(m, keep)
	if err != nil {
		return nil, &providers.Error{Kind: providers.Configuration, Stage: "render",
			Detail: providers.Redact(err.Error()), Err: err}
	}
	payload := d.request.Payload
	if _, writes := m.Service.(providers.Composer); writes {
		payload = templates.Harmless(payload)
		if payload["link"] != nil {
			payload["link"] = rendered.Link
		}
	}
	message := &mail.Message{
		ID:      d.ID,
		Date:    d.Time,
		To:      d.To,
		Subject: rendered.Subject,
		Text:    rendered.Text,
		HTML:    rendered.HTML,
		Stored:  rendered.Stored,
		Locale:  rendered.Locale,
		Type:    d.Type,
		Payload: payload,
		Headers: []mail.Header{
			// RFC 3834 and MS-OXCMAIL 2.1.3.2.20: no vacation replies and receipts. "All" would
			// be without NDR, too: the report that a mail has bounced.
			{Name: "Auto-Submitted", Value: "auto-generated"},
			{Name: "X-Auto-Response-Suppress", Value: "OOF, AutoReply, DR, RN, NRN"},
			// Keeps Gmail from folding the newest code under older ones.
			{Name: "X-Entity-Ref-ID", Value: d.ID},
			{Name: "Content-Language", Value: rendered.Locale},
		},
	}
	if rendered.Locale == "" {
		message.Headers = message.Headers[:len(message.Headers)-1]
	}
	sender := d.relay.sender.overriddenBy(Sender(m.Sender))
	if rendered.ReplyTo.Address != "" {
		sender.ReplyTo.Address = rendered.ReplyTo
	}
	if d.route.Sender != nil {
		sender = sender.overriddenBy(*d.route.Sender)
	}
	message.From, message.ReplyTo = sender.From.Address, sender.ReplyTo.Address
	if message.From.Name == "" {
		message.From.Name = d.route.branding.SenderName
	}
	d.redirect(message)
	message.MessageID = d.ID + "@" + mail.Domain(message.From.Address)
	return message, nil
}

// render writes the mail, from the provider's own templates if it has some. What
// every provider without may send is written once, and kept if a later attempt may
// want it: to keep more would cost every mail that waits for its provider.
func (d *delivery) render(m Member, keep bool) (*templates.Mail, error) {
	renderer := m.Renderer
	if renderer == nil {
		if d.rendered != nil {
			return d.rendered, nil
		}
		renderer = d.relay.renderer
	}
	rendered, err := renderer.Render(templates.Request{
		Type: d.Type, Locale: d.Locale, Payload: d.request.Payload, Branding: d.route.branding,
		To: d.To, IP: d.request.IP, Time: d.Time,
	})
	if m.Renderer == nil && err != nil {
		d.Reason, d.Cause = mail.Internal, "render: "+providers.Redact(err.Error())
	}
	if m.Renderer == nil && keep {
		d.rendered = rendered
	}
	return rendered, err
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
