package templates

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every field of the bodies that were captured from a running Logto may be used.
func TestFieldsThatLogtoSends(t *testing.T) {
	files, err := filepath.Glob("../handlers/testdata/logto/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no captured bodies", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Type    string
			Payload map[string]any
		}
		if err := json.Unmarshal(content, &body); err != nil {
			t.Fatal(err)
		}
		var visit func(name string, value any)
		visit = func(name string, value any) {
			if reason := unknownField(name, rootOf(name), "SignIn"); reason != "" {
				t.Errorf("%s: %s", filepath.Base(file), reason)
			}
			below, _ := value.(map[string]any)
			for key, inner := range below {
				visit(name+"."+key, inner)
			}
		}
		for root, value := range body.Payload {
			if strings.Contains(" application organization user inviter code locale uiLocales link ", " "+root+" ") {
				visit(root, value)
			}
		}
	}
}
