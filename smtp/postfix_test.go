package smtp

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wantsProgram skips a test that cannot run here, or fails it where all of them
// must run.
func wantsProgram(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("RELAY_TEST_REQUIRE") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// startPostfix runs a Postfix of the test's own, which accepts everything and
// throws it away, except for mail to unknown@example.net. More lines may be added to
// its main.cf.
func startPostfix(t *testing.T, more ...string) (port int) {
	t.Helper()
	if _, err := exec.LookPath("/usr/sbin/postfix"); err != nil {
		wantsProgram(t, "Postfix is not installed")
	}
	if os.Geteuid() != 0 {
		wantsProgram(t, "Postfix can be started by root alone")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = free.Addr().(*net.TCPAddr).Port
	free.Close()
	dir, err := os.MkdirTemp("/tmp", "relay-postfix") // t.TempDir is too long for Postfix's sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"queue", "data"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		wantsProgram(t, "there is no user postfix: "+string(out))
	}
	write("main.cf", fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/data/log
maillog_file_prefixes = %[1]s
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example
mydestination =
local_recipient_maps =
alias_maps =
default_transport = discard:
smtpd_recipient_restrictions = check_recipient_access inline:{ {unknown@example.net = 550 5.1.1 no such user} }, permit
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
`, dir)+strings.Join(more, "\n")+"\n")
	write("master.cf", fmt.Sprintf(`127.0.0.1:%d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
error unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`, port))
	if out, err := exec.Command("/usr/sbin/postfix", "-c", dir, "start").CombinedOutput(); err != nil {
		t.Fatalf("Postfix does not start: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logged, _ := os.ReadFile(filepath.Join(dir, "data", "log"))
			t.Logf("Postfix says:\n%s", logged)
		}
		if out, err := exec.Command("/usr/sbin/postfix", "-c", dir, "stop").CombinedOutput(); err != nil {
			t.Errorf("Postfix does not stop: %v\n%s", err, out)
		}
	})
	eventually(t, "Postfix listens", func() bool {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return port
}

// flightConn counts how often the client waits for the server after it has
// written something, which is what a round trip is.
type flightConn struct {
	*net.TCPConn
	wrote   bool
	flights *atomic.Int32
}

func (c *flightConn) Write(b []byte) (int, error) {
	c.wrote = true
	return c.TCPConn.Write(b)
}

func (c *flightConn) Read(b []byte) (int, error) {
	if c.wrote {
		c.flights.Add(1)
		c.wrote = false
	}
	return c.TCPConn.Read(b)
}

// Postfix takes two round trips a mail, also after it has refused a recipient.
func TestPostfix(t *testing.T) {
	port := startPostfix(t)
	var flights, connections atomic.Int32
	dialer := Dialer{Network: "tcp", Address: fmt.Sprintf("127.0.0.1:%d", port)}
	pool := testPool(t, new(fakeServer).prepare(t), func(c *Config) {
		c.Dial = func(ctx context.Context) (net.Conn, error) {
			conn, err := dialer.Dial(ctx)
			if err != nil {
				return nil, err
			}
			connections.Add(1)
			return &flightConn{TCPConn: conn.(*net.TCPConn), flights: &flights}, nil
		}
	})
	if _, err := send(t, pool, testMessage()); err != nil {
		t.Fatal(err)
	}
	warm := flights.Load()
	const mails = 50
	for i := range mails {
		message := testMessage()
		if i%10 == 5 {
			message.To = "unknown@example.net"
			_, err := send(t, pool, message)
			if e := failed(t, err); e.Stage != AtRCPT || e.Reply.Code != 550 || e.Reply.Enhanced != "5.1.1" {
				t.Error(err)
			}
			continue
		}
		if i%10 == 7 {
			message.To = `"foo."@docomo.ne.jp`
		}
		reply, err := send(t, pool, message)
		if err != nil {
			t.Fatal(err)
		}
		if reply.QueueID() == "" {
			t.Errorf("%+v", reply)
		}
	}
	perMail := float64(flights.Load()-warm) / mails
	t.Logf("%.2f round trips a mail, %d connections", perMail, connections.Load())
	if perMail > 2.1 || connections.Load() != 1 {
		t.Errorf("%.2f round trips a mail over %d connections", perMail, connections.Load())
	}
}

// A burst of messages at a Postfix that allows few connections from one client.
func TestPostfixLimitOfConnections(t *testing.T) {
	port := startPostfix(t, "smtpd_client_connection_count_limit = 5", "smtpd_client_event_limit_exceptions =")
	dialer := Dialer{Network: "tcp", Address: fmt.Sprintf("127.0.0.1:%d", port)}
	pool := testPool(t, new(fakeServer).prepare(t), func(c *Config) { c.Dial = dialer.Dial })
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if open := pool.connections.Load(); open > 5 {
		t.Errorf("%d connections", open)
	}
}
