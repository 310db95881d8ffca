package handlers

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"logto-email-relay/mail"
	"logto-email-relay/relay"
)

const (
	trace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent = "00-" + trace + "-00f067aa0ba902b7-01"
)

func TestTheTraceOfARequest(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers http.Header
		want    string
	}{
		{"nothing", http.Header{}, ""},
		{"traceparent", http.Header{"Traceparent": {parent}}, trace},
		{"traceparent goes before", http.Header{"Traceparent": {parent}, "X-Request-Id": {"5f1c6ac2-33c2"}}, trace},
		{"a later version", http.Header{"Traceparent": {"cc" + parent[2:] + "-what-comes"}}, trace},
		{"a later version in another form", http.Header{"Traceparent": {"cc" + parent[2:] + "what-comes"}}, ""},
		{"version 0 with more", http.Header{"Traceparent": {parent + "-01"}}, ""},
		{"version ff", http.Header{"Traceparent": {"ff" + parent[2:]}}, ""},
		{"zeros", http.Header{"Traceparent": {"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}}, ""},
		{"capitals", http.Header{"Traceparent": {strings.ToUpper(parent)}}, ""},
		{"other letters", http.Header{"Traceparent": {strings.Replace(parent, "4bf", "4gf", 1)}}, ""},
		{"other marks", http.Header{"Traceparent": {strings.Replace(parent, "4bf", "4:f", 1)}}, ""},
		{"blanks in it", http.Header{"Traceparent": {strings.Replace(parent, "4bf", "4 f", 1)}}, ""},
		{"short", http.Header{"Traceparent": {parent[:54]}}, ""},
		{"a wrong one beside an id", http.Header{"Traceparent": {"00"}, "X-Request-Id": {"5f1c6ac2-33c2"}}, "5f1c6ac2-33c2"},
		{"two", http.Header{"Traceparent": {parent, parent}}, ""},
		{"nginx", http.Header{"X-Request-Id": {"88cfdc1c1f2a4b3c88cfdc1c1f2a4b3c"}}, "88cfdc1c1f2a4b3c88cfdc1c1f2a4b3c"},
		{"HAProxy", http.Header{"X-Request-Id": {"7F000001:A3D4_7F000001:1F90_65F0C1A2_0001:2B"}}, "7F000001:A3D4_7F000001:1F90_65F0C1A2_0001:2B"},
		{"Base64", http.Header{"X-Request-Id": {"Hk3+/a=="}}, "Hk3+/a=="},
		{"the last of each kind", http.Header{"X-Request-Id": {"azAZ09-_.:+/="}}, "azAZ09-_.:+/="},
		{"8 characters", http.Header{"X-Request-Id": {"12345678"}}, "12345678"},
		{"7 characters", http.Header{"X-Request-Id": {"1234567"}}, ""},
		{"a code", http.Header{"X-Request-Id": {"482913"}}, ""},
		{"an address", http.Header{"X-Request-Id": {"ada@example.com"}}, ""},
		{"brackets", http.Header{"X-Request-Id": {"{12345678}"}}, ""},
		{"square brackets", http.Header{"X-Request-Id": {"[12345678]"}}, ""},
		{"other letters of an id", http.Header{"X-Request-Id": {"é12345678"}}, ""},
		{"blanks", http.Header{"X-Request-Id": {"mail accepted for"}}, ""},
		{"a line of the log", http.Header{"X-Request-Id": {`","level":"ERROR`}}, ""},
		{"128 characters", http.Header{"X-Request-Id": {strings.Repeat("a", 128)}}, strings.Repeat("a", 128)},
		{"129 characters", http.Header{"X-Request-Id": {strings.Repeat("a", 129)}}, ""},
		{"two ids", http.Header{"X-Request-Id": {"5f1c6ac2-33c2", "6f1c6ac2-33c2"}}, ""},
	} {
		if got := traceOf(c.headers); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzTrace(f *testing.F) {
	f.Add(parent, "5f1c6ac2-33c2")
	f.Add("cc"+parent[2:]+"-more", "\n")
	harmless := regexp.MustCompile(`^([0-9A-Za-z_.:+/=-]{8,128})?$`)
	f.Fuzz(func(t *testing.T, parent, id string) {
		if got := traceOf(http.Header{"Traceparent": {parent}, "X-Request-Id": {id}}); !harmless.MatchString(got) || strings.HasSuffix(got, "\n") {
			t.Errorf("%q and %q: %q", parent, id, got)
		}
	})
}

// The lines of an authorized webhook have its trace, and so has its mail. The id of the
// relay is its own.
func TestTheTraceIsLoggedAndRecorded(t *testing.T) {
	log := new(logs)
	h := publicWith(deliver(func(ctx context.Context, r relay.Request) *mail.Delivery {
		d := accept(ctx, r)
		d.Trace = r.Trace
		return d
	}), log)
	request := webhookRequest(good)
	request.Header.Set("X-Request-Id", "88cfdc1c1f2a4b3c")
	id := serve(h, request).Header.Get("X-Request-Id")
	for _, message := range []string{"mail accepted", "request"} {
		if line := log.line(t, message); line["trace"] != "88cfdc1c1f2a4b3c" || line["id"] != id || len(id) != len(mail.NewID()) {
			t.Errorf("the line is %v", line)
		}
	}
}

// Who has no token writes nothing into the log.
func TestNoTraceOfStrangers(t *testing.T) {
	log := new(logs)
	request := webhookRequest(good)
	request.Header.Set("Authorization", "Bearer guess")
	request.Header.Set("Traceparent", parent)
	serve(publicWith(deliver(accept), log), request)
	if strings.Contains(log.String(), trace) {
		t.Errorf("a stranger's trace is logged: %s", log)
	}
}
