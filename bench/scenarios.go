package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// atATime is the usual number of webhooks under way.
const atATime = 50

// roundTrip is the length of the wire in the scenarios with one.
const roundTrip = 20 * time.Millisecond

func perSecond(m measurement) float64 { return m.perSecond }
func cpu(m measurement) float64       { return m.cpu }

// compare lets the receivers take turns, another one first in every round.
func (b *bench) compare(receivers []receiver, s setup) (*result, error) {
	all := &result{}
	for round := range b.rounds {
		first := round % len(receivers)
		order := slices.Concat(receivers[first:], receivers[:first])
		measured, err := measure(order, s, b.times)
		if err != nil {
			return nil, err
		}
		for i, m := range measured {
			name := order[i].name
			say("round %d of %d, %d at a time: %-8s %6.0f mails/s, %5.0f µs CPU a mail, p50 %6.1f ms, %.2f round trips",
				round+1, b.rounds, s.concurrency, name, m.perSecond, m.cpu, m.p50, m.roundTrips)
			all.add(name, m)
		}
	}
	return all, nil
}

func (b *bench) plain() error {
	s := setup{concurrency: atATime}
	all, err := b.compare(b.programs.receivers, s)
	if err != nil {
		return err
	}
	all.print(os.Stdout)
	b.panels = append(b.panels,
		panelOf("Mails a second, plain SMTP, 50 webhooks at a time", all, perSecond),
		panelOf("Processor time a mail in µs, plain SMTP", all, cpu))
	if b.profile != "" {
		if err := b.takeProfiles(s); err != nil {
			return err
		}
	}
	relay := all.spread(theRelay, func(m measurement) float64 { return m.roundTrips })
	b.target(relay.median <= 2.1, "%v round trips a mail, at most 2.1", relay)
	for _, peer := range []struct {
		name  string
		times float64
	}{{theExpress, 7}, {theLogto, 10}} {
		if len(all.runs[peer.name]) > 0 {
			ratio := all.ratio(peer.name, perSecond)
			b.target(ratio.median >= peer.times, "%v times the mails/s of %s, at least %v", ratio, peer.name, peer.times)
		}
	}
	if len(all.runs[theFloor]) > 0 {
		ratio := all.ratio(theFloor, cpu)
		b.target(ratio.median <= 1.8, "%v times the floor's CPU a mail, at most 1.8", ratio)
	}
	fmt.Println()
	return nil
}

// takeProfiles runs the relay once more and asks its profiler.
func (b *bench) takeProfiles(s setup) error {
	at, err := newStation(b.programs.receivers[0], s)
	if err != nil {
		return err
	}
	defer at.close()
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { at.work(b.times.warmUp + b.times.length) })
	time.Sleep(b.times.warmUp)
	profiler := "http://" + b.programs.profiler + "/debug/pprof/"
	seconds := strconv.Itoa(int(b.times.length.Seconds()))
	return errors.Join(
		fetch(profiler+"profile?seconds="+seconds, filepath.Join(b.profile, "cpu.pprof")),
		fetch(profiler+"allocs", filepath.Join(b.profile, "allocs.pprof")))
}

func fetch(url, file string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o600)
}

func (b *bench) distance() error {
	all, err := b.compare(b.programs.receivers, setup{concurrency: atATime, options: sinkOptions{TLS: true, RoundTrip: roundTrip}})
	if err != nil {
		return err
	}
	all.print(os.Stdout)
	b.panels = append(b.panels, panelOf("Half of the mails are accepted within ms: round trip of 20 ms, STARTTLS, AUTH", all,
		func(m measurement) float64 { return m.p50 }))
	p50 := all.spread(theRelay, func(m measurement) float64 { return m.p50 })
	bound := 2.2*roundTrip.Seconds()*1e3 + 5
	b.target(p50.median <= bound, "p50 of %v ms, at most 2.2 round trips and 5 ms, which is %.0f ms", p50, bound)
	fmt.Println()
	return nil
}

// growth shows how mails/s and CPU of receivers change along a row of setups.
func (b *bench) growth(receivers []receiver, what string, labels []string, setups []setup) error {
	rows := [][]string{append([]string{what}, labels...)}
	for _, r := range receivers {
		rows = append(rows, []string{r.name + ", mails/s"}, []string{r.name + ", CPU µs a mail"}, []string{r.name + ", p50 ms"})
	}
	for i, s := range setups {
		measured, err := measure(receivers, s, b.times)
		if err != nil {
			return err
		}
		for j, m := range measured {
			name := receivers[j].name
			say("%s %s: %-8s %6.0f mails/s, %5.0f µs CPU a mail, p50 %6.1f ms, %.1f KB a mail",
				what, labels[i], name, m.perSecond, m.cpu, m.p50, m.size)
			if s.template > 0 && m.size*1e3 < float64(s.template)*0.9 {
				return fmt.Errorf("%s sends %.1f KB with a template of %d bytes", name, m.size, s.template)
			}
			for k, v := range []float64{m.perSecond, m.cpu, m.p50} {
				rows[1+3*j+k] = append(rows[1+3*j+k], number(v))
			}
		}
	}
	table(os.Stdout, rows)
	return nil
}

func (b *bench) concurrency() error { return b.atATime(b.programs.receivers) }

// atATime shows how receivers do with few and with many webhooks at a time.
func (b *bench) atATime(receivers []receiver) error {
	var labels []string
	var setups []setup
	for _, n := range []int{1, 10, 50, 200} {
		labels = append(labels, strconv.Itoa(n))
		setups = append(setups, setup{concurrency: n})
	}
	return b.growth(receivers, "at a time", labels, setups)
}

func (b *bench) size() error {
	var labels []string
	var setups []setup
	for _, kilobytes := range []int{1, 8, 32, 100} {
		labels = append(labels, strconv.Itoa(kilobytes))
		setups = append(setups, setup{concurrency: atATime, template: kilobytes << 10})
	}
	return b.growth(b.programs.receivers, "KB of template", labels, setups)
}

// overload offers twice of what the provider can take: its bound on mails under
// way and the length of the wire to it set the capacity, as in production, not
// the processor, which the load would have to share.
func (b *bench) overload() error {
	rows := [][]string{{"receiver", "peak mails/s", "offered", "accepted/s", "of peak", "refused", "p50 / p99 ms of acceptance",
		"p50 / p99 ms of refusal", "MB after a third, at the end"}}
	for _, r := range b.programs.receivers {
		if r.name != theRelay {
			continue
		}
		o, err := b.overloadOnce(r)
		if err != nil {
			return err
		}
		rows = append(rows, o.row(r.name))
		table(os.Stdout, rows)
		b.target(o.accepted >= 0.9*o.peak, "%.0f accepted mails/s of a peak of %.0f, at least 90 %%", o.accepted, o.peak)
		b.target(o.refusedP99 <= 1000, "p99 of a refusal %.0f ms, at most 1,000", o.refusedP99)
		b.target(o.memoryAfter <= 1.2*o.memoryBefore, "%.1f MB after a third of the overload, %.1f MB at its end, flat", o.memoryBefore, o.memoryAfter)
	}
	fmt.Println()
	return nil
}

type overload struct {
	peak, offered, accepted   float64 // per second
	refused                   int
	acceptedP50, acceptedP99  float64
	refusedP50, refusedP99    float64
	memoryBefore, memoryAfter float64 // MB
}

func (o overload) row(name string) []string {
	return []string{name, number(o.peak), number(o.offered), number(o.accepted), fmt.Sprintf("%.0f %%", 100*o.accepted/o.peak),
		strconv.Itoa(o.refused), number(o.acceptedP50) + " / " + number(o.acceptedP99),
		number(o.refusedP50) + " / " + number(o.refusedP99), number(o.memoryBefore) + ", " + number(o.memoryAfter)}
}

func (b *bench) overloadOnce(r receiver) (overload, error) {
	var o overload
	at, err := newStation(r, setup{concurrency: atATime, options: sinkOptions{RoundTrip: roundTrip}})
	if err != nil {
		return o, err
	}
	defer at.close()
	receiver, l := at.receiver, at.load

	peak := during(b.times.warmUp, b.times.length, l, func(ctx context.Context) { l.closed(ctx, atATime, 2*roundTrip) })
	o.peak = float64(len(peak)) / b.times.length.Seconds()
	say("%s takes %.0f mails/s", r.name, o.peak)

	o.offered = 2 * o.peak
	length := 2 * b.times.length
	late := 0
	offer := func(ctx context.Context) { late += l.open(ctx, o.offered) }
	during(b.times.warmUp, b.times.length, l, offer)
	before, _, err := receiver.memory()
	if err != nil {
		return o, err
	}
	answers := during(b.times.warmUp, length, l, offer)
	refused := slices.DeleteFunc(slices.Clone(answers), func(a answer) bool { return a.status/100 == 2 })
	answers = slices.DeleteFunc(answers, func(a answer) bool { return a.status/100 != 2 })
	for _, a := range refused {
		if a.status != http.StatusServiceUnavailable {
			return o, fmt.Errorf("status %d under overload", a.status)
		}
	}
	o.accepted, o.refused = float64(len(answers))/length.Seconds(), len(refused)
	o.acceptedP50, o.acceptedP99 = latencies(answers)
	o.refusedP50, o.refusedP99 = latencies(refused)
	after, _, err := receiver.memory()
	if err != nil {
		return o, err
	}
	o.memoryBefore, o.memoryAfter = float64(before)/1e6, float64(after)/1e6
	if late > 0 {
		return o, fmt.Errorf("%d webhooks could not be sent, because %d waited for an answer", late, maxCallers)
	}
	if err := l.failure(); err != nil {
		return o, err
	}
	return o, honest(l, at.sink)
}

// during runs a load and returns the answers that came after the warm-up.
func during(warmUp, length time.Duration, l *load, run func(context.Context)) []answer {
	ctx, stop := context.WithTimeout(context.Background(), warmUp+length+patience)
	defer stop()
	var calling sync.WaitGroup
	calling.Go(func() { run(ctx) })
	time.Sleep(warmUp)
	l.record(true)
	time.Sleep(length)
	answers := l.record(false)
	stop()
	calling.Wait()
	return answers
}

// hung has every mail handed over to a provider that never says what became of
// it, which is when the relay holds the most.
func (b *bench) hung() error { return b.hungWith("", 64) }

func (b *bench) hungWith(record string, megabytes float64) error {
	const webhooks = 1000
	sink, err := startSink(sinkOptions{Hang: true})
	if err != nil {
		return err
	}
	defer sink.kill()
	relay, err := b.programs.receivers[0].run(setup{sink: sink, concurrency: webhooks, record: record})
	if err != nil {
		return err
	}
	defer relay.stop()
	l := newLoad(relay.address)
	l.record(true)
	var calling sync.WaitGroup
	for range webhooks {
		calling.Go(func() {
			c := &caller{address: l.address}
			defer c.close()
			l.once(c)
		})
	}
	waiting := int64(0)
	for start := time.Now(); waiting < webhooks && time.Since(start) < patience; time.Sleep(10 * time.Millisecond) {
		seen, err := sink.counts()
		if err != nil {
			return err
		}
		waiting = max(waiting, seen.Waiting)
	}
	now, peak, err := relay.memory()
	if err != nil {
		return err
	}
	say("%d mails wait", waiting)
	if b.profile != "" {
		if err := fetch("http://"+b.programs.profiler+"/debug/pprof/heap", filepath.Join(b.profile, "heap.pprof")); err != nil {
			return err
		}
	}
	calling.Wait()
	if err := l.failure(); err != nil {
		return err
	}
	answers := l.record(false)
	byStatus := make(map[int]int)
	for _, a := range answers {
		byStatus[a.status]++
	}
	_, p99 := latencies(answers)
	fmt.Printf("%d webhooks waited, %.1f MB then and %.1f MB at most; answers by status %v, p99 %.1f s.\n\n",
		waiting, float64(now)/1e6, float64(peak)/1e6, byStatus, p99/1e3)
	b.target(waiting == webhooks, "%d of %d mails were handed over and waited", waiting, webhooks)
	b.target(float64(peak)/1e6 <= megabytes, "%.1f MB at most, at most %.0f MB", float64(peak)/1e6, megabytes)
	fmt.Println()
	return nil
}

// stopIdle stops a receiver that had nothing to do, and returns what it took.
func stopIdle(receiver *running) (megabytes float64, err error) {
	defer receiver.stop()
	time.Sleep(500 * time.Millisecond) // what a start leaves behind is part of it
	now, _, err := receiver.memory()
	return float64(now) / 1e6, err
}

// start shows how soon a receiver answers and what it takes when nothing
// happens.
func (b *bench) start() error {
	const starts = 7
	sink, err := startSink(sinkOptions{})
	if err != nil {
		return err
	}
	defer sink.kill()
	rows := [][]string{{"receiver", "first answer after ms", "idle MB"}}
	for _, r := range b.programs.receivers {
		var ready, idle []float64
		for range starts {
			running, err := r.run(setup{sink: sink, concurrency: atATime})
			if err != nil {
				return err
			}
			ready = append(ready, running.ready.Seconds()*1e3)
			megabytes, err := stopIdle(running)
			if err != nil {
				return err
			}
			idle = append(idle, megabytes)
		}
		say("%s has started %d times", r.name, starts)
		rows = append(rows, []string{r.name, spreadOf(ready).String(), spreadOf(idle).String()})
		if r.name == theRelay {
			defer func() {
				b.target(spreadOf(ready).median <= 150, "ready after %v ms, at most 150", spreadOf(ready))
				b.target(spreadOf(idle).max <= 30, "%v MB idle, at most 30", spreadOf(idle))
			}()
		}
	}
	table(os.Stdout, rows)
	return nil
}
