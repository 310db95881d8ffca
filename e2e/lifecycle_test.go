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
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// On SIGTERM the relay is not ready any more, still answers, asks callers to
// close, waits out Logto's idle window, and ends well.
func TestACleanStop(t *testing.T) {
	relay := startRelay(t, inbox)
	body := captured(t)["signin"]
	if got := post(t, relay.webhook(), "application/json", authorization, bytes.NewReader(body)); got.header.Get("Connection") == "close" {
		t.Error("closes connections before it is asked to stop")
	}
	idle, err := net.Dial("tcp", relay.public)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	begin := time.Now()
	relay.signal(t, syscall.SIGTERM)
	for _, address := range []string{relay.admin, relay.public} {
		until(t, "readiness is gone", func() bool {
			response, err := http.Get("http://" + address + "/readyz")
			if err != nil {
				return false
			}
			_ = response.Body.Close()
			return response.StatusCode == http.StatusServiceUnavailable
		})
	}
	// An idle connection of before, used again in the last moment.
	_, err = fmt.Fprintf(idle, "POST /logto/email HTTP/1.1\r\nHost: relay\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		authorization, len(body), body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(idle), nil)
	if err != nil {
		t.Fatalf("no answer on an idle connection during the stop: %v", err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK || !response.Close {
		t.Errorf("during the stop: status %d, Connection: close is %v", response.StatusCode, response.Close)
	}
	if got := post(t, relay.webhook(), "application/json", authorization, bytes.NewReader(body)); got.status != http.StatusOK {
		t.Errorf("a new connection during the stop gets %d", got.status)
	}
	if code := relay.exitCode(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, relay.log())
	}
	if took := time.Since(begin); took < 5*time.Second {
		t.Errorf("gone after %v, before Logto has let go of its idle connections", took)
	}
}

func TestASecondSignalStopsAtOnce(t *testing.T) {
	relay := startRelay(t, inbox)
	begin := time.Now()
	relay.signal(t, syscall.SIGTERM)
	until(t, "the first signal is taken", func() bool {
		select {
		case <-relay.exited:
			return true
		default:
		}
		_ = relay.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
		return false
	})
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestATakenPortIsAnErrorAtOnce(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	file := filepath.Join(t.TempDir(), "config.json")
	text := fmt.Sprintf(`{"server":{"address":%q,"authorization":[%q]},"admin":{"address":""},"sender":{"from":"a@b.example"},"providers":%s}`,
		taken.Addr(), authorization, inbox)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "--config", file).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "server.address") || !strings.Contains(string(out), "in use") {
		t.Errorf("got %v and:\n%s", err, out)
	}
}

func TestExitCodes(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	wrong := write("wrong.json", `{"server":{"adress":":8080"},"providers":[{"type":"inbox"}]}`)
	good := write("good.json", fmt.Sprintf(`{"server":{"address":"127.0.0.1:%d","authorization":[%q]},"sender":{"from":"a@b.example"},
		"providers":[{"type":"smtp","host":"127.0.0.1","port":%d,"ignoreTLS":true}]}`, freePort(t), authorization, freePort(t)))
	tests := []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, 0, "serve"},
		{[]string{"--version"}, 0, ""},
		{[]string{"nonsense"}, 2, "nonsense"},
		{[]string{"serve", "--nonsense"}, 2, "nonsense"},
		{[]string{"sned"}, 2, "send"},
		{[]string{"find"}, 2, "find ADDRESS"},
		{[]string{"suppressions", "add"}, 2, "add ADDRESS"},
		{[]string{"call", "http://127.0.0.1:8080/send"}, 2, "--authorization"},
		{[]string{"bounce", "--nonsense"}, 75, "nonsense"},
		{[]string{"bounce"}, 75, "--provider"},
		{[]string{"help", "send"}, 0, "--to ADDRESS"},
		{[]string{"--config", wrong}, 2, `did you mean "address"`},
		{[]string{"--config", filepath.Join(dir, "none.json")}, 2, "none.json"},
		{[]string{"check", "--config", wrong}, 2, "adress"},
		{[]string{"check", "--config", good}, 0, "smtp"},
		{[]string{"schema"}, 0, "$schema"},
		{[]string{"send", "--config", good, "--to", "ada@example.org"}, 1, "provider_unavailable"},
		{[]string{"send", "--config", good, "--to", "ada@example.org,bob@example.org"}, 2, "--to"},
		{[]string{"send", "--config", good}, 2, "--to"},
		{[]string{"send", "--to", "ada@example.org"}, 2, "config.json"},
		{[]string{"healthcheck", "--config", good}, 1, "not alive"},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), path, test.args...)
			cmd.Dir, cmd.Env = t.TempDir(), []string{}
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.says) {
				t.Errorf("exit code %d, want %d, with %q in:\n%s", code, test.code, test.says, out)
			}
		})
	}
}

func TestHealthcheckFindsARunningRelay(t *testing.T) {
	relay := startRelay(t, inbox)
	cmd := exec.CommandContext(t.Context(), relay.cmd.Path, "healthcheck", "--config", relay.cmd.Args[len(relay.cmd.Args)-1])
	cmd.Env = []string{}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// An operator edits templates while the relay runs: a good edit is used, a
// broken one leaves the last good set in use and says so.
func TestTemplatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(subject string) {
		t.Helper()
		file := filepath.Join(dir, "en", "SignIn.html")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		// The way of editors: a new file in the place of the old one.
		text := "<html><head><title>" + subject + "</title></head><body><p>Your code is {{code}}.</p></body></html>"
		if err := os.WriteFile(file+"~", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+"~", file); err != nil {
			t.Fatal(err)
		}
	}
	write("First")
	relay := startRelayWith(t, inbox, fmt.Sprintf(`"templates": {"dir": %q}`, dir))
	body := captured(t)["signin"]
	latest := func() string {
		if got := post(t, relay.webhook(), "application/json", authorization, bytes.NewReader(body)); got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
		response, err := http.Get("http://" + relay.admin + "/inbox")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		page, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, row, _ := strings.Cut(string(page), "<tbody>")
		row, _, _ = strings.Cut(row, "</tr>")
		return row
	}
	if row := latest(); !strings.Contains(row, "First") {
		t.Fatalf("the operator's template is not used: %s", row)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(relay.log())
		}
	})
	write("Second")
	until(t, "the edit is used", func() bool { return strings.Contains(latest(), "Second") })
	write("Third {{nonsense}}")
	until(t, "the broken edit is told", func() bool {
		return strings.Contains(relay.log(), "SignIn.html:1:") && strings.Contains(relay.log(), "nonsense")
	})
	if row := latest(); !strings.Contains(row, "Second") {
		t.Errorf("the last good template is not used: %s", row)
	}
	write("Fourth")
	relay.signal(t, syscall.SIGHUP)
	until(t, "the mended edit is used", func() bool { return strings.Contains(latest(), "Fourth") })
}

// A mail server that is down when the relay starts keeps it neither from
// starting nor from answering; the relay does not claim to be ready.
func TestAProviderThatIsDownAtTheStart(t *testing.T) {
	port := freePort(t)
	relay := startRelay(t, fmt.Sprintf(`[{"name": "down", "type": "smtp", "host": "127.0.0.1", "port": %d}]`, port))
	var readiness struct {
		Ready, Degraded bool
		Details         map[string]string
	}
	look := func() {
		readiness.Degraded = false // which goes without saying
		get(t, "http://"+relay.admin+"/readyz", &readiness)
	}
	until(t, "the trouble shows in readiness", func() bool { look(); return readiness.Degraded })
	if !readiness.Ready || !strings.Contains(metrics(t, relay), "relay_degraded 1\n") {
		t.Errorf("readiness says %+v", readiness)
	}
	if detail := readiness.Details["provider down"]; !strings.Contains(detail, "resting") || !strings.Contains(detail, "refused") {
		t.Errorf("readiness says %q", detail)
	}
	if log := relay.log(); !strings.Contains(log, "a provider could not send now") {
		t.Errorf("no warning in the log:\n%s", log)
	}
	got := post(t, relay.webhook(), "application/json", authorization, bytes.NewReader(captured(t)["signin"]))
	if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("a webhook gets %d, Retry-After %q", got.status, got.header.Get("Retry-After"))
	}
	// It comes up, and the relay finds out without a mail.
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return sinkSession{new(sink)}, nil }))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	until(t, "the relay is well", func() bool {
		look()
		return readiness.Ready && !readiness.Degraded && readiness.Details["provider down"] == "in use"
	})
}
