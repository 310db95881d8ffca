package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/deliveries"
	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/relay"
)

// fakeRecord answers with its functions.
type fakeRecord struct {
	find func(deliveries.Query) ([]mail.Delivery, string, error)
	get  func(id string) (*mail.Delivery, error)
	sum  *deliveries.Summary
}

func (f fakeRecord) Find(_ context.Context, q deliveries.Query) ([]mail.Delivery, string, error) {
	return f.find(q)
}

func (f fakeRecord) Get(_ context.Context, id string) (*mail.Delivery, error) { return f.get(id) }

func (f fakeRecord) Summarize(context.Context, deliveries.Span, time.Time) (*deliveries.Summary, error) {
	if f.sum == nil {
		return nil, errors.New("connection refused")
	}
	return f.sum, nil
}

func adminOf(record Deliveries) http.Handler {
	return New(Options{Status: ready, Metrics: prometheus.NewRegistry(), Deliveries: record, Logger: slog.New(slog.DiscardHandler)})
}

func TestADeliveryAsJSON(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 123_000_000, time.UTC)
	d := mail.Delivery{
		ID: "0123456789abcdefghjkmnpqrs", Time: at, Tenant: "acme", To: "ada@example.com", Type: "SignIn", Locale: "en",
		Application: "app1", Organization: "org1", Trace: "88cfdc1c1f2a4b3c", Route: 2, Status: mail.StatusDelivered, Provider: "main", ProviderID: "<1@mx>",
		Duration: 1500 * time.Microsecond, Cause: "not for here",
		Attempts: []mail.Attempt{
			{Provider: "first", Kind: "temporary", Stage: "data", Code: "451", Detail: "later", Hint: "wait", Duration: time.Millisecond},
			{Provider: "main", Kind: "accepted", Duration: 500 * time.Microsecond},
		},
		Events: []mail.Event{{Time: at.Add(time.Second), Status: mail.StatusDelivered, Provider: "main", Detail: "to mx1.example.com"}},
	}
	const want = `{"id":"0123456789abcdefghjkmnpqrs","ref":"01234567","time":"2026-11-26T12:00:00.123Z","to":"ada@example.com",` +
		`"type":"SignIn","locale":"en","tenant":"acme","application":"app1","organization":"org1","trace":"88cfdc1c1f2a4b3c","route":2,"status":"delivered",` +
		`"provider":"main","providerId":"<1@mx>","ms":1.5,"attempts":[{"provider":"first","kind":"temporary","code":"451","detail":"later","ms":1},` +
		`{"provider":"main","kind":"accepted","code":"","detail":"","ms":0.5}],` +
		`"events":[{"time":"2026-11-26T12:00:01.123Z","status":"delivered","provider":"main","detail":"to mx1.example.com"}]}`
	var asked deliveries.Query
	admin := adminOf(fakeRecord{
		find: func(q deliveries.Query) ([]mail.Delivery, string, error) {
			asked = q
			if q.To == "nobody@example.com" {
				return nil, "", nil
			}
			return []mail.Delivery{d}, "next.page", nil
		},
		get: func(id string) (*mail.Delivery, error) {
			if id != "01234567" {
				return nil, deliveries.ErrNotFound
			}
			return &d, nil
		},
	})
	for path, body := range map[string]string{
		"/deliveries/01234567": want,
		"/deliveries?to=ada%2Bx@example.com&status=delivered&type=SignIn&provider=main&tenant=acme&after=a.b&limit=7": `{"deliveries":[` + want + `],"next":"next.page"}`,
		"/deliveries?to=nobody@example.com": `{"deliveries":[]}`,
	} {
		got := get(admin, path)
		if text := bodyOf(t, got); got.StatusCode != http.StatusOK || text != body || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d\n got %s\nwant %s", path, got.StatusCode, text, body)
		}
		if wanted := (deliveries.Query{To: "ada+x@example.com", Status: "delivered", Type: "SignIn", Provider: "main", Tenant: "acme", After: "a.b", Limit: 7}); asked.Limit == 7 && asked != wanted {
			t.Errorf("asked for %+v", asked)
		}
	}
}

func TestAddressesOfSearches(t *testing.T) {
	var asked string
	admin := adminOf(fakeRecord{find: func(q deliveries.Query) ([]mail.Delivery, string, error) {
		asked = q.To
		return nil, "", nil
	}})
	for written, want := range map[string]string{"ada%2Bx@example.com": "ada+x@example.com", "ada+x@example.com": "ada+x@example.com", "%20ada@example.com%0A": "ada@example.com"} {
		if got := get(admin, "/deliveries?to="+written); got.StatusCode != 200 || asked != want {
			t.Errorf("%s: %d, asked for %q", written, got.StatusCode, asked)
		}
	}
}

// One may search for what there is; without providers and templates, for anything.
func TestWhatASearchOffers(t *testing.T) {
	none := fakeRecord{find: func(deliveries.Query) ([]mail.Delivery, string, error) { return nil, "", nil }}
	o := Options{Status: ready, Metrics: prometheus.NewRegistry(), Deliveries: none, Logger: slog.New(slog.DiscardHandler)}
	for _, offers := range []bool{false, true} {
		if offers {
			o.Providers = func() []relay.Status { return []relay.Status{{Name: "main"}, {Name: "backup"}} }
		}
		got := get(New(o), "/deliveries", browser)
		body := bodyOf(t, got)
		if has := strings.Contains(body, `<option value="main"></option><option value="backup"></option>`); got.StatusCode != 200 || has != offers {
			t.Errorf("%d, it offers providers: %v, want %v", got.StatusCode, has, offers)
		}
	}
}

// Programs are told what of their request cannot be read, and all else is in the log.
func TestFailuresForPrograms(t *testing.T) {
	admin := adminOf(fakeRecord{get: func(string) (*mail.Delivery, error) { return nil, errors.New("never print this") }})
	for _, c := range []struct{ path, accept, kind, body string }{
		{"/deliveries?limit=0", "", "text/plain", "Bad Request: limit is not from 1 to 500 (ref REF)\n"},
		{"/deliveries?limit=0", "application/json", "application/problem+json", `{"type":"about:blank","title":"Bad Request","status":400,"detail":"limit is not from 1 to 500","error":"malformed","reference":"REF"}`},
		{"/deliveries/01234567", "", "text/plain", "Service Unavailable (ref REF)\n"},
		{"/deliveries/01234567", "application/json", "application/problem+json", `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"` + advice(web.Unavailable) + `","error":"unavailable","reference":"REF"}`},
	} {
		got := get(admin, c.path, header("Accept", c.accept))
		body := strings.ReplaceAll(bodyOf(t, got), mail.Reference(got.Header.Get("X-Request-Id")), "REF")
		if kind, _, _ := strings.Cut(got.Header.Get("Content-Type"), ";"); kind != c.kind || body != c.body {
			t.Errorf("%s for %q: %s %s", c.path, c.accept, kind, body)
		}
	}
}

func TestARecordThatDoesNotAnswer(t *testing.T) {
	failing := func(err error) http.Handler {
		return adminOf(fakeRecord{
			find: func(deliveries.Query) ([]mail.Delivery, string, error) { return nil, "", err },
			get:  func(string) (*mail.Delivery, error) { return nil, err },
		})
	}
	for _, c := range []struct {
		err  error
		path string
		code int
	}{
		{deliveries.ErrNotFound, "/deliveries/01234567", 404},
		{deliveries.ErrCursor, "/deliveries?after=x", 400},
		{deliveries.ErrMasked, "/deliveries", 422},
		{nil, "/deliveries?status=sent", 400},
		{nil, "/deliveries?limit=0", 400},
		{nil, "/deliveries?limit=501", 400},
		{nil, "/deliveries?limit=1", 200},
		{nil, "/deliveries?limit=500", 200},
		{nil, "/deliveries?to=ada;x@example.com", 400}, // and not those of everybody
		{nil, "/deliveries?to=ada%x@example.com", 400},
		{context.DeadlineExceeded, "/deliveries", 504},
		{errors.New("connection refused"), "/deliveries", 503},
		{errors.New("connection refused"), "/deliveries/01234567", 503},
	} {
		if got := get(failing(c.err), c.path); got.StatusCode != c.code {
			t.Errorf("%s, %v: %d, want %d", c.path, c.err, got.StatusCode, c.code)
		}
	}
	if got := get(adminWith("", nil, ready), "/deliveries"); got.StatusCode != 404 {
		t.Errorf("without a record: %d", got.StatusCode)
	}
}
