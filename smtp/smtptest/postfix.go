package smtptest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const postfix = "/usr/sbin/postfix"

// Postfix runs a Postfix on a port of the loopback interface, which accepts everything
// and throws it away. More lines may be added to its main.cf, where the last of a name
// counts, and to its master.cf. The log is what it has said so far. The test is skipped
// where there is no Postfix, and fails there if RELAY_TEST_REQUIRE is set.
func Postfix(t testing.TB, port int, main, master string) (log func() string) {
	t.Helper()
	missing := ""
	if _, err := exec.LookPath(postfix); err != nil {
		missing = "Postfix is not installed"
	} else if os.Geteuid() != 0 {
		missing = "Postfix can be started by root alone"
	}
	if missing != "" {
		if os.Getenv("RELAY_TEST_REQUIRE") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	dir, err := os.MkdirTemp("/tmp", "relay-postfix") // t.TempDir is too long for Postfix's sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "queue"), 0o755), os.Mkdir(filepath.Join(dir, "data"), 0o755),
		os.Chown(filepath.Join(dir, "data"), uid, -1)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"main.cf": fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/data/log
maillog_file_prefixes = %[1]s
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
local_recipient_maps =
alias_maps =
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
scache unix - - n - 1 scache
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
	if out, err := exec.Command(postfix, "-c", dir, "start").CombinedOutput(); err != nil {
		t.Fatalf("Postfix does not start: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Postfix says:\n%s", log())
		}
		if out, err := exec.Command(postfix, "-c", dir, "stop").CombinedOutput(); err != nil {
			t.Errorf("Postfix does not stop: %v\n%s", err, out)
		}
	})
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err == nil {
			_ = conn.Close()
			return log
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("Postfix does not listen: %v", err)
		}
	}
}
