package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
			quiet.Reset(settlingTime) // events were lost, so that anything may have changed
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

// survey is what has to be watched so that every change of some files is seen.
type survey struct {
	names map[string]bool // of files, links and directories above whose change counts
	dirs  map[string]bool // in which every change counts
	paths map[string]bool // to be watched
	// above are directories whose content may be replaced as a whole. Many of them cannot be
	// looked into, which is nothing to warn of.
	above map[string]bool
}

func surveyOf(files, directories []string) *survey {
	s := &survey{make(map[string]bool), make(map[string]bool), make(map[string]bool), make(map[string]bool)}
	for _, file := range files {
		s.add(file, 0)
	}
	for _, dir := range directories {
		if dir != "" {
			s.add(dir, 2)
		}
	}
	for name := range maps.Clone(s.names) {
		for dir := name; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			s.names[dir] = true
			s.above[filepath.Dir(dir)] = !s.paths[filepath.Dir(dir)]
		}
	}
	for path := range s.above {
		s.paths[path] = true
	}
	return s
}

// add takes a file, or a directory and so many levels of what is in it.
func (s *survey) add(path string, levels int) {
	links, end := followed(path)
	for _, link := range links {
		s.names[link], s.paths[filepath.Dir(link)] = true, true
	}
	s.names[end] = true
	info, err := os.Stat(end)
	if err == nil || len(links) == 0 { // else a link names what may come
		s.paths[filepath.Dir(end)] = true
	}
	switch {
	case err != nil:
	case info.Mode().IsRegular():
		s.paths[end] = true
	case info.IsDir() && levels > 0:
		s.dirs[end], s.paths[end] = true, true
		for _, inner := range below(end) {
			s.add(inner, levels-1)
		}
	}
}

// hasOthers tells whether a set has something that another one has not.
func hasOthers(set, than map[string]bool) bool {
	for path := range set {
		if !than[path] {
			return true
		}
	}
	return false
}

// follow watches these files and directories from now on, and nothing else. What
// was not watched before may have changed after it was read, so that it counts as a
// change. What was watched stays so without a gap, since a watch that is given up
// takes along the events that nobody has read yet. The error is about what cannot
// be watched.
func (w *watcher) follow(files []string, directories ...string) error {
	wanted := surveyOf(files, directories)
	w.mu.Lock()
	defer w.mu.Unlock()
	isNew := hasOthers(wanted.names, w.names) || hasOthers(wanted.dirs, w.dirs)
	w.names, w.dirs = wanted.names, wanted.dirs

	kept := make(map[string]bool)
	for _, path := range w.notify.WatchList() {
		info, err := os.Stat(path)
		if kept[path] = wanted.paths[path] && err == nil && os.SameFile(info, w.seen[path]); !kept[path] {
			_ = w.notify.Remove(path) // also what was replaced, before it is watched again
			delete(w.seen, path)
		}
	}
	var errs []error
	for path := range wanted.paths {
		if kept[path] {
			continue
		}
		info, err := os.Stat(path)
		if err == nil {
			err = w.notify.Add(path)
		}
		if w.seen[path] = info; err != nil && !wanted.above[path] {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	}
	for _, path := range w.notify.WatchList() {
		isNew = isNew || !kept[path] && wanted.dirs[path] // of all else the directory above has told
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

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}
