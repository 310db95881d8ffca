package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// turn is how long a receiver works before it is the next one's turn. The speed
// of a machine changes within seconds; turns shorter than that slow all alike.
const turn = time.Second

// times are how long a receiver works in one round.
type times struct{ warmUp, length time.Duration }

// station is a receiver at work, with a sink and a load of its own.
type station struct {
	name     string
	receiver *running
	sink     *sinkProcess
	load     *load
	setup    setup
	busy     time.Duration // how long its turns took
}

func newStation(r receiver, s setup) (*station, error) {
	sink, err := startSink(s.options)
	if err != nil {
		return nil, err
	}
	s.sink = sink
	receiver, err := r.run(s)
	if err != nil {
		sink.kill()
		return nil, err
	}
	return &station{name: r.name, receiver: receiver, sink: sink, load: newLoad(receiver.address), setup: s}, nil
}

func (s *station) close() {
	s.receiver.stop()
	s.sink.kill()
}

// work keeps the receiver busy for a while, and waits for the last answers.
func (s *station) work(length time.Duration) {
	ctx, stop := context.WithTimeout(context.Background(), length)
	defer stop()
	start := time.Now()
	s.load.closed(ctx, s.setup.concurrency, 2*s.setup.options.RoundTrip)
	s.busy += time.Since(start)
}

// reading is what the counters of a station show at one moment.
type reading struct {
	cpu      time.Duration
	busy     time.Duration
	accepted int64
	sink     counts
}

func (s *station) read() (reading, error) {
	sunk, err := s.sink.counts()
	if err != nil {
		return reading{}, errors.Join(err, s.sink.died())
	}
	cpu, err := s.receiver.cpu()
	return reading{cpu, s.busy, s.load.accepted.Load(), sunk}, errors.Join(err, s.receiver.died())
}

// measure runs the receivers side by side, each against a sink of its own, and
// lets them take turns with a number of webhooks under way. It fails if a single
// mail is missing, wrong or doubled.
func measure(receivers []receiver, s setup, t times) ([]measurement, error) {
	var stations []*station
	for _, r := range receivers {
		at, err := newStation(r, s)
		if err != nil {
			return nil, err
		}
		defer at.close()
		stations = append(stations, at)
	}
	before := make([]reading, len(stations))
	for i, at := range stations {
		at.work(t.warmUp)
		at.load.record(true)
		var err error
		if before[i], err = at.read(); err != nil {
			return nil, err
		}
	}
	turns := max(1, t.length/turn)
	for range turns {
		for _, at := range stations {
			at.work(t.length / turns)
		}
	}
	measured := make([]measurement, len(stations))
	for i, at := range stations {
		var err error
		if measured[i], err = at.since(before[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", at.name, err)
		}
	}
	return measured, nil
}

// since returns what a station has shown after a reading.
func (s *station) since(before reading) (measurement, error) {
	after, err := s.read()
	_, peak, memoryErr := s.receiver.memory()
	if err := errors.Join(err, memoryErr, s.load.failure(), honest(s.load, s.sink)); err != nil {
		return measurement{}, err
	}
	if n := s.load.refused.Load(); n > 0 {
		return measurement{}, fmt.Errorf("%d webhooks refused", n)
	}
	mails := float64(after.accepted - before.accepted)
	sunk := float64(after.sink.Mails - before.sink.Mails)
	if mails == 0 || sunk == 0 {
		return measurement{}, errors.New("no mail sent")
	}
	p50, p99 := latencies(s.load.record(false))
	return measurement{
		perSecond:   mails / (after.busy - before.busy).Seconds(),
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
