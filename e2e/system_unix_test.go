//go:build unix

package e2e_test

import "syscall"

// The signals that make a process hang and go on.
const hang, goOn = syscall.SIGSTOP, syscall.SIGCONT

// tenThousandFiles tells whether the test may have so many files and connections open.
func tenThousandFiles() bool {
	var files syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
	return err == nil && files.Cur >= 10_000
}
