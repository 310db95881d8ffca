package importer_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"logto-email-relay/importer"
	"logto-email-relay/templates"
)

// expect imports a file into English, unless a locale is given before it.
func expect(t *testing.T, text, locale string, lost int, snippet string, files map[string]string, told ...string) {
	t.Helper()
	r, err := importer.Import([]byte(text), "DIR", locale)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(r.Notes, "\n")
	if r.Lost != lost {
		t.Errorf("%d lost, want %d:\n%s", r.Lost, lost, notes)
	}
	var got, want any
	if err := json.Unmarshal(r.Snippet, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(snippet), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the snippet is\n%s\nwant\n%s", r.Snippet, snippet)
	}
	written := make(map[string]string)
	for _, file := range r.Files {
		written[file.Path] = file.Content
	}
	if !reflect.DeepEqual(written, files) {
		t.Errorf("the files are %q\nwant %q", written, files)
	}
	notes += "\nset " + strings.Join(r.Secrets, "\nset ") + "\nnamed " + strings.Join(r.Unset, "\nnamed ")
	for _, want := range told {
		if !strings.Contains(notes, want) {
			t.Errorf("it does not say %q:\n%s", want, notes)
		}
	}
	if strings.Contains(string(r.Snippet)+notes, "never-print-this") {
		t.Errorf("a secret is told:\n%s\n%s", r.Snippet, notes)
	}
}

func TestKeepsTemplatesThatTheServiceKeeps(t *testing.T) {
	expect(t, `{"connectorId": "mailgun-email", "id": "abc", "config": {"domain": "mail.acme.example", "apiKey": "never-print-this",
		"from": "Acme <no-reply@mail.acme.example>", "endpoint": null, "deliveries": {
			"SignIn": {"subject": "Code", "html": "<p>{{code}}</p>", "text": "It is {{code}}", "replyTo": "help@acme.example"},
			"BindMfa": {"template": "bind", "variables": {"brand": "Acme"}}}}}`, "de", 0, `{
		"providers": [{"type": "mailgun", "name": "mailgun", "domain": "mail.acme.example", "apiKey": "${MAILGUN_API_KEY}",
			"from": "Acme <no-reply@mail.acme.example>", "deliveries": {"BindMfa": {"template": "bind", "variables": {"brand": "Acme"}}}}],
		"templates": {"dir": "DIR"}}`,
		map[string]string{"de/SignIn.html": "<title>Code</title>\n<p>{{code}}</p>\n", "de/SignIn.txt": "It is {{code}}\n"},
		`SignIn: replyTo "help@acme.example" has no place`)

	// A Generic that stays goes before files, so that the others stay with it.
	expect(t, `{"connectorId": "mailgun-email", "config": {"domain": "mail.acme.example", "apiKey": "never-print-this", "from": "a@mail.acme.example",
		"deliveries": {"SignIn": {"subject": "Code", "html": "<p>{{code}}</p>"}, "Generic": {"template": "generic"}}}}`, "de", 0, `{
		"providers": [{"type": "mailgun", "name": "mailgun", "domain": "mail.acme.example", "apiKey": "${MAILGUN_API_KEY}", "from": "a@mail.acme.example",
			"deliveries": {"SignIn": {"subject": "Code", "html": "<p>{{code}}</p>"}, "Generic": {"template": "generic"}}}]}`,
		map[string]string{}, "Generic is kept at the service and goes before your files")
	expect(t, `{"apiKey": "never-print-this", "fromEmail": "a@acme.example", "templates": [
		{"usageType": "SignIn", "type": "text/html", "subject": "Code", "content": "<p>{{code}}</p>"}, {"usageType": "Generic", "template": "d-1"}]}`, "de", 0, `{
		"providers": [{"type": "sendgrid", "name": "sendgrid", "apiKey": "${SENDGRID_API_KEY}", "fromEmail": "a@acme.example", "templates": [
			{"usageType": "SignIn", "type": "text/html", "subject": "Code", "content": "<p>{{code}}</p>"}, {"usageType": "Generic", "template": "d-1"}]}]}`,
		map[string]string{}, "Generic is kept at the service and goes before your files")

	expect(t, `{"serverToken": "never-print-this", "fromEmail": "no-reply@acme.example",
		"templates": [{"usageType": "Generic", "templateAlias": "logto-generic"}]}`, "en", 0, `{"providers": [{"type": "postmark", "name": "postmark", "serverToken": "${POSTMARK_SERVER_TOKEN}",
		"fromEmail": "no-reply@acme.example", "templates": [{"usageType": "Generic", "templateAlias": "logto-generic"}]}]}`,
		map[string]string{}, "set POSTMARK_SERVER_TOKEN")
}

func TestKnowsEveryConnectorByItsKeys(t *testing.T) {
	for text, kind := range map[string]string{
		`{"apiKey": "k", "fromEmail": "a@acme.example", "fromName": "Acme"}`:                                "sendgrid",
		`{"apiKey": "k", "sender": "a@acme.example", "senderName": "Acme"}`:                                 "smtp2go",
		`{"apiKey": "mj_live_k", "fromEmail": "a@acme.example", "fromName": "Acme"}`:                        "mailjunky",
		`{"connectorId": "mailjunky-email-service", "config": {"apiKey": "k", "fromEmail": "a@b.example"}}`: "mailjunky",
		`{"connectorId": "smtp2go-email-service", "config": {"apiKey": "k"}}`:                               "smtp2go",
		`{"accessKeyId": "k", "accessKeySecret": "s", "region": "eu-west-1"}`:                               "ses",
		`{"accessKeyId": "k", "accessKeySecret": "s", "accountName": "a@acme.example"}`:                     "aliyun",
		`{"endpoint": "https://mail.acme.example/logto", "authorization": "Bearer t"}`:                      "http",
		`{"endpoint": "https://mail.acme.example/logto"}`:                                                   "http",
		`{"host": "smtp.example.com", "port": 465, "auth": {}, "fromEmail": "a@acme.example"}`:              "smtp",
		`{"domain": "mail.acme.example", "apiKey": "k", "from": "a@acme.example"}`:                          "mailgun",
		`{"serverToken": "k", "fromEmail": "a@acme.example", "templates": []}`:                              "postmark",
		`{"connectorId": "aws-ses-mail", "config": {"region": "eu-west-1", "emailAddress": "a@b.example"}}`: "ses",
	} {
		r, err := importer.Import([]byte(text), "DIR", "en")
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if r.Lost > 0 || !strings.Contains(string(r.Snippet), `"type": "`+kind+`"`) {
			t.Errorf("%s: want a provider %s\n%s%s", text, kind, r.Snippet, r.Notes)
		}
	}
}

// What is none of the files is refused, however near it comes.
func TestWhatIsNotImported(t *testing.T) {
	for _, text := range []string{
		"", "{}", "x", `"x"`, `{"endpoint": "https://a.example", "more": 1}`, `{"db": {"connector": "memory"}}`, `{"connectorId": "logto-email", "config": {}}`,
		`{"connectorId": "http-email", "config": null}`, `[{"languageTag": "en"}]`, `[{"templateType": "SignIn"}]`, `[1]`,
	} {
		if r, err := importer.Import([]byte(text), "DIR", "en"); err == nil {
			t.Errorf("%s became %s", text, r.Snippet)
		}
	}
	expect(t, "[]", "en", 0, "{}", map[string]string{})
}

// Logto keeps a connector's templates without a language.
func TestTemplatesOfAConnector(t *testing.T) {
	const connector = `{"host": "smtp.example.com", "port": 465, "fromEmail": "a@acme.example", "templates": [
		{"usageType": "SignIn", "subject": "Code", "content": "It is {{code}}", "contentType": "text/plain"},
		{"usageType": "Register", "subject": "Code", "content": "It is {{code}}", "type": "text/plain"},
		{"usageType": "Generic", "subject": "Code", "content": "<p>{{code}}</p>", "contentType": "text/html"}]}`
	const provider = `"providers": [{"type": "smtp", "name": "smtp", "host": "smtp.example.com", "port": 465, "fromEmail": "a@acme.example"}]`
	expect(t, connector, "de", 0, `{`+provider+`, "templates": {"dir": "DIR"}}`, map[string]string{
		"de/SignIn.txt": "Subject: Code\n\nIt is {{code}}\n", "de/Register.txt": "Subject: Code\n\nIt is {{code}}\n",
		"de/Generic.html": "<title>Code</title>\n<p>{{code}}</p>\n"}, "without a language; they are written as de")
}

// A type has one template in each language.
func TestTemplatesOfOneType(t *testing.T) {
	entry := func(locale, messageType, content string) string {
		return `{"languageTag": "` + locale + `", "templateType": "` + messageType + `", "details": {"subject": "s", "content": "` + content + ` {{code}}", "contentType": "text/plain"}}`
	}
	expect(t, "["+strings.Join([]string{entry("en", "SignIn", "a"), entry("de", "SignIn", "b"), entry("en", "Register", "c"), entry("en", "SignIn", "d")}, ",")+"]",
		"en", 1, `{"templates": {"dir": "DIR"}}`, map[string]string{"en/SignIn.txt": "Subject: s\n\na {{code}}\n",
			"de/SignIn.txt": "Subject: s\n\nb {{code}}\n", "en/Register.txt": "Subject: s\n\nc {{code}}\n"},
		"not carried over: en SignIn: an earlier template is of this type already")
}

// Nothing is noted where there is nothing to know.
func TestNothingIsNoted(t *testing.T) {
	for _, text := range []string{
		`[{"type": "Email", "connectorId": "http-email", "config": {"endpoint": "https://a.example"}}]`,
		`{"host": "smtp.example.com", "port": 465, "fromEmail": "a@acme.example"}`,
		`[{"languageTag": "en", "templateType": "SignIn", "details": {"subject": "s", "content": "{{code}}", "contentType": "text/html"}}]`,
	} {
		r, err := importer.Import([]byte(text), "DIR", "en")
		if err != nil || len(r.Notes) > 0 {
			t.Errorf("%s: %q, %v", text, r.Notes, err)
		}
	}
}

// Names that Logto does not send are declared, and what has no place in a template is
// told.
func TestVariablesAndAddressesOfTemplates(t *testing.T) {
	expect(t, `[{"languageTag": "en", "templateType": "SignIn", "details": {"subject": "{{team}}", "contentType": "text/html",
		"replyTo": "help@acme.example", "sendFrom": "no-reply@acme.example",
		"content": "{{#if code}}{{code}}{{else}}{{brand.name}}{{/if}}{{brand.url}}{{team}}"}}]`, "en", 0,
		`{"templates": {"dir": "DIR", "variables": ["team", "brand"]}}`,
		map[string]string{"en/SignIn.html": "<title>{{team}}</title>\n{{#if code}}{{code}}{{else}}{{brand.name}}{{/if}}{{brand.url}}{{team}}\n"},
		"en SignIn uses {{team}}", "en SignIn uses {{brand.name}}", `replyTo "help@acme.example" has no place in a template; use sender.replyTo`,
		`sendFrom "no-reply@acme.example" has no place in a template; use sender.from`)
	// What Logto sends may have a part that it does not, which prints as nothing there, too.
	expect(t, `[{"languageTag": "en", "templateType": "SignIn", "details": {"subject": "{{application.name}}", "contentType": "text/html",
		"content": "{{code}}{{application.nmae}}{{user.customData.tier}}"}}]`, "en", 0,
		`{"templates": {"dir": "DIR", "variables": ["application", "user"]}}`,
		map[string]string{"en/SignIn.html": "<title>{{application.name}}</title>\n{{code}}{{application.nmae}}{{user.customData.tier}}\n"},
		"en SignIn uses {{application.nmae}}", "application is declared in templates.variables", "en SignIn uses {{user.customData.tier}}")
}

// Of the answer of GET /api/connectors, those that send mail are taken.
func TestConnectors(t *testing.T) {
	expect(t, `[
		{"type": "Social", "connectorId": "github-universal", "id": "1", "config": {"clientSecret": "never-print-this"}},
		{"type": "Email", "connectorId": "simple-mail-transfer-protocol", "id": "2", "config": {"host": "mail_server", "port": "587",
			"auth": {"user": "relay", "pass": "never-print-this"}, "templates": []}},
		{"type": "Email", "connectorId": "logto-email", "id": "3", "config": {"senderName": "Acme\u001b[2J"}},
		{"type": "Email", "connectorId": "odd\u001b[2J", "id": "4", "config": {}}]`, "en", 2, `{"providers": [
		{"type": "smtp", "name": "smtp", "host": "mail_server", "port": "587", "auth": {"user": "relay", "pass": "${SMTP_PASS}"}}]}`,
		map[string]string{}, "logto-email: the relay has no type", "odd?[2J: the relay", "left alone: 1 of the connectors")
	if _, err := importer.Import([]byte(`[{"type": "Social", "connectorId": "github-universal", "config": {}}]`), "DIR", "en"); err == nil {
		t.Error("a list without email connectors was taken")
	}
}

func TestDataSources(t *testing.T) {
	expect(t, `{
		"db": {"connector": "memory"},
		"mail": {"name": "mail", "connector": "mail", "transports": [
			{"type": "smtp", "host": "smtp.gmail.com", "secure": true, "port": 465, "tls": {"rejectUnauthorized": false},
				"auth": {"user": "me@gmail.example", "pass": "never-print-this"}},
			{"type": "SMTP", "alias": "second one", "host": "smtp.example.com", "auth": {"user": "relay", "pass": "never-print-this"}},
			{"type": "sendmail"}, {"type": "smtp", "service": "hotmail"}]},
		"older": {"connector": "loopback-connector-mail", "transports": [{"host": "older.example.com"}],
			"transport": {"type": "smtp", "host": "old.example.com"}}}`, "en", 2, `{"providers": [
		{"type": "smtp", "name": "smtp", "host": "smtp.gmail.com", "secure": true, "port": 465, "tls": {"rejectUnauthorized": false},
			"auth": {"user": "me@gmail.example", "pass": "${SMTP_PASS}"}},
		{"type": "smtp", "name": "second-one", "host": "smtp.example.com", "auth": {"user": "relay", "pass": "${SECOND_ONE_PASS}"}},
		{"type": "smtp", "name": "smtp-2", "host": "older.example.com"},
		{"type": "smtp", "name": "smtp-3", "host": "old.example.com"}]}`,
		map[string]string{}, "mail.transports[2]: a transport of type sendmail", "mail.transports[3]: there is no host")
}

// Secrets stand in more places than passwords, and each has a variable of its own.
func TestSecretsOfDataSources(t *testing.T) {
	expect(t, `{"mail": {"connector": "mail", "transports": [
		{"alias": "mail-1", "host": "a.example.com", "auth": {"user": "relay", "pass": "never-print-this-1"}},
		{"alias": "mail_1", "host": "b.example.com", "auth": {"user": "relay", "pass": "never-print-this-2 ${x}"}, "proxy": "http://relay:never-print-this@proxy.example.com:3128",
			"customHeaders": {"X-Api-Key": "never-print-this", "X-Team": "mail"}},
		{"alias": "163", "host": "smtp.163.com", "auth": {"user": "relay", "pass": "never-print-this-3"}},
		{"alias": "c", "host": "c.example.com", "auth": {"user": "relay", "pass": "${ALREADY}"}, "proxy": "http://proxy.example.com:3128"},
		{"alias": "d", "host": "d.example.com", "auth": {"user": "never-print-this-4", "pass": "never-print-this-4"}},
		{"alias": "relay", "host": "relay", "auth": {"user": "relay", "pass": "relay"}},
		{"alias": "e", "host": "e.example.com", "auth": {"user": "relay", "pass": "${F_PASS}"}},
		{"alias": "f", "host": "f.example.com", "auth": {"user": "relay", "pass": "never-print-this-5"}}]}}`, "en", 0, `{"providers": [
		{"type": "smtp", "name": "mail-1", "host": "a.example.com", "auth": {"user": "relay", "pass": "${MAIL_1_PASS}"}},
		{"type": "smtp", "name": "mail_1", "host": "b.example.com", "auth": {"user": "relay", "pass": "${MAIL_1_PASS_2}"}, "proxy": "${MAIL_1_PROXY}",
			"customHeaders": {"X-Api-Key": "${MAIL_1_X_API_KEY}", "X-Team": "mail"}},
		{"type": "smtp", "name": "163", "host": "smtp.163.com", "auth": {"user": "relay", "pass": "${SMTP_163_PASS}"}},
		{"type": "smtp", "name": "c", "host": "c.example.com", "auth": {"user": "relay", "pass": "${ALREADY}"}, "proxy": "http://proxy.example.com:3128"},
		{"type": "smtp", "name": "d", "host": "d.example.com", "auth": {"user": "${D_PASS}", "pass": "${D_PASS}"}},
		{"type": "smtp", "name": "relay", "host": "relay", "auth": {"user": "${RELAY_PASS}", "pass": "${RELAY_PASS}"}},
		{"type": "smtp", "name": "e", "host": "e.example.com", "auth": {"user": "relay", "pass": "${F_PASS}"}},
		{"type": "smtp", "name": "f", "host": "f.example.com", "auth": {"user": "relay", "pass": "${F_PASS_2}"}}]}`,
		map[string]string{}, "named ALREADY")
}

// The subject goes where the relay looks for it.
func TestTitles(t *testing.T) {
	for content, want := range map[string]string{
		"<p>{{code}}</p>":                                         "<title>A &amp; B</title>\n<p>{{code}}</p>\n",
		"<HEAD lang=en></HEAD><p>{{code}}</p>":                    "<HEAD lang=en>\n<title>A &amp; B</title></HEAD><p>{{code}}</p>\n",
		"<html><head><title>Old</title></head>{{code}}":           "<html><head><title>A &amp; B</title></head>{{code}}\n",
		"<!-- <title>Old</title> --><html>{{code}}":               "<!-- <title>Old</title> --><html>\n<head><title>A &amp; B</title></head>{{code}}\n",
		"</title><head></head>{{code}}":                           "</title><head>\n<title>A &amp; B</title></head>{{code}}\n",
		"<head><title>Old</title><title>B</title></head>{{code}}": "<head><title>A &amp; B</title><title>B</title></head>{{code}}\n",
		"<head><title\n>Two\nlines</TITLE ></head>{{code}}":       "<head><title>A &amp; B</title></head>{{code}}\n",
	} {
		text, err := json.Marshal([]any{map[string]any{"languageTag": "en", "templateType": "SignIn", "details": map[string]any{
			"subject": "A & B", "content": content, "contentType": "text/html"}}})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, string(text), "en", 0, `{"templates": {"dir": "DIR"}}`, map[string]string{"en/SignIn.html": want})
	}
}

// What cannot be loaded is told, and left out.
func TestLost(t *testing.T) {
	for details, says := range map[string]string{
		`"subject": "s", "content": "<script>{{code}}</script>"`:           "en/SignIn.html:2:9: ",
		`"subject": " ", "content": "{{code}}"`:                            "lacks a subject",
		`"subject": "s", "content": ""`:                                    "lacks a subject or a content",
		`"subject": "{{#if code}}", "content": "{{/if}}"`:                  "not closed",
		`"subject": "s", "content": "{{code", "contentType": "text/plain"`: "en/SignIn.txt:3:1: ",
	} {
		expect(t, `[{"languageTag": "en", "templateType": "SignIn", "details": {`+details+`}}]`, "en", 1, `{}`, map[string]string{},
			"not carried over: en SignIn: ", says)
	}
}

func ExampleImport() {
	connector := `{"serverToken": "a-secret", "fromEmail": "no-reply@acme.example",
		"templates": [{"usageType": "Generic", "templateAlias": "logto-generic"}]}`
	r, err := importer.Import([]byte(connector), "templates", "en")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s%s\n", r.Snippet, r.Secrets)
	// Output:
	// {
	//   "providers": [
	//     {
	//       "type": "postmark",
	//       "name": "postmark",
	//       "fromEmail": "no-reply@acme.example",
	//       "serverToken": "${POSTMARK_SERVER_TOKEN}",
	//       "templates": [
	//         {
	//           "templateAlias": "logto-generic",
	//           "usageType": "Generic"
	//         }
	//       ]
	//     }
	//   ]
	// }
	// [POSTMARK_SERVER_TOKEN]
}

// Whatever is in a file, the import does not panic, stays in its directory, and
// makes nothing that does not load.
func FuzzImport(f *testing.F) {
	f.Add([]byte(`[{"languageTag": "en", "templateType": "SignIn", "details": {"subject": "s", "content": "{{code}}"}}]`))
	f.Add([]byte(`{"host": "h", "port": 1, "tls": {"a": {"b": null}}, "templates": [{"usageType": "SignIn", "content": "c", "subject": "s"}, 1]}`))
	f.Add([]byte(`{"mail": {"connector": "mail", "transports": [{"type": "smtp", "host": "h"}, null]}}`))
	f.Add([]byte(`{"domain": "d", "apiKey": "k", "deliveries": {"Generic": {"html": "<title>"}, "x": 1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := filepath.Join(t.TempDir(), "templates")
		r, err := importer.Import(text, dir, "en")
		if err != nil || len(r.Files) == 0 {
			return
		}
		for _, file := range r.Files {
			path := filepath.Join(dir, file.Path)
			if filepath.Dir(filepath.Dir(path)) != dir {
				t.Errorf("a file would be written to %s", path)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return // a name that this system does not have
			}
			if err := os.WriteFile(path, []byte(file.Content), 0o644); err != nil {
				return
			}
		}
		if _, err := templates.Open(r.Config.Templates); err != nil {
			t.Errorf("what was imported does not load: %v", err)
		}
	})
}
