package smtp

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// Bounds that nobody has asked to set.
const (
	// verdictTimeout is how long the verdict on a message is awaited at least, if
	// its context does not end earlier; giving up early would only mean not to know.
	verdictTimeout = 30 * time.Second
	quitTimeout    = time.Second
	// maxReplyBytes bounds what is read in one step, a TLS handshake included.
	maxReplyBytes = 256 << 10
)

// session is one connection, made by Config.connect and ready for messages, one at
// a time.
type session struct {
	config *Config
	conn   *boundedConn // what lies below TLS, if there is TLS
	wire   net.Conn     // conn, or TLS over it
	secure bool
	in     replyReader
	// socketIsQuiet tells whether the far end has neither spoken nor left.
	socketIsQuiet func() bool
	ackAtOnce     func()
	extensions    extensions

	patient      bool // no message waits while it is opened
	opened, used time.Time
	messages     int
	refused      int  // since the last that was accepted
	owed         int  // replies of a refused envelope that have yet to come
	staleToken   bool // the server refused an access token that was not new
	dirty        bool // a transaction was refused half-way: RSET before the next
	broken       bool // no further message may go through
	lost         bool // broke by itself before the message was handed over
	isExim       bool
	accepted     bool          // has carried a message
	counted      *atomic.Int64 // takes it into account while it is open; nil for none

	// Buffers of the transaction under way.
	commands []byte
	steps    []step
}

// boundedConn gives up on a server that talks without end.
type boundedConn struct {
	net.Conn
	left int
}

// Read reads no more than is left for the step under way.
func (c *boundedConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLong
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// past is a deadline that ends a wait at once.
var past = time.Unix(1, 0)

// bind makes the end of the context the end of all waiting on this connection,
// until unbind.
func (s *session) bind(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, s.cut)
}

// cut ends all waiting.
func (s *session) cut() { _ = s.conn.SetDeadline(past) }

// unbind ends what bind began; a connection that was cut stays broken.
func (s *session) unbind(stop func() bool) {
	if !stop() {
		s.broken = true
	}
}

// enter begins a step: it bounds the waits in it and what is read in it.
func (s *session) enter(ctx context.Context, limit time.Duration) {
	s.conn.left = maxReplyBytes
	var end time.Time
	if limit > 0 {
		end = time.Now().Add(limit)
	}
	_ = s.conn.SetDeadline(end)
	if ctx.Err() != nil { // cut may have come before
		s.cut()
	}
}

// ask writes a command line and reads the reply to it; for the greeting it only
// reads.
func (s *session) ask(ctx context.Context, stage Stage, command string) (Reply, *Error) {
	limit := s.config.ReplyTimeout
	switch {
	case s.patient:
		limit = 0
	case stage == AtGreeting:
		limit = s.config.GreetingTimeout
	}
	s.enter(ctx, limit)
	if stage != AtGreeting {
		if err := s.write([]byte(command + "\r\n")); err != nil {
			return Reply{}, s.fail(ctx, stage, err)
		}
	}
	code, text, err := s.in.read()
	if err != nil {
		return Reply{}, s.fail(ctx, stage, err)
	}
	return parseReply(code, string(text)), nil
}

// write sends bytes, unless the server has said something that it was not asked
// for: the next reply would be taken for another.
func (s *session) write(b []byte) error {
	if s.in.Buffered() > 0 {
		return errUnasked
	}
	_, err := s.wire.Write(b)
	return err
}

// send takes one message through the connection and returns the server's accepting
// reply. With PIPELINING it takes two round trips, else four.
func (s *session) send(ctx context.Context, m *outgoing) (Reply, *Error) {
	if e := m.prepare(); e != nil {
		return Reply{}, e
	}
	if e := s.admits(m); e != nil {
		return Reply{}, e
	}
	defer s.unbind(s.bind(ctx))
	s.messages++
	if e := s.envelope(ctx, m); e != nil {
		return Reply{}, e
	}
	if e := s.body(ctx, *m.data); e != nil {
		return Reply{}, e
	}
	m.freeBuffer()
	if m.Written != nil {
		m.Written()
	}
	s.enter(ctx, max(s.config.ReplyTimeout, verdictTimeout))
	code, text, err := s.in.read()
	if err != nil {
		return Reply{}, s.fail(ctx, AtDot, err)
	}
	reply := parseReply(code, string(text))
	if !accepts(code) {
		return Reply{}, s.refuse(AtDot, reply)
	}
	s.used, s.accepted, s.refused = time.Now(), true, 0
	return reply, nil
}

// accepts tells whether a server takes a recipient or a message (RFC 5321, 4.2.3).
func accepts(code int) bool { return 250 <= code && code <= 252 }

// admits refuses what the server has said beforehand that it would not take.
func (s *session) admits(m *outgoing) *Error {
	switch {
	case s.extensions.maxSize > 0 && m.size > s.extensions.maxSize:
		return &Error{Stage: AtMAIL, Err: &SizeError{m.size, s.extensions.maxSize}}
	case s.extensions.utf8 || !m.needsUTF8():
		return nil
	case m.UTF8Header || !isASCII(m.From):
		return &Error{Stage: AtMAIL, Err: ErrNoUTF8}
	}
	return &Error{Stage: AtRCPT, Err: ErrNoUTF8}
}

// step is one command of a transaction and what to write for it: nothing when it
// went out with the one before.
type step struct {
	stage   Stage
	command []byte
}

// envelope goes as far as the server's consent to receive the message. A refusal
// is known at once; replies to what went out with the refused command may come
// later, and are owed.
func (s *session) envelope(ctx context.Context, m *outgoing) *Error {
	steps := s.flight(m)
	for i, step := range steps {
		if step.command != nil {
			s.enter(ctx, s.config.ReplyTimeout)
			if err := s.write(step.command); err != nil {
				return s.fail(ctx, step.stage, err)
			}
		} else if s.in.Buffered() == 0 {
			s.ackAtOnce()
		}
		code, text, err := s.in.read()
		if err != nil {
			return s.fail(ctx, step.stage, err)
		}
		if step.stage == AtDATA && code != 354 || step.stage != AtDATA && code/100 != 2 || step.stage == AtRCPT && !accepts(code) {
			e := s.refuse(step.stage, parseReply(code, string(text)))
			if s.extensions.pipelining {
				for s.owed = len(steps) - 1 - i; s.owed > 0 && s.in.Buffered() > 0 && !s.broken; {
					s.readOwed()
				}
			}
			return e
		}
	}
	s.dirty = false
	return nil
}

// readOwed reads one reply of an envelope that was refused. A server that now
// waits for a message must not get one: even a lone dot would deliver an empty
// mail.
func (s *session) readOwed() {
	code, _, err := s.in.read()
	s.owed--
	s.broken = err != nil || code == 354 || code == 421
}

// awaitOwed waits for the replies that are owed, each within its time.
func (s *session) awaitOwed(ctx context.Context) {
	defer s.unbind(s.bind(ctx))
	for s.owed > 0 && !s.broken {
		s.enter(ctx, s.config.ReplyTimeout)
		s.readOwed()
	}
}

// flight writes the commands of a transaction: all at once for a server that
// pipelines, one by one for another.
func (s *session) flight(m *outgoing) []step {
	b, steps := s.commands[:0], s.steps[:0]
	end := func(stage Stage) {
		b = append(b, "\r\n"...)
		steps = append(steps, step{stage: stage})
		if !s.extensions.pipelining {
			steps[len(steps)-1].command = b
			b = b[len(b):]
		}
	}
	if s.dirty {
		b = append(b, "RSET"...)
		end(AtMAIL)
	}
	b = append(append(append(b, "MAIL FROM:<"...), m.From...), '>')
	if s.extensions.size {
		b = strconv.AppendInt(append(b, " SIZE="...), int64(m.size), 10)
	}
	if m.needsUTF8() {
		b = append(b, " SMTPUTF8"...)
	}
	end(AtMAIL)
	b = append(append(append(b, "RCPT TO:<"...), m.To...), '>')
	end(AtRCPT)
	b = append(b, "DATA"...)
	end(AtDATA)
	if s.extensions.pipelining {
		s.commands, steps[0].command = b, b
	}
	s.steps = steps
	return steps
}

// wholeWrite is how much surely leaves in one write. In a longer message the
// server has time to speak before the final dot.
const wholeWrite = 32 << 10

// body writes the message, with its final dot. What the server says before that is
// no verdict on it.
func (s *session) body(ctx context.Context, data []byte) *Error {
	for len(data) > 0 {
		if !s.isQuiet() {
			s.enter(ctx, s.config.ReplyTimeout)
			_, err := s.in.Peek(1) // words, or that it has left
			return s.fail(ctx, AtBody, cmp.Or(err, error(errUnasked)))
		}
		part := data
		if len(data) > wholeWrite {
			part = data[:len(data)-len(finalDot)]
		}
		s.enter(ctx, s.config.ReplyTimeout)
		if err := s.write(part); err != nil {
			return s.fail(ctx, AtBody, err)
		}
		data = data[len(part):]
	}
	return nil
}

// refuse notes what a refusal does to the connection. 421 and an answer that is
// no refusal end it by themselves: on one that was idle the message has a right to
// another.
func (s *session) refuse(stage Stage, reply Reply) *Error {
	s.dirty = stage >= AtMAIL
	s.used = time.Now()
	s.refused++
	if reply.Code == 421 || reply.Code < 400 { // below 400 it is out of step, as after a line that nobody had asked for
		s.lose(stage)
	}
	return &Error{Stage: stage, Reply: reply}
}

// fail notes that the connection broke.
func (s *session) fail(ctx context.Context, stage Stage, err error) *Error {
	s.lose(stage)
	return failure(ctx, stage, err)
}

// lose gives up the connection. Before the final dot the message may take another.
func (s *session) lose(stage Stage) {
	s.broken = true
	s.lost = stage != AtDot
}

// isQuiet tells, without a round trip, whether the server has said nothing that
// was not read, and has not left.
func (s *session) isQuiet() bool {
	if s.secure {
		// What TLS has read ahead shows in a read that must not wait.
		_ = s.conn.SetReadDeadline(past)
		if _, err := s.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	return s.in.Buffered() == 0 && s.socketIsQuiet()
}

// isUsedUp tells whether a refusal may be about the number of messages on this
// connection, so that a fresh one takes the message.
func (s *session) isUsedUp(e *Error) bool {
	class := e.Reply.Code / 100
	return s.accepted && (e.Stage == AtMAIL && class >= 4 || e.Stage == AtDATA && class == 4)
}

// drop cuts the connection.
func (s *session) drop() {
	_ = s.conn.Close()
	if s.counted != nil {
		s.counted.Add(-1)
		s.counted = nil
	}
}

// quit says goodbye. The server's answer does not matter.
func (s *session) quit() {
	defer s.drop()
	s.conn.left = maxReplyBytes
	_ = s.conn.SetDeadline(time.Now().Add(quitTimeout))
	if s.write([]byte("QUIT\r\n")) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(s.in, 512))
	}
}
