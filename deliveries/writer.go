package deliveries

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"logto-email-relay/mail"
)

const (
	// longestWait is how long Finish waits for the commit.
	longestWait = 100 * time.Millisecond
	// grace is how long a row "sending" is kept back. Most verdicts come in this time
	// and make it needless.
	grace = 20 * time.Millisecond
	// gathering is the least time from one transaction to the next. A mail alone does
	// not wait for it, many at a time share one.
	gathering = time.Millisecond
	// retryAfter is how long a database that refused a transaction is left alone.
	retryAfter = time.Second
	// clocksApart is how far the clocks of relays with one database may differ, before one
	// gives up mails that another one is sending.
	clocksApart = 3 * time.Minute
	// patience bounds a connection and a transaction.
	patience = 5 * time.Second
	// maxRows bounds a transaction, and maxWaiting the memory: some 10 MB.
	maxRows    = 500
	maxWaiting = 10_000
)

// Store records deliveries. It is safe for use by many goroutines at a time.
type Store struct {
	Reader
	// late is how old a mail is that cannot be under way any more.
	late time.Duration

	mu sync.Mutex
	// begun are the rows "sending" that wait, by their ids, and finished those with a
	// verdict, in order.
	begun    map[string]*row
	finished []*row
	writing  int // rows that are in transactions now
	state    State
	// touched are the slices that have to be counted anew, and how often.
	touched map[int64]int
	// looked is when mails were last looked for that no relay has counted, in microseconds
	// since 1970; 0 before.
	looked atomic.Int64
	// committed tells that something was, since the last checkpoint.
	committed atomic.Bool

	// applying holds a value while events are written: one call after the other, so
	// that mails have their turn in between.
	applying chan struct{}
	// suppressed asks for a suppression, nil until the database is ready. askAgain is
	// when it is asked again after it did not answer, and unchecked how many mails went
	// out meanwhile.
	suppressed atomic.Pointer[ask]
	askAgain   atomic.Int64
	unchecked  atomic.Int64

	wake    chan struct{} // holds a value when something waits
	closing chan struct{}
	done    chan struct{} // closed when the writer has ended
	// ctx ends when the writer has to give up.
	ctx    context.Context
	giveUp context.CancelFunc
}

// row waits to be written.
type row struct {
	id    string // that of its mail
	slice int64  // that its mail is counted in
	// json is a verdict; committed is closed when it is.
	json      []byte
	committed chan struct{}
	// occurred is what endpoints are to be told of.
	occurred []occurrence
	// sending is a mail that has none yet. Most of these are never written.
	sending *mail.Delivery
	since   time.Time
}

// Open begins a record. It does not wait for the database: until that is there,
// the deliveries are kept in memory. A mail is over at the latest a timeout after its
// beginning, whatever the configuration is by then.
func Open(s Settings, timeout time.Duration, logger *slog.Logger) (*Store, error) {
	db, err := open(s.Database.Reveal())
	if err != nil {
		return nil, err
	}
	store := &Store{Reader: Reader{db: db, logger: logger}, late: timeout + patience, begun: make(map[string]*row), touched: make(map[int64]int),
		wake: make(chan struct{}, 1), applying: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	if db.isShared() {
		store.late += clocksApart
	}
	store.Use(s)
	store.ctx, store.giveUp = context.WithCancel(context.Background())
	go store.run()
	return store, nil
}

// Use puts other settings in place; the database stays the same.
func (s *Store) Use(other Settings) { s.settings.Store(&other) }

// Begin records that a mail is about to be sent, and waits for nothing.
func (s *Store) Begin(d *mail.Delivery) {
	sending := *d
	sending.Status = mail.StatusSending
	s.mu.Lock()
	defer s.mu.Unlock()
	// Memory tells nobody of a relay that is killed; it is for the verdicts.
	if s.state.Behind != nil || len(s.begun) >= maxWaiting {
		return
	}
	s.begun[d.ID] = &row{id: d.ID, slice: sliceOf(d.Time), sending: &sending, since: time.Now()}
	if len(s.begun) == 1 {
		s.wakeUp()
	}
}

// Finish records what became of a mail. It returns when that is committed, or has
// been waited for long enough, or the context ends.
func (s *Store) Finish(ctx context.Context, d *mail.Delivery) {
	r := &row{id: d.ID, slice: sliceOf(d.Time), json: s.settings.Load().encode(d), committed: make(chan struct{}), occurred: s.verdict(d)}
	s.mu.Lock()
	delete(s.begun, d.ID)
	s.mu.Unlock()
	if wait := s.queue(r); !wait {
		return
	}
	timer := time.NewTimer(longestWait)
	defer timer.Stop()
	select {
	case <-r.committed:
	case <-timer.C:
		s.fallBehind(errSlow, r)
	case <-ctx.Done():
	}
}

// queue hands a row to the writer, and tells whether it makes sense to wait for it.
func (s *Store) queue(r *row) (wait bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.finished)+s.writing >= maxWaiting {
		s.state.Lost++
		return false
	}
	s.finished = append(s.finished, r)
	s.wakeUp()
	return s.state.Behind == nil
}

func (s *Store) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes what waits until the store is closed.
func (s *Store) run() {
	defer close(s.done)
	insert, ok := s.prepare()
	if !ok {
		return
	}
	var maintaining sync.WaitGroup
	ctx, stop := context.WithCancel(s.ctx)
	maintaining.Go(func() { s.maintain(ctx) })
	maintaining.Go(func() { s.checkpoint(ctx) })
	var working sync.WaitGroup
	for range s.db.writers {
		working.Go(func() { s.work(insert) })
	}
	working.Wait()
	stop()
	maintaining.Wait()
	if s.State().Behind == nil { // what is not counted now is found later, by whoever runs then
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		defer cancel()
		_ = s.count(ctx)
	}
}

// work writes what waits, one transaction after the other.
func (s *Store) work(insert *sql.Stmt) {
	for {
		begin, isClosing := time.Now(), isClosed(s.closing)
		rows, later := s.take(isClosing)
		if len(rows) == 0 {
			if isClosing {
				return
			}
			if s.await(later) {
				s.probe()
			}
			continue
		}
		err := s.commit(insert, rows)
		took := time.Since(begin)
		if err == nil {
			s.catchUp(took, maxRows)
			s.pause(gathering - took)
			continue
		}
		s.putBack(rows)
		s.fallBehind(err, nil)
		if isClosing {
			return
		}
		s.pause(retryAfter)
	}
}

// prepare waits until the database is ready. It fails when the store is closed.
func (s *Store) prepare() (insert *sql.Stmt, ok bool) {
	for !isClosed(s.closing) {
		begin := time.Now()
		insert, suppressed, err := s.db.prepare(s.ctx)
		if err == nil {
			s.suppressed.Store(&suppressed)
			s.mu.Lock()
			s.state.Opened = true
			s.mu.Unlock()
			s.catchUp(time.Since(begin), 0)
			return insert, true
		}
		s.fallBehind(err, nil)
		s.pause(retryAfter)
	}
	return nil, false
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause lets time pass, unless the store is closed.
func (s *Store) pause(length time.Duration) {
	select {
	case <-s.closing:
	case <-time.After(length):
	}
}

// await waits for rows, or for those "sending" that are to be written later.
// It tells whether mails do not wait for the database and nothing came that would
// show whether it is quick again.
func (s *Store) await(later bool) (idle bool) {
	var timer <-chan time.Time
	behind := s.State().Behind != nil
	switch {
	case later:
		timer = time.After(grace)
	case behind:
		timer = time.After(retryAfter)
	}
	select {
	case <-s.wake:
	case <-timer:
		return behind && !later
	case <-s.closing:
	}
	return false
}

// probe asks whether the database is quick again, by a transaction that changes
// nothing. In quiet times a single slow commit would keep the events of services out
// for a minute otherwise.
func (s *Store) probe() {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	begin := time.Now()
	if err := s.endSuppressions(ctx, time.Time{}); err != nil {
		s.fallBehind(err, nil)
		return
	}
	s.catchUp(time.Since(begin), 0)
}

// take returns the rows for one transaction, and tells whether others will be due
// in a while.
func (s *Store) take(all bool) (rows []*row, later bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.finished), maxRows)
	rows, s.finished = s.finished[:n:n], s.finished[n:]
	for id, r := range s.begun {
		if len(rows) >= maxRows {
			break
		}
		if all || time.Since(r.since) >= grace {
			rows = append(rows, r)
			delete(s.begun, id)
		}
	}
	s.writing += len(rows)
	return rows, len(s.begun) > 0
}

// putBack keeps the verdicts of a transaction that failed for the next one.
func (s *Store) putBack(rows []*row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var finished []*row
	for _, r := range rows {
		if r.committed != nil {
			finished = append(finished, r)
		}
	}
	s.finished, s.writing = append(finished, s.finished...), s.writing-len(rows)
}

// commit writes rows in one transaction.
func (s *Store) commit(insert *sql.Stmt, rows []*row) error {
	// Whoever writes mails has them in the order of their ids, so that of two who write the
	// same ones the second waits for the first.
	slices.SortFunc(rows, func(a, b *row) int { return strings.Compare(a.id, b.id) })
	var list bytes.Buffer
	var occurred []occurrence
	list.WriteByte('[')
	for _, r := range rows {
		occurred = append(occurred, r.occurred...)
		text := r.json
		if r.sending != nil {
			text = s.settings.Load().encode(r.sending)
		}
		if text == nil { // no mail's
			continue
		}
		if list.Len() > 1 {
			list.WriteByte(',')
		}
		list.Write(text)
	}
	list.WriteByte(']')
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if err := retried(func() error { return s.write(ctx, insert, list.String(), occurred) }); err != nil {
		return err
	}
	s.committed.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing -= len(rows)
	for _, r := range rows {
		s.touched[r.slice] = rounds
		if r.committed != nil {
			close(r.committed)
		}
	}
	return nil
}

// write writes a list of rows, which mostly is one statement, and what endpoints are to
// be told of them.
func (s *Store) write(ctx context.Context, insert *sql.Stmt, list string, occurred []occurrence) error {
	if len(occurred) == 0 {
		_, err := insert.ExecContext(ctx, list)
		return err
	}
	return s.db.inTransaction(ctx, func(tx *sql.Tx) error {
		if _, err := tx.StmtContext(ctx, insert).ExecContext(ctx, list); err != nil {
			return err
		}
		return s.tell(ctx, tx, occurred)
	})
}

// Close writes what waits, within the context, and lets go of the database. It fails when
// the database did not take all of it.
func (s *Store) Close(ctx context.Context) error {
	close(s.closing)
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	s.giveUp()
	<-s.done
	var lost error
	if state := s.State(); state.Waiting > 0 {
		lost = fmt.Errorf("%d deliveries are lost, the database did not take them: %w", state.Waiting, cmp.Or(state.Behind, errSlow))
	}
	return errors.Join(lost, s.db.close())
}
