package providers

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Kind says whose fault a failed send is, and so what may be done about it.
type Kind int

const (
	// Recipient: this address is malformed, does not exist or is suppressed.
	// No other provider will do better.
	Recipient Kind = iota + 1
	// Content: the message itself was refused (size, headers, spam, template
	// data). The same message fails again.
	Content
	// Configuration: key, address allow list, sender, domain, account: an
	// operator has to act. The next provider may work.
	Configuration
	// RateLimited: throttled, or a quota is spent. The next provider may work.
	RateLimited
	// Temporary: trouble before the service took responsibility. The next
	// provider may work.
	Temporary
	// Uncertain: the message was handed over and no verdict came back. It may
	// have been sent.
	Uncertain
)

var kindNames = map[Kind]string{
	Recipient: "recipient", Content: "message", Configuration: "configuration",
	RateLimited: "rate-limited", Temporary: "temporary", Uncertain: "uncertain",
}

// String returns the word that logs and metrics use.
func (k Kind) String() string { return kindNames[k] }

// Error is a failed send. Its text is for the operator's log: it says the
// stage, the service's code and a redacted form of the service's words. It
// never holds an address, a code, a link or a key.
type Error struct {
	Kind Kind
	// Stage is where it failed: "connect", "TLS", "AUTH", "RCPT TO", "POST", …
	Stage string
	// Code is the service's machine-readable verdict: "550 5.1.1", "429",
	// "MessageRejected"; empty when there was none.
	Code string
	// Detail is what the service or the network said, passed through Redact.
	Detail string
	// isOwn marks a Detail in which nothing is a service's, so that its numbers stay.
	isOwn bool
	// Hint tells the operator what to change, if we know.
	Hint string
	// RetryAfter is how long the service asks to be left alone; zero if it
	// does not say.
	RetryAfter time.Duration
	// Quota marks a RateLimited that will not recover for hours.
	Quota bool
	// Suppressed marks a Recipient that the service has on its own list.
	Suppressed bool
	// AboutAddress marks a Temporary that is about this recipient alone, such as
	// greylisting, or an Uncertain about this mail alone: it says nothing of the service.
	AboutAddress bool
	// Momentary marks a Temporary or a RateLimited that may be over in a moment, such
	// as a restart. The service had nothing of the mail yet.
	Momentary bool
	// Unplaced marks a Configuration of which nobody can tell what it is about: it may be
	// this recipient or this mail alone.
	Unplaced bool
	// isUnknownToProxy marks a 404 that is not the API's own.
	isUnknownToProxy bool
	// Filtered marks a Content or a Recipient of which the next provider may think otherwise:
	// the address has letters that this service takes from nobody; a filter took offence at
	// the mail, it is too large for this service, or nothing but a status tells that it is one.
	Filtered bool
	// Err is the cause for errors.Is and errors.As. Its text is never printed.
	Err error
}

// IsGone tells whether there was no such host to connect to, or a proxy that knows no such
// service. A container has its name and its route while it runs.
func (e *Error) IsGone() bool {
	var lookup *net.DNSError
	return e.isUnknownToProxy || errors.As(e.Err, &lookup) && lookup.IsNotFound
}

// Error describes the failure in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	if e.Quota {
		b.WriteString(" (quota)")
	}
	if e.Suppressed {
		b.WriteString(" (suppressed)")
	}
	for _, part := range []string{e.Stage, e.Code, e.Detail, e.Hint} {
		if part != "" {
			b.WriteString(": ")
			b.WriteString(part)
		}
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Format prints the same one line for every verb, so that %+v and %#v cannot
// reach into the cause, which may quote the message.
func (e *Error) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(e.Error())) }

// About returns the error without anything of the mail that it is about.
func (e *Error) About(p *Private) *Error {
	about := *e
	if !e.isOwn {
		about.Detail = p.Redact(e.Detail)
	}
	if p.isQuotedIn(e.Code) {
		about.Code = ""
	}
	return &about
}

// unbuilt is a request that could not be written, so that nothing of the mail has left.
func unbuilt(err error) *Error {
	return &Error{Kind: Content, Stage: "request", Detail: Redact(err.Error()), Err: err}
}

// AsError returns the *Error in err's chain. Anything else can only be a bug in
// a provider, and is Uncertain, the kind that promises nothing.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Uncertain, Detail: Redact(err.Error()), Err: err}
}
