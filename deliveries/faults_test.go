package deliveries

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logto-email-relay/deliveries/postgrestest"
	"logto-email-relay/mail"
)

// trouble is what can happen to a database, and its end.
type trouble struct {
	name       string
	begin, end func(*testing.T, *recorded)
}

// A mail waits for 100 ms once; then none waits, and all are written when the
// database is back.
func TestATroubledDatabaseStopsNoMail(t *testing.T) {
	fresh := func(t *testing.T) Settings { return named(filepath.Join(t.TempDir(), "deliveries.db")) }
	var other *sql.DB
	locked := trouble{"locked",
		func(t *testing.T, r *recorded) {
			var err error
			if other, err = sql.Open("sqlite", sqliteName(r.db.file, "busy_timeout(1000)")); err != nil {
				t.Fatal(err)
			}
			other.SetMaxOpenConns(1)
			if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
				t.Fatal(err)
			}
		},
		func(t *testing.T, _ *recorded) { _ = other.Close() },
	}
	// This is how SQLite tells of a disk that is full.
	full := trouble{"full", pragma("max_page_count(1)"), pragma("max_page_count(1000000)")}
	readOnly := trouble{"read-only", pragma("query_only(1)"), pragma("query_only(0)")}
	for _, c := range []trouble{locked, full, readOnly} {
		t.Run(c.name, func(t *testing.T) {
			r := opened(t, fresh(t))
			r.ready(t)
			standsThrough(t, r, func() { c.begin(t, r) }, func() { c.end(t, r) })
		})
	}
	t.Run("no folder at the start", func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "later")
		r := &recorded{log: new(log)}
		standsThrough(t, r, func() { *r = *opened(t, named(filepath.Join(folder, "deliveries.db"))) }, func() {
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("stopped and started", func(t *testing.T) {
		server := postgrestest.Start(t)
		r := opened(t, named(server.Database(t)))
		r.ready(t)
		standsThrough(t, r, func() { server.Stop(t) }, func() { server.Start(t) })
	})
}

// pragma fills the database by a bound on its pages, which SQLite keeps for each
// connection, or makes the connection read-only.
func pragma(text string) func(*testing.T, *recorded) {
	return func(t *testing.T, r *recorded) {
		if _, err := r.db.write.Exec("PRAGMA " + text); err != nil {
			t.Fatal(err)
		}
	}
}

// standsThrough records mails while the database is in trouble, and after it.
func standsThrough(t *testing.T, r *recorded, begin, end func()) {
	t.Helper()
	before := len(r.log.String())
	begin()
	var all []mail.Delivery
	took := func() time.Duration {
		d := accepted("ada@example.com", time.Now())
		d.ProviderID = strings.Repeat("x", 400) // more than what free pages take
		d.Attempts = make([]mail.Attempt, 40)
		all = append(all, d)
		begin := time.Now()
		r.Begin(&d)
		r.Finish(t.Context(), &d)
		return time.Since(begin)
	}
	for r.State().Behind == nil {
		if once := took(); once > 8*longestWait { // on a busy machine; the database is gone for longer
			t.Fatalf("a mail waited for %v", once)
		}
	}
	unhindered := time.Now()
	for range 100 {
		took()
	}
	if all := time.Since(unhindered); all > 100*longestWait/4 {
		t.Errorf("a hundred mails that need not wait took %v", all)
	}
	r.catchUp(0, 0) // as after maintenance, which a full disk does not keep from its end
	if state := r.State(); state.Waiting < 100 || state.Since.IsZero() || state.Behind == nil || strings.Contains(state.String(), "lost") {
		t.Errorf("state %+v", state)
	}
	eventually(t, "the database's own words are told", func() bool { return !errors.Is(r.State().Behind, errSlow) })
	end()
	eventually(t, "all is written", func() bool {
		state := r.State()
		return state.Waiting == 0 && state.Behind == nil
	})
	for _, d := range all {
		if got := r.status(t, d.ID); got != mail.StatusAccepted {
			t.Fatalf("a mail of the trouble has status %q", got)
		}
	}
	said := r.log.String()[before:]
	if strings.Count(said, "\n") != 2 || !strings.Contains(said, "kept in memory") || !strings.Contains(said, "written again") {
		t.Errorf("the log says\n%s", said)
	}
}

// One slow commit in quiet times does not last until the next mail or the minute.
func TestARecordCatchesUpWithoutAMail(t *testing.T) {
	r := opened(t, named(filepath.Join(t.TempDir(), "deliveries.db")))
	r.ready(t)
	rename := func(from, to string) {
		t.Helper()
		if _, err := r.db.write.Exec("ALTER TABLE " + from + " RENAME TO " + to); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the first time it may be maintenance that finds out
		rename("suppressions", "away")
		r.fallBehind(errSlow, nil)
		eventually(t, "there is more trouble", func() bool { return strings.Contains(fmt.Sprint(r.State().Behind), "no such table") })
		rename("away", "suppressions")
		eventually(t, "the record has caught up", func() bool { return r.State().Behind == nil })
	}
}

// In quiet times it is the minute's work that notices.
func TestAQuietRecordNoticesTrouble(t *testing.T) {
	r := opened(t, named(filepath.Join(t.TempDir(), "deliveries.db")))
	r.ready(t)
	if _, err := r.db.write.Exec("ALTER TABLE totals RENAME TO away"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go r.maintain(ctx)
	eventually(t, "the trouble is known", func() bool { return strings.Contains(r.log.String(), "no such table") })
}

// What cannot be looked after is told for as long as that lasts, however quickly mails are
// written, and keeps nothing else from being done.
func TestWhatCannotBeLookedAfterIsTold(t *testing.T) {
	r := opened(t, named(filepath.Join(t.TempDir(), "deliveries.db")))
	r.ready(t)
	change := func(command string) {
		t.Helper()
		if _, err := r.db.write.Exec(command); err != nil {
			t.Fatal(err)
		}
	}
	round := func() error {
		err := r.lookAfter(t.Context(), noon)
		r.lookedAfter(err)
		return err
	}
	old := noon.Add(-time.Duration(r.settings.Load().Retention) - time.Hour)
	gone := accepted("gone@example.com", old)
	r.keep(t, gone)
	change("CREATE TRIGGER broken BEFORE UPDATE ON deliveries BEGIN SELECT RAISE(ABORT, 'malformed'); END")
	late := accepted("late@example.com", noon.Add(-time.Hour))
	late.Status = mail.StatusSending
	r.keep(t, late)
	for range 2 {
		err := round()
		r.keep(t, accepted("ada@example.com", noon))
		if state := r.State(); err == nil || state.Behind != nil || state.String() != "written; old ones may stay: "+err.Error() {
			t.Errorf("%v: %s", err, state)
		}
	}
	if status := r.status(t, gone.ID); status != "" {
		t.Errorf("an old one is still %s", status)
	}
	r.fallBehind(errSlow, nil) // which is told by itself
	if r.lookedAfter(errors.New("down")); strings.Contains(r.State().String(), "down") {
		t.Errorf("it says %s", r.State())
	}
	eventually(t, "the record has caught up", func() bool { return r.State().Behind == nil })
	change("DROP TRIGGER broken")
	if err := round(); err != nil || r.State().String() != "written" {
		t.Errorf("%v: %s", err, r.State())
	}
	said := r.log.String()
	if strings.Count(said, "old deliveries cannot be looked after") != 1 || strings.Count(said, "looked after again") != 1 {
		t.Errorf("the log says\n%s", said)
	}
}

// What is in the place of a file that was taken away is opened without the other one's log.
func TestAFileThatWasReplacedIsOpenedByTheNext(t *testing.T) {
	for _, takes := range []func(file string) error{
		func(file string) error { return os.Rename(file+".copy", file) },
		func(file string) error {
			return errors.Join(os.Rename(file, file+".away"), os.Rename(file+".copy", file))
		},
	} {
		name := filepath.Join(t.TempDir(), "deliveries.db")
		r := opened(t, named(name))
		r.ready(t)
		record := func(mails int) {
			for range mails {
				r.keep(t, accepted("ada@example.com", time.Now()))
			}
		}
		record(3)
		if _, err := r.db.write.Exec("VACUUM INTO '" + name + ".copy'"); err != nil {
			t.Fatal(err)
		}
		record(200)
		if err := takes(name); err != nil {
			t.Fatal(err)
		}
		record(20)
		_ = r.Close(t.Context())
		next := opened(t, named(name))
		eventually(t, "it is open", func() bool { return next.State().Opened })
		var verdict string
		if err := next.db.read.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
			t.Errorf("%s, %v", verdict, err)
		}
		if found := next.find(t, Query{}); len(found) != 3 {
			t.Errorf("%d are there", len(found))
		}
	}
}

// Its log cannot be emptied while somebody reads it, which is told.
func TestAFileThatWasReplacedAndIsRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "deliveries.db")
	r := opened(t, named(name))
	r.ready(t)
	other, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	var n int
	if err := tx.QueryRow("SELECT COUNT(*) FROM deliveries").Scan(&n); err != nil {
		t.Fatal(err)
	}
	r.keep(t, accepted("ada@example.com", time.Now()))
	if err := errors.Join(os.Rename(name, name+".away"), os.WriteFile(name, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err == nil || !strings.Contains(err.Error(), name+"-wal belongs to the file that was taken away") {
		t.Error(err)
	}
}

// SQLite writes to a file that nobody sees any more as quickly as ever.
func TestAFileThatIsNotInItsPlaceIsNoticed(t *testing.T) {
	for name, take := range map[string]func(file string) error{
		"moved": func(file string) error { return os.Rename(file, file+".away") },
		"replaced": func(file string) error {
			return errors.Join(os.Rename(file, file+".away"), os.WriteFile(file, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := opened(t, named(filepath.Join(t.TempDir(), "deliveries.db")))
			r.ready(t)
			if err := take(r.db.file); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			go r.maintain(ctx)
			isTold := func() bool { return strings.Contains(r.State().String(), "put it back, or restart the relay") }
			eventually(t, "it is told", isTold)
			for range 3 { // quick ones
				r.keep(t, accepted("ada@example.com", noon))
				r.catchUp(0, 0)
				if !isTold() {
					t.Errorf("it says %s", r.State())
				}
			}
			// Nobody gets a connection to what is there now, and keeps it when the file is back.
			var kept []*sql.Conn
			for range readers {
				if c, err := r.db.read.Conn(ctx); err == nil {
					kept = append(kept, c)
				}
			}
			for _, c := range slices.Backward(kept) {
				_ = c.Close()
			}
			if err := os.Rename(r.db.file+".away", r.db.file); err != nil {
				t.Fatal(err)
			}
			eventually(t, "all is well", func() bool { return r.State().Behind == nil })
			if found := r.find(t, Query{}); len(found) != 3 {
				t.Errorf("%d are there", len(found))
			}
			if n := strings.Count(r.log.String(), "kept in memory"); n > 2 { // a busy machine may be slow before
				t.Errorf("it is told %d times:\n%s", n, r.log)
			}
		})
	}
}

// A server that takes the connection and says nothing is given up, and one that several
// use knows who asks.
func TestConnectionsToPostgreSQL(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	r := opened(t, named("postgres://relay@"+silent.Addr().String()+"/relay?connect_timeout=1"))
	begin := time.Now()
	eventually(t, "the trouble is known", func() bool { return r.State().Behind != nil })
	if took := time.Since(begin); took >= patience {
		t.Errorf("its own time of 1 s took %v", took)
	}
	url := postgrestest.Start(t).Database(t)
	for _, c := range []struct{ asked, name string }{{"", "logto-email-relay"}, {"?application_name=mine", "mine"}} {
		db, err := open(url + c.asked)
		if err != nil {
			t.Fatal(err)
		}
		var name string
		if err := db.read.QueryRow("SHOW application_name").Scan(&name); err != nil || name != c.name {
			t.Errorf("%q, %v", name, err)
		}
		if err := db.close(); err != nil {
			t.Error(err)
		}
	}
}

// After a failover a connection may live on to a server that only reads by now. No mail
// notices.
func TestAFailoverOfPostgreSQL(t *testing.T) {
	var servers []*database
	var hosts []string
	for range 2 {
		name := postgrestest.Start(t).Database(t)
		servers = append(servers, prepared(t, named(name)))
		u, err := url.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, u.Host)
	}
	takesWrites := func(server int, takes string) {
		t.Helper()
		for _, command := range []string{"ALTER SYSTEM SET default_transaction_read_only = " + takes, "SELECT pg_reload_conf()"} {
			if _, err := servers[server].read.Exec(command); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the server has read it", func() bool {
			var now string
			return servers[server].read.QueryRow("SHOW transaction_read_only").Scan(&now) == nil && now == takes
		})
	}
	takesWrites(0, "on")
	r := opened(t, named("postgres://relay@"+strings.Join(hosts, ",")+"/relay1"))
	r.ready(t)
	takesWrites(0, "off")
	takesWrites(1, "on")
	eventually(t, "mails are written at the other one", func() bool {
		r.keep(t, accepted("ada@example.com", noon))
		var n int
		return servers[0].read.QueryRow("SELECT COUNT(*) FROM deliveries").Scan(&n) == nil && n > 0
	})
	if said := r.log.String(); strings.Contains(said, readOnly) {
		t.Errorf("the log says\n%s", said)
	}
}

// The host in front may freeze: then it keeps its connections, takes more, and says nothing.
func TestTheFirstHostOfPostgreSQLHangs(t *testing.T) {
	u, err := url.Parse(postgrestest.Start(t).Database(t))
	if err != nil {
		t.Fatal(err)
	}
	second := u.Host
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	var frozen atomic.Bool
	copied := func(to, from net.Conn) {
		for buffer := make([]byte, 4096); ; {
			n, err := from.Read(buffer)
			if frozen.Load() {
				return
			}
			if err != nil {
				_ = to.Close()
				return
			}
			_, _ = to.Write(buffer[:n])
		}
	}
	go func() {
		for {
			client, err := first.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = client.Close() })
			if frozen.Load() {
				continue
			}
			server, err := net.Dial("tcp", second)
			if err != nil {
				_ = client.Close()
				continue
			}
			go copied(server, client)
			go copied(client, server)
		}
	}()
	u.Host, u.RawQuery = first.Addr().String()+","+second, "connect_timeout=10"
	r := opened(t, named(u.String()))
	r.ready(t)
	if _, err := r.Suppress(t.Context(), "ada@example.org", time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	isSuppressed := func() bool { return r.Suppressed(t.Context(), "ada@example.org") }
	eventually(t, "suppressions are looked at", isSuppressed)
	frozen.Store(true)
	if isSuppressed() {
		t.Fatal("it is not frozen")
	}
	eventually(t, "suppressions are looked at again", isSuppressed)
	r.ready(t)
	eventually(t, "searches find again", func() bool { // the first one may have a connection to who is frozen
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		list, err := r.Suppressions(ctx, "ada@example.org")
		return err == nil && len(list) == 1
	})
}

// A pooler that gives every transaction another connection keeps no prepared statements.
func TestAPoolerOfTransactionsIsToldOf(t *testing.T) {
	const advice = "pooler in session mode"
	r := opened(t, named(postgrestest.Start(t).Database(t)))
	r.ready(t)
	on := func(commands ...string) (err error) {
		t.Helper()
		connection, err := r.db.write.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = connection.Close() }()
		for _, command := range commands {
			_, err = connection.ExecContext(t.Context(), command)
		}
		return err
	}
	eventually(t, "the log has the advice", func() bool {
		if err := on("DEALLOCATE ALL"); err != nil {
			t.Fatal(err)
		}
		r.keep(t, accepted("ada@example.com", noon))
		return strings.Contains(r.log.String(), advice)
	})
	if err := on("PREPARE mine AS SELECT 1", "PREPARE mine AS SELECT 1"); err == nil || !strings.Contains(err.Error(), advice) {
		t.Error(err)
	}
}

func TestWhatMemoryHasNoRoomForIsCounted(t *testing.T) {
	r := opened(t, named(filepath.Join(t.TempDir(), "no", "such", "folder", "deliveries.db")))
	eventually(t, "the trouble is known", func() bool { return r.State().Behind != nil })
	var calling sync.WaitGroup
	for range 10 {
		calling.Go(func() {
			for range maxWaiting/10 + 1 {
				d := accepted("ada@example.com", noon)
				r.Begin(&d)
				r.Finish(t.Context(), &d)
			}
		})
	}
	calling.Wait()
	if state := r.State(); state.Waiting != maxWaiting || state.Lost != 10 || !strings.Contains(state.String(), "; 10 are lost") {
		t.Errorf("state %+v, which says: %s", state, state)
	}
	r.closeWith(t, maxWaiting)
}

// closeWith closes a record that loses mails by it, as its file cannot be made.
func (r *recorded) closeWith(t *testing.T, lost int) {
	t.Helper()
	err := r.Close(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprint(lost, " deliveries are lost, the database did not take them: ")) ||
		!errors.Is(err, fs.ErrNotExist) {
		t.Errorf("closed with %v", err)
	}
}

// Rows that are in a transaction are in memory, too: they take room, and mails do not
// wait again before they are written.
func TestWhatIsInATransactionCounts(t *testing.T) {
	r := opened(t, named(filepath.Join(t.TempDir(), "no", "such", "folder", "deliveries.db")))
	eventually(t, "the trouble is known", func() bool { return r.State().Behind != nil })
	finish := func() {
		d := accepted("ada@example.com", noon)
		r.Finish(t.Context(), &d)
	}
	finish()
	rows, _ := r.take(false)
	r.catchUp(0, 0)
	if state := r.State(); state.Waiting != 1 || state.Behind == nil {
		t.Errorf("state %+v", state)
	}
	for range maxWaiting {
		finish()
	}
	r.putBack(rows)
	if state := r.State(); state.Waiting != maxWaiting || state.Lost != 1 {
		t.Errorf("state %+v", state)
	}
	r.closeWith(t, maxWaiting)
}

// twoMails keeps two, and returns them in the order of their ids with what writes such. The
// first has an id of its service's, too.
func (r *recorded) twoMails(t *testing.T) (*sql.Stmt, []mail.Delivery) {
	t.Helper()
	r.ready(t)
	insert, _, err := r.db.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mails := []mail.Delivery{accepted("ada@example.com", noon), accepted("bob@example.com", noon)}
	slices.SortFunc(mails, func(a, b mail.Delivery) int { return strings.Compare(a.ID, b.ID) })
	mails[0].ProviderID = "theirs"
	r.keep(t, mails...)
	return insert, mails
}

// Verdicts and events of the same mails wait for each other one way round, whatever order
// they come in. PostgreSQL would end none of them here.
func TestWritersOfTheSameMailsDoNotLockEachOtherOut(t *testing.T) {
	server := postgrestest.Start(t)
	for _, held := range []int{0, 1} {
		r := opened(t, named(server.Database(t)+"?deadlock_timeout=1h"))
		insert, mails := r.twoMails(t)
		// The first mail is named by its service's id, the second one by ours.
		events := []mail.Report{reported(&mails[1], mail.StatusDelivered, "1", noon), reported(&mails[0], mail.StatusDelivered, "2", noon)}
		events[1].ID, events[1].ProviderID = "", "theirs"
		rows := make([]*row, len(mails))
		for i, d := range mails {
			rows[len(rows)-1-i] = &row{id: d.ID, json: r.settings.Load().encode(&d)}
		}
		release := hold(t, r.db, mails[held].ID)
		done := make(chan error, 2)
		go func() {
			_, _, err := r.Reader.Apply(t.Context(), events)
			done <- err
		}()
		eventually(t, "the events wait", func() bool { return waiting(t, r.db) == 1 })
		go func() { done <- r.commit(insert, rows) }()
		eventually(t, "the verdicts wait, too", func() bool { return waiting(t, r.db) == 2 })
		release()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("with mail %d held: %v", held, err)
			}
		}
	}
}

// What PostgreSQL has ended for another's sake is carried out again.
func TestADeadlockIsNoTrouble(t *testing.T) {
	r := opened(t, named(postgrestest.Start(t).Database(t)+"?deadlock_timeout=50ms"))
	insert, mails := r.twoMails(t)
	for name, write := range map[string]func() error{
		"verdicts": func() error {
			var rows []*row
			for _, d := range mails {
				rows = append(rows, &row{id: d.ID, json: r.settings.Load().encode(&d)})
			}
			return r.commit(insert, rows)
		},
		"events": func() error {
			_, _, err := r.Reader.Apply(t.Context(), []mail.Report{
				reported(&mails[0], mail.StatusDelivered, "1", noon), reported(&mails[1], mail.StatusDelivered, "1", noon)})
			return err
		},
	} {
		err := crossed(t, r, write, mails)
		for range 2 { // a machine that has much else to do
			if errors.Is(err, context.DeadlineExceeded) {
				err = crossed(t, r, write, mails)
			}
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// crossed has another client take the rows of mails the other way round than a write does.
func crossed(t *testing.T, r *recorded, write func() error, mails []mail.Delivery) error {
	t.Helper()
	other, err := r.db.read.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const lock = "SELECT 1 FROM deliveries WHERE id = $1 FOR UPDATE"
	for _, command := range []string{"SET LOCAL deadlock_timeout = '1h'", strings.Replace(lock, "$1", "'"+mails[1].ID+"'", 1)} {
		if _, err := other.Exec(command); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- write() }()
	eventually(t, "it waits", func() bool { return waiting(t, r.db) == 1 })
	if _, err := other.Exec(lock, mails[0].ID); err != nil {
		t.Errorf("the other one: %v", err)
	}
	if err := other.Rollback(); err != nil {
		t.Error(err)
	}
	return <-done
}

// Nor is an isolation that the operator has set for the whole database.
func TestAnIsolationIsNoTrouble(t *testing.T) {
	r := opened(t, named(postgrestest.Start(t).Database(t)+"?default_transaction_isolation=serializable"))
	insert, mails := r.twoMails(t)
	for name, write := range map[string]func() error{
		"a verdict": func() error {
			return r.commit(insert, []*row{{id: mails[0].ID, json: r.settings.Load().encode(&mails[0])}})
		},
		"an event": func() error {
			_, _, err := r.Reader.Apply(t.Context(), []mail.Report{reported(&mails[0], mail.StatusDelivered, "1", noon)})
			return err
		},
	} {
		other, err := r.db.read.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Exec("UPDATE deliveries SET duration = 1 WHERE id = '" + mails[0].ID + "'"); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- write() }()
		eventually(t, "it waits", func() bool { return waiting(t, r.db) == 1 })
		if err := other.Commit(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the retention deletes is not legible in the file either.
func TestPurgedMailsAreOverwritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deliveries.db")
	r := opened(t, named(file))
	r.ready(t)
	old := noon.Add(-time.Duration(r.settings.Load().Retention) - time.Hour)
	for i := range 60 {
		r.keep(t, accepted(fmt.Sprintf("purged.%d@example.com", i), old))
	}
	if err := r.purge(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	r.close(t)
	if content, err := os.ReadFile(file); err != nil || len(content) == 0 || bytes.Contains(content, []byte("purged.")) {
		t.Errorf("%d bytes, of which the address is legible: %v", len(content), err)
	}
}

// The minute's work leaves what others hold for the next minute.
// operations is what operators read.
func operations(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The backup that operators read of ends while mails come, and has all that were there.
func TestBackup(t *testing.T) {
	found := regexp.MustCompile("`sqlite3 (deliveries\\.db) \"(.* '(copy\\.db)')\"`").FindStringSubmatch(operations(t))
	if found == nil {
		t.Fatal("no backup in docs/operations.md")
	}
	dir := t.TempDir()
	r := opened(t, named(filepath.Join(dir, found[1])))
	r.ready(t)
	all := make([]mail.Delivery, 5000)
	for i := range all {
		all[i] = accepted("ada@example.com", noon)
	}
	r.keepAll(t, all)

	ctx, stop := context.WithCancel(t.Context())
	var mails sync.WaitGroup
	mails.Go(func() {
		for ctx.Err() == nil {
			d := accepted("bob@example.com", noon)
			r.Finish(ctx, &d)
			// No more than a slow disk has written by the end.
			for r.State().Waiting > 100 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
		}
	})
	db, err := sql.Open("sqlite", r.db.file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	within, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	copied := filepath.Join(dir, found[3])
	_, err = db.ExecContext(within, strings.Replace(found[2], found[3], copied, 1))
	stop()
	mails.Wait()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := OpenReader(named(copied))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	var n int
	if err := reader.db.read.QueryRow("SELECT COUNT(*) FROM deliveries WHERE recipient = 'ada@example.com'").Scan(&n); err != nil || n != len(all) {
		t.Errorf("%d of %d are in the copy, %v", n, len(all), err)
	}
}

// The statements that operators read of leave nothing of a person.
func TestOnePersonsRows(t *testing.T) {
	_, section, _ := strings.Cut(operations(t), "**One person's rows**")
	_, section, _ = strings.Cut(section, "```sql\n")
	statements, _, found := strings.Cut(section, "```")
	if !found {
		t.Fatal("no statements in docs/operations.md")
	}
	r := opened(t, named(filepath.Join(t.TempDir(), "deliveries.db")))
	r.ready(t)
	r.keep(t, accepted("Ada@Example.com", noon), accepted("bob@example.com", noon))
	for _, to := range []string{"Ada@Example.com", "bob@example.com"} {
		if _, err := r.Suppress(t.Context(), to, time.Hour, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.db.write.Exec(statements); err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]int{"ada@example.com": 0, "bob@example.com": 1} {
		suppressed, err := r.Suppressions(t.Context(), to)
		if mails := r.find(t, Query{To: to}); len(mails) != want || len(suppressed) != want || err != nil {
			t.Errorf("%s: %d mails, %d suppressions, %v", to, len(mails), len(suppressed), err)
		}
	}
}

func TestMaintenanceWaitsForNobody(t *testing.T) {
	r := opened(t, named(postgrestest.Start(t).Database(t)))
	r.ready(t)
	old := noon.Add(-time.Duration(r.settings.Load().Retention) - time.Hour)
	late := accepted("late@example.com", noon.Add(-time.Hour))
	late.Status = mail.StatusSending
	gone := accepted("gone@example.com", old)
	r.keep(t, late, gone)
	if err := writeSuppressions(t.Context(), r.db.write, r.db.rows, []suppression{{recipient: "a", since: old, until: old}}); err != nil {
		t.Fatal(err)
	}
	release := hold(t, r.db, late.ID, gone.ID)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, carryOut := range []func(context.Context, time.Time) error{r.giveUpLate, r.purge, r.endSuppressions} {
		if err := carryOut(ctx, noon); err != nil {
			t.Error(err)
		}
	}
	release()
	for _, carryOut := range []func(context.Context, time.Time) error{r.giveUpLate, r.purge, r.endSuppressions} {
		if err := carryOut(t.Context(), noon); err != nil {
			t.Error(err)
		}
	}
	var n int
	if err := r.db.read.QueryRow("SELECT COUNT(*) FROM suppressions").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d suppressions, %v", n, err)
	}
	if late, gone := r.status(t, late.ID), r.status(t, gone.ID); late != mail.StatusUncertain || gone != "" {
		t.Errorf("%q, %q", late, gone)
	}
}

// hold keeps mails, and all suppressions, from other writers.
func hold(t *testing.T, db *database, ids ...string) (release func()) {
	t.Helper()
	tx, err := db.read.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("SELECT 1 FROM deliveries WHERE id = ANY($1) FOR UPDATE", ids); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("SELECT 1 FROM suppressions FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// waiting is how many transactions wait for another one.
func waiting(t *testing.T, db *database) (n int) {
	t.Helper()
	const query = "SELECT COUNT(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"
	if err := db.read.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Where the program is alone in its image there is no folder for temporary files.
func TestNoTemporaryFiles(t *testing.T) {
	for _, name := range []string{InMemory, filepath.Join(t.TempDir(), "deliveries.db")} {
		r := opened(t, named(name))
		r.ready(t)
		for _, db := range []*sql.DB{r.db.write, r.db.read, r.db.gate} {
			var place int
			if err := db.QueryRow("PRAGMA temp_store").Scan(&place); err != nil || place != 2 {
				t.Errorf("%s: temp_store %d, %v", name, place, err)
			}
		}
	}
}

// A database that takes longer for a connection than a mail waits is asked again all the same
// after it has closed those that there were.
func TestSlowConnectionsOfTheGate(t *testing.T) {
	url := postgrestest.Start(t).Database(t)
	_, address, _ := strings.Cut(url, "@")
	address, _, _ = strings.Cut(address, "/")
	var mu sync.Mutex
	var open []net.Conn
	var delay atomic.Int64
	delay.Store(int64(3 * longestWait / 2))
	slow, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slow.Close() })
	go func() {
		for client, err := slow.Accept(); err == nil; client, err = slow.Accept() {
			server, err := net.Dial("tcp", address)
			if err != nil {
				_ = client.Close()
				continue
			}
			mu.Lock()
			open = append(open, client, server)
			mu.Unlock()
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() {
				time.Sleep(time.Duration(delay.Load())) // the first answer is late
				_, _ = io.Copy(client, server)
				_ = client.Close()
			}()
		}
	}()
	r := opened(t, named(strings.Replace(url, address, slow.Addr().String(), 1)))
	r.ready(t)
	if _, err := r.Suppress(t.Context(), "ada@example.org", time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	isSuppressed := func() bool { return r.Suppressed(t.Context(), "ada@example.org") }
	eventually(t, "it is looked at", isSuppressed)
	delay.Store(int64(patience / 10)) // twice, since one is in TLS
	mu.Lock()
	for _, conn := range open { // as by a restart
		_ = conn.Close()
	}
	mu.Unlock()
	eventually(t, "it is looked at again", func() bool {
		begin := time.Now()
		suppressed := isSuppressed()
		if took := time.Since(begin); took > patience/8 {
			t.Errorf("a mail waited for %v", took)
		}
		return suppressed
	})
}

// A role that may not make tables is told of, unless they are there.
func TestCheckPostgres(t *testing.T) {
	owner := postgrestest.Start(t).Database(t)
	db, err := sql.Open("pgx", owner)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, command := range []string{"CREATE ROLE poor LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"} {
		if _, err := db.Exec(command); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(owner)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User("poor")
	check := func(url string) error {
		r, err := OpenReader(named(url))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		return r.CheckPostgres(t.Context())
	}
	if err := check(owner); err != nil {
		t.Errorf("the owner: %v", err)
	}
	if err := check(u.String()); err == nil || !strings.Contains(err.Error(), "may not make them") {
		t.Errorf("a poor role: %v", err)
	}
	opened(t, named(owner)).ready(t)
	if err := check(u.String()); err != nil {
		t.Errorf("where the tables are: %v", err)
	}
	if err := check("postgres://relay@127.0.0.1:1/relay"); err == nil {
		t.Error("nobody listens there")
	}
}
