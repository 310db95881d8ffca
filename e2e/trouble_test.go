package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startWith runs the relay in a shell's hands, which limits it or leads its output
// somewhere: script sees the program and its arguments as "$@".
func startWith(t *testing.T, script, providers string, files ...*os.File) *relayProcess {
	t.Helper()
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	r, file := configure(t, providers, `"log": {"level": "info"}`)
	cmd := exec.Command("/bin/sh", "-c", script, "sh", path, "--config", file)
	cmd.Env, cmd.ExtraFiles = []string{}, files
	r.process = start(t, cmd)
	r.waitReady(t)
	return r
}

// A reader of the log that stands still, or dies, costs lines of the log and nothing
// else, and is told of.
func TestTheReaderOfTheLog(t *testing.T) {
	for _, test := range []struct{ name, says string }{{"stands still", "nobody has read it"}, {"is gone", "broken pipe"}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = reader.Close() }()
			relay := startWith(t, `exec "$@" >&3 2>&3 3>&-`, inbox, writer)
			_ = writer.Close()
			if test.name == "is gone" {
				_ = reader.Close()
			}
			body := captured(t)["signin"]
			var slowest time.Duration
			send := func(n int) {
				for range n {
					begin := time.Now()
					if got := post(t, relay.webhook(), "application/json", authorization, bytes.NewReader(body)); got.status != 200 {
						t.Fatalf("%d %s", got.status, got.body)
					}
					slowest = max(slowest, time.Since(begin))
				}
			}
			send(4000) // 2.6 MB of log
			if slowest > 500*time.Millisecond {
				t.Errorf("a webhook took %v", slowest)
			}
			var readiness struct {
				Ready, Degraded bool
				Details         map[string]string
			}
			until(t, "readiness says so", func() bool {
				get(t, "http://"+relay.admin+"/readyz", &readiness)
				return strings.Contains(readiness.Details["log"], test.says)
			})
			if !readiness.Ready || !readiness.Degraded || !strings.Contains(metrics(t, relay), "relay_degraded 1\n") {
				t.Errorf("readiness says %+v", readiness)
			}
			if test.name == "stands still" {
				lines := bufio.NewScanner(reader)
				told := make(chan string, 1)
				go func() {
					for lines.Scan() {
						if strings.Contains(lines.Text(), "lines of the log were lost") {
							told <- lines.Text()
						}
					}
				}()
				select {
				case <-told:
				case <-time.After(patience):
					t.Error("nobody is told of the lost lines")
				}
				until(t, "all is well again", func() bool {
					readiness.Details = nil
					get(t, "http://"+relay.admin+"/readyz", &readiness)
					return readiness.Details["log"] == ""
				})
			}
			if strings.Contains(metrics(t, relay), "relay_log_lines_dropped_total 0\n") {
				t.Error("no lost lines are counted")
			}
			relay.signal(t, syscall.SIGTERM)
			if code := relay.exitCode(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func metrics(t *testing.T, relay *relayProcess) string {
	t.Helper()
	response, err := http.Get("http://" + relay.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hasMails tells whether a relay had any mail, whatever became of it.
func hasMails(t *testing.T, relay *relayProcess) bool {
	return regexp.MustCompile(`(?m)^relay_mails_total\{.*\} [1-9]`).MatchString(metrics(t, relay))
}

// SIGHUP never ends the process, from its first moment to its last.
func TestHangupsAllTheTime(t *testing.T) {
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		r, file := configure(t, inbox, `"log": {"level": "info"}`)
		cmd := exec.Command(path, "--config", file)
		cmd.Env = []string{}
		// Until the program takes its signals, which it does first, the system ignores
		// this one for it.
		signal.Ignore(syscall.SIGHUP)
		r.process = start(t, cmd)
		signal.Reset(syscall.SIGHUP)
		hangups := 0
		go func() {
			for r.cmd.Process.Signal(syscall.SIGHUP) == nil {
				hangups++
				time.Sleep(time.Millisecond)
			}
		}()
		r.waitReady(t)
		body := captured(t)["signin"]
		for range 50 {
			if got := post(t, r.webhook(), "application/json", authorization, bytes.NewReader(body)); got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
		}
		r.signal(t, syscall.SIGTERM)
		for range 50 { // while it stops
			if got := post(t, r.webhook(), "application/json", authorization, bytes.NewReader(body)); got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
		}
		if code := r.exitCode(t); code != 0 {
			t.Fatalf("round %d: exit code %d after %d hangups:\n%s", round, code, hangups, r.log())
		}
		if !strings.Contains(r.log(), `"reloaded"`) {
			t.Error("nothing was read again")
		}
		if testing.Short() {
			break
		}
	}
}

// SIGHUP is taken before the packages are initialized that take their time.
func TestHangupsAreTakenFirst(t *testing.T) {
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "--version")
	cmd.Env = []string{"GODEBUG=inittrace=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	ours, others := strings.Index(string(out), "init logto-email-relay/hangups"), strings.Index(string(out), "init net/http ")
	if ours < 0 || others < ours {
		t.Errorf("the order is:\n%s", out)
	}
}

// 8,000 silent callers and 200 bodies that are small until they are read, all waiting
// for a provider that hangs, fit into 128 MB.
func TestMemoryUnderAttack(t *testing.T) {
	if !tenThousandFiles() {
		unavailable(t, "fewer than 10,000 descriptors")
	}
	hanging := socket(t) // nobody accepts, and nobody says anything
	// What the relay makes of a cgroup with that limit.
	relay := startWith(t, `export GOMEMLIMIT=115MiB; exec "$@"`, fmt.Sprintf(`[{"type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true, "maxConcurrent": 300}]`,
		hanging.Addr().(*net.TCPAddr).Port))
	connect := func() net.Conn {
		conn, err := net.DialTimeout("tcp", relay.public, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	for range 8000 {
		connect()
	}
	refused := `{"to":"ada@example.org","type":"SignIn","payload":{"code":"1","a":[` + strings.Repeat("{},", 20_000) + `{}]}}`
	taken := `{"to":"ada@example.org","type":"SignIn","payload":{"code":"1","a":[` + strings.Repeat(`{"a":0},`, 480) + `{}],"b":"` + strings.Repeat("x", 54_000) + `"}}`
	for range 200 {
		for _, body := range []string{refused, taken} {
			_, err := fmt.Fprintf(connect(), "POST /logto/email HTTP/1.1\r\nHost: relay\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				authorization, len(body), body)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, "all bodies are read", func() bool {
		return strings.Count(relay.log(), "more than 1000 values") == 200 && hasMails(t, relay)
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", relay.cmd.Process.Pid))
	if err != nil {
		unavailable(t, "there is no /proc")
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, err := strconv.Atoi(strings.Fields(peak)[0])
	if err != nil || kilobytes > 128<<10 {
		t.Errorf("%d KB at most, %v", kilobytes, err)
	}
	t.Logf("%d KB", kilobytes)
}

// Callers who fill all descriptors with silence do not keep others out.
func TestSilentCallersLeaveRoom(t *testing.T) {
	relay := startWith(t, `ulimit -n 64; exec "$@"`, inbox)
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			_ = c.Close()
		}
	}()
	for range 100 {
		c, err := net.DialTimeout("tcp", relay.public, patience)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	for range 5 {
		begin := time.Now()
		got := post(t, relay.webhook(), "application/json", authorization, bytes.NewReader(captured(t)["signin"]))
		if took := time.Since(begin); got.status != 200 || took > time.Second {
			t.Errorf("%d after %v", got.status, took)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	if log := relay.log(); strings.Contains(log, "too many open files") {
		t.Errorf("the descriptors ran out:\n%s", log)
	}
}

// Callers who send and never read are let go, and do not hold up a stop.
func TestCallersWhoNeverRead(t *testing.T) {
	relay := startRelay(t, inbox)
	body := captured(t)["signin"]
	request := []byte(fmt.Sprintf("POST /logto/email HTTP/1.1\r\nHost: relay\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		authorization, len(body), body))
	const callers = 50
	for range callers {
		conn, err := net.Dial("tcp", relay.public)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.(*net.TCPConn).SetReadBuffer(4096)
		go func() {
			for {
				if _, err := conn.Write(request); err != nil {
					return
				}
			}
		}()
	}
	open := func() int {
		_, text, _ := strings.Cut(metrics(t, relay), "\nprocess_open_fds ")
		text, _, _ = strings.Cut(text, "\n")
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	until(t, "all are connected", func() bool { return open() > callers })
	for deadline := time.Now().Add(time.Minute); open() > callers/2; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors are open after a minute", open())
		}
	}
	relay.signal(t, syscall.SIGTERM)
	begin := time.Now()
	if code := relay.exitCode(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, relay.log())
	}
	// A write that has begun may take 20 s, and the stop has 30.
	if took := time.Since(begin); took > 25*time.Second {
		t.Errorf("the stop took %v", took)
	}
}
