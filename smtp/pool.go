package smtp

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// How long a connection may live. Servers drop idle ones after one to five
// minutes, and big services want clients to come back to another machine now
// and then.
const (
	maxIdle  = time.Minute
	maxAge   = 5 * time.Minute
	sweepGap = 15 * time.Second
)

// maxRefused is how many messages in a row may be refused on a connection. Postfix answers a
// client a second late at each step after 10 errors without a mail between them, and a
// refused recipient in a pipelined envelope is two:
// https://www.postfix.org/postconf.5.html#smtpd_soft_error_limit
const maxRefused = 4

// warm is how long after a message a connection is not looked at before the
// next. A goodbye takes about as long to come from another machine, and one that
// has come costs that message no more than another connection.
const warm = 10 * time.Millisecond

// Pool hands messages to one server and keeps the connections for those to come.
// It is safe for use by many goroutines at a time.
//
// A message takes one of MaxConnections places, and with it the connection that was
// used last, or else opens one itself, under its own deadline, so that it knows the
// stage that failed. A connection that has served its time is replaced ahead of the
// next message.
//
// # What servers allow
//
// Servers have limits that they do not tell. One that refuses another connection
// keeps the places of those that it refused empty for a while, and messages wait for
// the connections that there are. One that refuses another message on a connection
// gets it on a fresh one, and later connections are given up before they come to
// that.
type Pool struct {
	config  Config
	places  *semaphore.Weighted
	buffers sync.Pool     // of *[]byte
	opening chan struct{} // holds one for every connection that is being opened
	pace    *pace         // nil for none
	sends   sends
	// connections counts those that are open or being opened.
	connections atomic.Int64
	// background waits for what goes on without a message.
	background sync.WaitGroup
	// life ends, by end, when the pool is closed.
	life context.Context
	end  context.CancelFunc

	mutex sync.Mutex
	idle  []*session // the one used last is the last
	// waiting are messages that open a connection and take another, with its place,
	// if it is free first.
	waiting []chan *session
	sweeper *time.Timer // nil while no connection is idle
	closed  bool
	// held are places that stay empty because the server refused a connection.
	held int64
	// mostMessages is how many messages a connection was seen to carry, zero while
	// that is not known; refusedAfter is after how many another was refused last.
	mostMessages, refusedAfter int
	learned, refused           time.Time // when
}

// NewPool makes a pool without connections.
func NewPool(config Config) *Pool {
	config.MaxConnections = max(config.MaxConnections, 1)
	p := &Pool{config: config, opening: make(chan struct{}, maxOpening), places: semaphore.NewWeighted(int64(config.MaxConnections))}
	if config.RateLimit > 0 {
		p.pace = &pace{span: config.RateDelta, begun: make([]time.Time, config.RateLimit)}
	}
	p.life, p.end = context.WithCancel(context.Background())
	return p
}

// Connections tells how many connections are open or being opened, and how many of them
// are idle.
func (p *Pool) Connections() (open, idle int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return int(p.connections.Load()), len(p.idle)
}

// takeIdle returns the connection that was used last, nil if none is good for
// another message. One that was used within the given time is not looked at.
func (p *Pool) takeIdle(warm time.Duration) *session {
	for {
		p.mutex.Lock()
		last := len(p.idle) - 1
		if last < 0 {
			p.mutex.Unlock()
			return nil
		}
		s := p.idle[last]
		p.idle = p.idle[:last]
		p.mutex.Unlock()
		idle := time.Since(s.used)
		if idle <= maxIdle && (idle < warm || s.isQuiet()) {
			return s
		}
		s.drop()
	}
}

// refillTime bounds the attempt to replace a connection.
const refillTime = 10 * time.Second

// refill opens a connection ahead of the next message. A failure is left for
// that message to find.
func (p *Pool) refill() {
	if !p.places.TryAcquire(1) {
		return // messages wait, and open it themselves
	}
	ctx, cancel := context.WithTimeout(p.life, refillTime)
	defer cancel()
	var s *session
	if p.connections.Load() < int64(p.config.MaxConnections) {
		s, _ = p.open(ctx, true)
	}
	p.release(s)
}

// Envelope is who a message is from and to, as between the angle brackets of MAIL
// and RCPT (RFC 5321 section 4.1.2). Addresses outside ASCII go as UTF-8, to a
// server that has SMTPUTF8.
type Envelope struct {
	From, To string
	// UTF8Header tells that the message's sender or reply address is outside ASCII
	// too.
	UTF8Header bool
	// Written is called once the message is out and only its verdict is awaited, for
	// which nothing of it is needed; nil if nobody wants to know.
	Written func()
}

func (e *Envelope) needsUTF8() bool { return e.UTF8Header || !isASCII(e.From) || !isASCII(e.To) }

// outgoing is a message on its way to the wire.
type outgoing struct {
	Envelope
	build    func([]byte) ([]byte, error) // nil once it is built
	pool     *Pool
	patience patience
	data     *[]byte // the message with the final dot, once it is built
	size     int     // the message alone
}

const finalDot = ".\r\n"

// prepare builds the message, once.
func (m *outgoing) prepare() *Error {
	if m.build == nil {
		return nil
	}
	buffer, ok := m.pool.buffers.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	data, err := m.build((*buffer)[:0])
	if err != nil {
		return &Error{Stage: AtBody, Err: err}
	}
	*buffer = append(data, finalDot...)
	m.size, m.data, m.build = len(data), buffer, nil
	return nil
}

// freeBuffer gives back the buffer of a message that is out, or that nobody wants any
// more. From here on it only waits for a verdict, and should hold little meanwhile.
func (m *outgoing) freeBuffer() {
	if m.data != nil {
		m.pool.buffers.Put(m.data)
		m.data = nil
	}
}

// Send hands over one message and returns the reply that accepted it. Its error is
// an *Error. A connection that was idle and turns out to be dead before the message
// was handed over is replaced, once.
//
// There is no message yet while it waits for a connection: build then appends it to
// a buffer, as Message.AppendTo does. It has CRLF line ends, ends with one, and no
// line of it begins with a dot.
func (p *Pool) Send(ctx context.Context, envelope Envelope, build func([]byte) ([]byte, error)) (Reply, error) {
	switch {
	case !fitsLine(envelope.From):
		return Reply{}, &Error{Stage: AtMAIL, Err: errAddress}
	case !fitsLine(envelope.To):
		return Reply{}, &Error{Stage: AtRCPT, Err: errAddress}
	}
	m := outgoing{Envelope: envelope, build: build, pool: p, patience: p.sends.patience(ctx)}
	defer m.freeBuffer()
	reply, e := p.send(ctx, &m)
	return reply, result(e)
}

// send finds a connection for a message. Where the server refuses another one it
// waits for one of those that there are.
func (p *Pool) send(ctx context.Context, m *outgoing) (Reply, *Error) {
	if e := p.pace.await(ctx, m.patience.latest()); e != nil {
		return Reply{}, e
	}
	var refused *Error
	for {
		if e := p.takePlace(ctx, m.patience.latest()); e != nil {
			return Reply{}, cmp.Or(refused, e)
		}
		s, reply, e := p.sendOnce(ctx, m)
		if e != nil && e.refusesConnection() && contextEnd(ctx) == nil && p.holdPlaces() {
			refused = e
			continue
		}
		p.release(s)
		return reply, e
	}
}

// sendOnce sends a message through one connection, or a second if the first turned
// out to be dead or used up before the message was handed over. It returns the
// connection to keep, nil for none.
func (p *Pool) sendOnce(ctx context.Context, m *outgoing) (*session, Reply, *Error) {
	var (
		carried   int   // by a connection that took no more
		refusedAt Stage // by it
		isFresh   bool
		e         *Error
	)
	s := p.takeIdle(warm)
	if s == nil {
		if s, isFresh, e = p.openOrTake(ctx); e != nil {
			return nil, Reply{}, e
		}
	}
	if !isFresh {
		if m.patience.isOver() { // it has waited for others
			return s, Reply{}, &Error{Stage: AtConnect, Err: &BusyError{p.config.MaxConnections, context.DeadlineExceeded}}
		}
		reply, e := p.sendThrough(ctx, s, m)
		usedUp := e != nil && s.isUsedUp(e)
		if e == nil || !s.lost && !usedUp || contextEnd(ctx) != nil {
			return s, reply, e
		}
		s.drop()
		if usedUp && (e.Reply.Code != 421 || ofMessages.MatchString(e.Reply.Text)) {
			carried, refusedAt = s.messages-1, e.Stage
		}
		if s, e = p.open(ctx, false); e != nil {
			return nil, Reply{}, e
		}
	}
	if m.patience.isOver() {
		return s, Reply{}, &Error{Stage: AtConnect, Err: ErrTooLate}
	}
	reply, e := p.sendThrough(ctx, s, m)
	if carried > 0 && (e == nil || e.Stage > refusedAt) {
		p.learn(carried)
	}
	return s, reply, e
}

// sendThrough sends a message through a connection, and takes down how long that took.
func (p *Pool) sendThrough(ctx context.Context, s *session, m *outgoing) (Reply, *Error) {
	start := time.Now()
	reply, e := s.send(ctx, m)
	if e == nil || e.Stage == AtDot {
		p.sends.took(time.Since(start))
	}
	return reply, e
}

// Verify makes sure that there is a connection, logged in, which stays open for the
// first message. Its error is an *Error.
func (p *Pool) Verify(ctx context.Context) error {
	if e := p.takePlace(ctx, time.Time{}); e != nil {
		return e
	}
	s, e := p.takeIdle(0), (*Error)(nil)
	if s == nil {
		s, e = p.open(ctx, true)
	}
	p.release(s)
	return result(e)
}

// release gives a place back, and keeps its connection, if there is one, for the
// next message.
func (p *Pool) release(s *session) {
	switch {
	case s == nil:
	case s.broken:
		s.drop()
	case s.owed > 0:
		p.background.Go(func() {
			s.awaitOwed(p.life)
			p.release(s)
		})
		return
	case p.isSpent(s):
		p.retire(s)
	case p.handOver(s):
		return
	default:
		p.keep(s)
	}
	p.places.Release(1)
}

func (p *Pool) isSpent(s *session) bool {
	most := p.maxMessages(s)
	return most > 0 && s.messages >= most || s.refused >= maxRefused || s.used.Sub(s.opened) > maxAge
}

func (p *Pool) keep(s *session) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.idle = append(p.idle, s)
	p.sweepLater()
}

// retire says goodbye to the server, aside, and opens another connection if this
// one was in use lately. Who wants one message a connection does not want connections
// to wait for messages.
func (p *Pool) retire(s *session) {
	p.background.Go(func() {
		s.quit()
		if p.config.MaxMessages != 1 && time.Since(s.used) < maxIdle {
			p.refill()
		}
	})
}

// sweepLater sees to it that idle connections do not outlive their time. The caller
// holds the mutex.
func (p *Pool) sweepLater() {
	if p.sweeper == nil && !p.closed {
		p.sweeper = time.AfterFunc(sweepGap, p.sweep)
	}
}

func (p *Pool) sweep() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.sweeper = nil
	p.idle = slices.DeleteFunc(p.idle, func(s *session) bool {
		switch {
		case !s.isQuiet():
			s.drop()
		case time.Since(s.used) > maxIdle, time.Since(s.opened) > maxAge:
			p.retire(s)
		default:
			return false
		}
		return true
	})
	if len(p.idle) > 0 {
		p.sweepLater()
	}
}

// Close waits for the messages under way and closes the connections.
func (p *Pool) Close() {
	p.mutex.Lock()
	p.closed = true
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	p.mutex.Unlock()
	p.end()
	p.freePlaces(int64(p.config.MaxConnections))
	_ = p.places.Acquire(context.Background(), int64(p.config.MaxConnections))
	p.mutex.Lock()
	idle := p.idle
	p.idle = nil
	p.mutex.Unlock()
	for _, s := range idle { // all at once: a server may be slow to say goodbye
		p.background.Go(s.quit)
	}
	p.background.Wait()
	p.places.Release(int64(p.config.MaxConnections))
}
