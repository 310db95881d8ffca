package smtp

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"logto-email-relay/dialing"
	"logto-email-relay/smtp/smtptest"
)

// Mails go through a proxy to a host that only the proxy can find, in TLS that
// ends at the server.
func TestProxy(t *testing.T) {
	server, client := testCertificate(t)
	const login = "relay:pr0xy-pa55word"
	for _, test := range []struct {
		scheme    string
		login     string
		handshake smtptest.Handshake
		asked     string
	}{
		{"http", "", smtptest.Connect, "CONNECT mail.example:"},
		{"http", login, smtptest.Connect, "CONNECT mail.example:"},
		{"https", login, smtptest.Connect, "CONNECT mail.example:"},
		{"socks5", "", smtptest.SOCKS, "SOCKS mail.example:"},
		{"socks5", login, smtptest.SOCKS, "SOCKS mail.example:"},
	} {
		for _, implicit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s login=%v implicit=%v", test.scheme, test.login != "", implicit), func(t *testing.T) {
				fake := (&fakeServer{extensions: []string{"STARTTLS", "PIPELINING", "AUTH PLAIN"}, tls: server, implicit: implicit}).start(t)
				var config *tls.Config
				if test.scheme == "https" {
					config = server
				}
				proxy := (&smtptest.Proxy{Target: fake.Addr().String(), Login: test.login}).Start(t, config, test.handshake)
				address := &url.URL{Scheme: test.scheme, Host: proxy.Addr().String()}
				if test.login != "" {
					user, password, _ := strings.Cut(test.login, ":")
					address.User = url.UserPassword(user, password)
				}
				_, port, _ := net.SplitHostPort(fake.Addr().String())
				dialer := Dialer{Network: "tcp", Address: "mail.example:" + port, Proxy: address, ProxyTLS: client}
				if test.login != "" { // without a time-out it is as well
					dialer.TCP.Timeout = 20 * time.Second
				}
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
				connections, _, mails := fake.Seen()
				if connections != 1 || len(mails) != 3 {
					t.Errorf("%d mails over %d connections", len(mails), connections)
				}
				if want := test.asked + port; proxy.Asked.Load() != want {
					t.Errorf("the proxy was asked for %q, want %q", proxy.Asked.Load(), want)
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
			handshake := func(_ *smtptest.Proxy, conn net.Conn, reader *bufio.Reader) bool {
				_, _ = reader.ReadByte()
				_, _ = io.WriteString(conn, test.answer)
				_, _ = io.Copy(io.Discard, reader) // until the client has had enough
				return false
			}
			if test.login != "" {
				handshake = smtptest.Connect
			}
			proxy := (&smtptest.Proxy{Login: "relay:right"}).Start(t, nil, handshake)
			limit := 10 * time.Second // against a hang only
			if test.words == "timeout" {
				limit = 200 * time.Millisecond
			}
			dialer := Dialer{Network: "tcp", Address: "mail.example:25", TCP: dialing.Dialer{Timeout: limit},
				Proxy: &url.URL{Scheme: test.scheme, Host: proxy.Addr().String(), User: url.UserPassword("relay", "pr0xy-pa55word")}}
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

// FuzzProxyAnswer lets a proxy say anything. There is a tunnel after an answer that
// grants one, and an error without the password otherwise.
func FuzzProxyAnswer(f *testing.F) {
	f.Add(false, []byte("HTTP/1.1 200 Connection established\r\n\r\n220 mx.example"))
	f.Add(false, []byte("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno!"))
	f.Add(false, []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add(true, []byte("\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"))
	f.Add(true, []byte("\x05\x00\x05\x00\x00\x03\xff"))
	f.Fuzz(func(t *testing.T, socks bool, said []byte) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		go func() { _, _ = far.Write(said); _ = far.Close() }()
		defer near.Close()
		const password = "pr0xy-pa55word"
		d := Dialer{Address: "mail.example:25", Proxy: &url.URL{Scheme: "http", Host: "proxy.example", User: url.UserPassword("relay", password)}}
		var err error
		if socks {
			err = d.connectSOCKS(t.Context(), near, "proxy.example:1080")
		} else {
			err = d.connectHTTP(near)
		}
		if err == nil && !bytes.HasPrefix(said, []byte("HTTP/")) && !bytes.HasPrefix(said, []byte{5}) {
			t.Errorf("a tunnel after %q", said)
		}
		if strings.Contains(fmt.Sprintf("%+v", err), password) {
			t.Error(err)
		}
	})
}
