package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Stage is a step on the way of a message. Stages joined by | are a set of them.
type Stage uint16

// The stages, in their order.
const (
	AtConnect Stage = 1 << iota
	AtProxy
	AtTLS
	AtGreeting
	AtEHLO
	AtSTARTTLS
	AtAUTH
	AtMAIL
	AtRCPT
	AtDATA
	AtBody // before the final dot was written
	AtDot
)

var stageNames = map[Stage]string{
	AtConnect: "connect", AtProxy: "proxy", AtTLS: "TLS", AtGreeting: "greeting", AtEHLO: "EHLO", AtSTARTTLS: "STARTTLS",
	AtAUTH: "AUTH", AtMAIL: "MAIL FROM", AtRCPT: "RCPT TO", AtDATA: "DATA", AtBody: "body", AtDot: "final dot",
}

// String returns the name of a single stage.
func (s Stage) String() string { return stageNames[s] }

// Error is a message that was not accepted, or a connection that was not made.
// Its text may hold what servers like to repeat: addresses, and parts of the
// message.
type Error struct {
	Stage Stage
	// Reply is what the server answered; its Code is zero if it did not.
	Reply Reply
	// Err is the cause if the server did not answer: an error of the network, of
	// TLS, of the context or of this package.
	Err error
}

// Error describes the failure in one line.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Stage.String() + ": " + e.Err.Error()
	}
	return e.Stage.String() + ": " + strings.ReplaceAll(e.Reply.String(), "\n", " ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

var tooManyConnections = regexp.MustCompile(`(?i)\btoo many .{0,12}(connection|session)`)

// refusesConnection tells whether the server, or its host, did not want another
// connection: by a reply before anything was asked of it, or without a word. Where
// nobody listens, there is no server that could mean it so.
func (e *Error) refusesConnection() bool {
	switch {
	case e.Reply.Code == 421, e.Reply.Code == 432:
		return e.Stage < AtMAIL
	case e.Reply.Code != 0:
		return e.Stage == AtGreeting && (e.Reply.Code < 500 || tooManyConnections.MatchString(e.Reply.Text))
	}
	isOne := func(cause error) bool { return errors.Is(e.Err, cause) }
	return e.Stage&(AtConnect|AtTLS|AtGreeting) != 0 &&
		slices.ContainsFunc([]error{io.EOF, io.ErrUnexpectedEOF, ErrReset, ErrAborted}, isOne)
}

var (
	// ErrClosed is the cause for a message that comes after Pool.Close.
	ErrClosed = errors.New("the pool is closed")
	// ErrTooLate is the cause for a message whose deadline is so near after
	// connecting that it was not begun.
	ErrTooLate = fmt.Errorf("connecting left too little time to hand over the message: %w", context.DeadlineExceeded)
	// ErrNoTLS is the cause where TLS is required and not offered.
	ErrNoTLS = errors.New("the server does not offer STARTTLS")
	// ErrNoUTF8 is the cause for an address that needs SMTPUTF8 where that is not
	// offered.
	ErrNoUTF8 = errors.New("the address is not ASCII, and the server has no SMTPUTF8")
	// ErrClearText is the cause for a login that would go over a connection without
	// TLS.
	ErrClearText = errors.New("the connection is not encrypted, and a password never goes out in clear text")
	// ErrNotHTTP is the cause where a proxy should speak HTTP and does not.
	ErrNotHTTP = errors.New("the proxy does not answer in HTTP")
)

// Causes of the type that the standard library has for a peer that does not keep
// to the protocol.
const (
	errMalformed = textproto.ProtocolError("malformed reply")
	errTooLong   = textproto.ProtocolError("the reply is too long")
	errUnasked   = textproto.ProtocolError("the server speaks unasked")
)

// SizeError is the cause for a message that is larger than the server takes.
type SizeError struct{ Size, Limit int }

// Error names both sizes.
func (e *SizeError) Error() string {
	return fmt.Sprintf("the message has %d bytes, and the server takes %d", e.Size, e.Limit)
}

// BusyError is the cause for a message whose context ended while all connections
// carried others.
type BusyError struct {
	Connections int
	Err         error
}

// Error names the number of connections.
func (e *BusyError) Error() string { return fmt.Sprintf("all %d connections were busy", e.Connections) }

// Unwrap returns the context's error.
func (e *BusyError) Unwrap() error { return e.Err }

// ProxyError is the cause for a connection that failed on the way to the proxy,
// or at it.
type ProxyError struct {
	// Status is what an HTTP proxy answered instead of 200; zero for another cause.
	Status int
	Err    error
}

// Error names the status, or else the cause.
func (e *ProxyError) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return fmt.Sprintf("the proxy answered %d", e.Status)
}

// Unwrap returns the cause.
func (e *ProxyError) Unwrap() error { return e.Err }

// failure makes the error for a stage that got no reply. When the context is over,
// that is the cause.
func failure(ctx context.Context, stage Stage, err error) *Error {
	if ended := contextEnd(ctx); ended != nil {
		err = ended
	}
	return &Error{Stage: stage, Err: err}
}

// contextEnd returns why the context is over, also in the moment when its
// deadline has passed and its own timer has not yet fired.
func contextEnd(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// result makes an error of a failure, if there is one.
func result(e *Error) error {
	if e == nil {
		return nil
	}
	return e
}
