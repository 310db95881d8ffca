package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
)

// The relay under other names, with more to do.
const (
	withLimits     = "limits"
	withSQLite     = "SQLite"
	withPostgreSQL = "PostgreSQL"
	allSQLite      = "all on, SQLite"
	allPostgreSQL  = "all on, PostgreSQL"
)

// with is the relay with more to do. PostgreSQL is left out where there is no
// database to use.
func (b *bench) with(names ...string) (receivers []receiver) {
	relay := b.programs.receivers[0]
	for _, name := range names {
		record := map[string]string{withSQLite: "deliveries.db", allSQLite: "deliveries.db", withPostgreSQL: b.postgres, allPostgreSQL: b.postgres}[name]
		if record == "" && name != withLimits {
			continue
		}
		receivers = append(receivers, receiver{name, func(at place, s setup) (*exec.Cmd, error) {
			s.record, s.limited = record, name != withSQLite && name != withPostgreSQL
			return relay.command(at, s)
		}})
	}
	return receivers
}

// record compares the relay with itself: without a record, with one in SQLite whose
// every answer waits for a commit that survives a power cut, and with one in
// PostgreSQL.
func (b *bench) record() error {
	receivers := append(b.programs.receivers[:1:1], b.with(withSQLite, withPostgreSQL)...)
	if b.profile != "" { // there is one address for the profiler
		return b.takeProfiles(setup{concurrency: atATime, record: "deliveries.db"})
	}
	all, err := b.compare(receivers, setup{concurrency: atATime})
	if err != nil {
		return err
	}
	all.print(os.Stdout)
	for _, database := range []struct {
		name  string
		share float64
	}{{withSQLite, 0.85}, {withPostgreSQL, 0.80}} {
		if len(all.runs[database.name]) > 0 {
			share := all.ratio(database.name, func(m measurement) float64 { return 1 / m.perSecond })
			b.target(share.median >= database.share, "%v of the mails/s with %s, at least %.2f", share, database.name, database.share)
		}
	}
	var idle []float64
	for range b.rounds {
		running, err := receivers[1].run(setup{concurrency: atATime, sink: &sinkProcess{}})
		if err != nil {
			return err
		}
		megabytes, err := stopIdle(running)
		if err != nil {
			return err
		}
		idle = append(idle, megabytes)
	}
	b.target(spreadOf(idle).max <= 40, "%v MB idle with SQLite, at most 40", spreadOf(idle))
	return b.hungWith("deliveries.db", 80)
}

// features shows what the relay costs with everything on that is off in the other
// scenarios: all limits and the record. The look at the recipient's domain asks DNS,
// once for all of its mails; BenchmarkRefusal in recipients measures the others.
func (b *bench) features() error {
	relays := append(b.programs.receivers[:1:1], b.with(withLimits, allSQLite, allPostgreSQL)...)
	receivers := relays
	for _, r := range b.programs.receivers[1:] {
		if r.name == theExpress {
			receivers = append(slices.Clone(relays), r)
		}
	}
	near, err := b.compare(receivers, setup{concurrency: atATime})
	if err != nil {
		return err
	}
	near.print(os.Stdout)
	far, err := b.compare(relays, setup{concurrency: atATime, options: sinkOptions{TLS: true, RoundTrip: roundTrip}})
	if err != nil {
		return err
	}
	far.print(os.Stdout)
	for _, name := range []string{allSQLite, allPostgreSQL} {
		if len(near.runs[name]) == 0 {
			continue
		}
		more := near.ratio(name, func(m measurement) float64 { return 1 / m.cpu })
		b.target(more.median <= 1.35, "%v times the CPU a mail with %s, at most 1.35", more, name)
		p50 := func(m measurement) float64 { return m.p50 }
		longer := far.spread(name, p50).median - far.spread(theRelay, p50).median
		b.target(longer <= 1.5, "p50 at a round trip of 20 ms %.2f ms longer with %s, at most 1.5", longer, name)
		if len(near.runs[theExpress]) > 0 {
			times := near.spread(theExpress, cpu).median / near.spread(name, cpu).median
			b.target(times >= 5, "express takes %.1f times the CPU a mail of the relay with %s, at least 5", times, name)
		}
	}
	fmt.Println()
	if err := b.atATime(relays); err != nil {
		return err
	}
	return b.processes()
}

// processes shows what several relays with one database do together, each with a
// load and a server of its own.
func (b *bench) processes() error {
	rows := [][]string{{"processes", "mails/s", "CPU µs a mail", "p50 ms"}}
	for _, r := range append(b.programs.receivers[:1:1], b.with(allPostgreSQL)...) {
		for _, n := range []int{1, 2, 4} {
			m, err := b.together(r, n)
			if err != nil {
				return err
			}
			say("%d × %s: %.0f mails/s, %.0f µs CPU a mail, p50 %.1f ms", n, r.name, m.perSecond, m.cpu, m.p50)
			rows = append(rows, []string{strconv.Itoa(n) + " × " + r.name, number(m.perSecond), number(m.cpu), number(m.p50)})
		}
	}
	table(os.Stdout, rows)
	return nil
}

// together measures n of a receiver that work at the same time and share the
// webhooks: the mails/s of all, and the CPU and the median time a mail.
func (b *bench) together(r receiver, n int) (sum measurement, err error) {
	stations, before := make([]*station, n), make([]reading, n)
	for i := range stations {
		if stations[i], err = newStation(r, setup{concurrency: atATime / n}); err != nil {
			return sum, err
		}
		defer stations[i].close()
	}
	all := func(do func(i int, at *station) error) error {
		errs := make([]error, n)
		var working sync.WaitGroup
		for i, at := range stations {
			working.Go(func() { errs[i] = do(i, at) })
		}
		working.Wait()
		return errors.Join(errs...)
	}
	err = all(func(i int, at *station) (err error) {
		at.work(b.times.warmUp)
		at.load.record(true)
		before[i], err = at.read()
		return err
	})
	if err != nil {
		return sum, err
	}
	_ = all(func(_ int, at *station) error {
		at.work(b.times.length)
		return nil
	})
	for i, at := range stations {
		m, err := at.since(before[i])
		if err != nil {
			return sum, err
		}
		sum.perSecond += m.perSecond
		sum.cpu += m.cpu / float64(n)
		sum.p50 += m.p50 / float64(n)
	}
	return sum, nil
}
