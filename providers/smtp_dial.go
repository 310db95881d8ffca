package providers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/proxy"
)

// smtpDialer makes TCP connections, with separate bounds for the look-up of the
// host's name and for the whole.
type smtpDialer struct {
	net.Dialer
	network    string // tcp, or tcp4
	address    string
	dnsTimeout time.Duration
	proxy      *url.URL    // nil for none
	proxyTLS   *tls.Config // for a proxy that is talked to in TLS
}

// dialer makes the connections that the settings ask for.
func (s *SMTPSettings) dialer() (*smtpDialer, error) {
	local, err := s.localAddr()
	if err != nil {
		return nil, err
	}
	proxy, err := s.proxyURL()
	if err != nil {
		return nil, err
	}
	dialer := &smtpDialer{
		Dialer:     net.Dialer{Timeout: time.Duration(s.ConnectionTimeout), LocalAddr: local},
		network:    s.network(),
		address:    net.JoinHostPort(s.host(), strconv.Itoa(s.port())),
		dnsTimeout: time.Duration(s.DNSTimeout),
		proxy:      proxy,
	}
	if proxy != nil {
		dialer.proxyTLS = &tls.Config{ServerName: proxy.Hostname()}
	}
	return dialer, nil
}

// dial connects to the server, through the proxy if there is one.
func (d *smtpDialer) dial(ctx context.Context) (net.Conn, error) {
	if d.proxy == nil {
		return d.reach(ctx, d.address)
	}
	conn, err := d.dialProxy(ctx)
	if err != nil {
		return nil, &viaProxy{err}
	}
	return conn, nil
}

// reach connects to an address directly.
func (d *smtpDialer) reach(ctx context.Context, address string) (net.Conn, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	lookup := time.AfterFunc(d.dnsTimeout, func() { giveUp(&net.DNSError{Err: "timeout", IsTimeout: true}) })
	defer lookup.Stop()
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart: func(string, string) { lookup.Stop() },
	})
	conn, err := d.dialAside(traced, address)
	var slow *net.DNSError
	if err != nil && errors.As(context.Cause(ctx), &slow) {
		return nil, slow
	}
	return conn, err
}

// dialAside dials in a goroutine of its own. Dialling takes a deep stack, which
// the caller's goroutine would keep for as long as its mail waits.
func (d *smtpDialer) dialAside(ctx context.Context, address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err = d.DialContext(ctx, d.network, address)
	}()
	<-done
	return conn, err
}

// viaProxy marks a failure between us and the proxy, or of the proxy.
type viaProxy struct{ error }

func (e *viaProxy) Unwrap() error { return e.error }

var proxyPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// dialProxy opens a tunnel to the server. The proxy looks up the server's name.
func (d *smtpDialer) dialProxy(ctx context.Context) (net.Conn, error) {
	if d.Timeout > 0 { // bounds the tunnel together with the way to the proxy
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	port := d.proxy.Port()
	if port == "" {
		port = proxyPorts[d.proxy.Scheme]
	}
	address := net.JoinHostPort(d.proxy.Hostname(), port)
	conn, err := d.reach(ctx, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
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

func (d *smtpDialer) openTunnel(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	switch d.proxy.Scheme {
	case "http":
		return conn, d.connectHTTP(conn)
	case "https":
		secured := tls.Client(conn, d.proxyTLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		return secured, d.connectHTTP(secured)
	}
	return conn, d.connectSOCKS(ctx, conn, address)
}

// connectHTTP asks for a tunnel by CONNECT (RFC 9110, 9.3.6).
func (d *smtpDialer) connectHTTP(conn net.Conn) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: d.address}, Host: d.address, Header: http.Header{}}
	if user := d.proxy.User; user != nil {
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
			return errReplyTooLong
		}
		if _, err := conn.Read(one); err != nil {
			return err
		}
	}
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), request)
	if err != nil {
		return errNotHTTP
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return &proxyError{answer.StatusCode}
	}
	return nil
}

// maxProxyAnswer bounds the header of a proxy's answer, in bytes.
const maxProxyAnswer = 16 << 10

var errNotHTTP = errors.New("the proxy does not answer in HTTP")

// connectSOCKS asks for a tunnel by SOCKS5 (RFC 1928).
func (d *smtpDialer) connectSOCKS(ctx context.Context, conn net.Conn, address string) error {
	var login *proxy.Auth
	if user := d.proxy.User; user != nil {
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
	_, err = over.DialWithConn(ctx, conn, "tcp", d.address)
	return err
}

// explainProxy fills in what a failure at the proxy means to an operator, if
// that is what it was.
func explainProxy(e *Error, err error) {
	var (
		via     *viaProxy
		refused *proxyError
		op      *net.OpError
	)
	if !errors.As(err, &via) {
		return
	}
	e.Stage = "proxy"
	switch {
	case errors.As(err, &refused):
		e.Detail = refused.Error()
		if refused.status < 500 {
			e.Kind, e.Hint = Configuration, proxyHint
		}
	case errors.As(err, &op) && strings.HasPrefix(op.Op, "socks") && socksRefuses(op.Err):
		e.Kind, e.Hint = Configuration, proxyHint
	case errors.Is(err, errNotHTTP), errors.Is(err, errReplyTooLong):
		e.Kind, e.Detail, e.Hint = Configuration, errNotHTTP.Error(), "check the scheme and the port of proxy"
	case e.Kind == Configuration, errors.Is(err, syscall.ECONNREFUSED):
		e.Hint = "this is about the way to the proxy: check proxy"
	}
}
