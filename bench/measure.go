package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// measurement is what one run of a receiver showed.
type measurement struct {
	perSecond   float64 // mails accepted
	p50, p99    float64 // milliseconds from webhook to answer
	cpu         float64 // microseconds a mail, of the receiver alone
	peak        float64 // megabytes
	roundTrips  float64 // a mail
	connections float64 // a mail
	size        float64 // kilobytes a mail
}

// reading is what the counters show at one moment.
type reading struct {
	at       time.Time
	cpu      time.Duration
	accepted int64
	sink     counts
}

func read(r *running, s *sinkProcess, l *load) (reading, error) {
	sunk, err := s.counts()
	if err != nil {
		return reading{}, errors.Join(err, s.died())
	}
	cpu, err := r.cpu()
	return reading{time.Now(), cpu, l.accepted.Load(), sunk}, errors.Join(err, r.died())
}

// times are how long a run takes.
type times struct{ warmUp, length time.Duration }

// measure runs a receiver of its own against a sink of its own, with a number of
// webhooks under way all the time. It fails if a single mail is missing, wrong
// or doubled.
func measure(r receiver, s setup, t times, during func(*running) error) (measurement, error) {
	sink, err := startSink(s.options)
	if err != nil {
		return measurement{}, err
	}
	defer sink.kill()
	s.sink = sink
	receiver, err := r.run(s)
	if err != nil {
		return measurement{}, err
	}
	defer receiver.stop()

	l := newLoad(receiver.address)
	ctx, stop := context.WithTimeout(context.Background(), t.warmUp+t.length+patience)
	defer stop()
	var calling sync.WaitGroup
	calling.Go(func() { l.closed(ctx, s.concurrency) })
	time.Sleep(t.warmUp)
	l.record(true)
	before, err := read(receiver, sink, l)
	if err != nil {
		return measurement{}, err
	}
	if during != nil {
		err = during(receiver)
	} else {
		time.Sleep(t.length)
	}
	after, readErr := read(receiver, sink, l)
	answers := l.record(false)
	_, peak, memoryErr := receiver.memory()
	stop()
	calling.Wait()
	if err := errors.Join(err, readErr, memoryErr, l.failure(), honest(l, sink)); err != nil {
		return measurement{}, fmt.Errorf("%s: %w", r.name, err)
	}
	if n := l.refused.Load(); n > 0 {
		return measurement{}, fmt.Errorf("%s refused %d webhooks", r.name, n)
	}

	mails := float64(after.accepted - before.accepted)
	sunk := float64(after.sink.Mails - before.sink.Mails)
	if mails == 0 || sunk == 0 {
		return measurement{}, fmt.Errorf("%s sent nothing", r.name)
	}
	p50, p99 := latencies(answers)
	return measurement{
		perSecond:   mails / after.at.Sub(before.at).Seconds(),
		p50:         p50,
		p99:         p99,
		cpu:         float64((after.cpu - before.cpu).Microseconds()) / mails,
		peak:        float64(peak) / 1e6,
		roundTrips:  float64(after.sink.Turns-before.sink.Turns) / sunk,
		connections: float64(after.sink.Connections-before.sink.Connections) / sunk,
		size:        float64(after.sink.Bytes-before.sink.Bytes) / sunk / 1e3,
	}, nil
}

// honest holds the answers against the mails: each acceptance has its mail, with
// its own code, once.
func honest(l *load, sink *sinkProcess) error {
	sunk, err := sink.counts()
	switch {
	case err != nil:
		return err
	case sunk.Wrong > 0:
		return fmt.Errorf("%d mails are wrong or came twice", sunk.Wrong)
	case int64(sunk.Mails) < l.accepted.Load():
		return fmt.Errorf("%d webhooks were accepted, and %d mails arrived", l.accepted.Load(), sunk.Mails)
	}
	return nil
}

// latencies returns the median and the 99th percentile in milliseconds.
func latencies(answers []answer) (p50, p99 float64) {
	if len(answers) == 0 {
		return 0, 0
	}
	slices.SortFunc(answers, func(a, b answer) int { return int(a.took - b.took) })
	at := func(share float64) float64 {
		return answers[int(share*float64(len(answers)-1))].took.Seconds() * 1e3
	}
	return at(0.5), at(0.99)
}
