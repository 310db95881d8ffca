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
)

// startBouncer runs a Postfix that knows nobody at example.org. What comes back to
// acme.example goes where more lines in its main.cf and master.cf say. log is what it says.
func startBouncer(t *testing.T, port int, main, master string) (log func() string) {
	t.Helper()
	if _, err := exec.LookPath("/usr/sbin/postfix"); err != nil {
		unavailable(t, "Postfix is not installed")
	}
	if os.Geteuid() != 0 {
		unavailable(t, "Postfix can be started by root alone")
	}
	dir, err := os.MkdirTemp("/tmp", "relay-bouncer") // t.TempDir is too long for Postfix's sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if out, err := exec.Command("sh", "-c", `chmod 755 "$0" && mkdir "$0/queue" "$0/data" && chown postfix "$0/data"`, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, text := range map[string]string{
		"main.cf": fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/data/log
maillog_file_prefixes = %[1]s
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.acme.example
mydestination =
local_recipient_maps =
alias_maps =
recipient_delimiter = +
virtual_mailbox_domains = example.org
virtual_minimum_uid = 1
smtpd_reject_unlisted_recipient = no
default_transport = discard:
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
%[2]s
`, dir, main),
		"master.cf": fmt.Sprintf(`127.0.0.1:%d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
error unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
%s
`, port, master),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log = func() string {
		text, _ := os.ReadFile(filepath.Join(dir, "data", "log"))
		return string(text)
	}
	if out, err := exec.Command("/usr/sbin/postfix", "-c", dir, "start").CombinedOutput(); err != nil {
		t.Fatalf("Postfix does not start: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		_ = exec.Command("/usr/sbin/postfix", "-c", dir, "stop").Run()
		if t.Failed() {
			t.Logf("Postfix says:\n%s", log())
		}
	})
	return log
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
