package providers

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"logto-email-relay/settings"
)

const mailJunkyKey = "mj_live_5tGhK2mQxZwVnT7p"

func mailJunkyFixture() fixture {
	refusal := func(status int, code, message string) answer {
		body, _ := json.Marshal(map[string]string{"code": code, "message": message})
		return answer{status, nil, string(body)}
	}
	const id = "msg_0197f1c2"
	return fixture{
		settings: func(address string) Settings {
			s := newMailJunkySettings()
			s.Endpoint, s.APIKey = address, settings.NewSecret(mailJunkyKey)
			return s
		},
		mistakes: map[string]func(Settings){
			"apiKey":   func(s Settings) { s.(*mailJunkySettings).APIKey = settings.NewSecret("mj_\n") },
			"endpoint": func(s Settings) { s.Shared().Endpoint = "http://mailjunky.ai" },
		},
		secrets:      []string{mailJunkyKey},
		id:           id,
		brokenAnswer: Uncertain,
		http: &httpFixture{
			path:       "/api/v1/emails/send",
			authorized: func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+mailJunkyKey },
			accepted:   answer{200, nil, `{"id":"` + id + `","status":"sent"}`},
			text: func(r *http.Request, body []byte) string {
				return "X-Request-Id: " + r.Header.Get("X-Request-Id") + "\n" + jsonText(r, body)
			},
			refusal:  func(words string) answer { return refusal(422, "validation_error", "Invalid `to` address: "+words) },
			verifies: func(_ *http.Request, body []byte) bool { return string(body) == "{}" },
			verified: func(*http.Request) answer { return refusal(422, "validation_error", "from is required") },
			verdicts: []verifyCase{
				{name: "wrong key", answer: refusal(401, "unauthorized", "Invalid API key"), kind: Configuration, words: "check apiKey"},
				{name: "other words", answer: refusal(400, "", "bad weather"), kind: Configuration, words: "bad weather"},
				{name: "by zod", answer: answer{400, nil, `{"error":"Validation failed","details":[]}`}},
			},
			table: mailJunkyErrors,
			errors: []errorCase{
				{name: "no id", answer: answer{200, nil, `{"status":"sent"}`}, kind: Uncertain},
				{name: "not JSON", answer: answer{200, nil, proxyPage}, kind: Uncertain},
				{name: "key", answer: refusal(401, "unauthorized", "Invalid API key"), kind: Configuration, code: "unauthorized", hint: "apiKey"},
				{name: "forbidden", answer: refusal(403, "forbidden", "no"), kind: Configuration, hint: "domain"},
				{name: "domain", answer: refusal(422, "domain", "The domain acme.example is not verified"), kind: Configuration, hint: "domain"},
				{name: "sender", answer: refusal(422, "validation_error", "Invalid `from` address"), kind: Configuration},
				{name: "recipient", answer: refusal(422, "validation_error", "Invalid `to` address"), kind: Recipient},
				{name: "recipient with a telling name", answer: refusal(400, "validation_error", "Invalid recipient: unsubscribed@example.org"), kind: Recipient},
				{name: "suppressed with an id", answer: answer{200, nil, `{"id":"m1","status":"suppressed"}`}, kind: Recipient, suppressed: true},
				{name: "failed with an id", answer: answer{200, nil, `{"id":"m1","status":"failed"}`}, kind: Configuration},
				{name: "suppressed", answer: refusal(422, "suppressed", "The address is suppressed"), kind: Recipient, suppressed: true},
				{name: "subject", answer: answer{400, nil, `{"error":{"message":"subject is too long"}}`}, kind: Content},
				{name: "rate of the account", answer: refusal(429, "rate_limited", "Your account sends too fast"), kind: RateLimited},
				{name: "sandbox", answer: answer{400, nil, `{"error":"Recipients outside the sandbox are not allowed"}`}, kind: Configuration},
				{name: "limit of the plan", answer: answer{400, nil, `{"error":"Recipient limit reached for your plan"}`}, kind: Configuration},
				{name: "refused with 200", answer: answer{200, nil, `{"error":"The queue is closed"}`}, kind: Configuration},
				{name: "refused with 200: recipient", answer: answer{200, nil, `{"error":"Unknown recipient"}`}, kind: Recipient},
				{name: "200 and a message alone", answer: answer{200, nil, `{"success":true,"message":"The email is queued","error":null}`}, kind: Uncertain},
				{name: "quota", answer: refusal(402, "plan", "upgrade"), kind: Configuration},
				{name: "unavailable", answer: answer{503, nil, ""}, kind: Temporary},
				{name: "unavailable, whatever it says", answer: refusal(503, "down", "Unknown recipient"), kind: Temporary},
			},
		},
	}
}

// readMail decodes the JSON of a request that jsonText shows.
func readMail(t *testing.T, text string, target any) {
	t.Helper()
	_, body, _ := strings.Cut(text, "\n\n")
	if err := json.Unmarshal([]byte(body), target); err != nil {
		t.Fatal(err)
	}
}

func TestMailJunkyTakesEitherID(t *testing.T) {
	f := mailJunkyFixture()
	f.http.accepted.body = `{"message_id":"x"}`
	provider, arrived := openHonest(t, f)
	if receipt, err := provider.Send(t.Context(), plainMessage()); err != nil || receipt.ID != "x" {
		t.Errorf("%+v, %v", receipt, err)
	}
	var mail mailJunkyMail
	readMail(t, arrived()[0], &mail)
	if mail.From != `"Acme, Inc." <no-reply@acme.example>` || mail.ReplyTo != "help@acme.example" || mail.HTML == "" {
		t.Errorf("%+v", mail)
	}
}
