package deliveries

import (
	"context"
	"time"

	"logto-email-relay/mail"
)

const (
	// maintenance is how often old rows are looked for.
	maintenance = time.Minute
	// purged is how many rows are deleted at a time: mails may wait that long.
	purged = 200
)

// maintain looks after old rows, now and then, until the context ends. It needs no
// agreement among replicas: whoever comes second finds nothing to do.
func (s *Store) maintain(ctx context.Context) {
	ticker := time.NewTicker(maintenance)
	defer ticker.Stop()
	for {
		now := time.Now()
		err := s.giveUpLate(ctx, now)
		if err == nil {
			err = s.purge(ctx, now)
		}
		if err == nil {
			_, err = s.db.write.ExecContext(ctx, endSuppressions, now.UnixMicro())
		}
		// In quiet times this is what notices that the database is down, or back.
		if err == nil {
			s.catchUp(time.Since(now))
		} else if ctx.Err() == nil {
			s.fallBehind(err, nil)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// giveUpLate calls mails uncertain whose verdict should have come: their relay was
// killed. Should it come after all, it counts.
func (s *Store) giveUpLate(ctx context.Context, now time.Time) error {
	_, err := s.db.write.ExecContext(ctx, `UPDATE deliveries SET status = $1
WHERE status = $2 AND status NOT IN ('accepted', 'delivered') AND time < $3`,
		string(mail.StatusUncertain), string(mail.StatusSending), now.Add(-s.late).UnixMicro())
	return err
}

// purge deletes the rows that are older than the retention, a few at a time.
func (s *Store) purge(ctx context.Context, now time.Time) error {
	for {
		limit := now.Add(-time.Duration(s.settings.Load().Retention)).UnixMicro()
		result, err := s.db.write.ExecContext(ctx,
			`DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE time < $1 ORDER BY time LIMIT $2)`, limit, purged)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n < purged {
			return err
		}
	}
}
