package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzLoad feeds the loader any bytes, as JSON and as YAML. It may find
// problems only, at places that the file has, in bounded time, and without a
// word of what the variables and files hold.
func FuzzLoad(f *testing.F) {
	const secret = "Kq7fZ0never-print-this"
	seeds, err := filepath.Glob("testdata/mistakes.*")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, seed := range append(seeds, "../config.example.json") {
		data, err := os.ReadFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("server: {authorization: [\"Bearer ${A}\"]}\nproviders:\n- type: smtp\n  host: |\n    ${file:a}\n  tls: {ca: a}\n"))
	f.Add([]byte("a: &x [*x, *x]\n? !!str b\n: <<\n---\n\tc\n"))
	folder := f.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a"), []byte(secret), 0o600); err != nil {
		f.Fatal(err)
	}
	lookup := func(string) (string, bool) { return secret, true }
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		for _, name := range []string{filepath.Join(folder, "fuzz.json"), filepath.Join(folder, "fuzz.yaml")} {
			// A file that is read for ever is found by this panic alone.
			overdue := time.AfterFunc(20*time.Second, func() { panic(fmt.Sprintf("%s takes for ever: %q", name, data)) })
			loaded, err := Parse(name, data, lookup)
			overdue.Stop()
			if err == nil {
				if loaded.Config == nil {
					t.Fatal("neither a configuration nor an error")
				}
				continue
			}
			var mistakes *Error
			if !errors.As(err, &mistakes) || len(mistakes.Problems) == 0 {
				t.Fatalf("%s: an error without problems: %v", name, err)
			}
			text := err.Error()
			for _, notice := range loaded.Notices {
				text += notice.String()
			}
			if strings.Contains(text, secret) && !strings.Contains(string(data), secret) {
				t.Fatalf("%s: a secret is printed:\n%s", name, text)
			}
			for _, problem := range mistakes.Problems {
				if at := problem.Position; at.Line < 1 || at.Column < 1 || problem.Caret < 0 || problem.Text == "" ||
					problem.Caret > len([]rune(problem.Source)) {
					t.Fatalf("%s: odd problem %#v", name, problem)
				}
			}
		}
	})
}
