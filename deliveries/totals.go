package deliveries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"logto-email-relay/mail"
)

// Total says how many mails were alike.
type Total struct {
	// Provider is the one that accepted them, empty if none did.
	Provider, Locale string
	Status           mail.Status
	// Took is how long they took to the verdict at most, and at least four fifths of
	// that.
	Took  time.Duration
	Mails int
}

// Totals counts the mails from the hour of a time on. What has just happened is
// counted within a minute.
func (r *Reader) Totals(ctx context.Context, since time.Time) (totals []Total, err error) {
	rows, err := r.db.read.QueryContext(ctx, `SELECT provider, locale, status, speed, CAST(SUM(mails) AS BIGINT) FROM totals
WHERE hour >= $1 GROUP BY provider, locale, status, speed`, hourOf(since))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var t Total
		var speed int
		if err := rows.Scan(&t.Provider, &t.Locale, &t.Status, &speed, &t.Mails); err != nil {
			return nil, err
		}
		t.Took = tookOf(speed)
		totals = append(totals, t)
	}
	return totals, rows.Err()
}

// speedOf puts the times of a total into steps, four to a doubling, and tookOf
// returns the longest of a step.
func speedOf(took time.Duration) int {
	return int(math.Ceil(4 * math.Log2(max(1, float64(took.Microseconds())/1000))))
}

func tookOf(speed int) time.Duration {
	return time.Duration(math.Pow(2, float64(speed)/4) * float64(time.Millisecond))
}

func hourOf(t time.Time) int64 { return t.Truncate(time.Hour).UnixMicro() }

// rounds is how often an hour is counted after its last change. Of two relays that
// count the same hour, the slower one may have seen less; it counts once more.
const rounds = 2

// touch has an hour counted again.
func (s *Store) touch(hours ...int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hour := range hours {
		s.touched[hour] = rounds
	}
}

// count counts the hours anew that have changed.
func (s *Store) count(ctx context.Context) error {
	s.mu.Lock()
	var hours []int64
	for hour := range s.touched {
		hours = append(hours, hour)
		if s.touched[hour]--; s.touched[hour] == 0 {
			delete(s.touched, hour)
		}
	}
	s.mu.Unlock()
	for i, hour := range hours {
		if err := s.countHour(ctx, hour); err != nil {
			s.touch(hours[i:]...)
			return err
		}
	}
	return nil
}

// countHour reads beside the writer, and keeps it waiting only to write the result.
func (s *Reader) countHour(ctx context.Context, hour int64) (err error) {
	type alike struct {
		provider, locale, status string
		speed                    int
	}
	counts := make(map[alike]int)
	rows, err := s.db.read.QueryContext(ctx, "SELECT provider, locale, status, duration FROM deliveries WHERE time >= $1 AND time < $2",
		hour, hour+time.Hour.Microseconds())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var a alike
		var took int64
		if err := rows.Scan(&a.provider, &a.locale, &a.status, &took); err != nil {
			return err
		}
		a.speed = speedOf(time.Duration(took) * time.Microsecond)
		counts[a]++
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil { // the connection may be the one for writing
		return err
	}
	list := make([][5]any, 0, len(counts))
	for a, mails := range counts {
		list = append(list, [5]any{a.provider, a.locale, a.status, a.speed, mails})
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		return err
	}
	tx, err := s.db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // without effect after the commit
	if _, err := tx.ExecContext(ctx, "DELETE FROM totals WHERE hour = $1", hour); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO totals (hour, provider, locale, status, speed, mails)
SELECT CAST($2 AS BIGINT), value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT), CAST(value->>4 AS BIGINT) FROM %s WHERE true
ORDER BY 2, 3, 4, 5 -- two relays that count the same hour lock its rows in the same order
ON CONFLICT (hour, provider, locale, status, speed) DO UPDATE SET mails = excluded.mails`, s.db.rows), string(encoded), hour)
	if err != nil {
		return err
	}
	return tx.Commit()
}
