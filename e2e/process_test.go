// Package e2e_test drives the real binary from outside, with the programs that
// stand around it in production: Logto's own connector as the client, a real
// SMTP server, a browser.
package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that should happen soon.
const patience = 20 * time.Second

// plainBinary is the relay that operators run, built once, when it is needed.
var plainBinary = builder()

func builder(flags ...string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		path := filepath.Join(workshop, "logto-email-relay"+strings.Join(flags, ""))
		args := append(append([]string{"build"}, flags...), "-o", path, "..")
		out, err := exec.Command("go", args...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, nil
	})
}

// workshop is where the binaries are built.
var workshop string

func TestMain(m *testing.M) {
	if os.Getenv(canaryVariable) != "" {
		fmt.Fprintln(os.Stderr, sing())
		os.Exit(1)
	}
	if runtime.GOOS == "windows" {
		fmt.Println("SKIP: these tests stop, hang and reload processes by signals, which Windows does not have")
		os.Exit(0)
	}
	var err error
	if workshop, err = os.MkdirTemp("", "relay-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(workshop)
	os.Exit(code)
}

// need returns the path of a program, or skips the test where it is missing,
// or fails it where everything has to be there.
func need(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	unavailable(t, strings.Join(names, " or ")+" is not installed")
	return ""
}

func unavailable(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("RELAY_TEST_REQUIRE") == "1" {
		t.Fatalf("%s, and RELAY_TEST_REQUIRE=1", why)
	}
	t.Skip(why)
}

// process is a running program whose output is kept.
type process struct {
	cmd    *exec.Cmd
	mu     sync.Mutex
	output strings.Builder
	exited chan struct{}
	err    error
}

func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, exited: make(chan struct{})}
	p.run(t, func(line string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.output.WriteString(line + "\n")
	})
	return p
}

// run starts the program and hands on every line that it prints, the last of
// them before exited is closed.
func (p *process) run(t testing.TB, print func(line string)) {
	t.Helper()
	reader, writer := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		lines := bufio.NewScanner(reader)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			print(lines.Text())
		}
	}()
	go func() {
		p.err = p.cmd.Wait()
		_ = writer.Close()
		<-printed
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
}

// log returns what the program has printed so far.
func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

func (p *process) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exitCode waits for the end of the program.
func (p *process) exitCode(t testing.TB) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("still running; it printed:\n%s", p.log())
	}
	return p.cmd.ProcessState.ExitCode()
}

// terminate asks the program to end, and waits for that.
func (p *process) terminate() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	<-p.exited
}

// until waits for a condition that the program has to be there for.
func (p *process) until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	until(t, what, func() bool {
		select {
		case <-p.exited:
			t.Fatalf("it ended:\n%s", p.log())
		default:
		}
		return condition()
	})
}

// listens waits until the program accepts connections.
func (p *process) listens(t testing.TB, address string) {
	t.Helper()
	p.until(t, "it listens", func() bool {
		conn, err := net.Dial("tcp", address)
		return err == nil && conn.Close() == nil
	})
}

// until waits for a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// given are the ports that freePort has returned so far.
var given sync.Map

// freePort returns a port that nobody listens on. It returns none twice: whoever
// asked before may not listen yet. Nor is it one of those that systems give to connections
// (32768 and above): one of a test's own could have it before the relay does.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20_000 + rand.IntN(12_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		if _, taken := given.LoadOrStore(port, true); !taken {
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}

const authorization = "Bearer e2e-token-of-the-test"

// relayProcess is a running relay.
type relayProcess struct {
	*process
	public, admin string // host:port
}

func (r *relayProcess) webhook() string { return "http://" + r.public + "/logto/email" }

// startRelay runs the real binary on a configuration whose providers are given
// as JSON, and waits until it answers.
func startRelay(t testing.TB, providers string) *relayProcess {
	t.Helper()
	return startRelayWith(t, providers, `"log": {"level": "debug"}`)
}

// startRelayWith is startRelay with one more section.
func startRelayWith(t testing.TB, providers, section string) *relayProcess {
	t.Helper()
	return startRelayIn(t, []string{}, providers, section)
}

// startRelayIn is startRelayWith with environment variables.
func startRelayIn(t testing.TB, environment []string, providers, section string) *relayProcess {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r, file := configure(t, providers, section)
	cmd := exec.Command(path, "--config", file)
	cmd.Env = environment
	r.process = start(t, cmd)
	r.waitReady(t)
	return r
}

// configure writes the configuration of a relay that is not started yet.
func configure(t testing.TB, providers, section string) (r *relayProcess, file string) {
	t.Helper()
	r = &relayProcess{
		public: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		admin:  fmt.Sprintf("127.0.0.1:%d", freePort(t)),
	}
	if !strings.Contains(section, `"limits"`) {
		section = `"limits": {"recipient": ""}, ` + section // most tests write to one address
	}
	file = filepath.Join(t.TempDir(), "config.json")
	text := fmt.Sprintf(`{
  "server": { "address": %q, "authorization": [%q], "trustedProxies": ["127.0.0.1"] },
  "admin": { "address": %q },
  "sender": { "from": "Acme <no-reply@acme.example>" },
  "branding": { "senderName": "Acme" },
  "providers": %s,
  %s
}`, r.public, authorization, r.admin, providers, section)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return r, file
}

func (r *relayProcess) waitReady(t testing.TB) {
	t.Helper()
	r.until(t, "the relay answers", func() bool {
		response, err := http.Get("http://" + r.public + "/healthz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// answer is what the relay answered.
type answer struct {
	status int
	header http.Header
	body   string
}

func post(t testing.TB, url, contentType, authorization string, body io.Reader) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("no answer over HTTP: %v", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// get reads a JSON document.
func get(t testing.TB, url string, into any) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

// captured returns the webhooks that a running Logto sent, by file name.
func captured(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../handlers/testdata/logto/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured webhooks: %v", err)
	}
	bodies := make(map[string][]byte)
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bodies[strings.TrimSuffix(filepath.Base(file), ".json")] = body
	}
	return bodies
}
