package smtp

import (
	"net"
	"syscall"
)

// quickAck returns what has the next bytes of the server acknowledged at once. A
// server that writes the replies to a pipelined envelope one by one, without
// TCP_NODELAY, sends the second only when the first is acknowledged (RFC 896), and
// that takes 40 ms where nothing is written meanwhile. The system forgets it soon, so
// that it has to be asked for each time.
func quickAck(conn net.Conn) func() {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return func() {}
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return func() {}
	}
	set := func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) }
	return func() { _ = raw.Control(set) }
}
