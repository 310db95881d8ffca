package smtp

import (
	"net"
	"syscall"
)

// looker returns a function that asks isQuiet about a connection's socket. Of a connection
// without one, as tests have it, it is always true.
func looker(conn net.Conn, isQuiet func(fd uintptr) bool) func() bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return func() bool { return true }
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	quiet := false
	look := func(fd uintptr) { quiet = isQuiet(fd) }
	return func() bool { return raw.Control(look) == nil && quiet }
}
