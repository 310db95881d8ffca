// Package nameservers looks names up in the time that a mail has. Go waits for a name server
// for five seconds before it asks again or asks the next one, so that a packet that is lost, or
// a first server that is dead, would cost most of that time, or the mail.
package nameservers

import (
	"context"
	"net"
	"time"
)

// patience is how long one name server is waited for. Nearly all answers take less than half
// of it, and one that takes longer is in that server's memory when it is asked again.
const patience = time.Second

// Resolver is the system's way to look names up, where that is Go's own.
func Resolver() *net.Resolver { return &net.Resolver{Dial: dial} }

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if udp, is := conn.(*net.UDPConn); is {
		return impatient{udp}, nil
	}
	return conn, err
}

// impatient is the way to a name server. It stays a net.PacketConn, by which Go knows UDP.
type impatient struct{ *net.UDPConn }

// SetDeadline is what Go bounds a question by.
func (c impatient) SetDeadline(at time.Time) error {
	if most := time.Now().Add(patience); at.After(most) {
		at = most
	}
	return c.UDPConn.SetDeadline(at)
}
