package providers

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The provider in docs/adding-a-provider.md is one: added to the package as the
// page says, it passes the suite.
func TestTheProviderInTheDocumentsPasses(t *testing.T) {
	page, err := os.ReadFile("../docs/adding-a-provider.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replaced := make(map[string]string) // files of the package by those that take their place
	for _, block := range regexp.MustCompile("(?s)```go providers/(\\S+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		name, text := block[1], block[2]
		if file, err := os.ReadFile(name); err == nil { // a line for the list in this file, which ends with the inbox
			line := regexp.MustCompile(`(?m)^\t+\{?"inbox"[:,]`)
			if len(line.FindAll(file, -1)) != 1 {
				t.Fatalf("%s: no place for the line", name)
			}
			text = line.ReplaceAllStringFunc(string(file), func(last string) string { return text + last })
		}
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		replaced[path] = filepath.Join(dir, name)
		if err := os.WriteFile(replaced[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(replaced) != 4 {
		t.Fatalf("the page shows %d files of the package", len(replaced))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "testdata"), 0o700); err != nil {
		t.Fatal(err)
	}
	suite := filepath.Join(dir, "suite")
	run := func(where string, command ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), command[0], command[1:]...)
		c.Dir = where
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
		return string(out)
	}
	run(".", "go", "test", "-overlay", filepath.Join(dir, "overlay.json"), "-c", "-o", suite, ".")
	run(dir, suite, "-test.run=^TestConformance$/^examplemail$", "-update") // writes its golden file
	passed := run(dir, suite, "-test.run=^(TestConformance|TestExamplemail.*)$/^examplemail$", "-test.v")
	for _, test := range []string{"TestExamplemailNeverTracks", "TestConformance/examplemail/accept", "TestConformance/examplemail/http/errors/quota",
		"TestConformance/examplemail/verify/suspended"} {
		if !strings.Contains(passed, "--- PASS: "+test+" ") {
			t.Errorf("%s has not passed:\n%s", test, passed)
		}
	}
}
