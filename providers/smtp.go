package providers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"logto-email-relay/bounces"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

var (
	_ Connected    = (*smtpProvider)(nil)
	_ BounceReader = (*smtpProvider)(nil)
)

// Open makes the provider.
func (s *SMTPSettings) Open() (Provider, error) {
	p := &smtpProvider{headers: s.CustomHeaders, bounces: s.Envelope.From.Address.Address, logsIn: s.logsIn(), logins: s.spelledLogins()}
	var err error
	if s.DKIM != nil {
		if p.signer, err = s.DKIM.signer(); err != nil {
			return nil, fmt.Errorf("dkim: %w", err)
		}
	}
	if s.Auth.usesOAuth2() {
		if p.tokens, err = s.tokenSource(); err != nil {
			return nil, err
		}
	}
	server, err := s.server(p.tokens)
	if err != nil {
		return nil, err
	}
	if p.mailbox, err = s.mailbox(p.tokens); err != nil {
		return nil, err
	}
	p.pool = smtp.NewPool(server)
	return p, nil
}

// smtpProvider hands mails to one SMTP server.
//
// A mail is checked before a connection is asked for, and built when there is
// one, so that those that wait hold nothing.
type smtpProvider struct {
	pool    *smtp.Pool
	headers []mail.Header
	bounces string           // where they go, with idInSender in it or not; empty for the sender of the mail
	mailbox *bounces.Mailbox // where they are read; nil for nowhere
	logsIn  bool
	logins  []settings.Secret // which no server's words may repeat
	signer  *smtp.DKIM        // nil when mails are not signed
	tokens  *accessTokens     // nil when the login is by password, or there is none
	drafts  sync.Pool         // of *smtpDraft
	// blind is until when what the server says of domains is not believed; nil for never.
	blind atomic.Pointer[time.Time]
}

var (
	_ Verifier = (*smtpProvider)(nil)
	_ Pooled   = (*smtpProvider)(nil)
)

// Send hands over one message.
func (p *smtpProvider) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	envelope, failure := p.envelope(m)
	if failure != nil {
		return Receipt{}, failure
	}
	// While the mail waits for its verdict, nothing else of it is held.
	messageID, from := m.MessageID, m.From.Address
	envelope.Written = func() { m = nil }
	reply, err := p.pool.Send(ctx, envelope, func(b []byte) ([]byte, error) { return p.build(b, m) })
	if err != nil {
		failure := p.failure(err)
		if failure.Kind == Recipient && namesSenderAlone(err, envelope, from) {
			failure.Kind, failure.Suppressed, failure.Filtered, failure.Hint = Configuration, false, false, checkSender
		}
		if failure.findsNoDomain() && p.isBlind(mail.Domain(envelope.To), time.Now()) {
			failure.Kind, failure.AboutAddress, failure.Filtered, failure.Hint = Temporary, false, false, noNames
			failure.Momentary = isMomentary(err, failure)
		}
		return Receipt{}, failure
	}
	if isDiscarded(reply.Text) {
		return Receipt{}, &Error{Kind: Content, Filtered: true, Stage: smtp.AtDot.String(), Code: strconv.Itoa(reply.Code),
			Detail: redactFor(nil, reply.Text, p.logins), Hint: "the server's filter throws the mail away: let it pass what this client sends"}
	}
	if id := reply.QueueID(); id != "" {
		return Receipt{ID: id}, nil
	}
	return Receipt{ID: messageID}, nil
}

// blindTime is how long a server that does not find a domain that exists is not believed of others.
const blindTime = time.Minute

// isBlind tells whether a server that finds no such domain has trouble with its own name servers.
// Postfix says so of every domain where those say nothing:
// https://www.postfix.org/postconf.5.html#reject_unknown_recipient_domain
func (p *smtpProvider) isBlind(domain string, now time.Time) bool {
	if mail.IsWellKnown(domain) {
		p.blind.Store(new(now.Add(blindTime)))
	}
	until := p.blind.Load()
	return until != nil && now.Before(*until)
}

// Connected tells that Verify warms the pool.
func (p *smtpProvider) Connected() {}

// Verify opens a connection, TLS and login included, unless one is open. It stays
// open for the first mail.
func (p *smtpProvider) Verify(ctx context.Context) (string, error) {
	if err := p.pool.Verify(ctx); err != nil {
		return "", p.failure(err)
	}
	if p.tokens != nil && p.tokens.note != nil {
		return p.tokens.note(), nil
	}
	return "", nil
}

// Connections tells of the pool.
func (p *smtpProvider) Connections() (open, idle int) { return p.pool.Connections() }

// Close waits for the mails under way and closes the connections.
func (p *smtpProvider) Close() error {
	p.pool.Close()
	if p.tokens != nil {
		return p.tokens.client.Close()
	}
	return nil
}

// envelope checks the message and finds its envelope.
func (p *smtpProvider) envelope(m *mail.Message) (smtp.Envelope, *Error) {
	refuse := func(kind Kind, stage smtp.Stage, err error) (smtp.Envelope, *Error) {
		return smtp.Envelope{}, &Error{Kind: kind, Stage: stage.String(), Detail: err.Error(), Err: err}
	}
	if failure := checkMessage(m); failure != nil {
		return smtp.Envelope{}, failure
	}
	var (
		envelope smtp.Envelope
		err      error
	)
	if envelope.To, _, err = mail.Path(m.To); err != nil {
		return refuse(Recipient, smtp.AtRCPT, err)
	}
	if envelope.From, _, err = mail.Path(p.sender(m)); err != nil {
		return refuse(Configuration, smtp.AtMAIL, err)
	}
	for _, address := range []string{m.From.Address, m.ReplyTo.Address} {
		if address == "" {
			continue
		}
		_, ascii, err := mail.Path(address)
		if err != nil {
			return refuse(Configuration, smtp.AtMAIL, err)
		}
		envelope.UTF8Header = envelope.UTF8Header || !ascii
	}
	return envelope, nil
}

// smtpDraft is a message with room for what it points to. Used again and again, it
// saves four allocations a mail.
type smtpDraft struct {
	smtp.Message
	text, html mail.Body
}

// build appends the mail as it goes to the server. A custom header replaces one of
// the same name.
func (p *smtpProvider) build(b []byte, m *mail.Message) ([]byte, error) {
	d, ok := p.drafts.Get().(*smtpDraft)
	if !ok {
		d = new(smtpDraft)
	}
	defer p.drafts.Put(d)
	d.From = smtp.Mailbox{Name: m.From.Name, Address: quotedAddress(m.From.Address)}
	d.ReplyTo = smtp.Mailbox{Name: m.ReplyTo.Name, Address: quotedAddress(m.ReplyTo.Address)}
	d.To = quotedAddress(m.To)
	d.Subject, d.Date, d.ID, d.Boundary = m.Subject, m.Date, m.MessageID, m.ID
	d.text, d.html = append(d.text[:0], mail.OwnPart(m.Text)), m.HTML
	d.Text, d.HTML, d.Headers = &d.text, nil, d.Headers[:0]
	if !m.HTML.IsEmpty() {
		d.HTML = &d.html
	}
	for _, header := range m.Headers {
		if !slices.ContainsFunc(p.headers, func(own mail.Header) bool { return strings.EqualFold(own.Name, header.Name) }) {
			d.Headers = append(d.Headers, smtp.Header(header))
		}
	}
	for _, header := range p.headers {
		if filled, ok := fillText(header.Value, m); ok {
			d.Headers = append(d.Headers, smtp.Header{Name: header.Name, Value: filled})
		}
	}
	b, err := d.AppendTo(b)
	if err != nil {
		return b, &Error{Kind: Content, Stage: smtp.AtBody.String(), Detail: err.Error(), Err: err}
	}
	if p.signer != nil {
		if b, err = p.signer.Sign(b); err != nil {
			return b, &Error{Kind: Configuration, Stage: smtp.AtBody.String(), Detail: err.Error(), Err: err}
		}
	}
	return b, nil
}
