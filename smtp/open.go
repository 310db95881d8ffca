package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"
)

// Config is a server and how connections to it are made.
type Config struct {
	// Dial makes a bare connection, such as Dialer.Dial.
	Dial func(context.Context) (net.Conn, error)
	// TLS is used as TLSMode says. A ClientSessionCache makes later connections
	// cheaper.
	TLS     *tls.Config
	TLSMode TLSMode
	// Name is how the client introduces itself in EHLO.
	Name string
	// Login is nil for none.
	Login *Login
	// ClearTextLogin allows a login over a connection without TLS. It is for a
	// server on the same machine.
	ClearTextLogin bool

	// Upper bounds of single waits, zero for none: for the TLS handshake of
	// TLSImplicit, for the greeting, and for every other reply but the one that
	// accepts a message. Some servers delay the greeting or the reply to a login on
	// purpose, and Verify waits for them without these bounds.
	TLSTimeout, GreetingTimeout, ReplyTimeout time.Duration

	// MaxConnections is how many may be open at a time, and at least one.
	MaxConnections int
	// MaxMessages is how many go through one connection: zero for what suits the
	// server, below zero for any number.
	MaxMessages int
	// RateLimit is how many messages may begin in any span of RateDelta; zero for any
	// number.
	RateLimit int
	RateDelta time.Duration
}

// TLSMode is how a connection gets its encryption.
type TLSMode int

// The modes.
const (
	TLSOffered  TLSMode = iota // STARTTLS if the server offers it
	TLSRequired                // STARTTLS or nothing
	TLSImplicit                // TLS from the first byte
	TLSOff
)

// maxOpening is how many connections to a server are opened at a time. To be
// greeted, encrypted and logged in takes much memory and work on both sides, so
// that messages that come all at once take turns.
const maxOpening = 64

// open is openNow, once it is the caller's turn.
func (p *Pool) open(ctx context.Context, patient bool) (*session, *Error) {
	select {
	case p.opening <- struct{}{}:
		return p.openNow(ctx, patient)
	case <-ctx.Done():
		return nil, failure(ctx, AtConnect, ctx.Err())
	}
}

// openNow connects, encrypts and logs in. A server that refuses an access token which was
// good before gets a new one, once. The caller has put a value into p.opening.
func (p *Pool) openNow(ctx context.Context, patient bool) (*session, *Error) {
	defer func() { <-p.opening }()
	p.connections.Add(1)
	s, e := p.config.connect(ctx, patient)
	if s != nil && s.staleToken && contextEnd(ctx) == nil {
		s, e = p.config.connect(ctx, patient)
	}
	if e != nil {
		p.connections.Add(-1)
		return nil, e
	}
	s.counted = &p.connections
	p.freePlaces(2) // the server may take more now
	return s, nil
}

// connect opens a session. On failure the session, if there is one, is good for
// nothing but to tell what happened.
func (c *Config) connect(ctx context.Context, patient bool) (*session, *Error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		stage := AtConnect
		if refusal := (*ProxyError)(nil); errors.As(err, &refusal) {
			stage = AtProxy
		}
		return nil, failure(ctx, stage, err)
	}
	s := &session{config: c, conn: &boundedConn{Conn: conn}, socketIsQuiet: Quietness(conn), ackAtOnce: quickAck(conn),
		patient: patient, opened: time.Now()}
	s.used = s.opened
	stop := s.bind(ctx)
	e := s.begin(ctx)
	s.unbind(stop)
	s.patient = false
	if e != nil {
		s.drop()
	}
	return s, e
}

// begin takes a fresh connection through greeting, TLS, EHLO and AUTH.
func (s *session) begin(ctx context.Context) *Error {
	s.carry(s.conn)
	if s.config.TLSMode == TLSImplicit {
		if e := s.handshake(ctx, s.config.TLSTimeout); e != nil {
			return e
		}
	}
	reply, e := s.ask(ctx, AtGreeting, "")
	switch {
	case e != nil:
		return e
	case reply.Code != 220:
		return s.refuse(AtGreeting, reply)
	}
	s.isExim = strings.Contains(reply.Text, " Exim ")
	if e := s.hello(ctx); e != nil {
		return e
	}
	if e := s.startTLS(ctx); e != nil {
		return e
	}
	if e := s.authenticate(ctx); e != nil {
		return e
	}
	if s.in.Buffered() > 0 {
		return s.fail(ctx, AtEHLO, errUnasked)
	}
	return nil
}

// replyBuffer holds the replies of one flight; a longer one only takes several
// reads. A thousand connections that wait for a verdict hold one each.
const replyBuffer = 512

// carry makes the session speak over a connection.
func (s *session) carry(wire net.Conn) {
	s.wire = wire
	s.in.Reader = bufio.NewReaderSize(wire, replyBuffer)
}

// handshake puts TLS over the connection.
func (s *session) handshake(ctx context.Context, limit time.Duration) *Error {
	s.enter(ctx, limit)
	secured := tls.Client(s.conn, s.config.TLS)
	if err := secured.Handshake(); err != nil {
		return s.fail(ctx, AtTLS, err)
	}
	s.carry(secured)
	s.secure = true
	return nil
}

// hello introduces the client and learns what the server offers. A server that
// does not know EHLO offers nothing (RFC 5321 section 3.2).
func (s *session) hello(ctx context.Context) *Error {
	reply, e := s.ask(ctx, AtEHLO, "EHLO "+s.config.Name)
	if 500 <= reply.Code && reply.Code <= 504 {
		reply, e = s.ask(ctx, AtEHLO, "HELO "+s.config.Name)
		reply.Text = ""
	}
	switch {
	case e != nil:
		return e
	case reply.Code != 250:
		return s.refuse(AtEHLO, reply)
	}
	s.extensions = parseExtensions(reply.Text)
	return nil
}

// startTLS changes to TLS by STARTTLS if that is wanted. What the server offered
// in clear text does not count any more (RFC 3207 section 4.2).
func (s *session) startTLS(ctx context.Context) *Error {
	if s.secure || s.config.TLSMode == TLSOff {
		return nil
	}
	if !s.extensions.startTLS {
		if s.config.TLSMode == TLSOffered {
			return nil
		}
		return &Error{Stage: AtSTARTTLS, Err: ErrNoTLS}
	}
	reply, e := s.ask(ctx, AtSTARTTLS, "STARTTLS")
	switch {
	case e != nil:
		return e
	case reply.Code != 220:
		return s.refuse(AtSTARTTLS, reply)
	case s.in.Buffered() > 0: // somebody in between may have put it there
		return s.fail(ctx, AtSTARTTLS, errUnasked)
	}
	if e := s.handshake(ctx, s.config.ReplyTimeout); e != nil {
		return e
	}
	return s.hello(ctx)
}
