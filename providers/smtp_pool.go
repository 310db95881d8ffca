package providers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/puddle/v2"
)

// How long a connection may live. Servers drop idle ones after one to five
// minutes, and big services want clients to come back to another machine now
// and then.
const (
	smtpMaxIdle  = time.Minute
	smtpMaxAge   = 5 * time.Minute
	smtpSweepGap = 15 * time.Second
)

// smtpWarm is how long after a mail a connection is not looked at before the
// next. A goodbye takes about as long to come from another machine, and one that
// has come costs that mail no more than another connection.
const smtpWarm = 10 * time.Millisecond

// smtpPool keeps connections for mails to come. What puddle pools are seats:
// the right to have a connection. A mail that takes an empty seat opens the
// connection itself, under its own deadline, and knows the stage that failed. A
// connection that has served its time is replaced ahead of the next mail.
type smtpPool struct {
	server   *smtpServer
	seats    *puddle.Pool[*smtpSeat]
	maxMails int // per connection; 0 is without bound
	leaving  sync.WaitGroup
	// life ends, by end, when the pool is closed.
	life context.Context
	end  context.CancelFunc

	mutex   sync.Mutex
	sweeper *time.Timer // nil while no connection is idle
	closed  bool
}

// smtpSeat holds a session, or none yet.
type smtpSeat struct{ session *smtpSession }

// dropDead empties a seat whose connection is not good for another mail. One
// that was used within the given time is not looked at.
func (seat *smtpSeat) dropDead(warm time.Duration) {
	s := seat.session
	if s == nil {
		return
	}
	idle := time.Since(s.used)
	if idle > smtpMaxIdle || idle >= warm && !s.isAlive() {
		s.drop()
		seat.session = nil
	}
}

func newSMTPPool(server *smtpServer, maxConnections, maxMails int) (*smtpPool, error) {
	p := &smtpPool{server: server, maxMails: maxMails}
	p.life, p.end = context.WithCancel(context.Background())
	var err error
	p.seats, err = puddle.NewPool(&puddle.Config[*smtpSeat]{
		Constructor: p.newSeat,
		Destructor: func(seat *smtpSeat) {
			if seat.session != nil {
				seat.session.quit()
			}
		},
		MaxSize: int32(maxConnections),
	})
	return p, err
}

// ahead marks the context of a seat that is made before a mail asks for it.
type ahead struct{}

// newSeat makes an empty seat for a mail, and one with a connection ahead of
// mails.
func (p *smtpPool) newSeat(ctx context.Context) (*smtpSeat, error) {
	seat := &smtpSeat{}
	if ctx.Value(ahead{}) == nil {
		return seat, nil
	}
	session, failure := p.server.open(ctx)
	if failure != nil {
		return nil, failure
	}
	seat.session = session
	return seat, nil
}

// refillTime bounds the attempt to replace a connection.
const refillTime = 10 * time.Second

// refill opens a connection ahead of the next mail. A failure is left for that
// mail to find.
func (p *smtpPool) refill() {
	ctx, cancel := context.WithTimeout(context.WithValue(p.life, ahead{}, true), refillTime)
	defer cancel()
	if p.seats.CreateResource(ctx) == nil {
		p.sweepLater()
	}
}

// send takes the mail through a connection of the pool. One that was idle and
// turns out to be dead before the message was handed over is replaced, once.
func (p *smtpPool) send(ctx context.Context, mail *smtpMail) (string, *Error) {
	taken, err := p.seats.Acquire(ctx)
	if err != nil {
		return "", p.noSeat(ctx, err)
	}
	seat := taken.Value()
	defer p.giveBack(taken)
	seat.dropDead(smtpWarm)
	if seat.session != nil {
		answer, failure := seat.session.send(ctx, mail)
		if failure == nil || !seat.session.lost || contextEnd(ctx) != nil {
			return answer, failure
		}
		seat.session.drop()
		seat.session = nil
	}
	session, failure := p.server.open(ctx)
	if failure != nil {
		return "", failure
	}
	seat.session = session
	if end, bounded := ctx.Deadline(); bounded && time.Until(end) < handOverTime {
		return "", &Error{Kind: Temporary, Stage: atConnect.String(), Err: context.DeadlineExceeded,
			Detail: "connecting left too little time to hand over the mail"}
	}
	return session.send(ctx, mail)
}

// handOverTime is what a mail needs from MAIL to the reply to its final dot. With
// less left after connecting it would most likely end uncertain, where now the
// next provider can still take it for certain.
const handOverTime = 150 * time.Millisecond

// verify makes sure that there is a connection.
func (p *smtpPool) verify(ctx context.Context) *Error {
	taken, err := p.seats.Acquire(ctx)
	if err != nil {
		return p.noSeat(ctx, err)
	}
	seat := taken.Value()
	defer p.giveBack(taken)
	if seat.dropDead(0); seat.session != nil {
		return nil
	}
	session, failure := p.server.open(ctx)
	seat.session = session
	return failure
}

// noSeat explains why a mail did not even get to connect.
func (p *smtpPool) noSeat(ctx context.Context, err error) *Error {
	if errors.Is(err, puddle.ErrClosedPool) {
		return &Error{Kind: Temporary, Stage: atConnect.String(), Err: err, Detail: "the provider is closed"}
	}
	failure := smtpFailure(ctx, atConnect, err)
	if stat := p.seats.Stat(); stat.AcquiredResources() == stat.MaxResources() {
		failure.Detail = fmt.Sprintf("all %d connections were busy", stat.MaxResources())
		failure.Hint = "raise maxConnections if the server allows more"
	}
	return failure
}

// giveBack returns a seat, without its connection if that is spent.
func (p *smtpPool) giveBack(taken *puddle.Resource[*smtpSeat]) {
	s := taken.Value().session
	switch {
	case s == nil:
		taken.Hijack() // an empty seat must not be preferred to one with a connection
	case s.broken:
		s.drop()
		taken.Hijack()
	case p.maxMails > 0 && s.mails >= p.maxMails, s.used.Sub(s.opened) > smtpMaxAge:
		p.retire(taken)
	default:
		taken.Release()
		p.sweepLater()
	}
}

// retire frees the seat at once, and aside takes leave of the server and opens
// another connection, if this one was in use lately. Who wants one mail a
// connection does not want connections to wait for mails.
func (p *smtpPool) retire(taken *puddle.Resource[*smtpSeat]) {
	session := taken.Value().session
	p.leaving.Add(1)
	taken.Hijack()
	go func() {
		defer p.leaving.Done()
		session.quit()
		if p.maxMails != 1 && time.Since(session.used) < smtpMaxIdle {
			p.refill()
		}
	}()
}

// sweepLater sees to it that idle connections do not outlive their time.
func (p *smtpPool) sweepLater() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.sweeper == nil && !p.closed {
		p.sweeper = time.AfterFunc(smtpSweepGap, p.sweep)
	}
}

func (p *smtpPool) sweep() {
	p.mutex.Lock()
	p.sweeper = nil
	p.mutex.Unlock()
	for _, idle := range p.seats.AcquireAllIdle() {
		switch s := idle.Value().session; {
		case s == nil:
			idle.Hijack()
		case !s.isAlive():
			s.drop()
			idle.Hijack()
		case time.Since(s.used) > smtpMaxIdle, time.Since(s.opened) > smtpMaxAge:
			p.retire(idle)
		default:
			idle.ReleaseUnused()
			p.sweepLater()
		}
	}
}

// close waits for the mails under way and takes leave of the server.
func (p *smtpPool) close() {
	p.mutex.Lock()
	p.closed = true
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	p.mutex.Unlock()
	p.end()
	p.seats.Close()
	p.leaving.Wait()
}
