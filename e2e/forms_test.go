package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// connectors are Logto's email connectors by their packages, and the type that
// an operator adds to their JSON.
var connectors = map[string]string{
	"smtp": "smtp", "sendgrid-email": "sendgrid", "mailgun": "mailgun", "aws-ses": "ses",
	"postmark": "postmark", "aliyun-dm": "aliyun", "http-email": "http",
	"smtp2go-email": "smtp2go", "mailjunky": "mailjunky",
}

// formItem is one field of a form of Logto's console.
type formItem struct {
	Key          string
	Type         string
	DefaultValue json.RawMessage
}

// written is what an operator writes into fields without a default value.
var written = map[string]string{
	"smtp.host": `"smtp.example.com"`, "smtp.port": `587`, "smtp.fromEmail": `"Acme <no-reply@acme.example>"`,
	"smtp.replyTo": `"help@acme.example"`, "smtp.name": `"Logto-SMTP"`, "smtp.localAddress": `"127.0.0.1"`,
	"smtp.connectionTimeout": `120000`, "smtp.greetingTimeout": `30000`, "smtp.socketTimeout": `600000`,
	"smtp.dnsTimeout": `30000`, "smtp.servername": `"smtp.example.com"`, "smtp.ignoreTLS": `false`, "smtp.requireTLS": `true`,
	"sendgrid-email.apiKey": `"SG.key"`, "sendgrid-email.fromEmail": `"no-reply@acme.example"`, "sendgrid-email.fromName": `"Acme"`,
	"mailgun.endpoint": `"https://api.eu.mailgun.net"`, "mailgun.domain": `"mail.acme.example"`, "mailgun.apiKey": `"key"`,
	"mailgun.from":        `"Acme <no-reply@mail.acme.example>"`,
	"aws-ses.accessKeyId": `"AKIAEXAMPLE"`, "aws-ses.accessKeySecret": `"secret"`, "aws-ses.region": `"eu-west-1"`,
	"aws-ses.emailAddress":                              `"no-reply@acme.example"`,
	"aws-ses.emailAddressIdentityArn":                   `"arn:aws:ses:eu-west-1:111122223333:identity/acme.example"`,
	"aws-ses.feedbackForwardingEmailAddress":            `"bounces@acme.example"`,
	"aws-ses.feedbackForwardingEmailAddressIdentityArn": `"arn:aws:ses:eu-west-1:111122223333:identity/acme.example"`,
	"aws-ses.configurationSetName":                      `"transactional"`,
	"postmark.serverToken":                              `"7d1b1a6e-3f3c-4c0e-9a53-6c1de2f0b5aa"`, "postmark.fromEmail": `"no-reply@acme.example"`,
	"aliyun-dm.accessKeyId": `"LTAIexample"`, "aliyun-dm.accessKeySecret": `"secret"`, "aliyun-dm.accountName": `"no-reply@acme.example"`,
	"aliyun-dm.fromAlias":  `"Acme"`,
	"smtp2go-email.apiKey": `"api-key"`, "smtp2go-email.sender": `"no-reply@acme.example"`, "smtp2go-email.senderName": `"Acme"`,
	"mailjunky.apiKey": `"mj_live_key"`, "mailjunky.fromEmail": `"no-reply@acme.example"`, "mailjunky.fromName": `"Acme"`,
	"http-email.endpoint": `"https://mail.acme.example/logto"`, "http-email.authorization": `"Bearer token"`,
}

// runNode runs a script beside Logto's connectors and returns what it prints.
func runNode(t testing.TB, script string, input any) []byte {
	t.Helper()
	node := need(t, "node")
	for name := range connectors {
		if _, err := os.Stat("connector/node_modules/@logto/connector-" + name); err != nil {
			unavailable(t, "Logto's connectors are not installed: run npm ci in e2e/connector")
		}
	}
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "connector/"+script)
	cmd.Stdin = strings.NewReader(string(text))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, stderr.String())
	}
	return out
}

// The form that Logto's console shows for each of its connectors, filled in, is
// a provider once it has a type.
func TestTheFormOfEveryConnectorOfLogtosIsAProvider(t *testing.T) {
	var forms map[string][]formItem
	if err := json.Unmarshal(runNode(t, "forms.mjs", nil), &forms); err != nil {
		t.Fatal(err)
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range connectors {
		t.Run(name, func(t *testing.T) {
			if len(forms[name]) == 0 {
				t.Fatal("the connector has no form")
			}
			filled := map[string]json.RawMessage{"type": json.RawMessage(`"` + kind + `"`)}
			for _, item := range forms[name] {
				filled[item.Key] = item.DefaultValue
				if answer, found := written[name+"."+item.Key]; found {
					filled[item.Key] = json.RawMessage(answer)
				} else if item.DefaultValue == nil {
					t.Errorf("the form has a new field %s of type %s", item.Key, item.Type)
				}
			}
			provider, err := json.MarshalIndent(filled, "    ", "  ")
			if err != nil {
				t.Fatal(err)
			}
			config := filepath.Join(t.TempDir(), "config.json")
			text := fmt.Sprintf(`{
  "server": { "authorization": ["Bearer a-token-of-the-test"] },
  "sender": { "from": "no-reply@acme.example" },
  "providers": [%s]
}`, provider)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), path, "check", "--config", config)
			cmd.Env = []string{}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("check: %v\n%s\nof\n%s", err, out, text)
			}
			for line := range strings.Lines(string(out)) {
				if strings.HasPrefix(line, "note:") || strings.HasPrefix(line, "warning:") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}
