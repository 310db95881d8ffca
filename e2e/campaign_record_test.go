package e2e_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"logto-email-relay/deliveries/postgrestest"
)

// record is what the relays of a campaign write down, in a file of SQLite each, or all
// in one PostgreSQL.
type record struct {
	dir, postgres string
	states        map[*process]*recordState
	names         map[string]bool
	gaps          []gap
	// What was found in the end.
	statuses map[string]int
	told     int
}

// gap is a time in which a relay said that its verdicts are in memory, until it was killed.
type gap struct{ begin, end time.Time }

func newRecord(t *testing.T) record {
	t.Helper()
	r := record{dir: t.TempDir(), states: make(map[*process]*recordState), names: make(map[string]bool), statuses: make(map[string]int)}
	if *campaignPostgres {
		r.postgres = postgrestest.Start(t).Database(t)
	}
	return r
}

// database is where the relays of a name have their record.
func (r *record) database(name string) string {
	if r.postgres != "" {
		return r.postgres
	}
	return filepath.Join(r.dir, strings.ReplaceAll(name, ":", "-")+".db")
}

// watch follows what a relay says of its record.
func (r *record) watch(p *process, name string) *recordState {
	r.names[name] = true
	r.states[p] = new(recordState)
	return r.states[p]
}

// recordState is how a relay says that its record stands.
type recordState struct {
	mu     sync.Mutex
	behind time.Time // since when verdicts are in memory, zero if they are not
}

func (s *recordState) read(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case strings.Contains(line, `"deliveries are kept in memory`) && s.behind.IsZero():
		s.behind = time.Now()
	case strings.Contains(line, `"deliveries are written again`):
		s.behind = time.Time{}
	}
}

func (s *recordState) since() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind
}

// kill kills a relay, if it can be at a moment in which its record is not behind.
func (r *record) kill(t *testing.T, p *process) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Second); !r.states[p].since().IsZero() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	if since := r.states[p].since(); !since.IsZero() {
		r.gaps = append(r.gaps, gap{since, time.Now()})
	}
}

// hasTold tells whether an answer came in a gap.
func (r *record) hasTold(c call) bool {
	for _, g := range r.gaps {
		// The answer may be read before the line.
		if c.at.After(g.begin.Add(-100*time.Millisecond)) && c.at.Before(g.end.Add(time.Second)) {
			return true
		}
	}
	return false
}

// rows returns the status of every mail by its id.
func (r *record) rows(ctx context.Context) (map[string]string, error) {
	found := make(map[string]string)
	databases := make(map[string]bool)
	for name := range r.names {
		databases[r.database(name)] = true
	}
	for database := range databases {
		driver := "sqlite"
		if r.postgres != "" {
			driver = "pgx"
		}
		if err := readRows(ctx, driver, database, found); err != nil {
			return nil, fmt.Errorf("%s: %w", database, err)
		}
	}
	return found, nil
}

func readRows(ctx context.Context, driver, database string, into map[string]string) error {
	db, err := sql.Open(driver, database)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(ctx, "SELECT id, status FROM deliveries")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, status string
		if err := rows.Scan(&id, &status); err != nil {
			return err
		}
		into[id] = status
	}
	return rows.Err()
}

// judgeRecord runs at the end, when all relays have ended.
func (c *campaign) judgeRecord() {
	c.t.Helper()
	found, err := c.record.rows(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	kept := make(map[string]bool)
	for number := 1; number <= int(c.sent.Load()); number++ {
		for _, mail := range c.ledger.copies(number) {
			kept[mail.ref] = kept[mail.ref] || mail.intact
		}
	}
	for _, one := range c.calls {
		switch {
		case one.status != 200 || found[one.id] == "accepted":
		case c.record.hasTold(one):
			c.record.told++
		default:
			c.violations = append(c.violations, violation{everyAcceptanceHasRow, one.number,
				fmt.Sprintf("%s is %q in the record (%s)", one.id, found[one.id], one.phase)})
		}
	}
	for id, status := range found {
		c.record.statuses[status]++
		if status == "accepted" && !kept[id] {
			c.violations = append(c.violations, violation{everyRowHasItsMail, nameless, id})
		}
	}
}
