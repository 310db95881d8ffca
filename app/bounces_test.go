package app_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"logto-email-relay/bounces/dovecottest"
	"logto-email-relay/deliveries/postgrestest"
	"logto-email-relay/mail"
)

// withMailbox is an smtp provider whose bounces come to a mailbox.
func withMailbox(name string, m *mailServer, server *dovecottest.Server, password string) string {
	return strings.TrimSuffix(smtp(name, m), "}}") + fmt.Sprintf(`}, "envelope": {"from": "bounces+{{id}}@acme.example"}, "tls": {"ca": %q},
		"bounces": {"host": "localhost", "port": %d, "auth": {"user": %q, "pass": %q}}}`, server.CA, server.Port, dovecottest.User, password)
}

// bounceOf is what a mail server writes of a mail, as the server got it.
func bounceOf(original, status, says string) []byte {
	id := regexp.MustCompile(`(?m)^X-Entity-Ref-ID: (\S+)`).FindStringSubmatch(original)[1]
	return fmt.Appendf(nil, "From: MAILER-DAEMON@mx.example.org\r\nTo: bounces+%s@acme.example\r\nSubject: Undelivered Mail Returned to Sender\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"+
		"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; ada@example.org\r\n"+
		"Action: failed\r\nStatus: %s\r\nDiagnostic-Code: smtp; %s\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n%s\r\n--b--\r\n", id, status, says, original)
}

// A mail comes back to the mailbox: its status tells, and its address is spared. Nothing
// that the mail or the mailbox's login says is kept.
func TestAMailThatComesBackToTheMailbox(t *testing.T) {
	server := dovecottest.Start(t)
	mails := startMailServer(t)
	s := settings{providers: []string{withMailbox("main", mails, server, dovecottest.Password)},
		more: `, "deliveries": {"database": "deliveries.db", "addresses": "hashed", "addressKey": "never-print-this-key"}, "log": {"level": "debug"}`}
	r := run(t, s)
	state := func() string { return r.page("/readyz") }
	eventually(t, "the mailbox is read", func() bool { return strings.Contains(state(), `"bounces main":"read"`) && r.isWritten() })
	if line := `relay_events_total{provider="main",status="bounced"} 0`; !strings.Contains(r.page("/metrics"), line) {
		t.Errorf("there is no %s", line)
	}
	if got := r.webhook(token); got != 200 {
		t.Fatalf("got %d", got)
	}
	server.Deliver([]byte("From: bob@acme.example\r\nTo: bounces@acme.example\r\nSubject: lunch?\r\n\r\nnever-print-this\r\n"))
	server.Deliver(bounceOf("X-Entity-Ref-ID: 01jx2n8c5v7q0w3e4r5t6y7u8i\r\n", "5.1.1", "550 5.1.1 no such user")) // of a mail that nobody knows here
	server.Deliver(bounceOf(mails.last(), "5.1.1", "550 5.1.1 <ada@example.org>: no such user; code 482913 https://acme.example/?never-print-this"))
	status := func() any { return r.recordOf("")[0]["status"] }
	eventually(t, "it has bounced", func() bool { return status() == "bounced" })
	eventually(t, "the report is marked, and nothing else", func() bool { unseen, seen, _ := server.Count(); return unseen == 2 && seen == 1 })
	if got := r.webhook(token); got != 422 {
		t.Errorf("the next mail gets %d", got)
	}
	if line := `relay_events_total{provider="main",status="bounced"} 1`; !strings.Contains(r.page("/metrics"), line) {
		t.Errorf("there is no %s", line)
	}

	// The connection goes on over a reload that does not change the provider.
	logins := func() int { return strings.Count(r.log.String(), "bounces are read") }
	r.write("config.json", strings.Replace(s.json(), `"debug"`, `"info"`, 1))
	eventually(t, "it is reloaded", func() bool { return strings.Contains(r.log.String(), "reloaded") })
	if n := logins(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	// Another password is tried at once, told, and never shown.
	s.providers[0] = withMailbox("main", mails, server, "never-print-this-password-either")
	r.write("config.json", s.json())
	eventually(t, "it cannot be read", func() bool { return strings.Contains(state(), "configuration: login: AUTHENTICATIONFAILED") })
	eventually(t, "the log tells", func() bool { return strings.Contains(r.log.String(), "bounces are not read") })
	s.providers[0] = smtp("main", mails)
	r.write("config.json", s.json())
	eventually(t, "nobody reads", func() bool { return !strings.Contains(state(), "bounces") })

	places := map[string][]byte{"the log": []byte(r.log.String()), "the pages": []byte(r.page("/deliveries") + state() + r.page("/suppressions"))}
	for _, end := range []string{"", "-wal"} {
		content, err := os.ReadFile(filepath.Join(r.dir, "deliveries.db"+end))
		if err != nil {
			t.Fatal(err)
		}
		places["deliveries.db"+end] = content
	}
	for place, content := range places {
		for _, secret := range []string{"never-print-this", "482913", "ada@"} {
			if i := bytes.Index(bytes.ToLower(content), []byte(secret)); i >= 0 {
				t.Errorf("%s holds %s: …%q…", place, secret, content[max(0, i-80):min(len(content), i+80)])
			}
		}
	}
}

// While the database is away, reports stay where they are.
func TestABounceWaitsForTheRecord(t *testing.T) {
	t.Parallel() // the mailbox is left alone for a while
	server := dovecottest.Start(t)
	mails := startMailServer(t)
	r := run(t, settings{providers: []string{withMailbox("main", mails, server, dovecottest.Password)},
		more: `, "deliveries": {"database": "no/such/folder/deliveries.db"}`})
	if got := r.webhook(token); got != 200 {
		t.Fatalf("got %d", got)
	}
	server.Deliver(bounceOf(mails.last(), "5.2.2", "552 5.2.2 mailbox full"))
	eventually(t, "the trouble is told", func() bool { return strings.Contains(r.page("/readyz"), "the record does not take bounces") })
	if unseen, seen, _ := server.Count(); unseen != 1 || seen != 0 {
		t.Errorf("%d unseen, %d seen", unseen, seen)
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "no", "such", "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the record is there", r.isWritten)
	eventually(t, "it has bounced", func() bool {
		found := r.recordOf("")
		return len(found) == 1 && found[0]["status"] == "bounced"
	})
	if list := r.page("/suppressions"); strings.Contains(list, "ada") {
		t.Errorf("a full mailbox suppresses: %s", list)
	}
}

// A bounce whose id nobody knows, made up or of another installation, keeps no other in the mailbox.
func TestABounceOfNoMailOfOurs(t *testing.T) {
	server := dovecottest.Start(t)
	mails := startMailServer(t)
	r := run(t, settings{
		providers: []string{withMailbox("main", mails, server, dovecottest.Password)},
		more:      fmt.Sprintf(`, "deliveries": {"database": %q}`, postgrestest.Start(t).Database(t)),
	})
	eventually(t, "the mailbox is read", func() bool {
		return strings.Contains(r.page("/readyz"), `"bounces main":"read"`) && r.isWritten()
	})
	if got := r.webhook(token); got != 200 {
		t.Fatalf("got %d", got)
	}
	server.Deliver(bounceOf("X-Entity-Ref-ID: "+mail.NewID()+"\r\n", "5.1.1", "550 5.1.1 no such user"))
	server.Deliver(bounceOf(mails.last(), "5.1.1", "550 5.1.1 no such user"))
	eventually(t, "the bounce of the mail counts", func() bool { return r.recordOf("")[0]["status"] == "bounced" })
}
