package smtp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	sasl "github.com/wneessen/go-mail/smtp"
)

// Login is how to log in (RFC 4954).
type Login struct {
	User, Password string
	// Mechanism is one of Mechanisms, and the only one that is tried; when it is
	// empty all that the server offers are, best first, until one is taken or the
	// credentials are refused.
	Mechanism string
	// Tokens replace the password by access tokens, and the mechanism by XOAUTH2.
	Tokens TokenSource
}

// TokenSource hands out access tokens.
type TokenSource interface {
	// Token returns one, and whether it was issued just now. Its error is the
	// cause of the failed login.
	Token(ctx context.Context) (token string, isNew bool, err error)
	// Drop says that the server refused a token.
	Drop(token string)
}

// xoauth2 is for access tokens, and never taken for a password:
// https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
const xoauth2 = "XOAUTH2"

// Mechanisms returns the ways to log in with a password, best first: those that every server
// can do. Cyrus SASL and others offer SCRAM and CRAM-MD5 where passwords are kept in a way that
// lets them do neither, and then say that the password is wrong. Where nobody checks who the
// server is, SCRAM protects nothing either: who stands between need not offer it.
func Mechanisms() []string {
	return []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"}
}

// MechanismError is the cause for a login that was not begun, because the server
// does not offer what it takes.
type MechanismError struct {
	Wanted  string // empty if any would have done
	Offered []string
}

// Error says what is offered.
func (e *MechanismError) Error() string {
	offered := strings.Join(e.Offered, " ")
	switch {
	case offered == "":
		return "the server does not offer AUTH"
	case e.Wanted == "":
		return "the server offers no way to log in that is known here: " + offered
	}
	return "the server does not offer " + e.Wanted + ", only " + offered
}

// AuthError is the cause for a login that the client gave up, because the server
// did not keep to the mechanism.
type AuthError struct {
	Mechanism string
	Err       error
}

// Error names the mechanism.
func (e *AuthError) Error() string { return e.Mechanism + ": " + e.Err.Error() }

// Unwrap returns what was wrong.
func (e *AuthError) Unwrap() error { return e.Err }

// RefusesMechanism tells whether a reply to AUTH is about the mechanism, or a line
// too long for the server, so that another one may do, and not about the
// credentials: RFC 4954 sections 4 and 6, and the words of servers that have only
// 535 for everything.
func (r Reply) RefusesMechanism() bool {
	switch r.Code {
	case 432, 500, 501, 502, 504:
		return true
	case 534, 535, 550, 552, 554:
		text := strings.ToLower(r.Text)
		has := func(part string) bool { return strings.Contains(text, part) }
		return r.Enhanced == "5.7.4" || has("too long") ||
			slices.ContainsFunc([]string{"mechanism", "authentication type", "auth type", "authentication method", "auth method"}, has) &&
				slices.ContainsFunc([]string{"not supported", "unsupported", "unrecogni", "unknown", "not available", "unavailable",
					"no mechanism", "invalid", "disabled", "not allowed", "not enabled", "not permitted", "too weak"}, has)
	}
	return false
}

func (s *session) authenticate(ctx context.Context) *Error {
	login := s.config.Login
	if login == nil {
		return nil
	}
	if !s.secure && !s.config.ClearTextLogin {
		return &Error{Stage: AtAUTH, Err: ErrClearText}
	}
	wanted, try := login.Mechanism, Mechanisms()
	if login.Tokens != nil {
		wanted = xoauth2
	}
	if wanted != "" {
		try = []string{wanted}
	}
	e := &Error{Stage: AtAUTH, Err: &MechanismError{wanted, s.extensions.mechanisms}}
	for _, mechanism := range try {
		if !slices.Contains(s.extensions.mechanisms, mechanism) {
			continue
		}
		if login.Tokens != nil {
			e = s.logInByToken(ctx, login)
		} else {
			e = s.logIn(ctx, mechanism, newMechanism(mechanism, login))
		}
		if e == nil || !e.Reply.RefusesMechanism() {
			break
		}
	}
	return e
}

// logInByToken notes in the session whether a newer token might be taken.
func (s *session) logInByToken(ctx context.Context, login *Login) *Error {
	token, isNew, err := login.Tokens.Token(ctx)
	if err != nil {
		return &Error{Stage: AtAUTH, Err: err}
	}
	e := s.logIn(ctx, xoauth2, sasl.XOAuth2Auth(login.User, token))
	if e != nil && e.Reply.Code >= 500 && !e.Reply.RefusesMechanism() {
		login.Tokens.Drop(token)
		s.staleToken = !isNew
	}
	return e
}

func newMechanism(name string, login *Login) sasl.Auth {
	switch name {
	case "SCRAM-SHA-256":
		return &scram{Auth: sasl.ScramSHA256Auth(login.User, login.Password)}
	case "SCRAM-SHA-1":
		return &scram{Auth: sasl.ScramSHA1Auth(login.User, login.Password)}
	case "CRAM-MD5":
		return sasl.CRAMMD5Auth(login.User, login.Password)
	case "LOGIN":
		return sasl.LoginAuth(login.User, login.Password, "", true) // clear text was ruled out before
	}
	return sasl.PlainAuth("", login.User, login.Password, "", true)
}

const (
	// maxCommand is the longest command line, with its end (RFC 5321 section
	// 4.5.3.1.4). RFC 4954 section 4 wants an initial response that does not fit to
	// wait for the server's empty challenge.
	maxCommand = 512
	// maxChallenges is more than any mechanism has.
	maxChallenges = 5
)

// logIn takes one mechanism to its end. Where the client has to give up it says
// nothing more: the connection is closed.
func (s *session) logIn(ctx context.Context, name string, mechanism sasl.Auth) *Error {
	giveUp := func(err error) *Error { return s.fail(ctx, AtAUTH, &AuthError{name, err}) }
	_, initial, err := mechanism.Start(&sasl.ServerInfo{TLS: true})
	if err != nil {
		return giveUp(err)
	}
	line, initial := authLine(name, initial)
	for range maxChallenges {
		reply, e := s.ask(ctx, AtAUTH, line)
		switch {
		case e != nil:
			return e
		case reply.Code == 235:
			if _, err := mechanism.Next(nil, false); err != nil {
				return giveUp(err)
			}
			return nil
		case reply.Code != 334:
			return s.refuse(AtAUTH, reply)
		}
		response := initial
		if initial = nil; response == nil {
			challenge, err := base64.StdEncoding.DecodeString(reply.Text)
			if err != nil {
				return giveUp(errors.New("the challenge is not base64"))
			}
			if response, err = respond(ctx, mechanism, challenge); err != nil {
				return giveUp(err)
			}
		}
		line = base64.StdEncoding.EncodeToString(response)
	}
	return giveUp(errors.New("the server does not come to an end"))
}

// authLine returns the command that begins a login, and the initial response if it
// has to wait.
func authLine(name string, initial []byte) (line string, rest []byte) {
	line = "AUTH " + name
	if whole := line + " " + base64.StdEncoding.EncodeToString(initial); initial != nil && len(whole)+len("\r\n") <= maxCommand {
		return whole, nil
	}
	return line, initial
}

// respond lets the mechanism answer a challenge, aside, so that the context ends
// the wait for SCRAM's computation too.
func respond(ctx context.Context, mechanism sasl.Auth, challenge []byte) ([]byte, error) {
	type answer struct {
		response []byte
		err      error
	}
	done := make(chan answer, 1)
	go func() {
		response, err := mechanism.Next(challenge, true)
		done <- answer{response, err}
	}()
	select {
	case a := <-done:
		return a.response, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// maxIterations bounds the work that a server may ask for before it has proved
// anything. It is above what anybody recommends, which is 1,400,000 for SHA-1
// (OWASP, Password Storage Cheat Sheet), and takes half a second of one core.
const maxIterations = 2_000_000

// scram holds the server to the order of RFC 5802 section 5. The mechanism itself
// would begin anew at every empty challenge and then take a signature made with
// the empty key, and it would believe a server that never signs.
type scram struct {
	sasl.Auth
	step int
}

// Next answers a challenge. Without more, the server claims success.
func (a *scram) Next(challenge []byte, more bool) ([]byte, error) {
	begins := [...]string{"", "r=", "v="}
	switch {
	case !more && a.step == len(begins):
		return nil, nil
	case !more:
		return nil, errors.New("the server did not prove that it knows the password")
	case bytes.HasPrefix(challenge, []byte("e=")): // its refusal follows
		a.step = len(begins) + 1
		return []byte{}, nil
	case a.step >= len(begins), a.step == 0 && len(challenge) > 0, !bytes.HasPrefix(challenge, []byte(begins[a.step])):
		return nil, errors.New("the challenge is out of order")
	case a.step == 1:
		if fields := strings.Split(string(challenge), ","); len(fields) > 2 {
			count, found := strings.CutPrefix(fields[2], "i=")
			if n, _ := strconv.Atoi(count); found && (n < 1 || n > maxIterations) {
				return nil, fmt.Errorf("the server asks for %.12s iterations, and at most %d are done", count, maxIterations)
			}
		}
	}
	a.step++
	return a.Auth.Next(challenge, true)
}
