package main

import (
	"net"
	"time"
)

// lengthen puts a wire of the given round trip before an address: what goes in
// at one end comes out at the other half a round trip later, in both
// directions. The handshakes of TCP, which a proxy cannot delay, are made up for
// by holding back the first bytes of either side.
func lengthen(listener net.Listener, address string, roundTrip time.Duration) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = near.Close() }()
			opened := time.Now()
			far, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			defer func() { _ = far.Close() }()
			// The SYN takes a round trip before the client may speak, and the
			// server's first words another half for the ACK and half for
			// themselves.
			go carry(far, near, roundTrip/2, opened.Add(roundTrip*3/2))
			carry(near, far, roundTrip/2, opened.Add(2*roundTrip))
		}()
	}
}

// carry moves bytes to one connection from the other, each piece after the
// delay and none before earliest.
func carry(to, from net.Conn, delay time.Duration, earliest time.Time) {
	type piece struct {
		bytes []byte
		due   time.Time
	}
	wire := make(chan piece, 1024)
	go func() {
		defer close(wire)
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				due := time.Now().Add(delay)
				if due.Before(earliest) {
					due = earliest
				}
				wire <- piece{append([]byte(nil), buffer[:n]...), due}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range wire {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.bytes); err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	for range wire { // lets the reader end
	}
}
