package providers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// SMTPSettings are the keys of Logto's SMTP connector, which are those of
// nodemailer: https://nodemailer.com/smtp
//
// Name is also what the relay calls itself in EHLO when it is a full host name;
// else that is the machine's own name.
type SMTPSettings struct {
	Common
	Host string `json:"host" validate:"required,hostname_rfc1123|ip"`
	// Port is 587 when not given, 465 with "secure": true.
	Port int `json:"port" validate:"gte=0,lte=65535"`
	// Secure means TLS from the first byte; without it the port decides.
	Secure *bool `json:"secure"`
	// RequireTLS refuses to go on without STARTTLS, IgnoreTLS never uses it.
	RequireTLS bool    `json:"requireTLS"`
	IgnoreTLS  bool    `json:"ignoreTLS"`
	TLS        SMTPTLS `json:"tls"`
	// ServerName is the name that the certificate must have; host when not given.
	ServerName string    `json:"servername"`
	Auth       *SMTPAuth `json:"auth"`
	// AuthMethod is another place for auth.method.
	AuthMethod string `json:"authMethod"`

	// Upper bounds, in milliseconds; the mail's own deadline may end a wait
	// earlier. SocketTimeout bounds the wait for each reply, except for the one
	// that accepts the message: giving up there would only mean not to know.
	ConnectionTimeout settings.Milliseconds `json:"connectionTimeout"`
	GreetingTimeout   settings.Milliseconds `json:"greetingTimeout"`
	SocketTimeout     settings.Milliseconds `json:"socketTimeout"`
	DNSTimeout        settings.Milliseconds `json:"dnsTimeout"`

	FromEmail     settings.Mailbox `json:"fromEmail"`
	ReplyTo       settings.Mailbox `json:"replyTo"`
	CustomHeaders settings.Headers `json:"customHeaders"`
	DKIM          *SMTPDKIM        `json:"dkim"`

	// MaxConnections bounds the pool; maxConcurrent when not given.
	MaxConnections int `json:"maxConnections" validate:"gte=0,lte=10000"`
	// MaxMessages is how many mails go through one connection; 0 is unbounded.
	MaxMessages int `json:"maxMessages" validate:"gte=0"`

	Templates []smtpTemplate `json:"templates" validate:"dive"`

	Pool             any `json:"pool" noeffect:"connections are always pooled"`
	RateDelta        any `json:"rateDelta" noeffect:"use maxConcurrent to slow a provider down"`
	RateLimit        any `json:"rateLimit" noeffect:"use maxConcurrent to slow a provider down"`
	Logger           any `json:"logger" noeffect:"the relay has its own log"`
	Debug            any `json:"debug" noeffect:"the relay never logs what mails say"`
	TransactionLog   any `json:"transactionLog" noeffect:"the relay never logs what mails say"`
	DisableFile      any `json:"disableFileAccess" noeffect:"mails never include files"`
	DisableURL       any `json:"disableUrlAccess" noeffect:"mails never include fetched content"`
	OpportunisticTLS any `json:"opportunisticTLS" noeffect:"STARTTLS is used whenever the server offers it"`
}

// smtpTemplate is one mail of Logto's SMTP connector.
type smtpTemplate struct {
	inlineTemplate
	ContentType string `json:"contentType" validate:"omitempty,oneof=text/plain text/html"`
}

// SMTPTLS are the options of Node's TLS that matter to a client.
type SMTPTLS struct {
	// RejectUnauthorized may be set to false to trust any certificate.
	RejectUnauthorized *bool `json:"rejectUnauthorized"`
	// CA holds certificates in PEM or names of files with them; they replace
	// the system's own.
	CA         settings.Texts `json:"ca" file:"content"`
	ServerName string         `json:"servername"`
	// MinVersion is TLSv1.2 when not given.
	MinVersion string `json:"minVersion" validate:"omitempty,oneof=TLSv1 TLSv1.1 TLSv1.2 TLSv1.3"`
	Ciphers    any    `json:"ciphers" noeffect:"the cipher is chosen by Go's crypto/tls"`
}

// SMTPDKIM signs every mail (RFC 6376). The private key is RSA or Ed25519, in
// PEM.
type SMTPDKIM struct {
	Domain     string          `json:"domain" validate:"required,fqdn"`
	Selector   string          `json:"selector" validate:"required"`
	PrivateKey settings.Secret `json:"privateKey" validate:"required"`
}

func newSMTPSettings() *SMTPSettings {
	return &SMTPSettings{
		MaxMessages:       1000,
		DNSTimeout:        settings.Milliseconds(2 * time.Second),
		ConnectionTimeout: settings.Milliseconds(4 * time.Second),
		GreetingTimeout:   settings.Milliseconds(5 * time.Second),
		SocketTimeout:     settings.Milliseconds(4 * time.Second),
	}
}

var (
	_ Settings  = (*SMTPSettings)(nil)
	_ Connected = (*smtpProvider)(nil)
)

// Sender returns fromEmail and replyTo.
func (s *SMTPSettings) Sender() Sender { return Sender{From: s.FromEmail, ReplyTo: s.ReplyTo} }

// Mails returns templates.
func (s *SMTPSettings) Mails() []mail.ConnectorTemplate {
	var list []mail.ConnectorTemplate
	for i, t := range s.Templates {
		list = append(list, t.mail(i, t.ContentType))
	}
	return list
}

// Check reports what only several keys together can show.
func (s *SMTPSettings) Check() []settings.Problem {
	var problems []settings.Problem
	report := func(key, text string) { problems = append(problems, settings.Problem{Key: key, Text: text}) }
	if s.Endpoint != "" {
		report("endpoint", "an SMTP server has no URL; write host and port")
	}
	problems = append(problems, s.checkEgress()...)
	s.checkMode(report)
	if s.Auth != nil {
		s.checkAuth(report)
	}
	if _, err := s.authorities(); err != nil {
		report("tls.ca", err.Error())
	}
	if s.DKIM != nil && s.DKIM.PrivateKey.Reveal() != "" {
		if _, err := gomail.PrivKeyFromPEM([]byte(s.DKIM.PrivateKey.Reveal())); err != nil {
			report("dkim.privateKey", "write an RSA or Ed25519 private key in PEM, such as ${file:/run/secrets/dkim.pem}")
		}
	}
	return problems
}

// Ports that mean one way of TLS wherever they are used. 2465 and 2587 are
// those of Amazon SES.
var (
	implicitTLSPorts = []int{465, 2465}
	plainStartPorts  = []int{25, 587, 2525, 2587}
)

func (s *SMTPSettings) checkMode(report func(key, text string)) {
	switch {
	case s.Secure != nil && *s.Secure && slices.Contains(plainStartPorts, s.Port):
		report("secure", fmt.Sprintf(
			`port %d begins in clear text and then changes to TLS: remove "secure", or use port 465`, s.Port))
	case s.Secure != nil && !*s.Secure && slices.Contains(implicitTLSPorts, s.Port):
		report("secure", fmt.Sprintf(`port %d speaks TLS from the first byte: remove "secure", or use port 587`, s.Port))
	}
	if s.IgnoreTLS {
		switch {
		case s.RequireTLS:
			report("ignoreTLS", "it contradicts requireTLS; remove one of them")
		case s.mode() == tlsImplicit:
			report("ignoreTLS", "it contradicts TLS from the first byte; remove it, or secure")
		case s.login().user != "" && !settings.IsLoopback(s.host()):
			report("ignoreTLS", "a password goes out in clear text to this machine alone; remove ignoreTLS, or auth")
		}
	}
}

func (s *SMTPSettings) host() string { return strings.ToLower(s.Host) }

func (s *SMTPSettings) port() int {
	switch {
	case s.Port != 0:
		return s.Port
	case s.Secure != nil && *s.Secure:
		return 465
	}
	return 587
}

// mode is what was written, else what the port means. With a password on the
// way to another machine TLS is never left to the server's offer, which anybody
// in between could strike out.
func (s *SMTPSettings) mode() tlsMode {
	switch {
	case s.Secure != nil && *s.Secure, s.Secure == nil && slices.Contains(implicitTLSPorts, s.Port):
		return tlsImplicit
	case s.IgnoreTLS:
		return tlsOff
	case s.RequireTLS, s.login().user != "" && !settings.IsLoopback(s.host()):
		return tlsRequired
	}
	return tlsOffered
}

// authorities returns the certificates of tls.ca, nil for the system's own.
func (s *SMTPSettings) authorities() (*x509.CertPool, error) {
	if len(s.TLS.CA) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	for _, text := range s.TLS.CA {
		pem := []byte(text)
		if !strings.Contains(text, "-----BEGIN") {
			var err error
			if pem, err = os.ReadFile(text); err != nil {
				return nil, fmt.Errorf("write certificates in PEM, or the name of a file that can be read: %w", err)
			}
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, errors.New("there is no certificate in PEM")
		}
	}
	return pool, nil
}

func (s *SMTPSettings) tlsConfig() (*tls.Config, error) {
	authorities, err := s.authorities()
	if err != nil {
		return nil, fmt.Errorf("tls.ca: %w", err)
	}
	config := &tls.Config{
		RootCAs:            authorities,
		ServerName:         s.host(),
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: s.TLS.RejectUnauthorized != nil && !*s.TLS.RejectUnauthorized,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	for _, name := range []string{s.ServerName, s.TLS.ServerName} {
		if name != "" {
			config.ServerName = name
		}
	}
	switch s.TLS.MinVersion {
	case "TLSv1":
		config.MinVersion = tls.VersionTLS10
	case "TLSv1.1":
		config.MinVersion = tls.VersionTLS11
	case "TLSv1.3":
		config.MinVersion = tls.VersionTLS13
	}
	return config, nil
}

// ehloName is how the relay introduces itself: the provider's name if that is a
// full host name, else the machine's name if it is one, else localhost.
func (s *SMTPSettings) ehloName() string {
	machine, err := os.Hostname()
	if err != nil {
		machine = ""
	}
	for _, name := range []string{s.Name, machine} {
		_, err := mail.ASCIIDomain("x@" + name)
		if err == nil && (name == machine || strings.Contains(name, ".")) {
			return strings.ToLower(name)
		}
	}
	return "localhost"
}

// Open makes the provider.
func (s *SMTPSettings) Open() (Provider, error) {
	config, err := s.tlsConfig()
	if err != nil {
		return nil, err
	}
	dialer, err := s.dialer()
	if err != nil {
		return nil, err
	}
	server := &smtpServer{
		host: s.host(), dial: dialer.dial, mode: s.mode(), tls: config, ehlo: s.ehloName(), login: s.login(),
		tlsTimeout:      time.Duration(s.ConnectionTimeout),
		greetingTimeout: time.Duration(s.GreetingTimeout),
		replyTimeout:    time.Duration(s.SocketTimeout),
		opening:         make(chan struct{}, maxOpening),
	}
	if s.Auth.usesOAuth2() {
		if server.login.tokens, err = s.tokenSource(); err != nil {
			return nil, err
		}
	}
	connections := s.MaxConnections
	if connections == 0 {
		connections = s.Concurrent()
	}
	pool, err := newSMTPPool(server, connections, s.MaxMessages)
	if err != nil {
		return nil, err
	}
	p := &smtpProvider{pool: pool, headers: s.CustomHeaders}
	if s.DKIM != nil {
		key, err := gomail.PrivKeyFromPEM([]byte(s.DKIM.PrivateKey.Reveal()))
		if err != nil {
			return nil, errors.New("dkim.privateKey: not an RSA or Ed25519 private key in PEM")
		}
		p.signer = &dkimSigner{s.DKIM.Domain, s.DKIM.Selector, key}
	}
	return p, nil
}

// smtpProvider hands mails to one SMTP server (RFC 5321).
//
// A mail is checked before a connection is asked for, and built when there is
// one, so that those that wait hold nothing. Accepted means the 250 after the
// final dot and nothing earlier; whatever the connection does after that is no
// matter. A connection lost before the dot has delivered nothing; one lost after
// it leaves the mail uncertain.
type smtpProvider struct {
	pool    *smtpPool
	headers []mail.Header
	signer  *dkimSigner // nil when mails are not signed
	buffers sync.Pool   // of *[]byte
}

var _ Verifier = (*smtpProvider)(nil)

// smtpMail is a mail on its way to the wire.
type smtpMail struct {
	from, to         string        // between the angle brackets of MAIL and RCPT
	fromUTF8, toUTF8 bool          // the sender's side or the recipient is not ASCII
	message          *mail.Message // until it is built
	provider         *smtpProvider
	data             *[]byte // the message with the final dot, once it is built
	size             int     // the message alone
}

// Send hands over one message.
func (p *smtpProvider) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	mail, failure := p.address(m)
	if failure != nil {
		return Receipt{}, failure
	}
	messageID := m.MessageID // of m nothing else is needed once the mail is built
	defer mail.written()
	answer, failure := p.pool.send(ctx, &mail)
	if failure != nil {
		return Receipt{}, failure
	}
	id := queueID(answer)
	if id == "" {
		id = messageID
	}
	return Receipt{ID: id}, nil
}

// Connected tells that Verify warms the pool.
func (p *smtpProvider) Connected() {}

// Verify opens a connection, TLS and login included, unless one is open. It stays
// open for the first mail.
func (p *smtpProvider) Verify(ctx context.Context) (string, error) {
	if failure := p.pool.verify(ctx); failure != nil {
		return "", failure
	}
	return "", nil
}

// Close waits for the mails under way and closes the connections.
func (p *smtpProvider) Close() error {
	p.pool.close()
	if tokens := p.pool.server.login.tokens; tokens != nil {
		return tokens.client.Close()
	}
	return nil
}

// address checks the message and finds its envelope.
func (p *smtpProvider) address(m *mail.Message) (smtpMail, *Error) {
	refuse := func(kind Kind, stage smtpStage, err error) (smtpMail, *Error) {
		return smtpMail{}, &Error{Kind: kind, Stage: stage.String(), Detail: err.Error(), Err: err}
	}
	if failure := checkMessage(m); failure != nil {
		return smtpMail{}, failure
	}
	found := smtpMail{message: m, provider: p}
	ascii := true
	var err error
	if found.to, ascii, err = mail.Path(m.To); err != nil {
		return refuse(Recipient, atRCPT, err)
	}
	found.toUTF8 = !ascii
	if found.from, ascii, err = mail.Path(m.From.Address); err != nil {
		return refuse(Configuration, atMAIL, err)
	}
	found.fromUTF8 = !ascii
	if m.ReplyTo.Address != "" {
		if _, ascii, err = mail.Path(m.ReplyTo.Address); err != nil {
			return refuse(Configuration, atMAIL, err)
		}
		found.fromUTF8 = found.fromUTF8 || !ascii
	}
	return found, nil
}

// build makes the data, once.
func (mail *smtpMail) build() *Error {
	if mail.message == nil {
		return nil
	}
	p := mail.provider
	buffer := p.buffer()
	data, err := appendMIME(*buffer, mail.message, p.headers)
	if err != nil {
		return &Error{Kind: Content, Stage: atBody.String(), Detail: err.Error(), Err: err}
	}
	if p.signer != nil {
		if data, err = p.signer.sign(data); err != nil {
			return &Error{Kind: Configuration, Stage: atBody.String(), Detail: err.Error(), Err: err}
		}
	}
	*buffer = append(data, ".\r\n"...)
	mail.size, mail.data, mail.message = len(data), buffer, nil
	return nil
}

// written says that the data is out, or that nobody wants it any more. From here
// on a mail only waits for a verdict, and should hold little meanwhile.
func (mail *smtpMail) written() {
	if mail.data != nil {
		mail.provider.buffers.Put(mail.data)
		mail.data = nil
	}
}

// buffer returns an empty one, which has been used before if there is one.
func (p *smtpProvider) buffer() *[]byte {
	if used, ok := p.buffers.Get().(*[]byte); ok {
		*used = (*used)[:0]
		return used
	}
	return new([]byte)
}

// queueID finds the id in the text of an accepting reply, for the servers whose
// form is known: Postfix and SendGrid, Exim, Amazon SES.
func queueID(answer string) string {
	if _, rest, found := strings.Cut(answer, "queued as "); found {
		return firstWord(rest)
	}
	if _, rest, found := strings.Cut(answer, "id="); found {
		return firstWord(rest)
	}
	if rest, found := strings.CutPrefix(answer, "Ok "); found && !strings.Contains(strings.TrimSpace(rest), " ") {
		return firstWord(rest)
	}
	return ""
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	if len(word) > 128 || !printable(word) {
		return ""
	}
	return word
}
