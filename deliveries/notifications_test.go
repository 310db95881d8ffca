package deliveries

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"logto-email-relay/deliveries/postgrestest"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// told reads what an endpoint is told, in a short form: "delivery.bounced ada@example.com
// bounced". It claims it for an hour.
func (r *recorded) told(t testing.TB, endpoint string) (list []string) {
	t.Helper()
	claimed, err := r.Claim(t.Context(), endpoint, 1000, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range claimed {
		var message struct {
			Type      string
			Timestamp time.Time
			Data      map[string]any
		}
		if err := json.Unmarshal(n.Body, &message); err != nil || message.Timestamp.IsZero() || n.Attempts != 1 || time.Since(n.Since).Abs() > time.Minute {
			t.Errorf("%+v: %s: %v", n, n.Body, err)
		}
		text := message.Type
		for _, key := range []string{"to", "status", "provider", "cause"} {
			if value, found := message.Data[key]; found {
				text += fmt.Sprint(" ", value)
			}
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

// described is what endpoints of these tests are told of a mail.
func described(d *mail.Delivery) any { return map[string]any{"to": d.To, "status": d.Status} }

func expect(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// contractOfNotifications is what every database has to keep for those who are told.
func contractOfNotifications(t *testing.T, empty func(*testing.T) Settings) {
	t.Run("a verdict is told to who wants it", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.Tell(map[string][]string{"failed": {"one", "two"}, "accepted": {"two"}, mail.Failover: {"three"}}, described)
		failed, well, refused, later := accepted("ada@example.com", noon), accepted("bob@example.com", noon), accepted("cid@example.com", noon), accepted("dan@example.com", noon)
		failed.Status, failed.Provider = mail.StatusFailed, ""
		failed.Attempts = []mail.Attempt{{Provider: "main", Kind: "temporary"}}
		well.Attempts = []mail.Attempt{{Provider: "main", Kind: "uncertain"}, {Provider: "main", Kind: mail.AttemptAccepted}}
		refused.Status = mail.StatusRefused
		later.Attempts = []mail.Attempt{{Provider: "first", Kind: "temporary"}, {Provider: "main", Kind: mail.AttemptAccepted}}
		r.keep(t, failed, well, refused, later)
		expect(t, r.told(t, "one"), "delivery.failed ada@example.com failed")
		expect(t, r.told(t, "two"), "delivery.accepted bob@example.com accepted", "delivery.accepted dan@example.com accepted", "delivery.failed ada@example.com failed")
		expect(t, r.told(t, "three"), "delivery.failover dan@example.com accepted")
		expect(t, r.told(t, "two"))
		r.Tell(nil, nil)
		r.keep(t, accepted("eve@example.com", noon))
		expect(t, r.told(t, "two"))
	})

	t.Run("what is reported later is told once, when the status changes", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		now := time.Now().UTC().Truncate(time.Microsecond)
		r.Tell(map[string][]string{"delivered": {"one"}, "bounced": {"one"}, "complained": {"two"}}, described)
		ada, bob := accepted("ada@example.com", now), accepted("bob@example.com", now)
		r.keep(t, ada, bob)
		for range 2 {
			if _, _, err := r.Apply(t.Context(), []mail.Report{reported(&ada, mail.StatusDelivered, "1", now), reported(&ada, mail.StatusBounced, "2", now),
				reported(&ada, mail.StatusDelivered, "3", now), reported(&bob, mail.StatusDeferred, "4", now)}); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, r.told(t, "one"), "delivery.bounced ada@example.com bounced", "delivery.delivered ada@example.com bounced")
		expect(t, r.told(t, "two"))
	})

	t.Run("a time that cannot be told stops no event", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.Tell(map[string][]string{"bounced": {"one"}}, described)
		ada, bob := accepted("ada@example.com", noon), accepted("bob@example.com", noon)
		r.keep(t, ada, bob)
		long := time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)
		if applied, _ := r.apply(t, reported(&ada, mail.StatusBounced, "1", long), reported(&bob, mail.StatusBounced, "2", noon)); applied != 2 {
			t.Fatal(applied)
		}
		expect(t, r.told(t, "one"), "delivery.bounced bob@example.com bounced")
		if !strings.Contains(r.log.String(), "an event cannot be told") {
			t.Error("not said")
		}
	})

	t.Run("a mail that is given up is told", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.Tell(map[string][]string{"uncertain": {"one"}}, described)
		now := time.Now()
		lost := accepted("lost@example.com", now.Add(-time.Hour))
		r.begin(t, lost)
		for range 2 {
			if err := r.giveUpLate(t.Context(), now); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, r.told(t, "one"), "delivery.uncertain lost@example.com uncertain")
	})

	t.Run("a provider that rests is told", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.ProviderRests("main", noon, "temporary")
		r.Tell(map[string][]string{mail.ProviderResting: {"one"}}, described)
		r.ProviderRests("main", noon, "down")
		r.ProviderRests("main", noon, "down again")
		eventually(t, "it is written", func() bool { return r.State().Waiting == 0 })
		expect(t, r.told(t, "one"), "provider.resting main down", "provider.resting main down again")
	})

	t.Run("what nobody wants any more stops no verdict", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.Tell(map[string][]string{"failed": {"one"}}, described)
		insert, _, err := r.db.prepare(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d := accepted("ada@example.com", noon)
		rows := []*row{{json: r.settings.Load().encode(&d), occurred: []occurrence{{what: "accepted", at: noon, id: d.ID}}}}
		if err := r.commit(insert, rows); err != nil || r.status(t, d.ID) != mail.StatusAccepted {
			t.Error(err)
		}
		r.Tell(nil, nil)
		if err := r.commit(insert, rows); err != nil {
			t.Error(err)
		}
		expect(t, r.told(t, "one"))
	})

	t.Run("what is written twice is told once", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.Tell(map[string][]string{"accepted": {"one"}}, described)
		d := accepted("ada@example.com", noon)
		r.keep(t, d)
		r.keep(t, d)
		if n, err := r.Pending(t.Context(), "one"); err != nil || n != 1 {
			t.Errorf("%d wait, %v", n, err)
		}
		expect(t, r.told(t, "one"), "delivery.accepted ada@example.com accepted")
	})

	t.Run("no clear address is told where addresses are hashed", func(t *testing.T) {
		s := empty(t)
		r := opened(t, s)
		r.ready(t)
		r.Tell(map[string][]string{"accepted": {"one"}, "bounced": {"one"}}, described)
		now := time.Now().UTC().Truncate(time.Microsecond)
		plain := accepted("bob@example.com", now)
		r.keep(t, plain)
		expect(t, r.told(t, "one"), "delivery.accepted bob@example.com accepted")
		s.Addresses, s.AddressKey = Hashed, settings.NewSecret("a key that nobody guesses")
		r.Use(s)
		hashed := accepted("ada@example.com", now)
		r.keep(t, hashed)
		if applied, _ := r.apply(t, reported(&plain, mail.StatusBounced, "1", now), reported(&hashed, mail.StatusBounced, "2", now)); applied != 2 {
			t.Fatal(applied)
		}
		expect(t, r.told(t, "one"), "delivery.accepted a***@example.com accepted", "delivery.bounced a***@example.com bounced", "delivery.bounced b***@example.com bounced")
	})

	t.Run("a claim holds until it ends", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.Tell(map[string][]string{"accepted": {"one"}}, described)
		r.keep(t, accepted("ada@example.com", noon), accepted("bob@example.com", noon), accepted("cid@example.com", noon))
		claim := func(limit int, end time.Time) []mail.Notification {
			t.Helper()
			claimed, err := r.Claim(t.Context(), "one", limit, end)
			if err != nil {
				t.Fatal(err)
			}
			return claimed
		}
		first := claim(2, time.Now().Add(time.Hour))
		if len(first) != 2 {
			t.Fatalf("claimed %d", len(first))
		}
		past := claim(100, time.Now().Add(-time.Second)) // by one that dies
		if len(past) != 1 || past[0].ID == first[0].ID || past[0].ID == first[1].ID {
			t.Fatalf("claimed %v", past)
		}
		again := claim(100, time.Now().Add(time.Hour))
		if len(again) != 1 || again[0].ID != past[0].ID || again[0].Attempts != 2 || string(again[0].Body) != string(past[0].Body) {
			t.Errorf("claimed %v", again)
		}
		first[1].Due = time.Now().Add(-time.Second)
		if err := r.Settle(t.Context(), []string{first[0].ID, again[0].ID}, first[1:]); err != nil {
			t.Fatal(err)
		}
		if left := claim(100, time.Now().Add(time.Hour)); len(left) != 1 || left[0].ID != first[1].ID {
			t.Errorf("left %v", left)
		}
		if n, err := r.Pending(t.Context(), "one"); err != nil || n != 1 {
			t.Errorf("%d wait, %v", n, err)
		}
	})

	t.Run("what nobody waits for any more is dropped", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.Tell(map[string][]string{"accepted": {"one", "two"}}, described)
		r.keep(t, accepted("ada@example.com", noon))
		r.Tell(map[string][]string{"failed": {"two"}}, described)
		pending := func(endpoint string) int {
			n, err := r.Pending(t.Context(), endpoint)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, later := range []time.Duration{0, unknownFor + time.Minute} {
			if err := r.dropUnknown(t.Context(), time.Now().Add(later)); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 1}[later == 0]; pending("one") != want || pending("two") != 1 {
				t.Errorf("%d and %d wait", pending("one"), pending("two"))
			}
			if told := strings.Contains(r.log.String(), "events are dropped"); told != (later > 0) {
				t.Errorf("told: %v", told)
			}
		}
	})

	t.Run("what is too old is deleted", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.Tell(map[string][]string{"accepted": {"one", "two"}}, described)
		var all []mail.Delivery
		for range purged + 10 {
			all = append(all, accepted("ada@example.com", noon))
		}
		r.keep(t, all...)
		for _, want := range []int{0, purged, 10, 0} {
			before := time.Now().Add(-time.Minute)
			if want > 0 {
				before = time.Now().Add(time.Minute)
			}
			if n, err := r.Expire(t.Context(), "one", before); err != nil || n != want {
				t.Errorf("%d, %v; want %d", n, err, want)
			}
		}
		if n, err := r.Pending(t.Context(), "two"); err != nil || n != purged+10 {
			t.Errorf("%d, %v", n, err)
		}
	})

	t.Run("many claim at a time, and each gets its own", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		r.Tell(map[string][]string{"accepted": {"one"}}, described)
		var all []mail.Delivery
		for range 300 {
			all = append(all, accepted("ada@example.com", noon))
		}
		r.keepAll(t, all)
		var mu sync.Mutex
		seen := make(map[string]int)
		var claiming sync.WaitGroup
		for range 3 {
			claiming.Go(func() {
				for {
					claimed, err := r.Claim(t.Context(), "one", 7, time.Now().Add(time.Hour))
					if err != nil {
						t.Error(err)
					}
					// Another one may hold what is left.
					if n, err := r.Pending(t.Context(), "one"); n == 0 || err != nil {
						return
					}
					var ids []string
					mu.Lock()
					for _, n := range claimed {
						seen[n.ID]++
						ids = append(ids, n.ID)
					}
					mu.Unlock()
					if err := r.Settle(t.Context(), ids, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		claiming.Wait()
		if len(seen) != 300 {
			t.Errorf("%d of 300 claimed", len(seen))
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s is claimed %d times", id, n)
			}
		}
	})
}

// Who is told waits while the database is away, as the verdict does.
func TestNotificationsWaitForTheDatabase(t *testing.T) {
	server := postgrestest.Start(t)
	r := opened(t, named(server.Database(t)))
	r.ready(t)
	r.Tell(map[string][]string{"accepted": {"one"}, mail.ProviderResting: {"one"}}, described)
	server.Stop(t)
	d := accepted("ada@example.com", noon)
	r.Finish(t.Context(), &d)
	r.ProviderRests("main", noon, "down")
	if _, err := r.Claim(t.Context(), "one", 1, noon); err == nil {
		t.Error("a database that is down says that nothing is due")
	}
	server.Start(t)
	eventually(t, "all is written", func() bool { return r.State().Waiting == 0 })
	expect(t, r.told(t, "one"), "delivery.accepted ada@example.com accepted", "provider.resting main down")
}

// SQLite hands out the rows of a claim before it commits, which may fail as on a full disk. What
// nobody has claimed must not be sent: it would be due at once again, and sent without end.
func TestAClaimThatIsNotCommitted(t *testing.T) {
	r := opened(t, named(filepath.Join(t.TempDir(), "deliveries.db")))
	r.ready(t)
	r.Tell(map[string][]string{"accepted": {"one"}}, described)
	d := accepted("ada@example.com", time.Now())
	r.Finish(t.Context(), &d)
	eventually(t, "the notification is due", func() bool {
		n, err := r.Pending(t.Context(), "one")
		return err == nil && n == 1
	})
	for _, statement := range []string{
		"PRAGMA foreign_keys = 1",
		"CREATE TABLE pages (id PRIMARY KEY)",
		"CREATE TABLE full (page REFERENCES pages DEFERRABLE INITIALLY DEFERRED)",
		"CREATE TRIGGER fill AFTER UPDATE ON notifications BEGIN INSERT INTO full VALUES (1); END",
	} {
		if _, err := r.db.write.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if claimed, err := r.Claim(t.Context(), "one", 8, time.Now().Add(time.Hour)); err == nil || len(claimed) > 0 {
		t.Errorf("%d are claimed, %v", len(claimed), err)
	}
	if _, err := r.db.write.Exec("DROP TRIGGER fill"); err != nil {
		t.Fatal(err)
	}
	expect(t, r.told(t, "one"), "delivery.accepted ada@example.com accepted")
}
