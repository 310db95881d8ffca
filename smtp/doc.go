// Package smtp hands messages to one SMTP server, quickly and without ever
// taking silence, or a reply to something else, for acceptance.
//
// # The way of a message
//
// Pool.Send takes a connection that is open, or opens one. A Dialer reaches the
// server, directly or through a proxy (HTTP CONNECT, RFC 9110 section 9.3.6, or
// SOCKS5, RFC 1928). Then come the greeting, EHLO (RFC 5321 section 4.1.1.1), TLS
// by STARTTLS (RFC 3207) or from the first byte (RFC 8314 section 3), and the
// login (RFC 4954) with the mechanisms PLAIN, LOGIN, CRAM-MD5, SCRAM (RFC 5802,
// RFC 7677) and XOAUTH2. Where the server pipelines (RFC 2920), MAIL, RCPT and
// DATA leave in one write, so that a message on an open connection costs two
// round trips, and four elsewhere. SIZE (RFC 1870) and SMTPUTF8 (RFC 6531) are
// used where they are offered.
//
// A Message writes itself in the form of RFC 5322 and MIME (RFC 2045 to 2047),
// into a buffer that is given back as soon as its bytes are out: most of the time
// a message waits for the server, and should hold little meanwhile. A DKIM signs
// it (RFC 6376).
//
// # Acceptance
//
// A nil error means that the server answered 250, 251 or 252 after the final dot,
// and nothing else does (RFC 5321 section 4.2.5). What a server says before it was
// asked is never taken for an answer: it makes the connection out of step, and the
// connection is given up. A connection that breaks after the final dot leaves the
// message uncertain: its Error has the stage AtDot, and no reply or one below 400,
// which is no verdict. A message that was on a pooled connection which broke earlier
// takes another one, once.
//
// # Waiting
//
// The context of a message ends every wait in it at once. The limits of a Config
// bound single waits besides; the one for the server's verdict has a lower bound,
// because giving up there only means not to know.
//
// # Limits of servers
//
// Servers have limits that they do not tell: of connections, and of messages on one
// connection. The pool finds them and keeps to them (see Pool).
//
// # Errors
//
// Every failure is an *Error: the stage, and the server's reply or the cause. The
// package does not say whose fault a refusal is.
package smtp
