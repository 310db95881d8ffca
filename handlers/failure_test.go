package handlers

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/templates"
)

func TestProblem(t *testing.T) {
	r := webhookRequest(`{"to":"alice@example.com","type":"SignIn","payload":{"code":"1","locale":"fr"}}`)
	r.Header.Set("Accept", "application/json")
	got := serve(publicWith(refuse(mail.Delivery{Reason: mail.ProviderUnavailable, Locale: "fr"}), new(logs)), r)
	if got.StatusCode != 503 || got.Header.Get("Content-Type") != "application/problem+json" ||
		got.Header.Get("X-Relay-Error") != "provider_unavailable" || got.Header.Get("Retry-After") != "1" {
		t.Errorf("got %d with %v", got.StatusCode, got.Header)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(bodyOf(t, got)), &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"type": "about:blank", "title": "Service Unavailable", "status": 503.0,
		"detail": "A sentence for provider_unavailable in fr.",
		"error":  "provider_unavailable", "reference": got.Header.Get("X-Request-Id")[:8],
	}
	for key, value := range want {
		if body[key] != value {
			t.Errorf("%s is %v, want %v", key, body[key], value)
		}
	}
	if len(body) != len(want) {
		t.Errorf("more members than wanted: %v", body)
	}
}

// heard are words that keep what they were asked for.
type heard struct {
	words
	last *templates.Failure
}

func (h heard) Sentence(locale string, f templates.Failure) string {
	*h.last = f
	return h.words.Sentence(locale, f)
}

// People read how long to wait where the limit is the relay's. For a provider nobody
// knows that well.
func TestTheSentenceHasTheWaitOfALimit(t *testing.T) {
	for reason, want := range map[mail.Reason]time.Duration{mail.RateLimited: time.Minute, mail.ProviderUnavailable: 0} {
		var told templates.Failure
		o := testOptions()
		o.Relay, o.Sentences = refuse(mail.Delivery{Reason: reason, RetryAfter: time.Minute}), heard{last: &told}
		o.Metrics, o.Logger = NewMetrics(prometheus.NewRegistry(), nil), slog.New(slog.DiscardHandler)
		serve(NewPublic(o), webhookRequest(good))
		if told.Reason != string(reason) || told.Wait != want {
			t.Errorf("%s: asked for %+v", reason, told)
		}
	}
}

// silent are words that are missing, or broken.
type silent struct {
	words
	broken bool
}

func (s silent) Sentence(string, templates.Failure) string {
	if s.broken {
		panic("no words")
	}
	return ""
}

// Missing words cost no answer.
func TestASentenceIsAlwaysThere(t *testing.T) {
	for _, broken := range []bool{false, true} {
		o := testOptions()
		o.Relay, o.Sentences = refuse(mail.Delivery{Reason: mail.ProviderUnavailable}), silent{broken: broken}
		o.Metrics, o.Logger = NewMetrics(prometheus.NewRegistry(), nil), slog.New(slog.DiscardHandler)
		got := serve(NewPublic(o), webhookRequest(good))
		if body := bodyOf(t, got); got.StatusCode != 503 || !strings.Contains(body, fallbackSentence) {
			t.Errorf("broken %v: %d %s", broken, got.StatusCode, body)
		}
	}
}

// docs/operations.md has a row for every status and word.
func TestTheAnswersAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range []mail.Reason{web.Malformed, web.TooLarge, web.UnsupportedMediaType, web.Unauthorized, web.Forbidden, web.NotFound, web.MethodNotAllowed, web.Invalid,
		mail.RecipientRefused, mail.RecipientSuppressed, mail.ProviderRefused, mail.ProviderUnavailable, mail.Timeout,
		mail.Uncertain, mail.Internal} {
		row := fmt.Sprintf("(?m)^\\| [0-9, ]*%d[0-9, ]* \\| [^|]*`%s`", web.Status(reason), reason)
		if !regexp.MustCompile(row).Match(page) {
			t.Errorf("no row of %d %s", web.Status(reason), reason)
		}
	}
}
