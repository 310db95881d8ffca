package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The long form: make servers
var (
	realServers = flag.String("servers", "", "the mail servers of e2e/servers to send through, or all")
	serverMails = flag.Int("servers.mails", 500, "how many mails each of them gets, 50 at a time, before it is restarted")
	serverRate  = flag.Int("servers.rate", 200, "how many webhooks a second come while it is restarted three times")
	serverLog   = flag.Bool("servers.log", false, "print what they print")
)

// realServer is a mail server as it comes from its package, which hands on what it
// takes to a sink of the test. It has the machine's files for itself: servers that no
// machine can have together are installed there, and are gone with the test.
type realServer struct {
	name, folder string
	port         int
	env          []string
	holder       *exec.Cmd // keeps the files
	running      *process
	config       string // of the provider
	speaksTLS    bool   // from the first byte
}

// newRealServer installs a server.
func newRealServer(t *testing.T, name string, sink int) *realServer {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("only root can install servers")
	}
	script, err := filepath.Abs(filepath.Join("servers", name+".sh"))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "relay-server-")
	if err != nil {
		t.Fatal(err)
	}
	s := &realServer{name: name, folder: folder, port: freePort(t)}
	writeCertificate(t, folder)
	s.env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", fmt.Sprint("PORT=", s.port), fmt.Sprint("SINK=", sink),
		"CERT="+filepath.Join(folder, "cert.pem"), "KEY="+filepath.Join(folder, "key.pem"), "SCRIPT="+script)
	layer := filepath.Join(folder, "layer")
	if err := os.Mkdir(layer, 0o755); err != nil {
		t.Fatal(err)
	}
	s.holder = exec.Command("servers/enter", layer, "sleep", "infinity")
	if err := s.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.holder.Process.Kill()
		_ = s.holder.Wait()
		_ = os.RemoveAll(folder)
	})
	until(t, "there are files for the server", func() bool { return s.command("true").Run() == nil })
	if out, err := s.command(". $SCRIPT; install").CombinedOutput(); err != nil {
		t.Fatalf("%s cannot be installed: %v\n%s", name, err, out)
	}
	out, err := s.command(". $SCRIPT; provider").Output()
	if err != nil {
		t.Fatal(err)
	}
	s.config = fmt.Sprintf(`[{"name": "real", "type": "smtp", "host": "127.0.0.1", "port": %d, %s}]`, s.port, bytes.TrimSpace(out))
	s.speaksTLS = strings.Contains(s.config, `"secure": true`)
	return s
}

// command runs a line of shell among the server's files, in a family of processes
// that ends with it.
func (s *realServer) command(line string) *exec.Cmd {
	cmd := exec.Command("nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", s.holder.Process.Pid), "chroot",
		filepath.Join(s.folder, "layer", "root"),
		"unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-euc", line)
	cmd.Env, cmd.Dir = s.env, "/"
	return cmd
}

func (s *realServer) start(t *testing.T) {
	t.Helper()
	s.running = start(t, s.command(". $SCRIPT; start"))
	t.Cleanup(func() { s.stop(t) })
	s.running.until(t, s.name+" greets", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", s.port))
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close() }()
		if s.speaksTLS {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // its certificate is for the relay to check
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // some look up who asks
		_, err = bufio.NewReader(conn).ReadString('\n')
		return err == nil
	})
}

// stop ends the server as a service manager does: its main process is asked to.
func (s *realServer) stop(t *testing.T) {
	t.Helper()
	main, err := exec.Command("pgrep", "-P", fmt.Sprint(s.running.cmd.Process.Pid)).Output()
	var pid int
	if _, none := fmt.Sscan(string(main), &pid); err != nil || none != nil {
		return // it has ended
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	_ = process.Signal(syscall.SIGTERM)
	select {
	case <-s.running.exited:
	case <-time.After(3 * time.Second):
		_ = process.Kill()
		<-s.running.exited
	}
}

// writeCertificate makes a certificate for 127.0.0.1.
func writeCertificate(t *testing.T, folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: certificate}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// outcomes are what became of webhooks, by their numbers.
type outcomes struct {
	mu       sync.Mutex
	accepted map[int]bool
	failed   map[string]int // by the answer
	slowest  time.Duration
}

func newOutcomes() *outcomes {
	return &outcomes{accepted: map[int]bool{}, failed: map[string]int{}}
}

// send sends the webhooks from one number to another, so many at a time.
func (c *outcomes) send(relay *relayProcess, bodies *webhooks, from, to, atOnce int) {
	var last atomic.Int64
	last.Store(int64(from) - 1)
	var calling sync.WaitGroup
	for range atOnce {
		calling.Go(func() {
			one := &caller{address: func() string { return relay.public }}
			defer one.hangUp()
			for n := int(last.Add(1)); n <= to; n = int(last.Add(1)) {
				result := call{number: n}
				one.call(&result, bodies.body(n))
				c.note(result)
			}
		})
	}
	calling.Wait()
}

func (c *outcomes) note(result call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slowest = max(c.slowest, result.took)
	if result.status == http.StatusOK {
		c.accepted[result.number] = true
		return
	}
	c.failed[fmt.Sprint(result.status, " ", result.word, result.failure)]++
}

// Real servers take all mails, and lose none when they are restarted under load: what
// the relay answered with 200 arrives, once, and nothing fails.
func TestRealServers(t *testing.T) {
	if *realServers == "" {
		t.Skip("make servers runs it")
	}
	names := strings.Split(*realServers, ",")
	if *realServers == "all" {
		files, err := filepath.Glob("servers/*.sh")
		if err != nil {
			t.Fatal(err)
		}
		names = nil
		for _, file := range files {
			names = append(names, strings.TrimSuffix(filepath.Base(file), ".sh"))
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) { sendThrough(t, name) })
	}
}

func sendThrough(t *testing.T, name string) {
	sink := startSink(t)
	server := newRealServer(t, name, sink.port())
	t.Cleanup(func() {
		if *serverLog {
			t.Logf("%s says:\n%s", name, server.running.log())
		}
	})
	server.start(t)
	relay := startRelayWith(t, server.config, `"log": {"level": "info"}, "limits": {"recipient": ""}`)
	bodies := newWebhooks(t, []string{"example.org"})
	counted := newOutcomes()
	address := func() string { return relay.public }

	begin := time.Now()
	counted.send(relay, bodies, 1, *serverMails, 50)
	rate := float64(*serverMails) / time.Since(begin).Seconds()
	report := func(phase string) {
		t.Logf("%s, %s: %d accepted, failed %v, the slowest took %v", name, phase, len(counted.accepted), counted.failed, counted.slowest.Round(time.Millisecond))
	}
	report(fmt.Sprintf("50 at a time, %.0f mails/s", rate))

	var last atomic.Int64
	last.Store(int64(*serverMails))
	var calling sync.WaitGroup
	var ended atomic.Bool
	l := &load{address: address, limit: 10 * time.Second, rate: *serverRate, callers: 2000, body: bodies.body, done: counted.note,
		next: func() (int, bool) { return int(last.Add(1)), !ended.Load() }}
	calling.Go(func() { l.run(t.Context(), 1) })
	var away []time.Duration
	for range 3 {
		time.Sleep(3 * time.Second)
		begin := time.Now()
		server.stop(t)
		server.start(t)
		away = append(away, time.Since(begin).Round(10*time.Millisecond))
	}
	time.Sleep(3 * time.Second)
	ended.Store(true)
	calling.Wait()
	report(fmt.Sprintf("restarted under load, away for %v", away))

	arrived := map[int][][]byte{}
	missing := func() (list []int) {
		for _, message := range sink.take() {
			arrived[numberIn(message)] = append(arrived[numberIn(message)], message)
		}
		for number := range counted.accepted {
			if !slices.ContainsFunc(arrived[number], func(message []byte) bool { return says(message, code(number)) }) {
				list = append(list, number)
			}
		}
		return list
	}
	for end := time.Now().Add(2 * time.Minute); len(missing()) > 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	lost, twice, byServer, unanswered := missing(), 0, 0, 0
	for _, cut := range arrived[nameless] {
		t.Logf("%s handed on a text that names no webhook:\n%.300s", name, cut)
	}
	delete(arrived, nameless)
	var doubled []int
	for number, copies := range arrived {
		if len(copies) > 1 {
			twice++
			switch {
			case copiedByServer(copies):
				byServer++
			case !wasUncertain(relay.log(), refIn(copies[0])):
				doubled = append(doubled, number)
			}
		}
		if !counted.accepted[number] {
			unanswered++
		}
	}
	failed := 0
	for _, n := range counted.failed {
		failed += n
	}
	t.Logf("%s: %d sent, %d lost, %d failed, %d arrived twice, %d of them because the server sent one mail on again, %d arrived and were answered with an error",
		name, len(counted.accepted)+failed, len(lost), failed, twice, byServer, unanswered)
	if len(lost) > 0 {
		slices.Sort(lost)
		t.Errorf("lost: %v", lost[:min(len(lost), 20)])
	}
	if len(doubled) > 0 {
		slices.Sort(doubled)
		t.Errorf("sent twice, and no attempt was uncertain: %v", doubled[:min(len(doubled), 20)])
	}
	// What a dying server had taken and not yet confirmed is uncertain: nobody can say.
	for answer, n := range counted.failed {
		if !strings.Contains(answer, "uncertain") {
			t.Errorf("%d webhooks were answered with %s", n, answer)
		}
	}
	if t.Failed() {
		t.Logf("the relay says:\n%s", failedAttempts(relay.log()))
	}
}

// copiedByServer says whether a server handed one mail on more than once, as it may
// when it is stopped meanwhile. What it took twice has two of its Received fields.
func copiedByServer(copies [][]byte) bool {
	first := received.Find(copies[0])
	return first != nil && !slices.ContainsFunc(copies, func(one []byte) bool { return !bytes.Equal(received.Find(one), first) })
}

// received is the field that the last server wrote.
var received = regexp.MustCompile(`(?m)^Received:.*\n(?:[ \t].*\n)*`)

// wasUncertain says whether a log tells of an attempt for a request of which nobody
// knows how it ended.
func wasUncertain(log, id string) bool {
	for line := range strings.Lines(log) {
		if strings.Contains(line, fmt.Sprintf(`"id":%q`, id)) && strings.Contains(line, `"kind":"uncertain"`) {
			return true
		}
	}
	return false
}

// failedAttempts are the first lines of a log that tell of a failed mail which nobody
// took.
func failedAttempts(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"attempts"`) && !strings.Contains(line, `"mail accepted"`) && !strings.Contains(line, `"error":"uncertain"`) && len(lines) < 5 {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
