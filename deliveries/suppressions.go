package deliveries

import (
	"context"
	"errors"
	"time"

	"logto-email-relay/mail"
)

// Why an address is suppressed.
const (
	// HardBounce: a mail came back because the address takes none.
	HardBounce = "hard_bounce"
	// SoftBounces: mail after mail came back.
	SoftBounces = "soft_bounces"
	// Complaint: its reader called a mail spam.
	Complaint = "complaint"
	// ProviderList: a service has it on a list of its own and sends nothing to it.
	ProviderList = "provider_list"
	// Manual: a person said so. A note may follow, after a colon.
	Manual = "manual"
)

// Suppression is an address that gets no mails for a while.
type Suppression struct {
	// To is the address, masked where addresses are hashed.
	To, Reason string
	// Provider is the name of the provider that reported it; empty for a person.
	Provider     string
	Since, Until time.Time
}

// suppression is a row.
type suppression struct {
	recipient, shown, reason, provider string
	since, until                       time.Time
	// stored is the recipient as the mail has it, which may be from before addresses were
	// hashed; empty for no mail.
	stored string
	// of is when the mail was sent that came back. What lifts an address is not undone by
	// mails from before it.
	of time.Time
}

const (
	// maxSuppressions bounds a list of them.
	maxSuppressions = 1000

	writeSuppression = `INSERT INTO suppressions (recipient, shown, reason, provider, since, until)
SELECT value->>0, value->>1, value->>2, value->>3, CAST(value->>4 AS BIGINT), CAST(value->>5 AS BIGINT)
FROM %s WHERE NOT EXISTS (SELECT 1 FROM suppressions AS lifted
    WHERE lifted.recipient IN (value->>0, value->>7) AND lifted.until = 0 AND lifted.since > CAST(value->>6 AS BIGINT))
ON CONFLICT (recipient) DO UPDATE SET
    shown = excluded.shown, reason = excluded.reason, provider = excluded.provider, since = excluded.since, until = excluded.until
WHERE excluded.until > suppressions.until`
	listSuppressions = "SELECT shown, reason, provider, since, until FROM suppressions WHERE until > $1 ORDER BY since DESC, recipient LIMIT $2"
	findSuppression  = "SELECT shown, reason, provider, since, until FROM suppressions WHERE until > $1 AND recipient IN ($2, $3) LIMIT $4"
	// What is lifted or over stays for as long as mails from before it do: soft bounces
	// are counted from there. What is lifted ends at once, whatever another relay's clock
	// says.
	// An address that is not suppressed is lifted from there on, too: a service may have
	// it on its list, and tell so late.
	markLifted = `INSERT INTO suppressions (recipient, shown, reason, provider, since, until) VALUES ($1, $2, $3, '', $4, 0)
ON CONFLICT (recipient) DO UPDATE SET since = excluded.since, until = 0`
	liftSuppression = "UPDATE suppressions SET since = $3, until = 0 WHERE recipient IN ($1, $2) AND until > $3"
	endSuppressions = `WITH ended AS MATERIALIZED (SELECT recipient FROM suppressions WHERE until <= $1 AND since <= $1%s)
DELETE FROM suppressions WHERE recipient IN (SELECT recipient FROM ended)`
)

func writeSuppressions(ctx context.Context, to writer, rows string, all []suppression) error {
	list := make([][]any, len(all))
	for i, s := range all {
		list[i] = []any{s.recipient, s.shown, s.reason, s.provider, s.since.UnixMicro(), s.until.UnixMicro(), s.of.UnixMicro(), s.stored}
	}
	return writeList(ctx, to, rows, writeSuppression, list)
}

// both returns what an address may be stored as: there is always a second one, so
// that a query is the same for all settings.
func (s *Settings) both(address string) [2]string {
	all := s.recipients(address)
	return [2]string{all[0], all[len(all)-1]}
}

// stored returns what stands for an address, and what shows it.
func (s *Settings) stored(address string) (recipient, shown string) {
	if s.Addresses == Hashed {
		return s.hash(mail.FoldAddress(address)), mail.Mask(address)
	}
	return mail.FoldAddress(address), address
}

// Suppressions returns those that hold now, newest first; only that of one address,
// unless it is empty.
func (r *Reader) Suppressions(ctx context.Context, to string) (list []Suppression, err error) {
	settings := r.settings.Load()
	query, args := listSuppressions, []any{time.Now().UnixMicro(), maxSuppressions}
	if to != "" {
		both := settings.both(travelling(to))
		query, args = findSuppression, []any{args[0], both[0], both[1], maxSuppressions}
	}
	rows, err := r.db.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s Suppression
		var since, until int64
		if err := rows.Scan(&s.To, &s.Reason, &s.Provider, &since, &until); err != nil {
			return nil, err
		}
		if settings.Addresses == Hashed { // the row may be older than the setting
			s.To = mail.Mask(s.To)
		}
		s.Since, s.Until = time.UnixMicro(since).UTC(), time.UnixMicro(until).UTC()
		list = append(list, s)
	}
	return list, rows.Err()
}

// ErrMasked tells that an address is one that somebody took from the log.
var ErrMasked = errors.New("an address with *** in it is shortened, as the log has it; write the whole address")

// Suppress keeps mails from an address for a while, and returns the suppression that
// holds: one that is longer already stays. The note is for those who see the list.
func (r *Reader) Suppress(ctx context.Context, to string, length time.Duration, note string) (held Suppression, err error) {
	if mail.IsMasked(to) {
		return held, ErrMasked
	}
	s := r.settings.Load()
	address, now := travelling(to), time.Now().UTC().Truncate(time.Microsecond)
	row := suppression{reason: Manual, since: now, until: now.Add(length), of: now.Add(length)}
	row.recipient, row.shown = s.stored(address)
	if note != "" {
		row.reason += ": " + clean(note)
	}
	err = retried(func() error { return writeSuppressions(ctx, r.db.write, r.db.rows, []suppression{row}) })
	if err != nil {
		return held, err
	}
	held = Suppression{To: row.shown, Reason: row.reason, Since: row.since, Until: row.until}
	list, _ := r.Suppressions(ctx, to) // it is written, whatever becomes of this
	for _, s := range list {
		if s.Until.After(held.Until) {
			held = s
		}
	}
	return held, nil
}

// Lift lets an address get mails again, and tells whether it was suppressed.
func (r *Reader) Lift(ctx context.Context, to string) (lifted bool, err error) {
	if mail.IsMasked(to) {
		return false, ErrMasked
	}
	err = retried(func() (err error) {
		lifted, err = r.lift(ctx, to)
		return err
	})
	return lifted, err
}

func (r *Reader) lift(ctx context.Context, to string) (lifted bool, err error) {
	address, now := travelling(to), time.Now().UnixMicro()
	s := r.settings.Load()
	both := s.both(address)
	result, err := r.db.write.ExecContext(ctx, liftSuppression, both[0], both[1], now)
	if err != nil {
		return false, err
	}
	if n, err := result.RowsAffected(); n > 0 || err != nil {
		return n > 0, err
	}
	recipient, shown := s.stored(address)
	_, err = r.db.write.ExecContext(ctx, markLifted, recipient, shown, Manual, now)
	return false, err
}

// travelling is an address as mails to it are recorded.
func travelling(to string) string {
	to = clean(to)
	if address, err := mail.ParseRecipient(to); err == nil {
		return address
	}
	return to
}

// Suppressed tells whether an address is to get no mails now. When the database does
// not say so in time the answer is no, which is told in the log and in State, and for
// a while it is not asked again: a mail to an address that bounced does less harm than
// a person who is locked out.
func (s *Store) Suppressed(ctx context.Context, to string) bool {
	now := time.Now()
	ask := s.suppressed.Load()
	// More than retryAfter is left where the clock was set back.
	if rest := time.Duration(s.askAgain.Load() - now.UnixNano()); ask == nil || 0 < rest && rest <= retryAfter {
		s.unchecked.Add(1)
		return false
	}
	suppressed, err := (*ask)(ctx, s.settings.Load().both(to))
	if err == nil {
		s.asks()
		return suppressed
	}
	s.unchecked.Add(1)
	if s.askAgain.Swap(now.Add(retryAfter).UnixNano()) == 0 {
		s.logger.Error("suppressions are not looked at, the database does not answer", "error", err.Error())
	}
	return false
}

// asks notes that the database answers.
func (s *Store) asks() {
	if s.askAgain.Load() != 0 && s.askAgain.Swap(0) != 0 {
		s.logger.Info("suppressions are looked at again", "mails_not_checked_since_start", s.unchecked.Load())
	}
}
