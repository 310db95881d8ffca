package admin

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/settings"
)

func serve(h http.Handler, r *http.Request) *http.Response {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder.Result()
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	return string(body)
}

// header sets a header, more than once for more than one value.
func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = values }
}

func ready() Status { return Status{Ready: true, Details: map[string]string{"main": "ok"}} }

// box is an inbox that holds what it is made of.
type box []providers.InboxMail

func (b box) Mails() []providers.InboxMail { return b }

func (b box) Mail(id string) (providers.InboxMail, bool) {
	for _, mail := range b {
		if mail.Message.ID == id {
			return mail, true
		}
	}
	return providers.InboxMail{}, false
}

func (box) Remove(string) bool { return false }
func (box) Clear()             {}

const mailHTML = `<!doctype html><title>x</title><!--[if mso]>o<![endif]--><p style="color:red">Your code is <b>123456</b>.</p><script>alert(1)</script>`

func testBox() box {
	return box{
		{
			Message: &mail.Message{
				ID: "0newest0000000000000000000", Subject: `Code for <b>Acme</b> & "friends"`, To: "alice@example.com",
				From: mail.Address{Name: "Acme", Address: "no-reply@acme.example"}, ReplyTo: mail.Address{Address: "help@acme.example"},
				MessageID: "0newest@acme.example", Date: time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC),
				Text: "Your code is 123456.\n<script>alert(2)</script>", HTML: mail.Body{mail.OwnPart(mailHTML)}, Type: "SignIn", Locale: "en",
			},
			Received: time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC),
			Headers:  []mail.Header{{Name: "X-Entity-Ref-ID", Value: "0newest"}, {Name: "X-Markup", Value: "<i>"}},
		},
		{
			Message: &mail.Message{ID: "0older00000000000000000000", To: "bob@example.com", MessageID: "0older@acme.example",
				From: mail.Address{Address: "no-reply@acme.example"}, Text: "Text alone.", Type: "Generic", Locale: "ar"},
		},
	}
}

func adminWith(token string, inbox Inbox, status func() Status) http.Handler {
	return New(Options{Token: settings.NewSecret(token), Status: status, Metrics: prometheus.NewRegistry(), Inbox: inbox, Logger: slog.New(slog.DiscardHandler)})
}

func get(h http.Handler, path string, change ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest("GET", "http://127.0.0.1:9090"+path, nil)
	for _, f := range change {
		f(r)
	}
	return serve(h, r)
}

func TestProbes(t *testing.T) {
	stopping := func() Status { return Status{Details: map[string]string{"server": "stopping"}} }
	degraded := func() Status {
		return Status{Ready: true, Degraded: true, Details: map[string]string{"main": "authentication failed"}}
	}
	for _, test := range []struct {
		name, path string
		status     func() Status
		change     func(*http.Request)
		code       int
		body       string
	}{
		{"alive", "/healthz", stopping, header("X", "y"), 200, "ok\n"},
		{"ready", "/readyz", ready, header("Authorization", "Bearer secret-token"), 200, `{"ready":true,"details":{"main":"ok"}}` + "\n"},
		{"degraded", "/readyz", degraded, header("Authorization", "Bearer secret-token"), 200, `{"ready":true,"degraded":true,"details":{"main":"authentication failed"}}` + "\n"},
		{"stopping", "/readyz", stopping, header("Authorization", "Bearer secret-token"), 503, `{"ready":false,"details":{"server":"stopping"}}` + "\n"},
		// Probes carry no token, and learn no details.
		{"degraded, a stranger", "/readyz", degraded, header("X", "y"), 200, `{"ready":true}` + "\n"},
		{"degraded, a wrong token", "/readyz", degraded, header("Authorization", "Bearer x"), 200, `{"ready":true}` + "\n"},
		{"stopping, a stranger", "/readyz", stopping, header("X", "y"), 503, `{"ready":false}` + "\n"},
	} {
		got := get(adminWith("secret-token", nil, test.status), test.path, test.change, func(r *http.Request) { r.Host = "10.0.0.7:9090" })
		if body := bodyOf(t, got); got.StatusCode != test.code || body != test.body {
			t.Errorf("%s: got %d %q, want %d %q", test.name, got.StatusCode, body, test.code, test.body)
		}
	}
	// Without a token it is the name of this machine that opens the pages.
	for host, body := range map[string]string{
		"127.0.0.1:9090": `{"ready":true,"details":{"main":"ok"}}` + "\n", "rebound.example:9090": `{"ready":true}` + "\n",
	} {
		got := get(adminWith("", nil, ready), "/readyz", func(r *http.Request) { r.Host = host })
		if got := bodyOf(t, got); got != body {
			t.Errorf("%s: got %s", host, got)
		}
	}
}

// Programs that watch pages ask for the header alone.
func TestPagesHaveAHeader(t *testing.T) {
	h := adminWith("secret-token", testBox(), ready)
	for path, code := range map[string]int{"/": 200, "/metrics": 200, "/inbox": 200, "/healthz": 200, "/readyz": 200, "/logout": 405, "/nothing": 404} {
		r := httptest.NewRequest("HEAD", "http://127.0.0.1:9090"+path, nil)
		r.Header.Set("Authorization", "Bearer secret-token")
		if got := serve(h, r); got.StatusCode != code {
			t.Errorf("%s: %d, want %d", path, got.StatusCode, code)
		}
	}
}

func TestAdminToken(t *testing.T) {
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	tests := []struct {
		name   string
		change func(*http.Request)
		code   int
	}{
		{"bearer", header("Authorization", "Bearer secret-token"), 200},
		{"bearer, small", header("Authorization", "bearer secret-token"), 200},
		{"basic", basic("admin", "secret-token"), 200},
		{"basic without a user", basic("", "secret-token"), 200},
		{"another host", func(r *http.Request) { r.Host = "relay.acme.example"; r.SetBasicAuth("", "secret-token") }, 200},
		{"none", func(*http.Request) {}, 401},
		{"wrong", header("Authorization", "Bearer secret-tokem"), 401},
		{"wrong password", basic("secret-token", "x"), 401},
		{"no scheme", header("Authorization", "secret-token"), 401},
		{"an empty one", header("Authorization", "Bearer "), 401},
		{"two headers", header("Authorization", "Bearer secret-token", "Bearer secret-token"), 401},
	}
	for _, path := range []string{"/", "/metrics", "/inbox", "/inbox/0newest0000000000000000000", "/inbox/0newest0000000000000000000/html"} {
		for _, test := range tests {
			got := get(adminWith("secret-token", testBox(), ready), path, test.change)
			if got.StatusCode != test.code {
				t.Errorf("%s, %s: got %d, want %d", path, test.name, got.StatusCode, test.code)
			}
			if asked := got.Header.Get("WWW-Authenticate"); (test.code == 401) != strings.HasPrefix(asked, "Basic ") {
				t.Errorf("%s, %s: WWW-Authenticate is %q", path, test.name, asked)
			}
		}
	}
	if got := get(adminWith("secret-token", nil, ready), "/nowhere"); got.StatusCode != 401 {
		t.Errorf("a stranger learns what is not there: %d", got.StatusCode)
	}
}

func TestAdminWithoutTokenIsForThisMachine(t *testing.T) {
	for host, code := range map[string]int{
		"127.0.0.1:9090": 200, "localhost:9090": 200, "LOCALHOST": 200, "[::1]:9090": 200, "127.0.0.1": 200,
		"rebound.example:9090": 403, "localhost.example": 403, "10.0.0.7:9090": 403, "": 403,
	} {
		got := get(adminWith("", testBox(), ready), "/inbox", func(r *http.Request) { r.Host = host })
		if got.StatusCode != code {
			t.Errorf("%q: got %d, want %d", host, got.StatusCode, code)
		}
	}
}

func TestPages(t *testing.T) {
	h := adminWith("", testBox(), ready)
	tests := []struct {
		path string
		want []string
	}{
		{"/", []string{"Ready", `href="/inbox"`, `href="/metrics"`, "<dt>main</dt><dd>ok</dd>"}},
		{"/inbox", []string{
			`<noscript><meta http-equiv="refresh"`, `<a href="?live=off">Pause</a>`, "2 of 2 mails", "Your code is 123456", `href="/inbox/0newest0000000000000000000"`, "Code for &lt;b&gt;Acme&lt;/b&gt; &amp; &#34;friends&#34;",
			"alice@example.com", "(no subject)", "bob@example.com"}},
		{"/inbox?live=off&q=alice+CODE", []string{"1 of 2 mails, paused", "alice@example.com", `<a href="?q=alice+CODE">`, `value="alice CODE"`}},
		{"/inbox?q=nobody", []string{"0 of 2 mails", "No mail has these words"}},
		{"/inbox/0newest0000000000000000000", []string{
			fmt.Sprintf("%d bytes of HTML, 46 bytes of text", len(mailHTML)), "scripts: no program runs them", "no lang", "<dt>Links</dt><dd>none", `href="/inbox/0newest0000000000000000000/message.eml"`,
			`<iframe class="mail light" sandbox src="/inbox/0newest0000000000000000000/html?scheme=light"`, "no-reply@acme.example", "help@acme.example",
			"X-Entity-Ref-ID", "&lt;i&gt;", "21 November 2026, 10:30:00"}},
		{"/inbox/0newest0000000000000000000?width=phone", []string{`<iframe class="mail light phone" sandbox src="/inbox/0newest0000000000000000000/html?scheme=light"`}},
		{"/inbox/0newest0000000000000000000?view=text", []string{"Your code is 123456.\n&lt;script&gt;"}},
		{"/inbox/0newest0000000000000000000?view=source", []string{"&lt;!--[if mso]&gt;o&lt;![endif]--&gt;", "&lt;script&gt;alert(1)"}},
		{"/inbox/0older00000000000000000000", []string{`<pre class="card" dir="auto">Text alone.</pre>`}},
		{"/inbox/0older00000000000000000000?view=source", []string{"Text alone."}},
		{"/inbox/0older00000000000000000000?view=raw", []string{"Message-ID: &lt;0older@acme.example&gt;", "Content-Transfer-Encoding"}},
	}
	for _, test := range tests {
		got := get(h, test.path)
		body := bodyOf(t, got)
		policy := pagePolicy
		if strings.HasPrefix(test.path, "/inbox") && !strings.HasPrefix(test.path, "/inbox/") && !strings.Contains(test.path, "live=off") {
			policy = livePolicy
			body = strings.Replace(body, `<script src="/live.js" type="module"></script>`, "", 1)
		}
		if got.StatusCode != 200 || got.Header.Get("Content-Security-Policy") != policy ||
			got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: got %d with %v", test.path, got.StatusCode, got.Header)
		}
		for _, want := range test.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in\n%s", test.path, want, body)
			}
		}
		for _, unwanted := range []string{"<script", "<b>Acme", "<i>", ` style="`, "allow-scripts", "allow-same-origin"} {
			if strings.Contains(body, unwanted) {
				t.Errorf("%s: %s in\n%s", test.path, unwanted, body)
			}
		}
	}
}

func TestMailIsShutIn(t *testing.T) {
	h := adminWith("", testBox(), ready)
	got := get(h, "/inbox/0newest0000000000000000000/html")
	policy := got.Header.Get("Content-Security-Policy")
	if got.StatusCode != 200 || bodyOf(t, got) != mailHTML || got.Header.Get("Content-Type") != "text/html; charset=UTF-8" {
		t.Errorf("got %d with %v", got.StatusCode, got.Header)
	}
	if !strings.HasPrefix(policy, "sandbox; default-src 'none';") || strings.Contains(policy, "script") {
		t.Errorf("the policy is %q", policy)
	}
	for _, path := range []string{"/inbox/nobody", "/inbox/nobody/html", "/inbox/0older00000000000000000000/html", "/inbox/", "/deliveries"} {
		if got := get(h, path); got.StatusCode != 404 {
			t.Errorf("%s: got %d", path, got.StatusCode)
		}
	}
}

func TestEmptyInbox(t *testing.T) {
	body := bodyOf(t, get(adminWith("", box{}, ready), "/inbox"))
	if !strings.Contains(body, "No mail yet.") || !strings.Contains(body, `http-equiv="refresh"`) {
		t.Errorf("got %s", body)
	}
}

func TestInboxIsForDevelopment(t *testing.T) {
	h := adminWith("", nil, ready)
	if got := get(h, "/inbox"); got.StatusCode != 404 {
		t.Errorf("got %d", got.StatusCode)
	}
	if body := bodyOf(t, get(h, "/")); strings.Contains(body, "inbox") {
		t.Errorf("the inbox is offered in\n%s", body)
	}
}

func TestStylesheet(t *testing.T) {
	got := get(adminWith("", nil, ready), "/style.css")
	if body := bodyOf(t, got); got.StatusCode != 200 || got.Header.Get("Content-Type") != "text/css; charset=utf-8" || !strings.Contains(body, "prefers-color-scheme: dark") {
		t.Errorf("got %d with %v", got.StatusCode, got.Header)
	}
}

func TestAdminPanicIsAnAnswer(t *testing.T) {
	got := get(adminWith("", nil, func() Status { panic("no state") }), "/readyz")
	if body := bodyOf(t, got); got.StatusCode != 500 || !strings.HasPrefix(body, "Internal Server Error (ref ") {
		t.Errorf("got %d %q", got.StatusCode, body)
	}
}
