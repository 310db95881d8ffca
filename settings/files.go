package settings

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// The files that ReadFile does not take.
var (
	ErrNotRegular = errors.New("it is not a regular file")
	ErrTooLarge   = errors.New("it is too large")
)

// ReadFile reads a regular file of at most limit bytes. A pipe or a device could keep the
// relay waiting for ever, even when it is only opened, and so do some files of the
// kernel's that are regular, such as /proc/kmsg. Other errors are those of package os.
func ReadFile(path string, limit int64) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotRegular
	}
	_ = file.SetReadDeadline(time.Now().Add(time.Second)) // which files on a disk do not have
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		return nil, ErrTooLarge
	}
	return content, err
}
