package providers

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logto-email-relay/mail"
)

// httpFixture is what the suite has to know of an HTTP API in order to play it.
type httpFixture struct {
	// path is the only one that the API answers.
	path string
	// storedPath is where mails from the service's templates go, if that is
	// another one.
	storedPath string
	// authorized tells whether the request bears the settings' credentials.
	authorized func(*http.Request) bool
	// accepted is the answer to a mail that is taken.
	accepted answer
	// text is a request as text that is the same whenever the mail is; indented
	// JSON if nil.
	text func(r *http.Request, body []byte) string
	// refusal is an error answer in the service's own shape with these words.
	refusal func(words string) answer
	// table is what reads the service's errors, and errors is what it has to make
	// of them.
	table  func(*exchange) Error
	errors []errorCase
	// verifies tells whether a request is one of Verify's, and verified is the
	// answer to it by a service where all is well.
	verifies func(r *http.Request, body []byte) bool
	verified func(r *http.Request) answer
	// verdicts are other answers to Verify.
	verdicts []verifyCase
}

// answer is an HTTP answer.
type answer struct {
	status int
	header map[string]string
	body   string
}

// errorCase is one row of an error table: an answer and what it means.
type errorCase struct {
	name string
	answer
	kind       Kind
	quota      bool
	suppressed bool
	unplaced   bool // nobody can tell what it is about
	// wait is the wanted RetryAfter. One that counts from now may be up to a
	// minute less.
	wait time.Duration
	// code is the wanted Code, and hint a part of the wanted Hint, if given.
	code, hint string
}

func (a answer) write(w http.ResponseWriter) {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// start plays the service.
func (h *httpFixture) start(t testing.TB, treat treatment) *fake {
	var (
		mu      sync.Mutex
		mails   []string
		done    = make(chan struct{})
		stalled = make(chan struct{})
		stall   = sync.OnceFunc(func() { close(stalled) })
	)
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		verifying := err == nil && h.verifies != nil && h.verifies(r, body)
		switch {
		case err != nil:
			return
		case verifying && h.authorized(r):
			switch treat {
			case cuts:
				panic(http.ErrAbortHandler)
			case stalls:
				stall()
				<-done
			default:
				h.verified(r).write(w)
			}
			return
		case r.Method != http.MethodPost || r.URL.Path != h.path && r.URL.Path != h.storedPath || r.URL.RawQuery != "":
			http.Error(w, "no such resource: "+r.Method+" "+r.URL.String(), http.StatusNotFound)
			return
		case !h.authorized(r):
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		text := h.text
		if text == nil {
			text = jsonText
		}
		mu.Lock()
		mails = append(mails, text(r, body))
		mu.Unlock()
		switch treat {
		case accepts:
			h.accepted.write(w)
		case breaksOff:
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(h.accepted.status)
			_, _ = io.WriteString(w, `{"`)
		case cuts:
			panic(http.ErrAbortHandler)
		case stalls:
			stall()
			<-done
		}
	}
	server, connections := startServer(t, handler)
	t.Cleanup(func() { close(done) }) // before the server closes, which waits for its handlers
	return &fake{
		address: server.URL,
		mails: func() []string {
			mu.Lock()
			defer mu.Unlock()
			return append([]string(nil), mails...)
		},
		connections: connections,
		stalled:     stalled,
	}
}

// startServer starts a silent HTTP server that counts the most connections that
// were open at a time.
func startServer(t testing.TB, handler http.HandlerFunc) (*httptest.Server, func() int) {
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	var (
		mu         sync.Mutex
		open, peak int
	)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		switch state {
		case http.StateNew:
			open++
			peak = max(peak, open)
		case http.StateClosed:
			open--
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server, func() int {
		mu.Lock()
		defer mu.Unlock()
		return peak
	}
}

// jsonText shows a request with a JSON body.
func jsonText(r *http.Request, body []byte) string {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return "not JSON: " + err.Error()
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value)
	return fmt.Sprintf("%s %s\nContent-Type: %s\n\n%s", r.Method, r.URL.Path, r.Header.Get("Content-Type"), text.String())
}

func checkHTTP(t *testing.T, f fixture) {
	t.Run("errors", func(t *testing.T) { checkErrors(t, f) })
	t.Run("echo", func(t *testing.T) { checkEcho(t, f) })
	t.Run("endless answer", func(t *testing.T) { checkEndless(t, f) })
	t.Run("coding", func(t *testing.T) { checkCoding(t, f) })
	t.Run("redirect", func(t *testing.T) { checkRedirect(t, f) })
	t.Run("certificate", func(t *testing.T) { checkCertificate(t, f) })
	t.Run("proxy", func(t *testing.T) { checkProxy(t, f) })
}

// openTo opens the provider with a service that gives one answer to everything.
func openTo(t *testing.T, f fixture, handler http.HandlerFunc) Provider {
	server, _ := startServer(t, handler)
	return open(t, f.settings(server.URL))
}

func always(a answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		a.write(w)
	}
}

// zipped is a text as servers compress it.
func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// checkCoding lets the service compress its answer, which it was asked not to. What would
// fill the memory counts as what does not end.
func checkCoding(t *testing.T, f fixture) {
	var asked atomic.Value
	body := f.http.accepted.body
	for _, a := range []string{zipped(body), zipped(body + strings.Repeat(" ", 10<<20))} {
		coded := answer{f.http.accepted.status, maps.Clone(f.http.accepted.header), a}
		if coded.header == nil {
			coded.header = make(map[string]string)
		}
		coded.header["Content-Encoding"] = "gzip"
		provider := openTo(t, f, func(w http.ResponseWriter, r *http.Request) {
			asked.Store(r.Header.Get("Accept-Encoding"))
			always(coded)(w, r)
		})
		receipt, err := provider.Send(t.Context(), plainMessage())
		if err != nil || receipt.ID != f.id || asked.Load() != "identity" {
			t.Errorf("%+v, %v, asked for %q", receipt, err, asked.Load())
		}
	}
}

const proxyPage = "<html><body><h1>Bad Gateway</h1></body></html>"

// httpErrors are the rows that all services share.
func httpErrors() []errorCase {
	return []errorCase{
		{name: "moved", answer: answer{301, map[string]string{"Location": "http://127.0.0.1:1/"}, ""}, kind: Configuration, hint: "endpoint"},
		{name: "found", answer: answer{302, map[string]string{"Location": "http://127.0.0.1:1/"}, ""}, kind: Configuration, hint: "endpoint"},
		{name: "temporary redirect", answer: answer{307, map[string]string{"Location": "http://127.0.0.1:1/"}, ""}, kind: Configuration, hint: "endpoint"},
		{name: "redirect to nowhere", answer: answer{308, nil, ""}, kind: Configuration, hint: "endpoint"},
		{name: "proxy wants a password", answer: answer{407, nil, ""}, kind: Configuration, unplaced: true},
		{name: "no such path", answer: answer{404, nil, "404 page not found"}, kind: Configuration, unplaced: true, code: "404"},
		{name: "request timeout", answer: answer{408, nil, ""}, kind: Temporary},
		{name: "too large", answer: answer{413, nil, proxyPage}, kind: Content},
		{name: "too many", answer: answer{429, map[string]string{"Retry-After": "7"}, ""}, kind: RateLimited, wait: 7 * time.Second},
		{name: "too many until a date", answer: answer{429, map[string]string{
			"Retry-After": time.Now().Add(10 * time.Minute).UTC().Format(http.TimeFormat),
		}, ""}, kind: RateLimited, wait: 10 * time.Minute},
		{name: "too many for a day", answer: answer{429, map[string]string{"Retry-After": "86400"}, ""}, kind: RateLimited, wait: time.Hour},
		{name: "too many since", answer: answer{429, map[string]string{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, ""}, kind: RateLimited, wait: soonest},
		{name: "too many, for now", answer: answer{429, map[string]string{"Retry-After": "0"}, ""}, kind: RateLimited, wait: soonest},
		{name: "too many, nonsense", answer: answer{429, map[string]string{"Retry-After": "-5 minutes"}, ""}, kind: RateLimited},
		{name: "server error", answer: answer{500, nil, "oops"}, kind: Temporary},
		{name: "server error for a while", answer: answer{500, map[string]string{"Retry-After": "7"}, ""}, kind: Temporary, wait: 7 * time.Second},
		{name: "many choices", answer: answer{300, nil, ""}, kind: Configuration, hint: "endpoint"},
		{name: "too large for a while", answer: answer{413, map[string]string{"Retry-After": "7"}, proxyPage}, kind: Content},
		{name: "bad gateway of a proxy", answer: answer{502, nil, proxyPage}, kind: Uncertain},
		{name: "gateway timeout of a proxy", answer: answer{504, nil, proxyPage}, kind: Uncertain},
		{name: "gateway timeout in JSON", answer: answer{504, map[string]string{"Content-Type": "application/json"}, `{"message": "Endpoint request timed out"}`}, kind: Uncertain},
		{name: "time-out at Cloudflare in JSON", answer: answer{524, nil, `{"status": 524}`}, kind: Uncertain},
		{name: "a gateway lost the service", answer: answer{503, nil, "upstream connect error or disconnect/reset before headers. reset reason: connection termination"}, kind: Uncertain},
		{name: "Varnish lost the service", answer: answer{503, nil, "<title>503 Backend fetch failed</title>"}, kind: Uncertain},
		{name: "throttled as before 429", answer: answer{420, nil, "{}"}, kind: RateLimited},
		{name: "time-out at Cloudflare", answer: answer{524, nil, "error code: 524"}, kind: Uncertain},
		{name: "legal reasons", answer: answer{451, nil, "{}"}, kind: Configuration},
		{name: "bad request of a proxy", answer: answer{400, nil, proxyPage}, kind: Configuration, unplaced: true},
		{name: "bad request without a word", answer: answer{400, nil, ""}, kind: Configuration, unplaced: true},
		{name: "an answer in a coding", answer: answer{422, map[string]string{"Content-Encoding": "br"}, "\x0b\x02\x80{}\x03"}, kind: Configuration, unplaced: true},
		{name: "no such path of an API", answer: answer{404, nil, `{"message": "no such path"}`}, kind: Configuration, hint: "endpoint"},
		{name: "a wrong key without a word", answer: answer{401, nil, "Forbidden"}, kind: Configuration},
		{name: "a firewall", answer: answer{403, nil, proxyPage}, kind: Configuration, unplaced: true},
		{name: "no route in Kong", answer: answer{404, nil, `{"message":"no Route matched with those values","request_id":"8a"}`}, kind: Configuration, unplaced: true},
		{name: "no route in APISIX", answer: answer{404, nil, `{"error_msg":"404 Route Not Found"}` + "\n"}, kind: Configuration, unplaced: true},
		{name: "no route in Amazon's API Gateway", answer: answer{404, nil, `{"message":"Not Found"}`}, kind: Configuration, unplaced: true},
		{name: "no route in Spring", answer: answer{404, nil, `{"timestamp":"2026-11-26T12:00:00.000+00:00","status":404,"error":"Not Found","path":"/send"}`}, kind: Configuration, unplaced: true},
		{name: "no route in ASP.NET", answer: answer{404, nil, `{"type":"https://tools.ietf.org/html/rfc9110#section-15.5.5","title":"Not Found","status":404}`}, kind: Configuration, unplaced: true},
		{name: "no route in Railway", answer: answer{404, nil, `{"status":"error","code":404,"message":"Application not found","request_id":"x"}`}, kind: Configuration, unplaced: true},
		{name: "no route in Envoy", answer: answer{404, nil, ""}, kind: Configuration, unplaced: true},
		{name: "gone", answer: answer{410, nil, `{"message":"This version is gone"}`}, kind: Configuration},
		{name: "teapot of a firewall", answer: answer{418, nil, proxyPage}, kind: Configuration, unplaced: true},
		{name: "headers too large", answer: answer{431, nil, ""}, kind: Configuration, unplaced: true},
	}
}

func checkErrors(t *testing.T, f fixture) {
	for _, row := range append(httpErrors(), f.http.errors...) {
		t.Run(row.name, func(t *testing.T) {
			e := wantKind(t, t.Context(), f, openTo(t, f, always(row.answer)), row.kind)
			if e.Quota != row.quota || e.Suppressed != row.suppressed {
				t.Errorf("quota %v, suppressed %v, want %v, %v", e.Quota, e.Suppressed, row.quota, row.suppressed)
			}
			if e.RetryAfter > row.wait || e.RetryAfter < row.wait-time.Minute {
				t.Errorf("wait %v, want %v", e.RetryAfter, row.wait)
			}
			if row.wait > 0 && e.RetryAfter <= 0 {
				t.Error("no wait")
			}
			if e.Momentary != (row.kind == Temporary && row.status == 503) {
				t.Errorf("over in a moment: %v", e.Momentary)
			}
			if e.Unplaced != row.unplaced {
				t.Errorf("nobody can tell what it is about: %v", e.Unplaced)
			}
			if e.IsGone() != (row.unplaced && row.status == 404) {
				t.Errorf("the service is gone: %v", e.IsGone())
			}
			if row.kind == Recipient {
				for _, to := range []string{"o'brien@example.org", "ada+x@example.org"} {
					odd := plainMessage()
					odd.To = to
					_, err := openTo(t, f, always(row.answer)).Send(t.Context(), odd)
					if e.Filtered || AsError(err).Filtered == row.suppressed {
						t.Errorf("another service may take %s: %v, %v", to, e.Filtered, err)
					}
				}
			}
			if e.Kind == RateLimited && e.Hint == "" {
				t.Error("no hint")
			}
			if row.code != "" && e.Code != row.code {
				t.Errorf("code %q, want %q", e.Code, row.code)
			}
			if e.Code == "" || e.Stage != "POST" {
				t.Errorf("code %q, stage %q: the operator cannot tell what was answered", e.Code, e.Stage)
			}
			if !strings.Contains(e.Hint, row.hint) {
				t.Errorf("hint %q, want %q in it", e.Hint, row.hint)
			}
		})
	}
}

// checkEcho lets the service quote all that it was sent. Some of it does not look
// like an address or a code, and is found only by who knows the mail.
func checkEcho(t *testing.T, f fixture) {
	spaced := testCode[:3] + " " + testCode[3:]
	for _, m := range []*mail.Message{plainMessage(), unicodeMessage()} {
		m.Payload = map[string]any{"code": testCode, "link": "https://app.example/magic-link?token=abcdef"}
		local, domain, _ := strings.Cut(m.To, "@")
		apart := local + " @ " + domain
		if known := "user '" + local + "', " + apart; Redact(known) != known {
			t.Fatalf("%q is found without the mail", known)
		}
		words := "no user '" + local + "', " + apart + ", cannot send to " + m.To + ", " + quotedAddress(m.To) + ", " + strings.ToUpper(m.To) + ", " + strings.ToUpper(quotedAddress(m.To)) +
			", code " + testCode + ", link https://app.example/magic-link?token=abc, body " + m.Text + ", " + spaced + ", " + url.QueryEscape(m.To) + ", token=abcdef, " +
			", keys " + strings.Join(f.secrets, " ")
		for _, a := range []answer{f.http.refusal(words), {400, nil, words}, {500, nil, words}, {302, map[string]string{"Location": "http://127.0.0.1:1/?" + url.QueryEscape(words)}, words}} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_, err := openTo(t, f, always(a)).Send(ctx, m)
			cancel()
			if e := wantError(t, err); e != nil {
				checkDiscreet(t, f, m, e)
				for _, secret := range []string{spaced, apart, "'" + local + "'", url.QueryEscape(m.To), "abcdef"} {
					if strings.Contains(e.Error(), secret) {
						t.Errorf("the error tells %q: %v", secret, e)
					}
				}
			}
		}
	}
}

func checkEndless(t *testing.T, f fixture) {
	for _, status := range []int{f.http.accepted.status, 400, 500} {
		var sent atomic.Int64
		provider := openTo(t, f, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			chunk := bytes.Repeat([]byte("x"), 32<<10)
			for sent.Load() < 1<<30 {
				n, err := w.Write(chunk)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := provider.Send(ctx, plainMessage())
		if err != nil && len(err.Error()) > 2000 {
			t.Errorf("status %d: the error is %d bytes long", status, len(err.Error()))
		}
		if ctx.Err() != nil || sent.Load() >= 1<<30 {
			t.Errorf("status %d: the whole answer was read", status)
		}
	}
}

func checkRedirect(t *testing.T, f fixture) {
	var reached atomic.Int64
	elsewhere, _ := startServer(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		provider := openTo(t, f, always(answer{status, map[string]string{"Location": elsewhere.URL + f.http.path}, ""}))
		wantKind(t, t.Context(), f, provider, Configuration)
	}
	if reached.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func checkCertificate(t *testing.T, f fixture) {
	server := httptest.NewUnstartedServer(always(f.http.accepted))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	if e := wantKind(t, t.Context(), f, open(t, f.settings(server.URL)), Configuration); e.Stage != "TLS" || e.Hint == "" {
		t.Errorf("stage %q, hint %q", e.Stage, e.Hint)
	}
	plain, _ := startServer(t, always(f.http.accepted))
	withTLS := f.settings("https" + strings.TrimPrefix(plain.URL, "http"))
	if e := wantKind(t, t.Context(), f, open(t, withTLS), Configuration); e.Stage != "TLS" || !strings.Contains(e.Hint, "TLS") {
		t.Errorf("a server without TLS: stage %q, hint %q", e.Stage, e.Hint)
	}
}

// checkProxy sends through a forward proxy, which is a connection's only way to
// a host that does not exist.
func checkProxy(t *testing.T, f fixture) {
	const host = "service.invalid"
	var asked atomic.Value
	proxy, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Host)
		always(f.http.accepted)(w, r)
	})
	s := f.settings("http://" + host)
	if err := s.Shared().Proxy.UnmarshalText([]byte(proxy.URL)); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, s).Send(t.Context(), plainMessage()); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != host {
		t.Errorf("the proxy was asked for %v", asked.Load())
	}

	refusing, _ := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	})
	s = f.settings("https://" + host)
	if err := s.Shared().Proxy.UnmarshalText([]byte(refusing.URL)); err != nil {
		t.Fatal(err)
	}
	e := wantKind(t, t.Context(), f, open(t, s), Configuration)
	if e.Stage != "proxy" || !strings.Contains(e.Hint, "proxy") {
		t.Errorf("stage %q, hint %q", e.Stage, e.Hint)
	}
	if errors.Is(e, context.DeadlineExceeded) {
		t.Error("the refusal of the proxy was not noticed")
	}
}
