package deliveries

import (
	"slices"
	"strings"
	"testing"
	"time"

	"logto-email-relay/deliveries/postgrestest"
	"logto-email-relay/mail"
)

// months returns the partitions of a database that are of months, and tables returns
// all.
func months(t testing.TB, db *database) (names []string) {
	t.Helper()
	return slices.DeleteFunc(tables(t, db), func(name string) bool { return name == "deliveries_first" || name == "deliveries_rest" })
}

func tables(t testing.TB, db *database) (names []string) {
	t.Helper()
	rows, err := db.read.Query("SELECT relid::TEXT FROM pg_partition_tree('deliveries') WHERE isleaf ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

// The table is partitioned while relays write and events come, and nothing of it is
// lost.
func TestPartitioningWhileRelaysWork(t *testing.T) {
	s := named(postgrestest.Start(t).Database(t))
	relays := []*recorded{opened(t, s), opened(t, s)}
	for _, r := range relays {
		r.ready(t)
	}
	var written []mail.Delivery
	write := func(n int) {
		for i := range n {
			eventually(t, "there is room in memory", func() bool { return relays[i%2].State().Waiting < 1000 })
			d := accepted("ada@example.com", time.Now().UTC())
			r := relays[i%2]
			r.Begin(&d)
			r.Finish(t.Context(), &d)
			written = append(written, d)
		}
	}
	write(50)
	called := make(chan error, 1)
	go func() {
		_, err := prepared(t, s).write.Exec("CALL partition_deliveries()")
		called <- err
	}()
	for done := false; !done; {
		write(10)
		select {
		case err := <-called:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
	}
	write(50)
	for _, r := range relays {
		eventually(t, "everything is written", func() bool { return r.State().Waiting == 0 })
		eventually(t, "the database is quick", func() bool { // or no events are taken
			r.keep(t, accepted("bob@example.com", time.Now()))
			return r.State().Behind == nil
		})
	}
	for _, d := range []mail.Delivery{written[0], written[len(written)/2], written[len(written)-1]} {
		applied, _, err := relays[0].Apply(t.Context(), []mail.Report{{ID: d.ID, Key: d.ID, Event: mail.Event{Status: mail.StatusDelivered}}})
		if err != nil || len(applied) != 1 {
			t.Errorf("an event of a mail: %v, %v", applied, err)
		}
	}
	for _, d := range written {
		if r, err := relays[1].Get(t.Context(), d.ID); err != nil || r.Time.UnixMicro() != d.Time.UnixMicro() {
			t.Fatalf("%s: %v", d.ID, err)
		}
	}
	db := prepared(t, s, "CALL partition_deliveries()") // once more changes nothing
	now := time.Now().UTC()
	next := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	want := []string{"deliveries_" + next.Format("2006_01"), "deliveries_" + next.AddDate(0, 1, 0).Format("2006_01")}
	if got := months(t, db); !slices.Equal(got, want) {
		t.Errorf("months %v, want %v", got, want)
	}
	// An index of the whole is valid when each partition has its part.
	var valid, broken int
	if err := db.read.QueryRow(`SELECT count(*) FILTER (WHERE indisvalid), count(*) FILTER (WHERE NOT indisvalid) FROM pg_index
		WHERE indrelid = 'deliveries'::regclass`).Scan(&valid, &broken); err != nil || valid < 8 || broken > 0 {
		t.Errorf("%d indexes, %d broken, %v", valid, broken, err)
	}
}

// A call that cannot have the table soon leaves it to the writers, and what one leaves that
// ended in between does not keep the deliveries of the next month out.
func TestACallThatFails(t *testing.T) {
	r := opened(t, named(postgrestest.Start(t).Database(t)))
	r.ready(t)
	const call, until = "CALL partition_deliveries()", "ALTER TABLE deliveries ADD CONSTRAINT deliveries_until CHECK (time < 0) NOT VALID"
	backup, err := r.db.read.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Exec("LOCK TABLE deliveries IN ACCESS SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	other := prepared(t, *r.settings.Load())
	go func() {
		_, err := other.write.ExecContext(t.Context(), call)
		failed <- err
	}()
	select {
	case err = <-failed:
	case <-time.After(20 * time.Second):
		t.Fatal("the call waits, and all writers with it")
	}
	if err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("the call ends with %v", err)
	}
	if err := backup.Rollback(); err != nil {
		t.Fatal(err)
	}
	// The connection of that call is open still, as if it was under way.
	if _, err := r.db.write.Exec(until); err != nil {
		t.Fatal(err)
	}
	left := func() (n int) {
		t.Helper()
		if err := r.purge(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := r.db.read.QueryRow("SELECT COUNT(*) FROM pg_constraint WHERE conname = 'deliveries_until'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if left() != 1 {
		t.Error("the constraint is taken from a call that needs it")
	}
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what it left has gone", func() bool { return left() == 0 })
	r.keep(t, accepted("ada@example.com", time.Now()))
	for range 2 { // the second one finds nothing to do, and leaves no lock
		if _, err := r.db.write.Exec(call); err != nil {
			t.Error(err)
		}
	}
	var locks int
	if err := r.db.read.QueryRow("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory'").Scan(&locks); err != nil || locks > 0 {
		t.Errorf("%d locks, %v", locks, err)
	}
	r.keep(t, accepted("ada@example.com", time.Now().AddDate(0, 1, 0)))
}

// A month leaves as a whole when its last day is older than the retention, and what
// cannot be done now, because somebody searches, is done later.
func TestAMonthLeavesAsAWhole(t *testing.T) {
	s := named(postgrestest.Start(t).Database(t))
	prepared(t, s, "CALL partition_deliveries()")
	r := opened(t, s)
	now := time.Now().UTC()
	first := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC) // of the next month
	second := first.AddDate(0, 1, 0)
	r.keep(t, accepted("before@example.com", first.Add(-time.Microsecond)), accepted("first@example.com", first),
		accepted("first@example.com", second.Add(-time.Microsecond)), accepted("second@example.com", second))
	retention := time.Duration(s.Retention)
	purge := func(at time.Time, want ...string) {
		t.Helper()
		if err := r.purge(t.Context(), at.Add(retention)); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range r.find(t, Query{}) {
			got = append(got, d.To)
		}
		if slices.Reverse(got); !slices.Equal(got, want) {
			t.Errorf("%v are left, want %v", got, want)
		}
	}
	purge(first.Add(-time.Hour), "before@example.com", "first@example.com", "first@example.com", "second@example.com")
	eventually(t, "the first one leaves", func() bool { // when nobody looks into it
		if err := r.purge(t.Context(), second.Add(retention-time.Hour)); err != nil {
			t.Fatal(err)
		}
		return !slices.Contains(tables(t, r.db), "deliveries_first")
	})
	purge(second.Add(-time.Hour), "first@example.com", "first@example.com", "second@example.com")

	search, err := r.db.read.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := search.Exec("SELECT count(*) FROM deliveries"); err != nil {
		t.Fatal(err)
	}
	purge(second, "first@example.com", "first@example.com", "second@example.com")
	if err := search.Rollback(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the month leaves", func() bool {
		if err := r.purge(t.Context(), second.Add(retention)); err != nil {
			t.Fatal(err)
		}
		return len(r.find(t, Query{})) == 1
	})
	purge(second, "second@example.com")
	if got, want := months(t, r.db), "deliveries_"+first.Format("2006_01"); slices.Contains(got, want) {
		t.Errorf("months %v, still with %s", got, want)
	}
}

// A clock that is wrong by years finds a place for its rows.
func TestRowsOfNoMonth(t *testing.T) {
	s := named(postgrestest.Start(t).Database(t))
	prepared(t, s, "CALL partition_deliveries()")
	r := opened(t, s)
	now := time.Now().UTC().Truncate(time.Microsecond)
	all := []mail.Delivery{accepted("ada@example.com", now.AddDate(10, 0, 0)), accepted("ada@example.com", now)}
	r.keep(t, all...)
	if found := r.find(t, Query{To: "ada@example.com"}); len(found) != 2 || found[0].ID != all[0].ID || found[1].ID != all[1].ID {
		t.Errorf("found %+v", found)
	}
	if err := r.purge(t.Context(), now.AddDate(11, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if found := r.find(t, Query{}); len(found) != 0 {
		t.Errorf("%+v is left", found)
	}
	r.keep(t, accepted("ada@example.com", now)) // though its month has gone
}
