// Package webhooks tells endpoints of the operator's own what becomes of mails, by
// signed calls as https://www.standardwebhooks.com has them.
//
// What is to be told waits in a queue that the record keeps, with a row for each
// event and endpoint. A Sender has a goroutine for each endpoint, so that one that is
// dead holds up no other. It claims a few notifications, calls the endpoint with all of
// them at a time, and says to the queue what became of them: taken, or to be tried
// again, for a day. A relay that dies in between loses its claims, and another one, or
// the next, sends them once more, with the same id. So each is told at least once, in
// no order that one may rely on.
package webhooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"logto-email-relay/mail"
)

const (
	// atATime is how many calls of one endpoint there are.
	atATime = 8
	// timeout bounds a call, and lease the time in which what became of it is to be known.
	timeout = 10 * time.Second
	lease   = 3 * timeout
	// patience is how long a notification is tried: the last time at its end.
	patience = 24 * time.Hour
	// lastTry is how much longer one is kept that was not tried at the end of it.
	lastTry = 10 * time.Minute
	// From the first failure on the wait is four times as long after each, up to the
	// longest.
	firstWait, longestWait = 5 * time.Second, 4 * time.Hour
	// looking is how often the queue is looked at, and counting how often it is counted.
	looking, counting = time.Second, 10 * time.Second
	// An endpoint that takes nothing is left alone for up to longestRest, or for as long as
	// it asks within longestAsked.
	longestRest, longestAsked = time.Minute, time.Hour
	// maxAnswer bounds what is read of an answer, so that its connection is of use again,
	// and its header.
	maxAnswer = 64 << 10
)

// Queue keeps notifications.
type Queue interface {
	// Claim returns notifications to an endpoint that are due, so many at most. Nobody else
	// gets them before the claim ends.
	Claim(ctx context.Context, endpoint string, limit int, end time.Time) ([]mail.Notification, error)
	// Settle ends claims: some notifications are done with, others are due again later.
	Settle(ctx context.Context, done []string, again []mail.Notification) error
	// Pending counts the notifications to an endpoint that wait.
	Pending(ctx context.Context, endpoint string) (int, error)
	// Expire deletes notifications to an endpoint that were due before a time, some of them where
	// there are many, and tells how many.
	Expire(ctx context.Context, endpoint string, before time.Time) (int, error)
}

// Sender sends what is in a queue.
type Sender struct {
	queue  Queue
	logger *slog.Logger
	// transport is without a client around it, which would follow a redirect or quote it.
	transport http.RoundTripper

	mu        sync.Mutex
	endpoints []*endpoint
	working   sync.WaitGroup
	// ctx ends when calls under way are given up.
	ctx    context.Context
	giveUp context.CancelFunc
}

// endpoint is one that is called.
type endpoint struct {
	key    string
	target atomic.Pointer[target]
	stop   context.CancelFunc

	mu    sync.Mutex
	state State
	// Only its goroutine knows these: how often in a row nothing was taken, when the queue
	// was counted, and whether it could not be read the last time.
	failures int
	counted  time.Time
	unread   bool
}

// target is where to call, and how.
type target struct {
	name, url string
	signer    *standardwebhooks.Webhook
}

// State is how an endpoint is.
type State struct {
	// Name is its host, with a number if another one has the same.
	Name string
	// Sent, Failed and GivenUp count since the start: notifications that were taken, calls
	// that failed, and notifications that are not tried any more. Pending wait in the queue.
	Sent, Failed, GivenUp, Pending int
	// Cause is why it takes nothing, nil if it does, and Since when that began.
	Cause error
	Since time.Time
}

// String tells people how it is.
func (s State) String() string {
	if s.Cause == nil {
		return "in use"
	}
	return fmt.Sprintf("takes nothing since %s, %d wait: %v", s.Since.UTC().Format(time.RFC3339), s.Pending, s.Cause)
}

// New makes a Sender without endpoints.
func New(queue Queue, logger *slog.Logger) *Sender {
	s := &Sender{queue: queue, logger: logger, transport: &http.Transport{
		MaxIdleConnsPerHost: atATime, IdleConnTimeout: 55 * time.Second, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxAnswer,
		// A connection that a load balancer has forgotten would be called in vain for minutes.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 4 * time.Second, PingTimeout: 2 * time.Second},
	}}
	s.ctx, s.giveUp = context.WithCancel(context.Background())
	return s
}

// Use puts other settings in place, which have been checked. Endpoints whose URL is not
// in them are not called any more.
func (s *Sender) Use(other Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	earlier := make(map[string]*endpoint)
	for _, e := range s.endpoints {
		earlier[e.key] = e
	}
	s.endpoints = nil
	hosts := make(map[string]int)
	for i := range other.Send {
		written := &other.Send[i]
		signer, _ := written.signer()
		name := written.host()
		if hosts[name]++; hosts[name] > 1 {
			name += fmt.Sprintf(" (%d)", hosts[name])
		}
		e, known := earlier[written.key()]
		if !known {
			e = &endpoint{key: written.key()}
		}
		e.target.Store(&target{name, written.URL.Reveal(), signer})
		if !known {
			var ctx context.Context
			ctx, e.stop = context.WithCancel(s.ctx)
			s.working.Go(func() { s.run(ctx, e) })
		}
		delete(earlier, e.key)
		s.endpoints = append(s.endpoints, e)
	}
	for _, e := range earlier {
		e.stop()
	}
}

// State returns how all endpoints are, in the order of the settings.
func (s *Sender) State() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]State, len(s.endpoints))
	for i, e := range s.endpoints {
		e.mu.Lock()
		states[i] = e.state
		e.mu.Unlock()
		states[i].Name = e.target.Load().name
	}
	return states
}

// Close begins no other call, and waits for those under way until the context ends.
// What they did not achieve is for the next start.
func (s *Sender) Close(ctx context.Context) {
	s.Use(Settings{})
	done := make(chan struct{})
	go func() { s.working.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	s.giveUp()
	<-done
	if pool, ok := s.transport.(*http.Transport); ok {
		pool.CloseIdleConnections()
	}
}

// run calls an endpoint until its context ends.
func (s *Sender) run(ctx context.Context, e *endpoint) {
	for ctx.Err() == nil {
		for rest := s.round(ctx, e); rest > 0 && ctx.Err() == nil; rest -= counting {
			select {
			case <-time.After(min(rest, counting)):
				_ = s.count(ctx, e) // the next round tells if it cannot be
			case <-ctx.Done():
			}
		}
	}
}

// round sends what is due, and returns how long to wait for the next time.
func (s *Sender) round(ctx context.Context, e *endpoint) time.Duration {
	claimed, err := s.queue.Claim(ctx, e.key, atATime, time.Now().Add(lease))
	if err == nil {
		err = s.count(ctx, e)
	}
	if err != nil && ctx.Err() == nil && !e.unread {
		s.logger.Warn("events to be sent cannot be read", "endpoint", e.target.Load().name, "error", err.Error())
	}
	e.unread = err != nil
	if len(claimed) == 0 {
		return looking
	}
	to := e.target.Load()
	failures := make([]*failure, len(claimed))
	var calling sync.WaitGroup
	for i := range claimed {
		calling.Go(func() { failures[i] = s.call(to, &claimed[i]) })
	}
	calling.Wait()
	return s.settle(e, claimed, failures)
}

func (s *Sender) count(ctx context.Context, e *endpoint) error {
	if time.Since(e.counted) < counting {
		return nil
	}
	if e.failures > 0 { // so that those leave, too, which it was not called with for a day
		expired, err := s.queue.Expire(ctx, e.key, time.Now().Add(-patience-lastTry))
		if err != nil {
			return err
		}
		e.giveUp(s.logger, expired, e.state.Cause)
	}
	n, err := s.queue.Pending(ctx, e.key)
	if err != nil {
		return err
	}
	e.counted = time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.Pending = n
	return nil
}

// failure is why a call was of no use.
type failure struct {
	cause error
	// gone tells that the endpoint wants no such call again, retryAfter how long it wants
	// to be left alone.
	gone       bool
	retryAfter time.Duration
}

// call tells an endpoint once. It returns nil if that was taken.
func (s *Sender) call(to *target, n *mail.Notification) *failure {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	now := time.Now()
	signature, err := to.signer.Sign(n.ID, now, n.Body)
	if err != nil {
		return &failure{cause: err}
	}
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url, bytes.NewReader(n.Body))
	if err != nil {
		return &failure{cause: errors.New("its URL cannot be called")}
	}
	if user := request.URL.User; user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "logto-email-relay")
	request.Header.Set(standardwebhooks.HeaderWebhookID, n.ID)
	request.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	request.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	answer, err := s.transport.RoundTrip(request)
	if err != nil {
		return &failure{cause: inWords(err, connected.Load())}
	}
	// The status is the answer. What follows a switch of protocols is none, and net/http
	// lets it go on after the deadline.
	if answer.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	}
	_ = answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		return nil
	}
	f := &failure{cause: fmt.Errorf("the answer is %d", answer.StatusCode), retryAfter: retryAfter(answer.Header.Get("Retry-After"))}
	switch {
	case answer.StatusCode == http.StatusGone:
		f.gone, f.cause = true, fmt.Errorf("%w, which asks not to come again with this", f.cause)
	case answer.StatusCode/100 == 3:
		f.cause = fmt.Errorf("%w, and redirects are not followed: write the address that it leads to", f.cause)
	}
	return f
}

// inWords says why there is no answer. Once there was a connection, an error of net/http
// may quote what came, and with it the address that was called, which is secret. So
// what it says then is put into other words.
func inWords(err error, connected bool) error {
	var network *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v", timeout)
	case !connected:
		return err
	case errors.As(err, &network): // by the system, or by TLS
		return network
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed without an answer (EOF)")
	case strings.Contains(err.Error(), "headers exceeded"):
		return fmt.Errorf("the header of the answer exceeded %d KiB", maxAnswer>>10)
	case strings.Contains(err.Error(), "connection broken"):
		return errors.New("the answer is not HTTP")
	default:
		return errors.New("the connection broke without an answer")
	}
}

// retryAfter reads seconds or a date; zero for anything else.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 24); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// settle tells the queue what became of notifications, and everybody else. It returns
// how long the endpoint is to be left alone.
func (s *Sender) settle(e *endpoint, claimed []mail.Notification, failures []*failure) (rest time.Duration) {
	now := time.Now()
	var sent, failed, givenUp int
	var done []string
	var again []mail.Notification
	var last error
	for i, n := range claimed {
		f := failures[i]
		if f != nil && s.ctx.Err() != nil { // ended by us
			n.Due = now
			again = append(again, n)
			continue
		}
		if f == nil {
			sent++
			done = append(done, n.ID)
			continue
		}
		failed++
		last = f.cause
		rest = max(rest, min(f.retryAfter, longestAsked))
		end := n.Since.Add(patience)
		if f.gone || !now.Before(end) {
			givenUp++
			done = append(done, n.ID)
			continue
		}
		n.Due = now.Add(max(wait(n.Attempts), f.retryAfter))
		if n.Due.After(end) {
			n.Due = end
		}
		again = append(again, n)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), timeout)
	defer cancel()
	if err := s.queue.Settle(ctx, done, again); err != nil {
		s.logger.Warn("what was sent may be sent again", "endpoint", e.target.Load().name, "events", len(claimed), "error", err.Error())
	}
	e.note(s.logger, sent, failed, last)
	e.giveUp(s.logger, givenUp, last)
	if sent == 0 {
		rest = max(rest, jittered(min(time.Second<<min(e.failures, 10), longestRest)))
	}
	return rest
}

// note counts, and logs when an endpoint begins to take nothing and when it does again.
func (e *endpoint) note(logger *slog.Logger, sent, failed int, last error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.Sent += sent
	e.state.Failed += failed
	name := e.target.Load().name
	switch {
	case sent > 0:
		if e.failures > 0 {
			logger.Info("events are sent again", "endpoint", name)
		}
		e.failures, e.state.Cause, e.state.Since = 0, nil, time.Time{}
	case failed > 0:
		if e.failures == 0 {
			logger.Warn("events cannot be sent", "endpoint", name, "error", last.Error())
			e.state.Since = time.Now()
		}
		e.failures++
		e.state.Cause = last
	}
}

// giveUp counts and logs what is not tried any more.
func (e *endpoint) giveUp(logger *slog.Logger, events int, last error) {
	if events == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.GivenUp += events
	logger.Warn("events are given up", "endpoint", e.target.Load().name, "events", events, "error", last.Error())
}

// wait is how long a notification waits after so many attempts.
func wait(attempts int) time.Duration {
	return jittered(min(firstWait<<(2*min(max(attempts-1, 0), 10)), longestWait))
}

// jittered is a time give or take a fifth, so that what failed together does not come
// back together.
func jittered(d time.Duration) time.Duration { return d*4/5 + rand.N(d*2/5+1) }
