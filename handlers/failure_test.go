package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"testing"

	"logto-email-relay/mail"
)

func TestWantsJSON(t *testing.T) {
	tests := []struct {
		accept []string
		want   bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"*/*"}, false},
		{[]string{"text/plain"}, false},
		{[]string{"application/json"}, true},
		{[]string{"application/problem+json"}, true},
		{[]string{"Application/JSON"}, true},
		{[]string{"application/*"}, true},
		{[]string{"application/json; charset=utf-8"}, true},
		{[]string{"application/json, text/plain, */*"}, true},
		{[]string{"text/plain, application/json"}, true},
		{[]string{"text/plain", "application/json"}, true},
		{[]string{"text/plain;q=0.5, application/json"}, true},
		{[]string{"text/plain, application/json;q=0.9"}, false},
		{[]string{"text/*, application/json;q=0.9"}, false},
		{[]string{"*/*;q=0.1, application/json;q=0.5"}, true},
		{[]string{"application/json;q=0.5, */*"}, false},
		{[]string{"text/*, text/plain;q=0.1, application/json;q=0.5"}, true},
		{[]string{"application/json;q=0"}, false},
		{[]string{"application/*, application/json;q=0"}, false},
		{[]string{"application/json;q=many"}, false},
		{[]string{"application/json;q=2"}, false},
		{[]string{"application/json;q=NaN"}, false},
		{[]string{"application/xml"}, false},
		{[]string{",;,application/json,/"}, true},
		{[]string{"application/jsonp"}, false},
	}
	for _, test := range tests {
		if got := wantsJSON(http.Header{"Accept": test.accept}); got != test.want {
			t.Errorf("%q: got %v, want %v", test.accept, got, test.want)
		}
	}
}

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

// docs/operations.md has a row for every status and word.
func TestTheAnswersAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range []mail.Reason{malformed, tooLarge, unsupportedMediaType, unauthorized, forbidden, notFound, methodNotAllowed, invalid,
		mail.RecipientRefused, mail.RecipientSuppressed, mail.ProviderRefused, mail.ProviderUnavailable, mail.Timeout,
		mail.Uncertain, mail.Internal} {
		row := fmt.Sprintf("(?m)^\\| [0-9, ]*%d[0-9, ]* \\| [^|]*`%s`", status(reason), reason)
		if !regexp.MustCompile(row).Match(page) {
			t.Errorf("no row of %d %s", status(reason), reason)
		}
	}
}
