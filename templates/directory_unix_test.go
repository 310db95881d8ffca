//go:build unix

package templates

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A FIFO that nobody writes into must not hang the start, and a device must not
// be read without end.
func TestFIFOsAndDevices(t *testing.T) {
	fifo := func(file string) {
		if err := syscall.Mkfifo(file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := func(dir, want string) {
		t.Helper()
		s := DefaultSettings()
		s.Dir = dir
		if _, err := Open(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	dir := directory(t, "de/note.md", "x")
	fifo(filepath.Join(dir, "de", "SignIn.html"))
	open(dir, "de/SignIn.html: this is not a regular file")
	dir = directory(t)
	fifo(filepath.Join(dir, "fr.json"))
	open(dir, "fr.json: this is not a regular file")
	open(filepath.Join(dir, "fr.json"), "templates.dir: ")
	dir = directory(t, "de/note.md", "x")
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "de", "SignIn.txt")); err != nil {
		t.Fatal(err)
	}
	open(dir, "de/SignIn.txt: this is not a regular file")
}
