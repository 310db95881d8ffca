package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
// Directories are watched, since editors and Kubernetes replace files instead of writing
// into them. So are those above, for the deployment that replaces all of them, and those
// that symbolic links lie in or lead to. And so are the files, since one that is mounted by
// itself, or has another name too, is written to where no directory tells.
type watcher struct {
	// changed receives a value when something changed and has been quiet since.
	changed chan struct{}

	notify *fsnotify.Watcher
	mu     sync.Mutex
	names  map[string]bool        // of files, links and directories above whose change counts
	dirs   map[string]bool        // in which every change counts
	seen   map[string]os.FileInfo // what each path was when its watch began
}

// newWatcher begins to watch nothing. It ends with the context.
func newWatcher(ctx context.Context) (*watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &watcher{changed: make(chan struct{}, 1), notify: notify, seen: make(map[string]os.FileInfo)}
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

// concerns leaves out what other programs do in the same directories. Who may read a file
// counts as well: it may be what the last change lacked.
func (w *watcher) concerns(event fsnotify.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	dir, base := filepath.Split(event.Name)
	return w.names[event.Name] || w.dirs[filepath.Clean(dir)] && !isHidden(base) || w.dirs[event.Name] || base == kubernetesData
}

// follow watches these files and directories from now on, and nothing else. What
// was not watched before may have changed after it was read, so that it counts as a
// change. What was watched stays so without a gap, since a watch that is given up
// takes along the events that nobody has read yet. The error is about what cannot
// be watched.
func (w *watcher) follow(files []string, directories ...string) error {
	names, dirs, paths := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	directories = slices.DeleteFunc(slices.Clone(directories), func(dir string) bool { return dir == "" })
	files, folders := slices.Clone(files), slices.Clone(directories)
	for _, dir := range directories {
		name, target := resolve(dir)
		names[name], names[target], dirs[target] = true, true, true
		for _, path := range below(target) {
			if _, inner := resolve(path); isDirectory(inner) {
				dirs[inner], folders = true, append(folders, path)
				files = append(files, below(inner)...)
			} else {
				files = append(files, path)
			}
		}
	}
	var ends []string
	for _, path := range slices.Concat(files, folders) {
		links, end := followed(path)
		for _, link := range links {
			names[link] = true
		}
		ends = append(ends, end)
	}
	for _, file := range files {
		name, target := resolve(file)
		names[name], names[target] = true, true
		if info, err := os.Stat(target); err == nil && info.Mode().IsRegular() {
			paths[target] = true
		}
	}
	maps.Copy(paths, dirs)
	for name := range names {
		paths[filepath.Dir(name)] = true
	}
	for _, end := range ends { // which a link may name before it is there
		names[end] = true
	}
	above := make(map[string]bool) // whole folders may be replaced by others, but many cannot be looked into
	for name := range maps.Clone(names) {
		for dir := name; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			names[dir] = true
			above[filepath.Dir(dir)] = !paths[filepath.Dir(dir)]
		}
	}
	for path := range above {
		paths[path] = true
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	isNew := false
	for name := range names {
		isNew = isNew || !w.names[name]
	}
	for path := range dirs {
		isNew = isNew || !w.dirs[path]
	}
	w.names, w.dirs = names, dirs

	kept := make(map[string]bool)
	for _, path := range w.notify.WatchList() {
		info, err := os.Stat(path)
		if kept[path] = paths[path] && err == nil && os.SameFile(info, w.seen[path]); !kept[path] {
			_ = w.notify.Remove(path) // also what was replaced, before it is watched again
			delete(w.seen, path)
		}
	}
	var errs []error
	for path := range paths {
		if kept[path] {
			continue
		}
		info, err := os.Stat(path)
		if err == nil {
			err = w.notify.Add(path)
		}
		if w.seen[path] = info; err != nil && !above[path] {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	}
	for _, path := range w.notify.WatchList() {
		isNew = isNew || !kept[path] && dirs[path] // of all else the directory above has told
	}
	if isNew {
		w.report()
	}
	return errors.Join(errs...)
}

// isHidden tells whether a name is one of those that templates leave alone.
func isHidden(name string) bool { return strings.HasPrefix(name, ".") }

// below are the paths in a directory; none if it cannot be read, which is for others to tell.
func below(dir string) (paths []string) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if !isHidden(entry.Name()) {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths
}

// maxLinks is how many symbolic links a way may have; Linux follows as many.
const maxLinks = 40

// followed returns the symbolic links on the way to a file, one that leads to another
// included, such as the one that a deployment turns to its next release, and where the way
// ends, whether anything is there or not.
func followed(path string) (links []string, end string) {
	path, err := filepath.Abs(path)
	for err == nil && len(links) < maxLinks {
		link := path // the first on the way, so that its directory is a real one
		for dir := path; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if isLink(dir) {
				link = dir
			}
		}
		if !isLink(link) {
			break
		}
		links = append(links, link)
		var target string
		if target, err = os.Readlink(link); !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		path = filepath.Join(target, strings.TrimPrefix(path, link))
	}
	return links, path
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// resolve returns the name of a file in the directory where it really is, and what
// it leads to: the same unless it is a symbolic link, or does not exist.
func resolve(file string) (name, target string) {
	name, err := filepath.Abs(file)
	if err != nil {
		return file, file
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(name)); err == nil {
		name = filepath.Join(dir, filepath.Base(name))
	}
	if target, err = filepath.EvalSymlinks(name); err != nil {
		target = name
	}
	return name, target
}
