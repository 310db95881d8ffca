package deliveries

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"modernc.org/sqlite" // also the driver "sqlite"
)

//go:embed migrations
var migrations embed.FS

// database is what differs between SQLite and PostgreSQL.
type database struct {
	// file is the SQLite file, empty for PostgreSQL and for a database in memory.
	file string
	// opened is that file as it was then; nil before.
	opened atomic.Pointer[os.FileInfo]
	// rows is the function that makes rows of a JSON array.
	rows string
	// key is the columns by which a delivery is known.
	key     string
	dialect goose.Dialect
	options []goose.ProviderOption
	// writers is how many transactions there are at a time. Rows may come in any
	// order, and so may those of one mail.
	writers int
	// events bounds how many events a transaction has: in SQLite mails wait for it.
	events int
	// write has a connection for each writer, which SQLite can have one of. read has a
	// few.
	write, read *sql.DB
	// gate asks for suppressions, so that no mail waits for a search.
	gate *sql.DB
	// lock keeps the rows of a query from others until the end of the transaction;
	// SQLite has one writer anyhow.
	lock string
	// skipLocked is the same for rows that whoever comes second does without.
	skipLocked string
}

// readers bounds the searches at a time, and gates the questions for suppressions.
const readers, gates = 4, 2

// open makes a database of its name. It connects to nothing.
func open(name string) (*database, error) {
	if isPostgres(name) {
		return openPostgres(name)
	}
	db := &database{writers: 1, events: 200, rows: "jsonb_each($1)", key: "id", dialect: goose.DialectSQLite3}
	var err error
	if name == InMemory {
		db.write, err = sql.Open("sqlite", "file:"+name+"?_pragma="+inMemory)
		db.read, db.gate = db.write, db.write
	} else {
		db.file = name
		db.write, err = db.connect("journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(1000)",
			"wal_autocheckpoint(16000)", // 64 MB, which checkpoint seldom lets it come to
			"secure_delete(ON)")         // what retention deletes is gone from the file too
		if err == nil {
			db.read, err = db.connect("query_only(1)", "busy_timeout(1000)")
		}
		if err == nil {
			db.gate, err = db.connect("query_only(1)", "busy_timeout(50)")
		}
	}
	if err != nil {
		return nil, err
	}
	db.limit()
	return db, nil
}

// limit bounds the connections. In memory all three are one, which is the writer's.
func (db *database) limit() {
	db.gate.SetMaxOpenConns(gates)
	db.gate.SetMaxIdleConns(gates)
	db.read.SetMaxOpenConns(readers)
	db.read.SetMaxIdleConns(1)
	db.write.SetMaxOpenConns(db.writers)
}

// connector opens no file that is in the place of the one that is open already: SQLite
// would take the log beside it for that file's.
type connector struct {
	driver.Connector
	inPlace func() error
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := c.inPlace(); err != nil {
		return nil, err
	}
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.inPlace(); err != nil { // it may have been replaced in this moment
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// inMemory keeps in memory what SQLite would write into temporary files. In an image of
// nothing but the program there is no folder for them.
const inMemory = "temp_store(2)"

// connect returns connections to the SQLite file.
func (db *database) connect(pragmas ...string) (*sql.DB, error) {
	base, err := sqlite.NewConnector(sqliteName(db.file, append(pragmas, inMemory)...))
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{base, db.inPlace}), nil
}

// sqliteName is a file in SQLite's own notation. The file has to be there.
func sqliteName(file string, pragmas ...string) string {
	// A relative path stays one: SQLite takes "file:name" so.
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(file)}).EscapedPath(),
		RawQuery: url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": pragmas}.Encode()}
	return u.String()
}

func openPostgres(name string) (*database, error) {
	c, err := parsePostgres(name)
	if err != nil {
		return nil, err
	}
	// The time is that of each address, and a host may have two. One that is dead leaves enough
	// for the next.
	hosts := len(addressesOf(c))
	if most := patience / time.Duration(max(2, hosts)); c.ConnectTimeout == 0 || hosts > 1 {
		c.ConnectTimeout = min(cmp.Or(c.ConnectTimeout, most), most)
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "logto-email-relay"
	}
	// What it closes, when it returns false, is not asked again.
	keep := c.OnPgError
	c.OnPgError = func(conn *pgconn.PgConn, said *pgconn.PgError) bool {
		switch said.Code {
		case readOnly: // after a failover connections may live on to what was the writer
			return false
		case preparedTwice, notPrepared:
			said.Message += "; the relay needs connections of its own: write the address of the server itself, or of a pooler in session mode"
			return false
		}
		return keep(conn, said)
	}
	// Of several replicas that start together one migrates. The others ask every second, for
	// five minutes: meanwhile what they record is in memory.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, err
	}
	if c.ValidateConnect == nil { // which target_session_attrs sets; a replica may be behind
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	// A search is planned for what it looks for. A plan for any value may read the whole
	// table to find that there is no such type.
	reading := c.Copy()
	reading.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	db := &database{writers: 2, events: 1000, rows: "jsonb_array_elements(CAST($1 AS jsonb)) AS rows(value)", key: "id, time", dialect: goose.DialectPostgres,
		options: []goose.ProviderOption{goose.WithSessionLocker(locker)}, lock: " FOR UPDATE", skipLocked: " FOR UPDATE SKIP LOCKED",
		write: stdlib.OpenDB(*c), read: stdlib.OpenDB(*reading), gate: stdlib.OpenDB(*c)}
	db.limit()
	db.read.SetConnMaxIdleTime(time.Minute)
	return db, nil
}

// addressesOf returns where the hosts of a URL are reached. Each is in its configuration several
// times where it may be asked with TLS and without.
func addressesOf(c *pgx.ConnConfig) (addresses []string) {
	hosts := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port}}, c.Fallbacks...)
	for _, host := range hosts {
		if _, address := pgconn.NetworkAddress(host.Host, host.Port); !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// prepare makes the database ready: it creates a file that nobody else may read, and
// carries out the migrations.
func (db *database) prepare(ctx context.Context) (insert *sql.Stmt, suppressed ask, err error) {
	if db.file != "" {
		file, err := os.OpenFile(db.file, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, nil, err
		}
		_ = file.Close()
	}
	folder := "migrations/sqlite"
	if db.dialect == goose.DialectPostgres {
		folder = "migrations/postgres"
	}
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return nil, nil, err
	}
	migrator, err := goose.NewProvider(db.dialect, db.write, files, db.options...)
	if err != nil {
		return nil, nil, err
	}
	if _, err := migrator.Up(ctx); err != nil {
		return nil, nil, err
	}
	if db.file != "" {
		opened, err := os.Stat(db.file)
		if err != nil {
			return nil, nil, err
		}
		db.opened.Store(&opened)
	}
	if insert, err = db.write.PrepareContext(ctx, fmt.Sprintf(write, db.rows, db.key)); err != nil {
		return nil, nil, err
	}
	if db.dialect == goose.DialectPostgres {
		statement, err := db.gate.PrepareContext(ctx, whichSuppressed)
		return insert, (&gate{statement: statement}).ask, err
	}
	statement, err := db.gate.PrepareContext(ctx, isSuppressed)
	return insert, askOne(statement), err
}

// inPlace fails when the SQLite file has been deleted or replaced. SQLite goes on to write
// to the one that it has open, and nobody sees that again.
func (db *database) inPlace() error {
	opened := db.opened.Load()
	if opened == nil {
		return nil
	}
	now, err := os.Stat(db.file)
	if err == nil && os.SameFile(*opened, now) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("the file %s was moved, deleted or replaced while the relay has it open, so that what is written now is lost: "+
		"put it back, or restart the relay, which begins with what is there then", db.file)
}

// checkpoint moves what is committed from SQLite's log into the file, while others
// write. A writer that has to do it itself keeps all mails waiting.
func (db *database) checkpoint(ctx context.Context) error {
	if db.file == "" {
		return nil
	}
	_, err := db.read.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
	return err
}

// Codes of PostgreSQL's errors.
const (
	deadlock      = "40P01" // two transactions wait for each other
	notSerial     = "40001" // default_transaction_isolation does not allow both of two transactions
	readOnly      = "25006" // the server takes no writes
	preparedTwice = "42P05" // behind a pooler: somebody else has prepared a statement of this name
	notPrepared   = "26000" // behind a pooler: ours was prepared on another connection
)

// retried carries out a transaction, up to three times more if PostgreSQL has ended it because
// of another one, or because the server that takes writes is another one by now.
func retried(carryOut func() error) error {
	err := carryOut()
	for range 3 {
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != deadlock && refused.Code != readOnly && refused.Code != notSerial {
			break
		}
		err = carryOut()
	}
	return err
}

// inTransaction carries out what has to become true together, or not at all.
func (db *database) inTransaction(ctx context.Context, carryOut func(*sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // without effect after the commit
	if err := carryOut(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// isShared tells whether several relays may have it.
func (db *database) isShared() bool { return db.dialect == goose.DialectPostgres }

// writer writes in a transaction or without one.
type writer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// writeList carries out a statement for all items of a list at once. The statement takes them
// as rows, by the function that makes rows of a JSON array, and args behind them.
func writeList(ctx context.Context, to writer, rows, statement string, list any, args ...any) error {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	_, err = to.ExecContext(ctx, fmt.Sprintf(statement, rows), append([]any{string(text)}, args...)...)
	return err
}

func (db *database) close() error {
	err := errors.Join(db.read.Close(), db.gate.Close())
	if db.inPlace() == nil {
		return errors.Join(err, db.write.Close())
	}
	// SQLite would leave its log there, which the next one to open the file that is in the place now
	// would take for that one's. What is in it belongs to the file that was taken away.
	_, _ = db.write.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	err = errors.Join(err, db.write.Close())
	if log, missing := os.Stat(db.file + "-wal"); missing == nil && log.Size() > 0 { // as where somebody reads it
		err = errors.Join(err, fmt.Errorf("%[1]s-wal belongs to the file that was taken away: delete it and %[1]s-shm before the relay starts with another file", db.file))
	}
	return err
}
