package providers

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"logto-email-relay/dialing"
	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

const (
	// maxAnswer bounds what is read of a service's answer, in bytes.
	maxAnswer = 64 << 10
	// abandonedDial bounds a dial and a TLS handshake each. A mail's own
	// deadline ends the wait for them earlier, but Go lets them go on in the
	// background, where a hung one would hold a place among the connections.
	abandonedDial = 10 * time.Second
	// idleConnection is when a connection without use is closed. Load balancers
	// close theirs after 60 s; being earlier avoids sending into a closed one.
	idleConnection = 55 * time.Second
	// closingMargin is how long before the end that a server has named for an idle
	// connection it is no longer used, which is more than a request is on its way.
	closingMargin = time.Second
	// maxConnections bounds the connections that net/http takes for one request,
	// one after the other. It takes another when one is of no use before the
	// request has left, and has no bound of its own: a server that says goodbye to
	// each would keep it dialing up to the deadline.
	maxConnections = 10
	// quietTime is how long a pooled connection must have been quiet before it is
	// used again: what a server says too much it says in one go.
	quietTime = 2 * time.Millisecond
	// readerDelay bounds how long that may take to come about.
	readerDelay = 2 * time.Second
	// writtenDelay bounds how late it may become known that a request was written.
	writtenDelay = 100 * time.Millisecond
	// wholeRequest is a write buffer that most mails fit into. One that does goes
	// out in one write, and if that fails on a dead pooled connection, net/http
	// knows that nothing has left and takes another connection.
	wholeRequest = 32 << 10
)

// api is one service's own HTTP client and pool of connections. It has no
// timeout of its own: the context of a mail is the only deadline.
type api struct {
	client *http.Client
	base   *http.Transport
	next   atomic.Pointer[http.Transport] // in its place; nil for none yet
	// proxyDelay bounds the wait for a proxy and for what it leads to, until a request may
	// be sent.
	proxyDelay time.Duration
	isSOCKS    bool // the proxy
}

// newAPI makes the client that a provider's settings ask for. Logins are what it
// signs in with, for services that quote it.
func newAPI(c *Common, logins ...settings.Secret) (*api, error) {
	concurrent := c.Concurrent()
	local, err := c.localAddr()
	if err != nil {
		return nil, err
	}
	proxy, err := c.proxyURL()
	if err != nil {
		return nil, err
	}
	a := &api{proxyDelay: abandonedDial}
	dialer := &dialing.Dialer{LookupTimeout: abandonedDial, Timeout: abandonedDial, LocalAddr: local}
	a.base = &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			x := exchangeOf(ctx)
			x.atProxy.Store(proxy != nil)
			conn, err := dialer.DialContext(ctx, c.network(), address)
			if err != nil {
				return nil, err
			}
			w := &watched{Conn: conn}
			if proxy != nil {
				// A mail's deadline ends the wait for the proxy, too, but Go lets it go on in
				// the background.
				_ = conn.SetReadDeadline(time.Now().Add(a.proxyDelay))
				w.bounded.Store(true)
			}
			x.dialed.Store(w)
			return w, nil
		},
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    abandonedDial,
		MaxConnsPerHost:        concurrent,
		MaxIdleConns:           concurrent,
		MaxIdleConnsPerHost:    concurrent,
		IdleConnTimeout:        idleConnection,
		MaxResponseHeaderBytes: maxAnswer,
		WriteBufferSize:        wholeRequest,
		DisableCompression:     true,
		// An HTTP/2 connection that a middlebox has forgotten would swallow
		// every mail up to its deadline.
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 4 * time.Second, PingTimeout: 2 * time.Second},
		OnProxyConnectResponse: proxyVerdict,
	}
	if proxy != nil {
		a.base.Proxy = http.ProxyURL(proxy)
		a.isSOCKS = strings.HasPrefix(proxy.Scheme, "socks")
		if proxy.Scheme == "https" {
			a.base.DialTLSContext = a.dialProxy
		}
	}
	a.client = &http.Client{
		Transport: recorder{a, logins},
		// A redirect is answered, not followed: it would take the
		// credentials elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return a, nil
}

// dialProxy opens the TLS of an https proxy. net/http would offer it HTTP/2 as well, and
// then ask for the tunnel in HTTP/1.1 all the same (https://go.dev/issue/26479).
func (a *api) dialProxy(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := a.base.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config := new(tls.Config)
	if of := a.base.TLSClientConfig; of != nil {
		config = of.Clone()
	}
	config.ServerName, _, _ = net.SplitHostPort(address)
	config.NextProtos = []string{"http/1.1"}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// Close gives up the idle connections.
func (a *api) Close() error {
	a.transport().CloseIdleConnections()
	return nil
}

// exchange is what became of one request: how far it came, and what was
// answered. The vendors' own clients encode and sign; what came back is judged
// from here, because they hide headers, statuses or the side of a failure.
type exchange struct {
	begun      bool
	method     string
	atProxy    atomic.Bool             // it has come no further than to the proxy
	dialed     atomic.Pointer[watched] // for it, whichever connection it took
	handedOver atomic.Bool             // the last byte of the body has left
	status     int                     // zero: no answer came
	header     http.Header
	body       []byte // at most maxAnswer
	broken     bool   // it ended before its end
	logins     []settings.Secret
}

type exchangeKey struct{}

// withExchange returns a context whose HTTP request is recorded.
func withExchange(ctx context.Context) (context.Context, *exchange) {
	x := new(exchange)
	return context.WithValue(ctx, exchangeKey{}, x), x
}

// exchangeOf returns that of a request's context, nil if there is none. Whatever is dialed is
// dialed for one.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// request sends one request of a service that has no client of its own.
func (a *api) request(ctx context.Context, method, url string, header http.Header, body []byte) (*exchange, error) {
	ctx, x := withExchange(ctx)
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return x, err
	}
	request.Header = header
	response, err := a.client.Do(request)
	if err == nil {
		err = response.Body.Close()
	}
	return x, err
}

// transport is the one in use.
func (a *api) transport() *http.Transport { return cmp.Or(a.next.Load(), a.base) }

// renew has another take the place of a transport. What is under way ends on the old one.
func (a *api) renew(old *http.Transport) {
	next := old.Clone()
	if a.next.CompareAndSwap(nil, next) || a.next.CompareAndSwap(old, next) {
		old.CloseIdleConnections()
	}
}

// recorder fills the exchange of a request's context.
type recorder struct {
	api    *api
	logins []settings.Secret
}

// RoundTrip sends the request and reads the answer, bounded.
func (t recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	x := exchangeOf(request.Context())
	if x == nil {
		return nil, errors.New("the request is not of a mail")
	}
	x.begun, x.method, x.logins = true, request.Method, t.logins
	if err := replayable(request); err != nil {
		return nil, err
	}
	ctx, giveUp := context.WithCancelCause(request.Context())
	defer giveUp(nil)
	connections := 0
	var used atomic.Pointer[watched] // by the last try
	transport := t.api.transport()
	request = request.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: func() {
			if t.api.isSOCKS { // another kind may have one of its own first
				x.atProxy.Store(false)
			}
		},
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			// Its mail may be over. What comes so late is for the next one.
			if !x.atProxy.Load() {
				x.dialed.Load().release()
			}
		},
		GotConn: func(info httptrace.GotConnInfo) {
			x.atProxy.Store(false)
			raw, isHTTP2 := unwrapped(info.Conn)
			raw.release()
			if !isHTTP2 && info.Reused && !raw.isUsable(ctx, info.IdleTime) {
				_ = info.Conn.Close() // nothing is written on it, so that another one is taken
				return
			}
			used.Store(raw)
			connections++
			if connections > maxConnections {
				giveUp(errNoUse)
			}
			if connections > 1 && request.Header.Get("Idempotency-Key")+request.Header.Get("X-Idempotency-Key") == "" {
				// net/http begins again only with what nobody can have taken, unless one of
				// these says that the service knows a repeated request.
				x.handedOver.Store(false)
			}
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				x.handedOver.Store(true)
			}
		},
	}))
	request.Header = request.Header.Clone()
	request.Header.Set("Accept-Encoding", "identity") // without it any coding is acceptable (RFC 9110, 12.5.3)
	response, err := transport.RoundTrip(request)
	conn := used.Load()
	switch {
	case conn == nil:
	case err == nil:
		conn.lost.Store(0)
		conn.keptFor.Store(int64(keepAlive(response.Header)))
	case conn.lost.Add(1) >= mostLost:
		t.api.renew(transport)
	}
	if err != nil {
		if conn != nil && ctx.Err() == nil { // the reset of a request may overtake the news that it has left
			x.hasBeenWritten()
		}
		if errors.Is(context.Cause(ctx), errNoUse) {
			err = errNoUse
		}
		return nil, err
	}
	x.status, x.header = response.StatusCode, response.Header
	body := response.Body
	// What follows a switch of protocols is no answer, and net/http lets it go on
	// after the deadline.
	if x.status != http.StatusSwitchingProtocols {
		stop := context.AfterFunc(ctx, func() { _ = body.Close() })
		// What could not be read is treated as what was not said: the status has
		// arrived, and each service's rules decide what it is worth alone.
		x.body, err = io.ReadAll(io.LimitReader(body, maxAnswer))
		x.broken = err != nil
		x.unzip()
		x.body = bytes.TrimPrefix(x.body, []byte("\ufeff")) // before JSON, by some servers
		stop()
	}
	_ = body.Close()
	if x.status <= 299 && !x.hasBeenWritten() {
		x.status, x.header, x.body = 0, nil, nil
		x.handedOver.Store(true) // the rest may have left since
		return nil, errUnasked
	}
	response.Body = io.NopCloser(bytes.NewReader(x.body))
	response.ContentLength = int64(len(x.body))
	return response, nil
}

// unzip decodes an answer that came compressed all the same.
func (x *exchange) unzip() {
	if !strings.EqualFold(x.header.Get("Content-Encoding"), "gzip") {
		return
	}
	x.header.Del("Content-Encoding") // which the service's own client would go by
	unzipped, err := gzip.NewReader(bytes.NewReader(x.body))
	if err != nil {
		return // it is not compressed, or nothing
	}
	x.body, err = io.ReadAll(io.LimitReader(unzipped, maxAnswer))
	x.broken = x.broken || err != nil
}

// hasBeenWritten tells whether the whole request has left. The news of that may
// come a moment after the answer.
func (x *exchange) hasBeenWritten() bool {
	for began := time.Now(); !x.handedOver.Load(); time.Sleep(quietTime) {
		if time.Since(began) > writtenDelay {
			return false
		}
	}
	return true
}

var (
	errNoUse   = errors.New("the server takes no request on any connection")
	errUnasked = errors.New("an answer came before the request was complete")
)

// watched is a connection that knows since when its reader has been waiting for
// the server.
type watched struct {
	net.Conn
	since   atomic.Pointer[time.Time] // nil while it does not wait
	closed  atomic.Bool
	lost    atomic.Int32 // requests in a row without an answer
	keptFor atomic.Int64 // how long the server keeps it without use, in ns; zero if it has not said
	bounded atomic.Bool  // reads have a deadline of their own
}

// Close marks the connection as closed.
func (c *watched) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// release ends the deadline of reads, if there is one.
func (c *watched) release() {
	if c != nil && c.bounded.Swap(false) {
		_ = c.SetReadDeadline(time.Time{})
	}
}

// Read marks the time that it takes.
func (c *watched) Read(b []byte) (int, error) {
	now := time.Now()
	c.since.Store(&now)
	defer c.since.Store(nil)
	return c.Conn.Read(b)
}

// isQuiet tells whether the reader has been waiting for a moment, and there is
// nothing for it.
func (c *watched) isQuiet(ctx context.Context) bool {
	for began := time.Now(); time.Since(began) < readerDelay && !c.closed.Load() && ctx.Err() == nil; {
		missing := quietTime
		if since := c.since.Load(); since != nil {
			missing -= time.Since(*since)
		}
		if missing <= 0 {
			return smtp.Quietness(c.Conn)()
		}
		time.Sleep(missing)
	}
	return false
}

// isUsable tells whether a pooled HTTP/1 connection may be used again. One that is not quiet
// before anything was asked may have a second answer to the request before, which net/http
// would take for the answer to this one if it came to look late. On one that the server is
// about to close, a request would be in doubt that crosses that on its way.
//
// HTTP/2 knows by itself which answer belongs to which request, and which request came too late.
func (c *watched) isUsable(ctx context.Context, idle time.Duration) bool {
	if c == nil {
		return true
	}
	kept := time.Duration(c.keptFor.Load())
	return (kept == 0 || idle < kept-closingMargin) && c.isQuiet(ctx)
}

// mostLost is how many requests in a row may end without an answer on an HTTP/2 connection.
// Its other end may have forgotten it, accept requests and never answer them, or take no more of
// them, since it does not say that it has read the ones before. In HTTP/1 a connection ends with
// the request that ran out of time; in HTTP/2 it would be used for the next mail, so that later
// requests get a new one.
const mostLost = 2

// unwrapped returns what a connection stands on, nil if it is none of ours, and whether
// HTTP/2 is spoken over it.
func unwrapped(conn net.Conn) (raw *watched, isHTTP2 bool) {
	for {
		secured, ok := conn.(*tls.Conn)
		if !ok {
			raw, _ = conn.(*watched)
			return raw, isHTTP2
		}
		isHTTP2 = isHTTP2 || secured.ConnectionState().NegotiatedProtocol == "h2"
		conn = secured.NetConn()
	}
}

// keepAlive returns how long a server keeps a connection without use, zero if it does not say.
// Node's does, and its clients go by it (RFC 2068, 19.7.1.1, and https://github.com/nodejs/node/pull/59315).
func keepAlive(header http.Header) time.Duration {
	for parameter := range strings.SplitSeq(header.Get("Keep-Alive"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		seconds, err := strconv.ParseUint(value, 10, 16)
		if err == nil && strings.EqualFold(name, "timeout") {
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}

// replayable lets net/http replace a pooled connection that turns out to be
// dead before a byte was written, which it does only for a body that it can
// have again.
func replayable(request *http.Request) error {
	if request.Body == nil || request.GetBody != nil {
		return nil
	}
	body, err := io.ReadAll(request.Body)
	_ = request.Body.Close()
	if err != nil {
		return err
	}
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	request.Body, _ = request.GetBody()
	request.ContentLength = int64(len(body))
	return nil
}
