package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	directory := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := write("key", []byte("SG.key\n"))
	lines := write("lines", []byte("one\ntwo\r\n"))
	large := write("large", bytes.Repeat([]byte("x"), maxReferenced+1))
	full := write("full", bytes.Repeat([]byte("x"), maxReferenced))
	binary := write("binary", []byte("\xff\x00"))
	from := &environment{lookup: variables("A", "1", "B_2", "${A}", "EMPTY", "", "DOLLAR", "$"), folder: directory}

	for _, test := range []struct{ text, want, says string }{
		{"", "", ""},
		{"plain $A $ {A} }", "plain $A $ {A} }", ""},
		{"${A}", "1", ""},
		{"Bearer ${A}${A}-${B_2}.", "Bearer 11-${A}.", ""},
		{"[${EMPTY}]", "[]", ""},
		{"$${A}", "${A}", ""},
		{"$$${A}", "$${A}", ""},
		{"${DOLLAR}{A}", "${A}", ""},
		{"a $${ b ${A} $${", "a ${ b 1 ${", ""},
		{"${file:" + key + "}", "SG.key", ""},
		{"${file:" + lines + "}", "one\ntwo", ""},
		{"${file:key}", "SG.key", ""},
		{"${file:../" + filepath.Base(directory) + "/key}", "SG.key", ""},
		{"${file:" + full + "}", strings.Repeat("x", maxReferenced), ""},
		{"${file:" + large + "}", "", "larger than 64 KiB"},
		{"${file:" + binary + "}", "", "not UTF-8"},
		{"${file:" + directory + "}", "", "not a regular file"},
		{"${file:" + directory + "/none}", "", "no such file"},
		{"${file:/dev/zero}", "", "not a regular file"},
		{"${file:}", "", "after ${ belongs a name"},
		{"${C}", "", "the environment variable C is not set"},
		{"${", "", "after ${ belongs a name"},
		{"${A", "", "after ${ belongs a name"},
		{"${}", "", "after ${ belongs a name"},
		{"${1A}", "", "after ${ belongs a name"},
		{"${A-default}", "", "after ${ belongs a name"},
		{"${ A }", "", "after ${ belongs a name"},
	} {
		got, _, err := from.expand(test.text)
		switch {
		case err == nil && test.says != "", err != nil && test.says == "":
			t.Errorf("%q: %v", test.text, err)
		case err != nil && !strings.Contains(err.Error(), test.says):
			t.Errorf("%q: %v, want …%s…", test.text, err, test.says)
		case got != test.want:
			t.Errorf("%q: got %q, want %q", test.text, got, test.want)
		}
	}
}

// TestSecretsStayOut puts values that must not be printed in every place that a
// problem could quote them from.
func TestSecretsStayOut(t *testing.T) {
	const secret = "never-print-this"
	for name, text := range map[string]string{
		"number for a secret": file("admin", `{"token": 4815162342}`),
		"secret beside":       file("providers", `[{"type": "sendgrid", "apiKey": "never-print-this", "prot": 1}]`),
		"login as host":       file("providers", `[{"type": "smtp", "host": "relay:never-print-this@mail.example", "prot": 1}]`),
		"header with a value": file("providers", `[{"type": "http", "url": "https://a.example", "headers": {"X-Key: never-print-this": ""}}]`),
		"header of a mail":    file("providers", `[{"type": "smtp", "host": "a.example", "customHeaders": {"X-Key: never-print-this": ""}}]`),
		"misspelt key":        file("providers", `[{"type": "sendgrid", "apikey": "never-print-this"}]`),
		"unknown object":      file("secrets", `{"a": {"b": ["never-print-this"]}}`),
		"unknown type":        file("providers", `[{"type": "sendgird", "apiKey": "never-print-this"}]`),
		"missing type":        file("providers", `[{"apiKey": "never-print-this"}]`),
		"duplicate":           file("providers", `[{"type": "sendgrid", "apiKey": "a", "apiKey": "never-print-this"}]`),
		"list for an object":  file("server", `["never-print-this"]`),
		"text for an object":  file("server", `"never-print-this"`),
		"Redis":               file("limits", `{"redis": "http://:never-print-this@db"}`),
		"URL with a password": file("branding", `{"appLogo": "http://a:never-print-this@acme.example", "color": 1}`),
		"header":              file("providers", `[{"type": "smtp", "host": "h", "customHeaders": {"X-Key": "never-print-this", "From": ""}}]`),
		"short authorization": file("server", `{"authorization": ["never-print-this", "short"]}`),
		"tenant's token":      file("server", `{"authorization": [{"tenant": "eu", "valu": "never-print-this"}]}`, "routes", `[{"tenants": ["eu"]}]`),
		"tenant's name":       file("server", `{"authorization": [{"tenant": "a b", "value": "never-print-this"}]}`),
		"two tenants":         file("server", `{"authorization": ["never-print-this", {"tenant": "eu", "value": "never-print-this"}]}`),
		"variable, tenant":    file("server", `{"authorization": [{"tenant": "${SECRET} x", "value": "Bearer 0123456789abcdef"}]}`),
		"variable, duration":  file("server", `{"authorization": ["Bearer 0123456789abcdef"], "timeout": "${SECRET}"}`),
		"variable, mailbox":   file("sender", `{"from": "${SECRET}"}`),
		"variable, domain":    file("sender", `{"from": "${SECRET}@-"}`),
		"variable, network":   file("server", `{"authorization": ["Bearer 0123456789abcdef"], "allowedIPs": ["${SECRET}"]}`),
		"variable, number":    file("providers", `[{"type": "smtp", "host": "h", "port": "${SECRET}"}]`),
		"variable, rule":      file("log", `{"level": "${SECRET}"}`),
		"variable, type":      file("providers", `[{"type": "${SECRET}"}]`),
		"variable, name":      file("providers", `[{"type": "smtp", "host": "h", "name": "x ${SECRET}"}]`),
		"variable, header":    file("providers", `[{"type": "smtp", "host": "h", "customHeaders": {"From": "${SECRET}"}}]`),
		"variable, group":     file("providers", `[{"type": "smtp", "host": "h", "name": "one"}]`, "routes", `[{"providers": [["${SHORT}", "one"]]}]`),
		"unset beside text":   file("server", `{"authorization": ["never-print-this ${UNSET}"]}`),
		"broken reference":    file("server", `{"authorization": ["${never-print-this"]}`),
		"comma missing":       "{\"apiKey\": \"never-print-this\" \"x\": 1}",
		"quote missing":       "{\"apiKey\": \"never-print-this, \"x\": 1}",
		"first quote missing": "{\"apiKey\": never-print-this\", \"x\": 1}",
		"line break":          "{\"apiKey\": \"never-print-this\n\", \"x\": 1}",
		"trailing":            "{} \"never-print-this\"",
		"route":               file("routes", `[{"providers": ["${SECRET}"]}]`),
		"YAML":                "server: {authorization: [never-print-this]}\nadmin:\n  tokn: never-print-this\n",
		"YAML, a colon":       "admin:\n  token never-print-this: 1\n",
		"YAML, many lines":    "admin: {token: \"one\n  never-print-this\n  three\", x: 1}\n",
		"YAML, block":         "admin:\n  token: |\n    one\n    never-print-this\n  x: 1\n",
		"URL, one slash":      file("providers", `[{"type": "http", "url": "https:/hooks.example/never-print-this", "body": {}}]`),
		"URL, no colon":       file("providers", `[{"type": "http", "url": "https//hooks.example/?key=never-print-this", "body": {}}]`),
		"YAML, no comma":      "providers:\n- {type: ses, accessKeyId: a accessKeySecret: \"never-print-this\"}\n",
		"YAML, no comment":    "providers:\n- type: ses / never-print-this\n",
		"YAML, syntax":        "admin:\n  token: never-print-this: x\n",
		"YAML, quote missing": "admin:\n  token: \"never-print-this\nserver: 1\n",
		"YAML, comment":       "server: # never-print-this\n  x: 1\n",
		"YAML, block on line": "admin:\n  token: |never-print-this\n",
		"YAML, broken block":  "admin:\n  token: |\n    never-print-this: 1\n   x\n",
		"YAML, bad escape":    "admin:\n  token: \"\\qnever-print-this\"\n",
		"YAML, object":        "admin:\n  token:\n    never-print-this: 1\n",
		"YAML, no colon":      "admin: {address: x, never-print-this}\n",
		"YAML, nested object": "providers:\n- type: http\n  headers:\n    x: {never-print-this: 1}\n",
		"http body":           file("providers", `[{"type": "http", "url": "u", "body": {"never-print-this": "never-print-this"}}]`),
		"http body, one line": `{"providers": [{"type": "http", "url": "https://a.example", "body": {"a": ["never-print-this"]}, "id": 1}]}`,
		"URL, query":          file("providers", `[{"type": "http", "url": "http://a.example/?key=never-print-this", "body": {"to": "{{to}}", "text": "{{text}}"}}]`),
		"URL, path":           file("providers", `[{"type": "http", "url": "http://a.example/never-print-this/x", "id": 1}]`),
		"a key elsewhere":     file("providers", `[{"type": "ses", "region": "never-print-this-0123456789"}]`),
		"a key as a key":      file("admin", `{"SG.never-print-this-0123456789": ""}`),
		"key without quote":   "{\"apiKey: \"never-print-this\": 1}",
		"key on two lines":    "{\"apiKey\": \"a\n\"never-print-this\": 1\"}",
		"no effect":           `{"providers": [{"type": "smtp", "host": 1, "logger": {"never-print-this": "never-print-this"}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			loaded, err := Parse("config", []byte(text), variables("SECRET", secret, "SHORT", "print-it"))
			if err == nil {
				t.Fatal("no problem")
			}
			for _, leak := range []string{secret, "print", "4815162342"} {
				if strings.Contains(strings.ReplaceAll(fmt.Sprint(err, loaded.Notices), "printable", ""), leak) {
					t.Errorf("%q is printed:\n%v", leak, err)
				}
			}
		})
	}
}
