//go:build unix

package deliveries

import "syscall"

// mayWriteInto tells why nothing can be written into a folder, without trying it.
func mayWriteInto(folder string) error {
	const writeAndSearch = 2 | 1
	return syscall.Access(folder, writeAndSearch)
}
