package commands_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logto-email-relay/bounces/dovecottest"
	"logto-email-relay/commands"
	"logto-email-relay/mail"
	"logto-email-relay/smtp/smtptest"
)

// A mail server hands over what came back, and keeps it for later where that fails.
func TestBounce(t *testing.T) {
	file := configure(t, `{"name": "main", "type": "smtp", "host": "127.0.0.1"}`, `{"type": "inbox"}`)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := strings.Replace(string(text), `"sender"`, `"deliveries": {"database": "deliveries.db"}, "sender"`, 1)
	write(good)
	sample := func(name string) string {
		message, err := os.ReadFile(filepath.Join("../bounces/testdata/reports", name+".eml"))
		if err != nil {
			t.Fatal(err)
		}
		message = bytes.ReplaceAll(message, []byte("Mon, 2 Mar 2026 09:00:05 +0000"), []byte(time.Now().Format(time.RFC1123Z)))
		copied := filepath.Join(t.TempDir(), "message")
		if err := os.WriteFile(copied, message, 0o600); err != nil {
			t.Fatal(err)
		}
		return copied
	}
	run := func(args ...string) (string, int) {
		var out bytes.Buffer
		code := commands.Run(t.Context(), append([]string{"--config", file, "bounce"}, args...), nil, &out, &out, nil)
		return out.String(), code
	}
	const later = 75
	if said, code := run("--provider", "main", sample("postfix-unknown")); code != later || !strings.Contains(said, "write the record") {
		t.Errorf("without a database: %d %s", code, said)
	}

	record := recordBeside(t, file) // it is open meanwhile
	d := mail.Delivery{ID: "0123456789abcdefghjkmnpqrs", Time: time.Now(), To: "ada@example.org", Type: "SignIn", Status: mail.StatusAccepted, Provider: "main"}
	record.Finish(t.Context(), &d)
	eventually(t, "all is written", func() bool { return record.State().Waiting == 0 })
	for _, c := range []struct {
		name, provider, message string
		code                    int
		says                    string
		status                  mail.Status
	}{
		{"no report", "main", "no-answer", 0, "", mail.StatusAccepted},
		{"no provider of the name", "other", "postfix-delayed", later, "no smtp provider", mail.StatusAccepted},
		{"a provider without bounces", "inbox", "postfix-delayed", later, "no smtp provider", mail.StatusAccepted},
		{"a delay", "main", "postfix-delayed", 0, "", mail.StatusDeferred},
		{"a bounce", "main", "postfix-unknown", 0, "", mail.StatusBounced},
		{"once more", "main", "postfix-unknown", 0, "", mail.StatusBounced},
	} {
		said, code := run("--provider", c.provider, sample(c.message))
		if code != c.code || !strings.Contains(said, c.says) || c.says == "" && said != "" {
			t.Errorf("%s: %d %q", c.name, code, said)
		}
		if got, err := record.Get(t.Context(), d.ID); err != nil || got.Status != c.status {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	if list, err := record.Suppressions(t.Context(), "ada@example.org"); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	for _, args := range [][]string{{}, {"--providr", "main"}, {"--provider"}, {"--provider", "main", "/nowhere/there"}, {"--provider", "main", "a", "b"}} {
		if said, code := run(args...); code != later || said == "" {
			t.Errorf("%q: %d %s", args, code, said)
		}
	}
	for _, broken := range []string{string(text), strings.Replace(good, `"main"`, `main`, 1)} {
		write(broken)
		if said, code := run("--provider", "main", sample("qmail")); code != later || said == "" {
			t.Errorf("%d %s", code, said)
		}
	}
}

// Whoever started it by hand may not know that it waits for a mail.
func TestBounceEndsWhileItReads(t *testing.T) {
	file := configure(t, `{"name": "main", "type": "smtp", "host": "127.0.0.1"}`)
	silent, writing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = silent
	t.Cleanup(func() {
		os.Stdin = stdin
		_ = writing.Close()
	})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, c := range []struct {
		file string
		want string
	}{{"-", "context canceled"}, {os.DevNull, "not a regular file"}} {
		var out bytes.Buffer
		if code := commands.Run(ctx, []string{"--config", file, "bounce", "--provider", "main", c.file}, nil, &out, &out, nil); code != 75 || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %d %s", c.file, code, &out)
		}
	}
}

func TestCheckConnectsToTheMailbox(t *testing.T) {
	server := dovecottest.Start(t)
	good, _ := service(t, 200, `{"scopes":["mail.send"]}`)
	box := func(port int, password string) string {
		return fmt.Sprintf(`{"name": "main", "type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true, "tls": {"ca": %q},
			"bounces": {"host": "localhost", "port": %d, "auth": {"user": %q, "pass": %q}}}`, port, server.CA, server.Port, dovecottest.User, password)
	}
	var takesMails smtptest.Server
	takesMails.Start(t)
	for _, c := range []struct {
		port     int
		password string
		code     int
		says     []string
	}{ // the server lets those wait who come after a wrong password
		{1, dovecottest.Password, 1, []string{"; bounces can be read\n", "\n1 of 2 providers could not send\n"}},
		{takesMails.Port(), dovecottest.Password, 0, []string{": signs in; bounces can be read\n"}},
		{takesMails.Port(), "never-print-that", 1, []string{"; bounces cannot be read: configuration: login: AUTHENTICATIONFAILED: ",
			"\nthe bounces of 1 of 1 mailboxes could not be read\n"}},
	} {
		var out bytes.Buffer
		file := configure(t, box(c.port, c.password), sendgrid("other", good))
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.Replace(text, []byte(`"timeout": "1s"`), []byte(`"timeout": "8s"`), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		code := commands.Run(t.Context(), []string{"check", "--config", file, "--connect"}, nil, &out, &out, nil)
		if code != c.code || strings.Contains(out.String(), "never-print") {
			t.Errorf("%d\n%s", code, out.String())
		}
		for _, want := range c.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("it does not say %q:\n%s", want, out.String())
			}
		}
	}
}
