package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

func read(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// browse opens a page in a real browser and returns its document as text.
func browse(t testing.TB, page string, options ...string) string {
	t.Helper()
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium, append(options, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+t.TempDir(), "--dump-dom", page)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return string(out)
}

// The addresses of development mode.
const (
	developmentPublic = "127.0.0.1:8080"
	developmentAdmin  = "127.0.0.1:9090"
)

// startDevelopment runs the binary in an empty directory and an empty
// environment, as on a bare machine.
func startDevelopment(t testing.TB) *relayProcess {
	t.Helper()
	for _, address := range []string{developmentPublic, developmentAdmin} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			unavailable(t, "development mode's port is taken: "+address)
		}
		_ = l.Close()
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Dir, cmd.Env = t.TempDir(), []string{}
	r := &relayProcess{process: start(t, cmd), public: developmentPublic, admin: developmentAdmin}
	r.waitReady(t)
	return r
}

// What development mode prints is enough to set Logto's connector up.
func TestDevelopmentModePrintsWhatToPasteIntoLogto(t *testing.T) {
	relay := startDevelopment(t)
	until(t, "it says how to try it", func() bool { return strings.Contains(relay.log(), "curl") })
	endpoint := regexp.MustCompile(`http://\S+/logto/email`).FindString(relay.log())
	header := regexp.MustCompile(`Bearer [A-Z0-9]{20,}`).FindString(relay.log())
	if endpoint == "" || header == "" {
		t.Fatalf("no endpoint or no header in:\n%s", relay.log())
	}
	got := post(t, endpoint, "application/json", header, bytes.NewReader(captured(t)["signin"]))
	if got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := post(t, endpoint, "application/json", "Bearer wrong", bytes.NewReader(captured(t)["signin"])); got.status != http.StatusUnauthorized {
		t.Errorf("a wrong token gets %d", got.status)
	}
}

func TestTheInboxShowsAMailInABrowser(t *testing.T) {
	relay := startRelay(t, inbox)
	for _, name := range []string{"signin", "user-permission-validation-hostile-name"} {
		if got := post(t, relay.webhook(), "application/json", authorization, bytes.NewReader(captured(t)[name])); got.status != http.StatusOK {
			t.Fatalf("%s: %d %s", name, got.status, got.body)
		}
	}
	list := browse(t, "http://"+relay.admin+"/inbox")
	links := regexp.MustCompile(`href="(/inbox/[0-9a-z]{26})"`).FindAllStringSubmatch(list, -1)
	if len(links) < 2 {
		t.Fatalf("the list has %d mails, want 2:\n%s", len(links), list)
	}
	mail := browse(t, "http://"+relay.admin+links[len(links)-1][1])
	for _, want := range []string{"Your sign-in code", "Auto-Submitted", "Message-ID", "view=text"} {
		if !strings.Contains(mail, want) && !strings.Contains(strings.ToLower(mail), strings.ToLower(want)) {
			t.Errorf("the page of a mail lacks %q", want)
		}
	}
	frame := regexp.MustCompile(`<iframe[^>]*>`).FindString(mail)
	if !strings.Contains(frame, "sandbox") || strings.Contains(frame, "allow-scripts") || strings.Contains(frame, "allow-same-origin") {
		t.Errorf("the mail's HTML is not in a sandboxed frame: %q", frame)
	}
	if strings.Contains(mail, "<script") {
		t.Error("the page has a script")
	}
	// The frame's own document, opened by itself, is powerless too.
	response, err := http.Get(fmt.Sprintf("http://%s%s/html", relay.admin, links[0][1]))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if policy := response.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "sandbox") {
		t.Errorf("the mail's HTML is served with the policy %q", policy)
	}
}

// A mail that comes while the list is open shows by itself; on a paused list it does
// not.
func TestTheInboxShowsNewMailsByItself(t *testing.T) {
	relay := startRelay(t, inbox)
	send := func() {
		if got := post(t, relay.webhook(), "application/json", authorization, bytes.NewReader(captured(t)["signin"])); got.status != http.StatusOK {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	mails := func(list string) int { return strings.Count(list, `class="subject"`) }
	var asked atomic.Int32
	admin := &url.URL{Scheme: "http", Host: relay.admin}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/inbox" && asked.Add(1) == 2 { // the page asks once more
			send()
		}
		httputil.NewSingleHostReverseProxy(admin).ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	if list := browse(t, front.URL+"/inbox?live=off", "--virtual-time-budget=9000"); mails(list) != 0 || asked.Load() != 1 {
		t.Errorf("%d mails, asked for %d times, want a list that rests", mails(list), asked.Load())
	}
	asked.Store(0)
	if list := browse(t, front.URL+"/inbox", "--virtual-time-budget=9000"); mails(list) != 1 || asked.Load() < 2 {
		t.Errorf("%d mails, asked for %d times, want one that came meanwhile:\n%s", mails(list), asked.Load(), list)
	}
}
