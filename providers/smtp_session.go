package providers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"logto-email-relay/settings"
)

// tlsMode is how a connection gets its encryption.
type tlsMode int

const (
	tlsOffered  tlsMode = iota // STARTTLS if the server offers it
	tlsRequired                // STARTTLS or nothing
	tlsImplicit                // TLS from the first byte
	tlsOff
)

// Bounds that no operator has asked to set.
const (
	// finalDotTimeout is how long the verdict on a message is awaited when the
	// mail has no deadline; giving up early would only mean not to know.
	finalDotTimeout = 30 * time.Second
	quitTimeout     = time.Second
	// maxReplyBytes bounds what is read in one stage, a TLS handshake included.
	maxReplyBytes = 256 << 10
)

// smtpServer is the far end with all that is needed to open a session with it.
type smtpServer struct {
	host  string
	dial  func(context.Context) (net.Conn, error)
	mode  tlsMode
	tls   *tls.Config
	ehlo  string
	login smtpLogin
	// Upper bounds of the waits; the context of the mail may end one earlier.
	tlsTimeout, greetingTimeout, replyTimeout time.Duration
	// opening holds one for every connection that is being opened.
	opening chan struct{}
}

// maxOpening is how many connections to a server are opened at a time. To be
// greeted, encrypted and logged in takes much memory and work on both sides, so
// that mails that come all at once take turns.
const maxOpening = 64

// smtpLogin is how to log in; nobody logs in when the user is empty.
type smtpLogin struct {
	user, password, method string
	tokens                 *smtpTokens // in place of the password, for XOAUTH2
}

// smtpSession is one connection, logged in and ready for mails, one at a time.
type smtpSession struct {
	server *smtpServer
	conn   *boundedConn // what lies below TLS, if there is TLS
	wire   net.Conn     // conn, or TLS over it
	secure bool
	in     *textproto.Reader
	// isQuiet tells whether the far end has neither spoken nor left.
	isQuiet func() bool

	pipelining bool // RFC 2920
	utf8       bool // RFC 6531
	size       bool // RFC 1870
	maxSize    int

	opened, used time.Time
	mails        int
	stale        bool // the server refused an access token that was not new
	dirty        bool // a transaction was refused half-way: RSET before the next
	broken       bool // no further mail may go through
	lost         bool // broke by itself before the message was handed over

	// Buffers of the transaction under way.
	commands []byte
	steps    []smtpStep
}

// boundedConn gives up on a server that talks without end.
type boundedConn struct {
	net.Conn
	left int
}

var errReplyTooLong = errors.New("the reply is too long")

func (c *boundedConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errReplyTooLong
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// open connects, encrypts and logs in. A server that refuses an access token
// which was good before gets a new one, once.
func (server *smtpServer) open(ctx context.Context) (*smtpSession, *Error) {
	if failure := server.awaitTurn(ctx); failure != nil {
		return nil, failure
	}
	defer func() { <-server.opening }()
	s, failure := server.connect(ctx)
	if failure != nil && s != nil && s.stale && contextEnd(ctx) == nil {
		s, failure = server.connect(ctx)
	}
	if failure != nil {
		return nil, failure
	}
	return s, nil
}

func (server *smtpServer) awaitTurn(ctx context.Context) *Error {
	select {
	case server.opening <- struct{}{}:
		return nil
	case <-ctx.Done():
		return smtpFailure(ctx, atConnect, ctx.Err())
	}
}

// connect opens a session. On failure the session, if there is one, is good for
// nothing but to tell what happened.
func (server *smtpServer) connect(ctx context.Context) (*smtpSession, *Error) {
	conn, err := server.dial(ctx)
	if err != nil {
		return nil, smtpFailure(ctx, atConnect, err)
	}
	s := &smtpSession{server: server, conn: &boundedConn{Conn: conn}, isQuiet: quietness(conn), opened: time.Now()}
	s.used = s.opened
	release := s.bind(ctx)
	failure := s.greet(ctx)
	release()
	if failure != nil {
		s.drop()
	}
	return s, failure
}

// bind makes the end of the context the end of all waiting on this connection.
// The returned function undoes it; a connection that was cut stays broken.
func (s *smtpSession) bind(ctx context.Context) (release func()) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if !stop() {
			s.broken = true
		}
	}
}

// enter begins a step: it bounds the waits in it and what is read in it.
func (s *smtpSession) enter(ctx context.Context, limit time.Duration) {
	s.conn.left = maxReplyBytes
	_ = s.conn.SetDeadline(time.Now().Add(limit))
	if ctx.Err() != nil { // what bind does may have come before
		_ = s.conn.SetDeadline(time.Unix(1, 0))
	}
}

// greet takes a fresh connection through greeting, TLS, EHLO and AUTH.
func (s *smtpSession) greet(ctx context.Context) *Error {
	s.wire = s.conn
	if s.server.mode == tlsImplicit {
		if failure := s.handshake(ctx, s.server.tlsTimeout); failure != nil {
			return failure
		}
	}
	s.enter(ctx, s.server.greetingTimeout)
	client, err := smtp.NewClient(s.wire, s.server.host)
	if err != nil {
		return smtpFailure(ctx, atGreeting, err)
	}
	if failure := s.hello(ctx, client); failure != nil {
		return failure
	}
	client, failure := s.startTLS(ctx, client)
	if failure != nil {
		return failure
	}
	if failure := s.authenticate(ctx, client); failure != nil {
		return failure
	}
	return s.take(ctx, client)
}

func (s *smtpSession) hello(ctx context.Context, client *smtp.Client) *Error {
	s.enter(ctx, s.server.replyTimeout)
	if err := client.Hello(s.server.ehlo); err != nil {
		return smtpFailure(ctx, atEHLO, err)
	}
	return nil
}

// handshake puts TLS over the connection.
func (s *smtpSession) handshake(ctx context.Context, limit time.Duration) *Error {
	s.enter(ctx, limit)
	secured := tls.Client(s.conn, s.server.tls)
	if err := secured.Handshake(); err != nil {
		return smtpFailure(ctx, atTLS, err)
	}
	s.wire, s.secure = secured, true
	return nil
}

// replyBuffer holds the replies of one flight; a longer one only takes several
// reads. A thousand connections that wait for a verdict hold one each.
const replyBuffer = 512

// take goes on without the client, whose buffers are larger than commands and
// replies need.
func (s *smtpSession) take(ctx context.Context, client *smtp.Client) *Error {
	if client.Text.R.Buffered() > 0 {
		return smtpFailure(ctx, atEHLO, textproto.ProtocolError("the server speaks unasked"))
	}
	s.pipelining, _ = client.Extension("PIPELINING")
	s.utf8, _ = client.Extension("SMTPUTF8")
	var limit string
	s.size, limit = client.Extension("SIZE")
	s.maxSize, _ = strconv.Atoi(limit) // a missing or zero limit means none
	s.in = textproto.NewReader(bufio.NewReaderSize(s.wire, replyBuffer))
	return nil
}

// startTLS changes to TLS by STARTTLS if that is wanted, and returns the client
// to go on with.
func (s *smtpSession) startTLS(ctx context.Context, client *smtp.Client) (*smtp.Client, *Error) {
	if s.secure || s.server.mode == tlsOff {
		return client, nil
	}
	if offered, _ := client.Extension("STARTTLS"); !offered {
		if s.server.mode == tlsOffered {
			return client, nil
		}
		return nil, &Error{Kind: Configuration, Stage: atSTARTTLS.String(), Detail: "the server does not offer STARTTLS",
			Hint: `use the port for implicit TLS with "secure": true; a password never goes out in clear text`}
	}
	s.enter(ctx, s.server.replyTimeout)
	err := client.Text.PrintfLine("STARTTLS")
	if err == nil {
		_, _, err = client.Text.ReadResponse(220)
	}
	if err != nil {
		return nil, smtpFailure(ctx, atSTARTTLS, err)
	}
	if failure := s.handshake(ctx, s.server.replyTimeout); failure != nil {
		return nil, failure
	}
	// A new client, because what was said in clear text does not count. The
	// server does not greet again (RFC 3207 section 4.2).
	client, err = smtp.NewClient(&greetedConn{Conn: s.wire, greeting: strings.NewReader("220 ready\r\n")}, s.server.host)
	if err != nil {
		return nil, smtpFailure(ctx, atEHLO, err)
	}
	return client, s.hello(ctx, client)
}

// greetedConn begins with a greeting of ours.
type greetedConn struct {
	net.Conn
	greeting *strings.Reader
}

func (c *greetedConn) Read(b []byte) (int, error) {
	if c.greeting.Len() > 0 {
		return c.greeting.Read(b)
	}
	return c.Conn.Read(b)
}

// smtpMethods are the ways to log in, best first. CRAM-MD5 comes last: within
// TLS it protects nothing, and servers offer it that cannot do it.
var smtpMethods = []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", "CRAM-MD5"}

// methodXOAUTH2 is for access tokens, and never taken for a password.
const methodXOAUTH2 = "XOAUTH2"

func (s *smtpSession) authenticate(ctx context.Context, client *smtp.Client) *Error {
	login := s.server.login
	if login.user == "" {
		return nil
	}
	problem := func(detail, hint string) *Error {
		return &Error{Kind: Configuration, Stage: atAUTH.String(), Detail: detail, Hint: hint}
	}
	if !s.secure && !settings.IsLoopback(s.server.host) {
		return problem("the connection is not encrypted, and a password never goes out in clear text",
			`set "requireTLS": true, or "secure": true with port 465`)
	}
	_, offer := client.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(offer))
	if len(offered) == 0 {
		return problem("the server does not offer AUTH", "remove auth, or use the port for submission, usually 587 or 465")
	}
	method := login.method
	if method == "" {
		for _, known := range smtpMethods {
			if slices.Contains(offered, known) {
				method = known
				break
			}
		}
		if method == "" {
			return problem("the server offers no way to log in that the relay knows: "+Redact(offer), "")
		}
	} else if !slices.Contains(offered, method) {
		hint := "remove auth.method, and the best one is taken"
		if login.tokens != nil {
			hint = `log in with a password: remove "type": "oauth2"`
		}
		return problem("the server does not offer "+method+", only "+Redact(offer), hint)
	}
	if login.tokens != nil {
		return s.authenticateByToken(ctx, client)
	}
	var exchange smtp.Auth
	switch method {
	case "SCRAM-SHA-256":
		exchange = smtp.ScramSHA256Auth(login.user, login.password)
	case "SCRAM-SHA-1":
		exchange = smtp.ScramSHA1Auth(login.user, login.password)
	case "CRAM-MD5":
		exchange = smtp.CRAMMD5Auth(login.user, login.password)
	case "LOGIN":
		exchange = smtp.LoginAuth(login.user, login.password, s.server.host, true) // clear text was ruled out above
	default:
		exchange = smtp.PlainAuth("", login.user, login.password, s.server.host, true)
	}
	s.enter(ctx, s.server.replyTimeout)
	if err := client.Auth(exchange); err != nil {
		return smtpFailure(ctx, atAUTH, err)
	}
	return nil
}

// authenticateByToken logs in by XOAUTH2. A server explains its refusal in a
// challenge of its own, which only asks to be answered before the verdict.
func (s *smtpSession) authenticateByToken(ctx context.Context, client *smtp.Client) *Error {
	tokens := s.server.login.tokens
	token, fresh, failure := tokens.get(ctx)
	if failure != nil {
		return failure
	}
	s.enter(ctx, s.server.replyTimeout)
	err := client.Auth(smtp.XOAuth2Auth(s.server.login.user, token))
	if err == nil {
		return nil
	}
	failure = smtpFailure(ctx, atAUTH, err)
	if failure.Kind == Configuration && failure.Code != "" {
		tokens.drop(ctx, token)
		s.stale = !fresh && tokens.issue != nil
		failure.Hint = "the server refuses the access token: check auth.user, and that this client may use SMTP for this mailbox"
	}
	return failure
}

// send takes one mail through the connection and returns the server's accepting
// line. With PIPELINING it takes two round trips, else four.
func (s *smtpSession) send(ctx context.Context, mail *smtpMail) (string, *Error) {
	if failure := mail.build(); failure != nil {
		return "", failure
	}
	if failure := s.admits(mail); failure != nil {
		return "", failure
	}
	release := s.bind(ctx)
	defer release()
	s.mails++
	failure := s.envelope(ctx, mail)
	if failure != nil {
		return "", failure
	}
	s.enter(ctx, s.server.replyTimeout)
	if err := s.write(mail.data); err != nil {
		return "", s.fail(ctx, atBody, err)
	}
	mail.written()
	s.enter(ctx, max(s.server.replyTimeout, finalDotTimeout))
	reply, err := s.read()
	if err != nil {
		return "", s.fail(ctx, atDot, err)
	}
	if reply.code/100 != 2 {
		return "", s.refuse(atDot, reply)
	}
	s.used = time.Now()
	return reply.text, nil
}

// admits refuses what the server has said beforehand that it would not take.
func (s *smtpSession) admits(mail *smtpMail) *Error {
	if s.maxSize > 0 && mail.size > s.maxSize {
		return &Error{Kind: Content, Stage: atMAIL.String(),
			Detail: fmt.Sprintf("the message has %d bytes, and the server takes %d", mail.size, s.maxSize)}
	}
	if s.utf8 || !mail.fromUTF8 && !mail.toUTF8 {
		return nil
	}
	if mail.fromUTF8 {
		return &Error{Kind: Configuration, Stage: atMAIL.String(),
			Detail: "the sender's address is not ASCII, and the server has no SMTPUTF8",
			Hint:   "write a sender and a reply address whose part before the @ is ASCII"}
	}
	return &Error{Kind: Recipient, Stage: atRCPT.String(),
		Detail: "the recipient's address is not ASCII, and the server has no SMTPUTF8"}
}

// smtpStep is one command of a transaction and what to write for it: nothing
// when it went out with the one before.
type smtpStep struct {
	stage   smtpStage
	command []byte
}

// envelope goes as far as the server's consent to receive the message.
func (s *smtpSession) envelope(ctx context.Context, mail *smtpMail) *Error {
	var refused *Error
	for _, step := range s.flight(mail) {
		if step.command != nil {
			s.enter(ctx, s.server.replyTimeout)
			if err := s.write(step.command); err != nil {
				return s.fail(ctx, step.stage, err)
			}
		}
		reply, err := s.read()
		switch {
		case err != nil && refused != nil:
			s.broken = true
			return refused
		case err != nil:
			return s.fail(ctx, step.stage, err)
		case refused != nil:
			// A server that now waits for a message must not get one: even a lone
			// dot would deliver an empty mail.
			s.broken = s.broken || reply.code == 354
		case !agrees(step.stage, reply):
			if refused = s.refuse(step.stage, reply); !s.pipelining {
				return refused
			}
		}
	}
	if refused == nil {
		s.dirty = false
	}
	return refused
}

// flight writes the commands of a transaction: all at once for a server that
// pipelines, one by one for another.
func (s *smtpSession) flight(mail *smtpMail) []smtpStep {
	b, steps := s.commands[:0], s.steps[:0]
	end := func(stage smtpStage) {
		b = append(b, "\r\n"...)
		steps = append(steps, smtpStep{stage: stage})
		if !s.pipelining {
			steps[len(steps)-1].command = b
			b = b[len(b):]
		}
	}
	if s.dirty {
		b = append(b, "RSET"...)
		end(atMAIL)
	}
	b = append(append(append(b, "MAIL FROM:<"...), mail.from...), '>')
	if s.size {
		b = strconv.AppendInt(append(b, " SIZE="...), int64(mail.size), 10)
	}
	if mail.fromUTF8 || mail.toUTF8 {
		b = append(b, " SMTPUTF8"...)
	}
	end(atMAIL)
	b = append(append(append(b, "RCPT TO:<"...), mail.to...), '>')
	end(atRCPT)
	b = append(b, "DATA"...)
	end(atDATA)
	if s.pipelining {
		s.commands, steps[0].command = b, b
	}
	s.steps = steps
	return steps
}

// agrees tells whether a reply lets the transaction go on.
func agrees(stage smtpStage, reply smtpReply) bool {
	if stage == atDATA {
		return reply.code == 354
	}
	return reply.code/100 == 2
}

// refuse notes what a refusal does to the connection. 421 ends it by itself: on
// one that was idle the mail has a right to another.
func (s *smtpSession) refuse(stage smtpStage, reply smtpReply) *Error {
	s.dirty = true
	s.used = time.Now()
	if reply.code == 421 {
		s.broken = true
		s.lost = stage != atDot
	}
	failure := refusal(stage, reply)
	if failure.Kind == Uncertain || reply.code < 400 {
		s.broken = true
	}
	return failure
}

// fail notes that the connection broke.
func (s *smtpSession) fail(ctx context.Context, stage smtpStage, err error) *Error {
	s.broken = true
	s.lost = stage != atDot
	return smtpFailure(ctx, stage, err)
}

func (s *smtpSession) write(b []byte) error {
	_, err := s.wire.Write(b)
	return err
}

func (s *smtpSession) read() (smtpReply, error) {
	code, message, err := s.in.ReadResponse(0)
	switch {
	case err != nil && !isProtocolError(err):
		return smtpReply{}, err
	case err != nil, code < 200, code > 599:
		return smtpReply{}, textproto.ProtocolError("malformed reply")
	}
	return parseSMTPReply(code, message), nil
}

func isProtocolError(err error) bool {
	var malformed textproto.ProtocolError
	return errors.As(err, &malformed)
}

// isAlive tells, without a round trip, whether an idle connection can still be
// used.
func (s *smtpSession) isAlive() bool {
	return s.in.R.Buffered() == 0 && s.isQuiet()
}

// drop cuts the connection.
func (s *smtpSession) drop() { _ = s.conn.Close() }

// quit takes leave of the server. Its answer does not matter.
func (s *smtpSession) quit() {
	defer s.drop()
	s.conn.left = maxReplyBytes
	_ = s.conn.SetDeadline(time.Now().Add(quitTimeout))
	if s.write([]byte("QUIT\r\n")) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(s.in.R, 512))
	}
}
