package providers

import (
	"encoding/json"
	"net/http"
	"testing"

	"logto-email-relay/settings"
)

const postmarkToken = "7d1b1a6e-3f3c-4c0e-9a53-6c1de2f0b5aa"

func postmarkFixture() fixture {
	refusal := func(status, code int, message string) answer {
		body, _ := json.Marshal(map[string]any{"ErrorCode": code, "Message": message})
		return answer{status, nil, string(body)}
	}
	const id = "b7bc2f4a-e38e-4336-af7d-e6c392c2f817"
	return fixture{
		settings: func(address string) Settings {
			s := newPostmarkSettings()
			s.Endpoint, s.ServerToken = address, settings.NewSecret(postmarkToken)
			return s
		},
		mistakes: map[string]func(Settings){
			"serverToken": func(s Settings) { s.(*postmarkSettings).ServerToken = settings.NewSecret("tökén") },
			"endpoint":    func(s Settings) { s.Shared().Endpoint = "http://api.postmarkapp.com" },
		},
		secrets:      []string{postmarkToken},
		id:           id,
		brokenAnswer: Uncertain,
		stored:       true,
		http: &httpFixture{
			path:       "/email",
			storedPath: "/email/withTemplate",
			authorized: func(r *http.Request) bool {
				return r.Header.Get("X-Postmark-Server-Token") == postmarkToken && r.Header.Get("Accept") == "application/json"
			},
			accepted: answer{200, nil, `{"To":"ada.lovelace@example.org","SubmittedAt":"2026-11-21T10:30:00Z","MessageID":"` + id + `","ErrorCode":0,"Message":"OK"}`},
			refusal:  func(words string) answer { return refusal(422, 300, "Invalid 'To' address: '"+words+"'.") },
			verifies: isGet("/server"),
			verified: always200(`{"ID":1,"Name":"Acme","DeliveryType":"Live","TrackOpens":false}`),
			verdicts: []verifyCase{
				{name: "sandbox", answer: answer{200, nil, `{"ID":1,"DeliveryType":"Sandbox"}`}, kind: Configuration, words: "sandbox"},
				{name: "opens tracked", answer: answer{200, nil, `{"ID":1,"DeliveryType":"Live","TrackOpens":true}`}, words: "opens"},
				{name: "wrong token", answer: answer{401, nil, `{"ErrorCode":10,"Message":"No Account or Server API tokens were supplied"}`},
					kind: Configuration, words: "check serverToken"},
				{name: "maintenance", answer: answer{422, nil, `{"ErrorCode":100,"Message":"Maintenance"}`}, kind: Temporary},
				{name: "address", answer: answer{403, nil, ""}, kind: Configuration, words: addressHint},
			},
			table: postmarkErrors,
			errors: []errorCase{
				{name: "token for tests", answer: answer{200, nil, `{"MessageID":"` + id + `","ErrorCode":0,"Message":"Test job accepted"}`}, kind: Configuration},
				{name: "no id", answer: answer{200, nil, `{"ErrorCode":0}`}, kind: Uncertain},
				{name: "not JSON", answer: answer{200, nil, proxyPage}, kind: Uncertain},
				{name: "refused with 200", answer: refusal(200, 406, "You tried to send to recipient(s) that have been marked as inactive."), kind: Recipient, suppressed: true},
				{name: "refused with 200 for a new reason", answer: refusal(200, 9999, "Something new."), kind: Content, code: "200 9999"},
				{name: "token", answer: refusal(401, 10, "Bad or missing Server API token."), kind: Configuration, code: "401 10", hint: "serverToken"},
				{name: "token, older", answer: refusal(422, 10, "Bad or missing Server API token."), kind: Configuration, hint: "serverToken"},
				{name: "address not on the list", answer: answer{403, nil, ""}, kind: Configuration, unplaced: true, hint: addressHint},
				{name: "resource", answer: refusal(404, 12, "not found"), kind: Configuration},
				{name: "size", answer: answer{413, nil, ""}, kind: Content},
				{name: "headers", answer: refusal(415, 409, "JSON required"), kind: Configuration},
				{name: "rate as a 422", answer: refusal(422, 429, "Rate limit exceeded."), kind: RateLimited},
				{name: "recipient", answer: refusal(422, 300, "Invalid 'To' address: 'ada.lovelace@example.org'."), kind: Recipient, code: "422 300"},
				{name: "recipient's domain", answer: refusal(422, 300, "Error parsing 'To': Illegal email domain 'x' in address 'ada.lovelace@example.org'."), kind: Recipient},
				{name: "sender", answer: refusal(422, 300, "Invalid 'From' address: 'x'."), kind: Configuration, hint: "sender"},
				{name: "reply address", answer: refusal(422, 300, "Invalid 'Reply-To' address: 'x'."), kind: Configuration},
				{name: "reply address, as the key", answer: refusal(422, 300, "Error parsing 'ReplyTo': x"), kind: Configuration},
				{name: "no body", answer: refusal(422, 300, "Provide either email TextBody or HtmlBody or both."), kind: Content},
				{name: "signature", answer: refusal(422, 400, "The 'From' address you supplied is not a Sender Signature on your account."), kind: Configuration, hint: "signature"},
				{name: "unconfirmed", answer: refusal(422, 401, "Sender signature not confirmed."), kind: Configuration, hint: "confirm"},
				{name: "JSON", answer: refusal(422, 402, "Invalid JSON"), kind: Content},
				{name: "field", answer: refusal(422, 403, "Incompatible JSON"), kind: Content},
				{name: "several", answer: refusal(422, 11, "Multiple errors"), kind: Content},
				{name: "credits", answer: refusal(422, 405, "Not allowed to send"), kind: RateLimited, quota: true},
				{name: "inactive", answer: refusal(422, 406, "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: ada.lovelace@example.org."),
					kind: Recipient, suppressed: true, code: "422 406"},
				{name: "attachment", answer: refusal(422, 411, "forbidden"), kind: Content},
				{name: "pending", answer: refusal(422, 412, "pending approval"), kind: Configuration, hint: "approved"},
				{name: "may not send", answer: refusal(422, 413, "may not send"), kind: Configuration},
				{name: "template", answer: refusal(422, 1101, "not found"), kind: Configuration, hint: "templateAlias"},
				{name: "template field", answer: refusal(422, 1122, "missing field"), kind: Content},
				{name: "stream", answer: refusal(422, 1235, "unknown stream"), kind: Configuration, hint: "stream"},
				{name: "stream cannot send", answer: refusal(422, 1236, "inbound stream"), kind: Configuration, hint: "stream"},
				{name: "maintenance", answer: refusal(503, 100, "Maintenance"), kind: Temporary},
				{name: "rate", answer: refusal(429, 429, "Rate limit exceeded"), kind: RateLimited},
				{name: "server", answer: refusal(500, 0, "Internal server error"), kind: Temporary},
				{name: "unavailable", answer: answer{503, nil, ""}, kind: Temporary},
			},
		},
	}
}

// TestPostmarkAcceptedInTrouble is an answer without an ErrorCode.
func TestPostmarkAcceptedInTrouble(t *testing.T) {
	f := postmarkFixture()
	f.http.accepted.body = `{"MessageID":"x","Message":"Message accepted, but delivery may be delayed."}`
	provider, _ := openHonest(t, f)
	if receipt, err := provider.Send(t.Context(), plainMessage()); err != nil || receipt.ID != "x" {
		t.Errorf("receipt %+v, error %v", receipt, err)
	}
}
