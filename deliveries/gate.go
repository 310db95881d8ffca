package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ask tells whether one of the two texts that an address may be stored as is suppressed.
type ask func(ctx context.Context, recipients [2]string) (bool, error)

const (
	isSuppressed    = "SELECT 1 FROM suppressions WHERE recipient IN ($1, $2) AND until > $3 LIMIT 1"
	whichSuppressed = "SELECT recipient FROM suppressions WHERE recipient = ANY($1) AND until > $2"
)

// askOne asks SQLite, which is in this process and answers in 8 µs from its memory or
// disk. busy_timeout bounds its waiting; a context that can end would cost a goroutine
// for each mail, a third of the whole question.
func askOne(statement *sql.Stmt) ask {
	return func(ctx context.Context, recipients [2]string) (bool, error) {
		var one int
		err := statement.QueryRowContext(context.WithoutCancel(ctx), recipients[0], recipients[1], time.Now().UnixMicro()).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		return err == nil, err
	}
}

// gate asks PostgreSQL. Each query is a round trip, which takes both sides some 50 µs of
// processor time, so the mails of a millisecond share one.
// A mail alone does not wait for others.
//
// A question may have to make a connection first, such as after a failover, which takes
// more round trips than a mail waits for. It goes on without the mail, so that the
// connection is there for the next.
type gate struct {
	statement *sql.Stmt

	mu      sync.Mutex
	waiting []*question
	// asking tells that somebody takes up what waits.
	asking bool
}

var errNoAnswer = fmt.Errorf("no answer in %v", longestWait)

// question waits for an answer, which comes once.
type question struct {
	recipients [2]string
	answer     chan answer
}

type answer struct {
	suppressed bool
	err        error
}

func (g *gate) ask(ctx context.Context, recipients [2]string) (bool, error) {
	q := &question{recipients, make(chan answer, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, q)
	first := !g.asking
	g.asking = true
	g.mu.Unlock()
	if first {
		go g.answer()
	}
	timer := time.NewTimer(longestWait)
	defer timer.Stop()
	select {
	case a := <-q.answer:
		return a.suppressed, a.err
	case <-timer.C:
		return false, errNoAnswer
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// answer answers questions until none waits. All that wait when a query fails fail with
// it, so that none waits for longer than one does.
func (g *gate) answer() {
	for asked := g.take(); len(asked) > 0; asked = g.take() {
		begin := time.Now()
		suppressed, err := g.query(asked)
		if err != nil {
			asked = append(asked, g.take()...)
		}
		busy := g.isBusy()
		for _, q := range asked {
			q.answer <- answer{suppressed[q.recipients[0]] || suppressed[q.recipients[1]], err}
		}
		if busy {
			time.Sleep(gathering - time.Since(begin))
		}
	}
}

// take returns the questions that wait.
func (g *gate) take() (waiting []*question) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting, g.waiting = g.waiting, nil
	g.asking = len(waiting) > 0
	return waiting
}

// isBusy tells whether questions came during the last query.
func (g *gate) isBusy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting) > 0
}

func (g *gate) query(asked []*question) (suppressed map[string]bool, err error) {
	var recipients []string
	for _, q := range asked {
		recipients = append(recipients, q.recipients[:]...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := g.statement.QueryContext(ctx, recipients, time.Now().UnixMicro())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	suppressed = make(map[string]bool)
	for rows.Next() {
		var recipient string
		if err := rows.Scan(&recipient); err != nil {
			return nil, err
		}
		suppressed[recipient] = true
	}
	return suppressed, rows.Err()
}
