package templates

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWatch(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the directory to settle")
	}
	above := t.TempDir()
	dir := filepath.Join(above, "templates")
	put(t, dir, "en/SignIn.html", "<title>one</title>x")
	c := openDir(t, dir, "en", "de")

	ctx, cancel := context.WithCancel(t.Context())
	reloads := make(chan error, 100)
	ended := make(chan error, 1)
	go func() { ended <- c.Watch(ctx, func(err error) { reloads <- err }) }()

	// until waits for a reload after which the subject is the one wanted. The
	// change is made again while nothing happens, because the watch may not have
	// begun yet.
	until := func(what, locale, want string, broken bool, change func()) {
		t.Helper()
		change()
		again := time.NewTicker(2 * time.Second)
		defer again.Stop()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case err := <-reloads:
				if m := render(t, c, "SignIn", `{"locale":"`+locale+`"}`); m.Subject == want && (err != nil) == broken && (c.Problem() != nil) == broken {
					return
				}
			case <-again.C:
				change()
			case <-deadline:
				t.Fatalf("%s: not seen; the problem is %v", what, c.Problem())
			}
		}
	}

	until("a write", "en", "two", false, func() { put(t, dir, "en/SignIn.html", "<title>two</title>x") })
	until("a broken edit", "en", "two", true, func() { put(t, dir, "en/SignIn.html", "<title>broken</title>{{#if}}") })
	until("a rename", "en", "three", false, func() {
		put(t, above, "new.html", "<title>three</title>x")
		if err := os.Rename(filepath.Join(above, "new.html"), filepath.Join(dir, "en", "SignIn.html")); err != nil {
			t.Fatal(err)
		}
	})
	until("a new language", "de", "vier", false, func() { put(t, dir, "de/SignIn.html", "<title>vier</title>x") })
	until("a change in the new language", "de", "fünf", false, func() { put(t, dir, "de/SignIn.html", "<title>fünf</title>x") })
	until("a removal", "de", "de SignIn – Acme", false, func() {
		put(t, dir, "de/SignIn.html", "") // so that there is something to remove
		if err := os.RemoveAll(filepath.Join(dir, "de")); err != nil {
			t.Fatal(err)
		}
	})
	generation := 0
	until("another directory in its place", "en", "six", false, func() {
		generation++
		put(t, above, "next/en/SignIn.html", "<title>six</title>x")
		if err := os.Rename(dir, filepath.Join(above, "old"+string(rune('0'+generation)))); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(above, "next"), dir); err != nil {
			t.Fatal(err)
		}
	})
	until("a write in that directory", "en", "seven", false, func() { put(t, dir, "en/SignIn.html", "<title>seven</title>x") })

	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Kubernetes mounts a ConfigMap as links through one link that it turns.
func TestWatchKubernetes(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the directory to settle")
	}
	dir := t.TempDir()
	turn := func(generation, subject string) {
		put(t, filepath.Join(dir, generation), "en/SignIn.html", "<title>"+subject+"</title>x")
		fresh := filepath.Join(dir, "..data_tmp")
		_ = os.Remove(fresh)
		if err := os.Symlink(generation, fresh); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	turn("..1", "one")
	if err := os.Symlink(filepath.Join("..data", "en"), filepath.Join(dir, "en")); err != nil {
		t.Fatal(err)
	}
	c := openDir(t, dir, "en")
	if m := render(t, c, "SignIn", `{}`); m.Subject != "one" {
		t.Fatalf("got %+v", m)
	}
	reloads := make(chan error, 100)
	go func() { _ = c.Watch(t.Context(), func(err error) { reloads <- err }) }()
	deadline := time.After(20 * time.Second)
	for generation, subject := "..2", "two"; ; generation += "2" {
		turn(generation, subject)
		select {
		case <-reloads:
		case <-time.After(2 * time.Second):
		case <-deadline:
			t.Fatal("not seen")
		}
		if m := render(t, c, "SignIn", `{}`); m.Subject == subject {
			return
		}
	}
}

func TestWatchNothing(t *testing.T) {
	if err := openMiniature(t, nil, "en").Watch(t.Context(), nil); err != nil {
		t.Error(err)
	}
	gone := directory(t)
	c := openDir(t, gone, "en")
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	if err := c.Watch(t.Context(), nil); err == nil {
		t.Error("a directory that is not there was watched")
	}
}
