package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"logto-email-relay/settings"
)

// The line of a problem is shown around its place, and the caret stands below it.
func TestExcerpts(t *testing.T) {
	long := strings.Repeat("abcdefghij", 20)
	for name, test := range map[string]struct{ file, text, want string }{
		"the first character": {"a.json", `server: 1`, "server: …\n^"},
		"the first line":      {"a.yaml", `server: text`, "server: …\n        ^"},
		"the last line":       {"a.yaml", "log: {}\nsender:\n  from: nobody", "from: nobody\n      ^"},
		"behind the end":      {"a.json", "{\n\t\"log\": {", "\"log\": {\n        ^"},
		"indented":            {"a.json", "{\n\t\t\"log\": 1}", "\"log\": …}\n       ^"},
		"no blank is hidden":  {"a.yaml", "log:\n  level: x\n  x: |\n    y\n  format: z", "x: …\n^"},
		"many lines":          {"a.yaml", "admin: {token: \"one\n  two\n  three\", x: 1}\n", "…, x: …}\n   ^"},
		"no escape codes":     {"a.yaml", "branding: {senderName: \"\u009b2J\u202e\", x: 1}", "branding: {senderName: \" 2J \", x: …}\n                               ^"},
		"the beginning of a long line": {"a.json", `{"x": 1, "branding": {"senderName": "` + long + `"}}`,
			`{"x": …, "branding": {"senderName": "` + long[:73] + "…\n ^"},
		"its middle": {"a.json", `{"branding": {"senderName": "` + long + `", "x": 1, "color": "` + long + `"}}`,
			"…" + long[200-52:] + `", "x": …, "color": "` + long[:37] + "…\n" + strings.Repeat(" ", 56) + "^"},
		"its end": {"a.json", `{"branding": {"senderName": "` + long + `", "x": 1}}`,
			"…" + long[200-99:] + `", "x": …}}` + "\n" + strings.Repeat(" ", 103) + "^"},
		"all of a line": {"a.json", `{"branding": {"senderName": "` + long[:70] + `", "x": 1}}`,
			`{"branding": {"senderName": "` + long[:70] + `", "x": …}}` + "\n" + strings.Repeat(" ", 102) + "^"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(test.file, []byte(test.text), variables())
			var mistakes *Error
			if !errors.As(err, &mistakes) {
				t.Fatalf("got %v", err)
			}
			var all []string
			for _, p := range mistakes.Problems {
				got := p.Source + "\n" + strings.Repeat(" ", p.Caret) + "^"
				if got == test.want {
					return
				}
				all = append(all, got)
			}
			t.Errorf("want\n%s\ngot\n%s", test.want, strings.Join(all, "\n"))
		})
	}
}

// A problem with a key that is not written is shown where it belongs.
func TestPlacesOfProblems(t *testing.T) {
	for name, test := range map[string]struct{ file, text, key, at string }{
		"a provider without its host": {"a.json", "{\n \"log\": {},\n \"providers\": [\n  {\"type\": \"smtp\"}]}", "providers[0].host", "4:3"},
		"the same in YAML":            {"a.yaml", "log: {}\nproviders:\n- type: smtp\n  port: 25\n", "providers[0].host", "3:3"},
		"in one line":                 {"a.yaml", "log: {}\nproviders:\n- {type: smtp, port: 25}\n", "providers[0].host", "3:3"},
		"a section that is missing":   {"a.json", "{\n \"log\": {}}", "providers", "1:1"},
		"an object of a wrong kind":   {"a.yaml", "sender:\n  from:\n    a: 1\n    b: 2\n", "sender.from", "3:5"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(test.file, []byte(test.text), variables())
			var mistakes *Error
			if !errors.As(err, &mistakes) {
				t.Fatalf("got %v", err)
			}
			for _, p := range mistakes.Problems {
				if p.Key == test.key {
					if got := fmt.Sprintf("%d:%d", p.Position.Line, p.Position.Column); got != test.at {
						t.Errorf("it is at %s", got)
					}
					return
				}
			}
			t.Errorf("got %v", err)
		})
	}
}

// Hundreds of problems have one cause; the first fifty are enough to find it.
func TestProblemsAreCounted(t *testing.T) {
	for count, want := range map[int]string{1: "1 problem", 2: "2 problems", maxShown: "50 problems", maxShown + 1: "51 problems, of which the first 50 are shown"} {
		var keys []string
		for i := range count {
			keys = append(keys, fmt.Sprintf(`"unknown%d": 1`, i))
		}
		_, err := Parse("a.json", []byte(file("log", "{"+strings.Join(keys, ",\n")+"}")), variables())
		if err == nil || !strings.HasSuffix(err.Error(), "\n"+want) || strings.Count(err.Error(), "^") != min(count, maxShown) {
			t.Errorf("%d: got %v", count, err)
		}
	}
}

// Lists and objects may be as many as they like, and as deep as JSON's.
func TestWhatNestsLittleIsRead(t *testing.T) {
	var lines, flow strings.Builder
	for i := range 2 * maxDepth {
		fmt.Fprintf(&lines, "  - 10.0.0.%d\n", i)
		fmt.Fprintf(&flow, "- {type: smtp, name: n%d, host: [a.example]}\n", i)
	}
	for name, text := range map[string]string{
		"a list in lines":    "server:\n  allowedIPs:\n" + lines.String(),
		"many lists":         "providers:\n" + flow.String(),
		"as deep as may be":  nested("k:", maxDepth),
		"in lists as deep":   nested("-", maxDepth),
		"in JSON, as deep":   strings.Repeat("[", maxDepth) + "1" + strings.Repeat("]", maxDepth),
		"a number that fits": "providers:\n- {type: smtp, host: h, port: 9223372036854775807}\n",
	} {
		_, err := Parse("a.yaml", []byte(text), variables())
		if err == nil || strings.Contains(err.Error(), tooDeep) || strings.Contains(err.Error(), tooMany) {
			t.Errorf("%s: %s", name, settings.Printable(fmt.Sprint(err), 200))
		}
	}
}

// What comes out of a variable is a text, and may stand for something else where it
// is written in the same way.
func TestVariablesOfOtherTypes(t *testing.T) {
	for value, good := range map[string]bool{"true": true, "false": true, "yes": false, "1": false, "": false, "True": false} {
		_, err := Parse("a.json", []byte(file("providers", `[{"type": "smtp", "host": "a.example", "requireTLS": "${X}"}]`)), variables("X", value))
		if (err == nil) != good {
			t.Errorf("%q: %v", value, err)
		}
	}
	for provider, good := range map[string]bool{
		`"host": "${X}"`:                            true, // a text stays one
		`"host": "25"`:                              true,
		`"host": "a.example", "port": "25"`:         true,
		`"host": "a.example", "requireTLS": "true"`: false,
		`"host": "a.example", "port": "2 5"`:        false,
	} {
		_, err := Parse("a.json", []byte(file("providers", `[{"type": "smtp", `+provider+`}]`)), variables("X", "25"))
		if (err == nil) != good {
			t.Errorf("%s: %v", provider, err)
		}
	}
}
