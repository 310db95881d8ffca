package config

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"logto-email-relay/providers"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, file string) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

// file returns a configuration that is right, but for the sections given as
// pairs of name and JSON text; an empty text leaves a section out.
func file(sections ...string) string {
	texts := map[string]string{
		"server":    `{"authorization": ["Bearer 0123456789abcdef"]}`,
		"sender":    `{"from": "Acme <no-reply@acme.example>"}`,
		"providers": `[{"type": "smtp", "host": "smtp.example.com"}]`,
	}
	order := []string{"server", "sender", "providers"}
	for i := 0; i < len(sections); i += 2 {
		if _, known := texts[sections[i]]; !known {
			order = append(order, sections[i])
		}
		texts[sections[i]] = sections[i+1]
	}
	var parts []string
	for _, name := range order {
		if texts[name] != "" {
			parts = append(parts, `"`+name+`": `+texts[name])
		}
	}
	return "{\n  " + strings.Join(parts, ",\n  ") + "\n}\n"
}

func TestTheSchemaAcceptsWhatTheLoaderAccepts(t *testing.T) {
	example, err := os.ReadFile("../config.example.json")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	authority := strconv.Quote(string(pem.EncodeToMemory(
		&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	schema := compiledSchema(t)
	lookup := variables("RELAY_TOKEN", "0123456789abcdef", "AWS_ACCESS_KEY_ID", "id", "AWS_SECRET_ACCESS_KEY", "secret",
		"SMTP_PASSWORD", "secret", "PORT", "465", "LEVEL", "debug", "TIMEOUT", "5s", "SECURE", "true")
	for name, text := range map[string]string{
		"example":    string(example),
		"least":      file(),
		"schema key": file("$schema", `"https://example.com/schema.json"`),
		"references": file("providers", `[{"type": "smtp", "host": "${RELAY_TOKEN}", "port": "${PORT}", "secure": "${SECURE}",
			"timeout": "${TIMEOUT}", "connectionTimeout": "${TIMEOUT}"}]`, "log", `{"level": "${LEVEL}"}`),
		"no effect": file("providers", `[{"type": "smtp", "host": "localhost", "logger": {"a": [1]}, "debug": true}]`),
		"off": file("limits", `{"recipient": "", "ip": "", "domain": "", "total": "", "redis": ""}`, "deliveries", `{"database": "", "retention": "1h30m", "addresses": "plain"}`,
			"providers", `[{"type": "smtp", "host": "localhost", "templates": []}]`),
		"headers": file("providers", `[{"type": "smtp", "host": "localhost", "tls": {"ca": [`+authority+`, `+authority+`]},
			"customHeaders": {"X-One": "1", "X-Two": ["2", "3"]}}]`),
		"more headers": file("providers", `[{"type": "smtp", "host": "localhost", "tls": {"ca": `+authority+`}, "connectionTimeout": 5000,
			"customHeaders": [{"key": "X-One", "value": "1"}]}]`),
		"what nodemailer takes":      file("providers", `[{"type": "smtp", "host": "mail_server", "port": "587"}]`),
		"a database that is no file": file("deliveries", `{"database": "postgres://relay:${RELAY_TOKEN}@db/relay", "addresses": "hashed", "addressKey": "${RELAY_TOKEN} and more"}`),
		"empty optional texts":       file("branding", `{"appLogo": "", "color": ""}`, "admin", `{"address": ""}`),
		"group":                      file("routes", `[{"providers": [[{"name": "smtp", "weight": 3}]]}]`),
		"groups": file("providers", `[{"type": "smtp", "host": "localhost"}, {"type": "smtp", "host": "localhost", "name": "b"}]`,
			"routes", `[{"providers": [["smtp"], "b"]}]`),
		"route": file("routes", `[{"locales": ["pt"], "providers": ["smtp"], "sender": {"from": "a@b.example"},
			"branding": {"color": "#123456"}, "limits": {"recipient": "", "total": "1000/1h30m"}}]`),
		"tenants": file("server", `{"authorization": ["Bearer fedcba9876543210", {"tenant": "eu", "value": "Bearer ${RELAY_TOKEN}"}]}`,
			"routes", `[{"tenants": ["eu"]}]`),
		"recipients": file("recipients", `{"allow": ["acme.example", "*.acme.example", "ada@example.org"], "deny": [], "redirectTo": "Staging <a@acme.example>",
			"checkDomain": true}`, "routes", `[{"recipients": {"allow": [], "redirectTo": "", "checkDomain": false}}]`),
		"limits": file("limits", `{"ip": "60/10m", "foldPlusTags": true, "redis": "redis://:${RELAY_TOKEN}@localhost"}`),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse("config.json", []byte(text), lookup); err != nil {
				t.Errorf("the loader: %v", err)
			}
			if err := validate(t, schema, text); err != nil {
				t.Errorf("the schema: %v", err)
			}
		})
	}
}

func TestTheSchemaRefusesWhatTheLoaderRefuses(t *testing.T) {
	smtp := func(more string) string {
		return file("providers", `[{"type": "smtp", "host": "smtp.example.com", `+more+`}]`)
	}
	schema := compiledSchema(t)
	for _, test := range []struct{ text, key, says string }{
		{file("webhook", `{}`), "webhook", "unknown key"},
		{file("server", `{"authorization": ["Bearer 0123456789abcdef"], "adress": ":8080"}`), "server.adress", `did you mean "address"?`},
		{file("server", `{"authorization": "Bearer 0123456789abcdef"}`), "server.authorization", "write a list of texts"},
		{file("server", `{"authorization": ["Bearer 0123456789abcdef"], "timeout": 8}`), "server.timeout", `such as "8s", not 8`},
		{file("server", `{"authorization": ["Bearer 0123456789abcdef"], "timeout": "8 seconds"}`), "server.timeout", `such as "8s"`},
		{file("server", `{}`), "server.authorization", "add the value that Logto sends"},
		{file("server", ``), "server.authorization", "add the value that Logto sends"},
		{file("server", `[]`), "server", "write an object in braces, not a list"},
		{file("server", `null`), "server", "write an object in braces, or remove the key"},
		{file("admin", `{"port": 9090}`), "admin.port", "unknown key"},
		{file("admin", `{"token": 12345678}`), "admin.token", "write a text in quotes, not a number"},
		{file("sender", `{"form": "a@b.example", "from": "a@b.example"}`), "sender.form", `did you mean "from"?`},
		{file("sender", `{"from": ["a@b.example"]}`), "sender.from", "such as"},
		{file("branding", `{"color": "blue"}`), "branding.color", "#5d34f2"},
		{file("branding", `{"appLogo": "http://acme.example/logo.png"}`), "branding.appLogo", "https://"},
		{file("branding", `{"logo": "https://acme.example/logo.png"}`), "branding.logo", "unknown key"},
		{file("templates", `{"links": {"scheme": ["https"]}}`), "templates.links.scheme", `did you mean "schemes"?`},
		{file("templates", `{"links": {"schemes": []}}`), "templates.links.schemes", "at least 1"},
		{file("templates", `{"variables": ["a-b"]}`), "templates.variables[0]", "underscore"},
		{file("providers", ``), "providers", "at least one provider"},
		{file("providers", `{}`), "providers", "write a list in brackets, not an object"},
		{file("providers", `["smtp"]`), "providers[0]", "write an object in braces, not a text"},
		{file("providers", `[{"host": "smtp.example.com"}]`), "providers[0]", `add "type" with one of smtp`},
		{file("providers", `[{"type": "smpt", "host": "smtp.example.com"}]`), "providers[0].type", `did you mean "smtp"?`},
		{file("providers", `[{"type": "smtp"}]`), "providers[0].host", "this is needed; write a text"},
		{smtp(`"prot": 587`), "providers[0].prot", `did you mean "port"?`},
		{smtp(`"port": "587a"`), "providers[0].port", "write a whole number, without quotes"},
		{smtp(`"port": "five"`), "providers[0].port", "write a whole number, without quotes"},
		{smtp(`"port": 70000`), "providers[0].port", "at most 65535"},
		{smtp(`"port": 587.5`), "providers[0].port", "write a whole number, not 587.5"},
		{smtp(`"secure": "yes"`), "providers[0].secure", "write true or false"},
		{smtp(`"tls": {"certificate": "a"}`), "providers[0].tls.certificate", "unknown key"},
		{smtp(`"tls": {"ca": 1}`), "providers[0].tls.ca", "write a text or a list of texts"},
		{smtp(`"customHeaders": "X-One: 1"`), "providers[0].customHeaders", "write headers as an object"},
		{smtp(`"connectionTimeout": true`), "providers[0].connectionTimeout", "write a number of milliseconds"},
		{smtp(`"connectionTimeout": -1`), "providers[0].connectionTimeout", "write a number of milliseconds"},
		{smtp(`"name": "a b"`), "providers[0].name", "letters, digits"},
		{smtp(`"from": "a@b.example"`), "providers[0].from", `did you mean "fromEmail"?`},
		{smtp(`"pass": "x"`), "providers[0].pass", `it belongs into auth: "auth": {"pass": …}`},
		{smtp(`"rejectUnauthorized": false`), "providers[0].rejectUnauthorized", `"tls": {"rejectUnauthorized": …}`},
		{smtp(`"apiKey": "from another type"`), "providers[0].apiKey", "unknown key"},
		{smtp(`"templates": [{"usageType": "SignIn", "subject": "s", "content": "c", "type": "text/html"}]`),
			"providers[0].templates[0].type", "unknown key"},
		{file("routes", `[{"types": ["Signin"]}]`), "routes[0].types[0]", `did you mean "SignIn"?`},
		{smtp(`"auth": {"user": "u", "pass": "p", "method": "NTLM"}`), "providers[0].auth.method", "PLAIN"},
		{file("routes", `[{"providers": [{"name": "smtp", "weight": 3}]}]`), "routes[0].providers[0]", "in a group only"},
		{file("routes", `[{"providers": [[{"name": "smtp", "weight": 0}]]}]`), "routes[0].providers[0]", "from 1 to 10000"},
		{file("routes", `{}`), "routes", "write a list in brackets"},
		{file("routes", `[{"domain": ["qq.com"]}]`), "routes[0].domain", `did you mean "domains"?`},
		{file("routes", `[{"domains": "qq.com"}]`), "routes[0].domains", "write a list of texts"},
		{file("routes", `[{"domains": ["https://qq.com"]}]`), "routes[0].domains[0]", "write a domain"},
		{file("routes", `[{"sender": {"mail": "a@b.example"}}]`), "routes[0].sender.mail", "unknown key"},
		{file("limits", `{"recipient": "10"}`), "limits.recipient", "a number and a time"},
		{file("limits", `{"recipient": 10}`), "limits.recipient", "a number and a time"},
		{file("server", `{"authorization": [{"tenant": "eu", "valu": "Bearer 0123456789abcdef"}]}`), "server.authorization[0]", "write a text, or an object"},
		{file("server", `{"authorization": [{"tenant": "1", "value": "Bearer 0123456789abcdef"}]}`), "server.authorization[0]", "begins with a letter"},
		{file("recipients", `{"allow": ["*@acme.example"]}`), "recipients.allow[0]", "an address or a domain"},
		{file("recipients", `{"checkDomain": "yes"}`), "recipients.checkDomain", "true or false"},
		{file("routes", `[{"limits": {"redis": ""}}]`), "routes[0].limits.redis", "unknown key"},
		{file("limits", `{"recipients": ""}`), "limits.recipients", `did you mean "recipient"?`},
		{file("deliveries", `{"database": ["deliveries.db"]}`), "deliveries.database", "write a text"},
		{file("deliveries", `{"addresses": "hash"}`), "deliveries.addresses", "plain, hashed"},
		{file("deliveries", `{"retention": 30}`), "deliveries.retention", `such as "8s", not 30`},
		{file("log", `{"level": "verbose"}`), "log.level", "debug, info, warn, error"},
		{file("log", `{"format": true}`), "log.format", "write a text in quotes, not true"},
		{`[]`, "", "a configuration is an object"},
	} {
		t.Run(test.key, func(t *testing.T) {
			expectProblem(t, test.text, test.key, test.says)
			if validate(t, schema, test.text) == nil {
				t.Errorf("the schema accepts\n%s", test.text)
			}
		})
	}
}

// expectProblem wants one problem and no other.
func expectProblem(t *testing.T, text, key, says string) {
	t.Helper()
	_, err := Parse("config.json", []byte(text), variables("key", "x", "NAME", "{{application.name}}"))
	mistakes, ok := err.(*Error)
	if !ok {
		t.Fatalf("got %v for\n%s", err, text)
	}
	if len(mistakes.Problems) != 1 || mistakes.Problems[0].Key != key || !strings.Contains(mistakes.Problems[0].Text, says) {
		t.Errorf("want %s: …%s…\ngot  %v", key, says, err)
	}
}

// Editors offer the types of providers and of messages, and say what a key is for.
func TestTheSchemaHelpsEditors(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	type schema struct {
		Description, Const string
		Enum               []any
		Items, If, Then    *schema
		Properties         map[string]*schema
		AllOf, AnyOf       []*schema
	}
	var root schema
	// A schema that takes anything may be written as true.
	if err := json.Unmarshal(bytes.ReplaceAll(text, []byte(`"items": true`), []byte(`"items": {}`)), &root); err != nil {
		t.Fatal(err)
	}
	entry := root.Properties["providers"].Items
	if types := entry.Properties["type"].Enum; len(types) != len(providers.Types()) || len(entry.AllOf) != len(types) {
		t.Errorf("types %v, and keys of %d", types, len(entry.AllOf))
	}
	smtp := entry.AllOf[0].Then.Properties
	for name, enum := range map[string][]any{
		"usageType":   smtp["templates"].Items.Properties["usageType"].AnyOf[0].Enum,
		"types":       root.Properties["routes"].Items.Properties["types"].Items.AnyOf[0].Enum,
		"auth.method": smtp["auth"].Properties["method"].AnyOf[0].Enum,
	} {
		if !slices.Contains(enum, any(map[string]string{"auth.method": "SCRAM-SHA-256"}[name])) && !slices.Contains(enum, any("MfaVerification")) {
			t.Errorf("%s: %v", name, enum)
		}
	}
	var visit func(*schema, string)
	visit = func(s *schema, path string) {
		for key, property := range s.Properties {
			if property.Description == "" {
				t.Errorf("%s.%s has no description", path, key)
			}
			visit(property, path+"."+key)
		}
		if s.Items != nil {
			visit(s.Items, path+"[]")
		}
		for _, one := range s.AnyOf {
			visit(one, path)
		}
		for _, rule := range s.AllOf {
			visit(rule.Then, path+" "+rule.If.Properties["type"].Const)
		}
	}
	visit(&root, "")
}
