//go:build !unix

package limits_test

import "syscall"

// There is no signal that makes a process hang and go on.
const hang, goOn = syscall.SIGKILL, syscall.SIGKILL
