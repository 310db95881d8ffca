package smtp

import (
	"net"
	"syscall"
	"unsafe"
)

// How the system says that nobody listens, and that the other side ended a connection
// or had done so before (Windows Sockets Error Codes).
const (
	ErrRefused = syscall.Errno(10061) // WSAECONNREFUSED
	ErrReset   = syscall.WSAECONNRESET
	ErrAborted = syscall.WSAECONNABORTED
)

var poll = syscall.NewLazyDLL("ws2_32.dll").NewProc("WSAPoll")

// Quietness returns what tells whether an idle connection still is one: open, and
// with nothing to read.
func Quietness(conn net.Conn) func() bool {
	const readable = 0x0300 // POLLIN
	return looker(conn, func(fd uintptr) bool {
		socket := struct {
			fd              uintptr
			events, revents int16
		}{fd: fd, events: readable}
		found, _, _ := poll.Call(uintptr(unsafe.Pointer(&socket)), 1, 0)
		return found == 0
	})
}
