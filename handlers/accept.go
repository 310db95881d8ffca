package handlers

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// wantsJSON tells whether the Accept header (RFC 9110, section 12.5.1) names
// JSON and does not rank plain text above it. A range for anything (*/*) does
// not name it: the person at the sign-in page comes first.
func wantsJSON(header http.Header) bool {
	var json, text quality
	for _, line := range header.Values("Accept") {
		for item := range strings.SplitSeq(line, ",") {
			mediaRange, params, err := mime.ParseMediaType(item)
			if err != nil {
				continue
			}
			q := weight(params["q"])
			switch mediaRange {
			case "application/json", "application/problem+json":
				json.take(2, q)
			case "application/*":
				json.take(1, q)
			case "text/plain":
				text.take(2, q)
			case "text/*":
				text.take(1, q)
			case "*/*":
				text.take(0, q)
			}
		}
	}
	return json.q > 0 && json.q >= text.q
}

// quality is the weight that the most precise range gives to a media type.
type quality struct {
	precision int
	q         float64
}

func (best *quality) take(precision int, q float64) {
	if precision > best.precision || precision == best.precision && q > best.q {
		*best = quality{precision, q}
	}
}

// weight reads a q value; 1 when there is none, 0 when it makes no sense.
func weight(q string) float64 {
	if q == "" {
		return 1
	}
	value, err := strconv.ParseFloat(q, 64)
	if err != nil || !(value >= 0 && value <= 1) {
		return 0
	}
	return value
}
