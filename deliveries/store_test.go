package deliveries

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"logto-email-relay/deliveries/postgrestest"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

func named(database string) Settings {
	s := DefaultSettings()
	s.Database = settings.NewSecret(database)
	return s
}

func TestSQLite(t *testing.T) {
	suite(t, func(t *testing.T) Settings { return named(filepath.Join(t.TempDir(), "odd? #1%20.db")) })
}

func TestMemory(t *testing.T) {
	suite(t, func(*testing.T) Settings { return named(InMemory) })
}

func TestPostgreSQL(t *testing.T) {
	server := postgrestest.Start(t)
	suite(t, func(t *testing.T) Settings { return named(server.Database(t)) })
}

func TestPostgreSQLByMonth(t *testing.T) {
	server := postgrestest.Start(t)
	suite(t, func(t *testing.T) Settings {
		s := named(server.Database(t))
		prepared(t, s, "CALL partition_deliveries()")
		return s
	})
}

// prepared makes a database ready, and more of it.
func prepared(t testing.TB, s Settings, commands ...string) *database {
	t.Helper()
	db, err := open(s.Database.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.close() })
	if _, _, err := db.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		if _, err := db.write.Exec(command); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
	}
	return db
}

func suite(t *testing.T, empty func(*testing.T) Settings) {
	contract(t, empty)
	contractOfEvents(t, empty)
	contractOfNotifications(t, empty)
}

// timeout is how long a mail may take in these tests.
const timeout = 8 * time.Second

// recorded is a store and its log.
type recorded struct {
	*Store
	log *log
}

func opened(t testing.TB, s Settings) *recorded {
	t.Helper()
	r := &recorded{log: new(log)}
	var err error
	if r.Store, err = Open(s, timeout, slog.New(slog.NewTextHandler(r.log, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !isClosed(r.closing) {
			r.close(t)
		}
	})
	return r
}

func (r *recorded) close(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

// ready waits until the database is there and quick.
func (r *recorded) ready(t testing.TB) {
	t.Helper()
	eventually(t, "the database is ready", func() bool {
		r.keep(t, sample())
		return r.State().Behind == nil
	})
	if _, err := r.db.write.Exec("DELETE FROM deliveries"); err != nil {
		t.Fatal(err)
	}
}

// keep records a mail that nothing is to be said of but the verdict.
func (r *recorded) keep(t testing.TB, list ...mail.Delivery) {
	t.Helper()
	for i := range list {
		r.Finish(t.Context(), &list[i])
	}
	eventually(t, "everything is written", func() bool { return r.State().Waiting == 0 })
}

// begin records mails that are being sent, or given up at once if they are old. A
// database that is slow at the moment gets none of these, so they come again.
func (r *recorded) begin(t testing.TB, list ...mail.Delivery) {
	t.Helper()
	for i := range list {
		eventually(t, "it is sending", func() bool {
			if r.State().Waiting == 0 {
				r.Begin(&list[i])
			}
			return r.status(t, list[i].ID) != ""
		})
	}
	eventually(t, "everything is written", func() bool { return r.State().Waiting == 0 })
}

// counted expects counts. The relay counts by itself, too, at any moment, and may put
// older ones in their place.
func (r *recorded) counted(t testing.TB, want any, count func() any, changed ...time.Time) {
	t.Helper()
	var got any
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		for _, at := range changed {
			r.touch(sliceOf(at))
		}
		if got = count(); reflect.DeepEqual(got, want) {
			return
		}
	}
	t.Errorf("got %v, want %v", got, want)
}

// forget has nothing counted any more of what changed, as if the relay had been killed.
func (r *recorded) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.touched)
}

func (r *recorded) find(t testing.TB, q Query) []mail.Delivery {
	t.Helper()
	q.Limit = max(q.Limit, 100)
	found, _, err := r.Find(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (r *recorded) status(t testing.TB, id string) mail.Status {
	t.Helper()
	d, err := r.Get(t.Context(), id)
	if errors.Is(err, ErrNotFound) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.Status
}

// log is safe for use by many goroutines.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never holds that %s", what)
		}
	}
}

// noon is tomorrow's, so that the relay's own maintenance neither gives up nor purges
// the mails of then.
var noon = time.Now().UTC().Truncate(24 * time.Hour).Add(36*time.Hour + 123_456*time.Microsecond)

// sample is a delivery with a value in every field that is kept.
func sample() mail.Delivery {
	return mail.Delivery{
		ID: mail.NewID(), Time: noon, Tenant: "acme", To: "Ada@example.com", Type: "SignIn", Locale: "en",
		Application: "app1", Organization: "org1", Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Route: 2, Status: mail.StatusUncertain, Reason: mail.Uncertain,
		Provider: "main", ProviderID: "<01@mx.example>", Duration: 1234567 * time.Microsecond,
		Attempts: []mail.Attempt{
			{Provider: "first", Kind: "temporary", Stage: "data", Code: "451", Detail: `said "later"`, Hint: "wait", Duration: time.Second},
			{Provider: "main", Kind: "uncertain", Start: 2 * time.Second, Duration: 2345 * time.Microsecond},
		},
	}
}

// accepted is a delivery of which only the time and the recipient matter.
func accepted(to string, at time.Time) mail.Delivery {
	return mail.Delivery{ID: mail.NewID(), Time: at, To: to, Type: "SignIn", Locale: "en", Route: -1, Provider: "main", Status: mail.StatusAccepted}
}

// contract is what every database has to keep.
func contract(t *testing.T, empty func(*testing.T) Settings) {
	t.Run("a delivery comes back as it was", func(t *testing.T) {
		r, d := opened(t, empty(t)), sample()
		r.keep(t, d)
		for _, name := range []string{d.ID, mail.Reference(d.ID)} {
			got, err := r.Get(t.Context(), name)
			if err != nil || !reflect.DeepEqual(*got, d) {
				t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, got, d)
			}
		}
		if found := r.find(t, Query{}); len(found) != 1 || !reflect.DeepEqual(found[0], d) {
			t.Errorf("found %+v", found)
		}
		for _, name := range []string{mail.NewID(), d.ID[:7], "", "%%%%%%%%", "\x00\x00\x00\x00\x00\x00\x00\x00", strings.ToUpper(d.ID)} {
			if _, err := r.Get(t.Context(), name); !errors.Is(err, ErrNotFound) {
				t.Errorf("Get(%q) = %v", name, err)
			}
		}
	})

	t.Run("it is sending until there is a verdict", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		d := accepted("ada@example.com", noon)
		d.Status, d.Provider = "", ""
		begin := time.Now()
		for r.Begin(&d); time.Since(begin) < grace; {
			if status := r.status(t, d.ID); status != "" && time.Since(begin) < grace {
				t.Fatal("it does not wait for the verdict")
			}
		}
		r.begin(t, d)
		if got := r.status(t, d.ID); got != mail.StatusSending {
			t.Errorf("status %q", got)
		}
		d.Status, d.Provider = mail.StatusAccepted, "main"
		r.keep(t, d)
		if got, _ := r.Get(t.Context(), d.ID); !reflect.DeepEqual(*got, d) {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("a verdict is committed when Finish returns", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		var calling sync.WaitGroup
		for range 50 {
			calling.Go(func() {
				for range 10 {
					d := sample()
					r.Begin(&d)
					r.Finish(t.Context(), &d)
					if got := r.status(t, d.ID); got != d.Status && !strings.Contains(r.log.String(), errSlow.Error()) {
						t.Errorf("status %q", got)
					}
				}
			})
		}
		calling.Wait()
		eventually(t, "everything is written", func() bool { return r.State().Waiting == 0 })
		if found := len(r.find(t, Query{Limit: 1000})); found != 500 {
			t.Errorf("%d of 500 found", found)
		}
	})

	t.Run("a search is newest first, by pages", func(t *testing.T) {
		r := opened(t, empty(t))
		var want []mail.Delivery
		for i := range 25 { // some at the same time
			want = append(want, accepted("ada@example.com", noon.Add(time.Duration(i/3)*time.Second)))
		}
		r.keep(t, want...)
		r.keep(t, accepted("bob@example.com", noon))
		slices.SortFunc(want, func(a, b mail.Delivery) int {
			if c := b.Time.Compare(a.Time); c != 0 {
				return c
			}
			return strings.Compare(b.ID, a.ID)
		})
		for _, q := range []Query{{To: "ADA@Example.com", Limit: 4}, {To: "ada@example.com", Limit: 5}, {To: "ada@example.com", Status: mail.StatusAccepted, Limit: 25}} {
			var got []mail.Delivery
			for {
				page, next, err := r.Find(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) > q.Limit || len(page) == 0 {
					t.Fatalf("%d on a page", len(page))
				}
				got = append(got, page...)
				if q.After = next; next == "" {
					break
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%d found, not the %d wanted in their order", len(got), len(want))
			}
		}
		if found := r.find(t, Query{To: "ada@EXAMPLE.com"}); len(found) != len(want) {
			t.Errorf("%d found", len(found))
		}
		for _, cursor := range []string{"x", "1.", "no.no", ".", "zzzzzzzzzzzzzzzzzzzz.x"} {
			if _, _, err := r.Find(t.Context(), Query{After: cursor, Limit: 1}); err != nil && !errors.Is(err, ErrCursor) {
				t.Errorf("cursor %q: %v", cursor, err)
			}
		}
	})

	t.Run("a search keeps to all conditions", func(t *testing.T) {
		r := opened(t, empty(t))
		var all []mail.Delivery
		for i, status := range []mail.Status{mail.StatusAccepted, mail.StatusFailed, mail.StatusRefused} {
			for j, messageType := range []string{"SignIn", "Register"} {
				d := accepted(fmt.Sprintf("%d@example.com", i), noon)
				d.Status, d.Type, d.Tenant, d.Provider = status, messageType, []string{"", "acme"}[j], []string{"main", "backup"}[(i+j)%2]
				all = append(all, d)
			}
		}
		r.keep(t, all...)
		for _, q := range []Query{
			{}, {To: "1@example.com"}, {Status: mail.StatusAccepted}, {Status: mail.StatusRefused}, {Type: "SignIn"},
			{Provider: "main"}, {Tenant: "acme"}, {To: "1@example.com", Type: "SignIn"}, {Status: mail.StatusFailed, Tenant: "acme"},
			{Type: "Register", Provider: "main"}, {Status: mail.StatusAccepted, Provider: "main", Tenant: "acme"},
			{To: "0@example.com", Status: mail.StatusFailed}, {To: "nobody@example.com"}, {Type: "Sign\x00In"},
			{To: "2@example.com", Status: mail.StatusRefused, Type: "Register", Provider: "backup", Tenant: "acme"},
		} {
			want := 0
			for _, d := range all {
				is := func(asked, has string) bool { return asked == "" || asked == has }
				if is(q.To, d.To) && is(string(q.Status), string(d.Status)) && is(q.Type, d.Type) && is(q.Provider, d.Provider) && is(q.Tenant, d.Tenant) {
					want++
				}
			}
			if got := len(r.find(t, q)); got != want {
				t.Errorf("%+v: %d found, want %d", q, got, want)
			}
		}
	})

	t.Run("what others wrote fits", func(t *testing.T) {
		r, d := opened(t, empty(t)), sample()
		d.Type, d.Application = "Sign\x00In\x1b\xff", strings.Repeat("é", 5000)
		d.ProviderID, d.Attempts[0].Detail = "\x00", "\\u0000 \u2028 '); DROP TABLE deliveries; --"
		longest := strings.Repeat("a", longestText) // fits; of a character there is no half
		d.Tenant, d.Organization, d.Trace = longest, longest[1:]+"é", strings.Repeat("\x80", 2*longestText)
		d.To = "ÅDA@xn--exmple-cua.com"
		r.keep(t, d)
		got, err := r.Get(t.Context(), d.ID)
		if err != nil || got.Type != "Sign In �" || len(got.Application) > 600 || got.ProviderID != " " || got.Attempts[0].Detail != d.Attempts[0].Detail ||
			got.Tenant != longest || got.Organization != longest[1:]+"…" || got.Trace != "…" {
			t.Fatalf("got %+v, %v", got, err)
		}
		if found := r.find(t, Query{To: "åda@exämple.com"}); len(found) != 1 || found[0].To != d.To {
			t.Errorf("found %+v", found)
		}
	})

	t.Run("a verdict that never came is uncertain, until it comes", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		now := time.Now().UTC().Truncate(time.Microsecond)
		lost, late, young := accepted("lost@example.com", now.Add(-5*time.Minute)), accepted("late@example.com", now.Add(-5*time.Minute)), accepted("young@example.com", now.Add(-timeout))
		if s := r.settings.Load(); isPostgres(s.Database.Reveal()) { // that of a relay whose clock is late
			young.Time = now.Add(-2 * time.Minute)
		}
		r.begin(t, lost, late, young)
		if err := r.giveUpLate(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		r.keep(t, late)
		want := []mail.Status{mail.StatusUncertain, mail.StatusAccepted, mail.StatusSending}
		if got := []mail.Status{r.status(t, lost.ID), r.status(t, late.ID), r.status(t, young.ID)}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if found := r.find(t, Query{Status: mail.StatusUncertain}); len(found) != 1 || found[0].ID != lost.ID {
			t.Errorf("found %+v", found)
		}
	})

	t.Run("what is older than the retention leaves", func(t *testing.T) {
		s := empty(t)
		s.Retention = settings.Duration(time.Hour)
		r := opened(t, s)
		var all []mail.Delivery
		for i := range 3*purged + 10 {
			all = append(all, accepted("ada@example.com", noon.Add(-time.Hour-time.Duration(i)*time.Second)))
		}
		all = append(all, accepted("new@example.com", noon))
		r.keepAll(t, all)
		if err := r.purge(t.Context(), noon); err != nil {
			t.Fatal(err)
		}
		found := r.find(t, Query{})
		if len(found) != 2 || found[0].To != "new@example.com" || found[1].ID != all[0].ID {
			t.Errorf("%d left", len(found))
		}
		s.Retention = settings.Duration(time.Minute)
		r.Use(s)
		if err := r.purge(t.Context(), noon); err != nil || len(r.find(t, Query{})) != 1 {
			t.Errorf("the shorter retention is not used: %v", err)
		}
	})

	t.Run("the mails of an hour are counted", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		later := noon.Add(7 * time.Minute)
		failed, hourBefore, sending := accepted("ada@example.com", noon), accepted("ada@example.com", later.Add(-time.Hour)), accepted("ada@example.com", later)
		failed.Status, failed.Provider = mail.StatusFailed, ""
		all := []mail.Delivery{failed, hourBefore}
		for range 10 {
			d := accepted("ada@example.com", later)
			d.Duration = 100 * time.Millisecond
			all = append(all, d)
		}
		r.keepAll(t, all)
		r.begin(t, sending)
		totals := func(now time.Time, span Span) map[string]string {
			t.Helper()
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
			found, err := r.Summarize(t.Context(), span, now)
			if err != nil {
				t.Fatal(err)
			}
			shown := func(t *Tally) string {
				return fmt.Sprintf("%d accepted, half within %v, %d failed", t.Accepted, t.ToAccepted.Within(.5).Round(time.Millisecond), t.Failed)
			}
			counts := map[string]string{"all": shown(&found.All)}
			for name, t := range found.Providers {
				counts["by "+name] = shown(t)
			}
			for name, t := range found.Languages {
				counts["in "+name] = shown(t)
			}
			bars := 0
			for i, bar := range found.Bars {
				if n := bar.Accepted + bar.Failed; n > 0 {
					bars += n
					counts["since "+bar.Time.Format("15:04")] = strconv.Itoa(n)
				}
				if i > 0 && bar.Time.Sub(found.Bars[i-1].Time) != span.Bar {
					t.Errorf("the bar of %v follows that of %v", bar.Time, found.Bars[i-1].Time)
				}
			}
			if bars != found.All.Accepted+found.All.Failed || time.Duration(len(found.Bars))*span.Bar != span.Length {
				t.Errorf("%d bars have %d mails, want those of %+v", len(found.Bars), bars, found.All)
			}
			return counts
		}
		expect := func(want map[string]string, spans map[Span]map[string]string) {
			t.Helper()
			for span, bars := range spans {
				maps.Copy(bars, want)
				r.counted(t, bars, func() any { return totals(later.Add(time.Minute), span) }, noon, later, hourBefore.Time)
			}
		}
		expect(map[string]string{"all": "10 accepted, half within 108ms, 1 failed", "by main": "10 accepted, half within 108ms, 0 failed",
			"by ": "0 accepted, half within 0s, 1 failed", "in en": "10 accepted, half within 108ms, 1 failed"},
			map[Span]map[string]string{LastHour: {"since 12:00": "1", "since 12:05": "10"}, {time.Hour, time.Hour}: {"since 12:00": "11"}})
		r.keep(t, sending)
		expect(map[string]string{"all": "12 accepted, half within 108ms, 1 failed", "by main": "12 accepted, half within 108ms, 0 failed",
			"by ": "0 accepted, half within 0s, 1 failed", "in en": "12 accepted, half within 108ms, 1 failed"},
			map[Span]map[string]string{LastDay: {"since 11:00": "1", "since 12:00": "12"}, LastWeek: {"since 06:00": "1", "since 12:00": "12"}})
		// What was being counted at that moment is written after all, and goes the next time.
		eventually(t, "no totals stay", func() bool {
			if err := r.purge(t.Context(), noon.Add(365*24*time.Hour)); err != nil {
				t.Fatal(err)
			}
			return len(totals(noon, LastWeek)) == 1
		})
	})

	t.Run("what became of mails is counted", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		long := noon.AddDate(0, 0, -2) // events are not of the future
		var reports []mail.Report
		for i, statuses := range [][]mail.Status{{mail.StatusDelivered}, {mail.StatusDelivered, mail.StatusBounced}, {mail.StatusSuppressed},
			{mail.StatusDelivered, mail.StatusComplained}, {mail.StatusDeferred}} {
			d := accepted(fmt.Sprintf("ada%d@example.com", i), long)
			r.keep(t, d)
			for j, status := range statuses {
				reports = append(reports, mail.Report{ID: d.ID, Key: d.ID + string(status),
					Event: mail.Event{Time: long.Add(time.Duration(3+j) * time.Second), Status: status, Provider: "main"}})
			}
		}
		for range rounds { // so that it is the events that have them counted
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.apply(t, reports...)
		want := "5 accepted, 2 delivered, 2 bounced, 1 complained, 0 failed, delivered within 3.444s"
		r.counted(t, want, func() any {
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
			found, err := r.Summarize(t.Context(), LastDay, long)
			if err != nil {
				t.Fatal(err)
			}
			got := found.All
			return fmt.Sprintf("%d accepted, %d delivered, %d bounced, %d complained, %d failed, delivered within %v", got.Accepted, got.Delivered,
				got.Bounced, got.Complained, got.Failed, got.ToDelivered.Within(.99).Round(time.Millisecond))
		})
	})

	t.Run("mails that nobody has counted are counted", func(t *testing.T) {
		s := empty(t)
		if s.Database.Reveal() == InMemory {
			t.Skip("nothing is left in memory")
		}
		r := opened(t, s)
		r.ready(t)
		now := time.Now()
		r.keep(t, accepted("ada@example.com", now))
		if err := r.count(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.keep(t, accepted("ada@example.com", now.Add(-3*time.Hour)), accepted("ada@example.com", now))
		r.forget()
		r.close(t)
		r = opened(t, s)
		eventually(t, "they are counted", func() bool {
			found, err := r.Summarize(t.Context(), LastDay, now)
			return err == nil && found.All.Accepted == 3
		})
	})

	t.Run("what a relay leaves uncounted that is killed is counted by one that runs", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		eventually(t, "it has looked once", func() bool { return r.looked.Load() > 0 })
		now := time.Now()
		r.keep(t, accepted("ada@example.com", now))
		r.counted(t, 1, func() any {
			r.forget()
			r.looked.Store(now.UnixMicro())
			if err := r.touchUncounted(t.Context(), now.Add(looking)); err != nil {
				t.Fatal(err)
			}
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
			found, err := r.Summarize(t.Context(), LastHour, now)
			if err != nil {
				t.Fatal(err)
			}
			return found.All.Accepted
		})
	})

	t.Run("a relay that stops counts its last mails and events", func(t *testing.T) {
		s := empty(t)
		if s.Database.Reveal() == InMemory {
			t.Skip("nothing is left in memory")
		}
		r := opened(t, s)
		r.ready(t)
		now := time.Now()
		long := accepted("eve@example.com", now.AddDate(0, 0, -3))
		r.keep(t, long)
		for range rounds {
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.apply(t, reported(&long, mail.StatusBounced, "1", now))
		r.keep(t, accepted("ada@example.com", now))
		r.catchUp(0, 0) // however slow the commit was
		r.close(t)
		reader, err := OpenReader(s)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = reader.Close() }()
		if found, err := reader.Summarize(t.Context(), LastWeek, now); err != nil || found.All.Accepted != 2 || found.All.Bounced != 1 {
			t.Errorf("%+v, %v", found, err)
		}
	})

	t.Run("counts leave with their mails", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		now := time.Now()
		r.keep(t, accepted("ada@example.com", now))
		spans := func() (n int) {
			if err := r.db.read.QueryRow("SELECT COUNT(DISTINCT span) FROM totals").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		r.counted(t, 2, func() any {
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
			return spans()
		}, now)
		for _, after := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
			if err := r.purge(t.Context(), now.Add(time.Duration(r.settings.Load().Retention)+after)); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 2}[after < 0]; spans() != want {
				t.Errorf("%v: of %d spans", after, spans())
			}
		}
	})

	t.Run("a change is counted twice", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.keep(t, accepted("ada@example.com", noon))
		counted := func() int {
			if _, err := r.db.write.Exec("DELETE FROM totals"); err != nil {
				t.Fatal(err)
			}
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
			found, err := r.Summarize(t.Context(), LastHour, noon)
			if err != nil {
				t.Fatal(err)
			}
			return found.All.Accepted
		}
		eventually(t, "it is counted twice", func() bool { // the relay may count at the same time
			r.touch(sliceOf(noon))
			first, second, third := counted(), counted(), counted()
			return first == 1 && second == 1 && third == 0
		})
	})

	t.Run("old things leave by themselves", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		now := time.Now()
		r.Tell(map[string][]string{"accepted": {"one"}}, described)
		lost, old := accepted("lost@example.com", now.Add(-time.Hour)), accepted("old@example.com", now.AddDate(0, 0, -31))
		r.begin(t, lost)
		r.keep(t, old, accepted("new@example.com", now))
		r.Tell(nil, nil)
		if _, err := r.Suppress(t.Context(), "ada@example.com", time.Millisecond, ""); err != nil {
			t.Fatal(err)
		}
		left := func(table string) (n int) {
			if err := r.db.read.QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		eventually(t, "it is over", func() bool { return !r.Suppressed(t.Context(), "ada@example.com") })
		for _, aged := range []string{"UPDATE notifications SET since = 0", "UPDATE suppressions SET since = 1, until = 1"} {
			if _, err := r.db.write.Exec(aged); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.maintain(ctx)
		eventually(t, "they have left", func() bool {
			return r.status(t, lost.ID) == mail.StatusUncertain && r.status(t, old.ID) == "" && left("suppressions") == 0 && left("notifications") == 0
		})
		eventually(t, "the others are counted", func() bool {
			found, err := r.Summarize(t.Context(), LastDay, now)
			return err == nil && found.All.Accepted == 2
		})
	})

	t.Run("relays count the same hour at the same time", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		var all []mail.Delivery
		for i := range 300 {
			d := accepted("ada@example.com", noon)
			d.Locale = strconv.Itoa(i)
			all = append(all, d)
		}
		r.keepAll(t, all)
		for range 20 {
			if _, err := r.db.write.Exec("DELETE FROM totals"); err != nil {
				t.Fatal(err)
			}
			var counting sync.WaitGroup
			for range 2 {
				counting.Go(func() {
					if err := r.countHour(t.Context(), noon.UnixMicro(), []int64{noon.UnixMicro()}); err != nil {
						t.Error(err)
					}
				})
			}
			counting.Wait()
		}
	})

	t.Run("a hashed address is found by who knows it", func(t *testing.T) {
		s := empty(t)
		r := opened(t, s)
		plain := accepted("Ada@example.com", noon)
		r.keep(t, plain)
		s.Addresses, s.AddressKey = Hashed, settings.NewSecret("a key that nobody guesses")
		r.Use(s)
		hashed := accepted("Ada@example.com", noon.Add(time.Second))
		r.keep(t, hashed)
		found := r.find(t, Query{To: "ADA@example.com"})
		if len(found) != 2 || found[0].To != "A***@example.com" || found[1].To != "Ada@example.com" {
			t.Errorf("found %+v", found)
		}
		s.AddressKey = settings.NewSecret("another key, nobody guesses")
		r.Use(s)
		if found := r.find(t, Query{To: "ada@example.com"}); len(found) != 1 {
			t.Errorf("found %+v", found)
		}
	})

	t.Run("closing writes what waits", func(t *testing.T) {
		s := empty(t)
		if s.Database.Reveal() == InMemory {
			t.Skip("ends with the store")
		}
		r, sending := opened(t, s), accepted("ada@example.com", noon)
		r.ready(t)
		r.Begin(&sending)
		r.close(t)
		if strings.Contains(r.log.String(), "are lost") {
			t.Errorf("nothing is lost, and the log says\n%s", r.log)
		}
		reader, err := OpenReader(s)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = reader.Close() }()
		if d, err := reader.Get(t.Context(), sending.ID); err != nil || d.Status != mail.StatusSending {
			t.Errorf("%+v, %v", d, err)
		}
	})

	t.Run("several start together", func(t *testing.T) {
		s := empty(t)
		if s.Database.Reveal() == InMemory {
			t.Skip("is one store's own")
		}
		var all []*recorded
		for range 3 {
			all = append(all, opened(t, s))
		}
		d := sample()
		for _, r := range all {
			d.ID = mail.NewID()
			r.keep(t, d)
		}
		if found := all[0].find(t, Query{}); len(found) != 3 {
			t.Errorf("%d found", len(found))
		}
	})
}

// keepAll is keep for many, at the same time.
func (r *recorded) keepAll(t testing.TB, all []mail.Delivery) {
	t.Helper()
	var calling sync.WaitGroup
	for i := range all {
		calling.Go(func() { r.Finish(t.Context(), &all[i]) })
	}
	calling.Wait()
	r.keep(t)
}

func TestState(t *testing.T) {
	since := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for want, s := range map[string]State{
		"the database is being opened": {},
		"written":                      {Opened: true},
		"written; 2 are lost":          {Opened: true, Lost: 2},
		"kept in memory since 2026-11-26T12:00:00Z, 3 now: the disk is full": {Opened: true, Waiting: 3, Since: since, Behind: errors.New("the disk is full")},
	} {
		if got := s.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A copy of the file holds what is committed.
func TestRowsComeIntoTheFile(t *testing.T) {
	s, d := named(filepath.Join(t.TempDir(), "deliveries.db")), sample()
	opened(t, s).keep(t, d)
	eventually(t, "it is in the file", func() bool {
		content, err := os.ReadFile(s.Database.Reveal())
		return err == nil && bytes.Contains(content, []byte(d.ID))
	})
}

func TestOthersCannotReadTheFile(t *testing.T) {
	s := named(filepath.Join(t.TempDir(), "deliveries.db"))
	opened(t, s).keep(t, sample())
	for _, end := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(s.Database.Reveal() + end)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("deliveries.db%s: %v, %v", end, info, err)
		}
	}
}

// A share of the durations is within the step that so many of them are in, or in one before.
func TestWithin(t *testing.T) {
	times := Times{0: 10, 20: 80, 40: 10}
	for share, want := range map[float64]time.Duration{0.05: time.Millisecond, 0.1: time.Millisecond, 0.11: 32 * time.Millisecond, 0.5: 32 * time.Millisecond,
		0.9: 32 * time.Millisecond, 0.91: 1024 * time.Millisecond, 1: 1024 * time.Millisecond} {
		if got := times.Within(share); got != want {
			t.Errorf("%v: %v, want %v", share, got, want)
		}
	}
	if got := (Times{}).Within(.5); got != 0 {
		t.Errorf("none: %v", got)
	}
}
