package handlers

import (
	"container/list"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/deliveries"
	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
)

const (
	eventsPath = "/events/:provider"
	// maxEventBody bounds a call with events, in bytes. SendGrid calls after 768 kB.
	maxEventBody = 1 << 20
	// eventBodies bounds those that are read at a time, and eventBytes those that are there.
	eventBodies = 64
	eventBytes  = 32 << 20
	// eventCalls bounds the calls under way, so that they leave memory and processors
	// to the webhooks. Who finds no place in time is asked to come again.
	eventCalls    = 16
	eventPatience = 2 * time.Second
	// eventRetryAfter is how long senders are asked to wait. They have plans of their
	// own.
	eventRetryAfter = 30 * time.Second
	tooManyCalls    = "too many calls with events at a time"
)

// EventReceiver understands the calls of one provider.
type EventReceiver interface {
	// Events verifies one call, and returns what it reports.
	Events(ctx context.Context, header http.Header, body []byte, now time.Time) ([]mail.Report, error)
}

// EventRecord keeps what is reported.
type EventRecord interface {
	// Apply adds events to their mails. It returns those that are new, and how many are
	// of unknown mails.
	Apply(ctx context.Context, reports []mail.Report) (applied []mail.Event, unknown int, err error)
}

// takeEvents takes one call of a provider's service. Nothing of what it holds goes into
// the log or the answer.
func (p *public) takeEvents(c echo.Context) error {
	name := c.Param("provider")
	receiver, known := p.Events[name]
	if !known {
		return &web.Failure{Reason: web.NotFound, Detail: "no provider of this name takes events"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.Timeout)
	defer cancel()
	connection := http.NewResponseController(c.Response())
	end := p.unread.begin(func() { _ = connection.SetReadDeadline(time.Unix(1, 0)) }) // tests may have no connection
	body, err := web.ReadBody(c.Request(), maxEventBody)
	switch wasGivenUp := end(); {
	case err != nil && wasGivenUp:
		return comeAgain(receiver, tooManyCalls, err)
	case err != nil:
		return err
	}
	leave, ok := p.enter(ctx, int64(len(body)))
	if !ok {
		return comeAgain(receiver, tooManyCalls, nil)
	}
	defer leave()
	reports, err := receiver.Events(ctx, c.Request().Header, body, time.Now())
	if err != nil {
		return eventFailure(c, name, err)
	}
	if len(reports) > 0 {
		applied, unknown, err := p.EventRecord.Apply(ctx, mail.ReportsFrom(name, reports))
		switch {
		case errors.Is(err, deliveries.ErrBehind), errors.Is(err, deliveries.ErrElsewhere):
			p.Metrics.Events(name, applied, 0) // the others come again
			return comeAgain(receiver, "events of "+name+": "+err.Error(), err)
		case err != nil:
			return comeAgain(receiver, "events of "+name+": the record does not take them", err)
		}
		p.Metrics.Events(name, applied, unknown)
	}
	return c.NoContent(http.StatusOK)
}

// unreadBodies bounds how many bodies are read at a time. Where there are too many, the one
// that takes longest is given up: a service's is there within a moment, and strangers whose
// bodies never come keep none out.
type unreadBodies struct {
	mu     sync.Mutex
	bodies list.List // of *unreadBody, the oldest in front
}

type unreadBody struct {
	giveUp     func()
	wasGivenUp bool
}

// begin takes a place until its end, which tells whether the body was given up before.
func (p *unreadBodies) begin(giveUp func()) (end func() (wasGivenUp bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bodies.Len() >= eventBodies {
		oldest := p.bodies.Remove(p.bodies.Front()).(*unreadBody)
		oldest.wasGivenUp = true
		oldest.giveUp()
	}
	body := &unreadBody{giveUp: giveUp}
	place := p.bodies.PushBack(body)
	return func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.bodies.Remove(place) // without effect if it was given up
		return body.wasGivenUp
	}
}

// enter waits for one of the places, within its patience, with a body of so many bytes.
func (p *public) enter(ctx context.Context, bytes int64) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	if !p.eventBytes.TryAcquire(bytes) {
		return nil, false
	}
	if p.eventCalls.Acquire(ctx, 1) != nil {
		p.eventBytes.Release(bytes)
		return nil, false
	}
	return func() { p.eventCalls.Release(1); p.eventBytes.Release(bytes) }, true
}

// eventFailure gives a call that was not taken the answer that its sender needs.
func eventFailure(c echo.Context, name string, err error) error {
	var refused *providers.EventError
	if !errors.As(err, &refused) {
		return err
	}
	f := &web.Failure{Reason: web.Unavailable, RetryAfter: eventRetryAfter, Detail: "events of " + name + ": " + refused.Detail, Err: err}
	switch refused.Status {
	case http.StatusBadRequest:
		f.Reason = web.Malformed
	case http.StatusUnauthorized:
		f.Reason = web.Unauthorized
		// Some send their credentials only when they are asked for them.
		c.Response().Header().Set("WWW-Authenticate", `Basic realm="events", charset="UTF-8"`)
	case http.StatusForbidden:
		f.Reason = web.Forbidden
	case http.StatusNotAcceptable:
		f.Reason = web.NotAcceptable
	case http.StatusRequestEntityTooLarge:
		f.Reason = web.TooLarge
	}
	return f
}

// comeAgain asks a service to report the same later.
func comeAgain(receiver EventReceiver, detail string, err error) *web.Failure {
	f := &web.Failure{Reason: web.Unavailable, RetryAfter: eventRetryAfter, Detail: detail, Err: err}
	if r, ok := receiver.(interface{ DropsUnavailable() bool }); ok && r.DropsUnavailable() {
		f.Reason = mail.RateLimited
	}
	return f
}
