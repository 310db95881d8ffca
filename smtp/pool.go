package smtp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/puddle/v2"
)

// How long a connection may live. Servers drop idle ones after one to five
// minutes, and big services want clients to come back to another machine now
// and then.
const (
	maxIdle  = time.Minute
	maxAge   = 5 * time.Minute
	sweepGap = 15 * time.Second
)

// warm is how long after a message a connection is not looked at before the
// next. A goodbye takes about as long to come from another machine, and one that
// has come costs that message no more than another connection.
const warm = 10 * time.Millisecond

// Pool hands messages to one server and keeps the connections for those to come.
// It is safe for use by many goroutines at a time.
//
// What puddle pools are slots, places for a connection. A message that takes an
// empty slot opens the connection itself, under its own deadline, and knows the
// stage that failed. A connection that has served its time is replaced ahead of the
// next message.
type Pool struct {
	config  Config
	slots   *puddle.Pool[*slot]
	buffers sync.Pool     // of *[]byte
	opening chan struct{} // holds one for every connection that is being opened
	// background waits for what goes on without a message.
	background sync.WaitGroup
	// life ends, by end, when the pool is closed.
	life context.Context
	end  context.CancelFunc

	mutex   sync.Mutex
	sweeper *time.Timer // nil while no connection is idle
	closed  bool
}

// slot holds a session, or none yet.
type slot struct{ session *session }

// dropDead empties a slot whose connection is not good for another message. One
// that was used within the given time is not looked at.
func (slot *slot) dropDead(warm time.Duration) {
	s := slot.session
	if s == nil {
		return
	}
	idle := time.Since(s.used)
	if idle > maxIdle || idle >= warm && !s.isQuiet() {
		s.drop()
		slot.session = nil
	}
}

// NewPool makes a pool without connections.
func NewPool(config Config) (*Pool, error) {
	p := &Pool{config: config, opening: make(chan struct{}, maxOpening)}
	p.life, p.end = context.WithCancel(context.Background())
	var err error
	p.slots, err = puddle.NewPool(&puddle.Config[*slot]{
		Constructor: p.newSlot,
		Destructor: func(slot *slot) {
			if slot.session != nil {
				slot.session.quit()
			}
		},
		MaxSize: int32(config.MaxConnections),
	})
	return p, err
}

// ahead marks the context of a slot that is made before a message asks for it.
type ahead struct{}

// newSlot makes an empty slot for a message, and one with a connection ahead of
// messages.
func (p *Pool) newSlot(ctx context.Context) (*slot, error) {
	if ctx.Value(ahead{}) == nil {
		return &slot{}, nil
	}
	session, e := p.open(ctx)
	return &slot{session}, result(e)
}

// refillTime bounds the attempt to replace a connection.
const refillTime = 10 * time.Second

// refill opens a connection ahead of the next message. A failure is left for
// that message to find.
func (p *Pool) refill() {
	ctx, cancel := context.WithTimeout(context.WithValue(p.life, ahead{}, true), refillTime)
	defer cancel()
	if p.slots.CreateResource(ctx) == nil {
		p.sweepLater()
	}
}

// Envelope is who a message is from and to, as between the angle brackets of MAIL
// and RCPT (RFC 5321 section 4.1.2). Addresses outside ASCII go as UTF-8, to a
// server that has SMTPUTF8.
type Envelope struct {
	From, To string
	// UTF8Header tells that the message's sender or reply address is outside ASCII
	// too.
	UTF8Header bool
}

func (e *Envelope) needsUTF8() bool { return e.UTF8Header || !isASCII(e.From) || !isASCII(e.To) }

// outgoing is a message on its way to the wire.
type outgoing struct {
	Envelope
	build func([]byte) ([]byte, error) // nil once it is built
	pool  *Pool
	data  *[]byte // the message with the final dot, once it is built
	size  int     // the message alone
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

// written says that the data is out, or that nobody wants it any more. From here
// on a message only waits for a verdict, and should hold little meanwhile.
func (m *outgoing) written() {
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
	m := outgoing{Envelope: envelope, build: build, pool: p}
	defer m.written()
	reply, e := p.send(ctx, &m)
	return reply, result(e)
}

func (p *Pool) send(ctx context.Context, m *outgoing) (Reply, *Error) {
	taken, err := p.slots.Acquire(ctx)
	if err != nil {
		return Reply{}, p.noSlot(ctx, err)
	}
	slot := taken.Value()
	defer p.release(taken)
	slot.dropDead(warm)
	if slot.session != nil {
		reply, e := slot.session.send(ctx, m)
		if e == nil || !slot.session.lost || contextEnd(ctx) != nil {
			return reply, e
		}
		slot.session.drop()
		slot.session = nil
	}
	session, e := p.open(ctx)
	if e != nil {
		return Reply{}, e
	}
	slot.session = session
	if end, bounded := ctx.Deadline(); bounded && time.Until(end) < handOverTime {
		return Reply{}, &Error{Stage: AtConnect, Err: ErrTooLate}
	}
	return session.send(ctx, m)
}

// handOverTime is what a message needs from MAIL to the reply to its final dot. With
// less left after connecting it would most likely end uncertain, where now
// another server can still take it for certain.
const handOverTime = 150 * time.Millisecond

// Verify makes sure that there is a connection, logged in, which stays open for the
// first message. Its error is an *Error.
func (p *Pool) Verify(ctx context.Context) error {
	taken, err := p.slots.Acquire(ctx)
	if err != nil {
		return p.noSlot(ctx, err)
	}
	slot := taken.Value()
	defer p.release(taken)
	if slot.dropDead(0); slot.session != nil {
		return nil
	}
	session, e := p.open(ctx)
	slot.session = session
	return result(e)
}

// noSlot explains why a message did not even get to connect.
func (p *Pool) noSlot(ctx context.Context, err error) *Error {
	if errors.Is(err, puddle.ErrClosedPool) {
		return &Error{Stage: AtConnect, Err: ErrClosed}
	}
	e := failure(ctx, AtConnect, err)
	if stat := p.slots.Stat(); stat.AcquiredResources() == stat.MaxResources() {
		e.Err = &BusyError{int(stat.MaxResources()), e.Err}
	}
	return e
}

// release returns a slot, without its connection if that is spent.
func (p *Pool) release(taken *puddle.Resource[*slot]) {
	s := taken.Value().session
	switch {
	case s == nil:
		taken.Hijack() // an empty slot must not be preferred to one with a connection
	case s.broken:
		s.drop()
		taken.Hijack()
	case s.owed > 0:
		p.background.Go(func() {
			s.awaitOwed(p.life)
			p.release(taken)
		})
	case p.config.MaxMessages > 0 && s.messages >= p.config.MaxMessages, s.used.Sub(s.opened) > maxAge:
		p.retire(taken)
	default:
		taken.Release()
		p.sweepLater()
	}
}

// retire frees the slot at once, and aside says goodbye to the server and opens
// another connection, if this one was in use lately. Who wants one message a
// connection does not want connections to wait for messages.
func (p *Pool) retire(taken *puddle.Resource[*slot]) {
	session := taken.Value().session
	p.background.Add(1) // while the slot still holds up Close
	taken.Hijack()
	go func() {
		defer p.background.Done()
		session.quit()
		if p.config.MaxMessages != 1 && time.Since(session.used) < maxIdle {
			p.refill()
		}
	}()
}

// sweepLater sees to it that idle connections do not outlive their time.
func (p *Pool) sweepLater() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.sweeper == nil && !p.closed {
		p.sweeper = time.AfterFunc(sweepGap, p.sweep)
	}
}

func (p *Pool) sweep() {
	p.mutex.Lock()
	p.sweeper = nil
	p.mutex.Unlock()
	for _, idle := range p.slots.AcquireAllIdle() {
		switch s := idle.Value().session; {
		case s == nil:
			idle.Hijack()
		case !s.isQuiet():
			s.drop()
			idle.Hijack()
		case time.Since(s.used) > maxIdle, time.Since(s.opened) > maxAge:
			p.retire(idle)
		default:
			idle.ReleaseUnused()
			p.sweepLater()
		}
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
	p.slots.Close()
	p.background.Wait()
}
