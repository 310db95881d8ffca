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

	"logto-email-relay/mail"
	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

// failure judges an error of the pool, with hints for these settings.
func (p *smtpProvider) failure(err error) *Error {
	e := smtpFailure(err)
	e.Momentary = isMomentary(err, e)
	var failed *smtp.Error
	if errors.As(err, &failed) && failed.Reply.Text != "" { // whole: half a password would not be found
		e.Detail = failed.Reply.Text
	}
	if !e.isOwn {
		e.Detail = redactFor(nil, e.Detail, p.logins)
	}
	if failed == nil || e.Kind != Configuration {
		return e
	}
	switch isLogin := failed.Stage == smtp.AtAUTH && failed.Reply.Code != 0; {
	case isLogin && p.tokens != nil:
		e.Hint = "the server refuses the access token: check auth.user, and that this client may use SMTP for this mailbox"
	case isLogin && failed.Reply.RefusesMechanism():
		e.Hint = "the server does not take this way to log in: set auth.method to another, or remove it"
	case !p.logsIn && (e.Hint == refusedIP && failed.Stage >= smtp.AtMAIL || e.Hint == checkPassword || e.Hint == checkLogin):
		e.Hint = needLogin
	case p.logsIn && e.Hint == noRecords: // the sender was accepted
		e.Kind, e.Unplaced, e.Filtered, e.Hint = Recipient, false, true, noDomain
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
// not take it up: it restarts, is full, or sends everybody away for now. What it says after
// the final dot is not trusted so far: Mailpit that is being stopped answers 451 about mails
// that it has kept and sent on, and those would come twice.
func isMomentary(err error, e *Error) bool {
	var (
		failed *smtp.Error
		busy   *smtp.BusyError
	)
	switch {
	case !errors.As(err, &failed), e.Quota, e.AboutAddress, errors.Is(err, smtp.ErrClosed), errors.As(err, &busy):
		return false
	case failed.Stage == smtp.AtDot && e.Kind != RateLimited: // which says why it was not taken
		return false
	case failed.Reply.Code == 0:
		return e.Kind == Temporary
	}
	// Of what throttles only too many connections, and too many mails a second, are over in a
	// moment: mails a minute and logins are counted where they are refused, too.
	return failed.Reply.Code < 500 && (e.Kind == Temporary || e.Kind == RateLimited && (e.Hint == fewer || ofSecond.MatchString(failed.Reply.Text)))
}

var ofSecond = regexp.MustCompile(`(?i)\bper second\b|\bsending rate exceeded\b`) // the latter is Amazon SES'

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
	if errors.As(err, &busy) || errors.As(err, &pace) || errors.As(err, &size) {
		e.Detail, e.isOwn = err.Error(), true
	}
	switch {
	case err == context.DeadlineExceeded: //nolint:errorlint // a dialler's own time-out is one too, but not this one
		e.Detail, e.Hint = "no answer before the deadline of the mail", slowHints[stage]
	case errors.Is(err, context.Canceled):
		e.Detail = "the mail was cancelled"
	case busy != nil:
		e.Hint = "raise maxConnections if the server allows more"
	case pace != nil:
		e.Kind, e.RetryAfter = RateLimited, pace.Wait
		e.Hint = "rateLimit and rateDelta hold it back: raise them if the service allows more"
	case size != nil:
		e.Kind, e.Filtered = Content, true // another server may take it
	case errors.Is(err, smtp.ErrTooLate), errors.Is(err, smtp.ErrClosed):
	case errors.Is(err, smtp.ErrNoUTF8) && stage == smtp.AtRCPT:
		e.Kind, e.Filtered = Recipient, true
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
			e.Hint = "remove auth.method, and the first one that is offered is taken"
		}
	default:
		return false
	}
	return true
}

// namesSenderAlone tells whether the server says of the sender's address or domain what it
// would say of the recipient's, such as that there is no such user. Where bounces go may be
// another address than the one in the mail.
func namesSenderAlone(err error, envelope smtp.Envelope, from string) bool {
	var failed *smtp.Error
	if !errors.As(err, &failed) {
		return false
	}
	names := func(text, what string) bool {
		what = regexp.QuoteMeta(strings.ToLower(what))
		return what != "" && regexp.MustCompile(`(^|[^\w.-])`+what+`(\.?[^\w.-]|\.?$)`).MatchString(strings.ToLower(text))
	}
	all := failed.Reply.Text
	said := urls.ReplaceAllString(whomToAsk.ReplaceAllString(all, ""), "")
	if names(all, envelope.To) {
		return false
	}
	for _, sender := range []string{envelope.From, from} {
		isElsewhere := !strings.EqualFold(mail.Domain(sender), mail.Domain(envelope.To))
		if names(said, sender) && !isElsewhere || names(said, mail.Domain(sender)) && isElsewhere && !names(said, mail.Domain(envelope.To)) {
			return true
		}
	}
	return false
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
		switch {
		case (stage == smtp.AtRCPT || stage == smtp.AtDot && reply.Code == 254) && suppressing.MatchString(reply.Text): // Oracle's 254
			e.Kind, e.Suppressed, e.Hint = Recipient, true, ""
		case stage == smtp.AtDot:
			e.Kind = Uncertain
		}
		return e
	}
	quoted := quotedIn(reply.Text)
	if quoted == nil || stage != smtp.AtRCPT {
		e.judge(stage, reply)
		return e
	}
	said, _ := strconv.Atoi(quoted[0])
	e.judge(stage, smtp.Reply{Code: said, Enhanced: quoted[1], Text: quoted[2]})
	if e.Hint == mayRelay { // nobody relays by the recipient's own server
		e.Kind, e.Unplaced, e.Hint = Recipient, false, ""
	}
	if e.Kind != Recipient { // it is a matter of that one server
		e.Kind, e.AboutAddress, e.Quota, e.Filtered, e.Unplaced = Temporary, true, false, false, false
	}
	if said < 500 {
		e.Hint = ""
	}
	return e
}

// quotedIn returns the code, the enhanced code and the words that a server quotes of the
// recipient's; nil if of none. What it quotes of the sender's is no matter of the recipient.
func quotedIn(text string) []string {
	quoted := quotedReply.FindStringSubmatch(text)
	if quoted == nil || strings.HasSuffix(text, "Sender verify failed") {
		return nil
	}
	if before, _, _ := strings.Cut(text, quoted[0]); ofSender.MatchString(before) {
		return nil
	}
	return quoted[1:]
}

// findsNoDomain tells whether a server does not find the recipient's domain, by its words or code.
func (e *Error) findsNoDomain() bool {
	return e.Hint == noDomain || e.Kind == Recipient && (strings.HasSuffix(e.Code, " 5.1.2") || noSuchDomain.MatchString(e.Detail))
}

// judge says what a reply means.
func (e *Error) judge(stage smtp.Stage, reply smtp.Reply) {
	code := strconv.Itoa(reply.Code)
	text, enhanced := smtpWords(reply)
	for i := range smtpRules {
		if rule := &smtpRules[i]; rule.fits(stage, code, enhanced, text) {
			e.Kind, e.Quota, e.Suppressed, e.Hint = rule.kind, rule.quota, rule.suppressed, rule.hint
			e.AboutAddress, e.Filtered, e.Unplaced = rule.aboutAddress, rule.filtered, rule.unplaced
			break
		}
	}
}

var (
	// furtherCodes stand in front of the lines after the first.
	furtherCodes = regexp.MustCompile(`\n[245]\.\d{1,3}\.\d{1,3} `)
	// textCodes are how qmail and others write an enhanced code.
	textCodes = regexp.MustCompile(`(?m)(?:^|[#(\[<])([45]\.\d{1,3}\.\d{1,3})(?:[^.\d]|$)`)
	// quotedReply is what Postfix or Exim was answered when it asked the recipient's server
	// whether there is such an address, and what Cisco's gateway was answered to one, which it
	// calls unknown whatever the answer.
	quotedReply = regexp.MustCompile(`(?is)(?:\b(?:undeliverable|unverified) address: host \S+ (?:said|refused to talk to me): |` +
		`\bcallout verification failed:\s+(?:[45]\d\d )?|\bunknown address error )([45]\d\d)[ -](?:([45]\.\d{1,3}\.\d{1,3}) )?(.+?)(?: \(in reply to .*)?$`)
	// ofSender is how Postfix and Exim begin when the sender's server was asked.
	ofSender = regexp.MustCompile(`(?i)sender address rejected|verification failed for`)
	// suppressing is how Oracle says that it sends nothing to an address.
	suppressing = regexp.MustCompile(`(?i)\bsuppress(ed|ion)\b`)
	// discarded is how amavis, clamsmtp and other filters tell of a mail that they took and do not pass on.
	discarded = regexp.MustCompile(`(?i)\bdiscard(ed|ing)?\b|\bquarantined\b|\bid=\S+, bounce\b`)
	// mailFromIP is no command, which is about the sender.
	mailFromIP = regexp.MustCompile(`(?i)\bmail from \[?(?:(?:\d+\.){3}\d|[\da-f]*:[\da-f]*:)[\da-f:.]*`)
	// quotedWords are single words in quotes, such as the name of a field.
	quotedWords = regexp.MustCompile("[\"'`]([a-z]+)[\"'`]")
	// byPolicy is what Postfix writes before the words of a policy service, whatever they
	// are about, and byPostfix is where it speaks of the recipient itself.
	byPolicy  = "recipient address rejected: "
	byPostfix = regexp.MustCompile(byPolicy + `(access denied|domain not found|domain .* does not accept|unverified|undeliverable|user unknown|malformed|need fully)`)
	// sendersTask is what happens to every mail that is refused, no word about its sender.
	sendersTask = regexp.MustCompile(`\b(return(ed|ing)?( \w+)? to|contact|notify|inform|ask|tell)( the)? sender\b|\bsender( was| has been)? (notified|informed)\b`)
	// emptyBrackets are what is left where an address stood.
	emptyBrackets = strings.NewReplacer("<>", "", "[]", "", "()", "", "( )", "")
)

// smtpWords returns the words of a reply in small letters, and its enhanced code. They
// have no addresses and names of hosts, so that relay.example.com does not look like a word
// about relaying.
func smtpWords(reply smtp.Reply) (text, enhanced string) {
	text, enhanced = reply.Text, reply.Enhanced
	if found := textCodes.FindStringSubmatch(text); enhanced == "" && found != nil {
		enhanced = found[1]
	}
	text = strings.ReplaceAll(furtherCodes.ReplaceAllString(text, " "), "...", " ... ") // "ada@example.net...User unknown"
	text = mailFromIP.ReplaceAllString(mail.WithoutHosts(addresses.ReplaceAllString(text, "")), "mail of ip address")
	text = quotedWords.ReplaceAllString(emptyBrackets.Replace(strings.ToLower(text)), "$1")
	text = " " + sendersTask.ReplaceAllString(strings.Join(strings.Fields(text), " "), "")
	if reply.Code >= 500 && !byPostfix.MatchString(text) {
		text = strings.Replace(text, byPolicy, "", 1)
	}
	return text, enhanced
}

// isDiscarded tells whether a server that took a mail says that it does not pass it on. An id
// with such a word in it says nothing. That there is none is seen quickly, since every mail
// comes by here.
func isDiscarded(text string) bool {
	lower := strings.ToLower(text)
	return anyOf("discard|quarantined|, bounce", "|", func(w string) bool { return strings.Contains(lower, w) }) &&
		discarded.MatchString(mail.WithoutHosts(addresses.ReplaceAllString(text, "")))
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
			`remove "secure": true, or use the port for implicit TLS, usually 465; where it is not set, something on the way breaks STARTTLS`)
	case errors.As(err, &hostname) && len(hostname.Certificate.DNSNames)+len(hostname.Certificate.IPAddresses) == 0:
		configuration("the server's certificate has a common name alone, which does not count any more",
			"renew it with its host name as a subject alternative name (SAN), and put it into tls.ca if no authority signs it")
	case errors.As(err, &authority) && strings.Contains(err.Error(), "insecure algorithm"):
		configuration("the server's certificate is signed with SHA-1 or another way that does not count any more", "renew it")
	case errors.As(err, &authority):
		configuration("the server's certificate is signed by an unknown authority",
			"put the authority's certificate into tls.ca; if it is there, the server does not send its intermediate certificate")
	case errors.As(err, &hostname):
		configuration("the server's certificate is for another host name",
			"set host or servername to the name in the certificate")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		configuration("the server's certificate has expired or is not yet valid", "renew it, or check this machine's clock")
	case errors.As(err, &untrusted):
		configuration("the server's certificate cannot be verified", "check tls.ca and servername")
	case stage == smtp.AtTLS && strings.Contains(err.Error(), "unsupported protocol version"): // Go has no type for it
		configuration("no agreement on TLS: the server wants an older version", "check tls.minVersion; better have the server renewed")
	case errors.As(err, &operation) && (operation.Op == "remote error" || operation.Op == "local error"):
		hint := "check tls.minVersion, tls.ciphers if the server is an old one, and tls.cert if it wants to know its clients"
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
	case errors.Is(err, smtp.ErrRefused):
		e.Detail, e.Hint = "the connection was refused", "check host and port, and that the server runs"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, smtp.ErrReset), errors.Is(err, smtp.ErrAborted):
		e.Detail = "the server closed the connection"
	case errors.As(err, &operation):
		e.Detail = Redact(operation.Err.Error())
	}
}

// explainProxy says that a failure is about the proxy, and what it means beyond what
// it would mean at the server.
func (e *Error) explainProxy(err error) {
	if !e.explainProxyAnswer(err) && errors.Is(err, smtp.ErrNotHTTP) {
		e.Kind, e.Hint = Configuration, proxySchemeHint
	}
	if !strings.Contains(e.Detail, "proxy") {
		e.Detail = "proxy: " + e.Detail
	}
}
