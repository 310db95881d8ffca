package handlers

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/templates"
)

// Sentences are the words for the person at the sign-in page.
type Sentences interface {
	// Sentence returns one line about a failure in a language; an empty or
	// unknown locale gives the default language.
	Sentence(locale string, f templates.Failure) string
	// Locale returns the language of a mail of a type with this payload.
	Locale(messageType string, payload map[string]any) string
}

// The reasons that a request is refused for before a mail comes of it. Those of a
// mail are package mail's.
const (
	malformed            mail.Reason = "malformed"
	tooLarge             mail.Reason = "too_large"
	unsupportedMediaType mail.Reason = "unsupported_media_type"
	unauthorized         mail.Reason = "unauthorized"
	forbidden            mail.Reason = "forbidden"
	notFound             mail.Reason = "not_found"
	methodNotAllowed     mail.Reason = "method_not_allowed"
	invalid              mail.Reason = "invalid"
	unavailable          mail.Reason = "unavailable" // the record, for its pages and for events
	notAcceptable        mail.Reason = "not_acceptable"
)

// failure is a request that is answered with an error. The answer depends on
// reason, locale, retryAfter, suggestion and told alone.
type failure struct {
	reason     mail.Reason
	locale     string
	retryAfter time.Duration
	suggestion string
	// detail tells the operator more. Of what the caller sent it quotes a wrong path and
	// the scheme or host of a link, escaped and cut.
	detail string
	err    error
	// told is the reason whose sentence people read, where it is another one.
	told mail.Reason
	// quiet tells that it is one of many like it, which would only fill the log.
	quiet bool
}

func (f *failure) Error() string { return string(f.reason) + ": " + f.detail }

func (f *failure) Unwrap() error { return f.err }

// status is the one table from reasons to HTTP statuses.
func status(reason mail.Reason) int {
	switch reason {
	case malformed:
		return http.StatusBadRequest
	case tooLarge:
		return http.StatusRequestEntityTooLarge
	case unsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case unauthorized:
		return http.StatusUnauthorized
	case forbidden:
		return http.StatusForbidden
	case notFound:
		return http.StatusNotFound
	case methodNotAllowed:
		return http.StatusMethodNotAllowed
	case notAcceptable:
		return http.StatusNotAcceptable
	case invalid, mail.RecipientRefused, mail.RecipientSuppressed:
		return http.StatusUnprocessableEntity
	case mail.RateLimited:
		return http.StatusTooManyRequests
	case mail.ProviderRefused:
		return http.StatusBadGateway
	case mail.ProviderUnavailable, unavailable:
		return http.StatusServiceUnavailable
	case mail.Timeout, mail.Uncertain:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// severity is how loudly a failed mail or a refused webhook is logged: what the
// caller can mend is a warning, the rest an error.
func severity(reason mail.Reason) slog.Level {
	if status(reason) >= http.StatusInternalServerError {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// asFailure finds the reason in any error of a handler, Echo's own included.
func asFailure(err error) *failure {
	var known *failure
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{reason: mail.Timeout, err: err}
	case errors.As(err, &routing) && routing.Code == http.StatusNotFound:
		return &failure{reason: notFound, err: err}
	case errors.As(err, &routing) && routing.Code == http.StatusMethodNotAllowed:
		return &failure{reason: methodNotAllowed, err: err}
	}
	return &failure{reason: mail.Internal, detail: providers.Redact(err.Error()), err: err}
}

// fallbackSentence is the answer where no sentence can be had.
const fallbackSentence = "Something went wrong. Please try again in a minute."

// problem is the answer of RFC 9457 for callers that ask for JSON.
type problem struct {
	Type      string      `json:"type"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail"`
	Error     mail.Reason `json:"error"`
	Reference string      `json:"reference"`
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
		if header.Get("WWW-Authenticate") == "" {
			header.Set("WWW-Authenticate", "Bearer")
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		header.Set("Retry-After", seconds(f.retryAfter))
	}
	if !drained(c.Request()) {
		header.Set("Connection", "close")
	}
	text := sentence(sentences, f)
	if wantsJSON(c.Request().Header) {
		return answerJSON(c, code, "application/problem+json", problem{
			Type: "about:blank", Title: http.StatusText(code), Status: code,
			Detail: text, Error: f.reason, Reference: reference(c),
		})
	}
	return c.Blob(code, "text/plain; charset=utf-8", []byte(text+" (ref "+reference(c)+")"))
}

// seconds writes a wait as Retry-After has it.
func seconds(wait time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}

// answerJSON answers with a value of ours.
func answerJSON(c echo.Context, code int, contentType string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.Blob(code, contentType, body)
}

// sentence asks for the words and has some of its own if there are none, since
// even a bug in the catalogue must not cost the answer.
func sentence(sentences Sentences, f *failure) (text string) {
	defer func() {
		if recover() != nil || text == "" {
			text = fallbackSentence
		}
	}()
	told := templates.Failure{Reason: string(cmp.Or(f.told, f.reason)), Suggestion: f.suggestion}
	if told.Reason == string(mail.RateLimited) {
		told.Wait = f.retryAfter
	}
	return sentences.Sentence(f.locale, told)
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
