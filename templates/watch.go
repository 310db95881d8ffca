package templates

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settlingTime is how long the directory must be quiet before it is read:
// editors and deployments change several files one after the other.
const settlingTime = 200 * time.Millisecond

// Watch reads the operator's directory again whenever something in it changes,
// and tells reloaded how that went. It blocks until the context ends; it fails
// if the directory cannot be watched. Without a directory it returns at once.
//
// Directories are watched, not files, since editors and Kubernetes replace files
// instead of writing into them; so is the directory above, for the deployment
// that replaces all of them or turns a symbolic link.
func (c *Catalogue) Watch(ctx context.Context, reloaded func(error)) error {
	if c.settings.Dir == "" {
		return nil
	}
	dir, err := filepath.Abs(c.settings.Dir)
	if err != nil {
		return fmt.Errorf("watching templates: %w", err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching templates: %w", err)
	}
	defer watcher.Close()
	if err := watchAll(watcher, dir); err != nil {
		return fmt.Errorf("watching templates: %w", err)
	}
	// What changed between the first reading and now was seen by nobody.
	if err := c.Reload(); err != nil {
		reloaded(err)
	}
	quiet := time.NewTimer(settlingTime)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-watcher.Events:
			if concerns(event, dir) {
				quiet.Reset(settlingTime)
			}
		case <-watcher.Errors:
			quiet.Reset(settlingTime) // events were lost: look for oneself
		case <-quiet.C:
			// New directories, and old names that mean new directories.
			watchErr := watchAll(watcher, dir)
			err := c.Reload()
			if err == nil && watchErr != nil {
				err = fmt.Errorf("watching templates: %w", watchErr)
			}
			reloaded(err)
		}
	}
}

// concerns leaves out what other programs do in the directory above, and what
// changes no content.
func concerns(event fsnotify.Event, dir string) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	return event.Name == dir || strings.HasPrefix(event.Name, dir+string(filepath.Separator))
}

// watchAll watches the directory, the one above and those of the languages.
func watchAll(watcher *fsnotify.Watcher, dir string) error {
	for _, watched := range watcher.WatchList() {
		// A path that was replaced has to be given up before it is watched again.
		_ = watcher.Remove(watched)
	}
	if err := watcher.Add(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := watcher.Add(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if err := watcher.Add(path); err != nil {
				return err
			}
		}
	}
	return nil
}
