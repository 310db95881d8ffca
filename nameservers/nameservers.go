// Package nameservers looks names up in the time that a mail has. Go waits for a name server
// for five seconds before it asks again or asks the next one, so that a packet that is lost, or
// a first server that is dead, would cost most of that time, or the mail.
package nameservers

import (
	"context"
	"net"
	"time"
)

// patience is how long one name server is waited for. Nearly all answers take a tenth of it,
// and one that takes longer is in that server's memory when it is asked again.
const patience = 1500 * time.Millisecond

// Resolver is the system's way to look names up, where that is Go's own.
func Resolver() *net.Resolver { return &net.Resolver{Dial: dial} }

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, network, address)
	switch conn := conn.(type) {
	case *net.UDPConn:
		return packets{conn}, nil
	case *net.TCPConn:
		return stream{conn}, nil
	}
	return conn, err
}

// packets and stream are the ways to a name server, which Go tells apart by net.PacketConn. It
// bounds a question by SetDeadline.
type (
	packets struct{ *net.UDPConn }
	stream  struct{ *net.TCPConn }
)

// SetDeadline sets one that is no later than our patience ends.
func (c packets) SetDeadline(at time.Time) error { return c.UDPConn.SetDeadline(sooner(at)) }

// SetDeadline sets one that is no later than our patience ends.
func (c stream) SetDeadline(at time.Time) error { return c.TCPConn.SetDeadline(sooner(at)) }

func sooner(at time.Time) time.Time {
	if most := time.Now().Add(patience); at.After(most) {
		return most
	}
	return at
}
