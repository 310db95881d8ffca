//go:build unix

package limits_test

import "syscall"

// The signals that make a process hang and go on.
const hang, goOn = syscall.SIGSTOP, syscall.SIGCONT
