package handlers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"logto-email-relay/mail"
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
	timeout    time.Duration
}

// webhook turns one call of Logto's into one mail. A caller who hangs up does not
// end its context: a mail under way is finished.
func (p *public) webhook(c echo.Context) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	body, err := readBody(c)
	if err != nil {
		return err
	}
	request, err := p.decoder.decode(body)
	if err != nil {
		refused := asFailure(err)
		refused.locale = p.sentences.Locale(request.Type, request.Payload)
		return refused
	}
	request.ID = requestID(c)

	start := time.Now()
	receipt, err := p.relay.Deliver(ctx, request)
	p.record(c, request, receipt, err, start)
	if err != nil {
		failed := asFailure(err)
		if failed.locale == "" {
			failed.locale = p.sentences.Locale(request.Type, request.Payload)
		}
		return failed
	}
	return c.Blob(http.StatusOK, "application/json", acceptance(receipt))
}

// acceptance is the answer to a webhook whose mail a provider took. Logto ignores
// it; people who try the webhook by hand do not.
func acceptance(r relay.Receipt) []byte {
	b := appendMember(make([]byte, 0, 64+len(r.ID)), `{"id":`, r.ID)
	return append(appendMember(b, `,"provider":`, r.Provider), '}')
}

// appendMember appends a text to JSON, after what stands before it.
func appendMember(b []byte, before, text string) []byte {
	b, _ = jsontext.AppendQuote(append(b, before...), text) // the error is about bytes that are no UTF-8, which it replaces
	return b
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

// attempts are those of a mail, in its line of the log.
type attempts []relay.Attempt

// MarshalJSON writes an object for each attempt, without what has no value.
func (all attempts) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 128), '[')
	for i, a := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMember(b, `{"provider":`, a.Provider)
		b = appendMember(b, `,"kind":`, kindOf(a))
		if e := a.Err; e != nil {
			for _, member := range []struct{ before, text string }{
				{`,"stage":`, e.Stage}, {`,"code":`, e.Code}, {`,"detail":`, e.Detail}, {`,"hint":`, e.Hint},
			} {
				if member.text != "" {
					b = appendMember(b, member.before, member.text)
				}
			}
		}
		b = strconv.AppendFloat(append(b, `,"ms":`...), milliseconds(a.Duration), 'f', -1, 64)
		b = append(b, '}')
	}
	return append(b, ']'), nil
}

// String lists the attempts in a log of text.
func (all attempts) String() string {
	list := make([]string, len(all))
	for i, a := range all {
		said := []string{kindOf(a)}
		if e := a.Err; e != nil {
			said = append(said, e.Stage, e.Code, e.Detail, e.Hint)
		}
		said = slices.DeleteFunc(said, func(part string) bool { return part == "" })
		list[i] = fmt.Sprintf("%s, %.0f ms: %s", a.Provider, milliseconds(a.Duration), strings.Join(said, ": "))
	}
	return "[" + strings.Join(list, " ") + "]"
}

func kindOf(a relay.Attempt) string {
	if a.Err == nil {
		return acceptedKind
	}
	return a.Err.Kind.String()
}

// acceptedKind is the kind of an attempt without an error.
const acceptedKind = "accepted"

// record writes the one line of a mail and counts it. This is the edge: no
// failure on the way here has been logged.
func (p *public) record(c echo.Context, r relay.Request, receipt relay.Receipt, err error, start time.Time) {
	end := time.Now()
	locale, made := receipt.Locale, attempts(receipt.Attempts)
	if err != nil {
		var undelivered *relay.Error
		if errors.As(err, &undelivered) {
			locale, made = undelivered.Locale, undelivered.Attempts
		}
	}
	attrs := []slog.Attr{
		slog.String("ref", mail.Reference(r.ID)),
		slog.String("id", r.ID),
		slog.String("type", r.Type),
		slog.String("locale", locale),
		slog.String("to", mail.Mask(r.To)),
		slog.String("provider", receipt.Provider),
		slog.String("provider_id", receipt.ID),
		slog.Any("attempts", made),
		slog.Float64("ms", milliseconds(end.Sub(start))),
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
	logLine(c, p.logger, end, level, message, attrs)
	p.metrics.mail(r.Type, receipt.Provider, reason, made)
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
