package web

import (
	"net/http"
	"testing"
)

func TestWantsJSON(t *testing.T) {
	tests := []struct {
		accept []string
		want   bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"*/*"}, false},
		{[]string{"text/plain"}, false},
		{[]string{"application/json"}, true},
		{[]string{"application/problem+json"}, true},
		{[]string{"Application/JSON"}, true},
		{[]string{"application/*"}, true},
		{[]string{"application/json; charset=utf-8"}, true},
		{[]string{"application/json, text/plain, */*"}, true},
		{[]string{"text/plain, application/json"}, true},
		{[]string{"text/plain", "application/json"}, true},
		{[]string{"text/plain;q=0.5, application/json"}, true},
		{[]string{"text/plain, application/json;q=0.9"}, false},
		{[]string{"text/*, application/json;q=0.9"}, false},
		{[]string{"*/*;q=0.1, application/json;q=0.5"}, true},
		{[]string{"application/json;q=0.5, */*"}, false},
		{[]string{"text/*, text/plain;q=0.1, application/json;q=0.5"}, true},
		{[]string{"application/json;q=0"}, false},
		{[]string{"application/*, application/json;q=0"}, false},
		{[]string{"application/json;q=many"}, false},
		{[]string{"application/json;q=2"}, false},
		{[]string{"application/json;q=NaN"}, false},
		{[]string{"application/json;q=-1"}, false},
		{[]string{"application/json;q=1.0, text/plain;q=-Inf"}, true},
		{[]string{"application/xml"}, false},
		{[]string{",;,application/json,/"}, true},
		{[]string{"application/jsonp"}, false},
	}
	for _, test := range tests {
		if got := WantsJSON(http.Header{"Accept": test.accept}); got != test.want {
			t.Errorf("%q: got %v, want %v", test.accept, got, test.want)
		}
	}
}

func TestWantsHTML(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false,
		"text/html": true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true,
		"application/json, text/html":                                     true,
		"application/json, text/html;q=0.9":                               false,
		"application/*, text/html;q=0.9":                                  false,
		"application/*, application/json;q=0.1, text/html;q=0.9":          true,
		"text/html;q=0": false,
	} {
		if got := WantsHTML(http.Header{"Accept": {accept}}); got != want {
			t.Errorf("%q: got %v, want %v", accept, got, want)
		}
	}
}
