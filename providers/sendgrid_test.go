package providers

import (
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"

	"logto-email-relay/settings"
)

const sendGridKey = "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"

func sendGridFixture() fixture {
	refusal := func(status int, field, message string) answer {
		body, _ := json.Marshal(map[string]any{"errors": []any{
			map[string]any{"message": message, "field": given(field), "help": nil},
		}})
		return answer{status, map[string]string{"Content-Type": "application/json"}, string(body)}
	}
	tooMany := refusal(429, "", "too many requests")
	tooMany.header["X-RateLimit-Reset"] = strconv.FormatInt(time.Now().Add(5*time.Minute).Unix(), 10)
	byNow := refusal(429, "", "too many requests")
	byNow.header["X-RateLimit-Reset"] = "1"
	return fixture{
		settings: func(address string) Settings {
			s := newSendGridSettings()
			s.Endpoint, s.APIKey = address, settings.NewSecret(sendGridKey)
			return s
		},
		mistakes: map[string]func(Settings){
			"apiKey":   func(s Settings) { s.(*sendGridSettings).APIKey = settings.NewSecret("SG.with a space") },
			"endpoint": func(s Settings) { s.Shared().Endpoint = "http://api.sendgrid.com" },
			"templates[0]": func(s Settings) {
				s.(*sendGridSettings).Templates = []sendGridTemplate{{}}
			},
			"templates[0].template": func(s Settings) {
				s.(*sendGridSettings).Templates = []sendGridTemplate{{storableTemplate: storableTemplate{Template: "sign-in"}}}
			},
		},
		stored:  true,
		secrets: []string{sendGridKey},
		id:      "bdT3qYkSTy6vBoVWsmV8Xw",
		http: &httpFixture{
			path:       "/v3/mail/send",
			authorized: func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+sendGridKey },
			accepted:   answer{202, map[string]string{"X-Message-Id": "bdT3qYkSTy6vBoVWsmV8Xw"}, ""},
			refusal: func(words string) answer {
				return refusal(400, "personalizations.0.to.0.email", words)
			},
			verifies: isGet("/v3/scopes"),
			verified: always200(`{"scopes":["mail.batch.read","mail.send"]}`),
			verdicts: []verifyCase{
				{name: "no permission", answer: answer{200, nil, `{"scopes":["mail.batch.read"]}`}, kind: Configuration, words: "Mail Send"},
				{name: "wrong key", answer: answer{401, nil, `{"errors":[{"field":null,"message":"authorization required"}]}`}, kind: Configuration, words: "check apiKey"},
				{name: "credits", answer: answer{401, nil, `{"errors":[{"field":null,"message":"Maximum credits exceeded"}]}`}, kind: RateLimited, words: "credits"},
				{name: "address", answer: answer{403, nil, `{"errors":[{"field":null,"message":"access forbidden"}]}`}, kind: Configuration, words: addressHint},
			},
			table: sendGridErrors,
			errors: []errorCase{
				{name: "sandbox", answer: answer{200, nil, ""}, kind: Configuration, hint: "sandbox"},
				{name: "a page with the status", answer: answer{202, nil, proxyPage}, kind: Uncertain},
				{name: "a text with the status", answer: answer{202, nil, "please sign in"}, kind: Uncertain},
				{name: "a text after blanks", answer: answer{202, nil, "\n please sign in"}, kind: Uncertain},
				{name: "errors with the status", answer: answer{202, nil, `{"errors":[{"message":"no"}]}`}, kind: Uncertain},
				{name: "no sender", answer: answer{400, nil, `{"errors":[{"message":"The from object must be provided for every email send.","field":null}]}`}, kind: Configuration},
				{name: "sender without a field", answer: refusal(400, "", "The from email does not contain a valid address."), kind: Configuration, hint: "sender"},
				{name: "other status", answer: answer{204, nil, ""}, kind: Uncertain},
				{name: "recipient", answer: refusal(400, "personalizations.0.to.0.email", "Does not contain a valid address."), kind: Recipient},
				{name: "sender", answer: refusal(400, "from.email", "Does not contain a valid address."), kind: Configuration, hint: "sender"},
				{name: "reply address", answer: refusal(400, "reply_to.email", "Does not contain a valid address."), kind: Configuration},
				{name: "template", answer: refusal(400, "template_id", "The template_id must be a valid GUID"), kind: Configuration, hint: "active version"},
				{name: "pool", answer: refusal(400, "ip_pool_name", "unknown pool"), kind: Configuration},
				{name: "unsubscribe group", answer: refusal(400, "asm", "unknown group"), kind: Configuration},
				{name: "content", answer: refusal(400, "content.0.value", "The content value must be a string at least one character in length."), kind: Content},
				{name: "subject", answer: refusal(400, "subject", "The subject is required."), kind: Content},
				{name: "headers", answer: refusal(400, "headers", "not allowed"), kind: Content},
				{name: "custom arguments", answer: refusal(400, "custom_args", "too large"), kind: Content},
				{name: "personalizations", answer: refusal(400, "personalizations", "too large"), kind: Content},
				{name: "bad request", answer: refusal(400, "", "Bad Request"), kind: Content},
				{name: "bad key", answer: refusal(401, "", "The provided authorization grant is invalid, expired, or revoked"), kind: Configuration, hint: "apiKey"},
				{name: "no key", answer: refusal(401, "", "authorization required"), kind: Configuration, hint: "apiKey"},
				{name: "credits", answer: refusal(401, "", "Maximum credits exceeded"), kind: RateLimited, quota: true, hint: "credits"},
				// https://wpmailsmtp.com/docs/sendgrid-user-not-authorized-to-send/
				{name: "account under review", answer: refusal(401, "", "Authenticated user is not authorized to send mail"), kind: Configuration, hint: "under review"},
				{name: "limits", answer: refusal(403, "", "You have exceeded your messaging limits"), kind: RateLimited, quota: true, hint: "credits"},
				{name: "unverified sender", answer: refusal(403, "from", "The from address does not match a verified Sender Identity. "+
					"Mail cannot be sent until this error is resolved. Visit https://sendgrid.com/docs/ to see the requirements"),
					kind: Configuration, hint: "Sender Authentication"},
				{name: "scope", answer: refusal(403, "", "access forbidden"), kind: Configuration, hint: "Mail Send"},
				{name: "address not on the list", answer: refusal(403, "", "The requestor's IP Address is not whitelisted"), kind: Configuration, hint: addressHint},
				{name: "blocked", answer: refusal(403, "", "Too many bad requests. Temporary block"), kind: Configuration, hint: "blocked"},
				{name: "not found", answer: refusal(404, "", "not found"), kind: Configuration},
				{name: "method", answer: refusal(405, "", "method not allowed"), kind: Configuration},
				{name: "accept", answer: refusal(406, "", "not acceptable"), kind: Configuration},
				{name: "media type", answer: refusal(415, "", "unsupported media type"), kind: Configuration},
				{name: "rate that is over", answer: byNow, kind: RateLimited, wait: soonest},
				{name: "size", answer: refusal(413, "", "content too large"), kind: Content},
				{name: "rate", answer: tooMany, kind: RateLimited, wait: 5 * time.Minute},
				{name: "region", answer: refusal(451, "", "wrong region"), kind: Configuration, hint: "api.eu.sendgrid.com"},
				{name: "server", answer: refusal(500, "", "internal error"), kind: Temporary},
				{name: "gateway with its own words", answer: refusal(502, "", "bad gateway"), kind: Temporary},
				{name: "unavailable", answer: refusal(503, "", "service unavailable"), kind: Temporary},
			},
		},
	}
}

func TestSendGridAcceptedWithoutID(t *testing.T) {
	for _, body := range []string{"", "\r\n", " {}"} {
		f := sendGridFixture()
		f.http.accepted.header, f.http.accepted.body = nil, body
		provider, _ := openHonest(t, f)
		receipt, err := provider.Send(t.Context(), plainMessage())
		if err != nil || receipt.ID != plainMessage().ID {
			t.Errorf("%q: receipt %+v, error %v; want the relay's own id", body, receipt, err)
		}
	}
}

func TestSendGridSender(t *testing.T) {
	s := newSendGridSettings()
	if err := s.FromEmail.UnmarshalText([]byte("no-reply@acme.example")); err != nil {
		t.Fatal(err)
	}
	s.FromName = "Acme"
	if from := s.Sender().From; from.Name != "Acme" || from.Address.Address != "no-reply@acme.example" {
		t.Errorf("sender %v", from)
	}
}
