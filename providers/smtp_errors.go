package providers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"

	"logto-email-relay/smtp"
)

// verdict is what a refusal means.
type verdict struct {
	kind       Kind
	quota      bool
	suppressed bool
	hint       string
}

// smtpRule gives replies a meaning. A rule fits when all its conditions do; an
// empty one always does.
type smtpRule struct {
	at       smtp.Stage
	codes    string // basic codes; "4" and "5" stand for a whole class
	enhanced string // enhanced codes; one that ends in a dot stands for all that begin with it
	words    string // parts of the text in lower case, separated by |
	verdict
}

const (
	checkLogin  = "check auth.user and auth.pass; if they are right, the service may not allow this machine's IP address"
	checkSender = "the server does not let this account send as this sender: " +
		"check fromEmail and the sender's domain at the service"
	needLogin = "the server wants a login first: set auth, or let it accept this machine's IP address"
	needTLS   = `the server wants TLS first: set "requireTLS": true, or "secure": true with port 465`
	refusedIP = "the server refuses this machine's IP address: put it on the server's allow list"
)

// smtpRules are read first to last, and the first that fits decides. The stage
// tells most, then the enhanced code, then the basic one; but some services
// give codes of their own a meaning that only their words reveal, so these come
// first.
//
//   - Amazon SES: https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html
//   - SendGrid: https://www.twilio.com/docs/sendgrid/for-developers/sending-email/smtp-errors-and-troubleshooting
//   - Gmail: https://support.google.com/a/answer/3726730
//   - Aliyun: https://www.alibabacloud.com/help/en/direct-mail/smtp-error-codes
//   - enhanced codes: RFC 3463, RFC 5248, RFC 7372, RFC 7505
var smtpRules = []smtpRule{
	// Full mailboxes, before the words of quotas, which are about ours.
	{at: smtp.AtRCPT | smtp.AtDATA | smtp.AtDot, enhanced: "4.2.2 5.2.2", verdict: verdict{kind: Recipient}},

	// Quotas and throttling.
	{enhanced: "5.4.5", verdict: verdict{kind: RateLimited, quota: true}}, // Gmail
	{words: "credits exceeded|messaging limits|sending quota|message quota|sending limit|daily limit",
		verdict: verdict{kind: RateLimited, quota: true}},
	{words: "too many concurrent|too many connections", verdict: verdict{kind: RateLimited,
		hint: "set maxConnections to what the service allows"}},
	{words: "throttling|too many login|sending rate|rate limit", verdict: verdict{kind: RateLimited}},
	{enhanced: "4.5.3 5.5.3", verdict: verdict{kind: RateLimited}},

	// Aliyun's own codes.
	{codes: "436", verdict: verdict{kind: Configuration, hint: checkSender}},
	{codes: "551", words: "account unavailable", verdict: verdict{kind: Configuration}},
	{codes: "556", words: "too many", verdict: verdict{kind: Content}},
	{codes: "557", verdict: verdict{kind: Content}},
	{codes: "559", verdict: verdict{kind: Recipient, suppressed: true}},
	{codes: "561", verdict: verdict{kind: Recipient}},

	// What an operator has to mend, at whatever stage the server says so.
	{codes: "5", words: "starttls", verdict: verdict{kind: Configuration, hint: needTLS}},
	{codes: "5", words: "authentication required|authenticate first|unauthenticated senders",
		verdict: verdict{kind: Configuration, hint: needLogin}},
	{codes: "530", verdict: verdict{kind: Configuration, hint: needLogin}},
	{enhanced: "5.7.9", verdict: verdict{kind: Configuration,
		hint: "the service does not take this password or this way to log in: create an app password, or set auth.method"}},
	{codes: "534 535", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{enhanced: "5.7.8", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{codes: "538", verdict: verdict{kind: Configuration, hint: needTLS}},
	{enhanced: "5.7.11", verdict: verdict{kind: Configuration, hint: needTLS}},
	{codes: "504", verdict: verdict{kind: Configuration}},
	{at: smtp.AtAUTH, codes: "432", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{at: smtp.AtAUTH, codes: "5", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{at: smtp.AtGreeting | smtp.AtEHLO, codes: "5", verdict: verdict{kind: Configuration, hint: refusedIP}},
	{codes: "5", words: "verified sender identity|address is not verified|sender address rejected|dmarc|spf|dkim",
		verdict: verdict{kind: Configuration, hint: checkSender}},
	{enhanced: "5.7.20 5.7.21 5.7.22 5.7.23 5.7.24 5.7.25 5.7.26 5.7.27",
		verdict: verdict{kind: Configuration, hint: checkSender}},
	{enhanced: "5.1.7 5.1.8", verdict: verdict{kind: Configuration, hint: checkSender}},
	{words: "relay access denied|relaying denied|unable to relay", verdict: verdict{kind: Configuration, hint: needLogin}},
	{codes: "5", words: "access denied: user|not authorized to perform", verdict: verdict{kind: Configuration,
		hint: "the account's policy forbids this send: check its permissions, its sender and its IP address condition"}},
	{codes: "5", words: "client host|blocked using", verdict: verdict{kind: Configuration, hint: refusedIP}},
	{codes: "5", words: "helo command rejected", verdict: verdict{kind: Configuration,
		hint: "the server wants a full host name in EHLO: set name to one, such as relay.example.com"}},

	// The recipient.
	{at: smtp.AtRCPT | smtp.AtDATA | smtp.AtDot, enhanced: "5.1.0 5.1.1 5.1.2 5.1.3 5.1.4 5.1.6 5.1.10 5.2.1 5.2.3 5.6.7",
		verdict: verdict{kind: Recipient}},
	{at: smtp.AtRCPT, codes: "5", words: "relay|not authorized", verdict: verdict{kind: Configuration, hint: needLogin}},
	{at: smtp.AtRCPT, codes: "551 556", verdict: verdict{kind: Recipient}},

	// The message.
	{enhanced: "5.3.4", verdict: verdict{kind: Content}},
	{at: smtp.AtMAIL | smtp.AtDATA | smtp.AtDot, codes: "552", verdict: verdict{kind: Content}},
	{enhanced: "5.6.", verdict: verdict{kind: Content}},
	{at: smtp.AtMAIL | smtp.AtRCPT | smtp.AtDATA | smtp.AtDot, enhanced: "5.5.1 5.5.2 5.5.4", verdict: verdict{kind: Content}},

	// The server's own trouble, though it calls it permanent.
	{enhanced: "5.3.1 5.3.2 5.3.5 5.4.", verdict: verdict{kind: Temporary}},

	// What is left goes by the first digit and the stage.
	{codes: "4", verdict: verdict{kind: Temporary}},
	{at: smtp.AtDot, codes: "5", verdict: verdict{kind: Content}},
	{at: smtp.AtRCPT, codes: "5", verdict: verdict{kind: Recipient}},
	{at: smtp.AtMAIL, codes: "5", verdict: verdict{kind: Configuration, hint: checkSender}},
	{codes: "5", verdict: verdict{kind: Configuration}},
}

// fits tells whether the rule is about this reply; text is in lower case and
// without addresses.
func (r *smtpRule) fits(stage smtp.Stage, code, enhanced, text string) bool {
	if r.at != 0 && r.at&stage == 0 {
		return false
	}
	return (r.codes == "" || anyOf(r.codes, " ", func(c string) bool { return strings.HasPrefix(code, c) })) &&
		(r.enhanced == "" || anyOf(r.enhanced, " ", func(c string) bool {
			return c == enhanced || strings.HasSuffix(c, ".") && strings.HasPrefix(enhanced, c)
		})) &&
		(r.words == "" || anyOf(r.words, "|", func(w string) bool { return strings.Contains(text, w) }))
}

func anyOf(list, separator string, fits func(string) bool) bool {
	for item := range strings.SplitSeq(list, separator) {
		if fits(item) {
			return true
		}
	}
	return false
}

// failure judges an error of the pool.
func (p *smtpProvider) failure(err error) *Error {
	e := smtpFailure(err)
	var failed *smtp.Error
	if !errors.As(err, &failed) || failed.Stage != smtp.AtAUTH || failed.Reply.Code == 0 || e.Kind != Configuration {
		return e
	}
	switch {
	case failed.Reply.RefusesMechanism():
		e.Hint = "the server does not take this way to log in: set auth.method to another, or remove it"
	case p.tokens != nil:
		e.Hint = "the server refuses the access token: check auth.user, and that this client may use SMTP for this mailbox"
	}
	return e
}

// smtpFailure judges an error of a pool by itself. Before the final dot has left, a
// server must not deliver; after it, nobody can know.
func smtpFailure(err error) *Error {
	var (
		failed *smtp.Error
		own    *Error // of the access token, or of the mail before it was sent
	)
	switch {
	case errors.As(err, &own), !errors.As(err, &failed):
		return AsError(err)
	case failed.Reply.Code != 0:
		return refusal(failed.Stage, failed.Reply)
	}
	e := &Error{Kind: Temporary, Stage: failed.Stage.String(), Err: failed.Err}
	if failed.Stage == smtp.AtDot {
		e.Kind = Uncertain
	}
	if e.explainOwn(failed.Err) {
		return e
	}
	e.explain(failed.Stage, failed.Err)
	if failed.Stage == smtp.AtProxy {
		e.explainProxy(failed.Err)
	}
	return e
}

// explainOwn fills in what a cause that package smtp knows by name means to an
// operator, if it is one.
func (e *Error) explainOwn(err error) bool {
	var (
		busy      *smtp.BusyError
		size      *smtp.SizeError
		mechanism *smtp.MechanismError
		login     *smtp.AuthError
	)
	e.Detail = Redact(err.Error())
	switch {
	case err == context.DeadlineExceeded: // a dialler's own time-out says so too, but not like this
		e.Detail = "no answer before the deadline of the mail"
	case err == context.Canceled:
		e.Detail = "the mail was cancelled"
	case errors.As(err, &busy):
		e.Hint = "raise maxConnections if the server allows more"
	case errors.As(err, &size):
		e.Kind = Content
	case err == smtp.ErrTooLate, err == smtp.ErrClosed:
	case err == smtp.ErrNoUTF8 && e.Stage == smtp.AtRCPT.String():
		e.Kind = Recipient
	case err == smtp.ErrNoUTF8:
		e.Kind, e.Hint = Configuration, "write a sender and a reply address whose part before the @ is ASCII"
	case err == smtp.ErrNoTLS:
		e.Kind = Configuration
		e.Hint = `use the port for implicit TLS with "secure": true; a password never goes out in clear text`
	case err == smtp.ErrClearText:
		e.Kind, e.Hint = Configuration, `set "requireTLS": true, or "secure": true with port 465`
	case errors.As(err, &login):
		e.Kind, e.Hint = Configuration, "the server does not keep to this way to log in: check host, or set auth.method to another"
	case errors.As(err, &mechanism):
		e.Kind = Configuration
		switch {
		case len(mechanism.Offered) == 0:
			e.Hint = "remove auth, or use the port for submission, usually 587 or 465"
		case mechanism.Wanted == "XOAUTH2":
			e.Hint = `log in with a password: remove "type": "oauth2"`
		case mechanism.Wanted != "":
			e.Hint = "remove auth.method, and the best one is taken"
		}
	default:
		return false
	}
	return true
}

// refusal makes the error for a reply that was not the one asked for.
func refusal(stage smtp.Stage, reply smtp.Reply) *Error {
	code := strconv.Itoa(reply.Code)
	e := &Error{Stage: stage.String(), Code: code, Detail: Redact(reply.Text)}
	if reply.Enhanced != "" {
		e.Code += " " + reply.Enhanced
	}
	if reply.Code < 400 {
		// An answer of another class: the two sides no longer understand each other.
		e.Kind, e.Hint = Temporary, "the server's answer makes no sense at this stage"
		if stage == smtp.AtDot {
			e.Kind = Uncertain
		}
		return e
	}
	// Addresses are taken out first, so that an address at relay.example.com
	// does not look like a word about relaying.
	text := strings.ToLower(addresses.ReplaceAllString(reply.Text, ""))
	for i := range smtpRules {
		if rule := &smtpRules[i]; rule.fits(stage, code, reply.Enhanced, text) {
			e.Kind, e.Quota, e.Suppressed, e.Hint = rule.kind, rule.quota, rule.suppressed, rule.hint
			break
		}
	}
	return e
}

// explain fills in what a network, TLS or protocol error means to an operator.
func (e *Error) explain(stage smtp.Stage, err error) {
	var (
		lookup    *net.DNSError
		operation *net.OpError
		address   *net.AddrError
		protocol  textproto.ProtocolError
		notTLS    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		untrusted *tls.CertificateVerificationError
		waited    net.Error
	)
	configuration := func(detail, hint string) {
		e.Kind, e.Detail, e.Hint = Configuration, detail, hint
	}
	switch {
	case errors.As(err, &lookup):
		e.Detail = "the name of the host could not be looked up"
		if lookup.IsNotFound {
			configuration("there is no such host", "check host")
		} else if lookup.IsTimeout {
			e.Hint = "dnsTimeout bounds the look-up"
		}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		configuration("the connection cannot leave from this local address", "localAddress must be an address of this machine")
	case errors.As(err, &address):
		configuration("there is no suitable address", familyHint)
	case errors.As(err, &notTLS):
		configuration("the server does not speak TLS on this port",
			`remove "secure": true, or use the port for implicit TLS, usually 465`)
	case errors.As(err, &authority):
		configuration("the server's certificate is signed by an unknown authority",
			"put the authority's certificate into tls.ca")
	case errors.As(err, &hostname):
		configuration("the server's certificate is for another host name",
			"set host or servername to the name in the certificate")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		configuration("the server's certificate has expired or is not yet valid", "renew it, or check this machine's clock")
	case errors.As(err, &untrusted):
		configuration("the server's certificate cannot be verified", "check tls.ca and servername")
	case stage == smtp.AtTLS && errors.As(err, &operation) && (operation.Op == "remote error" || operation.Op == "local error"):
		configuration("no agreement on TLS: "+Redact(operation.Err.Error()), "check tls.minVersion")
	case errors.As(err, &protocol):
		e.Detail = "the server does not answer in SMTP"
		if stage == smtp.AtGreeting {
			configuration(e.Detail, "check host and port")
		}
	case errors.As(err, &waited) && waited.Timeout():
		e.Detail = "no answer in time"
		switch stage {
		case smtp.AtConnect, smtp.AtProxy, smtp.AtTLS:
			e.Hint = "connectionTimeout bounds this"
		case smtp.AtGreeting:
			e.Hint = "greetingTimeout bounds this; a server that wants TLS first says nothing until it gets it: " +
				`then set "secure": true`
		case smtp.AtDot:
		default:
			e.Hint = "socketTimeout bounds this"
		}
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Detail, e.Hint = "the connection was refused", "check host and port, and that the server runs"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Detail = "the server closed the connection"
	case errors.As(err, &operation):
		e.Detail = Redact(operation.Err.Error())
	}
}

// explainProxy fills in what a failure at the proxy means, beyond what it would
// mean at the server.
func (e *Error) explainProxy(err error) {
	var (
		refused *smtp.ProxyError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &refused) && refused.Status != 0:
		e.Detail = refused.Error()
		if refused.Status < 500 {
			e.Kind, e.Hint = Configuration, proxyHint
		}
	case errors.As(err, &op) && strings.HasPrefix(op.Op, "socks") && socksRefuses(op.Err):
		e.Kind, e.Hint = Configuration, proxyHint
	case errors.Is(err, smtp.ErrNotHTTP):
		e.Kind, e.Hint = Configuration, "check the scheme and the port of proxy"
	case e.Kind == Configuration, errors.Is(err, syscall.ECONNREFUSED):
		e.Hint = "this is about the way to the proxy: check proxy"
	}
}
