package providers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

const (
	// maxAnswer bounds what is read of a service's answer, in bytes.
	maxAnswer = 64 << 10
	// maxRetryAfter bounds how long a service can ask to be left alone.
	maxRetryAfter = time.Hour
	// abandonedDial bounds a dial and a TLS handshake each. A mail's own
	// deadline ends the wait for them earlier, but Go lets them go on in the
	// background, where a hung one would hold a place among the connections.
	abandonedDial = 10 * time.Second
	// idleConnection is when a connection without use is closed. Load balancers
	// close theirs after 60 s; being earlier avoids sending into a closed one.
	idleConnection = 55 * time.Second
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
	// proxyDelay bounds the wait for each answer of a proxy.
	proxyDelay time.Duration
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
	dialer := &net.Dialer{Timeout: abandonedDial, LocalAddr: local}
	a.base = &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, c.network(), address)
			if err != nil {
				return nil, err
			}
			if proxy != nil {
				// A mail's deadline ends the wait for the proxy, too, but Go lets it
				// go on for a minute in the background.
				_ = conn.SetReadDeadline(time.Now().Add(a.proxyDelay))
			}
			return &watched{Conn: conn, bounded: proxy != nil}, nil
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
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
		OnProxyConnectResponse: proxyVerdict,
	}
	if proxy != nil {
		a.base.Proxy = http.ProxyURL(proxy)
	}
	a.client = &http.Client{
		Transport: recorder{a.base, logins},
		// A redirect is answered, not followed: it would take the
		// credentials elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return a, nil
}

// Close gives up the idle connections.
func (a *api) Close() error {
	a.base.CloseIdleConnections()
	return nil
}

// exchange is what became of one request: how far it came, and what was
// answered. The vendors' own clients encode and sign; what came back is judged
// from here, because they hide headers, statuses or the side of a failure.
type exchange struct {
	begun      bool
	method     string
	handedOver atomic.Bool // the last byte of the body has left
	status     int         // zero: no answer came
	header     http.Header
	body       []byte // at most maxAnswer
	logins     []settings.Secret
}

type exchangeKey struct{}

// withExchange returns a context whose HTTP request is recorded.
func withExchange(ctx context.Context) (context.Context, *exchange) {
	x := new(exchange)
	return context.WithValue(ctx, exchangeKey{}, x), x
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

// recorder fills the exchange of a request's context.
type recorder struct {
	base   *http.Transport
	logins []settings.Secret
}

// RoundTrip sends the request and reads the answer, bounded.
func (t recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	x, ok := request.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errors.New("the request is not of a mail")
	}
	x.begun, x.method, x.logins = true, request.Method, t.logins
	if err := replayable(request); err != nil {
		return nil, err
	}
	ctx, giveUp := context.WithCancelCause(request.Context())
	defer giveUp(nil)
	connections := 0
	request = request.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			connections++
			if connections > maxConnections {
				giveUp(errNoUse)
			}
			if connections > 1 && request.Header.Get("Idempotency-Key") == "" {
				// net/http begins again only with what nobody can have taken, unless
				// the service knows a repeated request.
				x.handedOver.Store(false)
			}
			settle(info)
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				x.handedOver.Store(true)
			}
		},
	}))
	response, err := t.base.RoundTrip(request)
	if err != nil {
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
		x.body, _ = io.ReadAll(io.LimitReader(body, maxAnswer))
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
	bounded bool // the first read has a deadline of its own
}

// Close marks the connection as closed.
func (c *watched) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// Read marks the time that it takes.
func (c *watched) Read(b []byte) (int, error) {
	now := time.Now()
	c.since.Store(&now)
	defer c.since.Store(nil)
	n, err := c.Conn.Read(b)
	if c.bounded && err == nil {
		c.bounded = false
		err = c.SetReadDeadline(time.Time{})
	}
	return n, err
}

// isQuiet tells whether the reader has been waiting for a moment, and there is
// nothing for it.
func (c *watched) isQuiet() bool {
	for began := time.Now(); time.Since(began) < readerDelay && !c.closed.Load(); {
		missing := quietTime
		if since := c.since.Load(); since != nil {
			missing -= time.Since(*since)
		}
		if missing <= 0 {
			return !hasUnread(c.Conn)
		}
		time.Sleep(missing)
	}
	return false
}

// settle closes a pooled HTTP/1 connection that is not quiet before anything was
// asked, such as one with a second answer to the request before: net/http would
// take it for the answer to this one if it came to look late. On a closed
// connection nothing is written, so that another one is taken.
//
// HTTP/2 knows by itself which answer belongs to which request.
func settle(info httptrace.GotConnInfo) {
	conn := info.Conn
	for {
		secured, ok := conn.(*tls.Conn)
		if !ok {
			break
		}
		if secured.ConnectionState().NegotiatedProtocol == "h2" {
			return
		}
		conn = secured.NetConn()
	}
	if raw, ok := conn.(*watched); ok && info.Reused && !raw.isQuiet() {
		_ = info.Conn.Close()
	}
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

// refusal returns nil if the service answered 2xx, and otherwise the failure.
// The service's own table says what an answer means; where it says nothing (a
// zero Kind), the status does. err is what the client returned.
func (x *exchange) refusal(m *mail.Message, err error, table func(*exchange) Error) *Error {
	if x.status == 0 {
		return x.networkError(err)
	}
	if x.is2xx() {
		return nil
	}
	return x.failure(m, err, table(x))
}

// is2xx tells whether the status is one of success.
func (x *exchange) is2xx() bool { return x.status >= 200 && x.status <= 299 }

// verdict is refusal for a request of Verify, where there is no mail that could
// be at fault or on its way.
func (x *exchange) verdict(err error, table func(*exchange) Error) *Error {
	e := x.refusal(nil, err, table)
	if e == nil {
		return nil
	}
	switch e.Kind {
	case Uncertain:
		e.Kind = Temporary
	case Recipient, Content:
		e.Kind = Configuration
	}
	return e
}

// unfit is a 2xx to a request of Verify that lets no mail through.
func (x *exchange) unfit(detail, hint string) *Error {
	return x.finish(nil, Error{Kind: Configuration, Detail: detail, Hint: hint})
}

// foreign is a 2xx to a request of Verify that is not the service's.
func (x *exchange) foreign() *Error {
	return x.unfit("the answer is not the API's", "check endpoint")
}

// failure completes what a service's table said of an answer.
func (x *exchange) failure(m *mail.Message, err error, e Error) *Error {
	if e.Kind == 0 {
		e.Kind = x.kindOfStatus()
		if e.Kind == Content && aboutOperator.MatchString(e.Detail) {
			e.Kind = Configuration
			e.Hint = cmp.Or(e.Hint, "see what it says of the sender, its domain or the account")
		}
	}
	if x.status >= 300 && x.status <= 399 {
		e = Error{Kind: Configuration, Hint: "the service redirects elsewhere; check endpoint"}
	}
	e.Err = err
	return x.finish(m, e)
}

// finish gives an error what all errors of an answer have, and takes from it
// what a log must not hold.
func (x *exchange) finish(m *mail.Message, e Error) *Error {
	e.Stage = x.method
	if e.Code == "" || !machineWord.MatchString(e.Code) || m != nil && PrivateOf(m).isQuotedIn(e.Code) {
		e.Code = strconv.Itoa(x.status)
	}
	if e.Detail == "" && isStatus(e.Code) {
		e.Detail = http.StatusText(x.status)
	}
	e.Detail = redactFor(m, e.Detail, x.logins)
	if e.RetryAfter == 0 && (e.Kind == RateLimited || e.Kind == Temporary) {
		e.RetryAfter = retryAfter(x.header.Get("Retry-After"), time.Now())
	}
	e.RetryAfter = min(max(e.RetryAfter, 0), maxRetryAfter)
	return &e
}

// machineWord is a code that may stand in a log as it is.
var machineWord = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9._-]{0,63}|\d{3}( [A-Za-z0-9._-]{1,64})?)$`)

// unreadable is a 2xx without what the service documents to come with it. The
// mail may be on its way.
func (x *exchange) unreadable(m *mail.Message) *Error {
	return x.finish(m, Error{Kind: Uncertain, Detail: "the answer does not hold the id of the message"})
}

// kindOfStatus is what a status means where the service does not say more.
func (x *exchange) kindOfStatus() Kind {
	switch x.status {
	case http.StatusSwitchingProtocols: // whatever it is that answers
		return Uncertain
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusProxyAuthRequired,
		http.StatusUnsupportedMediaType:
		return Configuration
	case http.StatusRequestTimeout:
		return Temporary
	case http.StatusTooManyRequests:
		return RateLimited
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		// With the service's own words it is the service that failed; with
		// anything else it is a proxy in front of it, which cannot know.
		if !x.isObject() {
			return Uncertain
		}
	}
	if x.status >= 500 {
		return Temporary
	}
	return Content
}

// isObject tells whether the answer is a JSON object.
func (x *exchange) isObject() bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(x.body, &object) == nil && object != nil
}

// isJSONOrEmpty is the least to ask of an answer that has to have nothing in it:
// the pages of proxies and portals are neither.
func (x *exchange) isJSONOrEmpty() bool {
	return json.Valid(x.body) || len(bytes.TrimSpace(x.body)) == 0
}

// read decodes the answer; what is not JSON leaves the target as it is.
func (x *exchange) read(target any) { _ = json.Unmarshal(x.body, target) }

// networkError judges a request that got no answer. Before the last byte of the
// body left, nobody can have taken the mail; after it, nobody knows.
func (x *exchange) networkError(err error) *Error {
	e := &Error{Kind: Temporary, Stage: "connect", Err: err, Detail: networkWords(err)}
	var (
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		notTLS      tls.RecordHeaderError
		proxy       *proxyError
		op          *net.OpError
		family      *net.AddrError
	)
	isOp := errors.As(err, &op)
	switch {
	case x.handedOver.Load():
		e.Kind, e.Stage = Uncertain, x.method
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
	case !x.begun:
		e.Kind, e.Stage = Configuration, "request"
		e.Hint = "the request could not be built from these settings; check endpoint and keys"
	case errors.As(err, &proxy):
		e.Stage = "proxy"
		if proxy.status < 500 {
			e.Kind, e.Hint = Configuration, proxyHint
		}
	case isOp && op.Op == "proxyconnect":
		e.Stage, e.Hint = "proxy", deadProxyHint
		if errors.As(err, &dns) && dns.IsNotFound {
			e.Kind = Configuration
		}
	case errors.As(err, &dns):
		e.Stage = "DNS"
		if dns.IsNotFound {
			e.Kind, e.Hint = Configuration, "no such host; check endpoint, region and proxy"
		}
	case errors.As(err, &certificate):
		e.Kind, e.Stage = Configuration, "TLS"
		e.Hint = "the certificate is not valid for this host; check endpoint, the clock and the installed root certificates"
	case errors.As(err, &notTLS):
		e.Kind, e.Stage, e.Hint = Configuration, "TLS", "the other side does not speak TLS; check endpoint"
	case errors.As(err, &family):
		e.Kind, e.Hint = Configuration, familyHint
	case isForeignAddress(err):
		e.Kind, e.Hint = Configuration, "localAddress is not an address of this machine"
	case isOp && strings.HasPrefix(op.Op, "socks"):
		e.Stage = "proxy"
		if socksRefuses(err) {
			e.Kind, e.Hint = Configuration, proxyHint
		}
	case isOp && op.Op != "dial":
		e.Stage = x.method
	}
	return e
}

// networkWords says what the network said, without the addresses and URLs that
// Go's errors are full of, but for the host that was asked.
func networkWords(err error) string {
	var (
		number  syscall.Errno
		address *url.Error
		lookup  *net.DNSError
	)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "given up by the caller"
	case errors.As(err, &number):
		return number.Error()
	}
	text, host := err.Error(), ""
	if errors.As(err, &address) {
		text = address.Err.Error()
		if asked, err := url.Parse(address.URL); err == nil {
			host = asked.Hostname()
		}
	}
	if errors.As(err, &lookup) {
		host = lookup.Name
	}
	if host == "" {
		return Redact(text)
	}
	// The service's own host is no secret, and often the clue: a wrong region makes
	// one that does not exist.
	const stand = "\ue000"
	return strings.ReplaceAll(Redact(strings.ReplaceAll(text, host, stand)), stand, settings.Printable(host, 253))
}

// proxyError is a forward proxy's refusal to open a tunnel.
type proxyError struct{ status int }

// Error names the status that the proxy answered.
func (e *proxyError) Error() string { return "the proxy answered " + strconv.Itoa(e.status) }

func proxyVerdict(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return &proxyError{answer.StatusCode}
	}
	return nil
}

// retryAfter reads the header of that name in both of its forms, seconds and
// HTTP date (RFC 9110, 10.2.3); zero if it holds neither.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// endpointOr returns the base URL of the service without a final slash: the
// operator's, or the given one.
func (c *Common) endpointOr(usual string) string {
	if c.Endpoint == "" {
		return usual
	}
	return strings.TrimRight(c.Endpoint, "/")
}

// checkURL asks for TLS, which keeps the key and the code from everybody on the
// way. Only this machine is near enough to do without.
func checkURL(key, text string) []settings.Problem {
	address, err := url.Parse(text)
	if err != nil || address.Scheme != "http" || settings.IsLoopback(address.Hostname()) {
		return nil
	}
	return []settings.Problem{{Key: key,
		Text: "use https://; plain http:// goes to this machine only, because keys and codes travel this way"}}
}
