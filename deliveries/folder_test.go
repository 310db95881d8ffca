package deliveries

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"logto-email-relay/settings"
)

func TestFilesThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		filepath.Join(dir, "new.db"):         "",
		dir:                                  "is not a regular file",
		os.DevNull:                           "is not a regular file",
		filepath.Join(dir, "none", "new.db"): "no such file",
		filepath.Join(closed, "new.db"):      "permission denied",
	} {
		if want == "permission denied" && os.Geteuid() == 0 {
			continue // who may write everywhere
		}
		s := DefaultSettings()
		s.Database = settings.NewSecret(file)
		err := s.CheckFile()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %s", file, err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("something is made by a check: %v, %v", entries, err)
	}
}
