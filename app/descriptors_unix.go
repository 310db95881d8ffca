//go:build unix

package app

import (
	"net"
	"syscall"
)

// descriptors is how many files and connections the process may have open, which Go
// has raised to what the system allows.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 256
	}
	return int(min(limit.Cur, 1<<20))
}

// refuseMore has the system keep no more connections for a port than the next one.
func refuseMore(l *net.TCPListener) {
	if raw, err := l.SyscallConn(); err == nil {
		_ = raw.Control(func(descriptor uintptr) { _ = syscall.Listen(int(descriptor), 0) })
	}
}
