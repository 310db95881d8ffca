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

const (
	writeNotifications = `INSERT INTO notifications (id, endpoint, body, since, due)
SELECT value->>0, value->>1, value->>2, CAST($2 AS BIGINT), CAST($2 AS BIGINT) FROM %s WHERE true
ON CONFLICT (id) DO NOTHING`
	mailsByID = "SELECT " + columns + " FROM deliveries WHERE id IN (SELECT value->>0 FROM %s)"
	isDue     = "SELECT 1 FROM notifications WHERE endpoint = $1 AND due <= $2 LIMIT 1"
	// claim would be carried out for more rows than wanted if the list of them were made
	// anew for each row.
	claim = `WITH wanted AS MATERIALIZED (SELECT id FROM notifications WHERE endpoint = $1 AND due <= $2 ORDER BY due LIMIT $3%s)
UPDATE notifications SET due = $4, attempts = attempts + 1 WHERE id IN (SELECT id FROM wanted) RETURNING id, body, since, attempts`
	endNotifications = "DELETE FROM notifications WHERE id IN (SELECT value->>0 FROM %s)"
	putOff           = `UPDATE notifications SET due = changes.due
FROM (SELECT value->>0 AS id, CAST(value->>1 AS BIGINT) AS due FROM %s) AS changes WHERE notifications.id = changes.id`
	expire            = "DELETE FROM notifications WHERE id IN (SELECT id FROM notifications WHERE endpoint = $1 AND due <= $2 ORDER BY due LIMIT $3)"
	dropNotifications = "DELETE FROM notifications WHERE since < $2 AND endpoint NOT IN (SELECT value->>0 FROM %s)"

	// unknownFor is how long the notifications of an endpoint are kept that is not in
	// the configuration: that of another replica may be ahead.
	unknownFor = time.Hour
)

// audience are the endpoints that are told of events.
type audience struct {
	// wants are the keys of endpoints by what they want to be told of.
	wants    map[string][]string
	describe func(*mail.Delivery) any
}

// Tell puts in place who is told of what from now on: the keys of endpoints by the
// status of mails, mail.Failover or mail.ProviderResting. describe makes what they are
// told of a mail.
func (r *Reader) Tell(wants map[string][]string, describe func(*mail.Delivery) any) {
	r.audience.Store(&audience{wants, describe})
}

// occurrence is what endpoints are to be told of.
type occurrence struct {
	what string
	at   time.Time
	// id is that of the mail. Where there is none, data is what is told.
	id   string
	data any
}

// wanted tells whether somebody wants to be told of it.
func (r *Reader) wanted(what string) bool {
	a := r.audience.Load()
	return a != nil && len(a.wants[what]) > 0
}

// verdict returns what is to be told of a mail that is over.
func (s *Store) verdict(d *mail.Delivery) (occurred []occurrence) {
	at := d.Time.Add(d.Duration)
	if s.wanted(string(d.Status)) {
		occurred = append(occurred, occurrence{what: string(d.Status), at: at, id: d.ID})
	}
	elsewhere := func(a mail.Attempt) bool { return a.Provider != d.Provider }
	if s.wanted(mail.Failover) && d.Accepted() && slices.ContainsFunc(d.Attempts, elsewhere) {
		occurred = append(occurred, occurrence{what: mail.Failover, at: at, id: d.ID})
	}
	return occurred
}

// ProviderRests has endpoints told of a provider that is put behind all others until a
// time. It waits for nothing.
func (s *Store) ProviderRests(name string, until time.Time, cause string) {
	if !s.wanted(mail.ProviderResting) {
		return
	}
	now := time.Now()
	s.queue(&row{slice: sliceOf(now), committed: make(chan struct{}), occurred: []occurrence{{mail.ProviderResting, now, mail.NewID(), struct {
		Provider string    `json:"provider"`
		Until    time.Time `json:"until"`
		Cause    string    `json:"cause"`
	}{name, until.UTC(), clean(cause)}}}})
}

// tell writes the notifications of what occurred, in the transaction that makes it
// true.
func (r *Reader) tell(ctx context.Context, tx *sql.Tx, occurred []occurrence) error {
	audience := r.audience.Load()
	// Nobody may want it any more.
	occurred = slices.DeleteFunc(slices.Clone(occurred), func(o occurrence) bool { return len(audience.wants[o.what]) == 0 })
	if len(occurred) == 0 {
		return nil
	}
	mails, err := r.described(ctx, tx, occurred, audience)
	if err != nil {
		return err
	}
	list := make([][3]string, 0, len(occurred)) // never null, which would be a row
	for _, o := range occurred {
		data := o.data
		if data == nil {
			data = mails[o.id]
		}
		body, err := json.Marshal(struct {
			Type      string    `json:"type"`
			Timestamp time.Time `json:"timestamp"`
			Data      any       `json:"data"`
		}{typeOf(o.what), o.at.UTC(), data})
		if err != nil { // a time that JSON cannot say; the status stands all the same
			r.logger.Error("an event cannot be told", "id", o.id, "event", o.what, "error", err.Error())
			continue
		}
		for _, endpoint := range audience.wants[o.what] {
			list = append(list, [3]string{o.notification(endpoint), endpoint, string(body)})
		}
	}
	slices.SortFunc(list, func(a, b [3]string) int { return strings.Compare(a[0], b[0]) }) // who writes the same waits at the first one
	return writeList(ctx, tx, r.db.rows, writeNotifications, list, time.Now().UnixMicro())
}

// described returns what is told of mails, by their ids.
func (r *Reader) described(ctx context.Context, tx *sql.Tx, occurred []occurrence, audience *audience) (map[string]any, error) {
	ids := make([]string, len(occurred)) // one may be there twice
	for i, o := range occurred {
		ids[i] = o.id
	}
	found, err := queryDeliveries(ctx, tx, fmt.Sprintf(mailsByID, r.db.rows), []any{listOf(ids)})
	if err != nil {
		return nil, err
	}
	mails := make(map[string]any)
	for i := range found {
		if r.settings.Load().Addresses == Hashed { // the row may be older than the setting
			found[i].To = mail.Mask(found[i].To)
		}
		mails[found[i].ID] = audience.describe(&found[i])
	}
	return mails, nil
}

// typeOf is what an endpoint reads: "delivery.bounced", "provider.resting".
func typeOf(what string) string {
	if about, state, found := strings.Cut(what, "_"); found {
		return about + "." + state
	}
	return "delivery." + what
}

// notification is the id of what an endpoint is told. What is written twice, because
// nobody knew whether it was written, has the same.
func (o *occurrence) notification(endpoint string) string {
	sum := sha256.Sum256([]byte(endpoint + "\x00" + o.what + "\x00" + o.id))
	return "msg_" + base64.RawURLEncoding.EncodeToString(sum[:18])
}

// listOf makes a JSON array of arrays, as the queries take it.
func listOf(texts []string) string {
	list := make([][]string, len(texts))
	for i, text := range texts {
		list[i] = []string{text}
	}
	text, _ := json.Marshal(list) // texts always have one
	return string(text)
}

// anyDue tells whether a notification to an endpoint was due at a time. Mostly none is, and no writer
// is kept waiting by this.
func (s *Store) anyDue(ctx context.Context, endpoint string, at int64) (bool, error) {
	var one int
	err := s.db.read.QueryRowContext(ctx, isDue, endpoint, at).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Claim returns notifications to an endpoint that are due. Nobody else gets them before
// the claim ends.
func (s *Store) Claim(ctx context.Context, endpoint string, limit int, end time.Time) (claimed []mail.Notification, err error) {
	if !s.State().Opened {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	now := time.Now().UnixMicro()
	if due, err := s.anyDue(ctx, endpoint, now); err != nil || !due {
		return nil, err
	}
	rows, err := s.db.write.QueryContext(ctx, fmt.Sprintf(claim, s.db.skipLocked), endpoint, now, limit, end.UnixMicro())
	if err != nil {
		return nil, err
	}
	// SQLite hands out the rows before it commits, so that a full disk shows at the end: what
	// could not be claimed is not sent.
	defer func() {
		if err = errors.Join(err, rows.Close()); err != nil {
			claimed = nil
		}
	}()
	for rows.Next() {
		var n mail.Notification
		var since int64
		if err := rows.Scan(&n.ID, &n.Body, &since, &n.Attempts); err != nil {
			return nil, err
		}
		n.Since = time.UnixMicro(since)
		claimed = append(claimed, n)
	}
	return claimed, rows.Err()
}

// Settle ends claims: some notifications are done with, others are due again later.
func (s *Store) Settle(ctx context.Context, done []string, again []mail.Notification) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.committed.Store(true)
	if len(done) > 0 {
		if _, err := s.db.write.ExecContext(ctx, fmt.Sprintf(endNotifications, s.db.rows), listOf(done)); err != nil {
			return err
		}
	}
	if len(again) == 0 {
		return nil
	}
	list := make([][2]any, len(again))
	for i, n := range again {
		list[i] = [2]any{n.ID, n.Due.UnixMicro()}
	}
	return writeList(ctx, s.db.write, s.db.rows, putOff, list)
}

// Pending counts the notifications to an endpoint that wait.
func (s *Store) Pending(ctx context.Context, endpoint string) (n int, err error) {
	if !s.State().Opened {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = s.db.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM notifications WHERE endpoint = $1", endpoint).Scan(&n)
	return n, err
}

// Expire deletes notifications to an endpoint that were due before a time, so many at once that mails
// do not wait for it, and tells how many.
func (s *Store) Expire(ctx context.Context, endpoint string, before time.Time) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if due, err := s.anyDue(ctx, endpoint, before.UnixMicro()); err != nil || !due {
		return 0, err
	}
	result, err := s.db.write.ExecContext(ctx, expire, endpoint, before.UnixMicro(), purged)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// dropUnknown deletes the notifications of endpoints that are not in the configuration
// any more.
func (s *Store) dropUnknown(ctx context.Context, now time.Time) error {
	a := s.audience.Load()
	if a == nil {
		return nil
	}
	known := slices.Concat(slices.Collect(maps.Values(a.wants))...)
	result, err := s.db.write.ExecContext(ctx, fmt.Sprintf(dropNotifications, s.db.rows), listOf(known), now.Add(-unknownFor).UnixMicro())
	if err != nil {
		return err
	}
	if n, _ := result.RowsAffected(); n > 0 {
		s.logger.Warn("events are dropped, their endpoint is not in the configuration any more", "events", n)
	}
	return nil
}
