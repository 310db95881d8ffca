package commands

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// check reads the templates inside a provider as serve does.
func TestCheckReadsTheTemplatesInsideAProvider(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		code    int
		says    string
	}{
		"a warning": {"<p>{{code}} {{nothing}}</p>", exitOK, "providers[0].templates[0]:1:13: no SignIn message has nothing"},
		"a mistake": {"<script>{{code}}</script>", exitConfiguration, "providers[0].templates[0]:1:9: "},
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		text := `{"server": {"authorization": ["Bearer a-token-of-the-test"]}, "sender": {"from": "no-reply@acme.example"},
			"providers": [{"type": "smtp", "host": "smtp.example.com",
				"templates": [{"usageType": "SignIn", "subject": "Code", "content": "` + test.content + `"}]}]}`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		code := Run(t.Context(), []string{"check", "--config", file}, nil, &out, &out, nil)
		if code != test.code || !strings.Contains(out.String(), test.says) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", name, code, test.code, test.says, out.String())
		}
	}
}
