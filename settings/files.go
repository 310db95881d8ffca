package settings

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// The files that OpenFile and ReadFile do not take.
var (
	ErrNotRegular = errors.New("it is not a regular file")
	ErrTooLarge   = errors.New("it is too large")
)

// OpenFile opens a regular file for reading. A pipe or a device could keep the relay waiting
// for ever, even when it is only opened, and so do some files of the kernel's that are
// regular, such as /proc/kmsg. Other errors are those of package os.
func OpenFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotRegular
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	_ = file.SetReadDeadline(time.Now().Add(time.Second)) // which files on a disk do not have
	return file, nil
}

// ReadFile reads a regular file of at most limit bytes. Its other errors are those of OpenFile.
func ReadFile(path string, limit int64) ([]byte, error) {
	file, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		return nil, ErrTooLarge
	}
	return content, err
}
