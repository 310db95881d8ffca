package providers

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"logto-email-relay/dialing"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

// SMTPSettings are the keys of Logto's SMTP connector, which are those of
// nodemailer: https://nodemailer.com/smtp
//
// Name is also what the relay calls itself in EHLO when it is a full host name;
// else that is the machine's own name.
type SMTPSettings struct {
	Common
	// Host is the server's name or address.
	Host string `json:"host" validate:"required,serverhost|ip"`
	// Port is 587 when not given, 465 with "secure": true.
	Port int `json:"port" validate:"gte=0,lte=65535"`
	// Secure means TLS from the first byte; without it the port decides.
	Secure *bool `json:"secure"`
	// RequireTLS refuses to go on without STARTTLS, IgnoreTLS never uses it.
	RequireTLS bool `json:"requireTLS"`
	IgnoreTLS  bool `json:"ignoreTLS"`
	// TLS says how the server's certificate is checked.
	TLS SMTPTLS `json:"tls"`
	// ServerName is the name that the certificate must have; host when not given.
	ServerName string    `json:"servername" validate:"omitempty,serverhost|ip"`
	Auth       *SMTPAuth `json:"auth"`
	// AuthMethod is another place for auth.method.
	AuthMethod string `json:"authMethod" validate:"omitempty,choice=PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256"`

	// Upper bounds, in milliseconds, ConnectionTimeout for a connection, GreetingTimeout
	// for the server's first words, DNSTimeout for the look-up of its name; the mail's own
	// deadline may end a wait earlier. SocketTimeout bounds the wait for each reply, except
	// for the one that accepts the message: giving up there would only mean not to know.
	ConnectionTimeout settings.Milliseconds `json:"connectionTimeout"`
	GreetingTimeout   settings.Milliseconds `json:"greetingTimeout"`
	SocketTimeout     settings.Milliseconds `json:"socketTimeout"`
	DNSTimeout        settings.Milliseconds `json:"dnsTimeout"`

	// FromEmail is the sender of this provider's mails, ReplyTo where answers go.
	FromEmail settings.Mailbox `json:"fromEmail"`
	ReplyTo   settings.Mailbox `json:"replyTo"`
	// CustomHeaders are additional headers of the mails. {{id}}, {{messageId}}, {{type}}
	// and {{locale}} in them are replaced.
	CustomHeaders settings.Headers `json:"customHeaders" placeholders:"id messageId type locale"`
	// DKIM signs every mail.
	DKIM *SMTPDKIM `json:"dkim"`

	// Envelope has the sender between servers, where bounces go; that of the mail
	// when not given.
	Envelope SMTPEnvelope `json:"envelope"`
	// Bounces is the mailbox that bounces come to; nobody reads them when not given.
	Bounces *SMTPBounces `json:"bounces"`

	// MaxConnections bounds the pool; maxConcurrent when not given.
	MaxConnections int `json:"maxConnections" validate:"gte=0,lte=10000"`
	// MaxMessages is how many mails go through one connection; 0 is unbounded. What
	// suits the server when not given.
	MaxMessages *int `json:"maxMessages" validate:"omitempty,gte=0"`
	// RateLimit is how many mails may begin in any span of RateDelta, which is a
	// second when not given; 0 is unbounded.
	RateLimit int                   `json:"rateLimit" validate:"gte=0,lte=100000"`
	RateDelta settings.Milliseconds `json:"rateDelta"`

	// Templates are the mails of Logto's connector.
	Templates []smtpTemplate `json:"templates" validate:"dive"`

	Pool             any `json:"pool" noeffect:"connections are always pooled"`
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
	// ContentType is text/html or text/plain.
	ContentType string `json:"contentType" validate:"omitempty,oneof=text/plain text/html"`
}

// SMTPEnvelope is what nodemailer calls the envelope.
type SMTPEnvelope struct {
	// From is where bounces go. {{id}} in it stands for the id of the mail, by which even
	// a bounce that says nothing of the mail is known.
	From settings.Mailbox `json:"from" placeholders:"id"`
}

// SMTPDKIM signs every mail (RFC 6376).
type SMTPDKIM struct {
	// Domain and Selector say where the public key stands in DNS. PrivateKey is RSA or
	// Ed25519, in PEM.
	Domain     string          `json:"domain" validate:"omitempty,fqdn"`
	Selector   string          `json:"selector"`
	PrivateKey settings.Secret `json:"privateKey" validate:"required"`
	// DomainName and KeySelector are nodemailer's names for domain and selector.
	DomainName  string `json:"domainName" validate:"omitempty,fqdn"`
	KeySelector string `json:"keySelector"`
	// SkipFields are headers that are not signed, with colons between them, because
	// the server replaces them.
	SkipFields string `json:"skipFields"`
}

func (d *SMTPDKIM) domain() string   { return cmp.Or(d.Domain, d.DomainName) }
func (d *SMTPDKIM) selector() string { return cmp.Or(d.Selector, d.KeySelector) }

func (d *SMTPDKIM) signer() (*smtp.DKIM, error) {
	return smtp.NewDKIM(d.domain(), d.selector(), d.PrivateKey.Reveal(), strings.Split(d.SkipFields, ":")...)
}

// selectors are labels of a host name (RFC 6376 section 3.1); some services have an
// underscore in them.
var selectors = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*$`)

func (d *SMTPDKIM) check(report func(key, text string)) {
	for _, written := range [][3]string{{"dkim.domain", d.Domain, d.DomainName}, {"dkim.selector", d.Selector, d.KeySelector}} {
		switch key, ours, nodemailers := written[0], written[1], written[2]; {
		case ours == "" && nodemailers == "":
			report(key, "this is needed")
		case ours != "" && nodemailers != "" && ours != nodemailers:
			report(key, "this is written under two names; keep one of them")
		}
	}
	selector, key := d.selector(), "dkim.selector"
	if d.Selector == "" {
		key = "dkim.keySelector"
	}
	if short, isWhole := strings.CutSuffix(strings.TrimSuffix(selector, "."+d.domain()), "._domainkey"); isWhole {
		report(key, fmt.Sprintf("write the selector alone: %q", short))
	} else if selector != "" && (len(selector) > 63 || !selectors.MatchString(selector)) {
		report(key, "write the name before ._domainkey in DNS: letters, digits and hyphens")
	}
	if d.PrivateKey.Reveal() == "" {
		return
	}
	switch _, err := d.signer(); {
	case errors.Is(err, smtp.ErrUnsignedFrom):
		report("dkim.skipFields", "a signature without From is none (RFC 6376): remove it from the list")
	case err != nil && isPEMInOneLine(d.PrivateKey.Reveal()):
		report("dkim.privateKey", `the line breaks of the key are missing, or written as \n: write the key with its line breaks into a file and name that, such as ${file:/run/secrets/dkim.pem}`)
	case err != nil:
		report("dkim.privateKey", "write an RSA or Ed25519 private key in PEM, such as ${file:/run/secrets/dkim.pem}")
	}
}

func isPEMInOneLine(text string) bool {
	return strings.Contains(text, "-----BEGIN ") && !strings.Contains(strings.TrimSpace(text), "\n")
}

func newSMTPSettings() *SMTPSettings {
	return &SMTPSettings{
		RateDelta:         settings.Milliseconds(time.Second),
		DNSTimeout:        settings.Milliseconds(6 * time.Second),
		ConnectionTimeout: settings.Milliseconds(4 * time.Second),
		GreetingTimeout:   settings.Milliseconds(30 * time.Second),
		SocketTimeout:     settings.Milliseconds(4 * time.Second),
	}
}

var _ BounceSettings = (*SMTPSettings)(nil)

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
	s.TLS.check(report)
	if s.DKIM != nil {
		s.DKIM.check(report)
	}
	s.Envelope.check(report)
	if s.Bounces != nil {
		s.Bounces.check(s.Auth, report)
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
		case s.mode() == smtp.TLSImplicit:
			report("ignoreTLS", "it contradicts TLS from the first byte; remove it, or secure")
		case s.logsIn() && !s.isHere(s.host()):
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
func (s *SMTPSettings) mode() smtp.TLSMode {
	switch {
	case s.Secure != nil && *s.Secure, s.Secure == nil && slices.Contains(implicitTLSPorts, s.Port):
		return smtp.TLSImplicit
	case s.IgnoreTLS:
		return smtp.TLSOff
	case s.RequireTLS, s.logsIn() && !s.isHere(s.host()):
		return smtp.TLSRequired
	}
	return smtp.TLSOffered
}

// ehloName is how the relay introduces itself: the provider's name if that is a
// full host name, else the machine's name if it is one, else localhost.
func (s *SMTPSettings) ehloName() string {
	machine, _ := os.Hostname()
	for _, name := range []string{s.Name, machine} {
		_, err := mail.ASCIIDomain("x@" + name)
		if err == nil && (name == machine || strings.Contains(name, ".")) {
			return strings.ToLower(name)
		}
	}
	return "localhost"
}

// dialer is the way to a server.
func (s *SMTPSettings) dialer(host string, port int) (*smtp.Dialer, error) {
	local, err := s.localAddr()
	if err != nil {
		return nil, err
	}
	proxy, err := s.proxyURL()
	if err != nil {
		return nil, err
	}
	return &smtp.Dialer{
		Network: s.network(), Address: net.JoinHostPort(host, strconv.Itoa(port)), Proxy: proxy,
		TCP: dialing.Dialer{LocalAddr: local, Timeout: time.Duration(s.ConnectionTimeout), LookupTimeout: time.Duration(s.DNSTimeout)},
	}, nil
}

// server is what the pool is made of; tokens are nil for a login by password.
func (s *SMTPSettings) server(tokens *accessTokens) (smtp.Config, error) {
	dialer, err := s.dialer(s.host(), s.port())
	if err != nil {
		return smtp.Config{}, err
	}
	config, err := s.tlsConfig()
	if err != nil {
		return smtp.Config{}, err
	}
	return smtp.Config{
		Dial: dialer.Dial, TLS: config, TLSMode: s.mode(), Name: s.ehloName(),
		Login: s.login(tokens), ClearTextLogin: s.isHere(s.host()),
		TLSTimeout:      time.Duration(s.ConnectionTimeout),
		GreetingTimeout: time.Duration(s.GreetingTimeout),
		ReplyTimeout:    time.Duration(s.SocketTimeout),
		MaxConnections:  cmp.Or(s.MaxConnections, s.Concurrent()), MaxMessages: s.maxMessages(),
		RateLimit: s.RateLimit, RateDelta: time.Duration(s.RateDelta),
	}, nil
}

func (s *SMTPSettings) maxMessages() int {
	switch {
	case s.MaxMessages == nil:
		return 0
	case *s.MaxMessages == 0:
		return -1
	}
	return *s.MaxMessages
}
