package providers

import (
	"encoding/json"
	"net/http"
	"testing"

	"logto-email-relay/settings"
)

const smtp2goKey = "api-7E1F0A9C7B3D4826F0Q"

func smtp2goFixture() fixture {
	refusal := func(status int, code, message string) answer {
		body, _ := json.Marshal(map[string]any{"request_id": "1", "data": map[string]any{
			"error_code": "E_ApiResponseCodes." + code, "error": message}})
		return answer{status, nil, string(body)}
	}
	field := func(name, message string) answer {
		body, _ := json.Marshal(map[string]any{"data": map[string]any{"error_code": "E_ApiResponseCodes.NON_VALIDATING_IN_PAYLOAD",
			"error": "An error occurred with the incoming API payload", "field_validation_errors": map[string]string{"fieldname": name, "message": message}}})
		return answer{400, nil, string(body)}
	}
	failed := func(reason string) answer {
		body, _ := json.Marshal(map[string]any{"data": map[string]any{"succeeded": 0, "failed": 1, "failures": []string{reason}}})
		return answer{200, nil, string(body)}
	}
	const id = "1er8bV-6Tw0Mi-7h"
	return fixture{
		settings: func(address string) Settings {
			s := newSMTP2GOSettings()
			s.Endpoint, s.APIKey = address, settings.NewSecret(smtp2goKey)
			return s
		},
		mistakes: map[string]func(Settings){
			"apiKey":   func(s Settings) { s.(*smtp2goSettings).APIKey = settings.NewSecret("api-\n") },
			"endpoint": func(s Settings) { s.Shared().Endpoint = "http://api.smtp2go.com/v3" },
		},
		secrets:      []string{smtp2goKey},
		id:           id,
		brokenAnswer: Uncertain,
		http: &httpFixture{
			path:       "/v3/email/send",
			authorized: func(r *http.Request) bool { return r.Header.Get("X-Smtp2go-Api-Key") == smtp2goKey },
			accepted:   answer{200, nil, `{"request_id":"1","data":{"succeeded":1,"failed":0,"failures":[],"email_id":"` + id + `"}}`},
			refusal:    func(words string) answer { return field("to", words) },
			verifies: func(r *http.Request, body []byte) bool {
				return r.URL.Path == "/v3/api_keys/permissions" && string(body) == "{}"
			},
			verified: always200(`{"data":{"permissions":["/email/send"]}}`),
			verdicts: []verifyCase{
				{name: "key without the permission", answer: answer{200, nil, `{"data":{"permissions":["\/stats\/email_summary"]}}`}, words: "/email/send"},
				{name: "wrong key", answer: refusal(401, "INVALID_API_KEY", "no"), kind: Configuration, words: "check apiKey"},
				{name: "refused with 200", answer: refusal(200, "ENDPOINT_PERMISSION_DENIED", "no"), kind: Configuration, words: "/email/send"},
				{name: "escaped", answer: answer{200, nil, `{"data":{"permissions":["\/email\/send"]}}`}},
			},
			table: smtp2goErrors,
			errors: []errorCase{
				{name: "no id", answer: answer{200, nil, `{"data":{"succeeded":1}}`}, kind: Uncertain},
				{name: "none that succeeded", answer: answer{200, nil, `{"data":{"succeeded":0,"failed":0,"email_id":"1"}}`}, kind: Uncertain},
				{name: "not JSON", answer: answer{200, nil, proxyPage}, kind: Uncertain},
				{name: "key", answer: refusal(401, "INVALID_API_KEY", "The API key is invalid"), kind: Configuration},
				{name: "permission", answer: refusal(400, "ENDPOINT_PERMISSION_DENIED", "You do not have permission to access this API endpoint"),
					kind: Configuration, code: "ENDPOINT_PERMISSION_DENIED", hint: "/email/send"},
				{name: "IP address", answer: refusal(400, "", "This request is coming from an IP address that isn't in the IP allow list"),
					kind: Configuration, hint: "IP Allowlist"},
				{name: "sender", answer: refusal(400, "SENDER_NOT_VERIFIED", "no"), kind: Configuration, hint: "verify the sender"},
				{name: "sender's form", answer: field("sender", "was expecting a valid RFC-822 formatted email field"), kind: Configuration, hint: "sender"},
				{name: "recipient's form", answer: field("to", "was expecting a valid RFC-822 formatted email field"), kind: Recipient},
				{name: "subject", answer: field("subject", "is too long"), kind: Content},
				{name: "recipients of an hour", answer: refusal(400, "", "Maximum recipients per hour reached"), kind: Configuration},
				{name: "blocked address of ours", answer: refusal(400, "", "Your IP 192.0.2.7 is on a blocklist"), kind: Configuration},
				{name: "bounces", answer: refusal(400, "", "Too many of your mails bounced"), kind: Configuration},
				{name: "mailbox of the sender", answer: refusal(400, "", "The from mailbox does not exist"), kind: Configuration},
				{name: "limit of an hour", answer: refusal(429, "API_EXCEPTION", "Your account has reached its hourly limit"), kind: RateLimited},
				{name: "refused with 200: sender", answer: failed("Sender domain is not verified"), kind: Configuration, code: "200"},
				{name: "refused with 200: recipient", answer: failed("Invalid recipient ada.lovelace@example.org"), kind: Recipient},
				{name: "refused with 200: recipient with a telling name", answer: failed("Invalid recipient address: whitelist@example.org"), kind: Recipient},
				{name: "refused with 200: suppressed", answer: failed("ada.lovelace@example.org is on the block list"), kind: Recipient, suppressed: true},
				{name: "refused with 200: no words", answer: answer{200, nil, `{"data":{"succeeded":0,"failed":1}}`}, kind: Configuration},
				{name: "refused with 200: a code", answer: refusal(200, "API_EXCEPTION", "Something happened"), kind: Configuration},
				{name: "account", answer: refusal(402, "API_EXCEPTION", "failed"), kind: Configuration},
				{name: "unavailable", answer: answer{503, nil, ""}, kind: Temporary},
			},
		},
	}
}

// A sender's name is UTF-8 here, and the reply address is a header.
func TestSMTP2GOSender(t *testing.T) {
	provider, arrived := openHonest(t, smtp2goFixture())
	if _, err := provider.Send(t.Context(), unicodeMessage()); err != nil {
		t.Fatal(err)
	}
	var mail smtp2goMail
	readMail(t, arrived()[0], &mail)
	if mail.Sender != `"アクメ株式会社" <no-reply@acme.example>` || mail.Headers[len(mail.Headers)-1].Header != "Reply-To" {
		t.Errorf("%+v", mail)
	}
}
