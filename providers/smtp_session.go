package providers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"time"
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

// smtpSession is one connection, logged in by smtpServer.open and ready for mails,
// one at a time.
type smtpSession struct {
	server *smtpServer
	conn   *boundedConn // what lies below TLS, if there is TLS
	wire   net.Conn     // conn, or TLS over it
	secure bool
	in     *bufio.Reader
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
	text     []byte // of a reply of several lines
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

// bind makes the end of the context the end of all waiting on this connection,
// until it is released.
func (s *smtpSession) bind(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, s.cut)
}

// cut ends all waiting.
func (s *smtpSession) cut() { _ = s.conn.SetDeadline(time.Unix(1, 0)) }

// release ends what bind began; a connection that was cut stays broken.
func (s *smtpSession) release(stop func() bool) {
	if !stop() {
		s.broken = true
	}
}

// enter begins a step: it bounds the waits in it and what is read in it.
func (s *smtpSession) enter(ctx context.Context, limit time.Duration) {
	s.conn.left = maxReplyBytes
	_ = s.conn.SetDeadline(time.Now().Add(limit))
	if ctx.Err() != nil { // cut may have come before
		s.cut()
	}
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
	defer s.release(s.bind(ctx))
	s.mails++
	failure := s.envelope(ctx, mail)
	if failure != nil {
		return "", failure
	}
	s.enter(ctx, s.server.replyTimeout)
	if err := s.write(*mail.data); err != nil {
		return "", s.fail(ctx, atBody, err)
	}
	mail.written()
	s.enter(ctx, max(s.server.replyTimeout, finalDotTimeout))
	code, text, err := s.read()
	if err != nil {
		return "", s.fail(ctx, atDot, err)
	}
	reply := parseSMTPReply(code, string(text))
	if code/100 != 2 {
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
		code, text, err := s.read()
		switch {
		case err != nil && refused != nil:
			s.broken = true
			return refused
		case err != nil:
			return s.fail(ctx, step.stage, err)
		case refused != nil:
			// A server that now waits for a message must not get one: even a lone
			// dot would deliver an empty mail.
			s.broken = s.broken || code == 354
		case !agrees(step.stage, code):
			if refused = s.refuse(step.stage, parseSMTPReply(code, string(text))); !s.pipelining {
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
func agrees(stage smtpStage, code int) bool {
	if stage == atDATA {
		return code == 354
	}
	return code/100 == 2
}

// refuse notes what a refusal does to the connection. 421 and an answer that is
// no refusal end it by themselves: on one that was idle the mail has a right to
// another.
func (s *smtpSession) refuse(stage smtpStage, reply smtpReply) *Error {
	s.dirty = true
	s.used = time.Now()
	failure := refusal(stage, reply)
	switch {
	case reply.code == 421, reply.code < 400: // below 400 it is out of step, as after a line that nobody had asked for
		s.lose(stage)
	case failure.Kind == Uncertain:
		s.broken = true
	}
	return failure
}

// fail notes that the connection broke.
func (s *smtpSession) fail(ctx context.Context, stage smtpStage, err error) *Error {
	s.lose(stage)
	return smtpFailure(ctx, stage, err)
}

// lose gives up the connection. Before the final dot the mail may take another.
func (s *smtpSession) lose(stage smtpStage) {
	s.broken = true
	s.lost = stage != atDot
}

func (s *smtpSession) write(b []byte) error {
	_, err := s.wire.Write(b)
	return err
}

// read reads one reply: lines of a code and a text, with a dash between them if
// another line follows (RFC 5321 section 4.2.1). A line in between may do without
// the code. The text, lines with \n between them, is good until the next reply.
func (s *smtpSession) read() (code int, text []byte, err error) {
	s.text = s.text[:0]
	for {
		line, err := s.line()
		if err != nil {
			return 0, nil, err
		}
		said, rest, last := parseReplyLine(line)
		switch {
		case code == 0 && (said < 200 || said > 599):
			return 0, nil, textproto.ProtocolError("malformed reply")
		case code == 0 && last:
			return said, rest, nil
		case code == 0:
			code = said
			s.text = append(s.text, rest...)
		case said == code:
			s.text = append(append(s.text, '\n'), rest...)
		default:
			s.text, last = append(append(s.text, '\n'), line...), false
		}
		if last {
			return code, s.text, nil
		}
	}
}

// parseReplyLine takes a line of a reply apart. The code is 0 if there is none.
func parseReplyLine(line []byte) (code int, text []byte, last bool) {
	if len(line) < 4 || line[3] != ' ' && line[3] != '-' {
		return 0, nil, true
	}
	for _, digit := range line[:3] {
		if digit < '0' || digit > '9' {
			return 0, nil, true
		}
		code = 10*code + int(digit-'0')
	}
	return code, line[4:], line[3] == ' '
}

// line reads a line, without its end.
func (s *smtpSession) line() ([]byte, error) {
	line, err := s.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		var rest []byte
		line = slices.Clone(line)
		rest, err = s.in.ReadBytes('\n')
		line = append(line, rest...)
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), err
}

// isAlive tells, without a round trip, whether an idle connection can still be
// used.
func (s *smtpSession) isAlive() bool {
	return s.in.Buffered() == 0 && s.isQuiet()
}

// drop cuts the connection.
func (s *smtpSession) drop() { _ = s.conn.Close() }

// quit takes leave of the server. Its answer does not matter.
func (s *smtpSession) quit() {
	defer s.drop()
	s.conn.left = maxReplyBytes
	_ = s.conn.SetDeadline(time.Now().Add(quitTimeout))
	if s.write([]byte("QUIT\r\n")) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(s.in, 512))
	}
}
