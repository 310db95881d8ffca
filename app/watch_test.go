package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// Other programs work in the same directories.
func TestWhatConcernsTheWatcher(t *testing.T) {
	w := &watcher{names: map[string]bool{"/etc/relay/config.json": true}, dirs: map[string]bool{"/etc/relay/templates/en": true}}
	for _, c := range []struct {
		name string
		op   fsnotify.Op
		want bool
	}{
		{"/etc/relay/config.json", fsnotify.Create, true},
		{"/etc/relay/config.json", fsnotify.Write | fsnotify.Chmod, true},
		{"/etc/relay/config.json", fsnotify.Chmod, false},
		{"/etc/relay/config.json~", fsnotify.Write, false},
		{"/etc/relay/templates/en/SignIn.html", fsnotify.Remove, true},
		{"/etc/relay/templates/en", fsnotify.Remove, true},
		{"/etc/relay/templates/de", fsnotify.Create, false},
		{"/etc/secret/..data", fsnotify.Create, true},
		{"/etc/secret/..data_tmp", fsnotify.Create, false},
	} {
		if got := w.concerns(fsnotify.Event{Name: c.name, Op: c.op}); got != c.want {
			t.Errorf("%s of %s: %t", c.op, c.name, got)
		}
	}
}

// To follow the same files again is no change, or each reload would bring the next one.
func TestWhatIsNewToTheWatcher(t *testing.T) {
	w, err := newWatcher(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	file, other, templates := filepath.Join(root, "config.json"), filepath.Join(root, "token"), filepath.Join(t.TempDir(), "templates")
	if err := os.MkdirAll(filepath.Join(templates, "en"), 0o755); err != nil {
		t.Fatal(err)
	}
	isNew := func() bool {
		select {
		case <-w.changed:
			return true
		default:
			return false
		}
	}
	for i, c := range []struct {
		files     []string
		templates string
		isNew     bool
	}{
		{[]string{file}, "", true}, {[]string{file}, "", false}, {[]string{file, other}, "", true}, {[]string{file}, "", false},
		{[]string{file}, templates, true}, {[]string{file}, templates, false}, {[]string{file}, "", false}, {[]string{file}, templates, true},
	} {
		if err := w.follow(c.files, c.templates); err != nil {
			t.Error(err)
		}
		if got := isNew(); got != c.isNew {
			t.Errorf("step %d: %t", i, got)
		}
	}
	if err := w.follow([]string{file, filepath.Join(root, "no", "such", "file")}, templates); err == nil {
		t.Error("what cannot be watched is not told")
	}
}
