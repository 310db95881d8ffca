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
