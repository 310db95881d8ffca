package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/providers"
	"logto-email-relay/relay"
)

// Sentences are the words for the person at the sign-in page.
type Sentences interface {
	// Sentence returns one line for a relay.Reason in a language; an empty or
	// unknown locale gives the default language.
	Sentence(locale, reason string) string
	// Locale returns the language that a mail of this type and payload is written in.
	Locale(messageType string, payload map[string]any) string
}

// failure is a request that is answered with an error. Only reason, locale and
// retryAfter have a say in the answer.
type failure struct {
	reason     relay.Reason
	locale     string
	retryAfter time.Duration
	// detail tells the operator more. It never quotes what the caller sent.
	detail string
	err    error
}

func (f *failure) Error() string { return string(f.reason) + ": " + f.detail }

func (f *failure) Unwrap() error { return f.err }

// status is the one table from reasons to HTTP statuses.
func status(reason relay.Reason) int {
	switch reason {
	case relay.Malformed:
		return http.StatusBadRequest
	case relay.TooLarge:
		return http.StatusRequestEntityTooLarge
	case relay.UnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case relay.Unauthorized:
		return http.StatusUnauthorized
	case relay.Forbidden:
		return http.StatusForbidden
	case relay.NotFound:
		return http.StatusNotFound
	case relay.MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case relay.Invalid, relay.RecipientRefused, relay.RecipientSuppressed:
		return http.StatusUnprocessableEntity
	case relay.RateLimited:
		return http.StatusTooManyRequests
	case relay.ProviderRefused:
		return http.StatusBadGateway
	case relay.ProviderUnavailable:
		return http.StatusServiceUnavailable
	case relay.Timeout, relay.Uncertain:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// severity is how loudly a failed mail or a refused webhook is logged: what the
// caller can mend is a warning, the rest an error.
func severity(reason relay.Reason) slog.Level {
	if status(reason) >= http.StatusInternalServerError {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// asFailure finds the reason in any error of a handler, Echo's own included.
func asFailure(err error) *failure {
	var known *failure
	var undelivered *relay.Error
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &undelivered):
		return &failure{reason: undelivered.Reason, locale: undelivered.Locale, retryAfter: undelivered.RetryAfter, err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{reason: relay.Timeout, err: err}
	case errors.As(err, &routing) && routing.Code == http.StatusNotFound:
		return &failure{reason: relay.NotFound, err: err}
	case errors.As(err, &routing) && routing.Code == http.StatusMethodNotAllowed:
		return &failure{reason: relay.MethodNotAllowed, err: err}
	}
	return &failure{reason: relay.Internal, detail: providers.Redact(err.Error()), err: err}
}

// apology stands in for a sentence that cannot be had.
const apology = "Something went wrong. Please try again in a minute."

// problem is the answer of RFC 9457 for callers that ask for JSON.
type problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Error     relay.Reason `json:"error"`
	Reference string       `json:"reference"`
}

// answerFailure is the one writer of failing answers.
func answerFailure(c echo.Context, f *failure, sentences Sentences) error {
	code := status(f.reason)
	header := c.Response().Header()
	header.Set("X-Relay-Error", string(f.reason))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	switch code {
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds := max(1, int(math.Ceil(f.retryAfter.Seconds())))
		header.Set("Retry-After", strconv.Itoa(seconds))
	}
	if !drained(c.Request()) {
		header.Set("Connection", "close")
	}
	text := sentence(sentences, f)
	if wantsJSON(c.Request().Header) {
		body, err := json.Marshal(problem{
			Type: "about:blank", Title: http.StatusText(code), Status: code,
			Detail: text, Error: f.reason, Reference: reference(c),
		})
		if err != nil {
			return err
		}
		return c.Blob(code, "application/problem+json", body)
	}
	return c.Blob(code, "text/plain; charset=utf-8", []byte(text+" (ref "+reference(c)+")"))
}

// sentence asks for the words and has some of its own if there are none, since
// even a bug in the catalogue must not cost the answer.
func sentence(sentences Sentences, f *failure) (text string) {
	defer func() {
		if recover() != nil || text == "" {
			text = apology
		}
	}()
	return sentences.Sentence(f.locale, string(f.reason))
}

// maxDrain is how much of an unwanted body is read, in bytes, so that its
// sender gets to read the answer.
const maxDrain = 1 << 20

// drained reads what is left of the body and tells whether that was all. A
// connection that is closed with unread data in it is reset, and the reset can
// overtake the answer. The time for the body bounds this too.
func drained(r *http.Request) bool {
	if r.Header.Get("Expect") != "" {
		return false // Reading would ask for the body.
	}
	_, err := io.CopyN(io.Discard, r.Body, maxDrain)
	return errors.Is(err, io.EOF)
}
