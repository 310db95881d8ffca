//go:build !unix

package postgrestest

import "os/exec"

// runAs is for root alone, who is not there.
func runAs(*exec.Cmd, int, int) {}
