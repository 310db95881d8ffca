package handlers

import (
	"net/http"

	"logto-email-relay/handlers/web"
)

// traceparentHeader is in its canonical form.
const traceparentHeader = "Traceparent"

// traceOf returns the id by which the callers of a request know it: the trace id of
// traceparent (W3C Trace Context), else X-Request-Id. It is empty if there is none or
// one that nobody would make, since it goes into the log and the record as it is. The
// relay's own id never depends on it.
func traceOf(header http.Header) string {
	if values := header[traceparentHeader]; len(values) == 1 {
		if id := traceID(values[0]); id != "" {
			return id
		}
	}
	if values := header[web.RequestIDHeader]; len(values) == 1 && isRequestID(values[0]) {
		return values[0]
	}
	return ""
}

// traceID returns the trace id of a traceparent: version, trace id, parent id and
// flags in small hexadecimal digits with a "-" between them. A later version may have
// more behind.
func traceID(parent string) string {
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(parent) < length || len(parent) > length && (parent[:2] == "00" || parent[length] != '-') || parent[:2] == "ff" {
		return ""
	}
	zeros := true // no trace has an id of zeros
	for i := range length {
		c := parent[i]
		switch isDash := i == 2 || i == 35 || i == 52; {
		case isDash != (c == '-'), !isDash && (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return ""
		case i > 2 && i < 35 && c != '0':
			zeros = false
		}
	}
	if zeros {
		return ""
	}
	return parent[3:35]
}

// isRequestID tells whether a text is one of the ids that proxies make: hexadecimal
// digits, UUIDs, Base64 and the like. What is shorter than eight characters could be a
// code.
func isRequestID(text string) bool {
	if len(text) < 8 || len(text) > 128 {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case c == '-', c == '_', c == '.', c == ':', c == '+', c == '/', c == '=':
		default:
			return false
		}
	}
	return true
}
