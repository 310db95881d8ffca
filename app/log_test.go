package app

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reader is one who reads the log, or not.
type reader struct {
	mu    sync.Mutex
	text  bytes.Buffer
	calls int
	err   error
	stuck chan struct{} // nil if it reads
}

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	stuck, err := r.stuck, r.err
	r.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	return r.text.Write(p)
}

func (r *reader) set(err error, stuck chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.stuck = err, stuck
}

// writeLines writes so many lines of 1 KB, without waiting a moment.
func writeLines(t *testing.T, w *logWriter, lines int) {
	t.Helper()
	begin := time.Now()
	for i := range lines {
		if _, err := fmt.Fprintf(w, "%1023d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took > 0 { // by the clock of synctest
		t.Errorf("the log was waited for: %v", took)
	}
}

func TestLinesAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reader)
		w := newLogWriter(r, nil)
		writeLines(t, w, 1)
		synctest.Wait()
		if r.calls != 1 {
			t.Fatalf("%d calls after the first line", r.calls)
		}
		writeLines(t, w, 500)
		time.Sleep(10 * logPause)
		synctest.Wait()
		if lines := strings.Count(r.text.String(), "\n"); lines != 501 || r.calls != 2 {
			t.Errorf("%d lines in %d calls", lines, r.calls)
		}
		writeLines(t, w, 3)
		w.Close()
		if lines := strings.Count(r.text.String(), "\n"); lines != 504 {
			t.Errorf("%d lines at the end", lines)
		}
		if w.lost() != 0 || w.problem() != "" {
			t.Errorf("%d lost, %s", w.lost(), w.problem())
		}
	})
}

// A reader that stands still costs lines and no time. When it is back it is told.
func TestAReaderThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reader)
		told := 0
		var w *logWriter
		w = newLogWriter(r, func(lines int) { told += lines; _, _ = w.Write([]byte("lost some\n")) })
		goOn := make(chan struct{})
		r.set(nil, goOn)
		writeLines(t, w, 1)
		synctest.Wait()
		writeLines(t, w, 3000)
		if lost := w.lost(); lost != 3000-1024 {
			t.Errorf("%d lines are lost", lost)
		}
		if problem := w.problem(); problem != "" {
			t.Errorf("too early: %s", problem)
		}
		time.Sleep(2 * logPatience)
		if problem := w.problem(); !strings.Contains(problem, "nobody has read it since") || !strings.Contains(problem, "1976 lines") {
			t.Errorf("the problem is %q", problem)
		}
		r.set(nil, nil)
		close(goOn)
		time.Sleep(10 * logPause)
		synctest.Wait()
		if lines := strings.Count(r.text.String(), "\n"); lines != 1+1024+1 || told != 1976 || !strings.HasSuffix(r.text.String(), "lost some\n") {
			t.Errorf("%d lines were read, of %d lost ones was told", lines, told)
		}
		if problem := w.problem(); problem != "" {
			t.Errorf("still: %s", problem)
		}
		w.Close()
	})
}

func TestAReaderThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reader)
		told := 0
		w := newLogWriter(r, func(lines int) { told += lines })
		r.set(errors.New("broken pipe"), nil)
		writeLines(t, w, 7)
		time.Sleep(2 * logPause) // the first line may go alone
		synctest.Wait()
		if problem := w.problem(); !strings.Contains(problem, "broken pipe") || !strings.Contains(problem, "7 lines") || told != 0 {
			t.Errorf("the problem is %q", problem)
		}
		r.set(nil, nil)
		time.Sleep(logPause)
		writeLines(t, w, 1)
		w.Close()
		if w.lost() != 7 || told != 7 || w.problem() != "" || strings.Count(r.text.String(), "\n") != 1 {
			t.Errorf("%d lost, %d told, %q", w.lost(), told, w.problem())
		}
	})
}

// The end does not wait for a reader that stands still.
func TestTheEndDoesNotWaitForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reader)
		goOn := make(chan struct{})
		r.set(nil, goOn)
		w := newLogWriter(r, nil)
		writeLines(t, w, 1)
		begin := time.Now()
		w.Close()
		if took := time.Since(begin); took != logPatience {
			t.Errorf("it took %v", took)
		}
		close(goOn)
	})
}

// disk is a file on a disk that has room for so many bytes.
type disk struct {
	text bytes.Buffer
	room int
}

func (d *disk) Write(p []byte) (int, error) {
	if n := min(len(p), d.room); n < len(p) {
		d.room -= n
		d.text.Write(p[:n])
		return n, errors.New("no space left on device")
	}
	d.room -= len(p)
	return d.text.Write(p)
}

// A line that the end of a disk cut costs no other.
func TestAFullDiskCostsNoLineAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: 8}
		w := newLogWriter(d, func(int) {})
		write := func(lines ...string) {
			for _, line := range lines {
				_, _ = w.Write([]byte(line))
				time.Sleep(time.Second)
				synctest.Wait()
			}
		}
		write("one\n", "two two\n", "lost\n")
		d.room = 100
		write("three\n", "four\n")
		w.Close()
		if got := d.text.String(); got != "one\ntwo \nthree\nfour\n" || w.lost() != 2 {
			t.Errorf("%q, %d lost", got, w.lost())
		}
	})
}
