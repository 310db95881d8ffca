package smtptest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Proxy is a forward proxy that leads every connection to one target.
type Proxy struct {
	Target string
	Login  string // "user:password", asked for unless empty
	// Asked is what the last client asked for, From its address.
	Asked, From atomic.Value

	listener net.Listener
}

// Handshake agrees on a tunnel. When it returns true the connection is joined with
// the target.
type Handshake func(*Proxy, net.Conn, *bufio.Reader) bool

// Addr is where the proxy listens.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// Start accepts connections, in TLS if there is a configuration, until the test is
// over.
func (p *Proxy) Start(t testing.TB, config *tls.Config, handshake Handshake) *Proxy {
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
			p.From.Store(conn.RemoteAddr().String())
			if config != nil {
				conn = tls.Server(conn, config)
			}
			go func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				if !handshake(p, conn, reader) {
					return
				}
				far, err := net.Dial("tcp", p.Target)
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

// Connect speaks HTTP CONNECT.
func Connect(p *Proxy, conn net.Conn, reader *bufio.Reader) bool {
	request, err := http.ReadRequest(reader)
	if err != nil {
		return false
	}
	request.Header["Authorization"] = request.Header["Proxy-Authorization"]
	user, password, _ := request.BasicAuth()
	if p.Login != "" && user+":"+password != p.Login {
		_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return false
	}
	p.Asked.Store(request.Method + " " + request.RequestURI)
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	return true
}

// SOCKS speaks SOCKS5.
func SOCKS(p *Proxy, conn net.Conn, reader *bufio.Reader) bool {
	take := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(reader, b)
		return b
	}
	methods := take(int(take(2)[1]))
	if p.Login == "" {
		_, _ = conn.Write([]byte{5, 0})
	} else {
		if !strings.Contains(string(methods), "\x02") {
			_, _ = conn.Write([]byte{5, 0xff})
			return false
		}
		_, _ = conn.Write([]byte{5, 2})
		user := take(int(take(2)[1]))
		password := take(int(take(1)[0]))
		if string(user)+":"+string(password) != p.Login {
			_, _ = conn.Write([]byte{1, 1})
			return false
		}
		_, _ = conn.Write([]byte{1, 0})
	}
	name := take(int(take(5)[4]))
	port := take(2)
	p.Asked.Store(fmt.Sprintf("SOCKS %s:%d", name, int(port[0])<<8|int(port[1])))
	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return true
}
