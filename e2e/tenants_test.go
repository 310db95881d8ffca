package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The example of docs/tenants.md at work: three tenants with their own senders,
// brands and providers in one relay. Only the addresses of the servers are others.
func TestThreeTenants(t *testing.T) {
	page, err := os.ReadFile("../docs/tenants.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(page)[1]
	var c map[string]any
	if err := json.Unmarshal(example, &c); err != nil {
		t.Fatal(err)
	}
	servers := make(map[string]*sink)
	for _, entry := range c["providers"].([]any) {
		provider := entry.(map[string]any)
		server := startSink(t)
		servers[provider["name"].(string)] = server
		provider["host"], provider["port"], provider["ignoreTLS"] = "127.0.0.1", server.port(), true
		delete(provider, "auth")
	}
	relay := &relayProcess{public: fmt.Sprintf("127.0.0.1:%d", freePort(t)), admin: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	c["server"].(map[string]any)["address"] = relay.public
	c["admin"] = map[string]any{"address": relay.admin}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config", file)
	for _, tenant := range []string{"acme", "bluebird", "cedar"} {
		cmd.Env = append(cmd.Env, strings.ToUpper(tenant)+"_TOKEN=long-and-random-for-"+tenant)
	}
	relay.process = start(t, cmd)
	relay.waitReady(t)

	ask := func(tenant, to string) answer {
		return post(t, relay.webhook(), "application/json", "Bearer long-and-random-for-"+tenant,
			strings.NewReader(fmt.Sprintf(`{"to":%q,"type":"SignIn","payload":{"code":"482913"}}`, to)))
	}
	for _, want := range []struct{ tenant, provider, from, to, subject string }{
		{"acme", "europe", `"Acme" <no-reply@acme.example>`, "ada@example.org", "Acme"},
		{"bluebird", "america", `"Bluebird" <hello@bluebird.example>`, "ada@example.org", "Bluebird"},
		{"cedar", "europe", `"Cedar staging" <no-reply@cedar.example>`, "staging@cedar.example", "Cedar"},
	} {
		if got := ask(want.tenant, "ada@example.org"); got.status != http.StatusOK {
			t.Fatalf("%s: %d %s", want.tenant, got.status, got.body)
		}
		messages := servers[want.provider].take()
		if len(messages) != 1 {
			t.Fatalf("%s: %d mails at %s", want.tenant, len(messages), want.provider)
		}
		m, err := mail.ReadMessage(strings.NewReader(string(messages[0])))
		if err != nil {
			t.Fatal(err)
		}
		from, err := m.Header.AddressList("From")
		if err != nil || from[0].String() != want.from {
			t.Errorf("%s: from %v (%v)", want.tenant, from, err)
		}
		to, err := m.Header.AddressList("To")
		if err != nil || to[0].Address != want.to {
			t.Errorf("%s: to %v (%v)", want.tenant, to, err)
		}
		if subject := m.Header.Get("Subject"); !strings.Contains(subject, want.subject) {
			t.Errorf("%s: subject %q", want.tenant, subject)
		}
		if original := m.Header.Get("X-Original-To"); (original == "ada@example.org") != (want.tenant == "cedar") {
			t.Errorf("%s: X-Original-To is %q", want.tenant, original)
		}
		until(t, "the log names "+want.tenant, func() bool { return strings.Contains(relay.log(), fmt.Sprintf(`"tenant":%q`, want.tenant)) })
	}
	// One tenant's limit is not another's.
	ask("bluebird", "bob@example.org")
	if got := ask("bluebird", "eve@example.org"); got.status != http.StatusTooManyRequests || !strings.Contains(got.body, "in about 30 minutes") {
		t.Errorf("over the limit of its own: %d %s", got.status, got.body)
	}
	if got := ask("acme", "eve@example.org"); got.status != http.StatusOK {
		t.Errorf("another tenant: %d %s", got.status, got.body)
	}
	response, err := http.Get("http://" + relay.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	metrics, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`relay_requests_total{authorization="acme",error="",status="200"} 2`,
		`relay_requests_total{authorization="bluebird",error="rate_limited",status="429"} 1`} {
		if !strings.Contains(string(metrics), line) {
			t.Errorf("no %s in the metrics", line)
		}
	}
}
