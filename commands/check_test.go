package commands_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"logto-email-relay/commands"
)

// service plays a mail API that gives one answer to everything but mails.
func service(t *testing.T, status int, body string) (url string, mails *atomic.Int64) {
	t.Helper()
	mails = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			mails.Add(1)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL, mails
}

// silent takes connections and says nothing.
func silent(t *testing.T) (port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().(*net.TCPAddr).Port
}

// configure writes a configuration with these providers and returns its name.
func configure(t *testing.T, providers ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	text := `{"server": {"address": "127.0.0.1:0", "authorization": ["Bearer a-token-of-the-test"], "timeout": "1s"},
		"admin": {"address": ""}, "sender": {"from": "no-reply@acme.example"},
		"providers": [` + strings.Join(providers, ",") + `]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const testKey = "SG.a-key-of-the-test"

func sendgrid(name, url string) string {
	return fmt.Sprintf(`{"name": %q, "type": "sendgrid", "apiKey": %q, "endpoint": %q}`, name, testKey, url)
}

func TestCheckConnect(t *testing.T) {
	good, mails := service(t, 200, `{"scopes":["mail.send"]}`)
	bad, _ := service(t, 401, `{"errors":[{"message":"authorization required","field":null}]}`)
	hung := fmt.Sprintf(`{"name": "hung", "type": "smtp", "host": "127.0.0.1", "port": %d}`, silent(t))
	other := `{"name": "other", "type": "http", "url": "` + good + `", "body": {"to": "{{to}}", "text": "{{text}}"}}`
	limited := fmt.Sprintf(`{"name": "limited", "type": "resend", "apiKey": "re_test", "endpoint": %q}`,
		func() string { url, _ := service(t, 401, `{"name":"restricted_api_key"}`); return url }())
	issuer, _ := service(t, 200, "access_token=opaque&token_type=Bearer&expires_in=3600")
	refusing, _ := service(t, 401, `{"error":"invalid_client"}`)
	byToken := func(accessURL string) string {
		return fmt.Sprintf(`{"name": "tokens", "type": "http", "url": %q, "body": {"to": "{{to}}", "text": "{{text}}"},
			"auth": {"clientId": "c", "clientSecret": "the-secret-of-the-test", "accessUrl": %q}}`, good, accessURL)
	}
	for _, test := range []struct {
		name      string
		providers []string
		arguments []string
		code      int
		lines     []string
		err       string
	}{
		{"all is well", []string{sendgrid("main", good), `{"type": "inbox"}`}, []string{"--connect"}, 0,
			[]string{"provider 1: main (sendgrid): signs in\n", "provider 2: inbox (inbox): signs in\n"}, ""},
		{"what is known", []string{limited, other}, []string{"--connect"}, 0,
			[]string{"limited (resend): signs in; this key may only send", "other (http): only a mail can show"}, ""},
		{"a token", []string{byToken(issuer)}, []string{"--connect"}, 0, []string{"tokens (http): signs in; only a mail can show whether the access token lets this send"}, ""},
		{"no token", []string{byToken(refusing)}, []string{"--connect"}, 1, []string{"tokens (http): cannot send: configuration: OAuth2: invalid_client", "check auth.clientId"},
			"1 of 1 providers could not send"},
		{"failures", []string{sendgrid("wrong", bad), sendgrid("main", good), hung}, []string{"--connect"}, 1,
			[]string{"provider 1: wrong (sendgrid): cannot send: configuration: GET: 401: authorization required: check apiKey",
				"provider 2: main (sendgrid): signs in\n", "provider 3: hung (smtp): cannot send: temporary: greeting", "TYPE "},
			"2 of 3 providers could not send"},
		{"without", []string{sendgrid("wrong", bad), hung}, nil, 0, []string{"provider 1: wrong (sendgrid)\n", "provider 2: hung (smtp)\n"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			began := time.Now()
			code := commands.Run(t.Context(), append([]string{"check", "--config", configure(t, test.providers...)}, test.arguments...), nil, &out, &errOut, nil)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v, and server.timeout is 1 s", took)
			}
			if code != test.code {
				t.Errorf("exit code %d, want %d: %s", code, test.code, errOut.String())
			}
			for _, line := range test.lines {
				if !strings.Contains(out.String(), line) {
					t.Errorf("no %q in\n%s", line, out.String())
				}
			}
			if got := strings.TrimSpace(errOut.String()); got != test.err {
				t.Errorf("error %q, want %q", got, test.err)
			}
			if strings.Contains(out.String()+errOut.String(), testKey) {
				t.Error("the key is shown")
			}
		})
	}
	if n := mails.Load(); n != 0 {
		t.Errorf("%d mails were sent", n)
	}
}

func TestCheckShowsTheRoutesOfATenant(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	text := `{"server": {"authorization": ["Bearer a-token-of-the-test", {"tenant": "eu", "value": "Bearer the-words-of-europe"}]},
		"sender": {"from": "no-reply@acme.example"}, "providers": [{"type": "inbox", "name": "all"}, {"type": "inbox", "name": "europe"}],
		"routes": [{"tenants": ["eu"], "types": ["Register"], "providers": [[{"name": "europe", "weight": 3}, "all"], "all"]},
			{"tenants": ["eu"], "providers": ["europe"]}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		arguments []string
		code      int
		says      string
	}{
		{nil, 0, `SignIn +none .* all, then europe +recipient 10/10m\n`},
		{[]string{"--tenant", "eu"}, 0, `SignIn +routes\[1\] .* europe +recipient 10/10m\n`},
		{[]string{"--tenant", "eu"}, 0, `Register +routes\[0\] .* europe \(75 %\) or all \(25 %\) +recipient 10/10m\n`},
		{[]string{"--tenant", "us"}, 2, `--tenant: server.authorization has the tenants eu\n`},
	} {
		var out bytes.Buffer
		code := commands.Run(t.Context(), append([]string{"check", "--config", file}, test.arguments...), nil, &out, &out, nil)
		if code != test.code || !regexp.MustCompile(test.says).MatchString(out.String()) {
			t.Errorf("%v: exit code %d and\n%s", test.arguments, code, out.String())
		}
	}
}

// lines collects what is logged, for a test to wait for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// warnings are the messages of the log at that level, by provider.
func (l *lines) warnings() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := make(map[string]string)
	scanner := bufio.NewScanner(bytes.NewReader(l.text.Bytes()))
	for scanner.Scan() {
		var line struct{ Level, Provider, Error string }
		if json.Unmarshal(scanner.Bytes(), &line) == nil && line.Level == "WARN" {
			found[line.Provider] += line.Error
		}
	}
	return found
}

// Serving begins, and goes on, whatever the providers say.
func TestServeWarnsOfProvidersThatCannotSend(t *testing.T) {
	t.Parallel() // a clean stop takes its time
	api, _ := service(t, 401, `{"errors":[{"message":"authorization required","field":null}]}`)
	down := `{"name": "down", "type": "smtp", "host": "127.0.0.1", "port": 1}`
	hung := fmt.Sprintf(`{"name": "hung", "type": "smtp", "host": "127.0.0.1", "port": %d}`, silent(t))
	file := configure(t, sendgrid("api", api), down, hung)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out lines
	var errOut bytes.Buffer
	done := make(chan int)
	go func() { done <- commands.Run(ctx, []string{"serve", "--config", file}, nil, &out, &errOut, nil) }()
	for end := time.Now().Add(20 * time.Second); len(out.warnings()) < 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("warnings %v", out.warnings())
		}
	}
	warnings := out.warnings()
	if !strings.Contains(warnings["down"], "refused") || !strings.Contains(warnings["hung"], "greeting") {
		t.Errorf("warnings %v", warnings)
	}
	select {
	case code := <-done:
		t.Fatalf("ended with %d: %s", code, errOut.String())
	default:
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d: %s", code, errOut.String())
	}
	if len(out.warnings()) != 2 {
		t.Errorf("warnings %v", out.warnings())
	}
	if text := out.text.String(); !strings.Contains(text, `"listening"`) || strings.Contains(text, testKey) {
		t.Errorf("the log is\n%s", text)
	}
}

// The Redis of limits and the PostgreSQL of the record stop no mail, and nobody would know
// that they cannot be used until something is missing.
func TestCheckConnectAsksTheDatabases(t *testing.T) {
	redis := miniredis.RunT(t)
	redis.RequireAuth("never-print-this")
	gone := fmt.Sprintf("postgres://relay:never-print-this@127.0.0.1:%d/relay", closed(t))
	for _, test := range []struct {
		name, limits, deliveries string
		code                     int
		lines                    []string
	}{
		{"none", "", "", 0, nil},
		{"a file", "", "deliveries.db", 0, []string{"deliveries: the database can be used\n"}},
		{"no folder", "", "none/deliveries.db", 1, []string{"deliveries: the database cannot be used: the folder "}},
		{"good", "redis://:never-print-this@" + redis.Addr(), "deliveries.db", 0, []string{"limits: the database can be used\n"}},
		{"bad", "redis://:never-print-that@" + redis.Addr(), gone, 1, []string{"limits: the database cannot be used: WRONGPASS", "deliveries: the database cannot be used: failed to connect"}},
	} {
		file := configure(t, `{"type": "inbox"}`)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		more := fmt.Sprintf(`"limits": {"redis": %q}, "deliveries": {"database": %q}, "sender"`, test.limits, test.deliveries)
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), `"sender"`, more, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		if code := commands.Run(t.Context(), []string{"check", "--config", file, "--connect"}, nil, &out, &errOut, nil); code != test.code {
			t.Errorf("%s: exit code %d, want %d: %s", test.name, code, test.code, &errOut)
		}
		for _, line := range test.lines {
			if !strings.Contains(out.String(), line) {
				t.Errorf("%s: no %q in\n%s", test.name, line, &out)
			}
		}
		if strings.Contains(out.String()+errOut.String(), "never-print") || test.lines == nil && strings.Contains(out.String(), "database") {
			t.Errorf("%s: told is\n%s%s", test.name, &out, &errOut)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), "deliveries.db")); err == nil {
			t.Errorf("%s: a file is made by a check", test.name)
		}
	}
}

// The mistakes of all providers' templates are told at once.
func TestCheckTellsOfAllTemplates(t *testing.T) {
	broken := func(name, content string) string {
		return fmt.Sprintf(`{"type": "sendgrid", "name": %q, "apiKey": %q, "templates": [{"usageType": "SignIn", "type": "text/html", "subject": "x", "content": %q}]}`, name, testKey, content)
	}
	var out, errOut bytes.Buffer
	code := commands.Run(t.Context(), []string{"check", "--config", configure(t, broken("a", "<p class={{code}}>"), broken("b", "<script>{{code}}</script>"))}, nil, &out, &errOut, nil)
	for _, want := range []string{"providers[0].templates[0]:1:10: write quotes", "providers[1].templates[0]:1:9: placeholders cannot"} {
		if code != 2 || !strings.Contains(errOut.String(), want) {
			t.Errorf("exit code %d, no %q in\n%s", code, want, &errOut)
		}
	}
}

// A route for a language that no mail is written in takes none.
func TestCheckTellsOfDeadRoutes(t *testing.T) {
	file := configure(t, `{"type": "inbox"}`)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const more = `"templates": {"locales": ["en", "pt"]}, "routes": [{"locales": ["pt"], "providers": ["inbox"]}, {"locales": ["en", "de", "sv"], "providers": ["inbox"]}], "sender"`
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), `"sender"`, more, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	if code := commands.Run(t.Context(), []string{"check", "--config", file}, nil, &out, &errOut, nil); code != 0 {
		t.Fatal(errOut.String())
	}
	for _, want := range []string{"warning: routes[1].locales: no mail is written in de, so that none takes this route for it; there are en, pt-BR, pt-PT\n", "no mail is written in sv"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if n := strings.Count(out.String(), "warning: "); n != 2 {
		t.Errorf("%d warnings in\n%s", n, &out)
	}
}

// The default language may have templates of the operator's for some mails alone.
func TestCheckTellsOfMailsThatTheDefaultLanguageLacks(t *testing.T) {
	file := configure(t, `{"type": "inbox"}`)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "sv"), 0o700); err != nil {
		t.Fatal(err)
	}
	more := `"templates": {"defaultLocale": "sv", "locales": ["sv", "de"], "dir": "` + folder + `"}, "sender"`
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), `"sender"`, more, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ template, want string }{
		{"SignIn.html", "warning: templates.defaultLocale: sv has no templates for Register, ForgotPassword, OrganizationInvitation, Generic, "},
		{"Generic.html", ""},
	} {
		if err := os.WriteFile(filepath.Join(folder, "sv", c.template), []byte("<title>Din kod</title><p>{{code}}</p>"), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		if code := commands.Run(t.Context(), []string{"check", "--config", file}, nil, &out, &errOut, nil); code != 0 {
			t.Fatal(errOut.String())
		}
		if !strings.Contains(out.String(), c.want) || c.want == "" && strings.Contains(out.String(), "defaultLocale") {
			t.Errorf("%s: no %q in\n%s", c.template, c.want, &out)
		}
	}
}

// closed returns a port that nobody listens on.
func closed(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}
