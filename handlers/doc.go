// Package handlers is HTTP in: the webhook that Logto calls and the events that
// services report, on the public listener, and the server of either listener. The
// admin listener's pages are package admin, what both have in common is package web.
// Nothing else of the program imports Echo.
//
// # The steps of one webhook
//
// A request passes recovery from panics, its id, the access log, the bound of
// its body, the caller's address, the authorization, decoding and validation;
// then relay.Deliver sends the mail. A step that refuses the request returns an
// error. One place turns errors into answers (failure.go), and there is always
// an answer over HTTP, whatever happens.
//
// # Who reads an answer
//
// The body of a failing answer is shown to the person at the sign-in page. It
// is one sentence in that person's language with a reference, and never holds
// anything that a provider, a caller or an operator wrote. The reference leads
// to the log, which says the rest; the log in turn never holds a body, a code,
// a link or a whole address.
//
// # Coming and going
//
// Server listens before it serves, so that a taken port is an error at once,
// and leaves without cutting anybody off: see Drain. How many callers are connected
// is bounded, and those who say nothing or never read make room for others, but
// nobody who waits for an answer is cut: see connections.
package handlers
