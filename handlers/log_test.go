package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/templates"
)

func TestLinesOfAnAcceptedMail(t *testing.T) {
	log := new(logs)
	r := webhookRequest(good)
	r.URL.RawQuery = "debug=1"
	got := serve(publicWith(deliver(accept), log), r)
	id := got.Header.Get("X-Request-Id")

	mail := log.line(t, "mail accepted")
	for key, want := range map[string]any{
		"level": "INFO", "ref": id[:8], "id": id, "type": "SignIn", "locale": "en", "to": "a***@example.com",
		"provider": "main", "provider_id": "<42@provider>",
		"attempts": []any{map[string]any{"provider": "main", "kind": "accepted", "ms": 12.0}},
	} {
		if !reflect.DeepEqual(mail[key], want) {
			t.Errorf("mail: %s is %v, want %v", key, mail[key], want)
		}
	}
	access := log.line(t, "request")
	for key, want := range map[string]any{
		"level": "INFO", "ref": id[:8], "id": id, "method": "POST", "path": "/logto/email", "status": 200.0,
		"bytes": float64(len(bodyOf(t, got))), "caller": "192.0.2.1",
	} {
		if access[key] != want {
			t.Errorf("access: %s is %v, want %v", key, access[key], want)
		}
	}
	for _, key := range []string{"tenant", "trace", "redirected_to"} {
		if value, has := mail[key]; has {
			t.Errorf("mail: %s is %v", key, value)
		}
	}
	for _, line := range []map[string]any{mail, access} {
		if ms, ok := line["ms"].(float64); !ok || ms < 0 {
			t.Errorf("no duration in %v", line)
		}
		if line["error"] != nil {
			t.Errorf("an error in %v", line)
		}
	}
}

func TestLineOfARedirectedMail(t *testing.T) {
	log := new(logs)
	serve(publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		d := accept(ctx, r)
		d.RedirectedTo = "staging@example.net"
		return d
	}), log), webhookRequest(good))
	if line := log.line(t, "mail accepted"); line["to"] != "a***@example.com" || line["redirected_to"] != "s***@example.net" {
		t.Errorf("the line is %v", line)
	}
}

func TestLineOfAFailedMail(t *testing.T) {
	attempts := []mail.Attempt{
		{Provider: "main", Duration: 1500 * time.Microsecond, Kind: "configuration", Stage: "AUTH", Code: "535 5.7.8",
			Detail: "bad credentials", Hint: "check auth.pass"},
		{Provider: "backup", Duration: time.Second, Kind: "temporary", Stage: "connect"},
	}
	tests := []struct {
		delivery mail.Delivery
		level    string
	}{
		{mail.Delivery{Reason: mail.ProviderUnavailable, Locale: "fr", Attempts: attempts, Cause: "odd"}, "ERROR"},
		{mail.Delivery{Reason: mail.RecipientRefused, Locale: "fr", Attempts: attempts}, "WARN"},
	}
	for _, test := range tests {
		log := new(logs)
		serve(publicWith(refuse(test.delivery), log), webhookRequest(good))
		mail := log.line(t, "mail failed")
		want := []any{
			map[string]any{"provider": "main", "kind": "configuration", "stage": "AUTH", "code": "535 5.7.8",
				"detail": "bad credentials", "hint": "check auth.pass", "ms": 1.5},
			map[string]any{"provider": "backup", "kind": "temporary", "stage": "connect", "ms": 1000.0},
		}
		if !reflect.DeepEqual(mail["attempts"], want) {
			t.Errorf("attempts are %v", mail["attempts"])
		}
		if cause, told := mail["cause"]; told != (test.delivery.Cause != "") || told && cause != test.delivery.Cause {
			t.Errorf("the cause is %v", cause)
		}
		if mail["level"] != test.level || mail["error"] != string(test.delivery.Reason) || mail["locale"] != "fr" {
			t.Errorf("the line is %v", mail)
		}
		if access := log.line(t, "request"); access["level"] != "INFO" || access["error"] != string(test.delivery.Reason) {
			t.Errorf("the access line is %v", access)
		}
	}
}

func TestQuietLines(t *testing.T) {
	log := new(logs)
	serve(publicWith(deliver(accept), log), httptest.NewRequest("GET", "/healthz", nil))
	if line := log.line(t, "request"); line["level"] != "DEBUG" {
		t.Errorf("a probe is logged as %v", line)
	}
	log = new(logs)
	serve(publicWith(deliver(accept), log), httptest.NewRequest("SECRETMETHOD", "/path?secret=query", nil))
	if line := log.line(t, "request"); line["path"] != "other" || line["method"] != "other" || strings.Contains(strings.ToLower(log.String()), "secret") {
		t.Errorf("a stranger's words are logged: %s", log)
	}
}

// Who has the path of Logto's endpoint wrong finds it in the log, and nothing else
// of what was asked for.
func TestAWrongPathIsLogged(t *testing.T) {
	for path, shown := range map[string]string{
		"/logto/emial?code=123456":      `"/logto/emial"`,
		"/%1b[31m%0a/\u202e":            `"/\x1b[31m\n/\u202e"`,
		"/" + strings.Repeat("a/", 500): `"/` + strings.Repeat("a/", 31) + `a"`,
		"/%ff" + strings.Repeat("é", 7): `"/\xff` + strings.Repeat(`\u00e9`, 7) + `"`,
		"/logto/email/a-long-token-16b": `"/logto/email/[long]"`,
		"/token=a-long-token-16b/x":     `"/[long]/x"`,
		"/logto/email/a-short-token15":  `"/logto/email/a-short-token15"`,
	} {
		log := new(logs)
		serve(publicWith(deliver(accept), log), httptest.NewRequest("POST", path, nil))
		line := log.line(t, "request")
		if want := "no such path: " + shown + "; Logto's endpoint is /logto/email"; line["level"] != "WARN" || line["detail"] != want {
			t.Errorf("%s: %v, want %s", path, line, want)
		}
	}
}

// A link that may not be sent is explained by its scheme or host alone.
func TestARefusedLinkIsLogged(t *testing.T) {
	for link, want := range map[string]string{
		"http://acme.example/join?token=linkmark":  `payload.link: the scheme "http" is not in templates.links.schemes`,
		"https://b\u00fccher.evil/join?t=linkmark": `payload.link: the host "xn--bcher-kva.evil" is not in templates.links.hosts`,
	} {
		log := new(logs)
		o := testOptions()
		o.Links = templates.Links{Schemes: []string{"https"}, Hosts: []string{"acme.example"}}
		serve(publicOver(o, deliver(accept), log), webhookRequest(payload(`"link":"`+link+`"`)))
		if line := log.line(t, "request"); line["detail"] != want || strings.Contains(log.String(), "linkmark") {
			t.Errorf("%s: %s", link, log)
		}
	}
}

// marks are put wherever something may not reach a log.
var marks = []string{"CODEMARK", "linkmark", "NAMEMARK", "recipientmark", "TOKENMARK", "IPMARK", "LOCALEMARK", "QUERYMARK"}

// marked puts the marks into a captured body.
func marked(t *testing.T, body string) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		t.Fatal(err)
	}
	var mark func(key string, value any) any
	mark = func(key string, value any) any {
		switch v := value.(type) {
		case map[string]any:
			for k := range v {
				v[k] = mark(k, v[k])
			}
		case []any:
			for i := range v {
				v[i] = mark(key, v[i])
			}
		case string:
			switch key {
			case "code":
				return "CODEMARK1"
			case "link":
				return strings.Replace(v, "app.example.com", "linkmark.example.com", 1)
			case "to":
				return strings.Replace(v, "@", ".recipientmark@", 1)
			case "type":
				return v
			case "ip":
				return "IPMARK"
			case "locale", "uiLocales":
				return "LOCALEMARK"
			}
			return "NAMEMARK"
		}
		return value
	}
	marked, err := json.Marshal(mark("", fields))
	if err != nil {
		t.Fatal(err)
	}
	return string(marked)
}

func TestLogsKeepSecrets(t *testing.T) {
	outcomes := map[string]deliver{
		"accepted": accept,
		"refused":  refuse(mail.Delivery{Reason: mail.ProviderRefused, Attempts: []mail.Attempt{{Provider: "main", Kind: "message"}}}),
		"a panic that quotes": func(_ context.Context, r relay.Request) *mail.Delivery {
			panic(fmt.Sprint(r))
		},
	}
	for name, outcome := range outcomes {
		t.Run(name, func(t *testing.T) {
			log := new(logs)
			h := publicWith(outcome, log)
			answers := 0
			for _, body := range captured(t) {
				for _, sent := range []string{body, marked(t, body), marked(t, body)[1:], strings.Replace(marked(t, body), `"to"`, `"To"`, 1)} {
					for _, authorization := range []string{testToken, "Bearer TOKENMARK"} {
						r := webhookRequest(sent)
						r.URL.RawQuery = "QUERYMARK"
						r.Header.Set("Authorization", authorization)
						answer := bodyOf(t, serve(h, r))
						checkMarks(t, "an answer", answer)
						answers++
					}
				}
			}
			if lines := strings.Count(log.String(), `"msg":"request"`); lines != answers || answers != 49*8 {
				t.Errorf("%d access lines for %d answers", lines, answers)
			}
			text := log.String()
			checkMarks(t, "the log", text)
			// Codes are looked for as words, since ids hold digits too.
			words := make(map[string]bool)
			for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
				words[word] = true
			}
			for _, body := range captured(t) {
				var fields struct {
					To      string
					Payload struct{ Code, Link string }
				}
				if err := json.Unmarshal([]byte(body), &fields); err != nil && fields.To == "" {
					t.Fatal(err)
				}
				for _, secret := range []string{fields.To, fields.Payload.Link} {
					if secret != "" && strings.Contains(text, secret) {
						t.Errorf("the log holds %q", secret)
					}
				}
				if words[fields.Payload.Code] {
					t.Errorf("the log holds %q", fields.Payload.Code)
				}
			}
			if strings.Contains(text, strings.TrimPrefix(testToken, "Bearer ")) {
				t.Error("the log holds the token")
			}
		})
	}
}

func checkMarks(t *testing.T, where, text string) {
	t.Helper()
	for _, mark := range marks {
		if strings.Contains(text, mark) {
			t.Errorf("%s holds %s: %s", where, mark, text[:min(len(text), 2000)])
			return
		}
	}
}
