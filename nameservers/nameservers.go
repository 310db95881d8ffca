// Package nameservers looks names up in the time that a mail has. Go waits for a name server
// for five seconds before it asks again or asks the next one, so that a packet that is lost, or
// a first server that is dead, would cost most of that time, or the mail. Here it waits for less,
// and for as long as Go does only where no other server is known to be quicker, such as one in
// front of others that asks them in turn.
package nameservers

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// patience is how long one name server is waited for. Nearly all answers take a tenth of it,
	// and one that takes longer is mostly in that server's memory when it is asked again.
	patience = 1500 * time.Millisecond
	// impatience is how long one that is known to be slow is waited for where another one is quick.
	impatience = 300 * time.Millisecond
	// memory is how long a server that was quick counts as one that is, though it leaves a question
	// without an answer: there are servers that do so with those for IPv6 (RFC 4074, 4.1). One that
	// is slow is given our patience again after it.
	memory = 10 * time.Second
)

// Resolver is the system's way to look names up, where that is Go's own.
func Resolver() *net.Resolver {
	return &net.Resolver{Dial: (&servers{known: make(map[string]server)}).dial}
}

// servers is what is known of the system's name servers, by their addresses.
type servers struct {
	mu    sync.Mutex
	known map[string]server
	quick string // the last one that answered within our patience; empty for none
}

// server is when one answered within our patience for the last time, when it did not, and when
// it was given that time.
type server struct{ quick, late, asked time.Time }

func (s server) isSlow() bool { return s.late.Sub(s.quick) > memory }

func (s *servers) dial(ctx context.Context, network, address string) (net.Conn, error) {
	q := question{servers: s, server: address, bound: s.bound(address), at: time.Now()}
	dialer := net.Dialer{Timeout: q.bound}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		q.failed(err)
		return nil, err
	}
	if udp, is := conn.(net.PacketConn); is {
		return packets{&asked{conn, q}, udp}, nil
	}
	return &asked{conn, q}, nil
}

// bound returns how long a server is waited for; zero is for as long as Go does.
func (s *servers) bound(server string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, now := s.known[server], time.Now()
	switch isSlow, isLone := known.isSlow(), s.quick == "" || s.quick == server; {
	case isSlow && isLone:
		return 0
	case isSlow && now.Sub(known.asked) < memory:
		return impatience
	}
	known.asked = now
	s.known[server] = known
	return patience
}

// question is one that a server is asked.
type question struct {
	servers *servers
	server  string
	bound   time.Duration
	at      time.Time
}

// until returns when the answer has to be there.
func (q *question) until(deadline time.Time) time.Time {
	q.at = time.Now()
	if most := q.at.Add(q.bound); q.bound > 0 && deadline.After(most) {
		return most
	}
	return deadline
}

// answered takes down that the server answered. One that says no more than that it cannot, or may
// not (SERVFAIL, REFUSED), is of no use, however quick.
func (q *question) answered(message []byte) {
	const noError, noName = 0, 3 // RFC 1035, 4.1.1
	now := time.Now()
	switch {
	case now.Sub(q.at) >= patience:
		q.note(func(s *server) { s.late = now })
	case len(message) > 3 && (message[3]&15 == noError || message[3]&15 == noName):
		q.note(func(s *server) { s.quick, q.servers.quick = now, q.server })
	}
}

// failed takes down whether the server was too slow. It is no matter of that if it cannot be
// reached, or if there was no time.
func (q *question) failed(err error) {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() && time.Since(q.at) >= impatience {
		q.note(func(s *server) { s.late = time.Now() })
	}
}

func (q *question) note(change func(*server)) {
	q.servers.mu.Lock()
	defer q.servers.mu.Unlock()
	known := q.servers.known[q.server]
	change(&known)
	q.servers.known[q.server] = known
}

// asked is the way to a server. Go bounds a question by SetDeadline and reads the answer by Read.
type asked struct {
	net.Conn
	question
}

// SetDeadline implements net.Conn.
func (a *asked) SetDeadline(at time.Time) error { return a.Conn.SetDeadline(a.until(at)) }

// Read implements net.Conn.
func (a *asked) Read(b []byte) (n int, err error) {
	if n, err = a.Conn.Read(b); err != nil {
		a.failed(err)
	} else {
		a.answered(b[:n])
	}
	return n, err
}

// packets is a way by UDP, which Go knows by what makes it a net.PacketConn.
type packets struct {
	*asked
	datagrams
}

type datagrams interface {
	ReadFrom(b []byte) (int, net.Addr, error)
	WriteTo(b []byte, to net.Addr) (int, error)
}
