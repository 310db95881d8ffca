//go:build !unix

package e2e_test

import "syscall"

// There is no signal that makes a process hang and go on.
const hang, goOn = syscall.SIGKILL, syscall.SIGKILL

func tenThousandFiles() bool { return false }
