package providers

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"logto-email-relay/settings"
)

const resendKey = "re_8fK2mQxZ_5wVnT7pLrYcB3hGdJ9sAeUo1"

func resendFixture() fixture {
	refusal := func(status int, name, message string) answer {
		body, _ := json.Marshal(map[string]any{"statusCode": status, "name": name, "message": message})
		return answer{status, map[string]string{}, string(body)}
	}
	with := func(a answer, name, value string) answer {
		a.header[name] = value
		return a
	}
	const id = "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"
	return fixture{
		settings: func(address string) Settings {
			s := newResendSettings()
			s.Endpoint, s.APIKey = address, settings.NewSecret(resendKey)
			return s
		},
		mistakes: map[string]func(Settings){
			"apiKey":   func(s Settings) { s.(*resendSettings).APIKey = settings.NewSecret("re_\n") },
			"endpoint": func(s Settings) { s.Shared().Endpoint = "http://api.resend.com" },
		},
		secrets:      []string{resendKey},
		id:           id,
		brokenAnswer: Uncertain,
		http: &httpFixture{
			path: "/emails",
			authorized: func(r *http.Request) bool {
				return r.Header.Get("Authorization") == "Bearer "+resendKey
			},
			accepted: answer{200, nil, `{"id":"` + id + `"}`},
			text: func(r *http.Request, body []byte) string {
				return "Idempotency-Key: " + r.Header.Get("Idempotency-Key") + "\n" + jsonText(r, body)
			},
			refusal:  func(words string) answer { return refusal(422, "validation_error", "Invalid `to` field. "+words) },
			verifies: isGet("/domains"),
			verified: always200(`{"object":"list","data":[{"name":"acme.example","status":"verified"}]}`),
			verdicts: []verifyCase{
				{name: "key that may only send", answer: answer{401, nil, `{"statusCode":401,"name":"restricted_api_key","message":"This API key is restricted to only send emails"}`},
					words: "only send"},
				{name: "wrong key", answer: answer{401, nil, `{"statusCode":401,"name":"missing_api_key","message":"Missing API key"}`}, kind: Configuration, words: "check apiKey"},
				{name: "invalid key", answer: answer{403, nil, `{"statusCode":403,"name":"invalid_api_key","message":"API key is invalid"}`}, kind: Configuration, words: "check apiKey"},
				{name: "no domain", answer: answer{200, nil, `{"data":[]}`}, kind: Configuration, words: "Domains"},
				{name: "no verified domain", answer: answer{200, nil, `{"data":[{"name":"acme.example","status":"pending"}]}`}, kind: Configuration, words: "Domains"},
				{name: "one verified domain", answer: answer{200, nil, `{"data":[{"name":"a.example","status":"pending"},{"name":"b.example","status":"verified"}]}`}},
			},
			table: resendErrors,
			errors: []errorCase{
				{name: "no id", answer: answer{200, nil, `{}`}, kind: Uncertain},
				{name: "not JSON", answer: answer{200, nil, proxyPage}, kind: Uncertain},
				{name: "key with 400", answer: refusal(400, "validation_error", "API key is invalid"), kind: Configuration, hint: "check apiKey"},
				{name: "recipient with 400", answer: refusal(400, "validation_error", "Invalid `to` field."), kind: Recipient},
				{name: "domain with 400", answer: refusal(400, "validation_error", "The acme.example domain is not verified."), kind: Configuration, hint: "Domains"},
				{name: "sender with 422", answer: refusal(422, "validation_error", "Invalid `from` field. The email address needs to follow the `email@example.com` format."), kind: Configuration, hint: "sender"},
				{name: "reply address with 422", answer: refusal(422, "validation_error", "Invalid `reply_to` field."), kind: Configuration},
				{name: "stopped", answer: refusal(451, "security_error", "We may have found a security issue with the request."), kind: Configuration, hint: "support"},
				{name: "content with 400", answer: refusal(400, "validation_error", "The `subject` field is too long."), kind: Content},
				{name: "idempotency key", answer: refusal(400, "invalid_idempotency_key", "too long"), kind: Content},
				{name: "no key", answer: refusal(401, "missing_api_key", "Missing API key"), kind: Configuration, code: "missing_api_key", hint: "apiKey"},
				{name: "restricted key", answer: refusal(401, "restricted_api_key", "This API key is restricted"), kind: Configuration, hint: "apiKey"},
				{name: "bad key", answer: refusal(403, "invalid_api_key", "API key is invalid"), kind: Configuration, hint: "apiKey"},
				{name: "suspended key", answer: refusal(403, "suspended_api_key", "suspended"), kind: Configuration},
				{name: "permission", answer: refusal(403, "invalid_permission", "not allowed"), kind: Configuration},
				{name: "domain", answer: refusal(403, "validation_error", "The acme.example domain is not verified. Please, add and verify your domain on https://resend.com/domains"),
					kind: Configuration, hint: "Domains"},
				{name: "testing", answer: refusal(403, "validation_error", "You can only send testing emails to your own email address (ops@acme.example)."), kind: Configuration, hint: "verified domain"},
				{name: "not found", answer: refusal(404, "not_found", "not found"), kind: Configuration},
				{name: "method", answer: refusal(405, "method_not_allowed", "not allowed"), kind: Configuration},
				{name: "under way", answer: refusal(409, "concurrent_idempotent_requests", "under way"), kind: Uncertain, wait: soonest},
				{name: "other mail under this key", answer: refusal(409, "invalid_idempotent_request", "different payload"), kind: Uncertain},
				{name: "locked", answer: refusal(409, "resource_locked", "locked"), kind: Temporary},
				{name: "recipient", answer: refusal(422, "validation_error", "Invalid `to` field. The email address needs to follow the `email@example.com` or `Name <email@example.com>` format."), kind: Recipient},
				{name: "missing field", answer: refusal(422, "missing_required_field", "Missing `subject` field."), kind: Content},
				{name: "missing parameter", answer: refusal(422, "missing_required_parameter", "missing"), kind: Content},
				{name: "parameter", answer: refusal(422, "invalid_parameter", "invalid"), kind: Content},
				{name: "attachment", answer: refusal(422, "invalid_attachment", "invalid"), kind: Content},
				{name: "rate", answer: with(refusal(429, "rate_limit_exceeded", "Too many requests"), "Retry-After", "2"), kind: RateLimited, wait: 2 * time.Second},
				{name: "rate with reset now", answer: with(refusal(429, "rate_limit_exceeded", "Too many requests"), "RateLimit-Reset", "0"), kind: RateLimited, wait: soonest},
				{name: "rate with reset only", answer: with(refusal(429, "rate_limit_exceeded", "Too many requests"), "RateLimit-Reset", "3"), kind: RateLimited, wait: 3 * time.Second},
				{name: "daily quota", answer: refusal(429, "daily_quota_exceeded", "You have reached your daily email quota."), kind: RateLimited, quota: true},
				{name: "monthly quota", answer: refusal(429, "monthly_quota_exceeded", "You have reached your monthly email quota."), kind: RateLimited, quota: true},
				{name: "application", answer: refusal(500, "application_error", "unexpected"), kind: Temporary},
				{name: "unavailable", answer: refusal(500, "service_unavailable", "unavailable"), kind: Temporary},
				{name: "unavailable with its own words", answer: refusal(503, "service_unavailable", "unavailable"), kind: Temporary},
				{name: "unavailable by a proxy", answer: answer{503, nil, proxyPage}, kind: Uncertain},
			},
		},
	}
}

// TestResendRepeatsUnderItsKey loses the connection after a mail was handed over.
// net/http sends it again, which is safe: the key is the same.
func TestResendRepeatsUnderItsKey(t *testing.T) {
	f := resendFixture()
	var (
		mu   sync.Mutex
		keys []string
	)
	provider := openTo(t, f, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		second := len(keys) == 2
		mu.Unlock()
		if second {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}
		always(f.http.accepted)(w, r)
	})
	for _, id := range []string{"first", "second"} {
		m := plainMessage()
		m.ID = id
		if _, err := provider.Send(t.Context(), m); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(keys, " "); got != "first second second" {
		t.Errorf("keys %q", got)
	}
}

// With a sender of the provider's own, its domain has to be verified.
func TestResendVerifySender(t *testing.T) {
	f := resendFixture()
	for list, want := range map[string]string{
		`{"data":[{"name":"acme.example","status":"verified"}]}`:                                                             "",
		`{"data":[{"name":"b.example","status":"pending"},{"name":"ACME.example","status":"verified"}]}`:                     "",
		`{"data":[{"name":"acme.example","status":"temporary_failure"}]}`:                                                    "",
		`{"data":[{"name":"b.example","status":"verified"}],"has_more":true}`:                                                "note",
		`{"data":[{"name":"acme.example","status":"verified","capabilities":{"sending":"disabled","receiving":"enabled"}}]}`: "error",
		`{"data":[{"name":"acme.example","status":"verified","capabilities":{"sending":"enabled","receiving":"disabled"}}]}`: "",
		`{"data":[{"name":"b.example","status":"verified"},{"name":"acme.example","status":"not_started"}]}`:                 "error",
		`{"data":[{"name":"b.example","status":"verified"}]}`:                                                                "error",
		`{"data":[{"name":"mail.acme.example","status":"verified"},{"name":"acme.example","status":"failed"}]}`:              "error",
	} {
		server, _ := startServer(t, always(answer{200, nil, list}))
		s := f.settings(server.URL).(*resendSettings)
		if err := s.FromEmail.UnmarshalText([]byte("no-reply@acme.example")); err != nil {
			t.Fatal(err)
		}
		note, err := open(t, s).(Verifier).Verify(t.Context())
		got := ""
		if note != "" {
			got = "note"
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: note %q, error %v", list, note, err)
		}
	}
}
