package providers

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

// What failures on the way to a service mean, whatever is spoken there.

const (
	familyHint = "the host has no address of the family (IPv4 or IPv6) that localAddress or ipv4 asks for"

	deadProxyHint = "this is about the way to the proxy: check proxy"

	proxySchemeHint = "check the scheme and the port of proxy"

	proxyHint = "the proxy refuses the connection; check proxy, its user and password, and where it may connect to"
)

// isForeignAddress tells whether a connection could not leave from localAddress. The
// same errno at connect means that no port is left, which passes.
func isForeignAddress(err error) bool {
	var call *os.SyscallError
	return errors.As(err, &call) && call.Syscall == "bind"
}

// socksRefuses tells whether a SOCKS5 proxy would not serve us, by the words of
// golang.org/x/net, which has no types for them. Its other answers are about the
// network behind it.
func socksRefuses(err error) bool {
	said := err.Error()
	return strings.Contains(said, "authentication") || strings.Contains(said, "username/password") ||
		strings.Contains(said, "not allowed by ruleset")
}

// networkError judges a request that got no answer. Before the last byte of the
// body left, nobody can have taken the mail; after it, nobody knows.
func (x *exchange) networkError(err error) *Error {
	e := &Error{Kind: Temporary, Stage: "connect", Err: err, Detail: networkWords(err)}
	var (
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		notTLS      tls.RecordHeaderError
		op          *net.OpError
		family      *net.AddrError
	)
	switch {
	case x.handedOver.Load():
		e.Kind, e.Stage = Uncertain, x.method
	case errors.Is(err, context.Canceled):
	case errors.As(err, &family):
		e.Kind, e.Hint = Configuration, familyHint
	case isForeignAddress(err):
		e.Kind, e.Hint = Configuration, "localAddress is not an address of this machine"
	case x.atProxy.Load():
		e.explainWay(err)
	case errors.Is(err, context.DeadlineExceeded):
	case !x.begun:
		e.Kind, e.Stage = Configuration, "request"
		e.Hint = "the request could not be built from these settings; check endpoint and keys"
	case errors.As(err, &dns):
		e.Stage = "DNS"
		if dns.IsNotFound {
			e.Kind, e.Hint = Configuration, "no such host; check endpoint, region and proxy"
		}
	case errors.As(err, &certificate):
		e.Kind, e.Stage = Configuration, "TLS"
		e.Hint = "the certificate is not valid for this host; check endpoint, the clock and the installed root certificates"
	case errors.As(err, &notTLS), errors.Is(err, http.ErrSchemeMismatch):
		e.Kind, e.Stage, e.Hint = Configuration, "TLS", "the other side does not speak TLS; check endpoint"
	case errors.As(err, &op) && op.Op != "dial":
		e.Stage = x.method
	}
	e.Momentary = e.Kind == Temporary
	return e
}

// explainWay judges what failed on the way to a proxy, or at it.
func (e *Error) explainWay(err error) {
	var (
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		notTLS      tls.RecordHeaderError
	)
	e.Stage = "proxy"
	switch {
	case e.explainProxyAnswer(err):
	case errors.Is(err, context.DeadlineExceeded):
		e.Hint = "nothing came through the proxy in time: check proxy, and where it may connect to"
	case errors.As(err, &certificate):
		e.Kind, e.Hint = Configuration, "the certificate of the proxy is not valid for its host; check proxy, the clock and the installed root certificates"
	case errors.As(err, &notTLS), strings.Contains(err.Error(), "malformed HTTP"): // net/http has no type for it
		e.Kind, e.Hint = Configuration, proxySchemeHint
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Kind = Configuration
	}
}

// explainProxyAnswer judges what an HTTP or SOCKS5 proxy answered, and tells whether it did.
// Where it did not, the hint is about the way to it.
func (e *Error) explainProxyAnswer(err error) bool {
	var (
		refused *smtp.ProxyError
		op      *net.OpError
	)
	e.Hint = deadProxyHint
	switch {
	case errors.As(err, &refused) && refused.Status != 0:
		e.Detail = refused.Error()
		if e.Hint = ""; refused.Status < 500 {
			e.Kind, e.Hint = Configuration, proxyHint
		}
		return true
	case errors.As(err, &op) && strings.HasPrefix(op.Op, "socks"):
		switch said := err.Error(); {
		case socksRefuses(err):
			e.Kind, e.Hint = Configuration, proxyHint
		case strings.Contains(said, "unexpected protocol version"):
			e.Hint = proxySchemeHint
		case strings.Contains(said, "unknown error"): // so that package calls what the proxy says of the network behind it
			e.Hint = ""
		}
		return true
	}
	return false
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
	// one that does not exist. So a character that nothing else has stands for it.
	const placeholder = "\ue000"
	return strings.ReplaceAll(Redact(strings.ReplaceAll(text, host, placeholder)), placeholder, settings.Printable(host, 253))
}

// proxyVerdict is asked about a proxy's answer to CONNECT.
func proxyVerdict(ctx context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return &smtp.ProxyError{Status: answer.StatusCode}
	}
	exchangeOf(ctx).atProxy.Store(false)
	return nil
}
