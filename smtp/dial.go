package smtp

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/proxy"

	"logto-email-relay/dialing"
)

// Dialer makes TCP connections to a server.
type Dialer struct {
	Network string // tcp, or tcp4 for IPv4 alone
	Address string // host:port
	// TCP is how connections are made, to the server or its proxy. Its Timeout bounds the
	// tunnel as well.
	TCP dialing.Dialer
	// Proxy is http://, https://, socks5:// or socks5h://, with user and password
	// if it wants them; nil for none. It looks up the server's name.
	Proxy    *url.URL
	ProxyTLS *tls.Config // for an https:// proxy; nil for the usual one
}

// Dial connects to the server, through the proxy if there is one.
func (d *Dialer) Dial(ctx context.Context) (net.Conn, error) {
	if d.Proxy == nil {
		return d.TCP.DialContext(ctx, d.Network, d.Address)
	}
	conn, err := d.dialProxy(ctx)
	if err != nil {
		var refusal *ProxyError
		if !errors.As(err, &refusal) {
			refusal = &ProxyError{Err: err}
		}
		return nil, refusal
	}
	return conn, nil
}

var proxyPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// dialProxy opens a tunnel to the server.
func (d *Dialer) dialProxy(ctx context.Context) (net.Conn, error) {
	if d.TCP.Timeout > 0 { // bounds the tunnel together with the way to the proxy
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.TCP.Timeout)
		defer cancel()
	}
	address := net.JoinHostPort(d.Proxy.Hostname(), cmp.Or(d.Proxy.Port(), proxyPorts[d.Proxy.Scheme]))
	conn, err := d.TCP.DialContext(ctx, d.Network, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	tunnel, err := d.openTunnel(ctx, conn, address)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return tunnel, nil
}

func (d *Dialer) openTunnel(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	switch d.Proxy.Scheme {
	case "http":
		return conn, d.connectHTTP(conn)
	case "https":
		config := d.ProxyTLS
		if config == nil {
			config = &tls.Config{ServerName: d.Proxy.Hostname()}
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		return secured, d.connectHTTP(secured)
	}
	return conn, d.connectSOCKS(ctx, conn, address)
}

// connectHTTP asks for a tunnel by CONNECT (RFC 9110, 9.3.6).
func (d *Dialer) connectHTTP(conn net.Conn) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: d.Address}, Host: d.Address, Header: http.Header{}}
	if user := d.Proxy.User; user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
		request.Header["Proxy-Authorization"] = request.Header["Authorization"]
		request.Header.Del("Authorization")
	}
	if err := request.Write(conn); err != nil {
		return err
	}
	// The server's greeting may follow at once, so that not a byte more may be
	// read than belongs to the proxy's answer.
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one[0]) {
		if len(head) == maxProxyAnswer {
			return ErrNotHTTP
		}
		if _, err := conn.Read(one); err != nil {
			return err
		}
	}
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), request)
	if err != nil {
		return ErrNotHTTP
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return &ProxyError{Status: answer.StatusCode}
	}
	return nil
}

// maxProxyAnswer bounds the header of a proxy's answer, in bytes.
const maxProxyAnswer = 16 << 10

// connectSOCKS asks for a tunnel by SOCKS5 (RFC 1928).
func (d *Dialer) connectSOCKS(ctx context.Context, conn net.Conn, address string) error {
	var login *proxy.Auth
	if user := d.Proxy.User; user != nil {
		password, _ := user.Password()
		login = &proxy.Auth{User: user.Username(), Password: password}
	}
	dialer, err := proxy.SOCKS5("tcp", address, login, nil)
	if err != nil {
		return err
	}
	// Over a connection of ours, which stays the bare one: the pool looks at it.
	over, ok := dialer.(interface {
		DialWithConn(ctx context.Context, conn net.Conn, network, address string) (net.Addr, error)
	})
	if !ok {
		return fmt.Errorf("SOCKS5 over a given connection is not possible with %T", dialer)
	}
	_, err = over.DialWithConn(ctx, conn, "tcp", d.Address)
	return err
}
