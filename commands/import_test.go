package commands

import (
	"encoding/json"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// imported is what an import leaves behind.
type imported struct {
	code             int
	snippet, told    string
	files            map[string]string // by path below the templates' directory
	directory, input string
}

func runImport(t *testing.T, text string, args ...string) imported {
	t.Helper()
	dir := t.TempDir()
	i := imported{directory: filepath.Join(dir, "templates"), input: filepath.Join(dir, "input.json")}
	if err := os.WriteFile(i.input, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	i.again(t, args...)
	return i
}

func (i *imported) again(t *testing.T, args ...string) {
	t.Helper()
	var out, errOut strings.Builder
	i.code = Run(t.Context(), append([]string{"import", i.input, "--dir", i.directory}, args...), nil, &out, &errOut, nil)
	i.snippet = strings.ReplaceAll(out.String(), i.directory, "DIR")
	i.told = strings.ReplaceAll(errOut.String(), i.directory, "DIR")
	i.files = make(map[string]string)
	names, err := filepath.Glob(filepath.Join(i.directory, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		below, err := filepath.Rel(i.directory, name)
		if err != nil {
			t.Fatal(err)
		}
		i.files[filepath.ToSlash(below)] = string(content)
	}
}

func (i *imported) expect(t *testing.T, code int, snippet string, files map[string]string, told ...string) {
	t.Helper()
	if i.code != code {
		t.Errorf("exit code %d, want %d:\n%s", i.code, code, i.told)
	}
	if snippet != "" {
		var got, want any
		if err := json.Unmarshal([]byte(i.snippet), &got); err != nil {
			t.Fatalf("%v in %q, beside\n%s", err, i.snippet, i.told)
		}
		if err := json.Unmarshal([]byte(snippet), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the snippet is\n%s\nwant\n%s", i.snippet, snippet)
		}
	} else if i.snippet != "" {
		t.Errorf("a snippet was printed:\n%s", i.snippet)
	}
	if !maps.Equal(i.files, files) {
		t.Errorf("the files are %q\nwant %q", i.files, files)
	}
	for _, want := range told {
		if !strings.Contains(i.told, want) {
			t.Errorf("it does not say %q:\n%s", want, i.told)
		}
	}
	if strings.Contains(i.snippet+i.told, "never-print-this") {
		t.Errorf("a secret is printed:\n%s\n%s", i.snippet, i.told)
	}
}

func TestImportOfAConnector(t *testing.T) {
	i := runImport(t, `{
		"host": "smtp.example.com", "port": 587, "auth": {"type": "login", "user": "relay", "pass": "never-print-this"},
		"fromEmail": "Acme <no-reply@acme.example>", "logger": true, "tls": {"honorCipherOrder": true}, "novelty": 1,
		"templates": [
			{"usageType": "SignIn", "contentType": "text/html", "subject": "Tom & Jerry's {{code}}", "content": "<p>It is <b>{{code}}</b>, {{brand.name}}</p>"},
			{"usageType": "Register", "contentType": "text/plain", "subject": "Welcome", "content": "It is {{code}}."},
			{"usageType": "Generic", "contentType": "text/html", "subject": "Code", "content": "<html><head><title>Old</title></head><body>{{code}}</body></html>"},
			{"usageType": "ForgotPassword", "contentType": "text/html", "subject": "Broken", "content": "<script>{{code}}</script>"}
		]}`)
	i.expect(t, exitFailed, `{
		"providers": [{"type": "smtp", "name": "smtp", "host": "smtp.example.com", "port": 587, "fromEmail": "Acme <no-reply@acme.example>",
			"auth": {"type": "login", "user": "relay", "pass": "${SMTP_PASS}"}, "tls": {}, "logger": true}],
		"templates": {"dir": "DIR", "variables": ["brand"]}}`, map[string]string{
		"en/SignIn.html":  "<title>Tom &amp; Jerry&#39;s {{code}}</title>\n<p>It is <b>{{code}}</b>, {{brand.name}}</p>\n",
		"en/Register.txt": "Subject: Welcome\n\nIt is {{code}}.\n",
		"en/Generic.html": "<html><head><title>Code</title></head><body>{{code}}</body></html>\n",
	},
		"wrote DIR/en/SignIn.html\n", "en SignIn uses {{brand.name}}", "not carried over: en ForgotPassword: en/ForgotPassword.html:2:9: ",
		"written as en (--locale)", "smtp: novelty is no key", "smtp: tls.honorCipherOrder is no key", "logger has no effect",
		"set SMTP_PASS in the environment", "3 of the templates, providers and keys could not be carried over")
}

func TestImportOfEmailTemplates(t *testing.T) {
	i := runImport(t, `[
		{"id": "1", "tenantId": "default", "languageTag": "en", "templateType": "SignIn", "details": {"subject": "Code", "content": "<html><body>{{code}}</body></html>",
			"contentType": "text/html", "replyTo": "{{user.primaryEmail}}", "sendFrom": "Acme"}, "createdAt": 1},
		{"languageTag": "pt-BR", "templateType": "Generic", "details": {"subject": "Código", "content": "É {{code}}", "contentType": "text/plain"}},
		{"languageTag": "english please", "templateType": "Generic", "details": {"subject": "s", "content": "c"}},
		{"languageTag": "..", "templateType": "Generic", "details": {"subject": "s", "content": "c"}},
		{"languageTag": "en", "templateType": "../SignIn", "details": {"subject": "s", "content": "c"}}
	]`)
	files := map[string]string{
		"en/SignIn.html":    "<html>\n<head><title>Code</title></head><body>{{code}}</body></html>\n",
		"pt-BR/Generic.txt": "Subject: Código\n\nÉ {{code}}\n",
	}
	snippet := `{"templates": {"dir": "DIR"}}`
	i.expect(t, exitFailed, snippet, files, `en SignIn: replyTo "{{user.primaryEmail}}" has no place`, `en SignIn: sendFrom "Acme"`,
		"not carried over: english please Generic", "not carried over: .. Generic", "not carried over: en ../SignIn", "3 of the templates")

	// The same again writes nothing, and what has been edited stays.
	i.again(t)
	i.expect(t, exitFailed, snippet, files)
	if strings.Contains(i.told, "wrote") {
		t.Errorf("files that were the same were written again:\n%s", i.told)
	}
	// What was there before is looked at, too.
	files["de/SignIn.html"] = "<title>Code</title>{{code}} {{user.name}}"
	before := filepath.Join(i.directory, "de", "SignIn.html")
	if err := os.MkdirAll(filepath.Dir(before), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(before, []byte(files["de/SignIn.html"]), 0o600); err != nil {
		t.Fatal(err)
	}
	i.again(t)
	i.expect(t, exitFailed, snippet, files, "note: DIR/de/SignIn.html:1:29: SignIn mails often come without user")
	edited := filepath.Join(i.directory, "en", "SignIn.html")
	files["en/SignIn.html"] = "<title>Mine</title>{{code}}"
	if err := os.WriteFile(edited, []byte(files["en/SignIn.html"]), 0o600); err != nil {
		t.Fatal(err)
	}
	i.again(t)
	i.expect(t, exitFailed, "", files, "nothing was written", "DIR/en/SignIn.html")
}

func TestImportOfSomethingElse(t *testing.T) {
	for _, text := range []string{"", "{}", "[1]", `[{"languageTag": "en"}]`, `{"connectorId": "github-universal", "config": {}}`, "no JSON", `"text"`} {
		i := runImport(t, text)
		i.expect(t, exitConfiguration, "", map[string]string{}, "usage")
	}
	var out, errOut strings.Builder
	if code := Run(t.Context(), []string{"import", filepath.Join(t.TempDir(), "missing.json")}, nil, &out, &errOut, nil); code != exitConfiguration {
		t.Errorf("exit code %d for a missing file: %s", code, errOut.String())
	}
}

// Nothing is read or written outside of the directory, whatever links are in it.
func TestImportFollowsNoLinks(t *testing.T) {
	const connector = `[{"languageTag": "en", "templateType": "SignIn", "details": {"subject": "s", "content": "{{code}}"}}]`
	for name, link := range map[string]func(directory, outside string) error{
		"the language": func(directory, outside string) error { return os.Symlink(outside, filepath.Join(directory, "en")) },
		"another language": func(directory, _ string) error {
			return errors.Join(os.Mkdir(filepath.Join(directory, "de"), 0o700), os.Symlink("de", filepath.Join(directory, "en")))
		},
		"the file": func(directory, outside string) error {
			return errors.Join(os.Mkdir(filepath.Join(directory, "en"), 0o700),
				os.Symlink(filepath.Join(outside, "x.html"), filepath.Join(directory, "en", "SignIn.html")))
		},
		"a folder": func(directory, _ string) error {
			return os.MkdirAll(filepath.Join(directory, "en", "SignIn.html"), 0o700)
		},
		"a socket": func(directory, outside string) error {
			socket := filepath.Join(outside, "s")
			listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socket})
			if err != nil {
				return err
			}
			defer listener.Close()
			listener.SetUnlinkOnClose(false)
			return errors.Join(os.Mkdir(filepath.Join(directory, "en"), 0o700),
				os.Rename(socket, filepath.Join(directory, "en", "SignIn.html")))
		},
	} {
		i := imported{directory: t.TempDir(), input: filepath.Join(t.TempDir(), "input.json")}
		outside := t.TempDir()
		if err := errors.Join(os.WriteFile(i.input, []byte(connector), 0o600), link(i.directory, outside)); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		code := Run(t.Context(), []string{"import", i.input, "--dir", i.directory}, nil, &out, &out, nil)
		if code != exitFailed || !strings.Contains(out.String(), "is a link or another special file") {
			t.Errorf("%s: exit code %d\n%s", name, code, out.String())
		}
		for _, directory := range []string{outside, filepath.Join(i.directory, "de")} {
			if entries, _ := os.ReadDir(directory); len(entries) > 0 {
				t.Errorf("%s: %v was written", name, entries)
			}
		}
	}
}

// What cannot be a file to import is not read for ever, and its name is printable.
func TestImportReadsFilesOnly(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large\x1b[2J.json")
	if err := errors.Join(os.WriteFile(large, nil, 0o600), os.Truncate(large, 17<<20)); err != nil {
		t.Fatal(err)
	}
	for file, says := range map[string]string{"/dev/zero": "not a regular file", large: "larger than 16384 KiB", large + "x": "no such file"} {
		var out strings.Builder
		if code := Run(t.Context(), []string{"import", file}, nil, &out, &out, nil); code != exitConfiguration ||
			!strings.Contains(out.String(), says) || strings.Contains(out.String(), "\x1b") {
			t.Errorf("exit code %d: %q", code, out.String())
		}
	}
}
