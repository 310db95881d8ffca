package web

import (
	"cmp"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// WantsJSON tells whether the Accept header (RFC 9110, section 12.5.1) names
// JSON and does not rank plain text above it. A range for anything (*/*) does
// not name it: the person at the sign-in page comes first.
func WantsJSON(header http.Header) bool {
	type weight struct { // the most precise range decides
		precision int
		q         float64
	}
	var json, text weight
	for item := range strings.SplitSeq(strings.Join(header.Values("Accept"), ","), ",") {
		mediaRange, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		q, err := strconv.ParseFloat(cmp.Or(params["q"], "1"), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			q = 0
		}
		for _, known := range []struct {
			mediaRange string
			of         *weight
			precision  int
		}{
			{"application/json", &json, 2}, {"application/problem+json", &json, 2}, {"application/*", &json, 1},
			{"text/plain", &text, 2}, {"text/*", &text, 1}, {"*/*", &text, 0},
		} {
			given := weight{known.precision, q}
			if known.mediaRange == mediaRange && cmp.Or(given.precision-known.of.precision, cmp.Compare(q, known.of.q)) > 0 {
				*known.of = given
			}
		}
	}
	return json.q > 0 && json.q >= text.q
}
