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
	json := quality(header, map[string]int{"application/json": 1, "application/problem+json": 1, "application/*": 0})
	return json > 0 && json >= quality(header, map[string]int{"text/plain": 2, "text/*": 1, "*/*": 0})
}

// WantsHTML tells whether the Accept header names HTML, as that of browsers does, and
// does not rank JSON above it.
func WantsHTML(header http.Header) bool {
	html := quality(header, map[string]int{"text/html": 0})
	return html > 0 && html >= quality(header, map[string]int{"application/json": 1, "application/*": 0})
}

// quality returns how much something is wanted that the ranges match, from 0 to 1. The
// most precise range decides.
func quality(header http.Header, ranges map[string]int) float64 {
	decided, wanted := -1, 0.0
	for item := range strings.SplitSeq(strings.Join(header.Values("Accept"), ","), ",") {
		mediaRange, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		precision, matches := ranges[mediaRange]
		if !matches {
			continue
		}
		q, _ := strconv.ParseFloat(cmp.Or(params["q"], "1"), 64)
		if !(q >= 0 && q <= 1) { // NaN is neither; what is no number at all is 0 already
			q = 0
		}
		if cmp.Or(precision-decided, cmp.Compare(q, wanted)) > 0 {
			decided, wanted = precision, q
		}
	}
	return wanted
}
