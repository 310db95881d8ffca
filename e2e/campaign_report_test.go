package e2e_test

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"
)

// progress prints a line every second until the phase is over and its load done.
func (c *campaign) progress(over *atomic.Bool, phase string) {
	if !testing.Verbose() {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before := 0
	for range tick.C {
		c.mu.Lock()
		answered := len(c.calls)
		words := make([]string, 0, len(c.outcomes))
		for _, word := range slices.Sorted(maps.Keys(c.outcomes)) {
			if word != "200" {
				words = append(words, fmt.Sprintf("%s %d", word, c.outcomes[word]))
			}
		}
		line := fmt.Sprintf("%4.0fs  %s: sent %d  ok %d  failed: %s  violations %d  %d/s  remaining %d",
			time.Since(c.begin).Seconds(), phase, c.sent.Load(), c.outcomes["200"], strings.Join(words, ", "),
			len(c.violations), answered-before, max(0, *campaignWebhooks-answered))
		done := over.Load() && int64(answered) == c.sent.Load()
		before = answered
		c.mu.Unlock()
		_, _ = fmt.Fprintln(os.Stdout, line)
		if done {
			return
		}
	}
}

// report prints what the campaign has found.
func (c *campaign) report(w io.Writer) {
	if !testing.Verbose() {
		return
	}
	print := func(format string, values ...any) { _, _ = fmt.Fprintf(w, format+"\n", values...) }
	words := slices.SortedFunc(maps.Keys(c.outcomes), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.outcomes[b], c.outcomes[a]), cmp.Compare(a, b))
	})

	print("\nCampaign: %d webhooks in %v, seed %d", len(c.calls), time.Since(c.begin).Round(time.Second), *campaignSeed)
	print("\nFaults that befell a mail, and what became of its webhook (with failover: another provider may have taken it)\n")
	c.table(w, words, c.faultsOfMails())
	print("\nFailures before a mail was named, as the relay logged them, and what became of its webhook\n")
	c.table(w, words, c.earlyFailures())

	print("\nFaults of connections: %d of %d kinds of fault happened in all", len(c.faultNames())-len(c.missedFaults()), len(c.faultNames()))

	print("\nAnswers and the time they took\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "phase\tanswers\tp50\tp99\tmax\tlimit\t")
	phases := make(map[string][]time.Duration)
	var order []string
	limits := make(map[string]time.Duration)
	for _, one := range c.calls {
		if phases[one.phase] == nil {
			order = append(order, one.phase)
		}
		phases[one.phase] = append(phases[one.phase], one.took)
		limits[one.phase] = one.limit
	}
	for _, phase := range order {
		took := phases[phase]
		slices.Sort(took)
		at := func(percent int) time.Duration { return took[(len(took)-1)*percent/100].Round(100 * time.Microsecond) }
		_, _ = fmt.Fprintf(table, "%s\t%d\t%v\t%v\t%v\t%v\t\n", phase, len(took), at(50), at(99), at(100), limits[phase])
	}
	_ = table.Flush()

	excused := 0
	proxies := make(map[string]int)
	for _, one := range c.calls {
		if one.took > one.limit && one.took-one.taken <= one.limit {
			excused++
		}
		if one.status != 0 && one.id == "" {
			proxies[one.phase]++
		}
	}
	print("\nThe machine itself was late for %v in all; %d answers were late for this alone",
		c.canary.sum().Round(time.Millisecond), excused)
	print("Answers that the proxy made itself: %s", counted(proxies))
	for _, p := range c.proxies {
		reasons := make(map[string]int)
		for _, found := range proxysReason.FindAllStringSubmatch(p.log(), -1) {
			reasons[found[1]]++
		}
		print("What its log says: %s", counted(reasons))
	}

	twice, unanswered := 0, make(map[string]int)
	for _, one := range c.calls {
		copies := len(c.ledger.copies(one.number))
		if copies > 1 {
			twice++
		}
		if copies > 0 && one.status != 200 {
			unanswered[one.outcome()]++
		}
	}
	print("\nOutcomes: %s", counted(c.outcomes))
	print("Mails that arrived twice: %d, each after an uncertain attempt unless listed below", twice)
	print("Mails that arrived though the answer was a failure: %s", counted(unanswered))
	print("\nRows of the record by status: %s", counted(c.record.statuses))
	print("Answers of 200 without their row, given while the log said that rows are in memory, by a relay that was killed then: %d", c.record.told)
	print("\nViolations: %d", len(c.violations))
	rules := make(map[string]int)
	for _, v := range c.violations {
		rules[v.rule]++
	}
	for _, rule := range promises {
		print("  %5d  %s", rules[rule], rule)
	}
}

// proxysReason finds what happened in a line of nginx's error log.
var proxysReason = regexp.MustCompile(`\*\d+ ([^,\n]*)`)

func counted(counts map[string]int) string {
	var parts []string
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", word, counts[word]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// tally counts outcomes by what led to them.
type tally map[string]map[string]int

func (t tally) add(cause, outcome string) {
	if t[cause] == nil {
		t[cause] = make(map[string]int)
	}
	t[cause][outcome]++
}

func (c *campaign) table(w io.Writer, words []string, counts tally) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "fault\t"+strings.Join(words, "\t"))
	for _, cause := range slices.Sorted(maps.Keys(counts)) {
		row := []string{cause}
		for _, word := range words {
			if n := counts[cause][word]; n > 0 {
				row = append(row, fmt.Sprint(n))
			} else {
				row = append(row, "·")
			}
		}
		_, _ = fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush()
}

// protocol says which kind of server a name belongs to.
func (c *campaign) protocol(server string) string {
	for _, s := range c.smtp {
		if s.name == server {
			return "SMTP"
		}
	}
	return server
}

func (c *campaign) faultsOfMails() tally {
	counts := make(tally)
	for _, one := range c.calls {
		for _, met := range c.ledger.mails[one.number] {
			counts.add(c.protocol(met.server)+": "+met.fault, one.outcome())
		}
	}
	return counts
}

func (c *campaign) earlyFailures() tally {
	counts := make(tally)
	for _, one := range c.calls {
		for _, a := range c.log.attempts[one.id] {
			if a.Kind == "accepted" || c.protocol(a.Provider) != "SMTP" ||
				slices.Contains([]string{"RCPT TO", "DATA", "body", "final dot"}, a.Stage) {
				continue
			}
			said := a.Code
			if said == "" {
				said = a.Detail
			}
			counts.add(a.Stage+": "+said+" ("+a.Kind+")", one.outcome())
		}
	}
	return counts
}

// faultNames are all faults that the servers can commit, by protocol.
func (c *campaign) faultNames() []string {
	names := make(map[string]bool)
	for _, s := range c.smtp {
		for _, f := range join(s.connections.faults, s.transactions.faults, s.mails.faults) {
			names["SMTP: "+f.String()] = true
		}
	}
	for _, s := range c.http {
		for _, f := range s.mails.faults {
			names[s.name+": "+f.String()] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (c *campaign) missedFaults() []string {
	met := make(map[string]bool)
	for one := range c.ledger.faults {
		met[c.protocol(one.server)+": "+one.fault] = true
	}
	return slices.DeleteFunc(c.faultNames(), func(name string) bool { return met[name] })
}
