package providers

import (
	"bufio"
	"context"
	"crypto/tls"
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
	stop := s.bind(ctx)
	failure := s.greet(ctx)
	s.release(stop)
	if failure != nil {
		s.drop()
	}
	return s, failure
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
	s.in = bufio.NewReaderSize(s.wire, replyBuffer)
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
