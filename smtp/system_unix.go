//go:build unix

package smtp

import (
	"net"
	"syscall"
)

// How the system says that nobody listens, and that the other side ended a connection
// or had done so before.
const (
	ErrRefused = syscall.ECONNREFUSED
	ErrReset   = syscall.ECONNRESET
	ErrAborted = syscall.EPIPE
)

// Quietness returns what tells whether an idle connection still is one: open, and
// with nothing to read. A server speaks on its own only to say goodbye, so a byte
// that waits is as bad as the end. Looking costs no round trip. One look at a
// time.
//
// It works under TLS too: session tickets of TLS 1.3 are sent before the first
// reply and so have been read with it; anything later is an alert or a goodbye.
func Quietness(conn net.Conn) func() bool {
	return looker(conn, func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err == syscall.EAGAIN || err == syscall.EINTR
	})
}
