package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// mailpit is a running Mailpit, a real SMTP server with an API.
type mailpit struct{ smtp, api string }

func startMailpit(t testing.TB) *mailpit {
	t.Helper()
	path := need(t, "mailpit")
	m := &mailpit{fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	cmd := exec.Command(path, "--smtp", m.smtp, "--listen", m.api, "--disable-version-check")
	p := start(t, cmd)
	until(t, "Mailpit is up", func() bool {
		response, err := http.Get("http://" + m.api + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK && p.cmd.ProcessState == nil
	})
	return m
}

func (m *mailpit) port() string { return m.smtp[strings.LastIndexByte(m.smtp, ':')+1:] }

type receivedMail struct {
	ID      string
	Subject string
	From    struct{ Name, Address string }
	To      []struct{ Name, Address string }
	Text    string
	HTML    string
}

// mails returns what Mailpit holds, oldest first.
func (m *mailpit) mails(t testing.TB) []receivedMail {
	t.Helper()
	var list struct{ Messages []struct{ ID string } }
	get(t, "http://"+m.api+"/api/v1/messages?limit=500", &list)
	mails := make([]receivedMail, len(list.Messages))
	for i, message := range list.Messages {
		get(t, "http://"+m.api+"/api/v1/message/"+message.ID, &mails[len(mails)-1-i])
	}
	return mails
}

// verdict is what Logto's connector made of a message.
type verdict struct {
	OK   bool            `json:"ok"`
	Code string          `json:"code"`
	Data json.RawMessage `json:"data"`
}

// sendThroughLogtosConnector hands messages to the connector that Logto ships.
func sendThroughLogtosConnector(t testing.TB, endpoint, authorization string, messages ...json.RawMessage) []verdict {
	t.Helper()
	node := need(t, "node")
	if _, err := os.Stat("connector/node_modules/@logto/connector-http-email"); err != nil {
		unavailable(t, "Logto's connector is not installed: run npm ci in e2e/connector")
	}
	input, err := json.Marshal(map[string]any{
		"config":   map[string]string{"endpoint": endpoint, "authorization": authorization},
		"messages": messages,
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "connector/send.mjs")
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.String())
	}
	var verdicts []verdict
	decoder := json.NewDecoder(bytes.NewReader(out))
	for decoder.More() {
		var v verdict
		if err := decoder.Decode(&v); err != nil {
			t.Fatal(err)
		}
		verdicts = append(verdicts, v)
	}
	if len(verdicts) != len(messages) {
		t.Fatalf("%d verdicts for %d messages:\n%s", len(verdicts), len(messages), out)
	}
	return verdicts
}

// nineTypes are captured webhooks, one of each message type of Logto's.
var nineTypes = []string{
	"signin", "register", "forgot-password", "organization-invitation-inviter-branded", "generic",
	"user-permission-validation-fr-ca-branded", "bind-new-identifier", "mfa-verification", "bind-mfa",
}

func TestLogtosConnectorSendsAllNineTypesToARealSMTPServer(t *testing.T) {
	server := startMailpit(t)
	relay := startRelay(t, fmt.Sprintf(`[{"name": "mailpit", "type": "smtp", "host": "127.0.0.1", "port": %s, "ignoreTLS": true}]`, server.port()))
	bodies := captured(t)
	var messages []json.RawMessage
	for _, name := range nineTypes {
		messages = append(messages, bodies[name])
	}
	for i, v := range sendThroughLogtosConnector(t, relay.webhook(), authorization, messages...) {
		if !v.OK {
			t.Errorf("%s: the connector reports %s %s", nineTypes[i], v.Code, v.Data)
		}
	}

	mails := server.mails(t)
	if len(mails) != len(nineTypes) {
		t.Fatalf("%d mails arrived, want %d; the relay printed:\n%s", len(mails), len(nineTypes), relay.log())
	}
	subjects := make(map[string]bool)
	for i, mail := range mails {
		var message struct {
			To      string
			Payload struct{ Code, Link string }
		}
		if err := json.Unmarshal(bodies[nineTypes[i]], &message); err != nil {
			t.Fatal(err)
		}
		if len(mail.To) != 1 || mail.To[0].Address != message.To || mail.From.Address != "no-reply@acme.example" {
			t.Errorf("%s: from %v to %v", nineTypes[i], mail.From, mail.To)
		}
		for part, text := range map[string]string{"text": mail.Text, "HTML": mail.HTML} {
			if !strings.Contains(text, message.Payload.Code) {
				t.Errorf("%s: the %s part lacks the code", nineTypes[i], part)
			}
			if !strings.Contains(strings.ReplaceAll(text, "&amp;", "&"), message.Payload.Link) {
				t.Errorf("%s: the %s part lacks the link", nineTypes[i], part)
			}
		}
		if code := message.Payload.Code; code != "" && strings.Contains(mail.Subject, code) {
			t.Errorf("%s: the subject shows the code", nineTypes[i])
		}
		subjects[mail.Subject] = true
	}
	if len(subjects) != len(nineTypes) {
		t.Errorf("only %d different subjects: %v", len(subjects), subjects)
	}
}

// What people at Logto's sign-in page are shown: one sentence with a reference.
func TestWhatLogtosConnectorMakesOfFailures(t *testing.T) {
	down := startRelay(t, fmt.Sprintf(`[{"type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true}]`, freePort(t)))
	signin := captured(t)["signin"]
	tests := []struct {
		name, authorization string
		status              int
		sentence            string
	}{
		{"401", "Bearer not-the-token-at-all", http.StatusUnauthorized, `We can't send the email right now\. Please contact support\.`},
		{"503", authorization, http.StatusServiceUnavailable, `We couldn't send the email right now\. Please try again in a minute\.`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			direct := post(t, down.webhook(), "application/json", test.authorization, bytes.NewReader(signin))
			if direct.status != test.status {
				t.Fatalf("status %d, want %d: %s", direct.status, test.status, direct.body)
			}
			v := sendThroughLogtosConnector(t, down.webhook(), test.authorization, signin)[0]
			if v.OK || v.Code != "general" {
				t.Fatalf("the connector reports %+v, want its general error", v)
			}
			shown := regexp.MustCompile(`^\{"message":"` + test.sentence + ` \(ref [0-9a-z]{8}\)"\}$`)
			if !shown.Match(v.Data) {
				t.Errorf("the connector hands on %s, want %s", v.Data, shown)
			}
			t.Logf("what the connector makes of a %d: %s %s", test.status, v.Code, v.Data)
		})
	}
}
