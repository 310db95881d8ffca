package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settlingTime is how long files must be quiet before they are read: editors and
// deployments change several of them one after the other.
const settlingTime = 200 * time.Millisecond

// watcher tells of changes in files, and in a directory of templates with one
// level of directories below.
//
// Directories are watched, not files, since editors and Kubernetes replace files
// instead of writing into them. So are the one above the templates, for the
// deployment that replaces all of them, and those that symbolic links lead to.
type watcher struct {
	// changed receives a value when something changed and has been quiet since.
	changed chan struct{}

	notify *fsnotify.Watcher
	mu     sync.Mutex
	files  map[string]bool // and the names that links lead to
	dir    string          // of templates, empty for none
}

// newWatcher begins to watch nothing. It ends with the context.
func newWatcher(ctx context.Context) (*watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &watcher{changed: make(chan struct{}, 1), notify: notify}
	go w.run(ctx)
	return w, nil
}

func (w *watcher) run(ctx context.Context) {
	defer w.notify.Close()
	quiet := time.NewTimer(settlingTime)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-w.notify.Events:
			if w.concerns(event) {
				quiet.Reset(settlingTime)
			}
		case <-w.notify.Errors:
			quiet.Reset(settlingTime) // events were lost: look for oneself
		case <-quiet.C:
			w.report()
		}
	}
}

// report tells of a change.
func (w *watcher) report() {
	select {
	case w.changed <- struct{}{}:
	default: // it was told, and nobody has looked yet
	}
}

// kubernetesData is the link that Kubernetes turns when it changes a mounted
// ConfigMap or Secret; the files in the mount are links through it.
const kubernetesData = "..data"

// concerns leaves out what other programs do in the same directories, and what
// changes no content.
func (w *watcher) concerns(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.files[event.Name] || filepath.Base(event.Name) == kubernetesData ||
		w.dir != "" && (event.Name == w.dir || strings.HasPrefix(event.Name, w.dir+string(filepath.Separator)))
}

// follow watches these files and this directory from now on, and nothing else. A
// directory that was not watched before may have changed before anybody looked, so
// that it counts as a change. The error is about what cannot be watched.
func (w *watcher) follow(files []string, dir string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := make(map[string]bool)
	for _, path := range w.notify.WatchList() {
		before[path] = true
		// A path that was replaced has to be given up before it is watched again.
		_ = w.notify.Remove(path)
	}
	w.files, w.dir = make(map[string]bool), ""
	paths := make(map[string]bool)
	for _, file := range files {
		for _, name := range withTarget(file) {
			w.files[name] = true
			paths[filepath.Dir(name)] = true
		}
	}
	if dir != "" {
		for _, name := range withTarget(dir) {
			paths[filepath.Dir(name)], paths[name] = true, true
			w.dir = name
		}
		w.dir = withTarget(dir)[0]
		entries, _ := os.ReadDir(dir) // that it cannot be read is for others to tell
		for _, entry := range entries {
			path := filepath.Join(w.dir, entry.Name())
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				paths[path] = true
			}
		}
	}
	var errs []error
	for path := range paths {
		errs = append(errs, w.notify.Add(path))
		if !before[path] {
			defer w.report()
		}
	}
	return errors.Join(errs...)
}

// withTarget returns the absolute name of a file, and that of what it leads to if
// it is a symbolic link.
func withTarget(file string) []string {
	name, err := filepath.Abs(file)
	if err != nil {
		return []string{file}
	}
	if target, err := filepath.EvalSymlinks(name); err == nil && target != name {
		return []string{name, target}
	}
	return []string{name}
}
