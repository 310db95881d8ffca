//go:build unix

package providers

import (
	"net"
	"syscall"
)

// hasUnread tells whether a connection has something to read, be it the end.
// Looking costs no round trip.
func hasUnread(conn net.Conn) bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	unread := true
	look := func(fd uintptr) {
		var b [1]byte
		_, _, peek := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		unread = peek != syscall.EAGAIN && peek != syscall.EINTR
	}
	return raw.Control(look) != nil || unread
}
