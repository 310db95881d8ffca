package e2e_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// proxyServer is a forward proxy that wants a login.
type proxyServer struct {
	scheme string
	port   int
	// command makes what runs it, for the user relay with the password correct-horse.
	command func(t *testing.T, port int) *exec.Cmd
	running *process
}

func squid(t *testing.T, port int) *exec.Cmd {
	t.Helper()
	dir, err := os.MkdirTemp("", "relay-squid-") // readable for the user that squid becomes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config, logins := filepath.Join(dir, "squid.conf"), filepath.Join(dir, "logins")
	text := fmt.Sprintf(`http_port 127.0.0.1:%d
auth_param basic program /bin/sh %s
acl known proxy_auth REQUIRED
acl tunnel method CONNECT
http_access allow tunnel known
http_access deny all
cache deny all
access_log none
cache_log /dev/null
cache_store_log none
pid_filename none
pinger_enable off
coredump_dir %s
shutdown_lifetime 0 seconds
visible_hostname proxy.example
`, port, logins, dir)
	program := `while read -r user password; do [ "$user $password" = "relay correct-horse" ] && echo OK || echo ERR; done`
	for path, content := range map[string]string{config: text, logins: program} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return exec.Command(need(t, "squid", "/usr/sbin/squid"), "-N", "-f", config)
}

func microsocks(t *testing.T, port int) *exec.Cmd {
	t.Helper()
	return exec.Command(need(t, "microsocks"), "-i", "127.0.0.1", "-p", fmt.Sprint(port), "-u", "relay", "-P", "correct-horse")
}

func (p *proxyServer) start(t *testing.T) {
	t.Helper()
	p.running = start(t, p.command(t, p.port))
	t.Cleanup(p.running.terminate)
	p.running.listens(t, p.address())
}

func (p *proxyServer) address() string { return fmt.Sprint("127.0.0.1:", p.port) }

func (p *proxyServer) url(password string) string {
	return fmt.Sprintf("%s://relay:%s@%s", p.scheme, password, p.address())
}

// Real proxies lead to a mail server and to an API, and are restarted meanwhile.
func TestRealProxies(t *testing.T) {
	for name, proxy := range map[string]*proxyServer{
		"squid":      {scheme: "http", command: squid},
		"microsocks": {scheme: "socks5", command: microsocks},
	} {
		t.Run(name, func(t *testing.T) {
			proxy.port = freePort(t)
			t.Run("SMTP", func(t *testing.T) {
				sink := startSink(t)
				throughProxy(t, proxy, fmt.Sprintf(`"type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true`, sink.port()), []string{},
					func() (numbers []int) {
						for _, message := range sink.take() {
							numbers = append(numbers, numberIn(message))
						}
						return numbers
					})
			})
			t.Run("HTTPS", func(t *testing.T) {
				service := newMailService(t)
				authority := filepath.Join(t.TempDir(), "authority.pem")
				if err := os.WriteFile(authority, []byte(service.authority), 0o600); err != nil {
					t.Fatal(err)
				}
				throughProxy(t, proxy, fmt.Sprintf(`"type": "postmark", "endpoint": %q, "serverToken": "correct-token", "fromEmail": "no-reply@acme.example"`, service.URL),
					[]string{"SSL_CERT_FILE=" + authority}, service.take)
			})
		})
	}
}

// throughProxy sends mails to a provider through a proxy; arrived tells the numbers
// of those that came since the last time.
func throughProxy(t *testing.T, proxy *proxyServer, provider string, environment []string, arrived func() []int) {
	const mails = 200
	relayWith := func(password string) *relayProcess {
		return startRelayIn(t, environment, fmt.Sprintf(`[{"name": "real", "proxy": %q, %s}]`, proxy.url(password), provider), `"log": {"level": "info"}`)
	}
	proxy.start(t)
	relay := relayWith("correct-horse")
	bodies, counted := newWebhooks(t, []string{"example.org"}), newOutcomes()
	counted.send(relay, bodies, 1, mails/2, 4)
	proxy.running.terminate()
	var sending sync.WaitGroup
	sending.Go(func() { counted.send(relay, bodies, mails/2+1, mails, 4) })
	proxy.start(t)
	sending.Wait()

	if len(counted.failed) > 0 {
		t.Errorf("failed: %v\n%s", counted.failed, failedAttempts(relay.log()))
	}
	checkArrived(t, counted, arrived())

	// A wrong password is told, and nothing goes past the proxy.
	wrong := relayWith("wrong-horse")
	got := post(t, wrong.webhook(), "application/json", authorization, strings.NewReader(webhookOfAda))
	wrong.until(t, "the log names the proxy", func() bool { return strings.Contains(wrong.log(), "proxy") })
	if log := wrong.log(); got.status == http.StatusOK || strings.Contains(log, "wrong-horse") || len(arrived()) > 0 {
		t.Errorf("with a wrong password: %d %s\n%s", got.status, got.body, log)
	}
}

// mailService answers as Postmark does, over TLS, and keeps what it accepts.
type mailService struct {
	*httptest.Server
	authority string
	mu        sync.Mutex
	numbers   []int
}

func newMailService(t *testing.T) *mailService {
	t.Helper()
	certificates := newCertificates(t)
	s := &mailService{authority: certificates.authority}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		s.mu.Lock()
		s.numbers = append(s.numbers, numberIn(body.Bytes()))
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"ErrorCode": 0, "Message": "OK", "MessageID": "b7bc2f4a-e38e-4336-af7d-e6c392c2f817"}`))
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificates.right}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *mailService) take() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.numbers
	s.numbers = nil
	return taken
}
