package deliveries

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"logto-email-relay/mail"
)

// Tally says what became of mails.
type Tally struct {
	// Accepted is how many mails a provider took. Of these Delivered are known to have
	// reached the recipient's server, Bounced not to have reached their reader, and
	// Complained were called spam.
	Accepted, Delivered, Bounced, Complained int
	// Failed is how many no provider took.
	Failed int
	// ToAccepted and ToDelivered count how long it took from the webhook.
	ToAccepted, ToDelivered Times
}

// Times count durations in steps, four to a doubling, the first of a millisecond.
type Times []int

// Within returns the time that a share of the durations, from 0 to 1, is within, at
// most a fifth too long; zero if there are none.
func (t Times) Within(share float64) time.Duration {
	all := 0
	for _, n := range t {
		all += n
	}
	left := int(math.Ceil(share * float64(all)))
	for step, n := range t {
		if left -= n; left <= 0 {
			return time.Duration(math.Pow(2, float64(step)/4) * float64(time.Millisecond))
		}
	}
	return 0
}

func (t *Times) count(took time.Duration) {
	t.add(int(math.Ceil(4*math.Log2(max(1, float64(took.Microseconds())/1000)))), 1)
}

func (t *Times) add(step, n int) {
	for len(*t) <= step {
		*t = append(*t, 0)
	}
	(*t)[step] += n
}

// String is how the table holds them: the steps and how often each came.
func (t Times) String() string {
	var text []byte
	for step, n := range t {
		if n > 0 {
			text = append(strconv.AppendInt(append(strconv.AppendInt(text, int64(step), 10), ':'), int64(n), 10), ' ')
		}
	}
	return string(text)
}

func (t *Times) addText(text string) {
	for pair := range strings.FieldsSeq(text) {
		step, n, _ := strings.Cut(pair, ":")
		at, _ := strconv.Atoi(step) // the text is our own
		count, _ := strconv.Atoi(n)
		t.add(at, count)
	}
}

func (t *Tally) add(other *Tally) {
	t.Accepted += other.Accepted
	t.Delivered += other.Delivered
	t.Bounced += other.Bounced
	t.Complained += other.Complained
	t.Failed += other.Failed
	for step, n := range other.ToAccepted {
		t.ToAccepted.add(step, n)
	}
	for step, n := range other.ToDelivered {
		t.ToDelivered.add(step, n)
	}
}

// Span is how far a summary looks back, and how long its bars are.
type Span struct{ Length, Bar time.Duration }

// The spans of summaries.
var (
	LastHour = Span{time.Hour, slice}
	LastDay  = Span{24 * time.Hour, time.Hour}
	LastWeek = Span{7 * 24 * time.Hour, 6 * time.Hour}
)

// Summary says what became of the mails of a span.
type Summary struct {
	All Tally
	// Providers are those that accepted the mails; failed mails have an empty one.
	Providers, Languages map[string]*Tally
	// Bars follow each other without a gap. The last one is not over yet. They do not
	// tell how long mails took.
	Bars []Bar
}

// Bar says what became of the mails of a while.
type Bar struct {
	Time time.Time
	Tally
}

// Summarize sums up the last mails. It reads what is counted, not the mails, so that it
// takes the same time for any number of them; what has just happened is counted within
// a minute.
func (r *Reader) Summarize(ctx context.Context, span Span, now time.Time) (*Summary, error) {
	begin := now.UTC().Truncate(span.Bar).Add(span.Bar - span.Length)
	unit := time.Hour
	if span.Bar < unit {
		unit = slice
	}
	s := &Summary{Providers: make(map[string]*Tally), Languages: make(map[string]*Tally)}
	for at := begin; at.Before(begin.Add(span.Length)); at = at.Add(span.Bar) {
		s.Bars = append(s.Bars, Bar{Time: at})
	}
	err := r.tallies(ctx, unit, begin, begin.Add(span.Length), func(at int64, of group, t *Tally) {
		tallies := s.Languages
		if of.dimension == byProvider { // every mail is in either dimension once
			tallies = s.Providers
			timeless := *t
			timeless.ToAccepted, timeless.ToDelivered = nil, nil
			s.Bars[time.UnixMicro(at).Sub(begin)/span.Bar].add(&timeless)
		}
		if tallies[of.name] == nil {
			tallies[of.name] = new(Tally)
		}
		tallies[of.name].add(t)
	})
	if err != nil {
		return nil, err
	}
	for _, t := range s.Providers {
		s.All.add(t)
	}
	return s, nil
}

const (
	writeTotals = `INSERT INTO totals
    (span, time, dimension, name, accepted, delivered, bounced, complained, failed, to_accepted, to_delivered)
SELECT CAST(value->>0 AS BIGINT), CAST(value->>1 AS BIGINT), value->>2, value->>3, CAST(value->>4 AS BIGINT), CAST(value->>5 AS BIGINT),
       CAST(value->>6 AS BIGINT), CAST(value->>7 AS BIGINT), CAST(value->>8 AS BIGINT), value->>9, value->>10 FROM %s WHERE true
ORDER BY 1, 2, 3, 4 -- two relays that count the same hour lock its rows in the same order
ON CONFLICT (span, time, dimension, name) DO UPDATE SET
    accepted = excluded.accepted, delivered = excluded.delivered, bounced = excluded.bounced, complained = excluded.complained,
    failed = excluded.failed, to_accepted = excluded.to_accepted, to_delivered = excluded.to_delivered`

	// slice is the shortest while that mails are counted in. Hours are the sums of
	// theirs, so that a change does not take counting a whole hour.
	slice = 5 * time.Minute
	// rounds is how often a slice is counted after its last change. Of two relays that
	// count the same hour, the slower one may have seen less; it counts once more.
	rounds = 2
	// The dimensions.
	byProvider = "provider"
	byLanguage = "language"
	// usualSteps is how many steps of Times reach to a minute.
	usualSteps = 64
	// counting is how far back a start looks for mails that nobody has counted, and
	// recounting how far for those of which events may have come just before the stop.
	counting   = 8 * 24 * time.Hour
	recounting = 24 * time.Hour
	// looking is how often a relay looks for them while it runs, and how far back before
	// the time when it last did.
	looking = 10 * time.Minute
)

// group is what mails are counted by.
type group struct{ dimension, name string }

// tallies are those of a while.
type tallies map[group]*Tally

func (t tallies) of(dimension, name string) *Tally {
	g := group{dimension, name}
	if t[g] == nil {
		t[g] = new(Tally)
	}
	return t[g]
}

func sliceOf(t time.Time) int64 { return t.Truncate(slice).UnixMicro() }

// tallies reads what is counted in units, by their beginnings.
func (r *Reader) tallies(ctx context.Context, unit time.Duration, begin, end time.Time, each func(at int64, of group, t *Tally)) (err error) {
	rows, err := r.db.read.QueryContext(ctx, `SELECT time, dimension, name, accepted, delivered, bounced, complained, failed, to_accepted, to_delivered
FROM totals WHERE span = $1 AND time >= $2 AND time < $3`, unit.Microseconds(), begin.UnixMicro(), end.UnixMicro())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var at int64
		var of group
		var t Tally
		var toAccepted, toDelivered string
		if err := rows.Scan(&at, &of.dimension, &of.name, &t.Accepted, &t.Delivered, &t.Bounced, &t.Complained, &t.Failed, &toAccepted, &toDelivered); err != nil {
			return err
		}
		t.ToAccepted, t.ToDelivered = make(Times, 0, usualSteps), make(Times, 0, usualSteps)
		t.ToAccepted.addText(toAccepted)
		t.ToDelivered.addText(toDelivered)
		each(at, of, &t)
	}
	return rows.Err()
}

// touch has slices counted again, by their beginnings in microseconds since 1970.
func (s *Store) touch(begun ...int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range begun {
		s.touched[at] = rounds
	}
}

// touchUncounted has the mails counted that no relay has counted, once in a while: one may
// have been killed, or nothing of the kind may have been counted before.
func (s *Store) touchUncounted(ctx context.Context, now time.Time) error {
	looked := s.looked.Load()
	begin := looked - looking.Microseconds()
	if now.UnixMicro() < looked+looking.Microseconds() {
		return nil
	}
	if looked == 0 {
		var last sql.NullInt64
		err := s.db.read.QueryRowContext(ctx, "SELECT MAX(time) FROM totals WHERE span = $1", slice.Microseconds()).Scan(&last)
		if err != nil {
			return err
		}
		begin = now.Add(-counting).UnixMicro()
		if last.Valid {
			begin = max(begin, last.Int64-recounting.Microseconds())
		}
	}
	for { // slices without mails are passed over
		var next sql.NullInt64
		err := s.db.read.QueryRowContext(ctx, "SELECT MIN(time) FROM deliveries WHERE time >= $1", begin).Scan(&next)
		if err != nil {
			return err
		}
		if !next.Valid {
			s.looked.Store(now.UnixMicro())
			return nil
		}
		at := sliceOf(time.UnixMicro(next.Int64))
		s.touch(at)
		begin = at + slice.Microseconds()
	}
}

// hourOf returns the hour that a slice is part of.
func hourOf(at int64) int64 { return time.UnixMicro(at).Truncate(time.Hour).UnixMicro() }

// count counts the slices anew that have changed.
func (s *Store) count(ctx context.Context) error {
	hours := make(map[int64][]int64)
	s.mu.Lock()
	for at := range s.touched {
		hours[hourOf(at)] = append(hours[hourOf(at)], at)
		if s.touched[at]--; s.touched[at] == 0 {
			delete(s.touched, at)
		}
	}
	s.mu.Unlock()
	for _, hour := range slices.Sorted(maps.Keys(hours)) {
		if err := s.countHour(ctx, hour, hours[hour]); err != nil {
			for _, left := range hours {
				s.touch(left...)
			}
			return err
		}
		delete(hours, hour)
	}
	return nil
}

// countHour counts slices of an hour, and the hour. It reads beside the writer, and
// keeps it waiting only to write the result.
func (r *Reader) countHour(ctx context.Context, hour int64, changed []int64) error {
	begin := time.UnixMicro(hour)
	counted := make(map[int64]tallies)
	err := r.tallies(ctx, slice, begin, begin.Add(time.Hour), func(at int64, of group, t *Tally) {
		if counted[at] == nil {
			counted[at] = make(tallies)
		}
		counted[at][of] = t
	})
	if err != nil {
		return err
	}
	for _, at := range changed {
		if counted[at], err = r.countSlice(ctx, at); err != nil {
			return err
		}
	}
	whole := make(tallies)
	for _, all := range counted {
		for g, t := range all {
			whole.of(g.dimension, g.name).add(t)
		}
	}
	list := make([][]any, 0, len(whole))
	add := func(span time.Duration, at int64, all tallies) {
		for g, t := range all {
			list = append(list, []any{span.Microseconds(), at, g.dimension, g.name, t.Accepted, t.Delivered, t.Bounced, t.Complained, t.Failed,
				t.ToAccepted.String(), t.ToDelivered.String()})
		}
	}
	slices.Sort(changed)
	for _, at := range changed {
		add(slice, at, counted[at])
	}
	add(time.Hour, hour, whole)
	return r.writeTotals(ctx, hour, changed, list)
}

func (r *Reader) writeTotals(ctx context.Context, hour int64, changed []int64, list [][]any) error {
	const remove = "DELETE FROM totals WHERE span = $1 AND time = $2"
	return r.db.inTransaction(ctx, func(tx *sql.Tx) error {
		for _, at := range changed {
			if _, err := tx.ExecContext(ctx, remove, slice.Microseconds(), at); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, remove, time.Hour.Microseconds(), hour); err != nil {
			return err
		}
		return writeList(ctx, tx, r.db.rows, writeTotals, list)
	})
}

// countSlice looks at every mail of a slice.
func (r *Reader) countSlice(ctx context.Context, at int64) (counted tallies, err error) {
	rows, err := r.db.read.QueryContext(ctx, "SELECT time, provider, locale, status, duration, events FROM deliveries WHERE time >= $1 AND time < $2",
		at, at+slice.Microseconds())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	counted = make(tallies)
	for rows.Next() {
		var begin, took int64
		var provider, locale string
		var status mail.Status
		var events []byte
		if err := rows.Scan(&begin, &provider, &locale, &status, &took, &events); err != nil {
			return nil, err
		}
		if status == mail.StatusSending {
			continue
		}
		for _, t := range []*Tally{counted.of(byProvider, provider), counted.of(byLanguage, locale)} {
			t.countMail(provider, status, time.Duration(took)*time.Microsecond, begin, events)
		}
	}
	return counted, rows.Err()
}

func (t *Tally) countMail(provider string, status mail.Status, took time.Duration, begin int64, events []byte) {
	switch status {
	case mail.StatusDeferred, mail.StatusDelivered, mail.StatusBounced, mail.StatusComplained: // somebody took it, whatever the verdict was
	default:
		if provider == "" {
			t.Failed++
			return
		}
	}
	t.Accepted++
	if took > 0 { // there was a verdict
		t.ToAccepted.count(took)
	}
	switch status {
	case mail.StatusComplained:
		t.Complained++
		fallthrough
	case mail.StatusDelivered:
		t.Delivered++
		var told []event
		if json.Unmarshal(events, &told) != nil {
			return
		}
		if i := slices.IndexFunc(told, func(e event) bool { return e.Status == string(mail.StatusDelivered) }); i >= 0 {
			t.ToDelivered.count(time.Duration(told[i].Time-begin) * time.Microsecond)
		}
	case mail.StatusBounced, mail.StatusFailed, mail.StatusRefused, mail.StatusSuppressed:
		t.Bounced++
	}
}
