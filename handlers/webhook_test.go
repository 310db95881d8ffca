package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

const testToken = "Bearer a-long-random-token"

// deliver is a relay made of one function.
type deliver func(ctx context.Context, r relay.Request) *mail.Delivery

func (d deliver) Deliver(ctx context.Context, r relay.Request) *mail.Delivery {
	return d(ctx, r)
}

func accept(_ context.Context, r relay.Request) *mail.Delivery {
	return &mail.Delivery{ID: r.ID, To: r.To, Type: r.Type, Locale: "en",
		Status: mail.StatusAccepted, Provider: "main", ProviderID: "<42@provider>",
		Attempts: []mail.Attempt{{Provider: "main", Kind: mail.AttemptAccepted, Duration: 12 * time.Millisecond}}}
}

func refuse(d mail.Delivery) deliver {
	return func(_ context.Context, r relay.Request) *mail.Delivery {
		refused := d
		refused.ID, refused.To, refused.Type, refused.Status = r.ID, r.To, r.Type, mail.StatusFailed
		return &refused
	}
}

// words are sentences that tell what was asked for.
type words struct{}

func (words) Sentence(locale string, f templates.Failure) string {
	if locale == "" {
		locale = "en"
	}
	return fmt.Sprintf("A sentence for %s in %s.", f.Reason, locale)
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

func testOptions() Public {
	return Public{Authorization: []settings.Token{{Secret: settings.NewSecret(testToken)}}, Timeout: 8 * time.Second, Ready: func() bool { return true }}
}

func publicOver(o Public, d Deliverer, log *logs) http.Handler {
	o.Relay = d
	o.Sentences = words{}
	if o.Links.Schemes == nil {
		o.Links.Schemes = []string{"https"}
	}
	o.Metrics = NewMetrics(prometheus.NewRegistry(), []string{"SignIn"})
	o.Logger = log.logger()
	return NewPublic(o)
}

func publicWith(d Deliverer, log *logs) http.Handler { return publicOver(testOptions(), d, log) }

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
func checkFailure(t *testing.T, got *http.Response, code int, word mail.Reason, locale string) {
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
	// Whatever else than the address is invalid, the sentence is not about typos.
	other := fmt.Sprintf("A sentence for %s in %s. (ref %s)", web.Malformed, locale, id[:8])
	if body != want && (word != web.Invalid || body != other) {
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
			h := publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
				calls++
				request = r
				return accept(ctx, r)
			}), new(logs))
			got := serve(h, webhookRequest(body))
			if refused[name] {
				checkFailure(t, got, 422, web.Invalid, "en")
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
			var sent struct{ IP string }
			if err := json.Unmarshal([]byte(body), &sent); err != nil || request.IP != sent.IP {
				t.Errorf("the address is %q, want %q (%v)", request.IP, sent.IP, err)
			}
		})
	}
}

func TestRequestIsWhatWasSent(t *testing.T) {
	var request relay.Request
	h := publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
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
		delivery   mail.Delivery
		code       int
		word       mail.Reason
		locale     string
		retryAfter string
	}{
		{"recipient refused", mail.Delivery{Reason: mail.RecipientRefused, Locale: "fr"}, 422, "recipient_refused", "fr", ""},
		{"suppressed", mail.Delivery{Reason: mail.RecipientSuppressed, Locale: "fr"}, 422, "recipient_suppressed", "fr", ""},
		{"rate limited", mail.Delivery{Reason: mail.RateLimited, RetryAfter: 90 * time.Second, Locale: "fr"}, 429, "rate_limited", "fr", "90"},
		{"a part of a second counts whole", mail.Delivery{Reason: mail.RateLimited, RetryAfter: 1001 * time.Millisecond, Locale: "fr"}, 429, "rate_limited", "fr", "2"},
		{"provider refused", mail.Delivery{Reason: mail.ProviderRefused, RetryAfter: time.Hour, Locale: "fr"}, 502, "provider_refused", "fr", ""},
		{"unavailable", mail.Delivery{Reason: mail.ProviderUnavailable, RetryAfter: time.Minute, Locale: "fr"}, 503, "provider_unavailable", "fr", "60"},
		{"unavailable, nobody knows for how long", mail.Delivery{Reason: mail.ProviderUnavailable, Locale: "fr"}, 503, "provider_unavailable", "fr", "1"},
		{"timeout", mail.Delivery{Reason: mail.Timeout, Locale: "fr"}, 504, "timeout", "fr", ""},
		{"uncertain", mail.Delivery{Reason: mail.Uncertain, Locale: "fr"}, 504, "uncertain", "fr", ""},
		{"internal", mail.Delivery{Reason: mail.Internal, Locale: "fr"}, 500, "internal", "fr", ""},
		{"the mail's language goes first", mail.Delivery{Reason: mail.Timeout, Locale: "fr-CA"}, 504, "timeout", "fr-CA", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := serve(publicWith(refuse(test.delivery), new(logs)),
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
		word         mail.Reason
		allow        string
	}{
		{"GET", "/healthz", 200, "", ""},
		{"HEAD", "/healthz", 200, "", ""},
		{"POST", "/healthz", 405, "method_not_allowed", "OPTIONS, GET, HEAD"},
		{"OPTIONS", "/logto/email", 405, "method_not_allowed", "OPTIONS, POST"},
		{"OPTIONS", "/nothing", 404, "not_found", ""},
		{"GET", "/logto/email", 405, "method_not_allowed", "OPTIONS, POST"},
		{"PUT", "/logto/email", 405, "method_not_allowed", "OPTIONS, POST"},
		{"GET", "/logto/email/", 405, "method_not_allowed", "OPTIONS, POST"},
		{"POST", "/logto/email/", 400, "malformed", ""}, // as without the slash: there is no body
		{"POST", "/logto/email", 400, "malformed", ""},
		{"POST", "/logto/email//", 404, "not_found", ""},
		{"GET", "/readyz", 200, "", ""},
		{"HEAD", "/readyz", 200, "", ""},
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
	h := publicWith(deliver(func(_ context.Context, r relay.Request) *mail.Delivery {
		panic(fmt.Sprint("bad payload: ", r.Payload))
	}), log)
	body := `{"to":"alice@example.com","type":"SignIn","payload":{"code":"123456"}}`
	got := serve(h, webhookRequest(body))
	checkFailure(t, got, 500, mail.Internal, "en")
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

func (brokenWords) Sentence(string, templates.Failure) string { panic("no words") }

func TestPanicOfTheCatalogueIsAnAnswer(t *testing.T) {
	o := testOptions()
	o.Relay, o.Sentences = refuse(mail.Delivery{Reason: mail.Timeout}), brokenWords{}
	o.Metrics, o.Logger = NewMetrics(prometheus.NewRegistry(), nil), slog.New(slog.DiscardHandler)
	h := NewPublic(o)
	got := serve(h, webhookRequest(`{"to":"alice@example.com","type":"SignIn","payload":{"code":"123456"}}`))
	if body := bodyOf(t, got); got.StatusCode != 504 || !strings.HasPrefix(body, fallbackSentence+" (ref ") {
		t.Errorf("got %d %q", got.StatusCode, body)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	o := testOptions()
	o.Relay = deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		if r.Type == "SignIn" {
			return accept(ctx, r)
		}
		return refuse(mail.Delivery{Reason: mail.ProviderRefused,
			Attempts: []mail.Attempt{{Provider: "main", Kind: "configuration"}}})(ctx, r)
	})
	o.Sentences, o.Metrics, o.Logger = words{}, NewMetrics(registry, []string{"SignIn"}), slog.New(slog.DiscardHandler)
	h := NewPublic(o)
	for _, messageType := range []string{"SignIn", "Surprise1", "Surprise2"} {
		serve(h, webhookRequest(`{"to":"alice@example.com","type":"`+messageType+`","payload":{"code":"123456"}}`))
	}
	serve(h, httptest.NewRequest("GET", "/scan/1", nil))
	serve(h, httptest.NewRequest("GET", "/healthz", nil))
	got := metricsText(t, registry)
	for _, want := range []string{
		`relay_requests_total{authorization="0",error="",status="200"} 1`,
		`relay_requests_total{authorization="0",error="provider_refused",status="502"} 2`,
		`relay_requests_total{authorization="",error="not_found",status="404"} 1`,
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

// Every word that a webhook can be answered with has its series before it is.
func TestEveryAnswerIsCountedFromZero(t *testing.T) {
	registry := prometheus.NewRegistry()
	o := testOptions()
	o.Providers = []string{"main", "backup"}
	o.Relay, o.Sentences, o.Metrics, o.Logger = deliver(accept), words{}, NewMetrics(registry, []string{"SignIn"}), slog.New(slog.DiscardHandler)
	NewPublic(o)
	got := metricsText(t, registry)
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| ([0-9, ]+) \| ([^|]*) \|`).FindAllStringSubmatch(string(page), -1)
	if len(rows) < 15 {
		t.Fatalf("only %d rows of answers found", len(rows))
	}
	for _, row := range rows {
		for word := range strings.SplitSeq(row[2], ",") {
			word = strings.Trim(word, " `")
			if !slices.ContainsFunc(strings.Split(row[1], ", "), func(status string) bool {
				return strings.Contains(got, `error="`+word+`",status="`+status+`"} 0`)
			}) {
				t.Errorf("no series of %s %q", row[1], word)
			}
		}
	}
	for series, want := range map[string]int{"relay_mails_total": 2 * (2 + 8), "relay_attempts_total": 2 * 7, "relay_attempt_duration_seconds_count": 2} {
		if n := strings.Count(got, "\n"+series+"{"); n != want {
			t.Errorf("%d series of %s, want %d", n, series, want)
		}
	}
}

// The token tells whose mail it is.
func TestTenants(t *testing.T) {
	registry := prometheus.NewRegistry()
	log := new(logs)
	var request relay.Request
	o := testOptions()
	o.Authorization = append(o.Authorization,
		settings.Token{Secret: settings.NewSecret("Bearer the-token-of-eu"), Tenant: "eu"},
		settings.Token{Secret: settings.NewSecret("Bearer the-next-token-of-eu"), Tenant: "eu"})
	o.Relay = deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		request = r
		d := accept(ctx, r)
		d.Tenant = r.Tenant
		return d
	})
	o.Sentences, o.Metrics, o.Logger = words{}, NewMetrics(registry, []string{"SignIn"}), log.logger()
	h := NewPublic(o)
	for token, tenant := range map[string]string{testToken: "", "Bearer the-token-of-eu": "eu", "Bearer the-next-token-of-eu": "eu"} {
		r := webhookRequest(good)
		r.Header.Set("Authorization", token)
		got := serve(h, r)
		if request.Tenant != tenant || got.Header.Get("X-Relay-Tenant") != tenant {
			t.Errorf("%s is of tenant %q, with %v", token, request.Tenant, got.Header)
		}
	}
	stranger, refused := webhookRequest(good), webhookRequest("{}")
	stranger.Header.Set("Authorization", "Bearer guess")
	refused.Header.Set("Authorization", "Bearer the-token-of-eu")
	if got := serve(h, stranger); got.StatusCode != 401 || got.Header.Get("X-Relay-Tenant") != "" {
		t.Errorf("a stranger gets %d with %v", got.StatusCode, got.Header)
	}
	if got := serve(h, refused); got.StatusCode != 422 || got.Header.Get("X-Relay-Tenant") != "eu" {
		t.Errorf("without a mail the tenant gets %d with %v", got.StatusCode, got.Header)
	}
	if n := strings.Count(log.String(), `"tenant":"eu"`); n != 2 {
		t.Errorf("%d lines name the tenant:\n%s", n, log)
	}
	if n := strings.Count(log.String(), `"authorization":"eu"`); n != 3 {
		t.Errorf("%d access lines name the tenant:\n%s", n, log)
	}
	if got := metricsText(t, registry); !strings.Contains(got, `relay_requests_total{authorization="eu",error="",status="200"} 2`) {
		t.Errorf("the metrics do not name the tenant:\n%s", got)
	}
}

func metricsText(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	return bodyOf(t, serve(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), httptest.NewRequest("GET", "/metrics", nil)))
}
