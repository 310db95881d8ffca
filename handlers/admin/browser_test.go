package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/deliveries"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

var pictures = flag.String("pictures", "", "a folder to put pictures of the pages into, at the widths of a phone and a desktop, light and dark")

const hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> \u202eevil\u2066"

// recordOfADay is a record with the mails of a day, of which services have told.
func recordOfADay(t *testing.T, now time.Time) *deliveries.Store {
	t.Helper()
	s := deliveries.DefaultSettings()
	s.Database = settings.NewSecret(filepath.Join(t.TempDir(), "deliveries.db"))
	open := func() *deliveries.Store {
		store, err := deliveries.Open(s, time.Second, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	store := open()
	random := rand.New(rand.NewPCG(1, 2))
	var reports []mail.Report
	var writing sync.WaitGroup
	places := make(chan struct{}, 50)
	keep := func(d mail.Delivery) {
		writing.Go(func() {
			places <- struct{}{}
			store.Finish(t.Context(), &d)
			<-places
		})
	}
	people := []string{"ada", "kenji", "marie", "layla", "olena", "joão", "grace", "linus"}
	for i := range 800 {
		ago := time.Duration(float64(24*time.Hour) * (1 - float64(i)/800))
		at := now.Add(-ago)
		if at.Hour() < 6 && i%4 > 0 || at.Hour() > 18 && i%2 > 0 { // people sleep
			continue
		}
		at = at.Add(-time.Duration(random.IntN(90)) * time.Second)
		took := time.Duration(60+random.IntN(90)) * time.Millisecond
		if i%90 == 0 {
			took = 3 * time.Second
		}
		d := mail.Delivery{ID: mail.NewID(), Time: at, To: people[random.IntN(len(people))] + "@example.org", Locale: []string{"en", "en", "fr-CA", "ja", "ar", "uk", "pt-BR"}[random.IntN(7)],
			Type: []string{"SignIn", "SignIn", "Register", "ForgotPassword"}[random.IntN(4)], Route: -1, Status: mail.StatusAccepted, Provider: "ses",
			ProviderID: "0100018f-" + mail.NewID(), Duration: took, Application: "admin-console"}
		d.Attempts = []mail.Attempt{{Provider: "ses", Kind: mail.AttemptAccepted, Duration: took}}
		told := mail.Event{Time: at.Add(took + 2*time.Second + time.Duration(random.IntN(2500))*time.Millisecond), Status: mail.StatusDelivered, Provider: "ses", Detail: "to mx1.example.org"}
		switch {
		case i%61 == 0:
			d.Status, d.Reason, d.Provider, d.ProviderID = mail.StatusFailed, mail.ProviderUnavailable, "", ""
			d.Attempts = []mail.Attempt{{Provider: "ses", Kind: "temporary", Stage: "connect", Detail: "connection refused", Duration: time.Second}}
		case i%9 == 0:
			d.Provider = "backup"
			d.Attempts = []mail.Attempt{{Provider: "ses", Kind: "rate_limited", Stage: "POST", Code: "429", Detail: "Too Many Requests", Duration: 40 * time.Millisecond}, {Provider: "backup", Kind: mail.AttemptAccepted, Duration: took}}
			told.Provider = "backup"
		case i%53 == 0:
			told.Status, told.Detail = mail.StatusBounced, "550 5.1.1 no such user"
			d.To = fmt.Sprintf("nobody%d@example.net", i)
		}
		keep(d)
		if d.Provider != "" && i%13 > 0 {
			reports = append(reports, mail.Report{Event: told, ID: d.ID, Key: d.ID})
		}
	}
	writing.Wait()
	for range 400 { // until the database has all mails
		if store.State().Waiting > 0 {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if _, _, err := store.Apply(t.Context(), reports); err == nil {
			break
		} else if !errors.Is(err, deliveries.ErrBehind) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := store.Suppress(t.Context(), "olena@example.com", 30*24*time.Hour, "on her wish"); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	store = open() // which counts what is not counted
	t.Cleanup(func() { _ = store.Close(context.Background()) })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		sum, err := store.Summarize(t.Context(), deliveries.LastDay, now)
		if err == nil && sum.All.Accepted > 0 {
			return store
		}
		if time.Now().After(deadline) {
			t.Fatalf("the mails are not counted: %v", err)
		}
	}
}

func statuses() []relay.Status {
	return []relay.Status{
		{Name: "ses", InFlight: 3, MaxConcurrent: 100},
		{Name: "backup", Resting: true, Until: time.Now().Add(2 * time.Minute), MaxConcurrent: 20, Cause: &providers.Error{
			Kind: providers.Configuration, Stage: "AUTH", Code: "535 5.7.8", Detail: "authentication failed", Hint: "check auth.user and auth.pass"}},
		{Name: "resend", Resting: true, Until: time.Now().Add(-time.Minute), MaxConcurrent: 50, Cause: &providers.Error{
			Kind: providers.RateLimited, Stage: "POST", Code: "429", Detail: "Too many requests"}},
	}
}

// optionsOfADay are those of an admin listener with something on every page.
func optionsOfADay(t *testing.T, now time.Time) Options {
	store := recordOfADay(t, now)
	return Options{
		Status: func() Status {
			return Status{Ready: true, Details: map[string]string{"deliveries": "written", "provider ses": "in use", "provider backup": "resting after configuration: AUTH: 535 5.7.8"}}
		},
		Metrics: prometheus.NewRegistry(), Providers: statuses, Problem: func() error { return nil },
		Gallery: openCatalogue(t, templates.DefaultSettings()), Inbox: testBox(),
		Deliveries: store, Suppressions: store,
		Lift: func(context.Context, string) map[string]string {
			return map[string]string{"ses": "lifted", "backup": "not possible: " + hostile}
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// The pictures of the documents, and what to look at after a change of the pages:
// go test ./handlers/admin -run Pictures -pictures DIR
func TestPicturesOfThePages(t *testing.T) {
	if *pictures == "" {
		t.Skip("makes pictures: -pictures DIR")
	}
	now := time.Now()
	o := optionsOfADay(t, now)
	failed, _, err := o.Deliveries.Find(t.Context(), deliveries.Query{Provider: "backup", Status: mail.StatusDelivered, Limit: 1})
	if err != nil || len(failed) == 0 {
		t.Fatal("no mail of the backup", err)
	}
	for name, path := range map[string]string{"overview": "/", "deliveries": "/deliveries", "delivery": "/deliveries/" + failed[0].ID, "suppressions": "/suppressions",
		"providers": "/providers", "login": "/login"} {
		shown := o
		if name == "login" {
			shown.Token = settings.NewSecret("a-token")
		}
		for look, width := range map[string]int{"": 1280, "-phone": 390} {
			shoot(t, shown, path, filepath.Join(*pictures, name+look+".png"), width, 900, false)
			shoot(t, shown, path, filepath.Join(*pictures, name+look+"-dark.png"), width, 900, true)
		}
	}
}

// shoot takes a picture of a page. Chromium's own window is never as narrow as a phone,
// so that the page is in a frame of that width.
func shoot(t *testing.T, o Options, path, file string, width, height int, dark bool) {
	t.Helper()
	pages := New(o)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/frame" {
			fmt.Fprintf(w, `<!doctype html><meta name="color-scheme" content="light dark"><body style="margin:0"><iframe src="%s" style="border:0;width:%dpx;height:%dpx"></iframe>`, path, width, height)
			return
		}
		pages.ServeHTTP(unframed{w}, r)
	}))
	defer server.Close()
	options := []string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + t.TempDir(),
		fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot=" + file}
	if dark {
		options = append(options, "--blink-settings=preferredColorScheme=0")
	}
	if out, err := exec.Command("chromium", append(options, server.URL+"/frame")...).CombinedOutput(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, out)
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
}

// unframed is a page that may be in a frame.
type unframed struct{ http.ResponseWriter }

func (w unframed) WriteHeader(code int) {
	w.Header().Del("Content-Security-Policy")
	w.ResponseWriter.WriteHeader(code)
}
