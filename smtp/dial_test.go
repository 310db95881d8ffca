package smtp

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// testProxy is a forward proxy that leads every connection to one target.
type testProxy struct {
	listener    net.Listener
	target      string
	login       string // "user:password", asked for unless empty
	asked, from atomic.Value
}

// startProxy accepts connections and lets handshake agree on a tunnel. When it
// returns true the connection is joined with the target.
func startProxy(t *testing.T, config *tls.Config, p *testProxy, handshake func(*testProxy, net.Conn, *bufio.Reader) bool) *testProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	p.listener = listener
	go func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			p.from.Store(conn.RemoteAddr().String())
			if config != nil {
				conn = tls.Server(conn, config)
			}
			go func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				if !handshake(p, conn, reader) {
					return
				}
				far, err := net.Dial("tcp", p.target)
				if err != nil {
					return
				}
				defer far.Close()
				go func() { _, _ = io.Copy(far, reader); _ = far.Close() }()
				_, _ = io.Copy(conn, far)
			}()
		}
	}()
	return p
}

// connectProxy speaks HTTP CONNECT.
func connectProxy(p *testProxy, conn net.Conn, reader *bufio.Reader) bool {
	request, err := http.ReadRequest(reader)
	if err != nil {
		return false
	}
	request.Header["Authorization"] = request.Header["Proxy-Authorization"]
	user, password, _ := request.BasicAuth()
	if p.login != "" && user+":"+password != p.login {
		_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return false
	}
	p.asked.Store(request.Method + " " + request.RequestURI)
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	return true
}

// socksProxy speaks SOCKS5.
func socksProxy(p *testProxy, conn net.Conn, reader *bufio.Reader) bool {
	take := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(reader, b)
		return b
	}
	methods := take(int(take(2)[1]))
	if p.login == "" {
		_, _ = conn.Write([]byte{5, 0})
	} else {
		if !strings.Contains(string(methods), "\x02") {
			_, _ = conn.Write([]byte{5, 0xff})
			return false
		}
		_, _ = conn.Write([]byte{5, 2})
		user := take(int(take(2)[1]))
		password := take(int(take(1)[0]))
		if string(user)+":"+string(password) != p.login {
			_, _ = conn.Write([]byte{1, 1})
			return false
		}
		_, _ = conn.Write([]byte{1, 0})
	}
	name := take(int(take(5)[4]))
	port := take(2)
	p.asked.Store(fmt.Sprintf("SOCKS %s:%d", name, int(port[0])<<8|int(port[1])))
	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return true
}

// Mails go through a proxy to a host that only the proxy can find, in TLS that
// ends at the server.
func TestProxy(t *testing.T) {
	server, client := testCertificate(t)
	const login = "relay:pr0xy-pa55word"
	for _, test := range []struct {
		scheme    string
		login     string
		handshake func(*testProxy, net.Conn, *bufio.Reader) bool
		asked     string
	}{
		{"http", "", connectProxy, "CONNECT mail.example:"},
		{"http", login, connectProxy, "CONNECT mail.example:"},
		{"https", login, connectProxy, "CONNECT mail.example:"},
		{"socks5", "", socksProxy, "SOCKS mail.example:"},
		{"socks5", login, socksProxy, "SOCKS mail.example:"},
	} {
		for _, implicit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s login=%v implicit=%v", test.scheme, test.login != "", implicit), func(t *testing.T) {
				fake := (&fakeServer{extensions: []string{"STARTTLS", "PIPELINING", "AUTH PLAIN"}, tls: server, implicit: implicit}).start(t)
				var config *tls.Config
				if test.scheme == "https" {
					config = server
				}
				proxy := startProxy(t, config, &testProxy{target: fake.listener.Addr().String(), login: test.login}, test.handshake)
				address := &url.URL{Scheme: test.scheme, Host: proxy.listener.Addr().String()}
				if test.login != "" {
					user, password, _ := strings.Cut(test.login, ":")
					address.User = url.UserPassword(user, password)
				}
				_, port, _ := net.SplitHostPort(fake.listener.Addr().String())
				dialer := Dialer{Network: "tcp", Address: "mail.example:" + port, Proxy: address, ProxyTLS: client, Timeout: 20 * time.Second}
				pool := testPool(t, fake, withLogin, func(c *Config) {
					c.Dial, c.TLS, c.ClearTextLogin = dialer.Dial, client, false
					if c.TLSMode = TLSRequired; implicit {
						c.TLSMode = TLSImplicit
					}
				})
				for range 3 {
					if _, err := send(t, pool, testMessage()); err != nil {
						t.Fatal(err)
					}
				}
				connections, _, mails := fake.seen()
				if connections != 1 || len(mails) != 3 {
					t.Errorf("%d mails over %d connections", len(mails), connections)
				}
				if want := test.asked + port; proxy.asked.Load() != want {
					t.Errorf("the proxy was asked for %q, want %q", proxy.asked.Load(), want)
				}
			})
		}
	}
}

// What goes wrong at a proxy is told apart from what goes wrong behind it.
func TestProxyFailures(t *testing.T) {
	for _, test := range []struct {
		name, scheme, login, answer string
		status                      int
		words                       string
	}{
		{"wrong password", "http", "relay:other", "", 407, "407"},
		{"forbidden", "http", "", "HTTP/1.1 403 Forbidden\r\n\r\n", 403, "403"},
		{"server not reached", "http", "", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!", 502, "502"},
		{"not HTTP", "http", "", "220 smtp.example.com ESMTP\r\n\r\n", 0, ErrNotHTTP.Error()},
		{"endless header", "http", "", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20), 0, ErrNotHTTP.Error()},
		{"says nothing", "http", "", "", 0, "timeout"},
		{"not TLS", "https", "", "HTTP/1.1 400 Bad Request\r\n\r\n", 0, "tls:"},
		{"no method", "socks5", "", "\x05\xff", 0, "authentication"},
		{"not allowed", "socks5", "", "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", 0, "not allowed by ruleset"},
		{"SOCKS says nothing", "socks5", "", "", 0, "timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			handshake := func(_ *testProxy, conn net.Conn, reader *bufio.Reader) bool {
				_, _ = reader.ReadByte()
				_, _ = io.WriteString(conn, test.answer)
				_, _ = io.Copy(io.Discard, reader) // until the client has had enough
				return false
			}
			if test.login != "" {
				handshake = connectProxy
			}
			proxy := startProxy(t, nil, &testProxy{login: "relay:right"}, handshake)
			limit := 10 * time.Second // against a hang only
			if test.words == "timeout" {
				limit = 200 * time.Millisecond
			}
			dialer := Dialer{Network: "tcp", Address: "mail.example:25", Timeout: limit,
				Proxy: &url.URL{Scheme: test.scheme, Host: proxy.listener.Addr().String(), User: url.UserPassword("relay", "pr0xy-pa55word")}}
			if test.scheme == "socks5" {
				dialer.Proxy.User = nil
			}
			_, err := send(t, testPool(t, new(fakeServer).prepare(t), func(c *Config) { c.Dial = dialer.Dial }), testMessage())
			var via *ProxyError
			if failed(t, err).Stage != AtProxy || !errors.As(err, &via) || via.Status != test.status || !strings.Contains(err.Error(), test.words) {
				t.Error(err)
			}
			if strings.Contains(err.Error(), "pa55word") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}
