package providers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"logto-email-relay/settings"
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
	p.listener = listen(t)
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

func TestSMTPProxyFailures(t *testing.T) {
	answers := func(text string) func(*testProxy, net.Conn, *bufio.Reader) bool {
		return func(_ *testProxy, conn net.Conn, reader *bufio.Reader) bool {
			_, _ = reader.ReadByte()
			_, _ = io.WriteString(conn, text)
			_, _ = io.Copy(io.Discard, reader) // until the client has had enough
			return false
		}
	}
	closes := func(_ *testProxy, _ net.Conn, reader *bufio.Reader) bool { _, _ = reader.ReadByte(); return false }
	for _, test := range []struct {
		name, scheme string
		login        string
		handshake    func(*testProxy, net.Conn, *bufio.Reader) bool
		kind         Kind
		words        string
	}{
		{"wrong password", "http", "relay:other", connectProxy, Configuration, "407: the proxy refuses"},
		{"forbidden", "http", "", answers("HTTP/1.1 403 Forbidden\r\n\r\n"), Configuration, "403: the proxy refuses"},
		{"server not reached", "http", "", answers("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!"), Temporary, "502"},
		{"not HTTP", "http", "", answers("220 smtp.example.com ESMTP\r\n\r\n"), Configuration, "HTTP: check the scheme"},
		{"endless header", "http", "", answers("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), Configuration, "HTTP"},
		{"closes", "http", "", closes, Temporary, "closed the connection"},
		{"says nothing", "http", "", answers(""), Temporary, "deadline"},
		{"not TLS", "https", "", answers("HTTP/1.1 400 Bad Request\r\n\r\n"), Configuration, "TLS"},
		{"SOCKS, wrong password", "socks5", "relay:other", socksProxy, Configuration, "refuses"},
		{"SOCKS, no method", "socks5", "", answers("\x05\xff"), Configuration, "refuses"},
		{"SOCKS, not allowed", "socks5", "", answers("\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"), Configuration, "refuses"},
		{"SOCKS, server not reached", "socks5", "", answers("\x05\x00\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"), Temporary, "unreachable"},
		{"SOCKS, closes", "socks5", "", closes, Temporary, "closed the connection"},
		{"SOCKS, says nothing", "socks5", "", answers(""), Temporary, "deadline"},
		{"SOCKS, not SOCKS", "socks5", "", answers("HTTP/1.1 400 Bad Request\r\n\r\n"), Temporary, "version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := startProxy(t, nil, &testProxy{login: test.login}, test.handshake)
			login := "relay:pr0xy-pa55word@"
			if test.login == "" {
				login = ""
			}
			provider := openSMTP(t, 25, func(s *SMTPSettings) {
				s.Host = "mail.example"
				s.Proxy = settings.NewSecret(test.scheme + "://" + login + proxy.listener.Addr().String())
			})
			limit := 20 * time.Second // against a hang only
			if test.words == "deadline" {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := provider.Send(ctx, smtpMessage())
			e := asSMTPError(t, err)
			if e.Kind != test.kind || !strings.Contains(e.Error(), test.words) {
				t.Errorf("%v, want %v with %q", e, test.kind, test.words)
			}
			if e.Stage != "proxy" && test.words != "deadline" {
				t.Errorf("stage %q", e.Stage)
			}
			if e.Stage == "proxy" && !strings.Contains(e.Detail+e.Hint, "proxy") {
				t.Errorf("the proxy is not named: %v", e)
			}
			if strings.Contains(fmt.Sprintf("%+v", e), "pa55word") {
				t.Errorf("the error tells the password: %v", e)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		listener := listen(t)
		_ = listener.Close()
		provider := openSMTP(t, 25, func(s *SMTPSettings) {
			s.Proxy = settings.NewSecret("socks5://" + listener.Addr().String())
		})
		_, err := provider.Send(shortly(t), smtpMessage())
		if e := asSMTPError(t, err); e.Kind != Temporary || e.Stage != "proxy" || !strings.Contains(e.Hint, "proxy") {
			t.Error(e)
		}
	})
}

// The way to the proxy leaves from localAddress too.
func TestSMTPProxyWithLocalAddress(t *testing.T) {
	if probe, err := net.Listen("tcp", "127.0.0.9:0"); err != nil {
		t.Skipf("127.0.0.9 cannot be used here: %v", err)
	} else {
		probe.Close()
	}
	fake := (&fakeSMTP{}).start(t)
	proxy := startProxy(t, nil, &testProxy{target: fake.listener.Addr().String()}, connectProxy)
	provider := openSMTP(t, fake.port(), func(s *SMTPSettings) {
		s.LocalAddress, s.Proxy = "127.0.0.9", settings.NewSecret("http://"+proxy.listener.Addr().String())
	})
	if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
		t.Fatal(err)
	}
	if from, _ := proxy.from.Load().(string); !strings.HasPrefix(from, "127.0.0.9:") {
		t.Errorf("came from %s", from)
	}
}

// With ipv4 no connection uses IPv6, whatever the host offers.
func TestIPv4(t *testing.T) {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	defer listener.Close()
	var taken atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			taken.Add(1)
			_ = conn.Close()
		}
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	dialSMTP := func(ipv4 bool) error {
		provider := openSMTP(t, port, func(s *SMTPSettings) { s.Host, s.IPv4 = "::1", ipv4 })
		_, err := provider.Send(shortly(t), smtpMessage())
		return err
	}
	dialHTTP := func(ipv4 bool) error {
		e := judge(shortly(t), openAPI(t, &Common{IPv4: ipv4}), "http://"+listener.Addr().String(), nil)
		if e == nil {
			return nil
		}
		return e
	}
	for name, dial := range map[string]func(bool) error{"SMTP": dialSMTP, "HTTP": dialHTTP} {
		taken.Store(0)
		var e *Error
		if err := dial(true); !errors.As(err, &e) || e.Kind != Configuration || !strings.Contains(e.Hint, "ipv4") {
			t.Errorf("%s: %v", name, err)
		}
		if taken.Load() != 0 {
			t.Errorf("%s: connected over IPv6", name)
		}
		if err := dial(false); !errors.As(err, &e) || e.Kind == Configuration || taken.Load() == 0 {
			t.Errorf("%s: without ipv4: %v, %d connections", name, err, taken.Load())
		}
	}
}
