package handlers

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxConnections is more than Logto ever has open at a time. An idle one takes
	// 15 KB.
	maxConnections = 2048
	// writeTimeout bounds one write of an answer. It is less than the time that a clean
	// stop has.
	writeTimeout = 20 * time.Second
	// socketBuffer bounds what the system keeps for a caller who does not read, or for
	// one who sends far ahead, in bytes.
	socketBuffer = 64 << 10
	// minIdle is how long a connection may at least be idle: the request of a caller
	// who has just come may be there already, and unread.
	minIdle = 200 * time.Millisecond
)

// connections is a listener that bounds how many callers are connected. When there
// are too many, the one that has been idle for longest makes room for the next: a
// connection without a request, or with half of one. Callers who have just come or who
// wait for their answers are not cut, so that a new one waits if there are only those.
type connections struct {
	net.Listener
	max int

	mu     sync.Mutex
	idle   *list.List // of *connection, the one that is idle for longest in front
	open   int
	closed bool
	room   *sync.Cond
}

func newConnections(l net.Listener, limit int) *connections {
	c := &connections{Listener: l, max: limit, idle: list.New()}
	c.room = sync.NewCond(&c.mu)
	return c
}

// Accept implements net.Listener.
func (l *connections) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := accepted.(*net.TCPConn); ok {
		_, _ = tcp.SetReadBuffer(socketBuffer), tcp.SetWriteBuffer(socketBuffer)
	}
	c := &connection{Conn: accepted, of: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.open >= l.max && !l.closed {
		front := l.idle.Front()
		if front == nil {
			l.room.Wait()
			continue
		}
		oldest := front.Value.(*connection)
		if wait := minIdle - time.Since(oldest.since); wait > 0 {
			timer := time.AfterFunc(wait, l.wake)
			l.room.Wait()
			timer.Stop()
			continue
		}
		l.forget(oldest)
		_ = oldest.Conn.Close()
	}
	l.open++
	l.rest(c)
	return c, nil
}

// wake lets Accept look again. The mutex makes sure that it waits already.
func (l *connections) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room.Broadcast()
}

// rest puts a connection behind the other idle ones. The mutex is held.
func (l *connections) rest(c *connection) {
	c.place, c.since = l.idle.PushBack(c), time.Now()
}

// Close implements net.Listener.
func (l *connections) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.room.Broadcast()
	return l.Listener.Close()
}

// forget ends the counting of a connection, once. The mutex is held.
func (l *connections) forget(c *connection) {
	if c.gone {
		return
	}
	c.gone = true
	if c.place != nil {
		l.idle.Remove(c.place)
	}
	l.open--
	l.room.Signal()
}

// busy takes a connection out of the idle ones, for as long as it takes to answer a
// request. It is false for one that has made room for another.
func (l *connections) busy(c *connection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.place != nil && !c.gone {
		l.idle.Remove(c.place)
		c.place = nil
	}
	return !c.gone
}

// isBusy tells whether a request of the connection is being answered.
func (l *connections) isBusy(c *connection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.place == nil
}

// state follows a connection: the answer is written once it is idle again.
func (l *connections) state(conn net.Conn, state http.ConnState) {
	c := conn.(*connection)
	l.mu.Lock()
	defer l.mu.Unlock()
	if state == http.StateIdle && c.place == nil && !c.gone {
		l.rest(c)
		l.room.Signal()
	}
}

// connection is that of one caller.
type connection struct {
	net.Conn
	of *connections

	// Under the mutex of the listener.
	place *list.Element // among the idle ones; nil while busy
	since time.Time     // when it took that place
	gone  bool
}

type connectionKey struct{}

// remember lets a request find its connection.
func remember(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// Read implements net.Conn. While a request is answered, net/http reads a single byte
// aside, so that its context ends when the caller hangs up. Here that ends nothing: a
// mail under way is finished. To wait for that byte would take a goroutine, 4 KB and
// 4 µs a webhook, so there is none.
func (c *connection) Read(p []byte) (int, error) {
	if len(p) == 1 && c.of.isBusy(c) {
		return 0, nil
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn. It lets go of a caller who does not read: what the
// system still keeps for it is thrown away.
func (c *connection) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := c.Conn.Write(p)
	if tcp, ok := c.Conn.(*net.TCPConn); err != nil && ok {
		_ = tcp.SetLinger(0)
	}
	return n, err
}

// CloseWrite is how net/http lets a caller read the answer to what was not read whole.
func (c *connection) CloseWrite() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.of.mu.Lock()
	c.of.forget(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
