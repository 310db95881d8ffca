package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/deliveries"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// FuzzAdmin asks the admin listener for anything, over a record in a real database.
// Without the token there is nothing; with it there is an answer that is no fault of
// ours, and never markup of the caller's.
func FuzzAdmin(f *testing.F) {
	s := deliveries.DefaultSettings()
	s.Database = settings.NewSecret(filepath.Join(f.TempDir(), "deliveries.db"))
	record, err := deliveries.Open(s, 8*time.Second, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = record.Close(context.Background()) })
	record.Finish(f.Context(), &mail.Delivery{ID: mail.NewID(), Time: time.Now(), To: "ada@example.org", Type: "SignIn", Status: mail.StatusAccepted})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // until the database is there
		if found, _, err := record.Find(f.Context(), deliveries.Query{Limit: 1}); err == nil && len(found) > 0 {
			break
		} else if time.Now().After(end) {
			f.Fatal("the record does not begin", err)
		}
	}
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		f.Fatal(err)
	}
	h := New(Options{Token: settings.NewSecret("secret-token"), Status: ready, Metrics: prometheus.NewRegistry(), Inbox: testBox(),
		Problem: func() error { return nil }, Gallery: catalogue, Deliveries: record, Suppressions: record,
		Lift: func(context.Context, string) map[string]string { return nil }, Logger: slog.New(slog.DiscardHandler)})
	const mark = "<img src=x>"
	for _, method := range []string{"GET", "POST", "DELETE", "HEAD", "PUT"} {
		f.Add(method, "/deliveries", "to=ada@example.org&status=accepted&after=abc.def&limit=50", "")
		f.Add(method, "/deliveries/01234567", "", "")
		f.Add(method, "/suppressions", "to="+mark, `{"to":"ada@example.com","for":"24h","note":"on her wish"}`)
		f.Add(method, "/suppressions/ada@example.com", "", "")
		f.Add(method, "/suppressions/%2561da%00@example.com", "", "")
		f.Add(method, "/templates/SignIn/en/html", "view=source&dark=1", "")
		f.Add(method, "/inbox/"+mark, "width=phone", mark)
	}
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		target, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") || target.Host != "" {
			t.Skip()
		}
		switch method {
		case "GET", "POST", "DELETE", "HEAD", "PUT":
		default:
			t.Skip()
		}
		target.RawQuery = query
		ask := func(authorization string) *http.Response {
			r := httptest.NewRequest(method, "http://127.0.0.1:9090/", strings.NewReader(body))
			r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.RequestURI = target.Path, target.RawPath, target.RawQuery, target.RequestURI()
			r.Header.Set("Content-Type", "application/json")
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			return serve(h, r)
		}
		isOpen := open[target.Path]
		if got := ask(""); got.StatusCode != http.StatusUnauthorized && !isOpen {
			t.Errorf("a stranger gets %d", got.StatusCode)
		}
		got := ask("Bearer secret-token")
		switch got.StatusCode {
		case 200, 201, 303, 400, 404, 405, 413, 415, 422:
		default:
			t.Errorf("got %d", got.StatusCode)
		}
		if kind := got.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") && strings.Contains(bodyOf(t, got), mark) {
			t.Errorf("markup of the caller's in\n%s", kind)
		}
	})
}
