package providers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
	"logto-email-relay/smtp/smtptest"
)

// openAPI makes a client for the tests of the transport alone.
func openAPI(t *testing.T, c *Common) *api {
	t.Helper()
	a, err := newAPI(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// judge posts a body and returns how the failure was judged; nil for a 2xx.
func judge(ctx context.Context, a *api, url string, body []byte) *Error {
	x, err := a.request(ctx, http.MethodPost, url, http.Header{}, body)
	return x.refusal(plainMessage(), err, func(*exchange) Error { return Error{} })
}

func TestHTTP2(t *testing.T) {
	var version atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		version.Store(r.Proto)
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	a := openAPI(t, &Common{})
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	a.base.TLSClientConfig = &tls.Config{RootCAs: roots}
	if e := judge(t.Context(), a, server.URL, []byte("{}")); e != nil {
		t.Fatal(e)
	}
	if version.Load() != "HTTP/2.0" {
		t.Errorf("sent over %v", version.Load())
	}
	if e := judge(t.Context(), a, server.URL+"/cut", []byte("{}")); e == nil || e.Kind != Uncertain {
		t.Errorf("a stream cut after the body is %v, want uncertain", e)
	}
}

// TestConnectionsAreKept sends from 200 goroutines at a time, again and again. Go's
// own defaults would close most connections after each mail.
func TestConnectionsAreKept(t *testing.T) {
	const concurrent, mails = 200, 20
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	a := openAPI(t, &Common{MaxConcurrent: concurrent})
	var senders sync.WaitGroup
	for range concurrent {
		senders.Go(func() {
			for range mails {
				if e := judge(t.Context(), a, server.URL, []byte("{}")); e != nil {
					t.Error(e)
				}
			}
		})
	}
	senders.Wait()
	t.Logf("%d connections for %d mails, %d at a time", connections.Load(), concurrent*mails, concurrent)
	// net/http lets go of one whose write is told too late, on a machine with much to do.
	if connections.Load() > concurrent+concurrent/20 {
		t.Errorf("%d connections were opened for %d senders", connections.Load(), concurrent)
	}
}

// TestCutInsideBody closes the connection before the last byte can have left.
func TestCutInsideBody(t *testing.T) {
	listener := listen(t)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(connection, make([]byte, 1024))
			_ = connection.Close()
		}
	}()
	body := make([]byte, 32<<20)
	e := judge(t.Context(), openAPI(t, &Common{}), "http://"+listener.Addr().String(), body)
	if e == nil || e.Kind != Temporary {
		t.Errorf("a connection cut inside the body is %v, want temporary", e)
	}
}

// TestStallInHandshake ends at the deadline, before anything left.
func TestStallInHandshake(t *testing.T) {
	listener := listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	e := judge(ctx, openAPI(t, &Common{}), "https://"+listener.Addr().String(), nil)
	if e == nil || e.Kind != Temporary || !errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("a handshake without an answer is %v, want temporary for want of time", e)
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// TestDeadConnectionIsReplaced breaks a pooled connection so that the next
// request cannot write a byte to it. It has to arrive all the same, and once.
func TestDeadConnectionIsReplaced(t *testing.T) {
	mail := strings.Repeat("<p>Your code</p>\n", 1200) // 20 KB
	var arrived atomic.Int64
	server, _ := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) == mail {
			arrived.Add(1)
		}
	})
	a := openAPI(t, &Common{})
	var dead atomic.Pointer[mortalConn]
	dial := a.base.DialContext
	a.base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		mortal := &mortalConn{Conn: connection}
		dead.Store(mortal)
		return mortal, nil
	}
	// Some clients, such as the AWS SDK, hand over a body that can be read only
	// once.
	bodies := map[string]func() io.Reader{
		"buffer": func() io.Reader { return strings.NewReader(mail) },
		"stream": func() io.Reader { return io.NopCloser(strings.NewReader(mail)) },
	}
	for name, body := range bodies {
		for round := range 3 {
			ctx, x := withExchange(t.Context())
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, body())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.client.Do(request); err != nil || x.status != http.StatusOK {
				t.Errorf("%s, round %d: status %d, %v", name, round, x.status, err)
			}
			dead.Load().dead.Store(true)
		}
	}
	if arrived.Load() != 6 {
		t.Errorf("%d mails arrived, want 6", arrived.Load())
	}
}

// mortalConn can be made to refuse what is written to it.
type mortalConn struct {
	net.Conn
	dead atomic.Bool
}

func (c *mortalConn) Write(b []byte) (int, error) {
	if c.dead.Load() {
		return 0, &net.OpError{Op: "write", Err: syscall.EPIPE}
	}
	return c.Conn.Write(b)
}

func TestLocalAddress(t *testing.T) {
	var from atomic.Value
	server, _ := startServer(t, func(_ http.ResponseWriter, r *http.Request) { from.Store(r.RemoteAddr) })
	if e := judge(t.Context(), openAPI(t, &Common{LocalAddress: "127.0.0.2"}), server.URL, nil); e != nil {
		t.Skipf("this system has only 127.0.0.1: %v", e)
	}
	if address, _ := from.Load().(string); !strings.HasPrefix(address, "127.0.0.2:") {
		t.Errorf("the connection came from %s", address)
	}
	// An address of the documentation range is on no machine.
	e := judge(t.Context(), openAPI(t, &Common{LocalAddress: "192.0.2.1"}), server.URL, nil)
	if e == nil || e.Kind != Configuration || !strings.Contains(e.Hint, "localAddress") {
		t.Errorf("an address that is not ours is %v, want a configuration error", e)
	}
}

// TestSOCKS5 goes through a proxy that knows one method without a password, or
// refuses all.
func TestSOCKS5(t *testing.T) {
	const delay = 300 * time.Millisecond
	server, _ := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(delay + delay/2) // what bounds the proxy's answer does not bound that of the service
		w.WriteHeader(http.StatusOK)
	})
	for _, refuses := range []bool{false, true} {
		listener := listen(t)
		go socks5(listener, strings.TrimPrefix(server.URL, "http://"), refuses)
		a := openAPI(t, &Common{Proxy: settings.NewSecret("socks5://" + listener.Addr().String())})
		a.proxyDelay = delay
		e := judge(t.Context(), a, "http://service.invalid", []byte("{}"))
		switch {
		case !refuses && e != nil:
			t.Errorf("through the proxy: %v", e)
		case refuses && (e == nil || e.Kind != Configuration || e.Stage != "proxy"):
			t.Errorf("a proxy that refuses is %v, want a configuration error of the proxy", e)
		}
	}
}

// socks5 leads one connection to the target, whatever was asked for (RFC 1928).
func socks5(listener net.Listener, target string, refuses bool) {
	connection, err := listener.Accept()
	if err != nil {
		return
	}
	defer connection.Close()
	greeting := make([]byte, 2)
	_, _ = io.ReadFull(connection, greeting)
	_, _ = io.ReadFull(connection, make([]byte, greeting[1]))
	if refuses {
		_, _ = connection.Write([]byte{5, 0xff})
		return
	}
	_, _ = connection.Write([]byte{5, 0})
	request := make([]byte, 5)
	_, _ = io.ReadFull(connection, request)
	_, _ = io.ReadFull(connection, make([]byte, int(request[4])+2))
	_, _ = connection.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	go func() { _, _ = io.Copy(far, connection) }()
	_, _ = io.Copy(connection, far)
}

// What goes wrong at a proxy is told as that, as it is where SMTP is spoken behind it.
func TestAPIProxyFailures(t *testing.T) {
	for _, test := range proxyFailures() {
		t.Run(test.name, func(t *testing.T) {
			proxy, ctx := test.start(t)
			e := judge(ctx, openAPI(t, &Common{Proxy: proxy}), "https://service.invalid", []byte("{}"))
			kind, isAboutBehind := test.kind, test.words == "unreachable"
			if test.name == "endless header" { // net/http cuts it, and says no more
				kind = Temporary
			}
			if e == nil || e.Kind != kind || e.Stage != "proxy" || !isAboutBehind && !strings.Contains(e.Detail+e.Hint, "proxy") {
				t.Errorf("%v at %q, want %v", e, e.Stage, kind)
			}
			if strings.Contains(fmt.Sprintf("%+v", e), "pa55word") {
				t.Errorf("the error tells the password: %v", e)
			}
		})
	}
	t.Run("behind the proxy", func(t *testing.T) {
		server, _ := startServer(t, always(answer{200, nil, "{}"})) // without TLS
		for scheme, handshake := range map[string]smtptest.Handshake{"http": smtptest.Connect, "socks5": smtptest.SOCKS} {
			proxy := (&smtptest.Proxy{Target: server.Listener.Addr().String()}).Start(t, nil, handshake)
			a := openAPI(t, &Common{Proxy: settings.NewSecret(scheme + "://" + proxy.Addr().String())})
			if e := judge(t.Context(), a, "https://service.invalid", []byte("{}")); e == nil || e.Stage != "TLS" {
				t.Errorf("%s: %v", scheme, e)
			}
		}
	})
}

func TestNetworkErrors(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, row := range []struct {
		name       string
		err        error
		handedOver bool
		kind       Kind
		stage      string
	}{
		{"no such host", dial(&net.DNSError{IsNotFound: true}), false, Configuration, "DNS"},
		{"name server without an answer", dial(&net.DNSError{IsTimeout: true}), false, Temporary, "DNS"},
		{"refused", dial(syscall.ECONNREFUSED), false, Temporary, "connect"},
		{"no port left", dial(os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)), false, Temporary, "connect"},
		{"reset before", &net.OpError{Op: "write", Err: syscall.ECONNRESET}, false, Temporary, "POST"},
		{"reset after", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, true, Uncertain, "POST"},
		{"closed after", io.ErrUnexpectedEOF, true, Uncertain, "POST"},
		{"not TLS", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, false, Configuration, "TLS"},
		{"certificate", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false, Configuration, "TLS"},
		{"deadline before", context.DeadlineExceeded, false, Temporary, "connect"},
		{"deadline after", context.DeadlineExceeded, true, Uncertain, "POST"},
		{"given up after", context.Canceled, true, Uncertain, "POST"},
		{"proxy without an answer", &smtp.ProxyError{Status: 502}, false, Temporary, "proxy"},
		{"proxy that failed", &smtp.ProxyError{Status: 500}, false, Temporary, "proxy"},
		{"dead proxy", &net.OpError{Op: "proxyconnect", Err: dial(syscall.ECONNREFUSED)}, false, Temporary, "proxy"},
		{"proxy that does not exist", &net.OpError{Op: "proxyconnect", Err: dial(&net.DNSError{IsNotFound: true})}, false, Configuration, "proxy"},
		{"proxy that cannot be looked up now", &net.OpError{Op: "proxyconnect", Err: dial(&net.DNSError{IsTimeout: true})}, false, Temporary, "proxy"},
		{"proxy that forbids it", &net.OpError{Op: "socks connect", Err: errors.New("unknown error connection not allowed by ruleset")}, false, Configuration, "proxy"},
		{"proxy behind which nobody is", &net.OpError{Op: "socks connect", Err: errors.New("unknown error host unreachable")}, false, Temporary, "proxy"},
		{"proxy with a wrong certificate", &net.OpError{Op: "proxyconnect", Err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}}, false, Configuration, "proxy"},
		{"proxy wants a password", &smtp.ProxyError{Status: 407}, false, Configuration, "proxy"},
	} {
		x := &exchange{begun: true, method: "POST"}
		x.handedOver.Store(row.handedOver)
		x.atProxy.Store(row.stage == "proxy")
		e := x.networkError(row.err)
		if e.Kind != row.kind || e.Stage != row.stage || e.Detail == "" || e.Momentary != (row.kind == Temporary) {
			t.Errorf("%s: %v at %q, want %v at %q", row.name, e, e.Stage, row.kind, row.stage)
		}
		if !errors.Is(e, row.err) {
			t.Errorf("%s: the cause is lost", row.name)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             soonest,
		"30":                            30 * time.Second,
		"3601":                          time.Hour,
		"99999999999999999999":          time.Hour,
		"-1":                            soonest,
		"1.5":                           2 * time.Second,
		"0.02":                          time.Second,
		"inf":                           time.Hour,
		"nan":                           0,
		"soon":                          0,
		"Sat, 21 Nov 2026 10:02:00 GMT": 2 * time.Minute,
		"Sat, 21 Nov 2026 09:00:00 GMT": soonest,
		"Sun, 22 Nov 2026 10:00:00 GMT": time.Hour,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestQuotedAddress(t *testing.T) {
	for address, want := range map[string]string{
		"ada@example.org":       "ada@example.org",
		"a.b+c@example.org":     "a.b+c@example.org",
		"foo.@docomo.ne.jp":     `"foo."@docomo.ne.jp`,
		"a..b@docomo.ne.jp":     `"a..b"@docomo.ne.jp`,
		"a,b@example.org":       `"a,b"@example.org`,
		`a"b\c@example.org`:     `"a\"b\\c"@example.org`,
		`"foo."@docomo.ne.jp`:   `"foo."@docomo.ne.jp`,
		"eve@x,bob@example.org": `"eve@x,bob"@example.org`,
	} {
		if got := quotedAddress(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// FuzzAnswer feeds the error tables whatever a service could answer.
func FuzzAnswer(f *testing.F) {
	f.Add(400, `{"errors":[{"message":"no","field":"from"}]}`, "1")
	f.Add(429, `{"message":"try again after Mon, 20 Dec 2021 20:33:21 UTC"}`, "Wed, 21 Oct 2015 07:28:00 GMT")
	f.Add(200, "Mailgun Magnificent API", "")
	f.Add(422, `{"ErrorCode":300,"Message":"Invalid 'To' address"}`, "")
	f.Add(400, `{"Code":"Throttling.User","Message":"no"}`, "")
	f.Add(400, `{"errors":[{"detail":"no"}]}`, "")
	tables := make(map[string]func(*exchange) Error)
	for name, makeFixture := range fixtures {
		if service := makeFixture().http; service != nil {
			tables[name] = service.table
		}
	}
	f.Fuzz(func(t *testing.T, status int, body, wait string) {
		if status < 300 || status > 599 {
			t.Skip()
		}
		x := &exchange{begun: true, method: "POST", status: status, body: []byte(body), header: http.Header{
			"Retry-After": {wait}, "X-Ratelimit-Reset": {wait}, "Ratelimit-Reset": {wait},
		}}
		_ = jsonPath([]byte(body), wait)
		for name, table := range tables {
			e := x.refusal(plainMessage(), errors.New(body), table)
			if e.Kind.String() == "" || e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter || len(e.Error()) > 1000 {
				t.Errorf("%s: %v after %v", name, e, e.RetryAfter)
			}
		}
	})
}

// The service's own host is the clue when it does not exist; what else the network
// says is redacted.
func TestTheServicesOwnHostStaysVisible(t *testing.T) {
	const host = "email.eu-wset-1.amazonaws.com.example"
	asked := "https://" + host + "/v2/email?key=never-print-this-0123456789"
	for name, err := range map[string]error{
		"look-up":     &url.Error{Op: "Post", URL: asked, Err: &net.OpError{Op: "dial", Err: &net.DNSError{Name: host, Err: "no such host", IsNotFound: true}}},
		"certificate": &url.Error{Op: "Post", URL: asked, Err: errors.New("x509: certificate is valid for another-host.of-a-service.example, not " + host)},
	} {
		got := networkWords(err)
		if !strings.Contains(got, host) || strings.Contains(got, "never-print") || strings.Contains(got, "another-host") {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// answering is a server that answers with what the test has put there last.
type answering struct {
	URL    string
	status int
	body   string
}

func startAnswering(t testing.TB) *answering {
	a := new(answering)
	server, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	})
	a.URL = server.URL
	return a
}

// fuzzAnswers has every service with an API answer whatever comes to mind, beginning with
// what add adds for it.
func fuzzAnswers(f *testing.F, add func(name string, answers *httpFixture), check func(t *testing.T, ctx context.Context, p Provider, status int)) {
	services, opened := make(map[string]*answering), make(map[string]Provider)
	for name, makeFixture := range fixtures {
		if fixture := makeFixture(); fixture.http != nil {
			services[name] = startAnswering(f)
			opened[name] = open(f, fixture.settings(services[name].URL))
			add(name, fixture.http)
		}
	}
	f.Fuzz(func(t *testing.T, name string, status int, body string) {
		service, known := services[name]
		if !known || status < 200 || status > 599 {
			t.Skip()
		}
		service.status, service.body = status, body
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // against a hang only
		defer cancel()
		check(t, ctx, opened[name], status)
	})
}

// A mail counts as accepted after a 2xx alone, and whatever a service says has a
// verdict within bounds.
func FuzzVerdict(f *testing.F) {
	fuzzAnswers(f, func(name string, answers *httpFixture) {
		f.Add(name, answers.accepted.status, answers.accepted.body)
		f.Add(name, 200, `{"id":["`+quoted+`"]}`)
	}, func(t *testing.T, ctx context.Context, p Provider, status int) {
		receipt, err := p.Send(ctx, plainMessage())
		var failure *Error
		switch {
		case err == nil && (status > 299 || receipt.ID == ""):
			t.Errorf("accepted as %q after %d", receipt.ID, status)
		case err != nil && (!errors.As(err, &failure) || failure.Kind.String() == "" || failure.RetryAfter < 0 || failure.RetryAfter > maxRetryAfter || len(failure.Error()) > 1000):
			t.Errorf("%v", err)
		}
	})
}

// Whatever an authorization server says, there is a token or a failure without keys.
func FuzzTokenAnswer(f *testing.F) {
	f.Add(200, `{"access_token":"a","token_type":"Bearer","expires_in":3599}`)
	f.Add(200, `{"access_token":"a","expires_in":"-1"}`)
	f.Add(200, `{"access_token":"","expires_in":1e30}`)
	f.Add(400, `{"error":"invalid_grant","error_description":"`+testClientSecret+`"}`)
	server := startAnswering(f)
	s := newSMTPSettings()
	s.Auth = &SMTPAuth{Type: "OAuth2", User: mailboxUser, ClientID: "relay-client", ClientSecret: settings.NewSecret(testClientSecret), AccessURL: server.URL}
	tokens, err := s.tokenSource()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			t.Skip()
		}
		server.status, server.body = status, body
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // against a hang only
		defer cancel()
		tokens.current.Store(nil)
		token, _, err := tokens.Token(ctx)
		var failure *Error
		if err == nil && (token == "" || status > 299) || err != nil && (!errors.As(err, &failure) || token != "") {
			t.Errorf("%d: %q, %v", status, token, err)
		}
		if text := fmt.Sprint(err); strings.Contains(text, testClientSecret) {
			t.Error(text)
		}
	})
}

// A mail does not wait beyond its time for a connection whose reader is busy.
func TestBusyConnectionIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), readerDelay/4)
		defer cancel()
		began := time.Now()
		if (&watched{}).isQuiet(ctx) {
			t.Error("a connection counts as quiet that nobody reads from")
		}
		if took := time.Since(began); took > readerDelay/4+quietTime {
			t.Errorf("it was waited for %v", took)
		}
	})
}
