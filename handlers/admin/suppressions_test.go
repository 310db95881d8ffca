package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/deliveries"
	"logto-email-relay/settings"
)

// fakeSuppressions notes what it is asked.
type fakeSuppressions struct {
	list  []deliveries.Suppression
	asked []string
	err   error
}

func (f *fakeSuppressions) Suppressions(_ context.Context, to string) ([]deliveries.Suppression, error) {
	f.asked = append(f.asked, "list "+to)
	return f.list, f.err
}

func (f *fakeSuppressions) Suppress(_ context.Context, to string, length time.Duration, note string) (deliveries.Suppression, error) {
	f.asked = append(f.asked, "add "+to+" "+length.String()+" "+note)
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	return deliveries.Suppression{To: to, Reason: deliveries.Complaint, Provider: "main", Since: at, Until: at.AddDate(1, 0, 0)}, f.err // a longer one
}

func (f *fakeSuppressions) Lift(_ context.Context, to string) (bool, error) {
	f.asked = append(f.asked, "lift "+to)
	return len(f.list) > 0, f.err
}

func adminWithSuppressions(f *fakeSuppressions) http.Handler {
	return New(Options{Token: settings.NewSecret("t"), Metrics: prometheus.NewRegistry(), Suppressions: f, Logger: slog.New(slog.DiscardHandler),
		Lift: func(_ context.Context, address string) map[string]string {
			f.asked = append(f.asked, "providers "+address)
			return map[string]string{"main": "not possible: why"}
		}})
}

func TestSuppressionsAsJSON(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	all := []deliveries.Suppression{{To: "ada@example.com", Reason: deliveries.HardBounce, Provider: "main", Since: at, Until: at.Add(24 * time.Hour)}}
	const shown = `{"suppressions":[{"to":"ada@example.com","reason":"hard_bounce","provider":"main","since":"2026-11-26T12:00:00Z","until":"2026-11-27T12:00:00Z"}]}`
	held := func(to string) string {
		return `{"to":"` + to + `","reason":"complaint","provider":"main","since":"2026-11-26T12:00:00Z","until":"2027-11-26T12:00:00Z"}`
	}
	for name, c := range map[string]struct {
		list               []deliveries.Suppression
		method, path, body string
		status             int
		want, asked        string
	}{
		"list":               {all, "GET", "/suppressions", "", 200, shown, "list "},
		"list of none":       {nil, "GET", "/suppressions", "", 200, `{"suppressions":[]}`, "list "},
		"search":             {all, "GET", "/suppressions?to=ada%2Bx@example.com", "", 200, shown, "list ada+x@example.com"},
		"add":                {nil, "POST", "/suppressions", `{"to":"Ada@EXAMPLE.com","for":"30d","note":"on her wish"}`, 201, held("Ada@example.com"), "add Ada@example.com 720h0m0s on her wish"},
		"add for a day":      {nil, "POST", "/suppressions", `{"to":"ada@example.com"}`, 201, held("ada@example.com"), "add ada@example.com 24h0m0s "},
		"add nobody":         {nil, "POST", "/suppressions", `{"for":"24h"}`, 422, "", ""},
		"add two":            {nil, "POST", "/suppressions", `{"to":"a@example.com, b@example.com"}`, 422, "", ""},
		"add for no time":    {nil, "POST", "/suppressions", `{"to":"ada@example.com","for":"0s"}`, 400, "", ""},
		"add for some time":  {nil, "POST", "/suppressions", `{"to":"ada@example.com","for":"soon"}`, 400, "", ""},
		"add with a mistake": {nil, "POST", "/suppressions", `{"to":"ada@example.com","fro":"30d"}`, 400, "", ""},
		"add with two":       {nil, "POST", "/suppressions", `{"to":"ada@example.com","to":"bob@example.com"}`, 400, "", ""},
		"add nothing":        {nil, "POST", "/suppressions", `null`, 400, "", ""},
		"add no JSON":        {nil, "POST", "/suppressions", `to=ada`, 400, "", ""},
		"lift":               {all, "DELETE", "/suppressions/ada@example.com", "", 200, `{"lifted":true,"providers":{"main":"not possible: why"}}`, "lift ada@example.com, providers ada@example.com"},
		"lift, escaped":      {nil, "DELETE", "/suppressions/ada%2Bx%40ex%C3%A4mple.com", "", 200, `{"lifted":false,"providers":{"main":"not possible: why"}}`, "lift ada+x@xn--exmple-cua.com, providers ada+x@xn--exmple-cua.com"},
		"lift, percent":      {nil, "DELETE", "/suppressions/x%2541@example.com", "", 200, `{"lifted":false,"providers":{"main":"not possible: why"}}`, "lift x%41@example.com, providers x%41@example.com"},
		"lift, slash":        {nil, "DELETE", "/suppressions/a%2Fb%25@example.com", "", 200, `{"lifted":false,"providers":{"main":"not possible: why"}}`, "lift a/b%@example.com, providers a/b%@example.com"},
		"lift nobody":        {all, "DELETE", "/suppressions/ada", "", 422, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeSuppressions{list: c.list}
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header = http.Header{"Authorization": {"Bearer t"}, "Content-Type": {"application/json"}}
			got := serve(adminWithSuppressions(f), r)
			if text := bodyOf(t, got); got.StatusCode != c.status || c.status < 300 && text != c.want {
				t.Errorf("%d %s", got.StatusCode, text)
			}
			if asked := strings.Join(f.asked, ", "); asked != c.asked {
				t.Errorf("asked for %q", asked)
			}
			if c.status < 300 && got.Header.Get("Cache-Control") != "no-store" {
				t.Error("it may be stored")
			}
			r = httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/json")
			if got := serve(adminWithSuppressions(f), r); got.StatusCode != 401 {
				t.Errorf("without the token: %d", got.StatusCode)
			}
		})
	}
	t.Run("a form of another site", func(t *testing.T) {
		r := httptest.NewRequest("POST", "/suppressions", strings.NewReader(`{"to":"ada@example.com"}`))
		r.Header = http.Header{"Authorization": {"Bearer t"}, "Content-Type": {"text/plain"}}
		if got := serve(adminWithSuppressions(new(fakeSuppressions)), r); got.StatusCode != 415 {
			t.Errorf("got %d", got.StatusCode)
		}
	})
	t.Run("a record that does not answer", func(t *testing.T) {
		for _, c := range []struct{ method, path string }{{"GET", "/suppressions"}, {"POST", "/suppressions"}, {"DELETE", "/suppressions/ada@example.com"}} {
			f := &fakeSuppressions{err: errors.New("down")}
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(`{"to":"ada@example.com"}`))
			r.Header = http.Header{"Authorization": {"Bearer t"}, "Content-Type": {"application/json"}}
			if got := serve(adminWithSuppressions(f), r); got.StatusCode != 503 {
				t.Errorf("%s: %d", c.method, got.StatusCode)
			}
		}
	})
}
