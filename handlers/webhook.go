package handlers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"logto-email-relay/providers"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
)

type public struct {
	relay      Deliverer
	sentences  Sentences
	metrics    *Metrics
	logger     *slog.Logger
	accepted   *authorization
	allowedIPs []settings.Network
	decoder    *decoder
}

// acceptance is the answer to a webhook whose mail a provider took. Logto ignores
// it; people who try the webhook by hand do not.
type acceptance struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
}

// webhook turns one call of Logto's into one mail.
func (p *public) webhook(c echo.Context) error {
	body, err := readBody(c)
	if err != nil {
		return err
	}
	request, err := p.decoder.decode(body)
	if err != nil {
		refused := asFailure(err)
		refused.locale = p.sentences.Locale(request.Payload)
		return refused
	}
	request.ID = requestID(c)

	start := time.Now()
	receipt, err := p.relay.Deliver(c.Request().Context(), request)
	p.record(c, request, receipt, err, time.Since(start))
	if err != nil {
		failed := asFailure(err)
		if failed.locale == "" {
			failed.locale = p.sentences.Locale(request.Payload)
		}
		return failed
	}
	answer, err := json.Marshal(acceptance{receipt.ID, receipt.Provider})
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, "application/json", answer)
}

// sized refuses a body that says itself that it is too large.
func (p *public) sized(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().ContentLength > maxBody {
			return &failure{reason: relay.TooLarge, detail: "Content-Length is over 64 KiB"}
		}
		return next(c)
	}
}

// readBody reads a JSON body whole, within the bounds of its size and its time.
func readBody(c echo.Context) ([]byte, error) {
	r := c.Request()
	if !isJSON(r.Header.Get("Content-Type")) {
		return nil, &failure{reason: relay.UnsupportedMediaType, detail: "Content-Type is not application/json"}
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, &failure{reason: relay.UnsupportedMediaType, detail: "the body has a Content-Encoding"}
	}
	body, err := readAll(r.Body, r.ContentLength)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &failure{reason: relay.Timeout, detail: "the body did not arrive in time", err: err}
	case err != nil:
		return nil, &failure{reason: relay.Malformed, detail: "the body broke off", err: err}
	case len(body) > maxBody:
		return nil, &failure{reason: relay.TooLarge, detail: "the body is over 64 KiB"}
	}
	setReadDeadline(c, time.Time{})
	return body, nil
}

func isJSON(contentType string) bool {
	const wanted = "application/json"
	if contentType == wanted { // as Logto writes it
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == wanted
}

// readAll reads to the end, but not more than a byte over maxBody. length is
// what the caller announced, -1 if nothing.
func readAll(r io.Reader, length int64) ([]byte, error) {
	if length < 0 || length > maxBody {
		return io.ReadAll(io.LimitReader(r, maxBody+1))
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return body, err
}

// attemptLine is one attempt in the line of a mail.
type attemptLine struct {
	Provider string  `json:"provider"`
	Kind     string  `json:"kind"`
	Stage    string  `json:"stage,omitempty"`
	Code     string  `json:"code,omitempty"`
	Detail   string  `json:"detail,omitempty"`
	Hint     string  `json:"hint,omitempty"`
	MS       float64 `json:"ms"`
}

// String is the attempt in a log of text.
func (a attemptLine) String() string {
	said := strings.Join(slices.DeleteFunc([]string{a.Kind, a.Stage, a.Code, a.Detail, a.Hint},
		func(part string) bool { return part == "" }), ": ")
	return fmt.Sprintf("%s, %.0f ms: %s", a.Provider, a.MS, said)
}

// acceptedKind is the kind of an attempt without an error.
const acceptedKind = "accepted"

// record writes the one line of a mail and counts it. This is the edge: no
// failure on the way here has been logged.
func (p *public) record(c echo.Context, r relay.Request, receipt relay.Receipt, err error, took time.Duration) {
	locale, attempts := receipt.Locale, receipt.Attempts
	var undelivered *relay.Error
	if errors.As(err, &undelivered) {
		locale, attempts = undelivered.Locale, undelivered.Attempts
	}
	lines := make([]attemptLine, len(attempts))
	for i, attempt := range attempts {
		line := attemptLine{Provider: attempt.Provider, Kind: acceptedKind, MS: milliseconds(attempt.Duration)}
		if e := attempt.Err; e != nil {
			line.Kind, line.Stage, line.Code, line.Detail, line.Hint = e.Kind.String(), e.Stage, e.Code, e.Detail, e.Hint
		}
		lines[i] = line
	}
	attrs := []slog.Attr{
		slog.String("ref", relay.Reference(r.ID)),
		slog.String("id", r.ID),
		slog.String("type", r.Type),
		slog.String("locale", locale),
		slog.String("to", mask(r.To)),
		slog.String("provider", receipt.Provider),
		slog.String("provider_id", receipt.ID),
		slog.Any("attempts", lines),
		slog.Float64("ms", milliseconds(took)),
	}
	message, level, reason := "mail accepted", slog.LevelInfo, relay.Reason("")
	if err != nil {
		reason = asFailure(err).reason
		message, level = "mail failed", severity(reason)
		attrs = append(attrs, slog.String("error", string(reason)))
		if text := cause(err); text != "" {
			attrs = append(attrs, slog.String("cause", text))
		}
	}
	logLine(c, p.logger, level, message, attrs)
	p.metrics.mail(r.Type, receipt.Provider, reason, attempts)
}

// cause is what lies beneath the reason of a failed mail. Errors promise to
// quote no message; what breaks the promise is redacted.
func cause(err error) string {
	var undelivered *relay.Error
	if errors.As(err, &undelivered) {
		if err = undelivered.Err; err == nil {
			return ""
		}
	}
	return providers.Redact(err.Error())
}

// mask keeps of an address what tells two readers of a log that they speak of
// the same one: the first character and the domain.
func mask(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "***"
	}
	_, size := utf8.DecodeRuneInString(address[:at])
	return address[:size] + "***" + address[at:]
}
