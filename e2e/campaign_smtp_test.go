package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// smtpFaultServer is an SMTP server that misbehaves by plan and remembers every
// mail that it took.
type smtpFaultServer struct {
	faultListener
	name         string
	startTLS     bool // offers it, and wants it before all else
	implicitTLS  bool
	login        bool
	pipelining   bool
	certificates *certificates // nil for a server without TLS
	ledger       *ledger

	connections, transactions, mails faultPlan
	opened, begun                    atomic.Int64
}

// idleLimit is how long a connection with the fault "idle" waits.
const idleLimit = 30 * time.Millisecond

func (s *smtpFaultServer) start(t testing.TB) {
	t.Helper()
	s.faultListener.start(t, func(conn *net.TCPConn) {
		c := &smtpFaultConn{server: s, raw: conn, conn: conn}
		c.fault, c.faulty = s.connections.faultOf(int(s.opened.Add(1)))
		_ = c.serve() // it ends with an error as often as not
	})
}

// smtpFaultConn is one connection with what goes wrong on it.
type smtpFaultConn struct {
	server  *smtpFaultServer
	raw     *net.TCPConn
	conn    net.Conn
	reader  *bufio.Reader
	fault   fault // of the connection
	faulty  bool
	secured bool
}

func (c *smtpFaultConn) say(lines ...string) error {
	_, err := io.WriteString(c.conn, strings.Join(lines, "\r\n")+"\r\n")
	return err
}

// here tells whether the connection's fault is at a stage.
func (c *smtpFaultConn) here(stage string) bool { return c.faulty && c.fault.at == stage }

// commit does what a fault wants. It returns nil only if the conversation goes
// on; instead is what would have been said without the fault.
func (c *smtpFaultConn) commit(f fault, number int, instead string) error {
	c.server.ledger.meet(c.server.name, f, number)
	switch f.how {
	case answers:
		if err := c.say(f.reply); err != nil {
			return err
		}
		if strings.HasPrefix(f.reply, "421") {
			return errDone
		}
		return nil
	case offersNone:
		return c.say("502 5.5.1 not offered")
	case dawdles:
		time.Sleep(dawdling)
		return c.say(instead)
	case drips:
		return drip(c.conn, instead+"\r\n")
	case confirms:
		if err := c.say(instead); err != nil {
			return err
		}
		return reset(c.raw)
	}
	return misbehave(f.how, c.raw, c.conn, strings.Repeat("250-and so on\r\n", 64))
}

// serve holds the whole conversation.
func (c *smtpFaultConn) serve() error {
	if c.server.implicitTLS {
		if err := c.secure(); err != nil {
			return err
		}
	}
	c.reader = bufio.NewReader(c.conn)
	const greeting = "220 fault.example ESMTP"
	if c.here(atGreeting) {
		if err := c.commit(c.fault, nameless, greeting); err != nil {
			return err
		}
		if c.fault.how == answers {
			return errDone
		}
	} else if err := c.say(greeting); err != nil {
		return err
	}
	for {
		line, err := c.command()
		if err != nil {
			return err
		}
		if err := c.obey(line); err != nil {
			return err
		}
	}
}

// command reads a line, for as long as the server has patience.
func (c *smtpFaultConn) command() (string, error) {
	limit := longestStall
	if c.here(atIdle) {
		limit = idleLimit
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(limit))
	line, err := c.reader.ReadString('\n')
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() && c.here(atIdle) {
		return "", errors.Join(c.commit(c.fault, nameless, ""), errDone)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(longestStall))
	return strings.TrimRight(line, "\r\n"), err
}

func verb(line string) string {
	word, _, _ := strings.Cut(strings.ToUpper(line), " ")
	return word
}

// obey answers a command that begins something.
func (c *smtpFaultConn) obey(line string) error {
	switch verb(line) {
	case "EHLO", "HELO":
		if c.here(atEHLO) {
			return c.commit(c.fault, nameless, "")
		}
		return c.say(c.extensions()...)
	case "STARTTLS":
		if c.here(atSTARTTLS) {
			return c.commit(c.fault, nameless, "")
		}
		if err := c.say("220 2.0.0 go ahead"); err != nil {
			return err
		}
		if err := c.secure(); err != nil {
			return err
		}
		c.reader = bufio.NewReader(c.conn)
		return nil
	case "AUTH":
		if c.here(atAUTH) {
			return c.commit(c.fault, nameless, "")
		}
		return c.say("235 2.7.0 welcome")
	case "MAIL":
		return c.transaction()
	case "RSET", "NOOP":
		return c.say("250 2.0.0 ok")
	case "RCPT", "DATA":
		return c.say("503 5.5.1 MAIL first")
	case "QUIT":
		return errors.Join(c.say("221 2.0.0 bye"), errDone)
	}
	return c.say("500 5.5.2 what?")
}

func (c *smtpFaultConn) extensions() []string {
	lines := []string{"fault.example", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 1000000"}
	offer := func(stage, extension string) {
		if c.here(stage) && c.fault.how == offersNone {
			c.server.ledger.meet(c.server.name, c.fault, nameless)
			return
		}
		lines = append(lines, extension)
	}
	if c.server.pipelining {
		lines = append(lines, "PIPELINING")
	}
	if c.server.startTLS && !c.secured {
		offer(atSTARTTLS, "STARTTLS")
	}
	if c.server.login && c.secured {
		offer(atAUTH, "AUTH PLAIN LOGIN")
	}
	for i := range lines {
		mark := "-"
		if i == len(lines)-1 {
			mark = " "
		}
		lines[i] = "250" + mark + lines[i]
	}
	return lines
}

// secure shakes hands for TLS.
func (c *smtpFaultConn) secure() error {
	certificate := c.server.certificates.right
	if c.here(atTLS) {
		if c.fault.how != misnames {
			return c.commit(c.fault, nameless, "")
		}
		c.server.ledger.meet(c.server.name, c.fault, nameless)
		certificate = c.server.certificates.wrong
	}
	secured := tls.Server(c.raw, &tls.Config{Certificates: []tls.Certificate{certificate}})
	_ = c.raw.SetDeadline(time.Now().Add(longestStall))
	if err := secured.Handshake(); err != nil {
		return err
	}
	c.conn, c.secured = secured, true
	return nil
}

// transaction takes one mail from MAIL FROM to the verdict.
func (c *smtpFaultConn) transaction() error {
	f, faulty := c.server.transactions.faultOf(int(c.server.begun.Add(1)))
	if faulty {
		return c.commit(f, nameless, "")
	}
	if c.server.login && !c.secured {
		return c.say("530 5.7.0 STARTTLS first")
	}
	if err := c.say("250 2.1.0 ok"); err != nil {
		return err
	}
	line, err := c.command()
	if err != nil {
		return err
	}
	if verb(line) != "RCPT" {
		return c.say("503 5.5.1 RCPT expected")
	}
	number := numberIn([]byte(line))
	f, faulty = c.server.mails.faultOf(number)
	if faulty && f.at == atRCPT {
		return c.commit(f, number, "")
	}
	if err := c.say("250 2.1.5 ok"); err != nil {
		return err
	}
	if line, err = c.command(); err != nil {
		return err
	}
	if verb(line) != "DATA" {
		return c.say("503 5.5.1 DATA expected")
	}
	if faulty && f.at == atDATA {
		return c.commit(f, number, "")
	}
	if err := c.say("354 go ahead"); err != nil {
		return err
	}
	if faulty && f.at == atBody {
		if _, err := c.reader.Peek(64); err != nil {
			return err
		}
		return c.commit(f, number, "")
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	const taken = "250 2.0.0 Ok: queued as FAULTSERVER"
	if !faulty {
		mail := c.keep(number, body)
		// Noted first: once it is said, the relay may answer at any moment. If it
		// cannot be said, nobody heard it.
		c.server.ledger.confirm(mail)
		return c.say(taken)
	}
	switch {
	case f.how == dawdles || f.how == drips || f.how == confirms:
		c.server.ledger.confirm(c.keep(number, body))
	case f.kept:
		c.keep(number, body)
	}
	return c.commit(f, number, taken)
}

// body reads up to the final dot.
func (c *smtpFaultConn) body() ([]byte, error) {
	var body []byte
	for {
		line, err := c.reader.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if string(line) == ".\r\n" {
			return body, nil
		}
		body = append(body, bytes.TrimPrefix(line, []byte("."))...)
	}
}

// says tells whether a text stands in a message, in quoted-printable or base64.
func says(message []byte, text string) bool {
	if bytes.Contains(bytes.ReplaceAll(message, []byte("=\r\n"), nil), []byte(text)) {
		return true
	}
	for part := range bytes.SplitSeq(message, []byte("\r\n\r\n")) {
		part, _, _ = bytes.Cut(part, []byte("\r\n--"))
		plain, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(part)))
		if err == nil && bytes.Contains(plain, []byte(text)) {
			return true
		}
	}
	return false
}

func (c *smtpFaultConn) keep(number int, body []byte) *keptMail {
	return c.server.ledger.keep(number, keptMail{
		server: c.server.name, ref: refIn(body), intact: says(body, code(number)),
	})
}
