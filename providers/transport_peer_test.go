package providers

import (
	"bufio"
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
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"logto-email-relay/settings"
	"logto-email-relay/smtp/smtptest"
)

// serveRaw serves each connection of a listener.
func serveRaw(t *testing.T, listener net.Listener, serve func(net.Conn)) {
	t.Helper()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(connection)
		}
	}()
}

// answersRaw reads requests and writes what answer returns for each.
func answersRaw(answer func(request int) []string, said ...chan bool) func(net.Conn) {
	return func(connection net.Conn) {
		defer func() { _ = connection.Close() }()
		reader := bufio.NewReader(connection)
		for n := 0; ; n++ {
			request, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			for _, part := range answer(n) {
				if _, err := io.WriteString(connection, part); err != nil {
					return
				}
			}
			for _, done := range said {
				done <- true
			}
		}
	}
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nand more "

// A server that switches protocols leaves no mail waiting, and no goroutine.
func TestNoProtocolIsSwitchedTo(t *testing.T) {
	for name, makeFixture := range fixtures {
		f := makeFixture()
		if f.http == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			listener := listen(t)
			serveRaw(t, listener, answersRaw(func(int) []string { return []string{switching} }))
			provider := open(t, f.settings("http://"+listener.Addr().String()))
			before := runtime.NumGoroutine()
			for range 5 {
				e := wantKind(t, t.Context(), f, provider, Uncertain)
				if e.Code != "101" || errors.Is(e, context.DeadlineExceeded) {
					t.Errorf("%v", e)
				}
				if verifier, ok := provider.(Verifier); ok {
					verifyFails(t, t.Context(), f, verifier, Temporary, "101")
				}
			}
			eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
		})
	}
}

func TestNoTokenWithAnotherProtocol(t *testing.T) {
	listener := listen(t)
	serveRaw(t, listener, answersRaw(func(int) []string { return []string{switching} }))
	s := newSMTPSettings()
	s.Auth = &SMTPAuth{Type: "OAuth2", User: "u@acme.example", ClientID: "c", ClientSecret: settings.NewSecret("s"),
		AccessURL: "http://" + listener.Addr().String()}
	tokens, err := s.tokenSource()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, _, e := tokens.Token(ctx)
	if e == nil || ctx.Err() != nil {
		t.Errorf("%v, %v", e, ctx.Err())
	}
}

// A body that stands still ends with the mail's time, whatever came before it.
func TestABodyWithoutEnd(t *testing.T) {
	for name, head := range map[string]string{
		"length":  "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\n{",
		"chunked": "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
		"close":   "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n{",
		"hints":   "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
		"head":    "HTTP/1.1 400 Bad",
	} {
		t.Run(name, func(t *testing.T) {
			listener := listen(t)
			serveRaw(t, listener, answersRaw(func(int) []string { return []string{head} }))
			a := openAPI(t, &Common{})
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			began := time.Now()
			if e := judge(ctx, a, "http://"+listener.Addr().String(), []byte("{}")); e == nil {
				t.Error("accepted")
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			_ = a.Close()
			eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
		})
	}
}

// An answer that nobody asked for yet is not the one to the next mail, in however
// many pieces it comes.
func TestAnAnswerBeforeTheQuestion(t *testing.T) {
	log.SetOutput(io.Discard) // net/http tells of them there
	defer log.SetOutput(os.Stderr)
	const one, two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"
	for name, parts := range map[string][]string{
		"together": {one + two}, "apart": {one, two}, "a piece": {one + two[:20]}, "a byte": {one + two[:1]},
		"empty": {one + "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"},
	} {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " over TLS: ", secured), func(t *testing.T) {
				listener, a := listen(t), openAPI(t, &Common{})
				address := "http://" + listener.Addr().String()
				if secured {
					listener, address = secure(t, a, listener)
				}
				said := make(chan bool, 1)
				serveRaw(t, listener, answersRaw(func(int) []string { return parts }, said))
				for range 200 {
					x, err := a.request(t.Context(), http.MethodPost, address, http.Header{}, []byte("{}"))
					if e := x.refusal(plainMessage(), err, func(*exchange) Error { return Error{} }); e != nil {
						t.Fatal(e)
					}
					if x.status != 200 {
						t.Fatalf("the answer %d was taken", x.status)
					}
					<-said
				}
			})
		}
	}
}

// secure lays TLS over a listener and lets a client trust it.
func secure(t *testing.T, a *api, listener net.Listener) (net.Listener, string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	a.base.TLSClientConfig = &tls.Config{RootCAs: roots}
	return tls.NewListener(listener, &tls.Config{Certificates: server.TLS.Certificates}), "https://" + listener.Addr().String()
}

// An acceptance that comes while the mail is still being written is none.
func TestAnAnswerBeforeTheEndOfTheQuestion(t *testing.T) {
	listener := listen(t)
	serveRaw(t, listener, func(connection net.Conn) {
		_, _ = connection.Read(make([]byte, 100))
		_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		time.Sleep(time.Second)
		_ = connection.Close()
	})
	a := openAPI(t, &Common{})
	if e := judge(t.Context(), a, "http://"+listener.Addr().String(), make([]byte, 32<<20)); e == nil || e.Kind != Uncertain {
		t.Errorf("%v, want uncertain", e)
	}
}

// net/http sends a request with a key of its own again, whose first one may have been taken. That
// the second one breaks off says nothing of it.
func TestARepeatedRequestThatBreaksOff(t *testing.T) {
	for _, key := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		listener := listen(t)
		var connections atomic.Int64
		serveRaw(t, listener, func(connection net.Conn) {
			defer func() { _ = connection.Close() }()
			if connections.Add(1) > 1 {
				_ = connection.(*net.TCPConn).SetLinger(0)
				return
			}
			reader := bufio.NewReader(connection)
			for _, answer := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", ""} {
				request, err := http.ReadRequest(reader)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, request.Body)
				_, _ = io.WriteString(connection, answer)
			}
		})
		a, url := openAPI(t, &Common{}), "http://"+listener.Addr().String()
		if e := judge(t.Context(), a, url, []byte("{}")); e != nil {
			t.Fatal(e)
		}
		x, err := a.request(t.Context(), http.MethodPost, url, http.Header{key: {"1"}}, make([]byte, 32<<20))
		if e := x.refusal(plainMessage(), err, func(*exchange) Error { return Error{} }); e == nil || e.Kind != Uncertain || connections.Load() < 2 {
			t.Errorf("%s: %v over %d connections", key, e, connections.Load())
		}
	}
}

// The news that a request has left may come a moment after its answer.
func TestTheNewsOfTheEndOfTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late, never := new(exchange), new(exchange)
		time.AfterFunc(writtenDelay/2, func() { late.handedOver.Store(true) })
		if began := time.Now(); !late.hasBeenWritten() || time.Since(began) > writtenDelay {
			t.Error("not waited for")
		}
		if began := time.Now(); never.hasBeenWritten() || time.Since(began) > writtenDelay+2*quietTime {
			t.Error("waited for what does not come")
		}
	})
}

// An HTTP/2 connection to a machine that lives and answers nothing any more is given up,
// whatever keeps it from that.
func TestAnHTTP2ConnectionWithoutAnswers(t *testing.T) {
	type number struct{}
	for name, of := range map[string]struct {
		bytes int // of a request
		stuck func(*http.Request)
		kind  Kind
	}{
		"takes requests":   {2, func(r *http.Request) { <-r.Context().Done() }, Uncertain},
		"reads no further": {4 << 20, func(r *http.Request) { <-r.Context().Done() }, Temporary},
		"resets requests": {2, func(r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}, Uncertain},
	} {
		t.Run(name, func(t *testing.T) {
			var connections, stuck atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Context().Value(number{}).(int64) <= stuck.Load() {
					of.stuck(r)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, "{}")
			}))
			server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
				return context.WithValue(ctx, number{}, connections.Add(1))
			}
			server.EnableHTTP2 = true
			server.StartTLS()
			t.Cleanup(server.Close)
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			a := openAPI(t, &Common{})
			a.base.TLSClientConfig = &tls.Config{RootCAs: roots}
			ask := func() *Error {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				return judge(ctx, a, server.URL, make([]byte, of.bytes))
			}
			for range 3 {
				if e := ask(); e != nil {
					t.Fatal(e)
				}
			}
			stuck.Store(connections.Load())
			for range 2 {
				if e := ask(); e == nil || e.Kind != of.kind {
					t.Errorf("%v, want %v", e, of.kind)
				}
			}
			for range 3 {
				if e := ask(); e != nil {
					t.Errorf("over another connection: %v", e)
				}
			}
		})
	}
}

// A connection that the server is about to close is not used any more, however many there are.
func TestAServerThatSaysWhenItCloses(t *testing.T) {
	const pooled = maxConnections + 2
	for header, want := range map[string]int64{
		"timeout=1":           pooled + 3, // which is no time to send something in
		"max=100, Timeout=60": pooled,
		"timeout=soon":        pooled,
	} {
		var connections atomic.Int64
		var arrived sync.WaitGroup
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/together" {
				arrived.Done()
				arrived.Wait()
			}
			w.Header().Set("Keep-Alive", header)
			_, _ = io.WriteString(w, "{}")
		}))
		server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			connections.Add(1)
			return ctx
		}
		server.Start()
		t.Cleanup(server.Close)
		a := openAPI(t, &Common{})
		var asking sync.WaitGroup
		arrived.Add(pooled)
		for range pooled {
			asking.Go(func() {
				if e := judge(t.Context(), a, server.URL+"/together", []byte("{}")); e != nil {
					t.Error(e)
				}
			})
		}
		asking.Wait()
		for range 3 {
			if e := judge(t.Context(), a, server.URL, []byte("{}")); e != nil {
				t.Errorf("%s: %v", header, e)
			}
		}
		if n := connections.Load(); n != want {
			t.Errorf("%s: %d connections, want %d", header, n, want)
		}
	}
}

// An HTTP/2 connection that a middlebox has forgotten is given up long before the deadline.
func TestAForgottenHTTP2Connection(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "{}")
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	var connections, forgotten atomic.Int64
	middlebox := listen(t)
	serveRaw(t, middlebox, func(near net.Conn) {
		defer func() { _ = near.Close() }()
		number := connections.Add(1)
		far, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			return
		}
		defer func() { _ = far.Close() }()
		go func() { _, _ = io.Copy(near, far) }()
		for b := make([]byte, 4096); ; {
			n, err := near.Read(b)
			if err != nil {
				return
			}
			if number > forgotten.Load() {
				_, _ = far.Write(b[:n])
			}
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	a := openAPI(t, &Common{})
	a.base.TLSClientConfig = &tls.Config{RootCAs: roots}
	url := "https://" + middlebox.Addr().String()
	if e := judge(t.Context(), a, url, []byte("{}")); e != nil {
		t.Fatal(e)
	}
	forgotten.Store(connections.Load())
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if e := judge(ctx, a, url, []byte("{}")); e == nil || e.Kind != Uncertain {
		t.Errorf("%v", e)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("given up after %v", took)
	}
	if e := judge(ctx, a, url, []byte("{}")); e != nil {
		t.Errorf("over another connection: %v", e)
	}
}

// A server that says goodbye on every HTTP/2 connection is given up soon, and has
// taken nothing.
func TestGoodbyeOnEveryConnection(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	certificates := server.TLS.Certificates
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	server.Close()

	listener := tls.NewListener(listen(t), &tls.Config{Certificates: certificates, NextProtos: []string{"h2"}})
	serveRaw(t, listener, func(connection net.Conn) {
		defer func() { _ = connection.Close() }()
		connections.Add(1)
		if _, err := io.ReadFull(connection, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		framer := http2.NewFramer(connection, connection)
		_ = framer.WriteSettings()
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
				_ = framer.WriteGoAway(0, http2.ErrCodeNo, nil)
				return
			}
		}
	})
	a := openAPI(t, &Common{})
	a.base.TLSClientConfig = &tls.Config{RootCAs: roots}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	began := time.Now()
	e := judge(ctx, a, "https://"+listener.Addr().String(), []byte("{}"))
	if e == nil || e.Kind != Temporary || ctx.Err() != nil {
		t.Errorf("%v after %v", e, time.Since(began))
	}
	// A busy machine may have dialled one or two that nobody used.
	if n := connections.Load(); n > 2*maxConnections {
		t.Errorf("%d connections", n)
	}
	t.Logf("%d connections in %v: %v", connections.Load(), time.Since(began), e)
}

// A proxy that takes the connection and says nothing, or not all, is waited for in
// the background no longer than a hung dial.
func TestASilentProxyIsLetGo(t *testing.T) {
	for _, test := range []struct{ scheme, says string }{{"http", ""}, {"socks5", ""}, {"http", "HTTP/1.1 200"}, {"socks5", "\x05\x00"}} {
		scheme := test.scheme
		t.Run(fmt.Sprintf("%s %q", scheme, test.says), func(t *testing.T) {
			t.Parallel()
			listener := listen(t)
			let := make(chan time.Time, 1)
			serveRaw(t, listener, func(connection net.Conn) {
				_, _ = io.WriteString(connection, test.says)
				_, _ = io.Copy(io.Discard, connection)
				let <- time.Now()
			})
			c := &Common{}
			if err := c.Proxy.UnmarshalText([]byte(scheme + "://" + listener.Addr().String())); err != nil {
				t.Fatal(err)
			}
			a := openAPI(t, c)
			a.proxyDelay = 200 * time.Millisecond
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if e := judge(ctx, a, "https://service.invalid", []byte("{}")); e == nil || e.Kind != Temporary {
				t.Errorf("%s: %v", scheme, e)
			}
			select {
			case at := <-let:
				t.Logf("%s: let go after %v", scheme, at.Sub(began))
			case <-time.After(10 * time.Second): // against a hang only
				t.Errorf("%s: still waited for", scheme)
			}
		})
	}
}

// A connection that comes through a proxy when its mail is over is for the next one, and
// does not end with the time that the proxy had.
func TestALateConnectionIsKept(t *testing.T) {
	for scheme, handshake := range map[string]smtptest.Handshake{"http": smtptest.Connect, "socks5": smtptest.SOCKS} {
		t.Run(scheme, func(t *testing.T) {
			server := httptest.NewTLSServer(always(answer{200, nil, "{}"}))
			t.Cleanup(server.Close)
			mailIsOver := make(chan struct{})
			proxy := (&smtptest.Proxy{Target: server.Listener.Addr().String()}).Start(t, nil, func(p *smtptest.Proxy, conn net.Conn, reader *bufio.Reader) bool {
				<-mailIsOver
				return handshake(p, conn, reader)
			})
			a := openAPI(t, &Common{Proxy: settings.NewSecret(scheme + "://" + proxy.Addr().String())})
			a.base.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // for a host whose name the server bears
			dial := a.base.DialContext
			dialed := make(chan *watched, 1)
			a.base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				dialed <- conn.(*watched)
				return conn, err
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if e := judge(ctx, a, "https://service.invalid", []byte("{}")); e == nil || e.Stage != "proxy" {
				t.Errorf("got %v", e)
			}
			conn := <-dialed
			close(mailIsOver)
			eventually(t, "its reads have no deadline any more", func() bool { return !conn.bounded.Load() })
			if e := judge(t.Context(), a, "https://service.invalid", []byte("{}")); e != nil {
				t.Errorf("the next mail: %v", e)
			}
		})
	}
}

// A proxy that would rather speak HTTP/2 is spoken to in HTTP/1.1, in which the tunnel is asked for.
func TestAProxyThatKnowsHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(always(answer{200, nil, "{}"}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	config := &tls.Config{Certificates: server.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	proxy := (&smtptest.Proxy{Target: server.Listener.Addr().String()}).Start(t, config, func(p *smtptest.Proxy, conn net.Conn, reader *bufio.Reader) bool {
		secured := conn.(*tls.Conn)
		return secured.HandshakeContext(t.Context()) == nil && secured.ConnectionState().NegotiatedProtocol == "http/1.1" && smtptest.Connect(p, conn, reader)
	})
	a := openAPI(t, &Common{Proxy: settings.NewSecret("https://" + proxy.Addr().String())})
	a.base.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // for a host whose name the server bears
	x, err := a.request(t.Context(), http.MethodPost, "https://service.invalid", http.Header{}, []byte("{}"))
	if err != nil || x.status != 200 {
		t.Errorf("%d, %v", x.status, err)
	}
}

// A proxy whose certificate is for another host, or of nobody known, is none that is asked.
func TestAProxyIsWhoItSays(t *testing.T) {
	server := httptest.NewTLSServer(always(answer{200, nil, "{}"}))
	t.Cleanup(server.Close)
	proxy := (&smtptest.Proxy{Target: server.Listener.Addr().String()}).Start(t, &tls.Config{Certificates: server.TLS.Certificates}, smtptest.Connect)
	a := openAPI(t, &Common{Proxy: settings.NewSecret("https://" + proxy.Addr().String())})
	if e := judge(t.Context(), a, "https://service.invalid", []byte("{}")); e == nil || e.Stage != "proxy" || !strings.Contains(e.Detail, "certificate") {
		t.Errorf("got %v", e)
	}
}

// A mark at the start of a JSON text is none of it.
func TestAByteOrderMarkIsNoPartOfAnAnswer(t *testing.T) {
	server, _ := startServer(t, always(answer{200, nil, "\ufeff{}"}))
	x, err := openAPI(t, &Common{}).request(t.Context(), http.MethodPost, server.URL, http.Header{}, nil)
	if err != nil || !x.isObject() {
		t.Errorf("%q, %v", x.body, err)
	}
}
