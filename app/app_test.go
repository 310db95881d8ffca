package app_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logto-email-relay/app"
	"logto-email-relay/config"
)

// patience bounds every wait of these tests. It is reached only when one fails.
const patience = 30 * time.Second

// A clean stop takes the seconds in which Logto lets go of its idle connections.
// The tests do not wait for it one by one.
var (
	stopping sync.WaitGroup
	badStop  atomic.Bool
)

// folders are those of the relays, which stop after their tests.
var folders string

func TestMain(m *testing.M) {
	var err error
	if folders, err = os.MkdirTemp("", "relay-app"); err != nil {
		panic(err)
	}
	code := m.Run()
	stopping.Wait()
	_ = os.RemoveAll(folders)
	if badStop.Load() {
		code = 1
	}
	os.Exit(code)
}

// mailServer is an SMTP server that takes every mail, and counts.
type mailServer struct {
	io.Closer
	port   int
	logins atomic.Int32
	// hold, if it is not nil, keeps mails waiting for the reply to their final dot.
	hold chan struct{}
	// refuses tells that no login is taken.
	refuses atomic.Bool
	// reply is what mails are answered with, if they are not taken, and silent ends the
	// connection instead.
	reply  string
	silent bool

	mu    sync.Mutex
	mails []string
}

func startMailServer(t *testing.T) *mailServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	m := &mailServer{Closer: listener, port: listener.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return m
}

func (m *mailServer) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	_, _ = io.WriteString(conn, "220 mail.example.com\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.Fields(line + " x")[0]); verb {
		case "EHLO":
			_, _ = io.WriteString(conn, "250-mail.example.com\r\n250 AUTH PLAIN\r\n")
		case "AUTH":
			m.logins.Add(1)
			if m.refuses.Load() {
				_, _ = io.WriteString(conn, "535 5.7.8 no\r\n")
				continue
			}
			_, _ = io.WriteString(conn, "235 2.7.0 ok\r\n")
		case "DATA":
			_, _ = io.WriteString(conn, "354 go on\r\n")
			var text strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(line)
			}
			m.mu.Lock()
			hold := m.hold
			m.mu.Unlock()
			if hold != nil {
				<-hold
			}
			m.mu.Lock()
			m.mails = append(m.mails, text.String())
			m.mu.Unlock()
			if m.silent {
				return
			}
			_, _ = io.WriteString(conn, cmp.Or(m.reply, "250 2.0.0 queued as 1\r\n"))
		case "QUIT":
			_, _ = io.WriteString(conn, "221 bye\r\n")
			return
		default:
			_, _ = io.WriteString(conn, "250 2.0.0 ok\r\n")
		}
	}
}

func (m *mailServer) last() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mails) == 0 {
		return ""
	}
	return m.mails[len(m.mails)-1]
}

// logs is a log that many goroutines may write and read.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is a relay with a configuration that tests change.
type running struct {
	t             *testing.T
	dir           string
	public, admin string
	log           *logs
	hangups       chan os.Signal
	runtime       string // a directory
	stop          func()
}

// settings are the parts of a configuration that tests change.
type settings struct {
	tokens    []string
	providers []string
	templates string // a directory
	limits    string
	more      string
}

const token = "Bearer a-long-token-of-the-test"

func (s settings) json() string {
	if s.tokens == nil {
		s.tokens = []string{token}
	}
	tokens, _ := json.Marshal(s.tokens)
	if s.limits == "" {
		s.limits = `{"recipient": ""}` // all mails are to one address
	}
	return fmt.Sprintf(`{"server": {"address": "127.0.0.1:0", "authorization": %s}, "admin": {"address": "127.0.0.1:0"},
		"sender": {"from": "Acme <no-reply@acme.example>"}, "templates": {"dir": %q}, "providers": [%s], "limits": %s%s}`,
		tokens, s.templates, strings.Join(s.providers, ","), s.limits, s.more)
}

func smtp(name string, m *mailServer) string {
	return fmt.Sprintf(`{"name": %q, "type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true,
		"auth": {"user": "relay", "pass": "secret"}}`, name, m.port)
}

// folder makes one for a relay.
func folder(t *testing.T) string {
	t.Helper()
	name, err := os.MkdirTemp(folders, "")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func run(t *testing.T, s settings) *running {
	t.Helper()
	r := &running{t: t, dir: folder(t), log: new(logs), hangups: make(chan os.Signal, 1)}
	r.write("config.json", s.json())
	return r.start()
}

func (r *running) start() *running {
	t := r.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	listening := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, app.Options{
			Load: func() (config.Loaded, error) {
				return config.Load(filepath.Join(r.dir, "config.json"), func(string) (string, bool) { return "", false })
			},
			Hangups:          r.hangups,
			Log:              r.log,
			RuntimeDirectory: r.runtime,
			Listening:        func(public, admin string) { r.public, r.admin = public, admin; close(listening) },
		})
	}()
	t.Cleanup(func() {
		cancel()
		stopping.Go(func() {
			if err := <-ended; err != nil || !strings.Contains(r.log.String(), `"msg":"stopped"`) {
				badStop.Store(true)
				fmt.Fprintf(os.Stderr, "%s: Run: %v\n%s", t.Name(), err, r.log)
			}
		})
		if t.Failed() {
			t.Log(r.log)
		}
	})
	select {
	case <-listening:
	case err := <-ended:
		ended <- err
		t.Fatalf("Run: %v", err)
	}
	return r
}

// write puts a file into the directory of the configuration, the way of editors:
// a new file in the place of the old one.
func (r *running) write(name, text string) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		r.t.Fatal(err)
	}
}

// webhook asks for a mail and returns the status of the answer.
func (r *running) webhook(authorization string) int {
	r.t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+r.public+"/logto/email",
		strings.NewReader(`{"to":"ada@example.org","type":"SignIn","payload":{"code":"482913","locale":"en"}}`))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Authorization", authorization)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode
}

// page returns what a page of the admin listener says.
func (r *running) page(path string) string {
	r.t.Helper()
	_, text := r.get(r.admin, path)
	return text
}

// get returns what one of the two listeners answers.
func (r *running) get(listener, path string) (status int, text string) {
	r.t.Helper()
	response, err := http.Get("http://" + listener + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// has tells whether the metrics have a line.
func (r *running) has(line string) bool {
	r.t.Helper()
	return strings.Contains(r.page("/metrics"), "\n"+line+"\n")
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// An operator changes the token without an outage: the new one beside the old, then
// Logto, then away with the old. The log tells which is in use.
func TestATokenIsChangedWithoutAnOutage(t *testing.T) {
	const next = "Bearer another-long-token"
	mails := startMailServer(t)
	s := settings{providers: []string{smtp("main", mails)}}
	r := run(t, s)
	if got := r.webhook(next); got != 401 {
		t.Fatalf("a token to come gets %d", got)
	}
	s.tokens = []string{token, next}
	r.write("config.json", s.json())
	eventually(t, "the new token works", func() bool { return r.webhook(next) == 200 })
	if got := r.webhook(token); got != 200 {
		t.Errorf("the old token gets %d", got)
	}
	eventually(t, "the log tells the tokens apart", func() bool {
		return strings.Contains(r.log.String(), `"authorization":"1"`) && strings.Contains(r.log.String(), `"authorization":"0"`)
	})
	if text := r.page("/metrics"); !regexp.MustCompile(`(?m)^relay_requests_total{authorization="1",error="",status="200"} [1-9]`).MatchString(text) {
		t.Errorf("the metrics do not tell the tokens apart:\n%s", text)
	}
	s.tokens = []string{next}
	r.write("config.json", s.json())
	eventually(t, "the old token is refused", func() bool { return r.webhook(token) == 401 })
	if got := r.webhook(next); got != 200 {
		t.Errorf("the new token gets %d", got)
	}
	if logins := mails.logins.Load(); logins != 1 {
		t.Errorf("%d logins at a provider that stayed the same", logins)
	}
}

func TestASecretInAFileIsReadAgain(t *testing.T) {
	mails := startMailServer(t)
	r := &running{t: t, dir: folder(t), log: new(logs), hangups: make(chan os.Signal, 1)}
	elsewhere := t.TempDir() // and a link leads there
	put := func(token string) {
		t.Helper()
		file := filepath.Join(elsewhere, "token")
		if err := os.WriteFile(file+".new", []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	put(token)
	if err := os.Symlink(filepath.Join(elsewhere, "token"), filepath.Join(r.dir, "link")); err != nil {
		t.Fatal(err)
	}
	r.write("token", token+"\n")
	r.write("config.json", settings{tokens: []string{"${file:token}", "${file:link}"}, providers: []string{smtp("main", mails)}}.json())
	r.start()
	if got := r.webhook(token); got != 200 {
		t.Fatalf("got %d", got)
	}
	r.write("token", "Bearer the-next-token-of-the-test\n")
	eventually(t, "the next token works", func() bool { return r.webhook("Bearer the-next-token-of-the-test") == 200 })
	put("Bearer the-token-behind-the-link")
	eventually(t, "the one behind the link works", func() bool { return r.webhook("Bearer the-token-behind-the-link") == 200 })
}

// A file that is mounted by itself is written to where its directory does not tell, as one
// that has another name. And whoever asks for a reload hears whether it brought anything.
func TestAFileIsWrittenToElsewhere(t *testing.T) {
	mails := startMailServer(t)
	r := &running{t: t, dir: folder(t), log: new(logs), hangups: make(chan os.Signal, 1)}
	s := settings{providers: []string{smtp("main", mails)}}
	r.write("config.json", s.json())
	elsewhere := filepath.Join(t.TempDir(), "config.json")
	link := func() {
		t.Helper()
		_ = os.Remove(elsewhere)
		if err := os.Link(filepath.Join(r.dir, "config.json"), elsewhere); err != nil {
			t.Fatal(err)
		}
	}
	link()
	r.start()
	r.hangups <- os.Interrupt // a signal of any kind
	eventually(t, "it has brought nothing", func() bool { return strings.Contains(r.log.String(), `"configuration_changed":false`) })
	for _, next := range []string{"Bearer the-next-token-of-the-test", "Bearer and-one-after-that-one"} {
		s.tokens = []string{next}
		if err := os.WriteFile(elsewhere, []byte(s.json()), 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a write is seen", func() bool { return r.webhook(next) == 200 })
		reads := strings.Count(r.log.String(), `"reloaded"`)
		r.write("config.json", s.json()) // a new file, which is the one to look at from now on
		link()
		eventually(t, "the new file is read", func() bool { return strings.Count(r.log.String(), `"reloaded"`) > reads })
	}
	if n := strings.Count(r.log.String(), `"configuration_changed":true`); n != 2 {
		t.Errorf("%d changes are told", n)
	}
}

// A configuration that cannot be used changes nothing and is told everywhere.
func TestABadConfigurationChangesNothing(t *testing.T) {
	mails := startMailServer(t)
	s := settings{providers: []string{smtp("main", mails)}}
	r := run(t, s)
	if text := r.page("/metrics"); !strings.Contains(text, "relay_config_last_reload_successful 1\n") {
		t.Errorf("no reload, and it was not successful:\n%s", text)
	}
	bad := s
	bad.more = `, "sendr": {}, "log": {"level": "loud"}`
	r.write("config.json", bad.json())
	eventually(t, "the refusal is told", func() bool {
		return strings.Contains(r.log.String(), "not reloaded") && strings.Contains(r.page("/metrics"), "relay_config_last_reload_successful 0\n")
	})
	text := r.log.String()
	for _, want := range []string{"sendr", `did you mean \"sender\"`, "log.level", "2 problems"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the log:\n%s", want, text)
		}
	}
	if text := r.page("/readyz"); !strings.Contains(text, `"ready":true`) || !strings.Contains(text, "sendr") {
		t.Errorf("readiness says %s", text)
	}
	for _, path := range []string{"/", "/templates"} {
		if text := r.page(path); !strings.Contains(text, "sendr") {
			t.Errorf("the page %s does not tell", path)
		}
	}
	if got := r.webhook(token); got != 200 {
		t.Errorf("the last good configuration answers %d", got)
	}
	r.write("config.json", s.json())
	eventually(t, "the mended one is taken", func() bool {
		return strings.Contains(r.page("/metrics"), "relay_config_last_reload_successful 1\n") && !strings.Contains(r.page("/readyz"), "sendr")
	})
}

// A failure that is the first of its kind is seen, because its series began at 0: also
// that of a provider and of a token that came with a reload. The state of a provider
// that has gone is gone, its counters stay.
func TestSeriesBeginAtZero(t *testing.T) {
	s := settings{providers: []string{smtp("first", startMailServer(t))}, more: `, "deliveries": {"database": "deliveries.db"}`}
	r := run(t, s)
	expect := func(name, authorization string) {
		t.Helper()
		for _, line := range []string{
			`relay_attempts_total{kind="accepted",provider="` + name + `"} 0`,
			`relay_attempts_total{kind="configuration",provider="` + name + `"} 0`,
			`relay_attempts_total{kind="uncertain",provider="` + name + `"} 0`,
			`relay_attempt_duration_seconds_count{provider="` + name + `"} 0`,
			`relay_mails_total{error="",provider="` + name + `",type="SignIn"} 0`,
			`relay_mails_total{error="provider_refused",provider="",type="other"} 0`,
			`relay_requests_total{authorization="` + authorization + `",error="",status="200"} 0`,
			`relay_requests_total{authorization="` + authorization + `",error="recipient_suppressed",status="422"} 0`,
			`relay_requests_total{authorization="",error="unauthorized",status="401"} 0`,
			`relay_provider_resting{provider="` + name + `"} 0`,
			`relay_provider_rest_cause{cause="quota",provider="` + name + `"} 0`,
			`relay_provider_rest_until_seconds{provider="` + name + `"} 0`,
			`relay_provider_connections{provider="` + name + `",state="busy"} 0`,
			`relay_deliveries_behind 0`,
			`relay_request_timeout_seconds 8`,
		} {
			if !r.has(line) {
				t.Errorf("there is no %s", line)
			}
		}
	}
	eventually(t, "the record and a connection are there", func() bool {
		return r.has("relay_deliveries_behind 0") && r.has(`relay_provider_connections{provider="first",state="idle"} 1`)
	})
	expect("first", "0")
	s.providers = []string{smtp("second", startMailServer(t))}
	s.tokens = []string{token, "Bearer another-long-token"}
	r.write("config.json", s.json())
	eventually(t, "the other one is signed in at", func() bool { return r.has(`relay_provider_connections{provider="second",state="idle"} 1`) })
	expect("second", "1")
	if !r.has(`relay_attempts_total{kind="accepted",provider="first"} 0`) || r.has(`relay_provider_resting{provider="first"} 0`) {
		t.Error("of a provider that has gone the counters stay, and nothing else")
	}
}

// What a provider rests of tells who can mend it.
func TestTheCauseOfARest(t *testing.T) {
	full, well := startMailServer(t), startMailServer(t)
	full.reply = "550 5.4.5 Daily user sending limit exceeded\r\n"
	r := run(t, settings{providers: []string{smtp("full", full), smtp("well", well)}})
	if got := r.webhook(token); got != 200 {
		t.Fatal(got)
	}
	for cause, want := range map[string]string{"quota": "1", "rate-limited": "0", "configuration": "0"} {
		if line := `relay_provider_rest_cause{cause="` + cause + `",provider="full"} ` + want; !r.has(line) {
			t.Errorf("there is no %s", line)
		}
	}
	if r.has(`relay_provider_rest_until_seconds{provider="full"} 0`) {
		t.Error("the rest has no end")
	}
	if r.has(`relay_provider_rest_cause{cause="quota",provider="well"} 1`) {
		t.Error("the other one rests")
	}
}

// A mail that may have been taken goes to another provider, unless the operator does not
// want it twice.
func TestAMailThatMayHaveBeenTaken(t *testing.T) {
	for more, want := range map[string]int{"": 200, `, "uncertain": "fail"`: 504} {
		first, second := startMailServer(t), startMailServer(t)
		first.silent = true
		r := run(t, settings{providers: []string{smtp("first", first), smtp("second", second)}, more: more})
		if got := r.webhook(token); got != want || first.last() == "" || (second.last() != "") != (want == 200) {
			t.Errorf("%s: got %d, and the other one got %q", more, got, second.last())
		}
	}
}

// The templates that stand inside a provider are those of its mails, and of no others.
func TestAProviderHasTemplatesOfItsOwn(t *testing.T) {
	first, second := startMailServer(t), startMailServer(t)
	own := strings.TrimSuffix(smtp("first", first), "}}") + `}, "templates": [{"usageType": "SignIn", "subject": "Its own", "content": "{{code}}"}]}`
	r := run(t, settings{providers: []string{own, smtp("second", second)}})
	if got := r.webhook(token); got != 200 || !strings.Contains(first.last(), "\nSubject: Its own\r\n") {
		t.Errorf("got %d: %s", got, first.last())
	}
	first.mu.Lock()
	first.reply = "451 4.3.0 later\r\n"
	first.mu.Unlock()
	if got := r.webhook(token); got != 200 || second.last() == "" || strings.Contains(second.last(), "Its own") {
		t.Errorf("got %d: %s", got, second.last())
	}
}

// A mail under way finishes at the provider that it began with, which is closed
// only then.
func TestAMailUnderWayFinishesOnTheOldGraph(t *testing.T) {
	first, second := startMailServer(t), startMailServer(t)
	first.hold = make(chan struct{})
	s := settings{providers: []string{smtp("first", first)}}
	r := run(t, s)
	eventually(t, "a connection is warm", func() bool { return first.logins.Load() == 1 })
	answered := make(chan int, 1)
	go func() { answered <- r.webhook(token) }()
	eventually(t, "the mail is under way", func() bool {
		return strings.Contains(r.page("/metrics"), `relay_provider_in_flight{provider="first"} 1`)
	})
	s.providers = []string{smtp("second", second)}
	r.write("config.json", s.json())
	eventually(t, "the other provider is in use", func() bool { return strings.Contains(r.page("/readyz"), "provider second") })
	if got := r.webhook(token); got != 200 || second.last() == "" {
		t.Errorf("a mail after the reload: %d", got)
	}
	select {
	case got := <-answered:
		t.Errorf("the mail under way was answered %d before its verdict", got)
	default:
	}
	close(first.hold)
	if got := <-answered; got != 200 {
		t.Errorf("the mail under way was answered %d", got)
	}
	if got := r.webhook(token); got != 200 {
		t.Errorf("got %d", got)
	}
}

// What a provider is in the middle of goes over: a rest is not forgotten.
func TestAProvidersHealthGoesOver(t *testing.T) {
	mails := startMailServer(t)
	down := `{"name": "down", "type": "smtp", "host": "127.0.0.1", "port": 1, "ignoreTLS": true}`
	s := settings{providers: []string{down, smtp("main", mails)}}
	r := run(t, s)
	eventually(t, "it rests", func() bool { return strings.Contains(r.page("/metrics"), `relay_provider_resting{provider="down"} 1`) })
	if !r.has("relay_degraded 0") {
		t.Error("the other one is enough")
	}
	eventually(t, "the log tells", func() bool {
		return strings.Contains(r.log.String(), `"a provider could not send now","provider":"down"`)
	})
	s.more = `, "log": {"level": "debug"}`
	r.write("config.json", s.json())
	eventually(t, "the change is taken", func() bool { return strings.Contains(r.log.String(), `"msg":"reloaded","providers_kept":2`) })
	if text := r.page("/metrics"); !strings.Contains(text, `relay_provider_resting{provider="down"} 1`) {
		t.Error("the rest was forgotten")
	}
	// The level of the log is part of the configuration.
	r.page("/healthz")
	eventually(t, "a line of level debug", func() bool { return strings.Contains(r.log.String(), `"level":"DEBUG"`) })
}

// A provider that could not be signed in at is tried again, without a mail.
func TestAProviderIsTriedAgain(t *testing.T) {
	t.Parallel() // it is left alone for a while
	mails := startMailServer(t)
	mails.refuses.Store(true)
	r := run(t, settings{providers: []string{smtp("main", mails)}})
	eventually(t, "it rests", func() bool { return r.has(`relay_provider_resting{provider="main"} 1`) })
	mails.refuses.Store(false)
	eventually(t, "it is in use again", func() bool {
		return r.has(`relay_provider_resting{provider="main"} 0`) && strings.Contains(r.log.String(), "a provider is in use again")
	})
	if n := strings.Count(r.log.String(), "a provider could not send now"); n != 1 || mails.logins.Load() != 2 {
		t.Errorf("told %d times, after %d logins", n, mails.logins.Load())
	}
}

// A relay whose providers all rest is degraded, and says why.
func TestARelayWithoutAProviderIsDegraded(t *testing.T) {
	r := run(t, settings{providers: []string{`{"name": "down", "type": "smtp", "host": "127.0.0.1", "port": 1, "ignoreTLS": true}`}})
	eventually(t, "it is degraded", func() bool { return r.has("relay_degraded 1") })
	if text := r.page("/readyz"); !strings.Contains(text, `"degraded":true`) || !strings.Contains(text, `"provider down":"resting until `) {
		t.Error(text)
	}
}

// restartsFor expects that the log asks for a restart because of this key alone.
func (r *running) restartsFor(t *testing.T, want string) {
	t.Helper()
	for _, told := range regexp.MustCompile(`needs a restart","key":"([^"]*)`).FindAllStringSubmatch(r.log.String(), -1) {
		if told[1] != want {
			t.Errorf("%s needs a restart", told[1])
		}
	}
}

func TestAnAddressNeedsARestart(t *testing.T) {
	s := settings{providers: []string{smtp("main", startMailServer(t))}}
	r := run(t, s)
	r.write("config.json", strings.Replace(s.json(), "127.0.0.1:0", "127.0.0.1:1", 1))
	r.hangups <- os.Interrupt // a signal of any kind
	eventually(t, "it is told", func() bool {
		return strings.Contains(r.log.String(), "needs a restart") && strings.Contains(r.log.String(), "server.address")
	})
	r.restartsFor(t, "server.address")
	if got := r.webhook(token); got != 200 {
		t.Errorf("got %d", got)
	}
}

// Who may call belongs to the address that is called.
func TestAnAddressThatStaysKeepsItsCallers(t *testing.T) {
	s := settings{providers: []string{smtp("main", startMailServer(t))}}
	const address, list = `"127.0.0.1:0"`, `, "allowedIPs": ["192.0.2.7"]`
	r := &running{t: t, dir: folder(t), log: new(logs), hangups: make(chan os.Signal, 1)}
	r.write("config.json", strings.Replace(s.json(), address, address+list, 1))
	r.start()
	r.write("config.json", strings.Replace(s.json(), address, `"127.0.0.1:1"`, 1))
	eventually(t, "it is read", func() bool { return strings.Contains(r.log.String(), `"reloaded"`) })
	if got := r.webhook(token); got != 403 {
		t.Errorf("got %d", got)
	}
	if !strings.Contains(r.log.String(), `needs a restart","key":"server.allowedIPs"`) {
		t.Error("it is not told")
	}
}

// A folder may take the place of the one that the configuration is in.
func TestAFolderInThePlaceOfAnother(t *testing.T) {
	s := settings{providers: []string{smtp("main", startMailServer(t))}}
	r := &running{t: t, dir: filepath.Join(folder(t), "conf"), log: new(logs), hangups: make(chan os.Signal, 1)}
	next := "Bearer the-next-token-of-the-test"
	for folder, tokens := range map[string][]string{"conf": {token}, "next": {next}} {
		s.tokens = tokens
		r.write(filepath.Join("..", folder, "config.json"), s.json())
	}
	r.start()
	if err := errors.Join(os.Rename(r.dir, r.dir+".old"), os.Rename(filepath.Join(r.dir, "..", "next"), r.dir)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is read", func() bool { return r.webhook(next) == 200 })
	s.tokens = []string{"Bearer and-one-after-that-one"}
	r.write("config.json", s.json())
	eventually(t, "a write in it", func() bool { return r.webhook(s.tokens[0]) == 200 })
}

// The pages are never without a token where others reach them, whatever the configuration
// says of another address.
func TestTheAdminListenerThatIsThereKeepsItsToken(t *testing.T) {
	s := settings{providers: []string{smtp("main", startMailServer(t))}}
	const before, after = `"admin": {"address": "127.0.0.1:0"}`, `"admin": {"address": "0.0.0.0:0", "token": "a-long-token-of-the-pages"}`
	r := &running{t: t, dir: folder(t), log: new(logs), hangups: make(chan os.Signal, 1)}
	r.write("config.json", strings.Replace(s.json(), before, after, 1))
	r.start()
	for _, address := range []string{"127.0.0.1:0", ""} {
		reloads := strings.Count(r.log.String(), `"reloaded"`)
		r.write("config.json", strings.Replace(s.json(), before, `"admin": {"address": "`+address+`"}`, 1))
		eventually(t, "it is read", func() bool { return strings.Count(r.log.String(), `"reloaded"`) > reloads })
		r.restartsFor(t, "admin.address")
		_, port, _ := net.SplitHostPort(r.admin)
		if status, _ := r.get("localhost:"+port, "/metrics"); status != 401 {
			t.Errorf("%q: a stranger gets %d", address, status)
		}
	}
	loaded, err := config.Load(filepath.Join(r.dir, "config.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Config.Admin.Address = "0.0.0.0:0" // as it may be with a socket of systemd's
	ctx, stop := context.WithCancel(t.Context())
	err = app.Run(ctx, app.Options{Log: io.Discard, Load: func() (config.Loaded, error) { return loaded, nil }, Listening: func(string, string) { stop() }})
	if !errors.Is(err, app.ErrAdmin) || !strings.Contains(err.Error(), "the admin listener is on ") {
		t.Errorf("without a token: %v", err)
	}
}

func TestATakenPortIsAnErrorAtOnce(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for key, text := range map[string]string{
		"server.address": strings.Replace(settings{}.json(), "127.0.0.1:0", taken.Addr().String(), 1),
		"admin.address":  strings.Replace(settings{}.json(), `"admin": {"address": "127.0.0.1:0"`, `"admin": {"address": "`+taken.Addr().String()+`"`, 1),
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		text = strings.Replace(text, `"providers": []`, `"providers": [{"type": "inbox"}]`, 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := app.Run(t.Context(), app.Options{Log: io.Discard, Load: func() (config.Loaded, error) { return config.Load(file, nil) }})
		if err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// Others on this machine find the port, and a directory that is gone stops nothing.
func TestTheAddressIsLeftForOthers(t *testing.T) {
	for _, runtime := range []string{t.TempDir(), filepath.Join(t.TempDir(), "gone")} {
		r := &running{t: t, dir: folder(t), runtime: runtime, log: new(logs), hangups: make(chan os.Signal, 1)}
		r.write("config.json", settings{providers: []string{smtp("main", startMailServer(t))}}.json())
		r.start()
		left, err := os.ReadFile(filepath.Join(runtime, app.AddressFile))
		if want := r.public + "\n"; err == nil && string(left) != want {
			t.Errorf("%q, want %q", left, want)
		}
		// The lines before it have come, too.
		eventually(t, "it listens", func() bool { return strings.Contains(r.log.String(), `"listening"`) })
		if told := strings.Contains(r.log.String(), "healthcheck may not find the port"); told != (err != nil) {
			t.Errorf("%v, and it is told: %t", err, told)
		}
	}
}

// Balancers and people see that a relay stops, which still answers.
func TestAStopIsSeen(t *testing.T) {
	r := run(t, settings{providers: []string{smtp("main", startMailServer(t))}})
	if code, text := r.get(r.public, "/readyz"); code != 200 || text != "ok\n" {
		t.Errorf("%d %s", code, text)
	}
	if text := r.page("/readyz"); !strings.Contains(text, `"ready":true`) || strings.Contains(text, "stopping") {
		t.Error(text)
	}
	r.stop()
	eventually(t, "it says that it stops", func() bool { code, text := r.get(r.public, "/readyz"); return code == 503 && text == "stopping\n" })
	if text := r.page("/readyz"); !strings.Contains(text, `"ready":false`) || !strings.Contains(text, `"server":"stopping"`) {
		t.Error(text)
	}
	if got := r.webhook(token); got != 200 {
		t.Errorf("a late mail is answered %d", got)
	}
}

// An inbox shows the mails of the relay that has one.
func TestTheInboxIsShown(t *testing.T) {
	r := run(t, settings{providers: []string{`{"type": "inbox"}`}})
	if got := r.webhook(token); got != 200 {
		t.Fatal(got)
	}
	if text := r.page("/inbox"); !strings.Contains(text, "ada@example.org") {
		t.Error(text)
	}
	none := run(t, settings{providers: []string{smtp("main", startMailServer(t))}})
	if code, _ := none.get(none.admin, "/inbox"); code != 404 {
		t.Errorf("without one: %d", code)
	}
}

// Nobody overlooks that every mail goes to one address.
func TestARedirectionIsTold(t *testing.T) {
	const notice = "every mail goes to one address"
	mails := startMailServer(t)
	s := settings{providers: []string{smtp("main", mails)}}
	r := run(t, s)
	eventually(t, "it listens", func() bool { return strings.Contains(r.log.String(), `"listening"`) })
	if strings.Contains(r.log.String(), notice) {
		t.Error("it goes to whom it is for")
	}
	s.more = `, "recipients": {"redirectTo": "test@acme.example"}`
	r.write("config.json", s.json())
	eventually(t, "it is told", func() bool { return strings.Contains(r.log.String(), notice) })
	if text := r.log.String(); !strings.Contains(text, `"to":"t***@acme.example"`) || strings.Contains(text, "test@acme") {
		t.Error("the log has the whole address")
	}
}

// What was counted before a reload counts after it.
func TestCountsGoOver(t *testing.T) {
	mails := startMailServer(t)
	s := settings{providers: []string{smtp("main", mails)}, limits: `{"recipient": "3/1h"}`}
	r := run(t, s)
	for range 2 {
		if got := r.webhook(token); got != 200 {
			t.Fatalf("got %d", got)
		}
	}
	s.more = `, "log": {"level": "debug"}`
	r.write("config.json", s.json())
	eventually(t, "the change is in use", func() bool { return strings.Contains(r.log.String(), `"reloaded"`) })
	if first, second := r.webhook(token), r.webhook(token); first != 200 || second != 429 {
		t.Errorf("got %d and %d", first, second)
	}
}

// Templates are a part of what is read again: files written, renamed, removed, and
// a whole directory that takes the place of another.
func TestTemplatesAreReadAgain(t *testing.T) {
	mails := startMailServer(t)
	r := &running{t: t, dir: folder(t), log: new(logs), hangups: make(chan os.Signal, 1)}
	template := func(file, subject string) {
		r.write(file, "<title>"+subject+"</title><p>{{code}}</p>")
	}
	template("templates/en/SignIn.html", "one")
	r.write("config.json", settings{templates: filepath.Join(r.dir, "templates"), providers: []string{smtp("main", mails)}}.json())
	r.start()
	// until waits for a mail with the subject. The change is made once: the files
	// were watched before they were read.
	until := func(what, subject string, change func()) {
		t.Helper()
		change()
		eventually(t, what, func() bool {
			return r.webhook(token) == 200 && strings.Contains(mails.last(), "\nSubject: "+subject+"\r\n")
		})
	}
	until("the start", "one", func() {})
	until("a rename", "two", func() { template("templates/en/SignIn.html", "two") })
	until("a write", "three", func() {
		file := filepath.Join(r.dir, "templates", "en", "SignIn.html")
		if err := os.WriteFile(file, []byte("<title>three</title><p>{{code}}</p>"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	template("templates/en/SignIn.html", "broken {{#if}}")
	eventually(t, "a broken edit is told", func() bool {
		return strings.Contains(r.log.String(), "SignIn.html:1:") && r.has("relay_templates_last_reload_successful 0")
	})
	if !r.has("relay_config_last_reload_successful 1") {
		t.Error("the metrics say that the configuration is refused")
	}
	until("the last good one is in use", "three", func() {})
	if err := os.RemoveAll(filepath.Join(r.dir, "templates", "en")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a removal", func() bool { return r.webhook(token) == 200 && !strings.Contains(mails.last(), "\nSubject: three") })
	until("a new language", "four", func() { template("templates/en/SignIn.html", "four") })
	until("another directory in its place", "five", func() {
		template("next/en/SignIn.html", "five")
		if err := os.Rename(filepath.Join(r.dir, "templates"), filepath.Join(r.dir, "old")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(r.dir, "next"), filepath.Join(r.dir, "templates")); err != nil {
			t.Fatal(err)
		}
	})
	until("a write in that directory", "six", func() { template("templates/en/SignIn.html", "six") })

	template("others/en/SignIn.html", "broken {{#if}}")
	refusals := strings.Count(r.log.String(), `"not reloaded`)
	r.write("config.json", settings{templates: filepath.Join(r.dir, "others"), providers: []string{smtp("main", mails)}}.json())
	eventually(t, "a broken directory is told", func() bool { return strings.Count(r.log.String(), `"not reloaded`) > refusals })
	until("it is mended", "seven", func() { template("others/en/SignIn.html", "seven") })
}

// One directory may be reached by several names: the templates by a link that is
// turned, and a language that is the link to another.
func TestLinkedTemplatesAreReadAgain(t *testing.T) {
	mails := startMailServer(t)
	r := &running{t: t, dir: folder(t), log: new(logs), hangups: make(chan os.Signal, 1)}
	link := filepath.Join(r.dir, "templates")
	lead := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, name+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	template := func(file, subject string) { r.write(file, "<title>"+subject+"</title><p>{{code}}</p>") }
	until := func(subject string) {
		t.Helper()
		eventually(t, subject, func() bool {
			return r.webhook(token) == 200 && strings.Contains(mails.last(), "\nSubject: "+subject+"\r\n")
		})
	}
	for _, version := range []string{"v1", "v2"} {
		template("versions/"+version+"/de/SignIn.html", version)
		lead("de", filepath.Join(r.dir, "versions", version, "en"))
	}
	lead(filepath.Join("versions", "v1"), link)
	lead(".", filepath.Join(r.dir, "current")) // as deployments lead to a release
	link = filepath.Join(r.dir, "current", "templates")
	r.write("config.json", settings{templates: link, providers: []string{smtp("main", mails)}}.json())
	r.start()
	until("v1")
	template("versions/v1/de/SignIn.html", "a write")
	until("a write")
	lead(filepath.Join("versions", "v2"), link)
	until("v2")
	template("versions/v2/de/SignIn.html", "another write")
	until("another write")
	template("releases/2/templates/en/SignIn.html", "v3")
	lead(filepath.Join("releases", "2"), filepath.Join(r.dir, "current"))
	until("v3")
	if n := strings.Count(r.log.String(), `"reloaded"`); n > 10 {
		t.Errorf("four changes were read %d times", n)
	}
}

// Kubernetes mounts a ConfigMap as links through one link that it turns.
func TestAMountOfKubernetesIsReadAgain(t *testing.T) {
	mails := startMailServer(t)
	r := &running{t: t, dir: folder(t), log: new(logs), hangups: make(chan os.Signal, 1)}
	turn := func(generation, token, subject string) {
		t.Helper()
		r.write(filepath.Join(generation, "config.json"),
			settings{tokens: []string{token}, templates: filepath.Join(r.dir, "templates"), providers: []string{smtp("main", mails)}}.json())
		r.write(filepath.Join(generation, "en", "SignIn.html"), "<title>"+subject+"</title><p>{{code}}</p>")
		fresh := filepath.Join(r.dir, "..data_tmp")
		if err := os.Symlink(generation, fresh); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, filepath.Join(r.dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	turn("..1", token, "one")
	if err := os.Symlink(filepath.Join("..data", "config.json"), filepath.Join(r.dir, "config.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.dir, "templates"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..", "..data", "en"), filepath.Join(r.dir, "templates", "en")); err != nil {
		t.Fatal(err)
	}
	r.start()
	if got := r.webhook(token); got != 200 || !strings.Contains(mails.last(), "Subject: one") {
		t.Fatalf("got %d and %s", got, mails.last())
	}
	const next = "Bearer the-token-of-the-next-generation"
	turn("..2", next, "two")
	eventually(t, "the next generation is in use", func() bool {
		return r.webhook(next) == 200 && strings.Contains(mails.last(), "Subject: two")
	})
}

// docs/operations.md lists every metric with its labels, and no other.
func TestTheMetricsAreDocumented(t *testing.T) {
	r := run(t, settings{providers: []string{smtp("main", startMailServer(t)), postmark("other", "https://api.postmarkapp.com")},
		more: `, "deliveries": {"database": "deliveries.db"}`})
	if got := r.webhook(token); got != 200 {
		t.Fatal(got)
	}
	actual := make(map[string]string)
	for _, line := range regexp.MustCompile(`(?m)^(relay_\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? `).FindAllStringSubmatch(r.page("/metrics"), -1) {
		var labels []string
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(line[2], -1) {
			if label[1] != "le" {
				labels = append(labels, "`"+label[1]+"`")
			}
		}
		actual[line[1]] = strings.Join(labels, ", ")
	}
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `(relay_\\w+)` \\| ([^|]*?) ?\\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = row[2]
	}
	if !maps.Equal(actual, documented) {
		t.Errorf("there are\n%v\nand documented are\n%v", actual, documented)
	}
}
