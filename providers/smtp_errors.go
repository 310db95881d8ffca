package providers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

// verdict is what a refusal means.
type verdict struct {
	kind         Kind
	quota        bool
	suppressed   bool
	aboutAddress bool
	filtered     bool
	hint         string
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
	checkLogin    = "check auth.user and auth.pass; if they are right, the service may not allow this machine's IP address"
	checkPassword = "the service does not take this password or this way to log in: create an app password, or set auth.method"
	checkSender   = "the server does not let this account send as this sender: " +
		"check fromEmail, envelope.from and the sender's domain at the service"
	checkAccount = "the service does not let this account send: look at its state, its plan and its permissions there"
	needLogin    = "the server wants a login first: set auth, or let it accept this machine's IP address"
	needRight    = "the server does not let this login send to others: check auth, fromEmail and the account's rights"
	needTLS      = `the server wants TLS first: set "requireTLS": true, or "secure": true with port 465`
	needName     = "the server wants another host name in EHLO: set name to one that DNS knows, such as relay.example.com"
	refusedIP    = "the server refuses this machine's IP address: put it on the server's allow list, or have it taken off the block list"
	slowDown     = "the service throttles: set rateLimit and rateDelta to what it allows, and maxConcurrent lower"
	fewer        = "set maxConnections to what the service allows"
	lessOften    = "set maxConnections lower and maxMessages higher, so that there are fewer logins, and check auth"
	quotaOfDay   = "the quota is spent for up to 24 hours: raise it at the service, or add another provider"
	quotaOfHour  = "the quota is spent for up to an hour: raise it at the service, or add another provider"
	quotaOfMonth = "the quota is spent until the next month: raise it at the service, or add another provider"
	quotaOfPlan  = "the quota is spent until more is bought at the service; another provider helps meanwhile"
	policy       = "the server refuses by a policy of its own, mostly for the sender, the IP address or a header: ask its operator"
)

// Stages at which a server may speak of the recipient, and of the message.
const (
	ofRecipient = smtp.AtRCPT | smtp.AtDATA | smtp.AtDot
	ofMessage   = smtp.AtMAIL | smtp.AtDATA | smtp.AtDot
)

// smtpRules are read first to last, and the first that fits decides.
//
// Only what names the recipient blames the reader. Servers say everything at every
// stage, under every code: that the sender is not theirs after the message, that the
// login is missing at the recipient. So the words come first, those about the
// operator's side before those about the recipient, and then the codes. What nobody
// can place is the operator's, and the next provider gets the mail: nothing was
// accepted, so nothing can arrive twice.
//
//   - enhanced codes: RFC 3463, RFC 5248, RFC 7372, RFC 7505
//   - Aliyun: https://help.aliyun.com/document_detail/44499.html
//   - Amazon SES: https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html
//   - Exchange Online: https://learn.microsoft.com/en-us/troubleshoot/exchange/email-delivery/ndr/non-delivery-reports-in-exchange-online
//   - Gmail: https://support.google.com/a/answer/3726730
//   - IONOS: https://www.ionos.com/help/email/troubleshooting-mail-basicmail-business/error-messages-caused-by-undeliverable-email/
//   - QQ, 163.com: https://blog.csdn.net/weixin_31487917/article/details/119692776
//   - SendGrid: https://www.twilio.com/docs/sendgrid/for-developers/sending-email/smtp-errors-and-troubleshooting
//   - what servers say to senders of many mails: https://smtpfieldmanual.com
//
// smtp_replies_test.go has the replies of these and of twenty more, each with its
// source.
var smtpRules = []smtpRule{
	// A moment of this recipient's alone, whatever else the words are about.
	{at: ofRecipient, words: "greylist|graylist|grey list|grey-list", verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, words: "user you are trying to contact|user is receiving mail|recipient thread limit|recipient has exceeded|" +
		"this recipient|mailbox unavailable or access denied", verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, words: "account that you tried to reach", verdict: verdict{kind: Recipient}},

	// Quotas of ours, with when they end, before full mailboxes and throttling.
	{words: "emails per hour|messages per hour|failures per hour|hourly", verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfHour}},
	{words: "monthly|per month", verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfMonth}},
	{words: "credits|not enough sending quota|recharge|upgrade your plan", verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfPlan}},
	{words: "messaging limits|sending quota|message quota|messages quota|sending limit|daily|per day|in 24 hours|mi:stc",
		verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfDay}},
	{enhanced: "5.4.5", verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfDay}}, // Gmail

	// Throttling.
	{words: "too many concurrent|too many connections|concurrent connection|connection limit|simultaneous|sender thread limit|hl:icc",
		verdict: verdict{kind: RateLimited, hint: fewer}},
	{words: "too many login|too many auth|too much fail authentication", verdict: verdict{kind: RateLimited, hint: lessOften}},
	{words: "throttling|rate limit|ratelimit|sending rate|message rate|unusual rate|unexpected volume|excessive volume|peak smtp relay|" +
		"per second|per minute|per time unit|too many emails|too many mails|too many messages|too many requests|too many recent|too much mail|" +
		"too quickly|too fast|too frequent|frequency limited|slow down|queue quota|failure sending mail. try again|try again in |" +
		"mi:sfq|mi:dmc|rp:drc|hl:ifc", verdict: verdict{kind: RateLimited, hint: slowDown}},
	{enhanced: "4.5.3 5.5.3", verdict: verdict{kind: RateLimited, hint: slowDown}},

	// Full mailboxes. Exchange also keeps a copy for the sender, whose mailbox may be full.
	{words: "storedrv.submission.exception:quota|sender throttled due to continuous mailbox full", verdict: verdict{kind: Configuration, hint: checkAccount}},
	{at: ofRecipient, enhanced: "4.2.2 5.2.2", verdict: verdict{kind: Recipient}},
	{at: ofRecipient, words: "mailbox full|mailbox is full|inbox is full|inbox is out of storage|over quota|overquota|exceeded storage allocation",
		verdict: verdict{kind: Recipient}},
	{at: ofRecipient, codes: "5", words: "quota exceeded", verdict: verdict{kind: Recipient}},

	// Aliyun's own codes.
	{codes: "436", verdict: verdict{kind: Configuration, hint: checkSender}},
	{codes: "551", words: "account unavailable", verdict: verdict{kind: Configuration, hint: checkAccount}},
	{codes: "556", words: "too many|number of rcpts", verdict: verdict{kind: Content}},
	{codes: "557", verdict: verdict{kind: Content}},
	{codes: "559 563", verdict: verdict{kind: Recipient, suppressed: true}},
	{codes: "561", verdict: verdict{kind: Recipient}},

	// What an operator has to mend, at whatever stage and under whatever code the
	// server says so.
	{words: "need fully-qualified address", at: smtp.AtRCPT, verdict: verdict{kind: Recipient}},
	{codes: "5", words: "starttls|must use tls|tls required|requires tls|encryption required", verdict: verdict{kind: Configuration, hint: needTLS}},
	{words: "authentication required|authentication is required|authentication needed|authenticate first|must authenticate|" +
		"must be authenticated|need to authenticate|not authenticated|not logged in|log in first|auth first|an auth command|" +
		"unauthenticated senders|without authentication|smtp auth is required|auth required|turn on smtp auth|requires auth",
		verdict: verdict{kind: Configuration, hint: needLogin}},
	{words: "helo|ehlo|need fully-qualified hostname", verdict: verdict{kind: Configuration, hint: needName}},
	{words: "relay access denied|relaying denied|relaying prohibited|unable to relay|relay not permitted|relay not allowed|relay denied|" +
		"permitted to relay|allowed to relay|as a relay|denies relay|open relay|allowed rcpthosts|i cannot deliver mail for",
		verdict: verdict{kind: Configuration, hint: needLogin}},
	{words: "client host|blocked using|ip address|your ip|that ip|this ip|sending ip|ip you're using|ip not in|ip in black|black ip|" +
		"blocklist|block list|blacklist|spamhaus|reverse dns|reverse hostname|ptr record|dns ptr|cannot find your|ip name lookup|" +
		"not on the allow list|hl:rep|wm:bli|dt:rbl", verdict: verdict{kind: Configuration, hint: refusedIP}},
	{words: "send as|sendasdenied|as this sender|relaying disallowed as|sender verify|sender verification|verification failed for|" +
		"sender address|sender identity|sender domain|sender's domain|sender name|sender rejected|sender denied|sender refused|" +
		"sender not|sender is not|sender or from|invalid sender|bad sender|unknown sender|incorrect sender|envelope sender|" +
		"domain of sender|sending domain|sending from|from/sender|from address|from header|header from|from: header|header address|" +
		"mail from|mailfrom|return path|return-path|not owned by|authorized user|authorization user|allowed to send from|" +
		"authorized to send from|authorised to send from|not verified|identities failed|badmailfrom|local user only|non-local account|" +
		"mi:imf|mi:spb|wm:blu", verdict: verdict{kind: Configuration, hint: checkSender}},
	{codes: "5", words: "dmarc|spf|dkim", verdict: verdict{kind: Configuration, hint: checkSender}},
	{enhanced: "4.1.7 4.1.8 5.1.7 5.1.8", verdict: verdict{kind: Configuration, hint: checkSender}},
	{enhanced: "5.7.20 5.7.21 5.7.22 5.7.23 5.7.24 5.7.25 5.7.26 5.7.27",
		verdict: verdict{kind: Configuration, hint: checkSender}},
	{words: "not yet activated|not activated|smtp account|your account|account is not available|account has been|account not subscribed|" +
		"account suspended|account is suspended|allowed to send email|no permission|unusual sending activity|smtpclientauthentication|" +
		"sender throttled|license", verdict: verdict{kind: Configuration, hint: checkAccount}},
	{codes: "5", words: "access denied: user|not authorized to perform", verdict: verdict{kind: Configuration,
		hint: "the account's policy forbids this send: check its permissions, its sender and its IP address condition"}},
	{words: "policy restriction|policy violation|policy reason|policy rejection|local policy|security polic",
		verdict: verdict{kind: Configuration, hint: policy}},
	{codes: "530", verdict: verdict{kind: Configuration, hint: needLogin}},
	{enhanced: "5.7.9", verdict: verdict{kind: Configuration, hint: checkPassword}},
	{codes: "534 535", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{enhanced: "5.7.8", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{codes: "538", verdict: verdict{kind: Configuration, hint: needTLS}},
	{enhanced: "5.7.11", verdict: verdict{kind: Configuration, hint: needTLS}},
	{codes: "504", verdict: verdict{kind: Configuration}},
	{at: smtp.AtAUTH, codes: "432 5", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{at: smtp.AtGreeting | smtp.AtEHLO, codes: "5", verdict: verdict{kind: Configuration, hint: refusedIP}},

	// The message. A filter's opinion is one service's own.
	{at: smtp.AtDATA | smtp.AtDot, codes: "5", words: "spam|dt:spm|virus|malware|infected|phish|unsolicited|suspicious|content|attachment",
		verdict: verdict{kind: Content, filtered: true}},
	{at: ofMessage, codes: "5", words: "message size|size limit|mailsize|too large|too big|message is too long",
		verdict: verdict{kind: Content}},
	{at: smtp.AtDATA | smtp.AtDot, codes: "5", words: "malformed|rfc 5322|rfc5322|rfc 2822|not rfc compliant|bare lf|line too long",
		verdict: verdict{kind: Content}},

	// The recipient.
	{at: ofRecipient, enhanced: "4.1.2", verdict: verdict{kind: Recipient}},
	{at: ofRecipient, codes: "4", words: "recipient address rejected: domain not found", verdict: verdict{kind: Recipient}},
	{at: ofRecipient, codes: "4", enhanced: "4.1. 4.2.", verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, codes: "4", words: recipientWords, verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, enhanced: "5.1.1 5.1.2 5.1.3 5.1.4 5.1.6 5.1.10 5.2.1 5.2.3 5.6.7", verdict: verdict{kind: Recipient}},
	{at: ofRecipient, codes: "5", words: recipientWords, verdict: verdict{kind: Recipient}},
	{at: smtp.AtRCPT, codes: "551 556", verdict: verdict{kind: Recipient}},

	// The message, by its codes.
	{enhanced: "5.3.4", verdict: verdict{kind: Content}},
	{at: ofMessage, codes: "552", verdict: verdict{kind: Content}},
	{enhanced: "5.6.", verdict: verdict{kind: Content}},

	// The server's own trouble, though it calls it permanent.
	{enhanced: "5.3.1 5.3.2 5.3.5 5.4.", verdict: verdict{kind: Temporary}},

	// What is left goes by the first digit.
	{codes: "4", verdict: verdict{kind: Temporary}},
	{at: smtp.AtMAIL, codes: "5", verdict: verdict{kind: Configuration, hint: checkSender}},
	{codes: "5", verdict: verdict{kind: Configuration}},
}

// recipientWords are how servers say that there is no such recipient.
const recipientWords = "user unknown|unknown user|unknown local user|unknown recipient|recipient unknown|no such user|no such recipient|" +
	"no such mailbox|no such address|no such person|no such domain|user not found|user not exist|recipient not found|mailbox not found|" +
	"does not exist|doesn't exist|dosn't exist|doesn't have a|no mailbox|mailbox unavailable|mailbox disabled|mailbox is disabled|" +
	"mailbox is inactive|mailbox has been blocked|invalid mailbox|invalid recipient|invalid rcpt|invalid address|bad recipient|" +
	"bad address syntax|recipient address rejected|recipient addresses rejected|recipient rejected|recipient unavailable|" +
	"recipient temporarily unavailable|address rejected|address unknown|unknown address|addressee unknown|undeliverable address|" +
	"unrouteable|unroutable|not a valid mailbox|not a valid email|not a valid rfc-5321 address|not our customer|host unknown|host not found"

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

// failure judges an error of the pool, with hints for these settings.
func (p *smtpProvider) failure(err error) *Error {
	e := smtpFailure(err)
	e.Detail = redactFor(nil, e.Detail, p.logins)
	e.Momentary = isMomentary(err, e)
	var failed *smtp.Error
	if !errors.As(err, &failed) || e.Kind != Configuration {
		return e
	}
	switch isLogin := failed.Stage == smtp.AtAUTH && failed.Reply.Code != 0; {
	case isLogin && failed.Reply.RefusesMechanism():
		e.Hint = "the server does not take this way to log in: set auth.method to another, or remove it"
	case isLogin && p.tokens != nil:
		e.Hint = "the server refuses the access token: check auth.user, and that this client may use SMTP for this mailbox"
	case !p.logsIn && (e.Hint == refusedIP && failed.Stage >= smtp.AtMAIL || e.Hint == checkPassword || e.Hint == checkLogin):
		e.Hint = needLogin
	case p.logsIn && e.Hint == needLogin:
		e.Hint = needRight
	}
	return e
}

// spelledLogins are the passwords and how they go over the wire: a server may repeat a line
// that it does not understand.
func (s *SMTPSettings) spelledLogins() (all []settings.Secret) {
	add := func(user, password string) {
		if password == "" {
			return
		}
		for _, text := range []string{password, base64.StdEncoding.EncodeToString([]byte(password)),
			base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))} {
			all = append(all, settings.NewSecret(text))
		}
	}
	if s.Auth != nil {
		add(s.Auth.User, s.Auth.Pass.Reveal())
	}
	if s.Bounces != nil && s.Bounces.Auth != nil {
		add(s.Bounces.Auth.User, s.Bounces.Auth.Pass.Reveal())
	}
	return all
}

// isMomentary tells whether a mail may do better in a moment, because the server did
// not take it up: it restarts, is full, or sends everybody away for now.
func isMomentary(err error, e *Error) bool {
	var (
		failed *smtp.Error
		busy   *smtp.BusyError
	)
	switch {
	case !errors.As(err, &failed), failed.Stage > smtp.AtDATA, e.Quota, e.AboutAddress,
		errors.Is(err, smtp.ErrClosed), errors.As(err, &busy):
		return false
	case failed.Reply.Code == 0:
		return e.Kind == Temporary
	}
	return failed.Reply.Code < 500 && (e.Kind == Temporary || e.Kind == RateLimited)
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
	if !e.explainOwn(failed.Stage, failed.Err) {
		e.explain(failed.Stage, failed.Err)
	}
	if failed.Stage == smtp.AtProxy {
		e.explainProxy(failed.Err)
	}
	return e
}

// slowHints tell what a wait may be about that took all of the time.
var slowHints = map[smtp.Stage]string{
	smtp.AtGreeting: `a server that wants TLS first says nothing until it gets it: then set "secure": true`,
	smtp.AtAUTH:     "an earlier login may have been refused, and the server lets wait for it: check auth",
}

// explainOwn fills in what a cause that package smtp knows by name means to an
// operator, if it is one.
func (e *Error) explainOwn(stage smtp.Stage, err error) bool {
	var (
		busy      *smtp.BusyError
		pace      *smtp.PaceError
		size      *smtp.SizeError
		mechanism *smtp.MechanismError
		login     *smtp.AuthError
	)
	e.Detail = Redact(err.Error())
	switch {
	case err == context.DeadlineExceeded: //nolint:errorlint // a dialler's own time-out is one too, but not this one
		e.Detail, e.Hint = "no answer before the deadline of the mail", slowHints[stage]
	case errors.Is(err, context.Canceled):
		e.Detail = "the mail was cancelled"
	case errors.As(err, &busy):
		e.Hint = "raise maxConnections if the server allows more"
	case errors.As(err, &pace):
		e.Kind, e.RetryAfter = RateLimited, pace.Wait
		e.Hint = "rateLimit and rateDelta hold it back: raise them if the service allows more"
	case errors.As(err, &size):
		e.Kind = Content
	case errors.Is(err, smtp.ErrTooLate), errors.Is(err, smtp.ErrClosed):
	case errors.Is(err, smtp.ErrNoUTF8) && stage == smtp.AtRCPT:
		e.Kind = Recipient
	case errors.Is(err, smtp.ErrNoUTF8):
		e.Kind, e.Hint = Configuration, "write a sender and a reply address whose part before the @ is ASCII"
	case errors.Is(err, smtp.ErrNoTLS):
		e.Kind = Configuration
		e.Hint = `use the port for implicit TLS with "secure": true; a password never goes out in clear text`
	case errors.Is(err, smtp.ErrClearText):
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
	text, enhanced := smtpWords(reply)
	for i := range smtpRules {
		if rule := &smtpRules[i]; rule.fits(stage, code, enhanced, text) {
			e.Kind, e.Quota, e.Suppressed, e.Hint = rule.kind, rule.quota, rule.suppressed, rule.hint
			e.AboutAddress, e.Filtered = rule.aboutAddress, rule.filtered
			break
		}
	}
	return e
}

var (
	// furtherCodes stand in front of the lines after the first.
	furtherCodes = regexp.MustCompile(`\n[245]\.\d{1,3}\.\d{1,3} `)
	// textCodes are how qmail and others write an enhanced code.
	textCodes = regexp.MustCompile(`#([45]\.\d{1,3}\.\d{1,3})\b`)
)

// smtpWords returns the words of a reply in small letters, and its enhanced code. They
// have no addresses, so that one at relay.example.com does not look like a word about
// relaying.
func smtpWords(reply smtp.Reply) (text, enhanced string) {
	text, enhanced = reply.Text, reply.Enhanced
	if found := textCodes.FindStringSubmatch(text); enhanced == "" && found != nil {
		enhanced = found[1]
	}
	text = addresses.ReplaceAllString(furtherCodes.ReplaceAllString(text, " "), "")
	return strings.Join(strings.Fields(strings.ToLower(text)), " "), enhanced
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
	case isForeignAddress(err):
		configuration("the connection cannot leave from this local address", "localAddress must be an address of this machine")
	case errors.As(err, &address):
		configuration("there is no suitable address", familyHint)
	case errors.As(err, &notTLS):
		configuration("the server does not speak TLS on this port",
			`remove "secure": true, or use the port for implicit TLS, usually 465`)
	case errors.As(err, &hostname) && len(hostname.Certificate.DNSNames)+len(hostname.Certificate.IPAddresses) == 0:
		configuration("the server's certificate has a common name alone, which does not count any more",
			"renew it with its host name as a subject alternative name (SAN)")
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
	case errors.As(err, &operation) && (operation.Op == "remote error" || operation.Op == "local error"):
		hint := "check tls.minVersion, and tls.ciphers if the server is an old one"
		if text := operation.Err.Error(); strings.Contains(text, "certificate") {
			hint = "the server wants another certificate of its client: check tls.cert and tls.key"
		}
		configuration("no agreement on TLS: "+Redact(operation.Err.Error()), hint)
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
			e.Hint = "greetingTimeout bounds this; " + slowHints[stage]
		case smtp.AtAUTH:
			e.Hint = "socketTimeout bounds this; " + slowHints[stage]
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

// explainProxy says that a failure is about the proxy, and what it means beyond what
// it would mean at the server.
func (e *Error) explainProxy(err error) {
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
	case errors.As(err, &op) && strings.HasPrefix(op.Op, "socks"):
		if e.Hint = ""; socksRefuses(op.Err) {
			e.Kind, e.Hint = Configuration, proxyHint
		}
	case errors.Is(err, smtp.ErrNotHTTP):
		e.Kind, e.Hint = Configuration, "check the scheme and the port of proxy"
	}
	if !strings.Contains(e.Detail, "proxy") {
		e.Detail = "proxy: " + e.Detail
	}
}
