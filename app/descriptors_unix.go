//go:build unix

package app

import "syscall"

// descriptors is how many files and connections the process may have open, which Go
// has raised to what the system allows.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 256
	}
	return int(min(limit.Cur, 1<<20))
}
