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
	"os"
	"sync"
	"time"
)

// patience is how long one name server is waited for. Nearly all answers take a tenth of it,
// and one that takes longer is mostly in that server's memory when it is asked again.
const patience = 1500 * time.Millisecond

// memory is how long a server that was quick counts as one that is, though it leaves a question
// without an answer: there are servers that do so with those for IPv6 (RFC 4074, 4.1).
const memory = 10 * time.Second

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

// server is when one answered within our patience for the last time, and when it did not.
type server struct{ quick, late time.Time }

func (s server) isSlow() bool { return s.late.Sub(s.quick) > memory }

func (s *servers) dial(ctx context.Context, network, address string) (net.Conn, error) {
	q := question{servers: s, server: address, isBounded: s.isBounded(address), at: time.Now()}
	var dialer net.Dialer
	if q.isBounded {
		dialer.Timeout = patience
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		q.ended(err)
		return nil, err
	}
	if udp, is := conn.(net.PacketConn); is {
		return packets{&asked{conn, q}, udp}, nil
	}
	return &asked{conn, q}, nil
}

// isBounded tells whether a server is to answer within our patience.
func (s *servers) isBounded(server string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.known[server].isSlow() || s.quick != "" && s.quick != server
}

// question is one that a server is asked.
type question struct {
	servers   *servers
	server    string
	isBounded bool
	at        time.Time
}

// until returns when the answer has to be there.
func (q *question) until(deadline time.Time) time.Time {
	q.at = time.Now()
	if most := q.at.Add(patience); q.isBounded && deadline.After(most) {
		return most
	}
	return deadline
}

// ended takes down whether the server was quick. It is no matter of that if it cannot be reached.
func (q *question) ended(err error) {
	now := time.Now()
	q.servers.mu.Lock()
	defer q.servers.mu.Unlock()
	known := q.servers.known[q.server]
	switch {
	case now.Sub(q.at) >= patience, errors.Is(err, os.ErrDeadlineExceeded):
		known.late = now
	case err == nil:
		known.quick, q.servers.quick = now, q.server
	}
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
	n, err = a.Conn.Read(b)
	a.ended(err)
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
