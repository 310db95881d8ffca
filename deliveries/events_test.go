package deliveries

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logto-email-relay/deliveries/postgrestest"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// apply applies events that have to be taken, and returns how many were new and how
// many unknown. A service comes again when the record is behind, which it may be on a
// busy machine.
func (r *recorded) apply(t testing.TB, reports ...mail.Report) (applied, unknown int) {
	t.Helper()
	for {
		events, unknown, err := r.Apply(t.Context(), reports)
		if err != nil && !errors.Is(err, ErrBehind) {
			t.Error(err)
		}
		if !errors.Is(err, ErrBehind) {
			return len(events), unknown
		}
		eventually(t, "the record has caught up", func() bool { return r.State().Behind == nil })
	}
}

// reported is an event of a mail.
func reported(d *mail.Delivery, status mail.Status, key string, at time.Time) mail.Report {
	return mail.Report{ID: d.ID, Key: key, Event: mail.Event{Time: at, Status: status, Provider: "main", Detail: string(status)}}
}

func (r *recorded) suppressedNow(t testing.TB, to string) string {
	t.Helper()
	list, err := r.Suppressions(t.Context(), to)
	if err != nil || len(list) > 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	eventually(t, "the database answers", func() bool {
		unchecked := r.State().Unchecked
		got := r.Suppressed(t.Context(), travelling(to))
		answered := r.State().Unchecked == unchecked
		if answered && got != (len(list) == 1) {
			t.Errorf("%s is suppressed: %v; the list has %+v", to, got, list)
		}
		return answered
	})
	if len(list) == 0 {
		return ""
	}
	return list[0].Reason
}

// contractOfEvents is what every database has to keep.
func contractOfEvents(t *testing.T, empty func(*testing.T) Settings) {
	at := time.Now().UTC().Truncate(time.Microsecond).Add(-time.Minute)

	t.Run("events in any order, again and again", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		statuses := []mail.Status{mail.StatusDeferred, mail.StatusDelivered, mail.StatusBounced, mail.StatusComplained}
		for range 20 {
			d := accepted("ada@example.com", at)
			r.keep(t, d)
			var all []mail.Report
			for i, status := range statuses {
				all = append(all, reported(&d, status, fmt.Sprint("event", i), at.Add(time.Duration(i)*time.Second)))
			}
			shuffled := append(slices.Clone(all), all[:2]...)
			rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			cut := rand.IntN(len(shuffled))
			first, _ := r.apply(t, shuffled[:cut]...)
			second, _ := r.apply(t, shuffled[cut:]...)
			if first+second != len(all) {
				t.Errorf("%d and %d are new", first, second)
			}
			got, err := r.Get(t.Context(), d.ID)
			if err != nil || got.Status != mail.StatusComplained || len(got.Events) != len(all) {
				t.Fatalf("%+v, %v", got, err)
			}
			for i := range all {
				if !reflect.DeepEqual(got.Events[i], all[i].Event) {
					t.Errorf("event %d: %+v, want %+v", i, got.Events[i], all[i].Event)
				}
			}
		}
	})

	t.Run("by the service's id, and of unknown mails", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		d, other := accepted("ada@example.com", at), accepted("bob@example.com", at)
		d.ProviderID, other.ProviderID, other.Provider = "<1@mx>", "<1@mx>", "backup"
		r.keep(t, d, other)
		byTheirs := mail.Report{ID: mail.NewID(), ProviderID: "<1@mx>", Key: "k", Event: mail.Event{Time: at, Status: mail.StatusDelivered, Provider: "main"}}
		unknown := mail.Report{ProviderID: "<2@mx>", Key: "k", Event: byTheirs.Event}
		none := mail.Report{Key: "k", Event: byTheirs.Event}
		ours := reported(&d, mail.StatusDeferred, "k2", at)
		ours.ProviderID = "<1@mx>"
		if applied, missing := r.apply(t, byTheirs, unknown, none, ours); applied != 2 || missing != 2 {
			t.Errorf("%d applied, %d unknown", applied, missing)
		}
		byTheirs.Key, byTheirs.Status = "k3", mail.StatusComplained
		if applied, missing := r.apply(t, byTheirs); applied != 1 || missing != 0 { // alone
			t.Errorf("%d applied, %d unknown", applied, missing)
		}
		if got, _ := r.Get(t.Context(), d.ID); got.Status != mail.StatusComplained || len(got.Events) != 3 {
			t.Errorf("%+v", got)
		}
		if got := r.status(t, other.ID); got != mail.StatusAccepted {
			t.Errorf("the other provider's is %s", got)
		}
	})

	t.Run("a bounce of another address says little", func(t *testing.T) {
		for _, c := range []struct {
			to   []string
			hard bool
		}{{nil, true}, {[]string{"ADA@Example.com"}, true}, {[]string{"ada@home.example", "ada@example.com"}, true}, {[]string{"ada@home.example"}, false}} {
			r := opened(t, empty(t))
			r.ready(t)
			d := accepted("Ada@example.com", at)
			r.keep(t, d)
			bounce := reported(&d, mail.StatusBounced, "k", at)
			bounce.To = c.to
			r.apply(t, bounce)
			if got := r.suppressedNow(t, "ada@example.com"); (got == HardBounce) != c.hard {
				t.Errorf("%q: %q", c.to, got)
			}
			if got, err := r.Get(t.Context(), d.ID); err != nil || got.Status != mail.StatusBounced || got.Events[0].Soft == c.hard {
				t.Errorf("%q: %+v, %v", c.to, got, err)
			}
		}
	})

	t.Run("a complaint counts, whoever it is of", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		d := accepted("ada@example.com", at)
		r.keep(t, d)
		complaint := reported(&d, mail.StatusComplained, "k", at)
		complaint.To = []string{"ada@home.example"} // where she reads it
		r.apply(t, complaint)
		if got := r.suppressedNow(t, "ada@example.com"); got != Complaint {
			t.Errorf("%q", got)
		}
	})

	t.Run("an unknown mail is no other of its provider's", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		d := accepted("ada@example.com", at) // whose id at the service nobody knows
		r.keep(t, d)
		other := reported(&d, mail.StatusBounced, "k", at)
		other.ID = "anothers"
		if applied, missing := r.apply(t, reported(&d, mail.StatusDeferred, "k", at), other); applied != 1 || missing != 1 {
			t.Errorf("%d applied, %d unknown", applied, missing)
		}
	})

	t.Run("a time that cannot be is now", func(t *testing.T) {
		for _, at := range []time.Time{{}, time.Now().Add(24 * time.Hour)} {
			r := opened(t, empty(t))
			r.ready(t)
			d := accepted("ada@example.com", time.Now().UTC())
			r.keep(t, d)
			r.apply(t, reported(&d, mail.StatusDelivered, "k", at))
			if got, err := r.Get(t.Context(), d.ID); err != nil || len(got.Events) != 1 || time.Since(got.Events[0].Time).Abs() > time.Hour {
				t.Errorf("%v: %+v, %v", at, got, err)
			}
		}
	})

	t.Run("from another process", func(t *testing.T) {
		s := empty(t)
		if s.Database.Reveal() == InMemory {
			t.Skip("nobody else sees it")
		}
		r := opened(t, s)
		r.ready(t)
		d := accepted("ada@example.com", at)
		r.keep(t, d)
		other, err := OpenReader(s)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		bounce := reported(&d, mail.StatusBounced, "k", at)
		for _, want := range []int{1, 0} {
			applied, unknown, err := other.Apply(t.Context(), []mail.Report{bounce, {ID: mail.NewID(), Key: "k"}})
			if err != nil || len(applied) != want || unknown != 1 {
				t.Errorf("%v, %d, %v", applied, unknown, err)
			}
		}
		if got := r.suppressedNow(t, "ada@example.com"); got != HardBounce {
			t.Errorf("suppressed: %q", got)
		}
		eventually(t, "it is counted", func() bool { // the relay may be counting just now, and does it twice
			summary, err := r.Summarize(t.Context(), LastHour, at)
			return err == nil && summary.All.Bounced == 1
		})
	})

	t.Run("an event before the verdict", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		d := accepted("ada@example.com", at)
		r.begin(t, d)
		r.apply(t, reported(&d, mail.StatusDelivered, "k", at))
		r.keep(t, d)
		if got, _ := r.Get(t.Context(), d.ID); got.Status != mail.StatusDelivered || len(got.Events) != 1 || got.Provider != "main" {
			t.Errorf("%+v", got)
		}
	})

	t.Run("events end the doubt", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		begin := noon.AddDate(0, 0, -2) // events are not of the future
		for i, status := range []mail.Status{"", mail.StatusDeferred, mail.StatusDelivered, mail.StatusBounced, mail.StatusComplained} {
			unsure, killed := accepted("ada@example.com", begin), accepted("bob@example.com", begin)
			unsure.Status, unsure.Provider, unsure.Reason, unsure.Duration = mail.StatusUncertain, "", mail.Uncertain, 2*time.Second
			killed.Provider = ""
			r.begin(t, killed) // and given up soon
			r.keep(t, unsure)
			wantStatus, wantProvider := mail.StatusUncertain, ""
			if status != "" {
				r.apply(t, reported(&unsure, status, fmt.Sprint(i), begin.Add(time.Minute)), reported(&killed, status, fmt.Sprint(i), begin.Add(time.Minute)))
				r.keep(t, unsure) // the verdict comes once more
				wantStatus, wantProvider = status, "main"
			}
			for _, d := range []mail.Delivery{unsure, killed} {
				// A row that is being written is left for the next time.
				eventually(t, fmt.Sprintf("%s by %q after %q", wantStatus, wantProvider, status), func() bool {
					if err := r.giveUpLate(t.Context(), time.Now()); err != nil {
						t.Fatal(err)
					}
					got, err := r.Get(t.Context(), d.ID)
					return err == nil && got.Status == wantStatus && got.Provider == wantProvider
				})
			}
		}
		r.counted(t, "8 accepted, half of 4 within 2s, 4 delivered, 2 bounced, 2 complained, 2 failed", func() any {
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
			found, err := r.Summarize(t.Context(), LastDay, begin)
			if err != nil {
				t.Fatal(err)
			}
			n, got := 0, found.All
			for _, some := range got.ToAccepted {
				n += some
			}
			return fmt.Sprintf("%d accepted, half of %d within %v, %d delivered, %d bounced, %d complained, %d failed", got.Accepted, n,
				got.ToAccepted.Within(.5).Round(time.Second), got.Delivered, got.Bounced, got.Complained, got.Failed)
		})
	})

	t.Run("events of many and without end", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		var all []mail.Delivery
		var reports []mail.Report
		for range 3*r.db.events + 7 {
			all = append(all, accepted("ada@example.com", at))
			reports = append(reports, reported(&all[len(all)-1], mail.StatusDelivered, "k", at))
		}
		for i := range 2 * maxEvents {
			e := reported(&all[0], mail.StatusDeferred, fmt.Sprint("k", i), at)
			e.Detail = strings.Repeat("é\x00", 1000)
			reports = append(reports, e)
		}
		r.keepAll(t, all)
		var applying sync.WaitGroup
		for range 4 { // at the same time
			applying.Go(func() { r.apply(t, reports...) })
		}
		applying.Wait()
		for i := range all {
			if got := r.status(t, all[i].ID); got != mail.StatusDelivered {
				t.Fatalf("%d is %s", i, got)
			}
		}
		if got, _ := r.Get(t.Context(), all[0].ID); len(got.Events) != maxEvents {
			t.Errorf("%d events", len(got.Events))
		}
	})

	t.Run("several replicas apply together", func(t *testing.T) {
		s := empty(t)
		if !isPostgres(s.Database.Reveal()) {
			t.Skip("PostgreSQL is for several")
		}
		first, second := opened(t, s), opened(t, s)
		first.ready(t)
		second.ready(t)
		var all []mail.Delivery
		for range 100 {
			all = append(all, accepted("ada@example.com", at))
		}
		first.keepAll(t, all)
		var applying sync.WaitGroup
		for i, r := range []*recorded{first, second} {
			applying.Go(func() {
				for j := range 10 {
					var reports []mail.Report
					for k := range all {
						reports = append(reports, reported(&all[k], mail.StatusDeferred, fmt.Sprint(i, j), at))
					}
					rand.Shuffle(len(reports), func(i, j int) { reports[i], reports[j] = reports[j], reports[i] })
					r.apply(t, reports...)
				}
			})
		}
		applying.Wait()
		for i := range all {
			if got, _ := first.Get(t.Context(), all[i].ID); len(got.Events) != 20 {
				t.Fatalf("%d events of 20", len(got.Events))
			}
		}
	})

	t.Run("what suppresses an address", func(t *testing.T) {
		soft := func(r mail.Report) mail.Report { r.Soft = true; return r }
		for name, c := range map[string]struct {
			events func(d []mail.Delivery) []mail.Report // of six mails, oldest first
			want   string
		}{
			"hard bounce": {func(d []mail.Delivery) []mail.Report {
				return []mail.Report{reported(&d[0], mail.StatusBounced, "k", at)}
			}, HardBounce},
			"hard bounce after it was delivered": {func(d []mail.Delivery) []mail.Report {
				return []mail.Report{reported(&d[0], mail.StatusDelivered, "a", at), reported(&d[0], mail.StatusBounced, "b", at)}
			}, HardBounce},
			"complaint, which is longer": {func(d []mail.Delivery) []mail.Report {
				return []mail.Report{reported(&d[0], mail.StatusComplained, "a", at), reported(&d[1], mail.StatusBounced, "b", at)}
			}, Complaint},
			"on the service's list": {func(d []mail.Delivery) []mail.Report {
				return []mail.Report{reported(&d[0], mail.StatusSuppressed, "k", at)}
			}, ProviderList},
			"delivered": {func(d []mail.Delivery) []mail.Report {
				return []mail.Report{reported(&d[0], mail.StatusDelivered, "k", at)}
			}, ""},
			"deferred": {func(d []mail.Delivery) []mail.Report {
				return []mail.Report{reported(&d[0], mail.StatusDeferred, "k", at)}
			}, ""},
			"bounced too long ago": {func(d []mail.Delivery) []mail.Report {
				return []mail.Report{reported(&d[0], mail.StatusBounced, "k", at.Add(-25*time.Hour))}
			}, ""},
			"from the future": {func(d []mail.Delivery) []mail.Report {
				return []mail.Report{reported(&d[0], mail.StatusBounced, "k", at.Add(1000*time.Hour))}
			}, HardBounce},
			"soft bounces in a row": {func(d []mail.Delivery) (all []mail.Report) {
				for i := range 5 {
					all = append(all, soft(reported(&d[i], mail.StatusBounced, "k", at)))
				}
				return all
			}, SoftBounces},
			"too few": {func(d []mail.Delivery) (all []mail.Report) {
				for i := range 4 {
					all = append(all, soft(reported(&d[i], mail.StatusBounced, "k", at)))
				}
				return all
			}, ""},
			"not in a row": {func(d []mail.Delivery) (all []mail.Report) {
				for i := range 6 {
					all = append(all, soft(reported(&d[i], mail.StatusBounced, "k", at)))
				}
				all[3] = reported(&d[3], mail.StatusDelivered, "k", at)
				return all
			}, ""},
		} {
			t.Run(name, func(t *testing.T) {
				r := opened(t, empty(t))
				r.ready(t)
				var mails []mail.Delivery
				for i := range 6 {
					mails = append(mails, accepted("Ada@example.com", at.Add(time.Duration(i-10)*time.Minute)))
				}
				r.keep(t, mails...)
				events := c.events(mails)
				r.apply(t, events...)
				if got := r.suppressedNow(t, "ADA@example.com"); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
				if got := r.suppressedNow(t, "bob@example.com"); got != "" {
					t.Errorf("somebody else: %q", got)
				}
				// Lifted, the same events do not suppress it again.
				if lifted, err := r.Lift(t.Context(), "ada@EXAMPLE.com"); err != nil || lifted != (c.want != "") {
					t.Errorf("lifted: %v, %v", lifted, err)
				}
				r.apply(t, events...)
				if got := r.suppressedNow(t, "ada@example.com"); got != "" {
					t.Errorf("again: %q", got)
				}
			})
		}
	})

	t.Run("soft bounces in a row", func(t *testing.T) {
		// Each letter is a mail, a minute after the one before: one that bounces softly (s) or
		// for a fault of ours (o), is accepted (a), delivered (d), deferred (f), delivered
		// and then bounces for a fault of ours (e), or went elsewhere and bounces softly (r).
		for name, c := range map[string]struct {
			mails string
			newer time.Duration // than the first ones is the last
			want  string
		}{
			"five":                                  {"sssss", 0, SoftBounces},
			"accepted just before":                  {"sssasas", 0, SoftBounces},
			"accepted long before the newest":       {"ssssas", 24 * time.Hour, ""},
			"accepted before all":                   {"aasssss", 24 * time.Hour, SoftBounces},
			"deferred long before the newest":       {"ssssfs", 24 * time.Hour, SoftBounces},
			"of our own":                            {"ooooooo", 0, ""},
			"of our own in between":                 {"ssosos", 0, ""},
			"of our own, which end no row":          {"ssosoosos", 0, SoftBounces},
			"delivered, and bounced from elsewhere": {"ssses", 0, ""},
			"redirected":                            {"rrrrs", 0, ""},
		} {
			t.Run(name, func(t *testing.T) {
				r := opened(t, empty(t))
				r.ready(t)
				bounces := func(letters string, from time.Time) {
					for i, letter := range letters {
						d := accepted("Ada@example.com", from.Add(time.Duration(i)*time.Minute))
						if i < len(letters)-1 {
							d.Time = d.Time.Add(-c.newer)
						}
						if letter == 'r' {
							d.RedirectedTo = "staging@cedar.example"
						}
						r.keep(t, d)
						bounce := reported(&d, mail.StatusBounced, "bounce", d.Time.Add(time.Second))
						bounce.Soft, bounce.Ours = true, letter == 'o' || letter == 'e'
						switch letter {
						case 's', 'o', 'r':
							r.apply(t, bounce)
						case 'd', 'e':
							r.apply(t, reported(&d, mail.StatusDelivered, "delivered", d.Time))
							if letter == 'e' {
								r.apply(t, bounce)
							}
						case 'f':
							r.apply(t, reported(&d, mail.StatusDeferred, "deferred", d.Time))
						}
					}
				}
				bounces(c.mails, at.Add(-2*time.Hour))
				if got := r.suppressedNow(t, "ada@example.com"); got != c.want {
					t.Fatalf("%q, want %q", got, c.want)
				}
				if c.want == "" {
					return
				}
				// Whoever is lifted, or whose time is over, begins anew.
				for range 2 {
					if lifted, err := r.Lift(t.Context(), "ada@example.com"); err != nil || !lifted {
						t.Fatalf("%v, %v", lifted, err)
					}
					// It was an hour ago.
					if _, err := r.db.write.Exec("UPDATE suppressions SET since = $1", time.Now().Add(-time.Hour).UnixMicro()); err != nil {
						t.Fatal(err)
					}
					now := time.Now().UTC().Truncate(time.Microsecond)
					c.newer = 0
					bounces("ssss", now.Add(-10*time.Minute))
					if got := r.suppressedNow(t, "ada@example.com"); got != "" {
						t.Errorf("%q after four more", got)
					}
					bounces("s", now)
					if got := r.suppressedNow(t, "ada@example.com"); got != SoftBounces {
						t.Errorf("%q after five more", got)
					}
					if _, err := r.db.write.Exec("DELETE FROM deliveries"); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	})

	t.Run("off", func(t *testing.T) {
		s := empty(t)
		s.Suppress = Suppress{}
		r := opened(t, s)
		r.ready(t)
		var reports []mail.Report
		for i := range 10 {
			d := accepted("ada@example.com", at)
			r.keep(t, d)
			for j, status := range []mail.Status{mail.StatusBounced, mail.StatusComplained, mail.StatusSuppressed} {
				e := reported(&d, status, fmt.Sprint(j), at)
				e.Soft = i%2 == 0
				reports = append(reports, e)
			}
		}
		r.apply(t, reports...)
		if got := r.suppressedNow(t, "ada@example.com"); got != "" {
			t.Errorf("suppressed: %s", got)
		}
	})

	t.Run("off for soft bounces alone", func(t *testing.T) {
		s := empty(t)
		s.Suppress.SoftBounces = 0
		r := opened(t, s)
		r.ready(t)
		for range 10 {
			d := accepted("ada@example.com", at)
			r.keep(t, d)
			bounce := reported(&d, mail.StatusBounced, "bounce", at)
			bounce.Soft = true
			r.apply(t, bounce)
		}
		if got := r.suppressedNow(t, "ada@example.com"); got != "" {
			t.Errorf("suppressed: %s", got)
		}
	})

	t.Run("a list of suppressions", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		if list, err := r.Suppressions(t.Context(), ""); err != nil || len(list) != 0 {
			t.Fatalf("%+v, %v", list, err)
		}
		d := accepted("Ada@example.com", at)
		r.keep(t, d)
		r.apply(t, reported(&d, mail.StatusBounced, "k", at))
		before := time.Now().Truncate(time.Microsecond)
		if _, err := r.Suppress(t.Context(), "bob@exämple.com", time.Hour, "on his wish\n"); err != nil {
			t.Fatal(err)
		}
		list, err := r.Suppressions(t.Context(), "")
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		if want := (Suppression{"Ada@example.com", HardBounce, "main", at, at.Add(24 * time.Hour)}); list[1] != want {
			t.Errorf("%+v", list[1])
		}
		if got := list[0]; got.To != "bob@xn--exmple-cua.com" || got.Reason != "manual: on his wish " || got.Provider != "" ||
			got.Since.Before(before) || got.Until.Sub(got.Since) != time.Hour {
			t.Errorf("%+v", got)
		}
		if got := r.suppressedNow(t, "BOB@exämple.com"); got == "" {
			t.Error("not found by its own letters")
		}
		// A shorter one changes nothing, a longer one does.
		for _, length := range []time.Duration{time.Minute, 48 * time.Hour} {
			if _, err := r.Suppress(t.Context(), "ada@example.com", length, ""); err != nil {
				t.Fatal(err)
			}
			want := map[time.Duration]string{time.Minute: HardBounce, 48 * time.Hour: Manual}[length]
			if got := r.suppressedNow(t, "ada@example.com"); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	})

	t.Run("many ask at a time, and each gets its own answer", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		const many = 40
		address := func(i int) string { return fmt.Sprintf("ada%d@example.com", i) }
		for i := range many / 2 {
			if _, err := r.Suppress(t.Context(), address(i), time.Hour, ""); err != nil {
				t.Fatal(err)
			}
		}
		unchecked := r.State().Unchecked
		var missed, wrong atomic.Int64
		var asking sync.WaitGroup
		for i := range many {
			asking.Go(func() {
				for range 20 {
					switch got := r.Suppressed(t.Context(), address(i)); {
					case got && i >= many/2:
						wrong.Add(1)
					case !got && i < many/2:
						missed.Add(1)
					}
				}
			})
		}
		asking.Wait()
		// On a busy machine some may have got no answer in time.
		if unanswered := r.State().Unchecked - unchecked; wrong.Load() > 0 || int(missed.Load()) > unanswered {
			t.Errorf("%d are suppressed that are not, %d not that are; %d had no answer", wrong.Load(), missed.Load(), unanswered)
		}
	})

	t.Run("a longer suppression stays, and is told", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		var held []Suppression
		for _, length := range []time.Duration{2 * time.Hour, time.Hour, 3 * time.Hour} {
			one, err := r.Suppress(t.Context(), "ada@example.com", length, length.String())
			if err != nil {
				t.Fatal(err)
			}
			list, err := r.Suppressions(t.Context(), "ada@example.com")
			if err != nil || len(list) != 1 || list[0] != one {
				t.Errorf("%+v is told, %+v holds, %v", one, list, err)
			}
			held = append(held, one)
		}
		if held[1] != held[0] || held[0].Reason != "manual: 2h0m0s" || held[2].Reason != "manual: 3h0m0s" {
			t.Errorf("%+v", held)
		}
	})

	t.Run("a redirected mail says nothing of whom it was for", func(t *testing.T) {
		for _, status := range []mail.Status{mail.StatusBounced, mail.StatusSuppressed, mail.StatusComplained} {
			r := opened(t, empty(t))
			r.ready(t)
			d := accepted("ada@example.com", at)
			d.RedirectedTo = "staging@cedar.example"
			r.keep(t, d)
			r.apply(t, reported(&d, status, "k", at))
			if got := r.suppressedNow(t, "ada@example.com"); got != "" {
				t.Errorf("%s: %s", status, got)
			}
			if got, err := r.Get(t.Context(), d.ID); err != nil || got.Status != status {
				t.Errorf("%+v, %v", got, err)
			}
		}
	})

	t.Run("what did not become of a mail at a doubted provider", func(t *testing.T) {
		for _, c := range []struct {
			provider, id string // of the service
			status, want mail.Status
		}{
			{"doubted", "", mail.StatusFailed, mail.StatusAccepted}, {"doubted", "", mail.StatusSuppressed, mail.StatusAccepted},
			{"doubted", "", mail.StatusBounced, mail.StatusAccepted}, {"doubted", "", mail.StatusDelivered, mail.StatusDelivered},
			{"doubted", "", mail.StatusComplained, mail.StatusComplained},
			{"main", "", mail.StatusFailed, mail.StatusFailed}, {"renamed", "", mail.StatusBounced, mail.StatusBounced},
			{"doubted", "its own copy", mail.StatusBounced, mail.StatusAccepted}, {"doubted", "the accepted copy", mail.StatusBounced, mail.StatusBounced}, // both at one service
		} {
			r := opened(t, empty(t))
			r.ready(t)
			d := accepted("ada@example.com", at)
			d.Attempts = []mail.Attempt{{Provider: "doubted", Kind: "uncertain"}, {Provider: "main", Kind: mail.AttemptAccepted}}
			d.ProviderID = "the accepted copy"
			r.keep(t, d)
			report := reported(&d, c.status, "k", at)
			report.Provider, report.ProviderID = c.provider, c.id
			r.apply(t, report)
			if got, err := r.Get(t.Context(), d.ID); err != nil || got.Status != c.want || len(got.Events) != 1 {
				t.Errorf("%s of %s: %+v, %v", c.status, c.provider, got, err)
			}
		}
	})

	t.Run("what did not become of a mail at a doubted provider, told before the verdict", func(t *testing.T) {
		for _, c := range []struct {
			told []string // provider and status
			want mail.Status
		}{
			{[]string{"doubted bounced"}, mail.StatusAccepted}, {[]string{"doubted failed"}, mail.StatusAccepted},
			{[]string{"doubted delivered"}, mail.StatusDelivered}, {[]string{"doubted complained"}, mail.StatusComplained},
			{[]string{"doubted deferred", "main bounced"}, mail.StatusBounced}, {[]string{"main bounced", "doubted bounced"}, mail.StatusBounced},
			{[]string{"main deferred"}, mail.StatusDeferred}, {[]string{"renamed bounced"}, mail.StatusBounced},
		} {
			r := opened(t, empty(t))
			r.ready(t)
			d := accepted("ada@example.com", at)
			sending := d
			sending.Status, sending.Provider, sending.ProviderID = mail.StatusSending, "", ""
			r.keep(t, sending)
			for i, told := range c.told {
				provider, status, _ := strings.Cut(told, " ")
				report := reported(&d, mail.Status(status), fmt.Sprint(i), at)
				report.Provider = provider
				r.apply(t, report)
			}
			d.Attempts = []mail.Attempt{{Provider: "doubted", Kind: "uncertain"}, {Provider: "main", Kind: mail.AttemptAccepted}}
			r.keep(t, d)
			if got, err := r.Get(t.Context(), d.ID); err != nil || got.Status != c.want || got.Provider != "main" || len(got.Events) != len(c.told) {
				t.Errorf("%s: %+v, %v", c.told, got, err)
			}
		}
	})

	t.Run("a batch across a lift", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		before := time.Now().UTC().Add(-time.Hour)
		old := accepted("ada@example.com", before)
		r.keep(t, old)
		if _, err := r.Suppress(t.Context(), "ada@example.com", time.Hour, ""); err != nil {
			t.Fatal(err)
		}
		if lifted, err := r.Lift(t.Context(), "ada@example.com"); err != nil || !lifted {
			t.Fatalf("%v, %v", lifted, err)
		}
		fresh := accepted("ada@example.com", time.Now().UTC())
		r.keep(t, fresh)
		late := reported(&old, mail.StatusBounced, "k", fresh.Time.Add(2*time.Millisecond))
		r.apply(t, late, reported(&fresh, mail.StatusBounced, "k", fresh.Time.Add(time.Millisecond)))
		if got := r.suppressedNow(t, "ada@example.com"); got != HardBounce {
			t.Errorf("%q", got)
		}
	})

	t.Run("a lift of what is not suppressed holds, too", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		d := accepted("Ada@example.com", time.Now().UTC().Add(-time.Hour))
		r.keep(t, d)
		if lifted, err := r.Lift(t.Context(), "ada@example.com"); err != nil || lifted {
			t.Fatalf("%v, %v", lifted, err)
		}
		r.apply(t, reported(&d, mail.StatusSuppressed, "k", d.Time))
		if got := r.suppressedNow(t, "ada@example.com"); got != "" {
			t.Errorf("suppressed again: %s", got)
		}
		if list, err := r.Suppressions(t.Context(), ""); err != nil || len(list) > 0 {
			t.Errorf("%+v, %v", list, err)
		}
	})

	t.Run("a lift holds against what came late", func(t *testing.T) {
		for _, status := range []mail.Status{mail.StatusBounced, mail.StatusSuppressed, mail.StatusComplained} {
			r := opened(t, empty(t))
			r.ready(t)
			before := time.Now().UTC().Add(-time.Hour)
			first, second := accepted("ada@example.com", before), accepted("ada@example.com", before.Add(time.Second))
			r.keep(t, first, second)
			r.apply(t, reported(&first, status, "k", before.Add(time.Minute)))
			if lifted, err := r.Lift(t.Context(), "ada@example.com"); err != nil || !lifted {
				t.Fatalf("%v, %v", lifted, err)
			}
			r.apply(t, reported(&second, status, "k", before.Add(time.Minute)))
			if got := r.suppressedNow(t, "ada@example.com"); got != "" {
				t.Errorf("%s of a mail from before: %s", status, got)
			}
			// A person may suppress it again, and so does what comes of a later mail.
			if _, err := r.Suppress(t.Context(), "ada@example.com", time.Hour, ""); err != nil || r.suppressedNow(t, "ada@example.com") != Manual {
				t.Error("not suppressed by hand", err)
			}
			if lifted, err := r.Lift(t.Context(), "ada@example.com"); err != nil || !lifted {
				t.Fatalf("%v, %v", lifted, err)
			}
			third := accepted("ada@example.com", time.Now().UTC())
			r.keep(t, third)
			r.apply(t, reported(&third, status, "k", third.Time.Add(time.Millisecond)))
			if r.suppressedNow(t, "ada@example.com") == "" {
				t.Errorf("%s of a later mail suppresses nobody", status)
			}
		}
	})

	t.Run("suppressions end", func(t *testing.T) {
		r := opened(t, empty(t))
		r.ready(t)
		if _, err := r.Suppress(t.Context(), "ada@example.com", time.Millisecond, ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is over", func() bool { return !r.Suppressed(t.Context(), "ada@example.com") })
		if got := r.suppressedNow(t, "ada@example.com"); got != "" {
			t.Error(got)
		}
		if lifted, err := r.Lift(t.Context(), "ada@example.com"); err != nil || lifted {
			t.Errorf("%v, %v", lifted, err)
		}
	})

	t.Run("hashed addresses", func(t *testing.T) {
		s := empty(t)
		s.Addresses, s.AddressKey = Hashed, settings.NewSecret("a key that nobody guesses")
		r := opened(t, s)
		r.ready(t)
		d := accepted("Ada@example.com", at)
		r.keep(t, d)
		r.apply(t, reported(&d, mail.StatusBounced, "k", at))
		if _, err := r.Suppress(t.Context(), "bob@example.com", time.Hour, ""); err != nil {
			t.Fatal(err)
		}
		if a, b := r.suppressedNow(t, "ada@example.com"), r.suppressedNow(t, "Bob@example.com"); a != HardBounce || b != Manual {
			t.Errorf("%q, %q", a, b)
		}
		list, err := r.Suppressions(t.Context(), "")
		if err != nil || fmt.Sprint(list[1].To, list[0].To) != "A***@example.comb***@example.com" {
			t.Errorf("%+v, %v", list, err)
		}
		var columns string
		if err := r.db.write.QueryRow("SELECT MAX(recipient || shown) FROM suppressions WHERE recipient || shown LIKE '%ada@%' OR recipient || shown LIKE '%bob@%'").Scan(&columns); err == nil && columns != "" {
			t.Errorf("an address is stored: %s", columns)
		}
		if lifted, err := r.Lift(t.Context(), "ADA@example.com"); err != nil || !lifted {
			t.Errorf("%v, %v", lifted, err)
		}
		// What was suppressed in plain letters before stays so.
		s.Addresses = Plain
		r.Use(s)
		if r.suppressedNow(t, "bob@example.com") != Manual {
			t.Error("the hashed one is not found any more")
		}
	})

	t.Run("addresses that were not hashed when the mails were sent", func(t *testing.T) {
		s := empty(t)
		s.Suppress.SoftBounces = 2
		r := opened(t, s)
		r.ready(t)
		sent := make(map[string]*mail.Delivery)
		for _, name := range []string{"before", "lifted", "complaint", "soft", "soft again", "ended", "ended again"} {
			to, _, _ := strings.Cut(name, " ")
			d := accepted(to+"@example.com", at)
			sent[name] = &d
			r.keep(t, d)
		}
		lift := func(to string) {
			t.Helper()
			if lifted, err := r.Lift(t.Context(), to); err != nil || !lifted {
				t.Errorf("%s is lifted: %v, %v", to, lifted, err)
			}
		}
		soft := func(name, key string) mail.Report {
			report := reported(sent[name], mail.StatusBounced, key, at)
			report.Soft = true
			return report
		}
		r.apply(t, reported(sent["before"], mail.StatusBounced, "1", at), reported(sent["lifted"], mail.StatusBounced, "1", at))
		lift("lifted@example.com")
		s.Addresses, s.AddressKey = Hashed, settings.NewSecret("a key that nobody guesses")
		r.Use(s)
		since := accepted("complaint@example.com", at)
		r.keep(t, since)
		r.apply(t, reported(sent["complaint"], mail.StatusComplained, "1", at), reported(&since, mail.StatusBounced, "1", at),
			soft("soft", "1"), soft("soft again", "1"), soft("ended", "1"), soft("ended again", "1"), reported(sent["lifted"], mail.StatusBounced, "2", at))
		if _, err := r.db.write.Exec("UPDATE suppressions SET until = $1 WHERE shown LIKE 'e%'", at.UnixMicro()); err != nil {
			t.Fatal(err)
		}
		r.apply(t, soft("ended", "2"))
		for name, want := range map[string]string{"before": HardBounce, "lifted": "", "complaint": Complaint, "soft": SoftBounces, "ended": ""} {
			if got := r.suppressedNow(t, name+"@example.com"); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		list, err := r.Suppressions(t.Context(), "")
		if err != nil || len(list) != 3 {
			t.Errorf("%+v, %v", list, err)
		}
		for _, s := range list {
			if mail.Mask(s.To) != s.To {
				t.Errorf("the list has %s", s.To)
			}
		}
		var n int
		if err := r.db.write.QueryRow("SELECT COUNT(*) FROM suppressions WHERE recipient LIKE '%@%' OR shown NOT LIKE '%***@%'").Scan(&n); err != nil || n != 2 {
			t.Errorf("%d are stored with an address, %v", n, err)
		}
		lift("complaint@example.com")
	})
}

// A clock that was set back keeps the database from being asked for no longer than otherwise.
func TestSuppressionsAfterAClockWasSetBack(t *testing.T) {
	r := opened(t, named(filepath.Join(t.TempDir(), "deliveries.db")))
	r.ready(t)
	if _, err := r.Suppress(t.Context(), "ada@example.com", time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	r.askAgain.Store(time.Now().Add(time.Hour).UnixNano())
	eventually(t, "it is looked at", func() bool { return r.Suppressed(t.Context(), "ada@example.com") })
}

// A database that does not answer stops no mail and is not asked for each of them.
func TestSuppressionsAreSkippedLoudly(t *testing.T) {
	server := postgrestest.Start(t)
	r := opened(t, named(server.Database(t)))
	r.ready(t)
	if _, err := r.Suppress(t.Context(), "ada@example.com", time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is looked at", func() bool { return r.Suppressed(t.Context(), "ada@example.com") })
	before, said := r.State().Unchecked, len(r.log.String())
	// Somebody holds the table, which is how a slow database looks.
	tx, err := r.db.read.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("LOCK TABLE suppressions IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for range 100 {
		if r.Suppressed(t.Context(), "ada@example.com") {
			t.Fatal("suppressed, says nobody")
		}
	}
	if took := time.Since(begin); took > 500*time.Millisecond {
		t.Errorf("100 mails waited %v", took)
	}
	if state := r.State(); state.Unchecked != before+100 {
		t.Errorf("%+v", state)
	}
	if n := strings.Count(r.log.String()[said:], "suppressions are not looked at"); n != 1 {
		t.Errorf("told %d times", n)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is looked at again", func() bool { return r.Suppressed(t.Context(), "ada@example.com") })
	if !strings.Contains(r.log.String(), "suppressions are looked at again") {
		t.Errorf("not told: %s", r.log)
	}
	server.Stop(t)
	if r.Suppressed(t.Context(), "ada@example.com") {
		t.Error("suppressed, says nobody")
	}
}

// However many addresses bounce softly in a call, the database is asked a few times.
func TestSoftBouncesOfMany(t *testing.T) {
	url := postgrestest.Start(t).Database(t)
	_, address, _ := strings.Cut(url, "@")
	address, _, _ = strings.Cut(address, "/")
	var trips atomic.Int64
	counting, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = counting.Close() })
	go func() {
		for client, err := counting.Accept(); err == nil; client, err = counting.Accept() {
			server, err := net.Dial("tcp", address)
			if err != nil {
				_ = client.Close()
				continue
			}
			pass := func(to, from net.Conn, count int64) {
				buffer := make([]byte, 1<<20)
				for n, err := from.Read(buffer); err == nil; n, err = from.Read(buffer) {
					trips.Add(count)
					_, _ = to.Write(buffer[:n])
				}
				_ = to.Close()
			}
			go pass(server, client, 0)
			go pass(client, server, 1)
		}
	}()
	s := named(strings.Replace(url, address, counting.Addr().String(), 1))
	s.Suppress.SoftBounces = 2
	r := opened(t, s)
	r.ready(t)
	at := time.Now().UTC().Add(-time.Minute)
	const many = 500
	var mails []mail.Delivery
	var reports []mail.Report
	for i := range many {
		for j := range 2 {
			d := accepted(fmt.Sprintf("a%d@example.com", i), at.Add(time.Duration(j)*time.Second))
			mails = append(mails, d)
			if i%2 == 0 || j == 0 { // every second one has two
				reports = append(reports, reported(&d, mail.StatusBounced, "k", at.Add(time.Minute)))
				reports[len(reports)-1].Soft = true
			}
		}
	}
	r.keepAll(t, mails)
	before := trips.Load()
	r.apply(t, reports...)
	if n := trips.Load() - before; n > many/2 {
		t.Errorf("%d answers", n)
	}
	if list, err := r.Suppressions(t.Context(), ""); err != nil || len(list) != many/2 {
		t.Errorf("%d are suppressed, %v", len(list), err)
	}
}

// Events that come while verdicts wait in memory have to come again.
func TestEventsOfARecordThatIsBehind(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "later")
	r := opened(t, named(filepath.Join(folder, "deliveries.db")))
	eventually(t, "it is behind", func() bool { return r.State().Behind != nil })
	d := accepted("ada@example.com", time.Now().UTC().Truncate(time.Microsecond))
	r.Finish(t.Context(), &d)
	report := reported(&d, mail.StatusDelivered, "k", d.Time)
	if _, _, err := r.Apply(t.Context(), []mail.Report{report}); !errors.Is(err, ErrBehind) {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the record is written", func() bool { state := r.State(); return state.Behind == nil && state.Waiting == 0 })
	if applied, _ := r.apply(t, report); applied != 1 {
		t.Error("not applied")
	}
	report.ID = strings.Repeat("0", 26) // too old to be on its way into the record
	if _, unknown, err := r.Apply(t.Context(), []mail.Report{report}); unknown != 1 || err != nil {
		t.Errorf("%d unknown, %v", unknown, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.applying <- struct{}{}
	if _, _, err := r.Apply(ctx, []mail.Report{report}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-r.applying
}

// An event may be quicker than the row of its mail. It is not lost, since its service comes again.
func TestEventsThatAreQuickerThanTheirMail(t *testing.T) {
	r := opened(t, named(filepath.Join(t.TempDir(), "deliveries.db")))
	r.ready(t)
	quick, old := accepted("ada@example.com", time.Now()), accepted("bob@example.com", time.Now())
	quick.ID = mail.NewID()
	reports := []mail.Report{reported(&quick, mail.StatusBounced, "k1", time.Now()), reported(&old, mail.StatusBounced, "k2", time.Now())}
	reports[1].ID = strings.Repeat("0", 26)
	if applied, unknown, err := r.Apply(t.Context(), reports[1:]); len(applied) != 0 || unknown != 1 || err != nil {
		t.Errorf("%d are applied, %d unknown, %v", len(applied), unknown, err)
	}
	if _, _, err := r.Apply(t.Context(), reports); !errors.Is(err, ErrElsewhere) {
		t.Error(err)
	}
	r.keep(t, quick)
	if applied, unknown, err := r.Apply(t.Context(), reports); len(applied) != 1 || unknown != 1 || err != nil {
		t.Errorf("%d are applied, %d unknown, %v", len(applied), unknown, err)
	}
}

// An event may come to a relay that is well while the mail is in the memory of another, which has
// lost its way to the database. It has to come again, and what comes with it is taken.
func TestEventsOfAnotherRelaysMail(t *testing.T) {
	r := opened(t, named(postgrestest.Start(t).Database(t)))
	r.ready(t)
	known, waiting := accepted("ada@example.com", time.Now()), accepted("bob@example.com", time.Now())
	known.ID, waiting.ID = mail.NewID(), mail.NewID()
	r.Finish(t.Context(), &known)
	eventually(t, "it is written", func() bool { return r.status(t, known.ID) == mail.StatusAccepted })
	theirs := reported(&waiting, mail.StatusBounced, "k3", time.Now())
	theirs.ID = "" // without it nobody knows whose mail it is
	reports := []mail.Report{
		reported(&waiting, mail.StatusBounced, "k1", time.Now()), reported(&known, mail.StatusBounced, "k2", time.Now()), theirs,
	}
	applied, unknown, err := r.Apply(t.Context(), reports)
	if !errors.Is(err, ErrElsewhere) || len(applied) != 1 || unknown != 2 {
		t.Errorf("%d are applied, %d unknown, %v", len(applied), unknown, err)
	}
	r.Finish(t.Context(), &waiting)
	eventually(t, "it is written", func() bool { return r.status(t, waiting.ID) == mail.StatusAccepted })
	if applied, unknown, err := r.Apply(t.Context(), reports); len(applied) != 1 || unknown != 1 || err != nil {
		t.Errorf("%d are applied, %d unknown, %v", len(applied), unknown, err)
	}
}

// A call of 1,000 events.
func BenchmarkEvents(b *testing.B) {
	run := func(b *testing.B, s Settings) {
		r := opened(b, s)
		r.ready(b)
		const mails, batch = 20_000, 1000
		insert, _, err := r.db.prepare(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		all := make([]mail.Delivery, mails)
		rows := make([]*row, 0, batch)
		for i := range all {
			all[i] = random(time.Now())
			rows = append(rows, &row{json: r.settings.Load().encode(&all[i])})
			if len(rows) == batch {
				if err := r.commit(insert, rows); err != nil {
					b.Fatal(err)
				}
				rows = rows[:0]
			}
		}
		statuses := []mail.Status{mail.StatusDelivered, mail.StatusDelivered, mail.StatusDelivered, mail.StatusDeferred, mail.StatusBounced}
		var slowest time.Duration
		b.ResetTimer()
		for i := range b.N {
			reports := make([]mail.Report, batch)
			for j := range reports {
				reports[j] = reported(&all[rand.IntN(mails)], statuses[rand.IntN(len(statuses))], fmt.Sprint(i, j), time.Now())
			}
			begin := time.Now()
			if _, _, err := r.Apply(b.Context(), reports); err != nil {
				b.Fatal(err)
			}
			slowest = max(slowest, time.Since(begin))
		}
		b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64(slowest.Milliseconds()), "ms-slowest")
	}
	b.Run("sqlite", func(b *testing.B) { run(b, named(filepath.Join(b.TempDir(), "deliveries.db"))) })
	b.Run("postgres", func(b *testing.B) { run(b, named(postgrestest.Start(b).Database(b))) })
}

// The question before each mail.
func BenchmarkSuppressed(b *testing.B) {
	run := func(b *testing.B, s Settings) {
		r := opened(b, s)
		r.ready(b)
		now := time.Now()
		for range 10 {
			var all []suppression
			for range 1000 {
				all = append(all, suppression{recipient: random(now).To, since: now, until: now.Add(time.Hour)})
			}
			slices.SortFunc(all, func(a, b suppression) int { return strings.Compare(a.recipient, b.recipient) })
			all = slices.CompactFunc(all, func(a, b suppression) bool { return a.recipient == b.recipient })
			if err := writeSuppressions(b.Context(), r.db.write, r.db.rows, all); err != nil {
				b.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
		defer cancel()
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			r.Suppressed(ctx, "nobody@example.com")
		}
		if r.State().Unchecked > 0 {
			b.Error("not all were looked at")
		}
	}
	b.Run("sqlite", func(b *testing.B) { run(b, named(filepath.Join(b.TempDir(), "deliveries.db"))) })
	b.Run("postgres", func(b *testing.B) { run(b, named(postgrestest.Start(b).Database(b))) })
}
