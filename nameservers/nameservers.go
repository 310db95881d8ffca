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

// Resolver is the system's way to look names up, where that is Go's own.
func Resolver() *net.Resolver { return &net.Resolver{Dial: new(servers).dial} }

// servers is what is known of the system's name servers, which are named by their addresses.
type servers struct {
	mu    sync.Mutex
	quick string          // the last one that answered within our patience; empty for none
	slow  map[string]bool // those that did not when they were asked last
}

func (s *servers) dial(ctx context.Context, network, address string) (net.Conn, error) {
	asked := question{servers: s, server: address, isBounded: s.isBounded(address)}
	var dialer net.Dialer
	if asked.isBounded {
		dialer.Timeout = patience
	}
	asked.at = time.Now()
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		asked.ended(err)
		return nil, err
	}
	switch conn := conn.(type) {
	case *net.UDPConn:
		return &packets{conn, asked}, nil
	case *net.TCPConn:
		return &stream{conn, asked}, nil
	}
	return conn, nil
}

// isBounded tells whether a server is to answer within our patience.
func (s *servers) isBounded(server string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.slow[server] || s.quick != "" && s.quick != server
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
	isLate := time.Since(q.at) >= patience || errors.Is(err, os.ErrDeadlineExceeded)
	s := q.servers
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case isLate && s.slow == nil:
		s.slow = map[string]bool{q.server: true}
	case isLate:
		s.slow[q.server] = true
	case err == nil:
		s.quick = q.server
		delete(s.slow, q.server)
	}
}

// packets and stream are the ways to a server, which Go tells apart by net.PacketConn. Go bounds
// a question by SetDeadline and reads the answer by Read.
type (
	packets struct {
		*net.UDPConn
		question
	}
	stream struct {
		*net.TCPConn
		question
	}
)

// SetDeadline implements net.Conn.
func (p *packets) SetDeadline(at time.Time) error { return p.UDPConn.SetDeadline(p.until(at)) }

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(at time.Time) error { return s.TCPConn.SetDeadline(s.until(at)) }

// Read implements net.Conn.
func (p *packets) Read(b []byte) (n int, err error) {
	n, err = p.UDPConn.Read(b)
	p.ended(err)
	return n, err
}

// Read implements net.Conn.
func (s *stream) Read(b []byte) (n int, err error) {
	n, err = s.TCPConn.Read(b)
	s.ended(err)
	return n, err
}
