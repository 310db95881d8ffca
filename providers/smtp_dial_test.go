package providers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"logto-email-relay/settings"
	"logto-email-relay/smtp/smtptest"
)

// proxyFailure is what may go wrong at a proxy.
type proxyFailure struct {
	name, scheme string
	login        string
	handshake    smtptest.Handshake
	kind         Kind
	words        string
}

func proxyFailures() []proxyFailure {
	answers := func(text string) smtptest.Handshake {
		return func(_ *smtptest.Proxy, conn net.Conn, reader *bufio.Reader) bool {
			_, _ = reader.ReadByte()
			_, _ = io.WriteString(conn, text)
			_, _ = io.Copy(io.Discard, reader) // until the client has had enough
			return false
		}
	}
	closes := func(_ *smtptest.Proxy, _ net.Conn, reader *bufio.Reader) bool { _, _ = reader.ReadByte(); return false }
	return []proxyFailure{
		{"wrong password", "http", "relay:other", smtptest.Connect, Configuration, "407: the proxy refuses"},
		{"forbidden", "http", "", answers("HTTP/1.1 403 Forbidden\r\n\r\n"), Configuration, "403: the proxy refuses"},
		{"server not reached", "http", "", answers("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!"), Temporary, "502"},
		{"failed", "http", "", answers("HTTP/1.1 500 Internal Server Error\r\n\r\n"), Temporary, "500"},
		{"not HTTP", "http", "", answers("220 smtp.example.com ESMTP\r\n\r\n"), Configuration, "HTTP: check the scheme"},
		{"endless header", "http", "", answers("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), Configuration, "HTTP"},
		{"closes", "http", "", closes, Temporary, "closed the connection"},
		{"says nothing", "http", "", answers(""), Temporary, "deadline"},
		{"not TLS", "https", "", answers("HTTP/1.1 400 Bad Request\r\n\r\n"), Configuration, "TLS"},
		{"SOCKS, wrong password", "socks5", "relay:other", smtptest.SOCKS, Configuration, "refuses"},
		{"SOCKS, no method", "socks5", "", answers("\x05\xff"), Configuration, "refuses"},
		{"SOCKS, not allowed", "socks5", "", answers("\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"), Configuration, "refuses"},
		{"SOCKS, server not reached", "socks5", "", answers("\x05\x00\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"), Temporary, "unreachable"},
		{"SOCKS, closes", "socks5", "", closes, Temporary, "closed the connection"},
		{"SOCKS, says nothing", "socks5", "", answers(""), Temporary, "deadline"},
		{"SOCKS, not SOCKS", "socks5", "", answers("HTTP/1.1 400 Bad Request\r\n\r\n"), Temporary, "version"},
	}
}

// start starts the proxy, and returns its address for a configuration, and a context that
// bounds the wait for it.
func (f *proxyFailure) start(t *testing.T) (settings.Secret, context.Context) {
	t.Helper()
	proxy := (&smtptest.Proxy{Login: f.login}).Start(t, nil, f.handshake)
	login := "relay:pr0xy-pa55word@"
	if f.login == "" {
		login = ""
	}
	limit := 20 * time.Second // against a hang only
	if f.words == "deadline" {
		limit = 200 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return settings.NewSecret(f.scheme + "://" + login + proxy.Addr().String()), ctx
}

func TestSMTPProxyFailures(t *testing.T) {
	for _, test := range proxyFailures() {
		t.Run(test.name, func(t *testing.T) {
			proxy, ctx := test.start(t)
			provider := openSMTP(t, 25, func(s *SMTPSettings) { s.Host, s.Proxy = "mail.example", proxy })
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
	proxy := (&smtptest.Proxy{Target: fake.Addr().String()}).Start(t, nil, smtptest.Connect)
	provider := openSMTP(t, fake.Port(), func(s *SMTPSettings) {
		s.LocalAddress, s.Proxy = "127.0.0.9", settings.NewSecret("http://"+proxy.Addr().String())
	})
	if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
		t.Fatal(err)
	}
	if from, _ := proxy.From.Load().(string); !strings.HasPrefix(from, "127.0.0.9:") {
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
