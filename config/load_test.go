package config

import (
	"bytes"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"logto-email-relay/relay"
	"logto-email-relay/settings"
)

var update = flag.Bool("update", false, "write the golden files anew")

// variables makes a lookup of variables from pairs of name and value.
func variables(pairs ...string) func(string) (string, bool) {
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
	for _, name := range []string{"mistakes.json", "mistakes.yaml"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := Parse(name, data, variables("SMTP_PORT", "never-print-this"))
			var mistakes *Error
			if !errors.As(err, &mistakes) {
				t.Fatalf("got %v", err)
			}
			text := ""
			for _, notice := range loaded.Notices {
				text += notice.String() + "\n"
			}
			golden(t, name+".golden", text+mistakes.Error()+"\n")
		})
	}
}

func TestLoadTheExample(t *testing.T) {
	loaded, err := Load("../config.example.json", variables("RELAY_TOKEN", "0123456789abcdef",
		"AWS_ACCESS_KEY_ID", "AKIA", "AWS_SECRET_ACCESS_KEY", "aws", "SMTP_PASSWORD", "smtp"))
	if err != nil {
		t.Fatal(err)
	}
	c := loaded.Config
	if len(loaded.Notices) != 0 {
		t.Errorf("notices: %v", loaded.Notices)
	}
	if got := c.Server.Authorization[0].Reveal(); got != "Bearer 0123456789abcdef" {
		t.Errorf("authorization is %q", got)
	}
	if c.Server.TrustedProxies[0].String() != "127.0.0.1/32" || c.Sender.From.Name != "Acme" ||
		!reflect.DeepEqual(c.Routes[0].Providers[0], relay.Group{{Name: "backup", Weight: 1}}) || time.Duration(c.Deliveries.Retention) != 30*24*time.Hour {
		t.Errorf("got %+v", c)
	}
	if len(c.Providers) != 2 || c.Providers[0].Shared().Type != "ses" || c.Providers[1].Shared().Name != "backup" {
		t.Errorf("providers are %+v", c.Providers)
	}
	for _, format := range []string{"%v", "%+v"} {
		if text := fmt.Sprintf(format, c); strings.Contains(text, "0123456789") {
			t.Errorf("%s prints a secret: %s", format, text)
		}
	}

	// The example names every section, so that nobody has to guess one.
	written, err := os.ReadFile("../config.example.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keysOf(fieldsOf(reflect.TypeFor[Config]())) {
		if key != "$schema" && !strings.Contains(string(written), `"`+key+`":`) {
			t.Errorf("the example has no section %s", key)
		}
	}
}

func TestDefaults(t *testing.T) {
	loaded, err := Parse("config.json", []byte(file("sender", `{"from": "a@acme.example"}`)), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := loaded.Config
	if c.Server.Address != ":8080" || c.Admin.Address != "127.0.0.1:9090" || c.Log != (Log{"info", "json"}) ||
		time.Duration(c.Server.Timeout) != 8*time.Second || c.Templates.DefaultLocale != "en" {
		t.Errorf("got %+v", c)
	}
	if name := c.Providers[0].Shared().Name; name != "smtp" {
		t.Errorf("a provider without a name is called %q, want its type", name)
	}
}

func TestDevelopment(t *testing.T) {
	c := Development("a-token-of-the-test")
	d := &decoder{names: []string{"inbox"}}
	if d.check(c); len(d.problems) != 0 {
		t.Errorf("problems: %v", d.problems)
	}
	if c.Server.Address != "127.0.0.1:8080" || c.Admin.Address != "127.0.0.1:9090" {
		t.Errorf("listens on %s and %s", c.Server.Address, c.Admin.Address)
	}
	if got := c.Server.Authorization[0].Reveal(); got != "Bearer a-token-of-the-test" {
		t.Errorf("authorization is %q", got)
	}
	if len(c.Providers) != 1 || c.Providers[0].Shared().Type != "inbox" || c.Providers[0].Shared().Name != "inbox" {
		t.Errorf("providers are %+v", c.Providers)
	}
}

func TestLoadWithoutFile(t *testing.T) {
	directory := t.TempDir()
	_, err := Load(filepath.Join(directory, "config.json"), variables())
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err = Load(directory, variables()); err == nil {
		t.Error("a directory is no configuration")
	}
	large := filepath.Join(directory, "large.json")
	if err := os.WriteFile(large, bytes.Repeat([]byte(" "), maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = Load(large, variables()); err == nil || !strings.Contains(err.Error(), "larger than 1024 KiB") {
		t.Errorf("a large file: %v", err)
	}
}

// nested is a YAML value in many others, each on a line of its own.
func nested(item string, levels int) string {
	var b strings.Builder
	for level := range levels {
		b.WriteString(strings.Repeat(" ", level) + item + "\n")
	}
	return b.String()
}

// TestSyntax has files that make no tree. Each has one problem, whose place and
// words are compared.
func TestSyntax(t *testing.T) {
	deep := func(open, inner, closing string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(closing, n)
	}
	for _, test := range []struct{ name, text, at, says string }{
		{"a.json", "", "1:1", "the file is empty"},
		{"a.json", " \n\t\r\n", "1:1", "the file is empty"},
		{"a.json", "\ufeff", "1:1", "the file is empty"},
		{"a.json", "{\"a\": \"\xff\"}", "1:1", "not UTF-8"},
		{"a.json", "\xff\xfe{\x00}\x00", "1:1", "not UTF-8"},
		{"a.json", "\x00{}", "1:1", "not UTF-8"},
		{"a.yaml", "a: {b: c d: e}\n", "1:8", "a comma is missing"},
		{"a.yaml", "a: {b: 5 d: \"e f\", g: h}\n", "1:8", "a comma is missing"},
		{"a.json", "[]", "1:1", "a configuration is an object"},
		{"a.json", "server: 1", "1:1", "no JSON value"},
		{"a.json", "{\n\t\"a\": 1\n\t\"b\": 2\n}", "3:2", "a comma is missing"},
		{"a.json", "{\n\t\"a\": [1 2]\n}", "2:10", "a comma is missing"},
		{"a.json", `{"a" 1}`, "1:6", "a colon is missing"},
		{"a.json", `{"a": 1,}`, "1:9", "one too many"},
		{"a.json", `{"a": [1, ]}`, "1:11", "one too many"},
		{"a.json", `{a: 1}`, "1:2", "key in double quotes"},
		{"a.json", `{'a': 1}`, "1:2", "double quotes"},
		{"a.json", `{"a": 'b'}`, "1:7", "double quotes"},
		{"a.json", `{"ä": b}`, "1:7", "no JSON value"},
		{"a.json", "{\n  // why\n  \"a\": 1\n}", "2:3", "JSON has no comments"},
		{"a.json", "{\n  \"a\": 1, # why\n}", "2:11", "JSON has no comments"},
		{"a.json", "{\"a\": \"b\n\"}", "1:7", "not closed on its line"},
		{"a.json", `{"a": "\q"}`, "1:7", "backslash"},
		{"a.json", `{"a": 1`, "1:8", "ends too early"},
		{"a.json", "{\"a\": \"b\n", "1:7", "not closed"},
		{"a.json", `{"a": 1} {}`, "1:10", "goes on after its end"},
		{"a.json", `{"a": 1}}`, "1:9", "goes on after its end"},
		{"a.json", `{"a": 1e999}`, "1:7", "too large"},
		{"a.json", deep("[", "", "]", 40), "1:33", "nest too deep"},
		{"a.json", deep("[", "", "", 1<<20), "1:33", "nest too deep"},
		{"a", `{"a": 1,}`, "1:9", "one too many"},
		{"a.yaml", "a: {b: c, d: ${E}}\n", "1:14", "put ${…} in quotes"},
		{"a.yaml", "a: [Bearer ${E}]\n", "1:5", "put ${…} in quotes"},
		{"a.yaml", "# nothing\n", "1:1", "the file is empty"},
		{"a.yaml", "- a\n", "1:1", "a configuration is an object"},
		{"a", "just words\n", "1:1", "a configuration is an object"},
		{"a.yaml", "server:\n\taddress: x\n", "2:1", "replace the tab"},
		{"a.yaml", "server:\n  \taddress: x\n", "2:3", "replace the tab"},
		{"a.yaml", "a: 1\n---\nb: 2\n", "2:1", "second document"},
		{"a.yaml", "a: &x 1\nb: *x\n", "1:4", "anchors"},
		{"a.yaml", "a: *x\n", "1:4", "anchors"},
		{"a.yaml", "<<: {a: 1}\n", "1:1", "merge keys"},
		{"a.yaml", "a: !!str 5\n", "1:4", "tags"},
		{"a.yaml", "%YAML 1.2\n---\na: 1\n", "1:1", "directives"},
		{"a.yaml", "? a\n: b\n", "1:1", "?"},
		{"a.yaml", "a: b: c\n", "1:4", "not YAML"},
		{"a.yaml", "a: @acme\n", "1:4", "in quotes"},
		{"a.yaml", "a: [1, 2\n", "1:4", "not YAML"},
		{"a.yaml", "a: \"b\n", "1:4", "not YAML"},
		{"a.yaml", "a: " + deep("[", "", "]", 40), "1:36", "nest too deep"},
		{"a.yaml", deep("- ", "a", "", 30_000), "1:65", "nest too deep"},
		{"a.yaml", deep("[", "", "", 30_000), "1:33", "nest too deep"},
		{"a.yaml", deep("key: value\n", "", "", 25_000), "1:1", "too many values"},
		{"a.yaml", nested("k:", 40), "34:35", "nest too deep"},
		{"a.yaml", nested("-", 40), "34:34", "nest too deep"},
		{"a.json", "[" + deep("1,", "1]", "", maxValues), "1:40000", "too many values"},
	} {
		_, err := Parse(test.name, []byte(test.text), variables())
		mistakes, ok := err.(*Error)
		shown := settings.Printable(test.text, 40)
		if !ok || len(mistakes.Problems) != 1 {
			t.Errorf("%s %q: got %v", test.name, shown, err)
			continue
		}
		problem := mistakes.Problems[0]
		if got := fmt.Sprintf("%d:%d", problem.Position.Line, problem.Position.Column); got != test.at ||
			!strings.Contains(problem.Text, test.says) {
			t.Errorf("%s %q: want %s …%s…\ngot %v", test.name, shown, test.at, test.says, problem)
		}
	}
}

func TestYAMLMeansTheSameAsJSON(t *testing.T) {
	text := "\ufeff---\r\nserver:\r\n  authorization: [ 'Bearer ${TOKEN}' ]\r\n  timeout: 5s\r\n" +
		"sender: { from: Acme <a@acme.example> }\r\nproviders:\r\n- type: smtp\r\n  host: localhost\r\n  port: ${PORT}\r\n" +
		"admin:\r\n  token: |\r\n    one\r\n    two\r\n"
	loaded, err := Parse("config.yaml", []byte(text), variables("TOKEN", "0123456789abcdef", "PORT", "25"))
	if err != nil {
		t.Fatal(err)
	}
	c := loaded.Config
	if c.Server.Authorization[0].Reveal() != "Bearer 0123456789abcdef" || time.Duration(c.Server.Timeout) != 5*time.Second ||
		c.Sender.From.Address.Address != "a@acme.example" || c.Admin.Token.Reveal() != "one\ntwo\n" {
		t.Errorf("got %+v", c)
	}
	provider := reflect.ValueOf(c.Providers[0]).Elem()
	if port := provider.FieldByName("Port"); fmt.Sprint(port) != "25" {
		t.Errorf("port is %v", port)
	}
}

// A configuration names other files from its own folder, and tells which ones.
func TestFilesBeginAtTheConfiguration(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate := func() string {
		server := httptest.NewTLSServer(nil)
		defer server.Close()
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	}()
	write("config.json", file("templates", `{"dir": "templates"}`, "deliveries", `{"database": "deliveries.db"}`, "providers", `[{"type": "smtp", "host": "${HOST}",
		"auth": {"user": "relay", "pass": "${file:secrets/pass}"}, "tls": {"ca": ["ca.pem", "${file:inline.pem}"]}},
		{"type": "resend", "apiKey": "${file:secrets/pass}"}]`))
	write("secrets/pass", "never-print-this\n")
	write("inline.pem", certificate)
	write("ca.pem", certificate)
	load := func() Loaded {
		t.Helper()
		loaded, err := Load(filepath.Join(folder, "config.json"), variables("HOST", "smtp.example.com"))
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	first := load()
	var want []string
	for _, name := range []string{"config.json", "secrets/pass", "ca.pem", "inline.pem"} {
		want = append(want, filepath.Join(folder, name))
	}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(first.Files)); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	if got := first.Config.Templates.Dir; got != filepath.Join(folder, "templates") {
		t.Errorf("templates.dir is %s", got)
	}
	if got := first.Config.Deliveries.Database.Reveal(); got != filepath.Join(folder, "deliveries.db") {
		t.Errorf("deliveries.database is %s", got)
	}

	same := func(want ...bool) {
		t.Helper()
		for i, provider := range load().Config.Providers {
			if SameProvider(first.Config.Providers[i], provider) != want[i] {
				t.Errorf("provider %d: same is %v", i, !want[i])
			}
		}
	}
	same(true, true)
	write("ca.pem", certificate+certificate)
	same(false, true)
	write("ca.pem", certificate)
	same(true, true)
	write("secrets/pass", "never-print-that")
	same(false, false)

	// A file that cannot be used is one to wait for.
	for _, test := range [][2]string{{"ca.pem", "nothing in PEM"}, {"secrets/pass", "no such file"}, {"config.json", "no such file"}} {
		name, says := test[0], test[1]
		if err := os.Remove(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
		if name == "ca.pem" {
			write(name, "never-print-this")
		}
		loaded, err := Load(filepath.Join(folder, "config.json"), variables("HOST", "smtp.example.com"))
		if err == nil || !slices.Contains(loaded.Files, filepath.Join(folder, name)) || loaded.Config != nil {
			t.Errorf("%s: %v, files %q", name, err, loaded.Files)
		}
		if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "never-print") {
			t.Errorf("%s: want …%s…, got %v", name, says, err)
		}
	}
}

// The files that a URL of PostgreSQL names begin at the configuration's folder, too.
func TestCertificatesOfADatabase(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	folder := t.TempDir()
	bundle := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	const database = "postgres://relay:a%3Fb@db1:5432,db2/relay"
	for written, want := range map[string]string{
		"?sslrootcert=ca.pem&sslmode=verify-full":              "?sslrootcert=" + url.PathEscape(bundle) + "&sslmode=verify-full",
		"?options=-c%20search_path%3Drelay&sslrootcert=ca.pem": "?options=-c%20search_path%3Drelay&sslrootcert=" + url.PathEscape(bundle),
		"?sslmode=require&sslrootcert=" + bundle:               "?sslmode=require&sslrootcert=" + bundle,
		"?sslmode=verify-full&sslrootcert=system":              "?sslmode=verify-full&sslrootcert=system",
		"?target_session_attrs=any&application_name=a%20":      "?target_session_attrs=any&application_name=a%20",
		"": "",
	} {
		name := filepath.Join(folder, "config.json")
		if err := os.WriteFile(name, []byte(file("deliveries", fmt.Sprintf(`{"database": %q}`, database+written))), 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(name, variables())
		if err != nil {
			t.Fatal(err)
		}
		if got := loaded.Config.Deliveries.Database.Reveal(); got != database+want {
			t.Errorf("%s becomes %s", written, got)
		}
	}
}

// What a reference brings may be no name of a file, but a secret in the wrong place.
func TestSecretsAreNoNamesOfFiles(t *testing.T) {
	text := file("providers", `[{"type": "smtp", "host": "a.example", "tls": {"ca": "${SECRET}"}}]`)
	for _, secret := range []string{"never-print-this", "never\nprint\nthis", strings.Repeat("never-print-this", 50)} {
		loaded, err := Parse("config.json", []byte(text), variables("SECRET", secret))
		if err == nil || !strings.Contains(err.Error(), "the value of ${SECRET} is neither") {
			t.Errorf("got %v", err)
		}
		if told := fmt.Sprint(err, loaded.Files); strings.Contains(told, "never") {
			t.Errorf("a secret is told: %s", told)
		}
	}
}

// Opening a pipe that nobody writes into would wait for ever.
func TestPipesAreNotRead(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := exec.Command("mkfifo", pipe).Run(); err != nil {
		if os.Getenv("RELAY_TEST_REQUIRE") == "1" {
			t.Fatalf("no pipes here: %v, and RELAY_TEST_REQUIRE=1", err)
		}
		t.Skip("no pipes here:", err)
	}
	if _, err := Load(pipe, variables()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
	// Nobody can read this one to its end.
	if _, err := Load("/proc/kmsg", variables()); err == nil {
		t.Error("/proc/kmsg is read")
	}
	for _, provider := range []string{`"pass": "${file:` + pipe + `}"`, `"pass": "x"}, "tls": {"ca": "` + pipe + `"`} {
		text := file("providers", `[{"type": "smtp", "host": "a.example", "auth": {"user": "relay", `+provider+`}}]`)
		if _, err := Parse("config.json", []byte(text), variables()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: got %v", provider, err)
		}
	}
}

// A file's name may hold what a terminal would obey.
func TestNamesOfFilesArePrintable(t *testing.T) {
	name := "\x1b]0;x\a\u202e.json"
	_, missing := Load(filepath.Join(t.TempDir(), name), variables())
	_, wrong := Parse(name, []byte(file("http\x1b[2J", `1`, "providers", `[{"type": "http", "url": "https://a.example", "headers": {"a\u001b[2J": "x\n"}}]`)), variables())
	for _, err := range []error{missing, wrong} {
		if err == nil || strings.ContainsAny(strings.ReplaceAll(err.Error(), "\n", ""), "\x1b\a\u202e") {
			t.Errorf("got %q", err)
		}
	}
	if !errors.Is(missing, fs.ErrNotExist) {
		t.Errorf("got %v", missing)
	}
}
