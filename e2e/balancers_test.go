package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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

// The long form: go test ./e2e -run RollingRestarts -rolls 10
var rolls = flag.Int("rolls", 1, "how often each relay behind a balancer is restarted")

// balancer is one of the configurations in deploy.
type balancer struct {
	program, file string
	args          []string
	// clear are the replacements that take TLS away.
	clear []string
}

var (
	nginx   = balancer{"nginx", "nginx.conf", []string{"-e", "stderr", "-c"}, []string{"listen 443 ssl", "listen ADDRESS"}}
	caddy   = balancer{"caddy", "Caddyfile", []string{"run", "--adapter", "caddyfile", "--config"}, []string{"relay.acme.example {", "http://ADDRESS {"}}
	haproxy = balancer{"haproxy", "haproxy.cfg", []string{"-db", "-f"},
		[]string{"bind :443 ssl crt /etc/haproxy/relay.pem ssl-min-ver TLSv1.2", "bind ADDRESS"}}
)

// start runs the balancer before relays, with what is tested changed in nothing but
// names, addresses and, where that is wanted, TLS.
func (b balancer) start(t testing.TB, address string, relays []string, certs *certificates, encrypted bool) *process {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "deploy", b.file))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "relay.crt"), filepath.Join(dir, "relay.key")
	certs.write(t, chain, key)
	for _, relay := range relays[2:] { // has a line of its own, in nginx's configuration
		line := regexp.MustCompile(`(?m)^.*relay-2:8080.*\n`).Find(text)
		text = bytes.Replace(text, line, append(line[:len(line):len(line)], bytes.Replace(line, []byte("relay-2:8080"), []byte(relay), 1)...), 1)
	}
	replacements := []string{"relay-1:8080", relays[0], "relay-2:8080", relays[1]}
	if !encrypted {
		replacements = append(replacements, b.clear[0], strings.ReplaceAll(b.clear[1], "ADDRESS", address))
	}
	config := strings.NewReplacer(append(replacements,
		"listen 443", "listen "+address, "/etc/nginx/tls/relay.crt", chain, "/etc/nginx/tls/relay.key", key,
		"bind :443", "bind "+address, "/etc/haproxy/relay.pem", chain, // which haproxy wants to hold the key, too
		"relay.acme.example {", "https://"+address+" {\n\ttls "+chain+" "+key,
		"{\n\t# Logto", "{\n\tadmin off\n\t# Logto")...).Replace(string(text))
	if b.program == "nginx" { // our file is for the directory conf.d of a whole configuration
		paths := ""
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			paths += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
		}
		config = fmt.Sprintf("daemon off;\nworker_processes 1;\npid %s/pid;\nerror_log stderr error;\nevents { worker_connections 2048; }\n"+
			"http {\naccess_log off;\n%s%s}\n", dir, paths, config)
	}
	file := filepath.Join(dir, b.file)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(need(t, b.program, "/usr/sbin/"+b.program), append(slices.Clone(b.args), file)...)
	cmd.Env = []string{"HOME=" + dir}
	p := start(t, cmd)
	t.Cleanup(p.terminate) // a killed nginx would leave its workers behind
	p.listens(t, address)
	return p
}

// write writes the right certificate and its key, in a file of its own and behind the
// certificate.
func (c *certificates) write(t testing.TB, chain, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.right.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.right.Certificate[0]})
	if err := errors.Join(os.WriteFile(key, secret, 0o600), os.WriteFile(chain, append(certificate, secret...), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// roots are what somebody trusts who knows the authority alone.
func (c *certificates) roots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.authority))
	return roots
}

// restartable are two relays on addresses that stay theirs.
type restartable struct {
	relays [2]*relayProcess
	files  [2]string
}

func newRestartable(t *testing.T, providers, section string) *restartable {
	t.Helper()
	r := new(restartable)
	for i := range r.relays {
		r.relays[i], r.files[i] = configure(t, providers, section)
		r.begin(t, i)
	}
	return r
}

func (r *restartable) begin(t *testing.T, i int) {
	t.Helper()
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--config", r.files[i])
	cmd.Env = []string{}
	r.relays[i].process = start(t, cmd)
	r.relays[i].waitReady(t)
}

// Relays behind a balancer that asks /readyz are restarted in turn, and no webhook is
// lost. nginx, which has no such check, is in the campaign.
func TestRollingRestarts(t *testing.T) {
	for _, b := range []balancer{caddy, haproxy} {
		t.Run(b.program, func(t *testing.T) {
			need(t, b.program, "/usr/sbin/"+b.program)
			r := newRestartable(t, inbox, `"log": {"level": "warn"}`)
			address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			proxy := b.start(t, address, []string{r.relays[0].public, r.relays[1].public}, newCertificates(t), false)
			until(t, "the balancer answers", func() bool {
				c := &caller{address: func() string { return address }}
				defer c.hangUp()
				var result call
				c.call(&result, captured(t)["signin"])
				return result.status == 200
			})

			l := startSteadyLoad(t, b.program, 200, func() string { return address })
			for n := range 2 * *rolls {
				relay := r.relays[n%2]
				relay.signal(t, syscall.SIGTERM)
				if code := relay.exitCode(t); code != 0 {
					t.Errorf("exit code %d:\n%s", code, relay.log())
				}
				r.begin(t, n%2)
				until(t, "it has webhooks again", func() bool { return hasMails(t, relay) })
			}
			l.stop()
			t.Logf("%d restarts, %v", 2**rolls, l)
			if len(l.lost) > 0 {
				t.Errorf("lost: %+v\n%s", l.lost[0], proxy.log())
			}
		})
	}
}

// unavailableSentence is what balancers say themselves.
const unavailableSentence = "We couldn't send the email right now. Please try again in a minute."

// throughTLS posts to a balancer as somebody at 127.0.0.2 who claims to be somewhere
// else, and follows no redirect.
type throughTLS struct {
	address string
	client  *http.Client
}

func newThroughTLS(address string, certs *certificates) *throughTLS {
	return &throughTLS{address, &http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: certs.roots()},
			DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
			DisableKeepAlives: true,
		},
	}}
}

func (c *throughTLS) post(path, to string) (answer, error) {
	body := fmt.Sprintf(`{"to": %q, "type": "SignIn", "payload": {"code": "482913"}}`, to)
	request, err := http.NewRequest(http.MethodPost, "https://"+c.address+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {authorization}, "X-Forwarded-For": {"192.0.2.9"}}
	response, err := c.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

// brokenRequest sends a body whose length is no number, as anybody can.
func brokenRequest(t *testing.T, address string, certs *certificates) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: certs.roots()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "POST /logto/email HTTP/1.1\r\nHost: "+address+"\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")
	if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode < 400 {
		t.Errorf("a broken request: %+v, %v", response, err)
	}
}

// isUnavailable checks what a balancer says for a relay that does not.
func isUnavailable(t *testing.T, when string, got answer, err error) {
	t.Helper()
	if err != nil || got.status < 502 || got.status > 504 || got.body != unavailableSentence ||
		!strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("%s: %v, %d, %q: %s", when, err, got.status, got.header, got.body)
	}
}

// Behind each balancer relays are well, slow, dead or frozen with a webhook in their
// hands, gone, and back. There is always one sentence, never a redirect, and nothing
// is sent twice.
func TestBalancersInTrouble(t *testing.T) {
	for _, b := range []balancer{nginx, caddy, haproxy} {
		t.Run(b.program, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			need(t, b.program, "/usr/sbin/"+b.program)
			var asked atomic.Int32
			silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			}))
			t.Cleanup(silent.Close)
			r := newRestartable(t, fmt.Sprintf(`[{"name": "inbox", "type": "inbox"},
				{"name": "silent", "type": "http", "url": %q, "body": {"to": "{{to}}", "text": "{{text}}"}}]`, silent.URL),
				`"routes": [{"domains": ["silent.example"], "providers": ["silent"]}]`)
			certs := newCertificates(t)
			address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			b.start(t, address, []string{r.relays[0].public, r.relays[1].public}, certs, true)
			c := newThroughTLS(address, certs)
			serves := func() bool {
				got, err := c.post("/logto/email", "ada@example.org")
				return err == nil && got.status == 200
			}
			until(t, "webhooks come through", serves)

			logs := func() string { return r.relays[0].log() + r.relays[1].log() }
			until(t, "the caller's address comes through", func() bool { return strings.Contains(logs(), `"caller":"127.0.0.2"`) })
			if strings.Contains(logs(), "192.0.2.9") {
				t.Errorf("the caller's address is what he claims:\n%s", logs())
			}
			for path, status := range map[string]int{"/logto/email/": 200, "/": 404, "/logto": 404, "/logto//email": 404, "/events": 404} {
				if got, err := c.post(path, "ada@example.org"); err != nil || got.status != status || got.header.Get("X-Request-Id") == "" {
					t.Errorf("%s: %v, %d, %q: %s", path, err, got.status, got.header, got.body)
				}
			}

			for range 2 { // one for each relay
				brokenRequest(t, address, certs)
			}
			for range 8 {
				if got, err := c.post("/logto/email", "ada@example.org"); err != nil || got.status != 200 {
					t.Errorf("after a stranger's broken request: %v, %d: %s", err, got.status, got.body)
				}
			}

			if got, err := c.post("/logto/email", "ada@silent.example"); err != nil || got.status != 504 || got.header.Get("X-Relay-Error") == "" {
				t.Errorf("a slow one: %v, %d, %q: %s", err, got.status, got.header, got.body)
			}

			for _, trouble := range []syscall.Signal{syscall.SIGKILL, hang} {
				type result struct {
					got answer
					err error
				}
				var before int32
				var answered chan result
				holder := -1
				for attempt := 0; holder < 0; attempt++ {
					until(t, "webhooks come through", serves)
					before, answered = asked.Load(), make(chan result, 1)
					begun := time.Now()
					go func() {
						got, err := c.post("/logto/email", "ada@silent.example")
						answered <- result{got, err}
					}()
					until(t, "a relay has the webhook", func() bool {
						for i, relay := range r.relays {
							if strings.Contains(metrics(t, relay), `relay_provider_in_flight{provider="silent"} 1`) {
								holder = i
							}
						}
						return holder >= 0 && asked.Load() > before || time.Since(begun) > 8*time.Second
					})
					if time.Since(begun) > 4*time.Second && attempt < 3 { // this machine is busy, and its own deadline is near
						<-answered
						holder = -1
					}
				}
				r.relays[holder].signal(t, trouble)
				now := <-answered
				isUnavailable(t, "with the webhook in its hands, "+trouble.String(), now.got, now.err)
				until(t, "the other relay serves", serves)
				if again := asked.Load() - before; again != 1 {
					t.Errorf("%v: the webhook was sent %d times", trouble, again)
				}
				_ = r.relays[holder].cmd.Process.Kill()
				<-r.relays[holder].exited
				r.begin(t, holder)
			}

			for _, relay := range r.relays {
				relay.signal(t, syscall.SIGKILL)
				<-relay.exited
			}
			for range 3 {
				got, err := c.post("/logto/email", "ada@example.org")
				isUnavailable(t, "all are down", got, err)
			}
			r.begin(t, 1)
			until(t, "one that is back serves", serves)
		})
	}
}

// A balancer that has no connection left hangs up on everybody, or lets them wait. Strangers
// who are slow on purpose are let go, wherever they stop, and so hold none for long. An idle
// connection is kept for more than the 5 seconds that Node.js keeps one.
func TestSilentCallersOfBalancers(t *testing.T) {
	const head = "POST /logto/email HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
	for _, b := range []balancer{nginx, caddy, haproxy} {
		t.Run(b.program, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			need(t, b.program, "/usr/sbin/"+b.program)
			certs := newCertificates(t)
			roots := certs.roots()
			address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
			defer backend.Close()
			relay := backend.Listener.Addr().String()
			b.start(t, address, []string{relay, relay}, certs, true)
			var strangers sync.WaitGroup
			strangers.Go(func() {
				idle, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots})
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = idle.Close() }()
				in := bufio.NewReader(idle)
				post := func() {
					_ = idle.SetReadDeadline(time.Now().Add(patience))
					_, _ = io.WriteString(idle, head+"Content-Length: 2\r\n\r\n{}")
					response, err := http.ReadResponse(in, nil)
					if err != nil || response.StatusCode != http.StatusOK {
						t.Errorf("an idle caller: %+v, %v", response, err)
						return
					}
					_, _ = io.Copy(io.Discard, response.Body)
				}
				post()
				_ = idle.SetReadDeadline(time.Now().Add(6 * time.Second))
				if _, err := in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("an idle caller is hung up on: %v", err)
					return
				}
				post()
			})
			for name, said := range map[string]string{
				"nothing": "", "a part of the head": head, "a part of the body": head + "Content-Length: 1000\r\n\r\n{",
			} {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				if said != "" {
					conn = tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
					if _, err := io.WriteString(conn, said); err != nil {
						t.Fatal(err)
					}
				}
				strangers.Go(func() {
					_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
					if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("it waits for a caller who has sent %s", name)
					}
					if got, err := newThroughTLS(address, certs).post("/logto/email", "ada@example.org"); err != nil || got.status != http.StatusOK {
						t.Errorf("after a caller who has sent %s: %v, %d: %s", name, err, got.status, got.body)
					}
				})
			}
			strangers.Wait()
		})
	}
}

// The configurations that operators read are the ones that are tested.
func TestTheDocumentShowsTheTestedBalancers(t *testing.T) {
	document := read(t, "../docs/operations.md")
	for _, file := range []string{"Caddyfile", "haproxy.cfg"} {
		if !strings.Contains(document, "\n"+read(t, "../deploy/"+file)+"```\n") {
			t.Errorf("docs/operations.md does not hold deploy/%s as it is", file)
		}
	}
}
