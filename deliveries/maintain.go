package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"

	"logto-email-relay/mail"
)

const (
	// maintenance is how often old rows are looked for.
	maintenance = time.Minute
	// checkpointing is how often committed rows are looked for.
	checkpointing = time.Second
	// purged is how many rows are deleted at a time: mails may wait that long.
	purged = 200
)

// maintain looks after old rows, now and then, until the context ends. It needs no
// agreement among replicas: whoever comes second finds nothing to do.
func (s *Store) maintain(ctx context.Context) {
	ticker := time.NewTicker(maintenance)
	defer ticker.Stop()
	for {
		if err := s.db.inPlace(); err != nil {
			s.fallBehind(err, nil)
		} else if err := s.lookAfter(ctx, time.Now()); ctx.Err() == nil {
			s.lookedAfter(err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// lookAfter carries out all that is to be done, and returns the first error. One that
// fails for good, such as for a broken index, keeps none of the others from being carried
// out; a database that is down does. In quiet times this is what notices that. A failure
// may also be the end of connections to a server that was started again: then the task is
// carried out once more.
func (s *Store) lookAfter(ctx context.Context, now time.Time) (first error) {
	for _, carryOut := range []func(context.Context, time.Time) error{
		s.touchUncounted, s.giveUpLate, s.purge, s.endSuppressions, s.dropUnknown,
		func(ctx context.Context, _ time.Time) error { return s.count(ctx) },
	} {
		err := retried(func() error { return carryOut(ctx, now) })
		if err == nil {
			continue
		}
		if s.probe(); s.State().Behind != nil {
			return err
		}
		if err = carryOut(ctx, now); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// checkpoint moves committed rows to where they stay, until the context ends. If it
// cannot, SQLite's log grows until a writer does it.
func (s *Store) checkpoint(ctx context.Context) {
	ticker := time.NewTicker(checkpointing)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if s.committed.Swap(false) {
			_ = s.db.checkpoint(ctx)
		}
	}
}

// giveUpLate calls mails uncertain whose verdict should have come: their relay was
// killed. Should it come after all, it counts.
func (s *Store) giveUpLate(ctx context.Context, now time.Time) error {
	return s.db.inTransaction(ctx, func(tx *sql.Tx) error {
		occurred, err := s.callUncertain(ctx, tx, now)
		if err != nil {
			return err
		}
		return s.tell(ctx, tx, occurred)
	})
}

// callUncertain returns what is to be told of these mails.
func (s *Store) callUncertain(ctx context.Context, tx *sql.Tx, now time.Time) (occurred []occurrence, err error) {
	// A row that somebody holds may be getting its verdict just now.
	rows, err := tx.QueryContext(ctx, fmt.Sprintf(`WITH late AS MATERIALIZED
    (SELECT id FROM deliveries WHERE status = $2 AND status NOT IN ('accepted', 'delivered') AND time < $3%s)
UPDATE deliveries SET status = $1 WHERE id IN (SELECT id FROM late) RETURNING id, time`, s.db.skipLocked),
		string(mail.StatusUncertain), string(mail.StatusSending), now.Add(-s.late).UnixMicro())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		var at int64
		if err := rows.Scan(&id, &at); err != nil {
			return nil, err
		}
		s.touch(sliceOf(time.UnixMicro(at)))
		if s.wanted(string(mail.StatusUncertain)) {
			occurred = append(occurred, occurrence{what: string(mail.StatusUncertain), at: now, id: id})
		}
	}
	return occurred, rows.Err()
}

// endSuppressions deletes those that have been over for as long as mails are kept.
func (s *Store) endSuppressions(ctx context.Context, now time.Time) error {
	_, err := s.db.write.ExecContext(ctx, fmt.Sprintf(endSuppressions, s.db.skipLocked), now.Add(-time.Duration(s.settings.Load().Retention)).UnixMicro())
	return err
}

// purge deletes the rows that are older than the retention, a few at a time.
func (s *Store) purge(ctx context.Context, now time.Time) error {
	limit := now.Add(-time.Duration(s.settings.Load().Retention)).UnixMicro()
	for _, span := range []time.Duration{slice, time.Hour} { // the key's first column, without which all rows would be read
		if _, err := s.db.write.ExecContext(ctx, "DELETE FROM totals WHERE span = $1 AND time < $2", span.Microseconds(), limit); err != nil {
			return err
		}
	}
	tables := []string{"deliveries"}
	if s.db.dialect == goose.DialectPostgres {
		var err error
		if tables, err = s.keepMonths(ctx, limit); err != nil {
			return err
		}
	}
	for _, table := range tables {
		for n := int64(purged); n >= purged; {
			result, err := s.db.write.ExecContext(ctx,
				fmt.Sprintf(`WITH old AS MATERIALIZED (SELECT id FROM %[1]s WHERE time < $1 ORDER BY time LIMIT $2%[2]s)
DELETE FROM %[1]s WHERE id IN (SELECT id FROM old)`, table, s.db.skipLocked), limit, purged)
			if err != nil {
				return err
			}
			if n, err = result.RowsAffected(); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepMonths looks after the partitions of a table that has some, and returns the tables
// that old rows are to be deleted from.
func (s *Store) keepMonths(ctx context.Context, limit int64) (tables []string, err error) {
	if _, err := s.db.write.ExecContext(ctx, "SELECT drop_deliveries_until()"); err != nil {
		return nil, err
	}
	rows, err := s.db.write.QueryContext(ctx, "SELECT keep_months($1)", limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return nil, err
		}
		tables = append(tables, table)
	}
	return tables, rows.Err()
}
