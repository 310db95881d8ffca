package providers

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"logto-email-relay/bounces"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// BounceSettings are those of a provider whose bounces come to a mailbox, if the operator
// named one.
type BounceSettings interface {
	Settings
	ReadsBounces() bool
}

// BounceReader is a Provider that understands what comes back of its mails.
type BounceReader interface {
	Provider
	// Bounce returns what a mail that came back reports, nothing if it is no report of a
	// mail of the relay's. Nobody has proved where it comes from: what counts is that it
	// names the id of a mail, which nobody can guess.
	Bounce(message []byte) []mail.Report
	// WatchBounces reads the mailbox until the context ends. take tells how many of the
	// reports are of unknown mails; told hears of what keeps the mailbox from being read, an
	// *Error or one of take's, and of nil when it is read.
	WatchBounces(ctx context.Context, take func(context.Context, []mail.Report) (unknown int, err error), told func(error))
	// CheckBounces signs in at the mailbox. Its error is an *Error.
	CheckBounces(ctx context.Context) error
}

// SMTPBounces is the IMAP mailbox that bounces come to. The certificate of its server is
// checked as tls says, and the way there is that of the provider: proxy, localAddress and
// ipv4.
type SMTPBounces struct {
	// Host is the IMAP server's name or address.
	Host string `json:"host" validate:"required,serverhost|ip"`
	// Port is 993 when not given. The connection speaks TLS from the first byte, on port
	// 143 after STARTTLS.
	Port int `json:"port" validate:"gte=0,lte=65535"`
	// Auth is the login; that of the provider when not given, OAuth 2 included.
	Auth *SMTPBouncesAuth `json:"auth"`
	// Mailbox is its name there; INBOX when not given.
	Mailbox string `json:"mailbox"`
	// Processed is what becomes of the reports that were taken: "seen", "moved" or
	// "deleted"; "seen" when not given. All other mails stay as they are.
	Processed string `json:"processed" validate:"omitempty,oneof=seen moved deleted"`
	// MoveTo is the mailbox that they are moved to.
	MoveTo string `json:"moveTo"`
	// Poll is how often to look for new mails where the server does not tell of them by
	// itself; a minute when not given.
	Poll settings.Duration `json:"poll"`
}

// SMTPBouncesAuth is a login by password.
type SMTPBouncesAuth struct {
	// User and Pass are the login at the mailbox.
	User string          `json:"user" validate:"required"`
	Pass settings.Secret `json:"pass" validate:"required"`
}

const (
	imapTLSPort   = 993
	imapPlainPort = 143
	shortestPoll  = 10 * time.Second
)

func (b *SMTPBounces) check(auth *SMTPAuth, report func(key, text string)) {
	switch hasLogin := auth != nil && auth.User != ""; {
	case b.Auth == nil && !hasLogin:
		report("bounces.auth", `write the user and the password of the mailbox, such as {"user": "bounces@acme.example", "pass": "${BOUNCES_PASSWORD}"}`)
	case b.Auth != nil && breaksLine(b.Auth.User+b.Auth.Pass.Reveal()):
		report("bounces.auth", "user and password must not hold line breaks or NUL")
	}
	if (b.Processed == "moved") != (b.MoveTo != "") {
		report("bounces.moveTo", `name the mailbox that reports are moved to, and write "processed": "moved"`)
	}
	if b.Poll != 0 && time.Duration(b.Poll) < shortestPoll {
		report("bounces.poll", `write a time of at least "10s"`)
	}
}

// idInSender stands for the id of the mail in the sender between servers.
const idInSender = "{{id}}"

// check wants a sender that a server takes with any id in it.
func (e *SMTPEnvelope) check(report func(key, text string)) {
	local, domain, _ := strings.Cut(e.From.Address.Address, "@")
	const longest = 64 // RFC 5321, 4.5.3.1.1
	switch n := strings.Count(local, idInSender); {
	case strings.Contains(domain, "{"), n == 0 && strings.ContainsAny(local, "{}"), n > 1:
		report("envelope.from", `write {{id}} once and before the @, such as "bounces+{{id}}@acme.example"`)
	case n == 1 && len(local)-len(idInSender)+len(mail.NewID()) > longest:
		report("envelope.from", "with an id of 26 characters this is too long before the @")
	}
}

// sender is who a mail comes from between servers.
func (p *smtpProvider) sender(m *mail.Message) string {
	return cmp.Or(strings.Replace(p.bounces, idInSender, m.ID, 1), m.From.Address)
}

// ReadsBounces tells whether there is a mailbox.
func (s *SMTPSettings) ReadsBounces() bool { return s.Bounces != nil }

// mailbox is where bounces come to; nil if nowhere.
func (s *SMTPSettings) mailbox(tokens *accessTokens) (*bounces.Mailbox, error) {
	b := s.Bounces
	if b == nil {
		return nil, nil
	}
	port := cmp.Or(b.Port, imapTLSPort)
	dialer, err := s.dialer(strings.ToLower(b.Host), port)
	if err != nil {
		return nil, err
	}
	config, err := s.tlsConfig()
	if err != nil {
		return nil, err
	}
	config.ServerName = strings.ToLower(b.Host)
	m := &bounces.Mailbox{
		Dial: dialer.Dial, TLS: config, STARTTLS: port == imapPlainPort,
		Name: cmp.Or(b.Mailbox, "INBOX"), Delete: b.Processed == "deleted", MoveTo: b.MoveTo,
		Poll: cmp.Or(time.Duration(b.Poll), time.Minute),
	}
	switch {
	case b.Auth != nil:
		m.User, m.Password = b.Auth.User, b.Auth.Pass.Reveal()
	case tokens != nil:
		m.User = s.Auth.User
		m.Token = func(ctx context.Context) (string, error) {
			token, _, err := tokens.Token(ctx)
			return token, err
		}
	default:
		m.User, m.Password = s.Auth.User, s.Auth.Pass.Reveal()
	}
	return m, nil
}

// readReport reads a report; nil if it is none. Strangers write to the address, and
// nothing else would keep a fault of the parser from ending the relay again and again:
// a mail that has one is not understood, and stays in the mailbox for people.
func readReport(message []byte) (read *bounces.Report) {
	defer func() {
		if recover() != nil {
			read = nil
		}
	}()
	return bounces.Parse(message)
}

// Bounce finds the id of the mail that a report is about.
func (p *smtpProvider) Bounce(message []byte) []mail.Report {
	read := readReport(message)
	if read == nil {
		return nil
	}
	id := p.idOf(read)
	if id == "" {
		return nil
	}
	at := read.Time.UTC()
	if read.Time.IsZero() {
		at = time.Now().UTC()
	}
	var reports []mail.Report
	for _, r := range read.Results {
		status := mail.StatusBounced
		switch r.Outcome {
		case bounces.Delayed:
			status = mail.StatusDeferred
		case bounces.Delivered:
			status = mail.StatusDelivered
		case bounces.Complained:
			status = mail.StatusComplained
		}
		key := strings.Join([]string{cmp.Or(read.ID, sumOf(message)), string(status), r.Address}, " ")
		detail := r.Diagnostic
		if !strings.Contains(detail, r.Status) {
			detail = r.Status + " " + detail
		}
		one := newReport(id, "", key, at, status, []string{r.Address, r.Original}, "", loose(detail))
		if status == mail.StatusBounced {
			// A report may have more words than those of the server. What the server said
			// has to agree: the code beside words without one is the guess of whoever reports.
			said := bounceOf(cmp.Or(r.Diagnostic, r.Status))
			isOther := namesAnother(detail, r.Address) || r.Original != "" // sent on
			one.Soft = !r.Hard || said.soft || r.Diagnostic != "" && !said.hard || isOther
			one.Ours = one.Soft && (!said.ofMailbox || isOther)
		}
		for _, address := range []string{r.Address, r.Original} {
			if address != "" {
				one.To = append(one.To, address)
			}
		}
		reports = append(reports, one)
	}
	return reports
}

// idOf finds the id of a mail of ours: in the address that the report was sent to, and in
// what it says of the mail. It is empty if there is none.
func (p *smtpProvider) idOf(report *bounces.Report) string {
	before, after, _ := strings.Cut(strings.ToLower(p.bounces), idInSender)
	for _, address := range report.SentTo {
		rest, isOurs := strings.CutPrefix(strings.ToLower(address), before)
		if id := strings.TrimSuffix(rest, after); isOurs && mail.IsID(id) { // nothing with an @ is an id
			return id
		}
	}
	for _, ref := range report.Refs {
		if id, _, _ := strings.Cut(ref, "@"); mail.IsID(id) {
			return id
		}
	}
	return ""
}

// WatchBounces reads the mailbox.
func (p *smtpProvider) WatchBounces(ctx context.Context, take func(context.Context, []mail.Report) (int, error), told func(error)) {
	p.mailbox.Watch(ctx, func(ctx context.Context, message []byte) (bounces.Verdict, error) {
		reports := p.Bounce(message)
		if len(reports) == 0 {
			return bounces.Ignored, nil
		}
		unknown, err := take(ctx, reports)
		if unknown > 0 {
			return bounces.Unknown, err
		}
		return bounces.Taken, err
	}, func(err error) { told(p.mailboxFailure(ctx, err)) })
}

// CheckBounces signs in at the mailbox.
func (p *smtpProvider) CheckBounces(ctx context.Context) error {
	return p.mailboxFailure(ctx, p.mailbox.Check(ctx))
}

// mailboxFailure tells an operator why the mailbox cannot be read; nil if it can.
func (p *smtpProvider) mailboxFailure(ctx context.Context, err error) error {
	var failed *bounces.Error
	if !errors.As(err, &failed) {
		return err
	}
	var known *Error
	if errors.As(err, &known) { // no access token
		return known
	}
	e := &Error{Kind: Temporary, Stage: failed.Stage, Code: failed.Code, Err: err}
	var lookup *net.DNSError
	said := strings.ToLower(failed.Code + " " + failed.Said)
	isBusy := anyOf("unavailable |limit |inuse |serverbug |overquota |too many|server busy|server unavailable|throttled|temporar", "|", func(w string) bool { return strings.Contains(said, w) })
	switch {
	case failed.Refused:
		e.Detail = redactFor(nil, failed.Said, p.logins)
	default:
		e.Detail = networkWords(failed.Err)
	}
	switch {
	case isBusy:
	case strings.Contains(said, "authenticated but not connected"):
		e.Kind, e.Hint = Configuration, "the login is right, and may not open the mailbox: check its rights and its licence"
	case failed.Stage == "login" && failed.Refused:
		e.Kind, e.Hint = Configuration, "check the login of the mailbox, and whether it may use IMAP"
		if p.tokens != nil && p.mailbox.Token != nil {
			if token, err := p.mailbox.Token(ctx); err == nil {
				p.tokens.Drop(token)
			}
		}
	case failed.Stage == "mailbox" && failed.Refused:
		e.Kind, e.Hint = Configuration, "check bounces.mailbox and bounces.moveTo: both must be there"
	case failed.Stage == "TLS":
		e.Kind, e.Hint = Configuration, "check bounces.host, bounces.port and tls"
	case errors.As(failed.Err, &lookup) && lookup.IsNotFound:
		e.Kind, e.Hint = Configuration, "no such host; check bounces.host"
	case isForeignAddress(failed.Err):
		e.Kind, e.Hint = Configuration, "localAddress is not an address of this machine"
	}
	return e
}
