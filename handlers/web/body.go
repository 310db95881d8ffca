package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/mail"
)

// MaxJSON bounds a body of JSON, in bytes. Logto's own bodies are of 2 KB.
const MaxJSON = 64 << 10

// ReadJSON reads a body of JSON whole.
func ReadJSON(r *http.Request) ([]byte, error) {
	if !isJSON(r.Header.Get("Content-Type")) {
		return nil, &Failure{Reason: UnsupportedMediaType, Detail: "Content-Type is not application/json"}
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, &Failure{Reason: UnsupportedMediaType, Detail: "the body has a Content-Encoding"}
	}
	return ReadBody(r, MaxJSON)
}

func isJSON(contentType string) bool {
	const wanted = "application/json"
	if contentType == wanted { // as Logto writes it
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == wanted
}

// CheckLength refuses a body that says itself that it is over a bound in bytes.
func CheckLength(r *http.Request, most int64) *Failure {
	if r.ContentLength > most {
		return &Failure{Reason: TooLarge, Detail: fmt.Sprintf("Content-Length is over %d KiB", most>>10)}
	}
	return nil
}

// ReadBody reads a body whole and as it is, within its time and a bound in bytes.
func ReadBody(r *http.Request, most int64) ([]byte, error) {
	if refused := CheckLength(r, most); refused != nil {
		return nil, refused
	}
	body, err := readAll(r, most)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &Failure{Reason: mail.Timeout, Detail: "the body did not arrive in time", Err: err}
	case err != nil:
		return nil, &Failure{Reason: Malformed, Detail: "the body broke off", Err: err}
	case int64(len(body)) > most:
		return nil, &Failure{Reason: TooLarge, Detail: fmt.Sprintf("the body is over %d KiB", most>>10)}
	}
	return body, nil
}

// readAll reads to the end, but not more than a byte over the bound. Who announces
// much has to send it before it takes memory.
func readAll(r *http.Request, most int64) ([]byte, error) {
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0), MaxJSON)) + bytes.MinRead)
	_, err := body.ReadFrom(io.LimitReader(r.Body, most+1))
	return body.Bytes(), err
}

// maxDrain is how much of an unwanted body is read, in bytes, so that its
// sender gets to read the answer.
const maxDrain = 1 << 20

// StrangersPatience is how long a body may still be on its way from a caller who has not
// shown that he may call. Thousands of bodies that never come would take all connections.
const StrangersPatience = 250 * time.Millisecond

// Drain reads what is left of a body, and has the connection closed after the answer if that
// was not all. A connection that is closed with unread data in it is reset, and the reset can
// overtake the answer. The time for the body bounds this too, and the patience with strangers.
func Drain(c echo.Context) {
	if CallerOf(c).Label == "" {
		_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(StrangersPatience)) // tests may have no connection
	}
	if !drained(c.Request()) {
		c.Response().Header().Set("Connection", "close")
	}
}

// WithoutBody lets nobody wait for a body where none is wanted, as net/http would before the answer.
func WithoutBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		Drain(c)
		return next(c)
	}
}

func drained(r *http.Request) bool {
	if r.Header.Get("Expect") != "" {
		return false // Reading would ask for the body.
	}
	_, err := io.CopyN(io.Discard, r.Body, maxDrain)
	return errors.Is(err, io.EOF)
}
