package smtp

import (
	"net"
	"syscall"
)

// quickAck returns what acknowledges at once what the server has sent. One that
// writes the replies to a pipelined envelope one by one, without TCP_NODELAY, sends
// the second only when the first is acknowledged (RFC 896), and the system takes 40
// ms for that where nothing is written meanwhile.
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
