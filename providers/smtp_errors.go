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
	"time"
)

// smtpStage is a step on the way of a mail through a connection.
type smtpStage uint16

const (
	atConnect smtpStage = 1 << iota
	atTLS
	atGreeting
	atEHLO
	atSTARTTLS
	atAUTH
	atMAIL
	atRCPT
	atDATA
	atBody
	atDot
)

var smtpStageNames = map[smtpStage]string{
	atConnect: "connect", atTLS: "TLS", atGreeting: "greeting", atEHLO: "EHLO", atSTARTTLS: "STARTTLS", atAUTH: "AUTH",
	atMAIL: "MAIL FROM", atRCPT: "RCPT TO", atDATA: "DATA", atBody: "body", atDot: "final dot",
}

// String returns the name that errors use.
func (s smtpStage) String() string { return smtpStageNames[s] }

// smtpReply is an answer of the server, taken apart.
type smtpReply struct {
	code     int
	enhanced string // the code of RFC 3463, such as "5.1.1"; empty when there is none
	text     string // all lines, without the enhanced code of the first
}

func parseSMTPReply(code int, message string) smtpReply {
	word, rest, _ := strings.Cut(message, " ")
	if isEnhancedCode(word) {
		return smtpReply{code, word, rest}
	}
	return smtpReply{code, "", message}
}

func isEnhancedCode(word string) bool {
	class, rest, ok := strings.Cut(word, ".")
	subject, detail, ok2 := strings.Cut(rest, ".")
	isNumber := func(text string) bool {
		for i := range len(text) {
			if text[i] < '0' || text[i] > '9' {
				return false
			}
		}
		return text != "" && len(text) <= 3
	}
	return ok && ok2 && (class == "2" || class == "4" || class == "5") && isNumber(subject) && isNumber(detail)
}

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
	at       smtpStage
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
	{at: atRCPT | atDATA | atDot, enhanced: "4.2.2 5.2.2", verdict: verdict{kind: Recipient}},

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
	{at: atAUTH, codes: "432", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{at: atAUTH, codes: "5", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{at: atGreeting | atEHLO, codes: "5", verdict: verdict{kind: Configuration, hint: refusedIP}},
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
	{at: atRCPT | atDATA | atDot, enhanced: "5.1.0 5.1.1 5.1.2 5.1.3 5.1.4 5.1.6 5.1.10 5.2.1 5.2.3 5.6.7",
		verdict: verdict{kind: Recipient}},
	{at: atRCPT, codes: "5", words: "relay|not authorized", verdict: verdict{kind: Configuration, hint: needLogin}},
	{at: atRCPT, codes: "551 556", verdict: verdict{kind: Recipient}},

	// The message.
	{enhanced: "5.3.4", verdict: verdict{kind: Content}},
	{at: atMAIL | atDATA | atDot, codes: "552", verdict: verdict{kind: Content}},
	{enhanced: "5.6.", verdict: verdict{kind: Content}},
	{at: atMAIL | atRCPT | atDATA | atDot, enhanced: "5.5.1 5.5.2 5.5.4", verdict: verdict{kind: Content}},

	// The server's own trouble, though it calls it permanent.
	{enhanced: "5.3.1 5.3.2 5.3.5 5.4.", verdict: verdict{kind: Temporary}},

	// What is left goes by the first digit and the stage.
	{codes: "4", verdict: verdict{kind: Temporary}},
	{at: atDot, codes: "5", verdict: verdict{kind: Content}},
	{at: atRCPT, codes: "5", verdict: verdict{kind: Recipient}},
	{at: atMAIL, codes: "5", verdict: verdict{kind: Configuration, hint: checkSender}},
	{codes: "5", verdict: verdict{kind: Configuration}},
}

// fits tells whether the rule is about this reply; text is in lower case and
// without addresses.
func (r *smtpRule) fits(stage smtpStage, code, enhanced, text string) bool {
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

// refusal makes the error for a reply that was not the one asked for.
func refusal(stage smtpStage, reply smtpReply) *Error {
	code := strconv.Itoa(reply.code)
	e := &Error{Stage: stage.String(), Code: code, Detail: Redact(reply.text)}
	if reply.enhanced != "" {
		e.Code += " " + reply.enhanced
	}
	// Addresses are taken out first, so that an address at relay.example.com
	// does not look like a word about relaying.
	text := strings.ToLower(addresses.ReplaceAllString(reply.text, ""))
	for i := range smtpRules {
		if rule := &smtpRules[i]; rule.fits(stage, code, reply.enhanced, text) {
			e.Kind, e.Quota, e.Suppressed, e.Hint = rule.kind, rule.quota, rule.suppressed, rule.hint
			return e
		}
	}
	// An answer of another class: the two sides no longer understand each other.
	e.Kind = Temporary
	if stage == atDot {
		e.Kind = Uncertain
	}
	e.Hint = "the server's answer makes no sense at this stage"
	return e
}

// smtpFailure makes the error for a stage that ended without the wanted reply.
// Before the final dot has left, a server must not deliver; after it, nobody
// can know.
func smtpFailure(ctx context.Context, stage smtpStage, err error) *Error {
	var said *textproto.Error
	if errors.As(err, &said) {
		return refusal(stage, parseSMTPReply(said.Code, said.Msg))
	}
	e := &Error{Kind: Temporary, Stage: stage.String(), Err: err}
	if stage == atDot {
		e.Kind = Uncertain
	}
	if ended := contextEnd(ctx); ended != nil {
		e.Err, e.Detail = ended, "no answer before the deadline of the mail"
		if errors.Is(ended, context.Canceled) {
			e.Detail = "the mail was cancelled"
		}
		return e
	}
	explain(e, stage, err)
	explainProxy(e, err)
	return e
}

// contextEnd returns why the context is over, also in the moment when its
// deadline has passed and its own timer has not yet fired.
func contextEnd(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// explain fills in what a network, TLS or protocol error means to an operator.
func explain(e *Error, stage smtpStage, err error) {
	e.Detail = Redact(err.Error())
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
	case stage == atTLS && errors.As(err, &operation) && (operation.Op == "remote error" || operation.Op == "local error"):
		configuration("no agreement on TLS: "+Redact(operation.Err.Error()), "check tls.minVersion")
	case errors.As(err, &protocol), errors.Is(err, errReplyTooLong):
		e.Detail = "the server does not answer in SMTP"
		if stage == atGreeting {
			configuration(e.Detail, "check host and port")
		}
	case errors.As(err, &waited) && waited.Timeout():
		e.Detail = "no answer in time"
		switch stage {
		case atConnect, atTLS:
			e.Hint = "connectionTimeout bounds this"
		case atGreeting:
			e.Hint = "greetingTimeout bounds this; a server that wants TLS first says nothing until it gets it: " +
				`then set "secure": true`
		case atDot:
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
