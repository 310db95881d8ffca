package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// environment makes a lookup of variables from pairs of name and value.
func environment(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s, got:\n%s", path, got)
	}
}

// TestMistakes reads a file with every kind of mistake and compares what the
// operator is told with a golden text, which is written to be read.
func TestMistakes(t *testing.T) {
	for _, name := range []string{"mistakes.json"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			_, notices, err := read(name, data, surroundings{
				lookup:   environment("SMTP_PORT", "never-print-this"),
				readFile: readReferenced,
			})
			var mistakes *Error
			if !errors.As(err, &mistakes) {
				t.Fatalf("got %v", err)
			}
			text := ""
			for _, notice := range notices {
				text += notice.String() + "\n"
			}
			golden(t, name+".golden", text+mistakes.Error()+"\n")
		})
	}
}
