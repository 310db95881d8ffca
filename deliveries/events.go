package deliveries

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"logto-email-relay/mail"
)

// Whoever brought an event has to come again, whose mail may be in memory still.
var (
	// ErrBehind says that the record is not up to date.
	ErrBehind = errors.New("the record is behind")
	// ErrElsewhere says that a mail is not in the record, and young enough to be in the memory
	// of a relay. What came with it is applied.
	ErrElsewhere = errors.New("a mail is not in the record yet")
)

const (
	// maxEvents bounds the events of a mail. Later ones still change its status.
	maxEvents = 50
	// recentMails is how many mails to an address are looked at for soft bounces in a
	// row.
	recentMails = 50
	// arrived is how long after its acceptance a mail that did not come back counts as
	// one that arrived: bounces mostly come within minutes to hours.
	arrived = 3 * time.Hour
	// keptElsewhere is for how long a mail that is not in the record may be in the memory of
	// another relay, which has lost its way to the database, and beingWritten for how long in our
	// own.
	keptElsewhere = 5 * time.Minute
	beingWritten  = 10 * time.Second
)

const (
	// reportedMails are all those of a call in one order, in which whoever writes mails has them.
	reportedMails = `SELECT id, time, status, recipient, data, events, provider, provider_id FROM deliveries
WHERE id IN (SELECT value->>0 FROM %[1]s UNION
    SELECT id FROM deliveries WHERE (provider, provider_id) IN (SELECT value->>1, value->>2 FROM %[1]s) AND provider_id <> '')
ORDER BY id%[2]s`
	writeEvents = `UPDATE deliveries SET status = changes.status, events = changes.events
FROM (SELECT value->>0 AS id, value->>1 AS status, value->>2 AS events FROM %s) AS changes WHERE deliveries.id = changes.id`
	// writeProviders is apart, because SQLite writes the indexes of a column that is named, changed or not.
	writeProviders = `UPDATE deliveries SET provider = changes.provider
FROM (SELECT value->>0 AS id, value->>1 AS provider FROM %s) AS changes WHERE deliveries.id = changes.id`
	// mailsTo are the last mails to each of some addresses, newest first, but for those
	// before the end of a suppression.
	mailsTo = `WITH wanted AS MATERIALIZED (SELECT value->>0 AS recipient, value->>1 AS suppressed,
    (SELECT time FROM deliveries WHERE recipient = value->>0 ORDER BY time DESC LIMIT 1 OFFSET $2) AS oldest FROM %s)
SELECT mails.recipient, mails.time, mails.status, mails.events FROM wanted
JOIN deliveries AS mails ON mails.recipient = wanted.recipient AND mails.time > COALESCE(wanted.oldest, 0)
WHERE NOT EXISTS (SELECT 1 FROM suppressions AS ended
    WHERE ended.recipient IN (wanted.recipient, wanted.suppressed) AND (ended.since >= mails.time OR ended.until >= mails.time))
ORDER BY mails.time DESC`
)

// Apply adds events to their mails, whose strongest status stays. An event that is
// known already changes nothing, in whatever order they come. It returns the events
// that are new, and how many are of mails that are not in the record. When it fails,
// part of the events may be applied, and all of them may come again. Beside ErrElsewhere it
// returns what is so, and counts these mails as unknown.
func (s *Store) Apply(ctx context.Context, reports []mail.Report) (applied []mail.Event, unknown int, err error) {
	select {
	case s.applying <- struct{}{}:
		defer func() { <-s.applying }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	elsewhere := 0
	for chunk := range slices.Chunk(reports, s.db.events) {
		if s.State().Behind != nil {
			return nil, 0, ErrBehind
		}
		done, err := s.apply(ctx, chunk)
		s.committed.Store(true)
		if err != nil {
			return nil, 0, err
		}
		s.touch(done.changed...)
		applied, unknown, elsewhere = append(applied, done.applied...), unknown+done.unknown, elsewhere+done.elsewhere
	}
	if elsewhere > 0 {
		return applied, unknown + elsewhere, ErrElsewhere
	}
	return applied, unknown, nil
}

// Apply is Store.Apply beside a relay that may be running. It does not know whether that
// relay has all its mails on record, so that one may be unknown that is in its memory.
func (r *Reader) Apply(ctx context.Context, reports []mail.Report) (applied []mail.Event, unknown int, err error) {
	done, err := r.apply(ctx, reports)
	for _, at := range done.changed {
		err = errors.Join(err, retried(func() error { return r.countHour(ctx, hourOf(at), []int64{at}) }))
	}
	return done.applied, done.unknown + done.elsewhere, err
}

// outcome is what became of reports.
type outcome struct {
	applied   []mail.Event
	unknown   int     // whose mail is not in the record
	elsewhere int     // whose mail may be in the memory of a relay
	changed   []int64 // the slices of the mails that have changed
}

func (r *Reader) apply(ctx context.Context, reports []mail.Report) (done outcome, err error) {
	err = retried(func() (err error) {
		done, err = r.applyOnce(ctx, reports)
		return err
	})
	return done, err
}

func (r *Reader) applyOnce(ctx context.Context, reports []mail.Report) (done outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tx, err := r.db.write.BeginTx(ctx, nil)
	if err != nil {
		return outcome{}, err
	}
	defer func() { _ = tx.Rollback() }() // without effect after the commit
	found, err := r.mailsOf(ctx, tx, reports)
	if err != nil {
		return outcome{}, err
	}
	now := time.Now().UTC()
	mayCome := beingWritten
	if r.db.isShared() {
		mayCome = keptElsewhere
	}
	list := newSuppressing(r.settings.Load(), now)
	var occurred []occurrence
	for i, report := range reports {
		m := found[i]
		var before mail.Status
		if m != nil {
			before = m.status
		}
		switch {
		case m == nil:
			if mail.IsYoung(report.ID, mayCome) {
				done.elsewhere++
			} else {
				done.unknown++
			}
			continue
		case report.Status == mail.StatusBounced && (m.details().Redirected || !r.isTo(m, report.To)):
			report.Soft, report.Ours = true, true // it tells nothing of the address that this mail went to
		}
		if !m.add(&report, now) {
			continue
		}
		done.applied = append(done.applied, report.Event)
		list.look(m, &report.Event)
		if m.status != before && r.wanted(string(m.status)) {
			occurred = append(occurred, occurrence{what: string(m.status), at: report.Time, id: m.id})
		}
	}
	if len(done.applied) == 0 {
		return done, nil
	}
	if err := r.writeMails(ctx, tx, found); err != nil {
		return outcome{}, err
	}
	if err := list.write(ctx, tx, r.db.rows); err != nil {
		return outcome{}, err
	}
	if err := r.tell(ctx, tx, occurred); err != nil {
		return outcome{}, err
	}
	if err := tx.Commit(); err != nil {
		return outcome{}, err
	}
	for _, m := range found {
		if m == nil {
			continue
		}
		if at := sliceOf(time.UnixMicro(m.at)); !slices.Contains(done.changed, at) {
			done.changed = append(done.changed, at)
		}
	}
	return done, nil
}

// isTo tells whether a mail went to one of the addresses; to any if there is none.
func (r *Reader) isTo(m *reportedMail, addresses []string) bool {
	settings := r.settings.Load()
	return len(addresses) == 0 || slices.ContainsFunc(addresses, func(to string) bool {
		return slices.Contains(settings.recipients(travelling(to)), m.recipient)
	})
}

// reportedMail is a mail that services have reported something of.
type reportedMail struct {
	id, recipient, provider, providerID string
	at                                  int64 // microseconds since 1970
	status                              mail.Status
	data                                []byte
	events                              []event
	changed, named                      bool // named: its provider has become known
}

// mailsOf finds the mail of each report, by its own id or that of the service; nil
// if it is not in the record.
func (r *Reader) mailsOf(ctx context.Context, tx *sql.Tx, reports []mail.Report) (found []*reportedMail, err error) {
	byOurs, byTheirs := make(map[string]*reportedMail), make(map[[2]string]*reportedMail)
	names := make([][3]string, len(reports))
	for i, report := range reports {
		names[i] = [3]string{report.ID, report.Provider, clean(report.ProviderID)}
	}
	list, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, fmt.Sprintf(reportedMails, r.db.rows, r.db.lock), string(list))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		m := new(reportedMail)
		var events []byte
		if err := rows.Scan(&m.id, &m.at, &m.status, &m.recipient, &m.data, &events, &m.provider, &m.providerID); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(events, &m.events); err != nil {
			return nil, fmt.Errorf("the events of %s: %w", m.id, err)
		}
		byOurs[m.id] = m // which may be named in both ways
		byTheirs[[2]string{m.provider, m.providerID}] = m
	}
	found = make([]*reportedMail, len(reports))
	for i, report := range reports {
		if found[i] = byOurs[report.ID]; found[i] == nil && report.ProviderID != "" {
			found[i] = byTheirs[[2]string{report.Provider, clean(report.ProviderID)}]
		}
	}
	return found, rows.Err()
}

// add tells a mail of an event, and returns whether it is new.
func (m *reportedMail) add(r *mail.Report, now time.Time) bool {
	key := keyOf(r)
	if slices.ContainsFunc(m.events, func(e event) bool { return e.Key == key }) {
		return false
	}
	if r.Time.IsZero() || r.Time.After(now) { // by a clock that is wrong
		r.Time = now
	}
	if r.Status.StrongerThan(m.status) && !m.isOfAnother(r) {
		m.status = r.Status
	}
	if m.provider == "" { // nobody knew that it took the mail, or nobody does yet
		m.provider, m.named = r.Provider, true
	}
	if len(m.events) < maxEvents {
		m.events = append(m.events, event{Time: r.Time.UnixMicro(), Status: string(r.Status), Provider: r.Provider, Detail: clean(r.Detail),
			Soft: r.Soft, Ours: r.Ours, Key: key})
	}
	m.changed = true
	return true
}

// details are what the mail has beside its columns.
func (m *reportedMail) details() (d details) {
	_ = json.Unmarshal(m.data, &d)
	return d
}

// isOfAnother tells whether a report says what did not become of the mail at a provider that
// may have taken it before another one did: to the reader it says nothing.
func (m *reportedMail) isOfAnother(r *mail.Report) bool {
	switch {
	case m.provider == "", r.Provider == m.provider, r.ProviderID != "" && clean(r.ProviderID) == m.providerID: // the one that has it
		return false
	case r.Status == mail.StatusDelivered, r.Status == mail.StatusComplained: // which the reader knows of
		return false
	}
	return slices.ContainsFunc(m.details().Attempts, func(a attempt) bool { return a.Provider == r.Provider })
}

// keyOf is short, and says nothing of what it stands for.
func keyOf(r *mail.Report) string {
	sum := sha256.Sum256([]byte(r.Provider + "\x00" + r.Key))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// writeMails writes what has changed. A mail may be there twice.
func (r *Reader) writeMails(ctx context.Context, tx *sql.Tx, found []*reportedMail) error {
	var changes, providers [][]string
	for _, m := range found {
		if m == nil || !m.changed {
			continue
		}
		m.changed = false
		if m.named {
			providers = append(providers, []string{m.id, m.provider})
		}
		slices.SortStableFunc(m.events, func(a, b event) int { return int(min(max(a.Time-b.Time, -1), 1)) })
		events, err := json.Marshal(m.events)
		if err != nil {
			return err
		}
		changes = append(changes, []string{m.id, string(m.status), string(events)})
	}
	if err := writeList(ctx, tx, r.db.rows, writeEvents, changes); err != nil || len(providers) == 0 {
		return err
	}
	return writeList(ctx, tx, r.db.rows, writeProviders, providers)
}

// suppressing gathers the addresses that a batch of events suppresses.
type suppressing struct {
	settings *Settings
	now      time.Time
	rows     map[string]suppression // by recipient
	soft     map[string]suppression // by that of the mail: those with a soft bounce, if it is one too many
}

func newSuppressing(s *Settings, now time.Time) *suppressing {
	return &suppressing{s, now, make(map[string]suppression), make(map[string]suppression)}
}

// look takes an event of a mail to an address.
func (l *suppressing) look(m *reportedMail, e *mail.Event) {
	var length time.Duration
	suppress := &l.settings.Suppress
	row := suppression{recipient: m.recipient, stored: m.recipient, shown: m.recipient, provider: e.Provider, since: e.Time, of: time.UnixMicro(m.at)}
	switch {
	case e.Ours:
		return
	case e.Status == mail.StatusComplained:
		row.reason, length, row.of = Complaint, time.Duration(suppress.Complaint), e.Time
	case e.Status == mail.StatusBounced && e.Soft:
		row.reason, length = SoftBounces, time.Duration(suppress.HardBounce)
	case e.Status == mail.StatusBounced:
		row.reason, length = HardBounce, time.Duration(suppress.HardBounce)
	case e.Status == mail.StatusSuppressed:
		row.reason, length = ProviderList, time.Duration(suppress.HardBounce)
	}
	row.until = e.Time.Add(length)
	if length == 0 || !row.until.After(l.now) {
		return
	}
	rest := m.details()
	if rest.Redirected {
		return
	}
	if rest.To != "" {
		row.shown = rest.To
	}
	if l.settings.Addresses == Hashed { // the mail may be older than the setting
		row.shown = mail.Mask(row.shown)
		if strings.Contains(m.recipient, "@") {
			row.recipient = l.settings.hash(m.recipient)
		}
	}
	rows, key := l.rows, row.recipient
	if row.reason == SoftBounces {
		rows, key = l.soft, row.stored
	}
	if had := rows[key]; row.of.After(had.of) || row.of.Equal(had.of) && row.until.After(had.until) {
		rows[key] = row // of the newest mail: a lift may be later than the others
	}
}

// write looks for soft bounces in a row, and writes the suppressions.
func (l *suppressing) write(ctx context.Context, tx *sql.Tx, rows string) error {
	maps.DeleteFunc(l.soft, func(_ string, row suppression) bool { return !l.rows[row.recipient].until.IsZero() })
	if enough := l.settings.Suppress.SoftBounces; len(l.soft) > 0 && enough > 0 {
		mails, err := lastMailsTo(ctx, tx, rows, l.soft)
		if err != nil {
			return err
		}
		for stored, row := range l.soft {
			if softBounces(mails[stored]) >= enough {
				l.rows[row.recipient] = row
			}
		}
	}
	if len(l.rows) == 0 {
		return nil
	}
	all := make([]suppression, 0, len(l.rows))
	for _, row := range l.rows {
		all = append(all, row)
	}
	// Replicas lock the rows in one order.
	slices.SortFunc(all, func(a, b suppression) int { return strings.Compare(a.recipient, b.recipient) })
	return writeSuppressions(ctx, tx, rows, all)
}

// lastMailsTo returns the mails to addresses, newest first, since they could get any.
func lastMailsTo(ctx context.Context, tx *sql.Tx, rows string, soft map[string]suppression) (mails map[string][]reportedMail, err error) {
	addresses := make([][2]string, 0, len(soft))
	for stored, row := range soft {
		addresses = append(addresses, [2]string{stored, row.recipient})
	}
	list, err := json.Marshal(addresses)
	if err != nil {
		return nil, err
	}
	found, err := tx.QueryContext(ctx, fmt.Sprintf(mailsTo, rows), string(list), recentMails)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	mails = make(map[string][]reportedMail)
	for found.Next() {
		var m reportedMail
		var events []byte
		if err := found.Scan(&m.recipient, &m.at, &m.status, &events); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(events, &m.events); err != nil {
			return nil, err
		}
		mails[m.recipient] = append(mails[m.recipient], m)
	}
	return mails, found.Err()
}

// softBounces counts the mails that have bounced softly since one arrived. They come
// newest first.
func softBounces(mails []reportedMail) (n int) {
	newest := int64(0) // of these bounces
	for _, m := range mails {
		for _, e := range m.events {
			if e.Soft && !e.Ours {
				newest = max(newest, e.Time)
			}
		}
	}
	for _, m := range mails {
		isSoft := slices.ContainsFunc(m.events, func(e event) bool { return e.Soft && !e.Ours })
		isDelivered := slices.ContainsFunc(m.events, func(e event) bool { return e.Status == string(mail.StatusDelivered) })
		switch {
		case isDelivered, m.status == mail.StatusDelivered, m.status == mail.StatusComplained,
			m.status == mail.StatusAccepted && newest-m.at > arrived.Microseconds():
			return n // also where the answer of somebody who is away came for a bounce
		case m.status == mail.StatusBounced && isSoft:
			n++
		}
	}
	return n
}
