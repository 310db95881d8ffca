package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"

	"logto-email-relay/mail"
)

var (
	// ErrNotFound tells that there is no such delivery.
	ErrNotFound = errors.New("there is no such delivery")
	// ErrCursor tells that a cursor is none that a search has returned.
	ErrCursor = errors.New("not a cursor of a search")
)

// Reader searches a record, also one that another process writes, and keeps its list
// of suppressed addresses.
type Reader struct {
	settings atomic.Pointer[Settings]
	db       *database
	logger   *slog.Logger
	// audience is nil as long as nobody is to be told of anything.
	audience atomic.Pointer[audience]
}

// OpenReader makes a reader of the record that the settings name. It connects to
// nothing yet.
func OpenReader(s Settings) (*Reader, error) {
	db, err := open(s.Database.Reveal())
	if err != nil {
		return nil, err
	}
	r := &Reader{db: db, logger: slog.New(slog.DiscardHandler)}
	r.settings.Store(&s)
	return r, nil
}

// Close lets go of the database.
func (r *Reader) Close() error { return r.db.close() }

// CheckPostgres tells why a PostgreSQL cannot be used: it does not answer, or has no tables and
// lets this role make none, as is usual since PostgreSQL 15.
func (r *Reader) CheckPostgres(ctx context.Context) error {
	var may sql.NullBool
	err := r.db.read.QueryRowContext(ctx, "SELECT to_regclass('goose_db_version') IS NOT NULL OR has_schema_privilege(current_schema(), 'CREATE')").Scan(&may)
	if err == nil && !may.Bool {
		return errors.New("there are no tables, and this role may not make them: GRANT CREATE ON SCHEMA to it, or make it the owner of the database")
	}
	return err
}

// Query is a search. What is empty is not asked for.
type Query struct {
	// To is a whole address, in any case.
	To                     string
	Status                 mail.Status
	Type, Provider, Tenant string
	// After is the cursor of the page before.
	After string
	// Limit is how many deliveries are wanted.
	Limit int
}

// Find returns deliveries, newest first, and the cursor of the next page, empty if
// there is none.
func (r *Reader) Find(ctx context.Context, q Query) (found []mail.Delivery, next string, err error) {
	text, args, err := q.sql(r.settings.Load())
	if err != nil {
		return nil, "", err
	}
	if found, err = r.query(ctx, text, args); err != nil {
		return nil, "", err
	}
	if len(found) > q.Limit {
		found = found[:q.Limit]
		next = cursorOf(&found[q.Limit-1])
	}
	return found, next, nil
}

// sql writes the query. The first condition is the one that tells most, and answers
// by its index; the others are written so that no database prefers theirs.
func (q *Query) sql(s *Settings) (text string, args []any, err error) {
	var conditions []string
	value := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	where := func(column, wanted string) {
		if wanted == "" {
			return
		}
		if len(conditions) > 0 {
			column += " || ''"
		}
		conditions = append(conditions, column+" = "+value(clean(wanted)))
	}
	if q.To != "" {
		var all []string
		for _, recipient := range s.recipients(travelling(q.To)) {
			all = append(all, value(recipient))
		}
		conditions = append(conditions, "recipient IN ("+strings.Join(all, ", ")+")")
	}
	rare := q.Status != mail.StatusAccepted && q.Status != mail.StatusDelivered
	if q.Status != "" && rare {
		where("status", string(q.Status))
		conditions = append(conditions, "status NOT IN ('accepted', 'delivered')")
	}
	if q.Tenant != "" {
		where("tenant", q.Tenant)
		conditions = append(conditions, "tenant <> ''")
	}
	where("type", q.Type)
	where("provider", q.Provider)
	if !rare {
		conditions = append(conditions, "status || '' = "+value(string(q.Status)))
	}
	if q.After != "" {
		at, id, ok := strings.Cut(q.After, ".")
		micros, err := strconv.ParseInt(at, 36, 64)
		if !ok || err != nil {
			return "", nil, ErrCursor
		}
		same := value(micros)
		conditions = append(conditions, fmt.Sprintf("time <= %s AND (time < %s OR id < %s)", same, same, value(clean(id))))
	}
	if len(conditions) == 0 {
		conditions = []string{"true"}
	}
	return fmt.Sprintf("SELECT %s FROM deliveries WHERE %s ORDER BY time DESC, id DESC LIMIT %d",
		columns, strings.Join(conditions, " AND "), q.Limit+1), args, nil
}

// cursorOf stands for all deliveries that come after one in a search.
func cursorOf(d *mail.Delivery) string {
	return strconv.FormatInt(d.Time.UnixMicro(), 36) + "." + d.ID
}

// referenceLength is how much of an id mail.Reference keeps.
const referenceLength = 8

// Get returns the delivery with an id, or with the reference that its id begins
// with.
func (r *Reader) Get(ctx context.Context, id string) (*mail.Delivery, error) {
	if len(id) < referenceLength {
		return nil, ErrNotFound
	}
	id = clean(id)
	found, err := r.query(ctx, "SELECT "+columns+" FROM deliveries WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 1", []any{id, id + "~"})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrNotFound
	}
	return &found[0], nil
}

func (r *Reader) query(ctx context.Context, text string, args []any) ([]mail.Delivery, error) {
	return queryDeliveries(ctx, r.db.read, text, args)
}

// asker is asked in a transaction or without one.
type asker interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func queryDeliveries(ctx context.Context, from asker, text string, args []any) (found []mail.Delivery, err error) {
	rows, err := from.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func(rows *sql.Rows) { err = errors.Join(err, rows.Close()) }(rows)
	for rows.Next() {
		d, err := decode(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, d)
	}
	return found, rows.Err()
}
