// Package nameservers looks names up in the time that a mail has. Go waits for a name server
// for five seconds before it asks again or asks the next one, so that a packet that is lost, or
// a first server that is dead, would cost most of that time, or the mail. Here it waits for less,
// and for as long as Go does only where no other server is known to be quicker, such as one in
// front of others that asks them in turn.
package nameservers

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
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

// maxNames bounds the names that are known.
const maxNames = 1000

// Resolver is the system's way to look names up, where that is Go's own.
func Resolver() *net.Resolver {
	return &net.Resolver{Dial: newServers().dial}
}

// servers is what is known of the system's name servers. One may be quick with the names of an
// inner network and slow with all others, as Docker's own is where those behind it are dead.
type servers struct {
	mu    sync.Mutex
	known map[string]speed                // by address
	names *lru.Cache[nameAtServer, speed] // the last ones
}

type nameAtServer struct{ server, name string }

func newServers() *servers {
	names, _ := lru.New[nameAtServer, speed](maxNames) // which fails for a size that is not positive
	return &servers{known: make(map[string]speed), names: names}
}

// speed is when there was an answer within our patience for the last time, when there was none,
// and when it was last known what becomes of a question with that time.
type speed struct{ quick, late, asked time.Time }

func (s speed) isSlow() bool { return s.late.Sub(s.quick) > memory }

func (s *servers) dial(ctx context.Context, network, address string) (net.Conn, error) {
	q := question{servers: s, server: address}
	q.begin()
	dialer := net.Dialer{Timeout: q.bound}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		q.failed(err)
		return nil, err
	}
	if udp, is := conn.(net.PacketConn); is {
		return packets{&asked{Conn: conn, question: q}, udp}, nil
	}
	return &asked{Conn: conn, question: q, prefix: 2}, nil
}

// question is one that a server is asked. Its name is empty while only the way there is made.
type question struct {
	servers      *servers
	server, name string
	bound        time.Duration // zero is for as long as Go waits
	at           time.Time
}

// begin sets how long the server is waited for.
func (q *question) begin() {
	s := q.servers
	s.mu.Lock()
	defer s.mu.Unlock()
	q.at = time.Now()
	known := s.known[q.server]
	ofName, _ := s.names.Get(nameAtServer{q.server, q.name})
	isSlow := known.isSlow() || ofName.isSlow()
	switch {
	case isSlow && !s.hasQuick(q.server, known.late):
		q.bound = 0
	case isSlow && q.at.Sub(known.asked) < memory:
		q.bound = impatience
	default:
		q.bound = patience
	}
}

// hasQuick tells whether a server other than this one was quick when it was asked in its place. One
// that was not asked then is not in the system's list any more.
func (s *servers) hasQuick(than string, late time.Time) bool {
	for server, known := range s.known {
		if server != than && known.quick.Sub(late) > -memory && !known.isSlow() {
			return true
		}
	}
	return false
}

// answered takes down that the server answered. One that says no more than that it cannot, or may
// not (SERVFAIL, REFUSED), is of no use, however quick.
func (q *question) answered(message []byte) {
	const noError, noName = 0, 3 // RFC 1035, 4.1.1
	now := time.Now()
	switch {
	case now.Sub(q.at) >= patience:
		q.note(func(s *speed) { s.late = now })
	case len(message) > 3 && (message[3]&15 == noError || message[3]&15 == noName):
		q.note(func(s *speed) { s.quick = now })
	}
}

// failed takes down whether the server was too slow. It is no matter of that if it cannot be
// reached, or if there was no time.
func (q *question) failed(err error) {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() && time.Since(q.at) >= impatience {
		q.note(func(s *speed) { s.late = time.Now() })
	}
}

func (q *question) note(change func(*speed)) {
	s := q.servers
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known[q.server]
	change(&known)
	if q.bound == patience {
		known.asked = time.Now()
	}
	s.known[q.server] = known
	if q.name == "" {
		return
	}
	ofName, _ := s.names.Get(nameAtServer{q.server, q.name})
	change(&ofName)
	s.names.Add(nameAtServer{q.server, q.name}, ofName)
}

// asked is the way to a server. Go bounds a question by SetDeadline, writes it at once and reads
// the answer.
type asked struct {
	net.Conn
	question
	prefix   int       // of a message, in bytes: its length, by TCP
	deadline time.Time // as Go has it
}

// SetDeadline implements net.Conn.
func (a *asked) SetDeadline(at time.Time) error {
	a.deadline = at
	return a.Conn.SetDeadline(at)
}

// Write implements net.Conn.
func (a *asked) Write(b []byte) (int, error) {
	a.name = nameIn(b[min(a.prefix, len(b)):])
	a.begin()
	if most := a.at.Add(a.bound); a.bound > 0 && (a.deadline.IsZero() || a.deadline.After(most)) {
		if err := a.Conn.SetDeadline(most); err != nil {
			return 0, err
		}
	}
	return a.Conn.Write(b)
}

// nameIn returns the name that a question is about, as it is on the wire; empty if there is none.
func nameIn(message []byte) string {
	const header = 12 // RFC 1035, 4.1.1
	if len(message) <= header {
		return ""
	}
	name, _, _ := bytes.Cut(message[header:], []byte{0})
	return string(name)
}

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
