package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/providers"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

const testToken = "Bearer a-long-random-token"

// deliver is a relay made of one function.
type deliver func(ctx context.Context, r relay.Request) (relay.Receipt, error)

func (d deliver) Deliver(ctx context.Context, r relay.Request) (relay.Receipt, error) {
	return d(ctx, r)
}

func accept(context.Context, relay.Request) (relay.Receipt, error) {
	return relay.Receipt{Provider: "main", ID: "<42@provider>", Locale: "en",
		Attempts: []relay.Attempt{{Provider: "main", Duration: 12 * time.Millisecond}}}, nil
}

func refuse(err error) deliver {
	return func(context.Context, relay.Request) (relay.Receipt, error) { return relay.Receipt{}, err }
}

// words are sentences that tell what was asked for.
type words struct{}

func (words) Sentence(locale, reason string) string {
	if locale == "" {
		locale = "en"
	}
	return fmt.Sprintf("A sentence for %s in %s.", reason, locale)
}

func (words) Locale(_ string, payload map[string]any) string {
	if locale, _ := payload["locale"].(string); len(locale) == 2 {
		return locale
	}
	return "en"
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

// line returns the one line with this message.
func (l *logs) line(t *testing.T, message string) map[string]any {
	t.Helper()
	var found []map[string]any
	for text := range strings.Lines(l.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("log line %q: %v", text, err)
		}
		if line["msg"] == message {
			found = append(found, line)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d lines %q, want one, in:\n%s", len(found), message, l)
	}
	return found[0]
}

// logger writes everything but the time, whose digits could look like a code.
func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func testSettings() Settings {
	s := DefaultSettings()
	s.Authorization = []settings.Secret{settings.NewSecret(testToken)}
	return s
}

func publicOver(s Settings, d Deliverer, log *logs) http.Handler {
	return NewPublic(s, Public{
		Relay:      d,
		Sentences:  words{},
		Links:      templates.Links{Schemes: []string{"https"}},
		Metrics:    NewMetrics(prometheus.NewRegistry(), []string{"SignIn"}),
		Logger:     log.logger(),
		MailLogger: log.logger(),
	})
}

func publicWith(d Deliverer, log *logs) http.Handler { return publicOver(testSettings(), d, log) }

// webhookRequest is one that is in order but for its body.
func webhookRequest(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/logto/email", strings.NewReader(body))
	r.Header.Set("Authorization", testToken)
	r.Header.Set("Content-Type", "application/json")
	return r
}

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

// checkFailure wants the whole answer to be one of ours: the sentence for the
// word, the reference, and nothing else.
func checkFailure(t *testing.T, got *http.Response, code int, word relay.Reason, locale string) {
	t.Helper()
	body := bodyOf(t, got)
	if got.StatusCode != code || got.Header.Get("X-Relay-Error") != string(word) {
		t.Errorf("got %d %s %q, want %d %s", got.StatusCode, got.Header.Get("X-Relay-Error"), body, code, word)
	}
	id := got.Header.Get("X-Request-Id")
	if !regexp.MustCompile(`^[0-9a-z]{26}$`).MatchString(id) {
		t.Fatalf("X-Request-Id is %q", id)
	}
	want := fmt.Sprintf("A sentence for %s in %s. (ref %s)", word, locale, id[:8])
	if body != want {
		t.Errorf("the body is %q, want %q", body, want)
	}
	if contentType := got.Header.Get("Content-Type"); contentType != "text/plain; charset=utf-8" {
		t.Errorf("Content-Type is %q", contentType)
	}
	if got.Header.Get("Location") != "" || got.Header.Get("Content-Encoding") != "" {
		t.Errorf("unwanted headers in %v", got.Header)
	}
}

func captured(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/logto/*.json")
	if err != nil || len(files) != 49 {
		t.Fatalf("%d captured bodies, want 49 (%v)", len(files), err)
	}
	bodies := make(map[string]string)
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bodies[strings.TrimSuffix(filepath.Base(file), ".json")] = string(body)
	}
	return bodies
}

func TestCapturedBodies(t *testing.T) {
	refused := map[string]bool{
		"signin-to-two-addresses": true, "signin-to-angle": true, "signin-to-percent": true,
		"organization-invitation-hostile-inviter": true,
	}
	for name, body := range captured(t) {
		t.Run(name, func(t *testing.T) {
			var request relay.Request
			calls := 0
			h := publicWith(deliver(func(ctx context.Context, r relay.Request) (relay.Receipt, error) {
				calls++
				request = r
				return accept(ctx, r)
			}), new(logs))
			got := serve(h, webhookRequest(body))
			if refused[name] {
				checkFailure(t, got, 422, relay.Invalid, "en")
				if calls != 0 {
					t.Error("a refused webhook became a mail")
				}
				return
			}
			if answer := bodyOf(t, got); got.StatusCode != 200 || answer != `{"id":"<42@provider>","provider":"main"}` {
				t.Fatalf("got %d %s", got.StatusCode, answer)
			}
			if got.Header.Get("Content-Type") != "application/json" || got.Header.Get("X-Request-Id") != request.ID {
				t.Errorf("headers %v for request %s", got.Header, request.ID)
			}
			if calls != 1 || request.To == "" || request.Type == "" || request.Payload == nil {
				t.Errorf("%d calls with %+v", calls, request)
			}
		})
	}
}

func TestRequestIsWhatWasSent(t *testing.T) {
	var request relay.Request
	h := publicWith(deliver(func(ctx context.Context, r relay.Request) (relay.Receipt, error) {
		deadline, ok := ctx.Deadline()
		if left := time.Until(deadline); !ok || left > 8*time.Second || left < 7*time.Second {
			t.Errorf("the deadline is %v from now", left)
		}
		request = r
		return accept(ctx, r)
	}), new(logs))
	got := serve(h, webhookRequest(captured(t)["organization-invitation-inviter-branded"]))
	if got.StatusCode != 200 {
		t.Fatal(got.Status)
	}
	if request.To != "guest2@example.com" || request.Type != "OrganizationInvitation" {
		t.Errorf("to %q, type %q", request.To, request.Type)
	}
	if seats := request.Payload["seats"]; seats != json.Number("3") {
		t.Errorf("seats are %#v", seats)
	}
}

func TestReasonsBecomeAnswers(t *testing.T) {
	tests := []struct {
		name       string
		err        error
		code       int
		word       relay.Reason
		locale     string
		retryAfter string
	}{
		{"recipient refused", &relay.Error{Reason: relay.RecipientRefused}, 422, "recipient_refused", "fr", ""},
		{"suppressed", &relay.Error{Reason: relay.RecipientSuppressed}, 422, "recipient_suppressed", "fr", ""},
		{"rate limited", &relay.Error{Reason: relay.RateLimited, RetryAfter: 90 * time.Second}, 429, "rate_limited", "fr", "90"},
		{"a part of a second counts whole", &relay.Error{Reason: relay.RateLimited, RetryAfter: 1001 * time.Millisecond}, 429, "rate_limited", "fr", "2"},
		{"provider refused", &relay.Error{Reason: relay.ProviderRefused, RetryAfter: time.Hour}, 502, "provider_refused", "fr", ""},
		{"unavailable", &relay.Error{Reason: relay.ProviderUnavailable, RetryAfter: time.Minute}, 503, "provider_unavailable", "fr", "60"},
		{"unavailable, nobody knows for how long", &relay.Error{Reason: relay.ProviderUnavailable}, 503, "provider_unavailable", "fr", "1"},
		{"timeout", &relay.Error{Reason: relay.Timeout}, 504, "timeout", "fr", ""},
		{"uncertain", &relay.Error{Reason: relay.Uncertain}, 504, "uncertain", "fr", ""},
		{"internal", &relay.Error{Reason: relay.Internal}, 500, "internal", "fr", ""},
		{"the mail's language goes first", &relay.Error{Reason: relay.Timeout, Locale: "fr-CA"}, 504, "timeout", "fr-CA", ""},
		{"wrapped", fmt.Errorf("outer: %w", &relay.Error{Reason: relay.Invalid}), 422, "invalid", "fr", ""},
		{"a bare deadline", fmt.Errorf("outer: %w", context.DeadlineExceeded), 504, "timeout", "fr", ""},
		{"anything else", errors.New("disk full"), 500, "internal", "fr", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := serve(publicWith(refuse(test.err), new(logs)),
				webhookRequest(`{"to":"alice@example.com","type":"SignIn","payload":{"code":"123456","locale":"fr"}}`))
			if got.Header.Get("Retry-After") != test.retryAfter {
				t.Errorf("Retry-After is %q, want %q", got.Header.Get("Retry-After"), test.retryAfter)
			}
			checkFailure(t, got, test.code, test.word, test.locale)
		})
	}
}

func TestRoutes(t *testing.T) {
	tests := []struct {
		method, path string
		code         int
		word         relay.Reason
		allow        string
	}{
		{"GET", "/healthz", 200, "", ""},
		{"HEAD", "/healthz", 200, "", ""},
		{"POST", "/healthz", 405, "method_not_allowed", "OPTIONS, GET, HEAD"},
		{"GET", "/logto/email", 405, "method_not_allowed", "OPTIONS, POST"},
		{"PUT", "/logto/email", 405, "method_not_allowed", "OPTIONS, POST"},
		{"POST", "/logto/email/", 404, "not_found", ""},
		{"POST", "/logto", 404, "not_found", ""},
		{"POST", "//logto/email", 404, "not_found", ""},
		{"GET", "/metrics", 404, "not_found", ""},
		{"GET", "/", 404, "not_found", ""},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			r := webhookRequest("")
			r.Method, r.URL.Path = test.method, test.path
			got := serve(publicWith(deliver(accept), new(logs)), r)
			if test.word != "" {
				checkFailure(t, got, test.code, test.word, "en")
			} else if got.StatusCode != test.code {
				t.Error(got.Status)
			}
			if got.Header.Get("Allow") != test.allow {
				t.Errorf("Allow is %q, want %q", got.Header.Get("Allow"), test.allow)
			}
		})
	}
}

// A panic may come from anywhere and say anything.
func TestPanicIsAnAnswer(t *testing.T) {
	log := new(logs)
	h := publicWith(deliver(func(_ context.Context, r relay.Request) (relay.Receipt, error) {
		panic(fmt.Sprint("bad payload: ", r.Payload))
	}), log)
	body := `{"to":"alice@example.com","type":"SignIn","payload":{"code":"123456"}}`
	got := serve(h, webhookRequest(body))
	checkFailure(t, got, 500, relay.Internal, "en")
	line := log.line(t, "panic")
	if line["type"] != "string" || !strings.Contains(fmt.Sprint(line["stack"]), "TestPanicIsAnAnswer") {
		t.Errorf("the panic is logged as %v", line)
	}
	if strings.Contains(log.String(), "123456") {
		t.Error("the log holds what the panic said")
	}
	if access := log.line(t, "request"); access["status"] != 500.0 || access["error"] != "internal" {
		t.Errorf("the access line is %v", access)
	}
}

type brokenWords struct{ words }

func (brokenWords) Sentence(string, string) string { panic("no words") }

func TestPanicOfTheCatalogueIsAnAnswer(t *testing.T) {
	h := NewPublic(testSettings(), Public{Relay: refuse(&relay.Error{Reason: relay.Timeout}), Sentences: brokenWords{},
		Metrics: NewMetrics(prometheus.NewRegistry(), nil), Logger: slog.New(slog.DiscardHandler), MailLogger: slog.New(slog.DiscardHandler)})
	got := serve(h, webhookRequest(`{"to":"alice@example.com","type":"SignIn","payload":{}}`))
	if body := bodyOf(t, got); got.StatusCode != 504 || !strings.HasPrefix(body, apology+" (ref ") {
		t.Errorf("got %d %q", got.StatusCode, body)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := NewPublic(testSettings(), Public{
		Relay: deliver(func(ctx context.Context, r relay.Request) (relay.Receipt, error) {
			if r.Type == "SignIn" {
				return accept(ctx, r)
			}
			return relay.Receipt{}, &relay.Error{Reason: relay.ProviderRefused, Attempts: []relay.Attempt{
				{Provider: "main", Err: &providers.Error{Kind: providers.Configuration}}}}
		}),
		Sentences: words{}, Metrics: NewMetrics(registry, []string{"SignIn"}),
		Logger: slog.New(slog.DiscardHandler), MailLogger: slog.New(slog.DiscardHandler),
	})
	for _, messageType := range []string{"SignIn", "Surprise1", "Surprise2"} {
		serve(h, webhookRequest(`{"to":"alice@example.com","type":"`+messageType+`","payload":{}}`))
	}
	serve(h, httptest.NewRequest("GET", "/scan/1", nil))
	serve(h, httptest.NewRequest("GET", "/healthz", nil))
	got := metricsText(t, registry)
	for _, want := range []string{
		`relay_requests_total{error="",status="200"} 1`,
		`relay_requests_total{error="provider_refused",status="502"} 2`,
		`relay_requests_total{error="not_found",status="404"} 1`,
		`relay_request_duration_seconds_count 3`,
		`relay_mails_total{error="",provider="main",type="SignIn"} 1`,
		`relay_mails_total{error="provider_refused",provider="",type="other"} 2`,
		`relay_attempts_total{kind="accepted",provider="main"} 1`,
		`relay_attempts_total{kind="configuration",provider="main"} 2`,
		`relay_attempt_duration_seconds_count{provider="main"} 3`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no line %s in:\n%s", want, got)
		}
	}
}

func metricsText(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	h := NewAdmin(AdminSettings{}, Admin{Ready: ready, Metrics: registry, Logger: slog.New(slog.DiscardHandler)})
	r := httptest.NewRequest("GET", "http://localhost:9090/metrics", nil)
	return bodyOf(t, serve(h, r))
}

func ready() (bool, map[string]string) { return true, map[string]string{"main": "ok"} }
