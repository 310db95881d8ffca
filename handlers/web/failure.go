package web

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
)

// The reasons that a request is refused for before a mail comes of it. Those of a
// mail are package mail's.
const (
	Malformed            mail.Reason = "malformed"
	TooLarge             mail.Reason = "too_large"
	UnsupportedMediaType mail.Reason = "unsupported_media_type"
	Unauthorized         mail.Reason = "unauthorized"
	Forbidden            mail.Reason = "forbidden"
	NotFound             mail.Reason = "not_found"
	MethodNotAllowed     mail.Reason = "method_not_allowed"
	Invalid              mail.Reason = "invalid"
	Unavailable          mail.Reason = "unavailable" // the record, for its pages and for events
	NotAcceptable        mail.Reason = "not_acceptable"
)

// Failure is a request that is answered with an error. The public answer depends on
// Reason, Locale, RetryAfter, Suggestion and Told alone.
type Failure struct {
	Reason     mail.Reason
	Locale     string
	RetryAfter time.Duration
	Suggestion string
	// Detail tells the operator more. Of what the caller sent it quotes a wrong path and
	// the scheme or host of a link, escaped and cut.
	Detail string
	Err    error
	// Told is the reason whose sentence people read, where it is another one.
	Told mail.Reason
	// quiet tells that it is one of many like it, which would only fill the log.
	quiet bool
}

// Seconds writes a wait as Retry-After has it.
func Seconds(wait time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}

func (f *Failure) Error() string { return string(f.Reason) + ": " + f.Detail }

func (f *Failure) Unwrap() error { return f.Err }

// Status is the one table from reasons to HTTP statuses.
func Status(reason mail.Reason) int {
	switch reason {
	case Malformed:
		return http.StatusBadRequest
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case UnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case Unauthorized:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case NotAcceptable:
		return http.StatusNotAcceptable
	case Invalid, mail.RecipientRefused, mail.RecipientSuppressed:
		return http.StatusUnprocessableEntity
	case mail.RateLimited:
		return http.StatusTooManyRequests
	case mail.ProviderRefused:
		return http.StatusBadGateway
	case mail.ProviderUnavailable, Unavailable:
		return http.StatusServiceUnavailable
	case mail.Timeout, mail.Uncertain:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// Severity is how loudly a failed mail or a refused webhook is logged: what the
// caller can mend is a warning, the rest an error.
func Severity(reason mail.Reason) slog.Level {
	if Status(reason) >= http.StatusInternalServerError {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// AsFailure finds the reason in any error of a handler, Echo's own included.
func AsFailure(err error) *Failure {
	var known *Failure
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.DeadlineExceeded):
		return &Failure{Reason: mail.Timeout, Err: err}
	case errors.As(err, &routing) && routing.Code == http.StatusNotFound:
		return &Failure{Reason: NotFound, Err: err}
	case errors.As(err, &routing) && routing.Code == http.StatusMethodNotAllowed:
		return &Failure{Reason: MethodNotAllowed, Err: err}
	}
	return &Failure{Reason: mail.Internal, Detail: providers.Redact(err.Error()), Err: err}
}

// AnswerJSON answers with a value of ours.
func AnswerJSON(c echo.Context, code int, contentType string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.Blob(code, contentType, body)
}

// problem is the answer of RFC 9457 for callers that ask for JSON.
type problem struct {
	Type      string      `json:"type"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail"`
	Error     mail.Reason `json:"error"`
	Reference string      `json:"reference"`
}

// AnswerProblem answers with a failure. The detail is for whoever called.
func AnswerProblem(c echo.Context, reason mail.Reason, detail string) error {
	code := Status(reason)
	return AnswerJSON(c, code, "application/problem+json", problem{
		Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: detail, Error: reason, Reference: Reference(c),
	})
}
