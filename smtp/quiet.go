package smtp

import (
	"net"
	"syscall"
)

// looker returns what looks at a connection's socket, if it has one; it does not when a
// test brings its own.
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
