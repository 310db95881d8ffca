package web

import (
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"logto-email-relay/mail"
)

func TestReadBody(t *testing.T) {
	const bound = 100
	for name, test := range map[string]struct {
		length int64 // announced; -1 if nothing is
		body   io.Reader
		size   int
		reason mail.Reason
	}{
		"nothing":                 {0, strings.NewReader(""), 0, ""},
		"a body":                  {7, strings.NewReader("x y z\r\n"), 7, ""},
		"as large as may be":      {bound, strings.NewReader(strings.Repeat("x", bound)), bound, ""},
		"announced too large":     {bound + 1, iotest.ErrReader(errors.New("is not read")), 0, TooLarge},
		"of no announced length":  {-1, strings.NewReader("x"), 1, ""},
		"so, as large as may be":  {-1, strings.NewReader(strings.Repeat("x", bound)), bound, ""},
		"so, larger":              {-1, strings.NewReader(strings.Repeat("x", bound+1)), 0, TooLarge},
		"breaks off":              {7, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF)), 0, Malformed},
		"comes too slowly":        {7, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(os.ErrDeadlineExceeded)), 0, mail.Timeout},
		"so, of no length either": {-1, iotest.ErrReader(os.ErrDeadlineExceeded), 0, mail.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", test.body)
			r.ContentLength = test.length
			body, err := ReadBody(r, bound)
			var reason mail.Reason
			if err != nil {
				reason = AsFailure(err).Reason
			}
			if len(body) != test.size || reason != test.reason {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		})
	}
}

func TestReadJSON(t *testing.T) {
	for name, test := range map[string]struct {
		contentType, encoding, body string
		reason                      mail.Reason
	}{
		"as Logto":        {"application/json", "", "{}", ""},
		"with parameters": {"Application/JSON; charset=utf-8", "", "{}", ""},
		"none":            {"", "", "{}", UnsupportedMediaType},
		"another":         {"text/plain", "", "{}", UnsupportedMediaType},
		"no type":         {"application/json;q", "", "{}", UnsupportedMediaType},
		"in a coding":     {"application/json", "gzip", "{}", UnsupportedMediaType},
		"64 KiB":          {"application/json", "", strings.Repeat(" ", MaxJSON), ""},
		"more":            {"application/json", "", strings.Repeat(" ", MaxJSON+1), TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", strings.NewReader(test.body))
			r.Header.Set("Content-Type", test.contentType)
			r.Header.Set("Content-Encoding", test.encoding)
			body, err := ReadJSON(r)
			if test.reason == "" && (err != nil || string(body) != test.body) || test.reason != "" && (err == nil || AsFailure(err).Reason != test.reason) {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		})
	}
}

// Who only says that much is to come takes no memory for it.
func TestAnAnnouncedBodyTakesNoMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		r := httptest.NewRequest("POST", "/", iotest.ErrReader(io.ErrUnexpectedEOF))
		r.ContentLength = 16 << 20
		if _, err := ReadBody(r, 16<<20); err == nil {
			t.Error("nothing came and was taken")
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
		t.Errorf("it took %d bytes", took)
	}
}
