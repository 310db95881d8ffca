package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"

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
		{"/etc/relay/config.json", fsnotify.Chmod, true},
		{"/etc/relay/config.json~", fsnotify.Write, false},
		{"/etc/relay/templates/en/SignIn.html", fsnotify.Remove, true},
		{"/etc/relay/templates/en/.SignIn.html.swp", fsnotify.Write, false},
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
	for range 2 { // it comes, and is replaced
		if err := os.WriteFile(file+".new", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.changed:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody noticed")
		}
		if err := w.follow([]string{file}, templates); err != nil {
			t.Error(err)
		}
		if isNew() {
			t.Error("what was told is told again")
		}
	}
	if err := w.follow([]string{file, filepath.Join(root, "no", "such", "file")}, templates); err == nil {
		t.Error("what cannot be watched is not told")
	}
}

// A whole tree is replaced, and templates may be links to files elsewhere.
func TestWhatIsFarFromTheFileIsWatched(t *testing.T) {
	write := func(name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(){
		"the tree above is replaced":       func() { write("new/etc/config.json"); rename("relay", "old"); rename("new", "relay") },
		"what a link names comes later":    func() { write("later/deep/token") },
		"a linked template is written":     func() { write("shared/SignIn.html") },
		"a linked template is replaced":    func() { write("shared/new"); rename("shared/new", "shared/SignIn.html") },
		"a template beside the folders":    func() { write("templates/layout.html") },
		"a linked file beside the folders": func() { write("shared/layout.html") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, file := range []string{"relay/etc/config.json", "shared/SignIn.html", "shared/layout.html", "templates/en/Generic.html"} {
				write(file)
			}
			for link, target := range map[string]string{"templates/en/SignIn.html": "../../shared/SignIn.html", "templates/linked.html": "../shared/layout.html", "token": "later/deep/token"} {
				if err := os.Symlink(target, link); err != nil {
					t.Skip("no symbolic links here: ", err)
				}
			}
			w, err := newWatcher(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.follow([]string{"relay/etc/config.json", "token"}, "templates"); err != nil {
				t.Fatal(err)
			}
			<-w.changed // it is new
			change()
			select {
			case <-w.changed:
			case <-time.After(10 * time.Second):
				t.Error("nobody noticed")
			}
		})
	}
}

// A link in the middle of the way is one that a deployment turns.
func TestEveryLinkOnTheWayIsWatched(t *testing.T) {
	for name, c := range map[string]struct {
		links  [][2]string // name, target
		turned [2]string
	}{
		"a file through the link of the release": {[][2]string{{"current", "releases/1"}, {"etc/config.json", "../current/config.json"}}, [2]string{"current", "releases/2"}},
		"a file through another link": {[][2]string{{"alternatives", "releases/1/config.json"}, {"etc/config.json", "../alternatives"}},
			[2]string{"alternatives", "releases/2/config.json"}},
		"links upon links":              {[][2]string{{"a", "releases"}, {"b", "a/1"}, {"c", "b/config.json"}, {"etc/config.json", "../c"}}, [2]string{"b", "a/2"}},
		"the first of links upon links": {[][2]string{{"a", "releases"}, {"b", "a/1"}, {"c", "b/config.json"}, {"etc/config.json", "../c"}}, [2]string{"a", "later"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, dir := range []string{"etc", "releases/1", "releases/2"} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(dir), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			link := func(name, target string) {
				if err := os.Symlink(target, "new"); err != nil {
					t.Skip("no symbolic links here: ", err)
				}
				if err := os.Rename("new", name); err != nil {
					t.Fatal(err)
				}
			}
			for _, l := range c.links {
				link(l[0], l[1])
			}
			w, err := newWatcher(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.follow([]string{"etc/config.json"}); err != nil {
				t.Fatal(err)
			}
			<-w.changed // it is new
			link(c.turned[0], c.turned[1])
			select {
			case <-w.changed:
			case <-time.After(10 * time.Second):
				t.Error("nobody noticed")
			}
		})
	}
	t.Chdir(t.TempDir())
	if err := os.Symlink("b", "a"); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	if err := os.Symlink("a", "b"); err != nil {
		t.Fatal(err)
	}
	if got, _ := followed("a"); len(got) > maxLinks {
		t.Errorf("a circle has %d links", len(got))
	}
}
