package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// spread is what several runs of the same showed.
type spread struct{ min, median, max float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + median) / 2
	}
	return spread{sorted[0], median, sorted[len(sorted)-1]}
}

func (s spread) String() string {
	if s.min == s.max {
		return number(s.median)
	}
	return fmt.Sprintf("%s (%s-%s)", number(s.median), number(s.min), number(s.max))
}

// number writes three digits that matter.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// table writes rows in Markdown.
func table(out io.Writer, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(out, "|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
	fmt.Fprintln(out)
}

// columns are what is measured of every receiver.
var columns = []struct {
	name string
	of   func(measurement) float64
}{
	{"mails/s", func(m measurement) float64 { return m.perSecond }},
	{"p50 ms", func(m measurement) float64 { return m.p50 }},
	{"p99 ms", func(m measurement) float64 { return m.p99 }},
	{"CPU µs a mail", func(m measurement) float64 { return m.cpu }},
	{"peak MB", func(m measurement) float64 { return m.peak }},
	{"round trips a mail", func(m measurement) float64 { return m.roundTrips }},
	{"connections a mail", func(m measurement) float64 { return m.connections }},
	{"KB a mail", func(m measurement) float64 { return m.size }},
}

// result holds the runs of every receiver, round by round.
type result struct {
	names []string // in order
	runs  map[string][]measurement
}

func (r *result) add(name string, m measurement) {
	if r.runs == nil {
		r.runs = make(map[string][]measurement)
	}
	if len(r.runs[name]) == 0 {
		r.names = append(r.names, name)
	}
	r.runs[name] = append(r.runs[name], m)
}

// spread returns what the runs of a receiver showed of one thing.
func (r *result) spread(name string, of func(measurement) float64) spread {
	var values []float64
	for _, m := range r.runs[name] {
		values = append(values, of(m))
	}
	return spreadOf(values)
}

// ratio compares the relay with a peer, each round by itself, since what else
// the machine does in a round slows both.
func (r *result) ratio(peer string, of func(measurement) float64) spread {
	var values []float64
	for i, m := range r.runs[theRelay] {
		if i < len(r.runs[peer]) {
			values = append(values, of(m)/of(r.runs[peer][i]))
		}
	}
	return spreadOf(values)
}

func (r *result) print(out io.Writer) {
	header := []string{"receiver"}
	for _, c := range columns {
		header = append(header, c.name)
	}
	rows := [][]string{header}
	for _, name := range r.names {
		row := []string{name}
		for _, c := range columns {
			row = append(row, r.spread(name, c.of).String())
		}
		rows = append(rows, row)
	}
	table(out, rows)

	rows = [][]string{{"relay compared with", "mails/s", "CPU a mail", "p50", "peak memory"}}
	for _, name := range r.names {
		if name == theRelay {
			continue
		}
		row := []string{name}
		for _, i := range []int{0, 3, 1, 4} {
			row = append(row, "× "+r.ratio(name, columns[i].of).String())
		}
		rows = append(rows, row)
	}
	if len(rows) > 1 {
		table(out, rows)
	}
}
