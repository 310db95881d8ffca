package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"logto-email-relay/bounces/dovecottest"
	"logto-email-relay/smtp/smtptest"
)

// startBouncer runs a Postfix that knows nobody at example.org. What comes back to
// acme.example goes where more lines in its main.cf and master.cf say. log is what it says.
func startBouncer(t *testing.T, port int, main, master string) (log func() string) {
	t.Helper()
	return smtptest.Postfix(t, port, `myhostname = mx.acme.example
recipient_delimiter = +
virtual_mailbox_domains = example.org
virtual_minimum_uid = 1
smtpd_reject_unlisted_recipient = no
`+main, master)
}

// newest is what the record says of the newest mail.
func (r *relayProcess) newest(t *testing.T) (status string) {
	t.Helper()
	var answer struct{ Deliveries []struct{ Status string } }
	get(t, "http://"+r.admin+"/deliveries", &answer)
	if len(answer.Deliveries) == 0 {
		return ""
	}
	return answer.Deliveries[0].Status
}

func (r *relayProcess) send(t *testing.T) (status int) {
	t.Helper()
	return post(t, r.webhook(), "application/json", authorization,
		strings.NewReader(`{"to":"ada@example.org","type":"SignIn","payload":{"code":"482913"}}`)).status
}

func (r *relayProcess) readyz(t *testing.T) string {
	t.Helper()
	var answer json.RawMessage
	get(t, "http://"+r.admin+"/readyz", &answer)
	return string(answer)
}

const recorded = `"deliveries": {"database": "deliveries.db"}`

// A real bounce of Postfix comes to a mailbox that Dovecot serves.
func TestABounceOfPostfixInAMailbox(t *testing.T) {
	box := dovecottest.Start(t)
	id, folder := box.Owner()
	port := freePort(t)
	startBouncer(t, port, fmt.Sprintf(`virtual_mailbox_domains = example.org acme.example
virtual_mailbox_base = %s
virtual_mailbox_maps = inline:{ {bounces@acme.example = %s/} }
virtual_uid_maps = static:%d
virtual_gid_maps = static:%d`, filepath.Dir(folder), filepath.Base(folder), id, id), "")
	relay := startRelayWith(t, fmt.Sprintf(`[{"name": "main", "type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true, "tls": {"ca": %q},
		"envelope": {"from": "bounces@acme.example"},
		"bounces": {"host": "localhost", "port": %d, "processed": "moved", "moveTo": "Done", "auth": {"user": %q, "pass": %q}}}]`,
		port, box.CA, box.Port, dovecottest.User, dovecottest.Password), recorded)
	until(t, "the mailbox is read", func() bool { return strings.Contains(relay.readyz(t), `"bounces main":"read"`) })
	if status := relay.send(t); status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	until(t, "it has bounced", func() bool { return relay.newest(t) == "bounced" })
	until(t, "the report is moved", func() bool { _, _, done := box.Count(); return done == 1 })
	if status := relay.send(t); status != http.StatusUnprocessableEntity {
		t.Errorf("the next mail gets %d", status)
	}
}

// The same through a transport of Postfix's that runs the program, beside a relay that
// is running. While the database is away, Postfix keeps the bounce.
func TestABounceOfPostfixThroughAPipe(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	// Postfix runs nothing as root, and others have to get at the files.
	open := func(files ...string) {
		for _, file := range files {
			if err := os.Chmod(file, 0o777); err != nil {
				t.Fatal(err)
			}
		}
	}
	port := freePort(t)
	relay, file := configure(t, fmt.Sprintf(`[{"name": "main", "type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true,
		"envelope": {"from": "bounces+{{id}}@acme.example"}}]`, port), recorded)
	dir := filepath.Dir(file)
	open(filepath.Dir(path), filepath.Dir(dir), dir, file)
	postfix := startBouncer(t, port, "default_process_limit = 5\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\n"+
		"virtual_mailbox_base = /nowhere\nvirtual_uid_maps = static:8\nvirtual_gid_maps = static:8\nvirtual_mailbox_maps = inline:{ {nobody@acme.example = nowhere} }\nrelay_domains = acme.example\nrelay_transport = bounces", fmt.Sprintf("bounces unix - n n - - pipe\n  flags=ODRq user=mail null_sender= argv=%s --config %s bounce --provider main", path, file))
	cmd := exec.Command(path, "--config", file)
	cmd.Env = []string{}
	relay.process = start(t, cmd)
	relay.waitReady(t)
	database := filepath.Join(dir, "deliveries.db")
	until(t, "the record is there", func() bool { return strings.Contains(relay.readyz(t), `"deliveries":"written"`) })
	if err := os.Chmod(database, 0); err != nil { // which root does not mind
		t.Fatal(err)
	}
	if status := relay.send(t); status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	until(t, "the first try has failed", func() bool { return strings.Contains(postfix(), "status=deferred (temporary failure") })
	open(database, database+"-wal", database+"-shm")
	until(t, "it has bounced", func() bool { return relay.newest(t) == "bounced" })
	if status := relay.send(t); status != http.StatusUnprocessableEntity {
		t.Errorf("the next mail gets %d", status)
	}
}
