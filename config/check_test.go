package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"logto-email-relay/providers"

	"logto-email-relay/settings"
)

func TestRulesBetweenSections(t *testing.T) {
	const two = `[{"type": "smtp", "host": "a.example", "name": "one"}, {"type": "smtp", "host": "b.example", "name": "two"}]`
	for _, test := range []struct{ name, text, key, says string }{
		{"same name", file("providers", `[{"type": "smtp", "host": "a.example"}, {"type": "smtp", "host": "b.example"}]`),
			"providers[1]", `providers[0] has the same name`},
		{"same name written", file("providers", `[{"type": "smtp", "host": "a.example", "name": "x"},
			{"type": "smtp", "host": "b.example", "name": "x"}]`), "providers[1].name", `providers[0] has the same name`},
		{"a proxy with no such port", file("providers", `[{"type": "smtp", "host": "a.example", "proxy": "socks5://b.example:70000"}]`),
			"providers[0].proxy", "host and port"},
		{"a service with no such port", file("providers", `[{"type": "resend", "apiKey": "re_1", "endpoint": "https://a.example:65536"}]`),
			"providers[0].endpoint", "https://"},
		{"a host that is a URL", file("providers", `[{"type": "smtp", "host": "smtp://a.example"}]`), "providers[0].host", "write a host name such as"},
		{"a certificate of a URL", file("providers", `[{"type": "smtp", "host": "a.example", "tls": {"servername": "https://b.example"}}]`),
			"providers[0].tls.servername", "write a host name such as"},
		{"a certificate of two words", file("providers", `[{"type": "smtp", "host": "a.example", "servername": "b example"}]`),
			"providers[0].servername", "write a host name such as"},
		{"no provider at all", file("providers", `[]`), "providers", "add at least one provider"},
		{"unknown provider in a route", file("providers", two, "routes", `[{"providers": ["two", "ome"]}]`),
			"routes[0].providers[1]", `did you mean "one"?`},
		{"unknown provider in a group", file("providers", two, "routes", `[{"providers": ["two", [{"name": "ome", "weight": 3}, "one"]]}]`),
			"routes[0].providers[1]", `no provider has the name "ome", did you mean "one"?`},
		{"a weight outside of a group", file("providers", two, "routes", `[{"providers": [{"name": "one", "weight": 3}, "two"]}]`),
			"routes[0].providers[0]", `in a group only, which is a list of its own: [[{`},
		{"a weight of nothing", file("providers", two, "routes", `[{"providers": [[{"name": "one", "weight": 0}, "two"]]}]`),
			"routes[0].providers[0]", "a whole number from 1 to 10000"},
		{"a weight as a text", file("providers", two, "routes", `[{"providers": [[{"name": "one", "weight": "3"}, "two"]]}]`),
			"routes[0].providers[0]", "a whole number from 1 to 10000"},
		{"a typo in a group", file("providers", two, "routes", `[{"providers": [[{"name": "one", "wieght": 3}, "two"]]}]`),
			"routes[0].providers[0]", `as {"name": "a", "weight": 3}`},
		{"twice in a group", file("providers", two, "routes", `[{"providers": [["one", "one"]]}]`), "routes[0].providers[0]", "give it a weight instead"},
		{"an empty group", file("providers", two, "routes", `[{"providers": [[]]}]`), "routes[0].providers[0]", "at least one provider"},
		{"a group in a group", file("providers", two, "routes", `[{"providers": [[["one"], "two"]]}]`), "routes[0].providers[0]", "write a provider's name, or a group"},
		{"no sender but a group's", file("sender", "", "providers", `[{"type": "smtp", "host": "a.example", "name": "one", "fromEmail": "a@b.example"},
			{"type": "smtp", "host": "a.example", "name": "two"}]`, "routes", `[{"providers": [["one", {"name": "two", "weight": 2}]]}]`),
			"providers[1]", "set sender.from"},
		{"unknown tenant in a route", file("server", `{"authorization": [{"tenant": "europe", "value": "Bearer 0123456789abcdef"}]}`,
			"routes", `[{"tenants": ["europ"]}]`), "routes[0].tenants[0]", `did you mean "europe"?`},
		{"a broken token keeps its tenant", file("server", `{"authorization": ["Bearer 0123456789abcdef", {"tenant": "eu", "valu": "Bearer of-eu-it-is"}]}`,
			"routes", `[{"tenants": ["eu"]}]`), "server.authorization[1]", `write a text, or an object`},
		{"two tenants with one token", file("server", `{"authorization": [{"tenant": "a", "value": "Bearer 0123456789abcdef"},
			{"tenant": "b", "value": "Bearer 0123456789abcdef"}]}`), "server.authorization[1]", "give each a value of its own"},
		{"two tenants with one token and a blank", file("server", `{"authorization": [{"tenant": "a", "value": "Bearer 0123456789abcdef"},
			{"tenant": "b", "value": "Bearer 0123456789abcdef "}]}`), "server.authorization[1]", "give each a value of its own"},
		{"a broken provider keeps its name", file("providers", `[{"type": "smpt", "name": "main"}]`, "routes", `[{"providers": ["main"]}]`),
			"providers[0].type", "did you mean"},
		{"no sender", file("sender", ""), "providers[0]", "set sender.from"},
		{"no sender but on some routes", file("sender", "", "routes", `[{"domains": ["a.example"], "sender": {"from": "a@b.example"}}]`),
			"providers[0]", "set sender.from"},
		{"one provider without sender", file("sender", "", "providers", `[
			{"type": "smtp", "host": "a.example", "name": "one"},
			{"type": "smtp", "host": "a.example", "name": "two", "fromEmail": "a@b.example"}]`), "providers[0]", "set sender.from"},
		{"short authorization", file("server", `{"authorization": ["secret"]}`), "server.authorization[0]", "shorter than 16"},
		{"a word", file("server", `{"authorization": ["token"]}`), "server.authorization[0]", "openssl rand -hex 32"},
		{"a letter", file("server", `{"authorization": ["Bearer 0123456789abcdef", "Bearer x"]}`), "server.authorization[1]", "shorter than 16"},
		{"one letter again and again", file("server", `{"authorization": ["Bearer xxxxxxxxxxxxxxxxxxxxxxxx"]}`), "server.authorization[0]", "can be guessed"},
		{"a word again and again", file("server", `{"authorization": ["Bearer tokentokentokentoken"]}`), "server.authorization[0]", "can be guessed"},
		{"to be changed", file("server", `{"authorization": ["Bearer Change-Me-to-something-long"]}`), "server.authorization[0]", "can be guessed"},
		{"common words", file("server", `{"authorization": ["Bearer my-secret-token-1"]}`), "server.authorization[0]", "can be guessed"},
		{"a line break within", file("server", `{"authorization": ["Bearer 0123456789\n0123456789"]}`), "server.authorization[0]", "a line break"},
		{"letters beyond ASCII", file("server", `{"authorization": ["Bearer 0123456789äöü0123456789"]}`), "server.authorization[0]", "cannot be sent"},
		{"a timeout beyond Logto's", file("server", `{"authorization": ["Bearer 0123456789abcdef"], "timeout": "10s"}`), "server.timeout", `"9s"`},
		{"a timeout too short", file("server", `{"authorization": ["Bearer 0123456789abcdef"], "timeout": "999ms"}`), "server.timeout", `"9s"`},
		{"four characters", file("server", `{"authorization": ["Bearer aabbccddabcdabdc"]}`), "server.authorization[0]", "can be guessed"},
		{"words and five letters", file("server", `{"authorization": ["Bearer secret-token-abcde"]}`), "server.authorization[0]", "can be guessed"},
		{"one port", file("server", `{"authorization": ["Bearer 0123456789abcdef"], "address": ":9090"}`), "admin.address", "the port of server.address"},
		{"one port everywhere", file("admin", `{"address": "127.0.0.1:8080"}`), "admin.address", "the port of server.address"},
		{"a route for all", file("routes", `[{"providers": ["smtp"]}, {"domains": ["qq.com"]}]`), "routes[0]", "put it last"},
		{"an unknown type", file("routes", `[{"types": ["SignIn", "Signin"]}]`), "routes[0].types[1]", `did you mean "SignIn"?`},
		{"a typo in a route", file("routes", `[{"domain": ["qq.com"]}, {}]`), "routes[0].domain", `did you mean "domains"?`},
		{"a variable without braces", file("server", `{"authorization": ["Bearer $RELAY_TOKEN"]}`), "server.authorization[0]", "write ${RELAY_TOKEN}, in braces"},
		{"a variable in a URL", file("limits", `{"redis": "redis://:$key@redis.acme.example:6379"}`), "limits.redis", "write ${key}, in braces"},
		{"a variable as a URL's user", file("limits", `{"redis": "redis://$key:s3cret@redis.acme.example:6379"}`), "limits.redis", "write ${key}, in braces"},
		{"a variable of Kubernetes", file("deliveries", `{"database": "postgres://relay:$(key)@db.acme.example/relay"}`), "deliveries.database", "write ${key}, in braces"},
		{"a variable that is set", file("providers", `[{"type": "sendgrid", "apiKey": "$key"}]`), "providers[0].apiKey", "write ${key}, in braces"},
		{"a variable in a body", file("providers", `[{"type": "http", "url": "https://a.example", "body": {"to": "{{to}}", "text": "{{text}}", "key": "$KEY"}}]`),
			"providers[0].body.key", "write ${KEY}, in braces"},
		{"a placeholder in a sender", file("sender", `{"from": "{{application.name}} <a@acme.example>"}`), "sender.from", "not replaced here"},
		{"a placeholder in a brand", file("branding", `{"senderName": "{{ organization.name }}"}`), "branding.senderName", "not replaced here"},
		{"a placeholder in a URL", file("providers", `[{"type": "http", "url": "https://a.example/{{id}}"}]`), "providers[0].url", "not replaced here"},
		{"a placeholder in a login", file("providers", `[{"type": "http", "url": "https://a.example", "authorization": "Bearer {{code}}"}]`),
			"providers[0].authorization", "not replaced here"},
		{"a placeholder in a name", file("providers", `[{"type": "sendgrid", "apiKey": "0123456789", "fromName": "${NAME}"}]`), "providers[0].fromName", "not replaced here"},
		{"a placeholder in a variable", file("providers", `[{"type": "mailgun", "domain": "a.example", "apiKey": "0123456789", "from": "a@a.example",
			"deliveries": {"SignIn": {"template": "t", "variables": {"brand": ["{{branding.senderName}}"]}}}}]`),
			"providers[0].deliveries.SignIn.variables.brand[0]", "not replaced here"},
		{"a placeholder in an answer", file("providers", `[{"type": "http", "url": "https://a.example", "refused": [{"path": "error", "values": ["*{{to}}*"], "kind": "recipient"}]}]`),
			"providers[0].refused[0].values[0]", "not replaced here"},
		{"a placeholder in a key", file("providers", `[{"type": "http", "url": "https://a.example", "body": {"to": "{{to}}", "text": "{{text}}", "names": {"{{to}}": "x"}}}]`),
			"providers[0].body.names", "names of keys"},
		{"a name in a header", file("providers", `[{"type": "http", "url": "https://a.example", "headers": {"X-Name": "{{user.name}}"}}]`),
			"providers[0].headers.X-Name", "no placeholder is replaced here but {{id}}, {{messageId}}, {{type}}, {{locale}}"},
		{"a code in a header of a mail", file("providers", `[{"type": "smtp", "host": "a.example", "customHeaders": {"X-Code": ["one", "{{code}}"]}}]`),
			"providers[0].customHeaders.X-Code[1]", "no placeholder is replaced here but {{id}}, {{messageId}}, {{type}}, {{locale}}"},
		{"a type in a sender", file("providers", `[{"type": "smtp", "host": "a.example", "envelope": {"from": "{{type}}+{{id}}@acme.example"}}]`),
			"providers[0].envelope.from", "no placeholder is replaced here but {{id}}"},
		{"curly quotes", file("providers", `[{"type": "sendgrid", "apiKey": "“0123456789abcdef”"}]`), "providers[0].apiKey", "curly quotes"},
		{"curly quotes, no secret", file("log", `{"level": "‘info’"}`), "log.level", "curly quotes"},
		{"a name with a comma", file("sender", `{"from": "Acme, Inc. <a@acme.example>"}`), "sender.from", "put the name in quotes"},
		{"a long sender", file("sender", `{"from": "`+strings.Repeat("Acme ", 300)+`<a@acme.example>"}`), "sender.from", "at most 128 characters"},
		{"a sender beyond ASCII", file("sender", `{"from": "grüße@acme.example"}`), "sender.from", "ASCII"},
		{"events without a record", file("events", `{"send": [{"url": "https://a.example", "secret": "never-print-this-24-bytes", "statuses": ["failed"]}]}`),
			"events.send", "set deliveries.database"},
		{"an endpoint without statuses", file("events", `{"send": [{"url": "https://a.example", "secret": "never-print-this-24-bytes", "statuses": []}]}`,
			"deliveries", `{"database": ":memory:"}`), "events.send[0].statuses", "at least 1 in this list"},
		{"no address of admin", file("admin", `{"address": "nonsense"}`), "admin.address", "write a host and a port"},
		{"open admin", file("admin", `{"address": ":9090"}`), "admin.token", "set a token"},
		{"a typo is told once", file("providers", `[{"type": "mailgun", "domian": "mg.acme.example", "apiKey": "0123456789"}]`),
			"providers[0].domian", `did you mean "domain"?`},
	} {
		t.Run(test.name, func(t *testing.T) { expectProblem(t, test.text, test.key, test.says) })
	}

	for name, text := range map[string]string{
		"a sender of its own": file("sender", "", "providers", `[{"type": "smtp", "host": "a.example", "fromEmail": "a@b.example"}]`),
		"a sender of every route": file("sender", "", "providers", two, "routes", `[
			{"domains": ["a.example"], "sender": {"from": "a@b.example"}}, {"sender": {"from": "c@d.example"}}]`),
		"a password that looks like a variable": file("limits", `{"redis": "redis://:$NOT_SET@redis.acme.example:6379"}`),
		"a password with the sign of one":       file("limits", `{"redis": "redis://:a$key@redis.acme.example:6379"}`),
		"two ports":                             file("server", `{"authorization": ["Bearer 0123456789abcdef"], "address": "127.0.0.1:0"}`, "admin", `{"address": "127.0.0.1:0"}`),
		"two addresses":                         file("server", `{"authorization": ["Bearer 0123456789abcdef"], "address": "127.0.0.2:9090"}`),
		"one second":                            file("server", `{"authorization": ["Bearer 0123456789abcdef"], "timeout": "1s"}`),
		"every visible character":               file("server", `{"authorization": ["Bearer !0123456789abcdef~"]}`),
		"few characters in no order":            file("server", `{"authorization": ["Bearer aabbccddeeabcdeb"]}`),
		"words and six letters":                 file("server", `{"authorization": ["Bearer secret-token-abcdef"]}`),
		"a curly quote alone":                   file("branding", `{"senderName": "“"}`),
		"nine seconds":                          file("server", `{"authorization": ["Bearer 0123456789abcdef"], "timeout": "9s"}`),
		"dollars in a password":                 file("providers", `[{"type": "smtp", "host": "a.example", "auth": {"user": "u", "pass": "$unset"}}]`),
		"a name in quotes":                      file("sender", `{"from": "\"Acme, Inc.\" <a@acme.example>"}`),
		"curly quotes within":                   file("branding", `{"senderName": "Acme “X” Inc."}`),
		"placeholders in headers": file("providers", `[{"type": "http", "url": "https://a.example", "headers": {"Idempotency-Key": "{{id}}", "X-About": "{{ type }} {{locale}} {{messageId}}"}},
			{"type": "smtp", "host": "a.example", "customHeaders": [{"key": "Resend-Idempotency-Key", "value": "{{id}}"}], "envelope": {"from": "b+{{id}}@acme.example"}}]`),
		"placeholders in templates": file("providers", `[{"type": "smtp", "host": "a.example", "templates": [
			{"usageType": "Generic", "subject": "{{code}} for {{application.name}}", "content": "{{#if code}}{{code}}{{/if}}", "contentType": "text/plain"}]}]`),
		"placeholders in a password": file("providers", `[{"type": "smtp", "host": "a.example", "auth": {"user": "u", "pass": "${NAME}"}}]`),
		"an inbox":                   file("sender", "", "providers", `[{"type": "inbox"}]`),
		"a route without conditions": file("routes", `[{"providers": ["smtp"]}]`),
	} {
		if _, err := Parse("config.json", []byte(text), variables("NAME", "a{{b}}c")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryRuleHasWords goes through the validate tags of all settings, those of
// every provider included: none may end in the fallback, and none in a panic of
// the validator about a rule that it does not know.
func TestEveryRuleHasWords(t *testing.T) {
	v := newValidator()
	var visit func(reflect.Type, string)
	visit = func(settings reflect.Type, path string) {
		switch settings.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(settings.Elem(), path)
		case reflect.Struct:
			for _, f := range fieldsOf(settings) {
				key := join(path, f.key)
				visit(f.kind, key)
				if f.validate == "" {
					continue
				}
				if err := v.Var(reflect.Zero(f.kind).Interface(), f.validate); err != nil {
					t.Logf("%s: %v", key, err)
				}
				for rule := range strings.SplitSeq(f.validate, ",") {
					tag, _, _ := strings.Cut(rule, "=")
					if tag == "omitempty" || tag == "dive" {
						continue
					}
					_, plain := ruleWords[tag]
					_, sized := ruleWords[tag+" "+formOf(f.kind).counts]
					if !plain && !sized {
						t.Errorf("%s: nothing tells the operator what the rule %s asks for", key, rule)
					}
				}
			}
		}
	}
	visit(reflect.TypeFor[Config](), "")
	for _, kind := range providers.Types() {
		visit(reflect.TypeOf(kind.New()), kind.Name)
	}
}

func TestRules(t *testing.T) {
	v := newValidator()
	for rule, texts := range map[string]struct{ good, bad []string }{
		"hostname_port|listen": {
			[]string{":8080", "127.0.0.1:8080", "localhost:80", "[::1]:9090", "relay:8080", "127.0.0.1:0", ":0", "[::]:80"},
			[]string{"", "8080", ":", "127.0.0.1", ":65536", "a b:80", "::1:80", "[::1", ":-1", ":http"}},
		"httpsurl": {[]string{"https://a.example/logo.png"},
			[]string{"", "http://a.example", "https://", "https:///x", "//a.example", "https://u:p@a.example/"}},
		"http_url": {[]string{"https://a.example", "http://127.0.0.1:65535/x?y", "http://[::1]:80"},
			[]string{"", "a.example", "ftp://a.example", "https://", "https://:80", "https://a.example:0", "https://a.example:65536"}},
		"oneline":         {[]string{"", "Acme Inc., 1 Main Street", "株式会社"}, []string{"a\nb", "a\rb", "a\x00", "a\u2028b", "\x1b[0m"}},
		"providername":    {[]string{"main", "smtp-2.eu_west"}, []string{"", "a b", "a/b", "é"}},
		"placeholdername": {[]string{"team", "_a1"}, []string{"", "1a", "a.b", "a-b"}},
		"urlscheme":       {[]string{"https", "com.acme.app", "web+x"}, []string{"", "HTTPS", "https:", "javascript", "data", "1a"}},
		"hostpattern": {[]string{"qq.com", "*.acme.example", "localhost", "xn--mller-kva.example", "192.0.2.1"},
			[]string{"", "*", "*.", "a..b", "https://a", "a.example:80", "*.*.a", "-a.example", "müller.example", "a/b"}},
		"recipient": {[]string{"ada@acme.example", "o'neil+1@acme.example", "acme.example", "*.acme.example"},
			[]string{"", "*", "*@acme.example", "ada@*.acme.example", "@acme.example", "Ada <ada@acme.example>", "a@b@c"}},
	} {
		for _, text := range texts.good {
			if v.Var(text, rule) != nil {
				t.Errorf("%s refuses %q", rule, text)
			}
		}
		for _, text := range texts.bad {
			if v.Var(text, rule) == nil {
				t.Errorf("%s accepts %q", rule, text)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"address", "authorization", "allowedIPs", "trustedProxies", "timeout", "to"}
	for written, want := range map[string]string{
		"adress": "address", "Address": "address", "addresss": "address", "authorisation": "authorization",
		"allowed_ips": "allowedIPs", "tiemout": "timeout", "ot": "to", "trusted-proxies": "trustedProxies",
		"": "", "x": "", "retries": "", "authentication": "", strings.Repeat("address", 1000): "",
	} {
		if got := settings.Nearest(written, words); got != want {
			t.Errorf("%.20q: got %q, want %q", written, got, want)
		}
	}
}

// What works and is probably not meant is told, and nothing keeps the relay from starting.
func TestWarnings(t *testing.T) {
	for key, text := range map[string]string{
		"routes[0].branding.appLogoDark is an SVG":               file("routes", `[{"domains": ["a.example"], "branding": {"appLogoDark": "https://acme.example/dark.svg"}}]`),
		"branding.appLogo is an SVG":                             file("branding", `{"appLogo": "https://acme.example/Logo.SVG?v=2"}`),
		"admin.token begins or ends with a blank":                file("admin", `{"token": "4f0c9b7e21d3a586 "}`),
		"server.authorization[0] has quotes":                     file("server", `{"authorization": ["'Bearer 4f0c9b7e21d3a586'"]}`),
		"server.authorization[0] has quotes around":              file("server", `{"authorization": ["Authorization: Bearer 4f0c9b7e21d3a586"]}`),
		"providers[0].apiKey has quotes":                         file("providers", `[{"type": "sendgrid", "apiKey": "\"SG.0123456789\"", "fromEmail": "a@acme.example"}]`),
		"providers[0].eventSecret is empty, because ${EMPTY} is": file("providers", `[{"type": "resend", "apiKey": "re_0123456789", "eventSecret": "${EMPTY}"}]`),
		"limits.recipient is empty, because ${EMPTY} is":         file("limits", `{"recipient": "${EMPTY}"}`),
		"templates.dir is empty, because ${EMPTY} is":            file("templates", `{"dir": "${EMPTY}${EMPTY}"}`),
		"providers[0].fromEmail is empty, because ${EMPTY} is":   file("providers", `[{"type": "sendgrid", "apiKey": "SG.0123456789", "fromEmail": "${EMPTY}"}]`),
		"server.authorization[0] has more than one":              file("server", `{"authorization": ["Bearer  4f0c9b7e21d3a586"]}`),
		"server.authorization[0] has quotes around ":             file("server", `{"authorization": ["Bearer Bearer 4f0c9b7e21d3a586"]}`),
		"trustedProxies[1] is in allowedIPs as well":             file("server", `{"authorization": ["Bearer 4f0c9b7e21d3a586"], "allowedIPs": ["192.0.2.1", "10.0.0.0/8"], "trustedProxies": ["192.0.2.9", "10.0.0.5"]}`),
		"admin.token begins or ends with":                        file("admin", `{"token": "4f0c9b7e21d3a586\u200b"}`),
		"admin.token can be guessed":                             file("admin", `{"token": "4f0c9b7e21d3a58"}`),
		"admin.token can be guessed; write":                      file("admin", `{"token": "secretsecretsecret"}`),
		"providers[0].auth.pass begins or ends with":             file("providers", `[{"type": "smtp", "host": "a.example", "auth": {"user": "u", "pass": "${PASS}"}}]`),
	} {
		loaded, err := Parse("config.json", []byte(text), variables("PASS", "never-print-this\n", "EMPTY", ""))
		if told := fmt.Sprint(loaded.Notices); err != nil || len(loaded.Notices) != 1 || !strings.Contains(told, key) || strings.Contains(told, "never-print") {
			t.Errorf("%s: got %v, %s", key, err, told)
		}
	}
}

// What keeps a test environment from real people is not off because a variable is empty.
func TestRedirectToIsNotEmptyByAccident(t *testing.T) {
	for _, text := range []string{file("recipients", `{"redirectTo": "${EMPTY}"}`),
		file("routes", `[{"domains": ["a.example"], "recipients": {"redirectTo": "${EMPTY}"}}]`)} {
		if _, err := Parse("config.json", []byte(text), variables("EMPTY", "")); err == nil || !strings.Contains(err.Error(), "recipients.redirectTo: is empty, because ${EMPTY} is, and every mail") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := Parse("config.json", []byte(file("recipients", `{"redirectTo": ""}`)), variables()); err != nil {
		t.Error(err)
	}
}

func TestNotices(t *testing.T) {
	text := file("providers", `[{"type": "smtp", "host": "a.example", "logger": "${UNSET}"}]`)
	loaded, err := Parse("config.json", []byte(text), variables())
	if err != nil {
		t.Fatal(err)
	}
	notices := loaded.Notices
	if len(notices) != 1 || notices[0].Position.Line != 4 || !strings.HasPrefix(notices[0].Text, "providers[0].logger has no effect: ") {
		t.Errorf("got %v", notices)
	}
}
