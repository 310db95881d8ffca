package deliveries

import (
	"errors"
	"fmt"
	"time"
)

// State is how the record stands.
type State struct {
	// Waiting is how many rows are in memory, and Lost how many verdicts there was no
	// room for.
	Waiting, Lost int
	// Unchecked is how many mails went out without a look at the suppressions.
	Unchecked int
	// Behind is why mails do not wait for the record, nil if they do, and Since when
	// that began.
	Behind error
	Since  time.Time
	// Unkept is why old rows could not be looked after the last time, nil if they could.
	Unkept error
	// Opened tells that the database has been ready once.
	Opened bool
}

// IsWell tells whether all is written, and nothing is there for longer than it should be.
func (s State) IsWell() bool { return s.Behind == nil && s.Unkept == nil }

// String tells people how it stands.
func (s State) String() string {
	text := "written"
	if !s.Opened {
		text = "the database is being opened"
	}
	if s.Behind != nil {
		text = fmt.Sprintf("kept in memory since %s, %d now: %v", s.Since.UTC().Format(time.RFC3339), s.Waiting, s.Behind)
	}
	if s.Unkept != nil {
		text += fmt.Sprintf("; old ones may stay: %v", s.Unkept)
	}
	if s.Lost > 0 {
		text += fmt.Sprintf("; %d are lost", s.Lost)
	}
	return text
}

var errSlow = errors.New("the database takes longer than 100 ms")

// State returns how the record stands.
func (s *Store) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state
	state.Waiting = len(s.begun) + len(s.finished) + s.writing
	state.Unchecked = int(s.unchecked.Load())
	return state
}

// fallBehind keeps mails from waiting until a commit is quick again. waiting is the
// row that took too long, nil if that is not the cause.
func (s *Store) fallBehind(cause error, waiting *row) {
	s.mu.Lock()
	if waiting != nil && isClosed(waiting.committed) { // in the last moment
		s.mu.Unlock()
		return
	}
	first := s.state.Behind == nil
	if first {
		s.state.Since = time.Now()
	}
	if first || waiting == nil { // the database's own words say more
		s.state.Behind = cause
	}
	s.wakeUp()
	s.mu.Unlock()
	if first {
		s.logger.Error("deliveries are kept in memory, mails do not wait for the database", "error", cause.Error())
	}
}

// catchUp takes how long the database has just taken. If that was quick, and no more
// than some verdicts are left in memory, mails wait again. After a commit these are as
// many as one more transaction takes: under load that is what keeps mails from coming
// faster than they can be written. What is no commit tells nothing of verdicts that
// wait for theirs, a full disk can be read; there must be none.
func (s *Store) catchUp(took time.Duration, left int) {
	state := s.State()
	if state.Behind == nil {
		return
	}
	if state.Opened {
		if err := s.db.inPlace(); err != nil { // however quick it is
			s.fallBehind(err, nil)
			return
		}
	}
	s.mu.Lock()
	state = s.state
	caughtUp := state.Behind != nil && took < longestWait && len(s.finished)+s.writing <= left
	if caughtUp {
		s.state.Behind = nil
	}
	s.mu.Unlock()
	if caughtUp {
		s.logger.Info("deliveries are written again", "seconds", int(time.Since(state.Since).Seconds()), "lost_since_start", state.Lost)
	}
}

// lookedAfter notes whether old rows could be looked after the last time. Mails wait for
// their commits all the same, which may be as quick as ever. A database that is down as a
// whole is told of already.
func (s *Store) lookedAfter(err error) {
	s.mu.Lock()
	before, isDown := s.state.Unkept, s.state.Behind != nil
	if !isDown {
		s.state.Unkept = err
	}
	s.mu.Unlock()
	switch {
	case isDown:
	case before == nil && err != nil:
		s.logger.Error("old deliveries cannot be looked after, and may stay", "error", err.Error())
	case before != nil && err == nil:
		s.logger.Info("old deliveries are looked after again")
	}
}
