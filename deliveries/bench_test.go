package deliveries

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"logto-email-relay/deliveries/postgrestest"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

var millions = flag.Int("deliveries.millions", 0, "how many million deliveries TestSearchAmongMillions makes; 10 are those of docs/performance.md")

// BenchmarkRecord records mails, 50 at a time, each from its beginning to its
// committed verdict.
func BenchmarkRecord(b *testing.B) {
	run := func(b *testing.B, s Settings) {
		r := opened(b, s)
		r.ready(b)
		b.ReportAllocs()
		b.ResetTimer()
		b.SetParallelism(25) // of two processors
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				d := random(time.Now())
				r.Begin(&d)
				r.Finish(b.Context(), &d)
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
		if r.State().Lost > 0 {
			b.Error("deliveries are lost")
		}
	}
	b.Run("sqlite", func(b *testing.B) { run(b, named(filepath.Join(b.TempDir(), "deliveries.db"))) })
	b.Run("postgres", func(b *testing.B) { run(b, named(postgrestest.Start(b).Database(b))) })
}

// random is a delivery to one of a million people.
func random(at time.Time) mail.Delivery {
	pick := func(list ...string) string { return list[rand.IntN(len(list))] }
	d := mail.Delivery{
		ID: mail.NewID(), Time: at, To: fmt.Sprintf("person%d@example.com", rand.IntN(1_000_000)), Type: pick("SignIn", "SignIn", "Register", "ForgotPassword"),
		Locale: pick("en", "en", "de", "fr", "ja", "pt-BR"), Tenant: pick("", "acme", "initech"), Application: "abcdefghijklmnopqrstu", Route: -1,
		Status: mail.StatusAccepted, Provider: pick("main", "main", "main", "backup"), ProviderID: "<" + mail.NewID() + "@mx.acme.example>",
		Duration: time.Duration(50+rand.IntN(200)) * time.Millisecond,
	}
	d.Attempts = []mail.Attempt{{Provider: d.Provider, Kind: mail.AttemptAccepted, Duration: d.Duration}}
	if rand.IntN(100) == 0 {
		d.Status, d.Reason, d.Provider, d.ProviderID = mail.StatusFailed, mail.ProviderUnavailable, "", ""
	}
	return d
}

// Every search among ten million deliveries is answered within 20 ms, the first of
// its kind aside, which reads from the disk, and an overview within 100 ms.
func TestSearchAmongMillions(t *testing.T) {
	if *millions == 0 {
		t.Skip("takes minutes: -deliveries.millions 10")
	}
	t.Run("sqlite", func(t *testing.T) { searchAmong(t, named(filepath.Join(t.TempDir(), "deliveries.db")), 29) })
	t.Run("postgres", func(t *testing.T) { searchAmong(t, named(postgrestest.Start(t).Database(t)), 29) })
	t.Run("postgres by month", func(t *testing.T) {
		s := named(postgrestest.Start(t).Database(t))
		s.Retention = settings.Duration(200 * 24 * time.Hour)
		db, month := prepared(t, s, "CALL partition_deliveries()", "DROP TABLE deliveries_first"), time.Now().UTC()
		month = time.Date(month.Year(), month.Month(), 1, 0, 0, 0, 0, time.UTC)
		for range 7 {
			if _, err := db.write.Exec(fmt.Sprintf("CREATE TABLE deliveries_%s PARTITION OF deliveries FOR VALUES FROM (%d) TO (%d)",
				month.Format("2006_01"), month.UnixMicro(), month.AddDate(0, 1, 0).UnixMicro())); err != nil {
				t.Fatal(err)
			}
			month = month.AddDate(0, -1, 0)
		}
		searchAmong(t, s, 180)
	})
}

// fill writes many deliveries of the last days into a database that is ready. It makes
// the indexes of the table at the end, which takes a tenth of the time.
func fill(t *testing.T, s Settings, all int, begin time.Time, span time.Duration) (last mail.Delivery) {
	const step = 2000
	indexes, size := "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'deliveries' AND sql <> ''",
		"SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
	quick := []string{"PRAGMA synchronous = OFF", "PRAGMA cache_size = -1500000", "PRAGMA wal_autocheckpoint = 100000"}
	if isPostgres(s.Database.Reveal()) {
		indexes, size = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'deliveries' AND indexname NOT LIKE '%pkey'",
			"SELECT pg_database_size(current_database())"
		quick = nil
	}
	db := prepared(t, s, quick...)
	db.write.SetMaxOpenConns(1) // which these are for
	made := make(map[string]string)
	list, err := db.write.Query(indexes)
	if err != nil {
		t.Fatal(err)
	}
	for list.Next() {
		var name, text string
		if err := list.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		made[name] = text
	}
	do := func(text string, args ...any) {
		t.Helper()
		if _, err := db.write.Exec(text, args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(list.Err(), list.Close()); err != nil {
		t.Fatal(err)
	}
	for name := range made {
		do("DROP INDEX " + name)
	}
	for i := 0; i < all; i += step {
		var rows bytes.Buffer
		for j := range step {
			rows.WriteByte("[,"[min(j, 1)])
			last = random(begin.Add(time.Duration(float64(span) * float64(i+j-all) / float64(all))))
			rows.Write(s.encode(&last))
		}
		rows.WriteByte(']')
		do(fmt.Sprintf(write, db.rows, db.key), rows.String())
		if (i/step)%500 == 499 {
			fmt.Printf("%d of %d deliveries after %v\n", i+step, all, time.Since(begin).Round(time.Second))
		}
	}
	for _, text := range made {
		do(strings.Replace(text, " ON ONLY ", " ON ", 1)) // and on all partitions
	}
	do("ANALYZE")
	var stored int64
	if err := db.write.QueryRow(size).Scan(&stored); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("all are there, with their indexes, after %v: %d bytes each\n", time.Since(begin).Round(time.Second), stored/int64(all))
	return last
}

func searchAmong(t *testing.T, s Settings, days int) {
	begin, month := time.Now(), time.Duration(days)*24*time.Hour
	last := fill(t, s, *millions*1_000_000, begin, month)
	r := opened(t, s)
	eventually(t, "the database is ready", func() bool { return r.State().Opened })
	for _, c := range []struct {
		name string
		q    func() Query
	}{
		{"by address", func() Query { return Query{To: fmt.Sprintf("Person%d@example.com", rand.IntN(1_000_000))} }},
		{"by address and type", func() Query {
			return Query{To: fmt.Sprintf("Person%d@example.com", rand.IntN(1_000_000)), Type: "SignIn"}
		}},
		{"by nobody's address", func() Query { return Query{To: "nobody@example.com"} }},
		{"newest", func() Query { return Query{} }},
		{"accepted", func() Query { return Query{Status: mail.StatusAccepted} }},
		{"failed", func() Query { return Query{Status: mail.StatusFailed} }},
		{"bounced, none", func() Query { return Query{Status: mail.StatusBounced} }},
		{"by type", func() Query { return Query{Type: "Register"} }},
		{"by type, none", func() Query { return Query{Type: "BindMfa"} }},
		{"by provider", func() Query { return Query{Provider: "backup"} }},
		{"by tenant and type", func() Query { return Query{Tenant: "acme", Type: "Register"} }},
		{"a page in the middle", func() Query {
			return Query{After: cursorOf(&mail.Delivery{Time: begin.Add(-month / 2), ID: last.ID})}
		}},
	} {
		var times []time.Duration
		for range 200 {
			q := c.q()
			q.Limit = 50
			begin := time.Now()
			if _, _, err := r.Find(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			times = append(times, time.Since(begin))
		}
		report(t, c.name, times, 20*time.Millisecond)
	}
	var times []time.Duration
	for range 200 {
		begin := time.Now()
		if _, err := r.Get(t.Context(), mail.Reference(last.ID)); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(begin))
	}
	report(t, "by reference", times, 20*time.Millisecond)

	for at := sliceOf(begin.Add(-month)); at <= sliceOf(begin); at += slice.Microseconds() {
		r.touch(at)
	}
	counting := time.Now()
	if err := r.count(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("all is counted in %v\n", time.Since(counting).Round(time.Second))
	for name, span := range map[string]Span{"summary of an hour": LastHour, "summary of a day": LastDay, "summary of a week": LastWeek} {
		times = nil
		for range 20 {
			asking := time.Now()
			if _, err := r.Summarize(t.Context(), span, begin); err != nil {
				t.Fatal(err)
			}
			times = append(times, time.Since(asking))
		}
		report(t, name, times, 100*time.Millisecond)
	}
}

// report prints how long a search takes, and fails if half of them take too long.
func report(t *testing.T, name string, times []time.Duration, bound time.Duration) {
	t.Helper()
	first := times[0]
	slices.Sort(times)
	p50, p99 := times[len(times)/2], times[len(times)*99/100]
	fmt.Printf("%-22s first %8v, p50 %8v, p99 %8v\n", name, first.Round(time.Microsecond), p50.Round(time.Microsecond), p99.Round(time.Microsecond))
	if p50 > bound {
		t.Errorf("%s takes %v, at most %v", name, p50, bound)
	}
}

// BenchmarkSummarize sums up a week of the most providers and languages, as an overview
// does. How many mails there were plays no part.
func BenchmarkSummarize(b *testing.B) {
	run := func(b *testing.B, s Settings) {
		r := opened(b, s)
		r.ready(b)
		now := time.Now()
		for at := now.Truncate(time.Hour).Add(-LastWeek.Length); at.Before(now); at = at.Add(time.Hour) {
			var list [][]any
			for i := range 25 {
				var times Times
				for range 500 {
					times.count(time.Duration(rand.ExpFloat64() * float64(200*time.Millisecond)))
				}
				dimension := byLanguage
				if i < 4 {
					dimension = byProvider
				}
				list = append(list, []any{time.Hour.Microseconds(), at.UnixMicro(), dimension, fmt.Sprint(i), 500, 490, 5, 0, 5, times.String(), times.String()})
			}
			if err := r.writeTotals(b.Context(), at.UnixMicro(), nil, list); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Summarize(b.Context(), LastWeek, now); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("sqlite", func(b *testing.B) { run(b, named(filepath.Join(b.TempDir(), "deliveries.db"))) })
	b.Run("postgres", func(b *testing.B) { run(b, named(postgrestest.Start(b).Database(b))) })
}
