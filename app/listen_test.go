package app

import (
	"net"
	"testing"
)

// Whoever has connected before the port closes is let in.
func TestAPortClosesBehindThoseWhoCame(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const callers = 50
	for range callers {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	port := &ownPort{TCPListener: l.(*net.TCPListener)}
	accepted := make(chan int)
	go func() {
		n := 0
		defer func() { accepted <- n }()
		for {
			c, err := port.Accept()
			if err != nil {
				return
			}
			n++
			defer func() { _ = c.Close() }()
		}
	}()
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	if n := <-accepted; n != callers {
		t.Errorf("%d of %d were let in", n, callers)
	}
}
