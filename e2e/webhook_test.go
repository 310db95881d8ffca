package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// inbox is the provider of development mode.
const inbox = `[{"type": "inbox"}]`

// refused are the captured webhooks that no mail may come of.
var refused = map[string]bool{
	"signin-to-two-addresses":                 true,
	"signin-to-angle":                         true,
	"signin-to-percent":                       true,
	"organization-invitation-hostile-inviter": true,
}

func TestEveryCapturedWebhookIsSentOrRefused(t *testing.T) {
	relay := startRelay(t, inbox)
	bodies := captured(t)
	if len(bodies) != 49 {
		t.Errorf("%d captured webhooks, want 49", len(bodies))
	}
	for name, body := range bodies {
		got := post(t, relay.webhook(), "application/json", authorization, bytes.NewReader(body))
		want := http.StatusOK
		if refused[name] {
			want = http.StatusUnprocessableEntity
		}
		if got.status != want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, want)
		}
	}
}

// sentence is what every failing answer looks like.
var sentence = regexp.MustCompile(`^[A-Z][A-Za-z ,.']+\. \(ref [0-9a-z]{8}\)\n?$`)

func TestBadInputGetsAStatusAndOneHarmlessSentence(t *testing.T) {
	relay := startRelay(t, inbox)
	const jsonType = "application/json"
	with := func(to, kind, payload string) string {
		return fmt.Sprintf(`{"to":%s,"type":%s,"payload":%s}`, to, kind, payload)
	}
	const to, kind, payload = `"ada@example.org"`, `"SignIn"`, `{"code":"123456"}`
	tests := []struct {
		name, contentType, body string
		status                  int
		word                    string
	}{
		{"no body", jsonType, "", 400, "malformed"},
		{"blanks only", jsonType, " \n\t ", 400, "malformed"},
		{"not JSON", jsonType, "to=ada@example.org", 400, "malformed"},
		{"broken off", jsonType, with(to, kind, payload)[:40], 400, "malformed"},
		{"two values", jsonType, with(to, kind, payload) + with(to, kind, payload), 400, "malformed"},
		{"a list of them", jsonType, "[" + with(to, kind, payload) + "]", 400, "malformed"},
		{"text behind it", jsonType, with(to, kind, payload) + " x", 400, "malformed"},
		{"null", jsonType, "null", 400, "malformed"},
		{"9,000 levels deep", jsonType, with(to, kind, `{"a":`+strings.Repeat("[", 9000)+strings.Repeat("]", 9000)+"}"), 400, "malformed"},
		{"over 64 KiB", jsonType, with(to, kind, `{"code":"`+strings.Repeat("1", 70_000)+`"}`), 413, "too_large"},
		{"over 2 MiB", jsonType, with(to, kind, `{"code":"`+strings.Repeat("1", 2<<20)+`"}`), 413, "too_large"},
		{"a form", "application/x-www-form-urlencoded", with(to, kind, payload), 415, "unsupported_media_type"},
		{"no content type", "", with(to, kind, payload), 415, "unsupported_media_type"},
		{"plain text", "text/plain", with(to, kind, payload), 415, "unsupported_media_type"},
		{"NUL in to", jsonType, with(`"ada\u0000@example.org"`, kind, payload), 422, "invalid"},
		{"CR LF in to", jsonType, with(`"ada@example.org\r\nBcc: x@example.org"`, kind, payload), 422, "invalid"},
		{"LF in to", jsonType, with(`"ada\n@example.org"`, kind, payload), 422, "invalid"},
		{"two addresses", jsonType, with(`"ada@example.org,bob@example.org"`, kind, payload), 422, "invalid"},
		{"two addresses, semicolon", jsonType, with(`"ada@example.org; bob@example.org"`, kind, payload), 422, "invalid"},
		{"a list of addresses", jsonType, with(`["ada@example.org"]`, kind, payload), 422, "invalid"},
		{"a number as address", jsonType, with(`42`, kind, payload), 422, "invalid"},
		{"angle brackets", jsonType, with(`"Ada <ada@example.org>"`, kind, payload), 422, "invalid"},
		{"no address", jsonType, with(`""`, kind, payload), 422, "invalid"},
		{"to is missing", jsonType, `{"type":"SignIn","payload":{"code":"1"}}`, 422, "invalid"},
		{"type is missing", jsonType, `{"to":"ada@example.org","payload":{"code":"1"}}`, 422, "invalid"},
		{"type is empty", jsonType, with(to, `""`, payload), 422, "invalid"},
		{"type is not a word", jsonType, with(to, `"../../etc/passwd"`, payload), 422, "invalid"},
		{"type is an object", jsonType, with(to, `{}`, payload), 422, "invalid"},
		{"payload is missing", jsonType, `{"to":"ada@example.org","type":"SignIn"}`, 422, "invalid"},
		{"payload is a list", jsonType, with(to, kind, `[]`), 422, "invalid"},
		{"payload is text", jsonType, with(to, kind, `"code"`), 422, "invalid"},
		{"payload is null", jsonType, with(to, kind, `null`), 422, "invalid"},
		{"a script as link", jsonType, with(to, `"OrganizationInvitation"`, `{"link":"javascript:alert(1)"}`), 422, "invalid"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := post(t, relay.webhook(), test.contentType, authorization, strings.NewReader(test.body))
			if got.status != test.status || got.header.Get("X-Relay-Error") != test.word {
				t.Errorf("%d %q, want %d %q", got.status, got.header.Get("X-Relay-Error"), test.status, test.word)
			}
			if !sentence.MatchString(got.body) {
				t.Errorf("the answer is not one harmless sentence: %q", got.body)
			}
		})
	}
	t.Run("a locale of 3,000 characters is no reason to refuse", func(t *testing.T) {
		got := post(t, relay.webhook(), jsonType, authorization,
			strings.NewReader(with(to, kind, `{"code":"123456","locale":"`+strings.Repeat("x", 3000)+`"}`)))
		if got.status != http.StatusOK {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	if log := relay.log(); strings.Contains(log, "123456") {
		t.Errorf("the log shows a code:\n%s", log)
	}
}

// The first thing that a new user does: the two commands and the curl line, which
// the relay has printed with its token.
func TestTheREADMEsFirstLinesWork(t *testing.T) {
	need(t, "curl")
	need(t, "sh")
	readme := read(t, "../README.md")
	line := regexp.MustCompile(`(?m)^curl (?:.*\\\n)*.*`).FindString(readme)
	if line == "" {
		t.Fatal("the README has no curl line")
	}
	relay := startDevelopment(t)
	until(t, "it says how to try it", func() bool { return strings.Contains(relay.log(), "-d '{") })
	printed := regexp.MustCompile(`Bearer [A-Z0-9]+`).FindString(relay.log())
	line = strings.NewReplacer("Bearer …", printed, "127.0.0.1:8080", relay.public, "127.0.0.1:9090", relay.admin).Replace(line)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"provider":"inbox"`) {
		t.Fatalf("%v: %s\n%s", err, line, out)
	}
	page := browse(t, "http://"+relay.admin+"/inbox")
	if !strings.Contains(page, "sign-in code") {
		t.Errorf("the inbox does not show the mail:\n%s", page)
	}
}
