package commands_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"logto-email-relay/commands"
)

const callToken = "a-token-of-the-test"

// certificate makes one that signs itself.
func certificate(t *testing.T, host string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: until.AddDate(0, -1, 0), NotAfter: until}
	if ip := net.ParseIP(host); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// answers starts a server, with TLS if there is a certificate, and returns its URL.
func answers(t *testing.T, certificate *tls.Certificate, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if certificate != nil {
		server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server.URL
}

// says is a handler with one answer, whose header is given line by line.
func says(status int, header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for line := range strings.SplitSeq(header, "\n") {
			if name, value, found := strings.Cut(line, ": "); found {
				w.Header().Set(name, value)
			}
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestCallNamesWhatIsWrong(t *testing.T) {
	soon, past := time.Now().AddDate(0, 0, 7), time.Now().AddDate(0, 0, -7)
	good, expired, other := certificate(t, "127.0.0.1", soon), certificate(t, "127.0.0.1", past), certificate(t, "other.example", soon)
	plain := func(status int, header, body string) string { return answers(t, nil, says(status, header, body)) }
	done := make(chan struct{})
	defer close(done)
	slow := answers(t, nil, func(http.ResponseWriter, *http.Request) { <-done })
	hangsUp := answers(t, nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	echo := answers(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "you sent "+r.Header.Get("Authorization")+" and "+callToken)
	})
	switched := answers(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		connection, out, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = out.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		_ = out.Flush()
		<-done
		_ = connection.Close()
	})
	sentence := "Not now. (ref 7k3f9qab)"
	mail := []string{"--to", "ada@example.org"}
	accepted := `{"id":"0100018f","provider":"main"}`
	overTLS := strings.Replace(answers(t, &good, says(200, "", "")), "https://", "http://", 1)
	overPlain := strings.Replace(plain(200, "", ""), "http://", "https://", 1)

	for _, test := range []struct {
		name, url string
		arguments []string
		code      int
		says      []string
	}{
		{"no DNS", "https://relay.invalid", nil, 1, []string{"DNS ", "relay.invalid"}},
		{"refused", "http://127.0.0.1:1", nil, 1, []string{"connection refused", "nothing listens"}},
		{"unknown authority", answers(t, &good, says(200, "", "")), nil, 1, []string{"no authority that is known here"}},
		{"expired", answers(t, &expired, says(200, "", "")), nil, 1, []string{"valid from", past.UTC().Format(time.DateOnly), "renew it"}},
		{"another host", answers(t, &other, says(200, "", "")), nil, 1, []string{"(other.example)", "not for 127.0.0.1"}},
		{"http to TLS", overTLS, nil, 1, []string{"this port speaks TLS", "write https"}},
		{"https to plain", overPlain, nil, 1, []string{"this port speaks no TLS"}},
		{"no end", slow, []string{"--timeout", "100ms"}, 1, []string{"no answer within 100ms", "the request was taken"}},
		{"no TLS", "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(silent(t))), []string{"--timeout", "100ms"}, 1, []string{"no TLS came"}},
		{"switched protocols", switched, []string{"--timeout", "10s"}, 1, []string{"not the relay's (101"}},
		{"hung up", hangsUp, nil, 1, []string{"connection broke"}},
		{"redirect", plain(308, "Location: https://new.example/logto/email", ""), nil, 1, []string{"answer: 308 after", `redirects to "https://new.example/logto/email"`}},
		{"several choices", plain(300, "Location: https://new.example/", ""), nil, 1, []string{"answer: 300 after", `redirects to "https://new.example/"`}},
		{"redirect to nowhere", plain(301, "Location: https://new.example:undefined/", ""), nil, 1, []string{"answer: 301 after", `redirects to "https://new.example:undefined/"`}},
		{"400", plain(400, "X-Relay-Error: malformed", sentence), nil, 1, []string{"400 malformed: the proxy changes the body", "sign-in page: "}},
		{"page", plain(502, "Content-Type: text/html; charset=utf-8\nServer: nginx", "<html>\r\n<h1>502 \"Bad\" Gateway</h1>\x1b[2J"), nil, 1,
			[]string{"not the relay's (502, a page of HTML, from nginx)", "whether it runs", `sign-in page: Error occurred in connector: {"message":"<html> <h1>502 \"Bad\" Gateway</h1>?[2J"}`}},
		{"401", plain(401, "X-Relay-Error: unauthorized", sentence), nil, 1,
			[]string{"none of server.authorization", `sign-in page: Error occurred in connector: {"message":"` + sentence + `"}`}},
		{"401 of a proxy", plain(401, "", ""), nil, 1, []string{"not the relay's (401", "authorization of its own"}},
		{"403", plain(403, "X-Relay-Error: forbidden", sentence), nil, 1, []string{"server.allowedIPs"}},
		{"403 of a proxy", plain(403, "", ""), nil, 1, []string{"not the relay's (403", "refuses the call"}},
		{"404", plain(404, "X-Relay-Error: not_found", sentence), nil, 1, []string{"/logto/email"}},
		{"404 of another", plain(404, "Content-Type: text/plain", ""), nil, 1, []string{"not the relay's (404, text/plain, from a server without a name)"}},
		{"503", plain(503, "X-Relay-Error: provider_unavailable", sentence), mail, 1, []string{"503 provider_unavailable", "reference"}},
		{"invalid mail", plain(422, "X-Relay-Error: invalid", sentence), mail, 1, []string{"422 invalid"}},
		{"invalid as expected", plain(422, "X-Relay-Error: invalid", sentence), nil, 0, []string{"All is well", "No mail was sent"}},
		{"accepted", plain(200, "", accepted), mail, 0, []string{"All is well", "accepted the test mail"}},
		{"of a tenant", plain(422, "X-Relay-Error: invalid\nX-Relay-Tenant: eu", sentence), []string{"--tenant-check"}, 0, []string{"tenant: eu\n", "All is well"}},
		{"of no tenant", plain(422, "X-Relay-Error: invalid", sentence), []string{"--tenant-check"}, 1, []string{"for no tenant's"}},
		{"of no tenant, unasked", plain(422, "X-Relay-Error: invalid", sentence), nil, 0, []string{"All is well"}},
		{"accepts nothing", plain(200, "", accepted), nil, 1, []string{"not the relay's (200", "no mail would be sent"}},
		{"wrong JSON", plain(200, "Content-Type: application/json", `{"ok":true}`), mail, 1, []string{"not the relay's (200, application/json"}},
		{"not JSON", plain(204, "", ""), mail, 1, []string{"not the relay's (204"}},
		{"secret in the answer", echo, nil, 1, []string{"you sent [authorization] and [authorization]", "from [authorization])"}},

		{"no URL", "relay.example.com/logto/email", nil, 2, []string{"write the whole endpoint"}},
		{"user", "https://a:b@relay.example.com/", nil, 2, []string{"take it out"}},
		{"recipient", slow, []string{"--to", "a@b.example,c@d.example"}, 2, []string{"--to"}},
		{"timeout", slow, []string{"--timeout", "0s"}, 2, []string{"--timeout"}},
		{"one dash", slow, []string{"-authorization=Bearer " + callToken}, 2, []string{"unknown flag: -a; long ones begin with two dashes\n"}},
		{"misspelt", slow, []string{"--authorisation\x1b[2J=Bearer " + callToken}, 2, []string{"unknown flag: --authorisation?[2J\n"}},
		{"in another flag", slow, []string{"--timeout", callToken}, 2, []string{"--timeout: the value is no duration\n"}},
		{"in a switch", slow, []string{"--tenant-check=" + callToken}, 2, []string{"--tenant-check: the value is no bool\n"}},
		{"line break", slow, []string{"--authorization", "Bearer " + callToken + "\n"}, 2, []string{"line break"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			arguments := append([]string{"call", test.url, "--authorization", "Bearer " + callToken}, test.arguments...)
			code, told := run(t, nil, arguments...)
			if code != test.code || strings.Contains(told, callToken) || strings.Contains(told, "\x1b") {
				t.Errorf("exit code %d\n%s", code, told)
			}
			for _, want := range test.says {
				if !strings.Contains(told, want) {
					t.Errorf("it does not say %q:\n%s", want, told)
				}
			}
		})
	}
}

// Where a certificate is trusted, the call goes through. The authorities that a
// process trusts are read once, so that this is another process.
func TestCallOverTLS(t *testing.T) {
	if url := os.Getenv("RELAY_TEST_CALL"); url != "" {
		code, told := run(t, nil, "call", url, "--authorization", "Bearer "+callToken)
		if code != 0 || !regexp.MustCompile(`certificate: trusted, until 20\d\d-\d\d-\d\d\n`).MatchString(told) {
			t.Errorf("exit code %d\n%s", code, told)
		}
		return
	}
	trusted := certificate(t, "127.0.0.1", time.Now().AddDate(0, 0, 7))
	url := answers(t, &trusted, says(422, "X-Relay-Error: invalid", ""))
	file := filepath.Join(t.TempDir(), "authorities.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCallOverTLS$")
	child.Env = append(os.Environ(), "RELAY_TEST_CALL="+url, "SSL_CERT_FILE="+file)
	if told, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, told)
	}
}

// A relay itself takes the call for what it is.
func TestCallOfARelay(t *testing.T) {
	t.Parallel() // a clean stop takes its time
	ctx, stop := context.WithCancel(t.Context())
	var out lines
	done := make(chan int)
	file := configure(t, `{"type": "inbox"}`)
	named, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strings.Replace(string(named), `"Bearer `, `{"tenant": "eu", "value": "Bearer the-words-of-europe"}, "Bearer `, 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- commands.Run(ctx, []string{"serve", "--config", file}, nil, &out, &out, nil) }()
	listening := regexp.MustCompile(`"webhook":"([^"]+)"`)
	var url string
	for end := time.Now().Add(20 * time.Second); url == ""; time.Sleep(5 * time.Millisecond) {
		if found := listening.FindStringSubmatch(out.String()); found != nil {
			url = "http://" + found[1] + "/logto/email"
		}
		if time.Now().After(end) {
			t.Fatalf("it does not listen:\n%s", out.String())
		}
	}
	for _, test := range []struct {
		arguments []string
		code      int
		says      string
	}{
		{[]string{url, "--authorization", "Bearer " + callToken}, 0, "No mail was sent"},
		{[]string{url, "--authorization", callToken}, 1, "401 unauthorized: the value of --authorization"},
		{[]string{url, "--authorization", ""}, 1, "401 unauthorized"},
		{[]string{url, "--authorization", "Bearer the-words-of-europe", "--tenant-check"}, 0, "tenant: eu\n"},
		{[]string{url, "--authorization", "Bearer " + callToken, "--tenant-check"}, 1, "for no tenant's"},
		{[]string{url + "s", "--authorization", "Bearer " + callToken}, 1, "404 not_found: the endpoint has to end with /logto/email"},
		{[]string{url, "--authorization", "Bearer " + callToken, "--to", "ada@example.org"}, 0, "accepted the test mail"},
	} {
		code, told := run(t, nil, append([]string{"call"}, test.arguments...)...)
		if code != test.code || !strings.Contains(told, test.says) || strings.Contains(told, callToken) {
			t.Errorf("%v: exit code %d\n%s", test.arguments, code, told)
		}
	}
	stop()
	if code, mails := <-done, strings.Count(out.String(), `"mail accepted"`); code != 0 || mails != 1 {
		t.Errorf("exit code %d, %d mails:\n%s", code, mails, out.String())
	}
}
