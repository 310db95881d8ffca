//go:build unix

package smtp

import (
	"net"
	"syscall"
)

// quietness returns what tells whether an idle connection still is one: open, and
// with nothing to read. A server speaks on its own only to say goodbye, so a byte
// that waits is as bad as the end. Looking costs no round trip. One look at a
// time.
//
// It works under TLS too: session tickets of TLS 1.3 are sent before the first
// reply and so have been read with it; anything later is an alert or a goodbye.
func quietness(conn net.Conn) func() bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return func() bool { return true }
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	quiet := false
	look := func(fd uintptr) {
		var b [1]byte
		_, _, peek := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = peek == syscall.EAGAIN || peek == syscall.EINTR
	}
	return func() bool { return raw.Control(look) == nil && quiet }
}
