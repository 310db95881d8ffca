// Package providers hands finished mails to mail services: one file a service,
// behind one interface with one method.
//
// # The promise
//
// A nil error from Send means that the service took responsibility for the
// message, and nothing else does: for SMTP the 250 after the final dot, for an
// API the documented answer with the documented id. Every other end is an
// *Error whose Kind says what the caller may do about it. Nothing is retried in
// here, because only the caller knows how much time is left and who is next;
// the one exception is a pooled connection that turns out to be dead before the
// body left, which is replaced rather than reported.
//
// # Adding a service
//
// docs/adding-a-provider.md goes through it, file by file. The conformance suite
// checks what all services have in common.
package providers

import (
	"context"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Provider sends mail through one mail service. Implementations are safe for
// use by many goroutines at a time. One that holds connections open is an
// io.Closer too.
type Provider interface {
	// Send hands over one message and returns once the service has accepted
	// it. It gives up when the context ends. Its error is always a *Error.
	Send(ctx context.Context, m *mail.Message) (Receipt, error)
}

// Verifier is a Provider that can find out, without sending, whether it could
// send.
type Verifier interface {
	Provider
	// Verify signs in at the service. Its error is always a *Error, of the kind
	// Configuration, RateLimited or Temporary, and says why mails would fail.
	// Without one, note is what the operator should know all the same, such as
	// what this key does not allow to find out; mostly it is empty.
	Verify(ctx context.Context) (note string, err error)
}

// Connected marks a Verifier that keeps the connection of Verify for the first
// mail, so that signing in when the relay starts is no extra work. Services with
// an API are asked only when an operator wants to know.
type Connected interface {
	Verifier
	Connected()
}

// Pooled is a Provider that keeps connections of its own, whose number tells how busy
// it is.
type Pooled interface {
	Provider
	// Connections tells how many are open or being opened, and how many of them are idle.
	Connections() (open, idle int)
}

// Repeatable marks a Provider whose service mails a message once, however often
// it is sent under its ID. An uncertain one may be sent to it again.
type Repeatable interface {
	Provider
	Repeatable()
}

// Lifter is a Provider whose service keeps a list of addresses that it sends nothing
// to, and lets us take one off it.
type Lifter interface {
	Provider
	// Lift takes an address off the list, or finds that it is not on it. Its error is
	// always a *Error, like that of Verify.
	Lift(ctx context.Context, address string) error
}

// Composer marks a Provider that writes mails itself, from the payload. It is given
// one in which other people's words are harmless; whoever is none must show nothing
// of a payload.
type Composer interface {
	Provider
	Composes()
}

// Receipt is what a service said when it accepted a message.
type Receipt struct {
	// ID is the service's own id of the message, the one its delivery events
	// name. Never empty.
	ID string
}

// Sender is the sender that an operator wrote into a provider's own settings.
type Sender struct {
	From    settings.Mailbox
	ReplyTo settings.Mailbox
}
