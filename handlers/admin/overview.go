package admin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"logto-email-relay/deliveries"
	"logto-email-relay/handlers/web"
)

// overview is the first page: how the relay is, what became of the last mails, and where
// to go.
type overview struct {
	pages *pages
	Options
}

// period is a span that the overview offers.
type period struct {
	name, title string
	span        deliveries.Span
	format      string // of the beginnings of its bars
}

var periods = []period{
	{"hour", "Hour", deliveries.LastHour, "15:04"},
	{"day", "Day", deliveries.LastDay, "15:04"},
	{"week", "Week", deliveries.LastWeek, "Jan 2 15:04"},
}

func (o overview) show(c echo.Context) error {
	status := o.Status()
	class, state := "good", "Ready"
	switch {
	case !status.Ready:
		class, state = "bad", "Not ready"
	case status.Degraded:
		class, state = "bad", "Degraded"
	}
	return o.pages.show(c, http.StatusOK, page{title: "Overview", path: "/"},
		H1(Text("Overview")),
		P(Class("state "+class), Text(state)),
		If(len(status.Details) > 0, Div(Class("card"), Dl(Class("facts"), Map(slices.Sorted(maps.Keys(status.Details)), func(name string) Node {
			return fact(name, Text(status.Details[name]))
		})))),
		Iff(o.Deliveries != nil, func() Node { return o.mails(c) }),
		H2(Text("For machines")),
		Div(Class("card"), Dl(Class("facts"),
			endpoint(metricsPath, "Prometheus metrics: requests, mails, attempts at each provider"),
			endpoint(web.ReadyPath, "200 while the relay takes webhooks, 503 while it stops"),
			endpoint(web.HealthPath, "200 as long as the process is alive"),
		)),
	)
}

func endpoint(path, text string) Node {
	return Div(Dt(A(Href(path), Text(path))), Dd(Text(text)))
}

// mails shows what became of the mails of the period that the query asks for.
func (o overview) mails(c echo.Context) Node {
	chosen := periods[1]
	for _, p := range periods {
		if c.QueryParam("last") == p.name {
			chosen = p
		}
	}
	var options []option
	for _, p := range periods {
		options = append(options, option{p.title, "?last=" + p.name, p.name == chosen.name})
	}
	heading := Div(Class("tools heading"), H2(ID("mails"), Text("Mails")), choice("Period", options...))
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	sum, err := o.Deliveries.Summarize(ctx, chosen.span, time.Now())
	if err != nil { // which the state of the record tells as well
		return Group{heading, Div(Class("card notice bad"),
			P(Text("The record does not answer, so that nothing can be counted. Mails are sent all the same.")))}
	}
	all, most := &sum.All, 0
	for _, b := range sum.Bars {
		most = max(most, b.Accepted+b.Failed)
	}
	content := Group{heading, figures(all)}
	if most > 0 {
		content = append(content, chart(sum.Bars, most, chosen),
			tallies("By provider", "Provider", sum.Providers), tallies("By language", "Language", sum.Languages))
		if all.Accepted > 0 && all.Delivered == 0 && all.Bounced == 0 {
			content = append(content, P(Class("note"), Text("No service has reported what became of these mails. docs/monitoring.md tells how to let them.")))
		}
	}
	return append(content, P(Class("note"), Text("What has just happened is counted within a minute.")))
}

// figures are the numbers that are shown large.
func figures(all *deliveries.Tally) Node {
	var list Group
	add := func(title, number, note, class string) {
		list = append(list, Div(Class("card"), Dt(Text(title)), Dd(Class(class), Text(number)), If(note != "", Dd(Class("note"), Text(note)))))
	}
	bad := func(n int) string {
		if n > 0 {
			return "bad"
		}
		return ""
	}
	add("Sent", grouped(all.Accepted), "accepted by a provider", "")
	add("Delivered", grouped(all.Delivered), share(all.Delivered, all.Accepted), "")
	add("Bounced", grouped(all.Bounced), share(all.Bounced, all.Accepted), bad(all.Bounced))
	add("Failed", grouped(all.Failed), "no provider took them", bad(all.Failed))
	if all.Complained > 0 {
		add("Spam complaints", grouped(all.Complained), share(all.Complained, all.Accepted), "bad")
	}
	if len(all.ToAccepted) > 0 {
		add("Until accepted", quantile(all.ToAccepted, .5), "99 % within "+quantile(all.ToAccepted, .99), "")
	}
	if len(all.ToDelivered) > 0 {
		add("Until delivered", quantile(all.ToDelivered, .5), "99 % within "+quantile(all.ToDelivered, .99), "")
	}
	return Dl(Class("figures"), list)
}

// share is a part in percent of what was sent; empty if nothing was.
func share(part, all int) string {
	if all == 0 {
		return ""
	}
	return strconv.FormatFloat(100*float64(part)/float64(all), 'f', 1, 64) + " % of those sent"
}

// quantile is the time in which a share of mails was through, if that is known of any.
func quantile(times deliveries.Times, share float64) string {
	if len(times) == 0 {
		return "–"
	}
	return deliveries.Spoken(times.Within(share))
}

// tallies shows numbers by a name, with the largest in front.
func tallies(title, name string, by map[string]*deliveries.Tally) Node {
	names := slices.SortedFunc(maps.Keys(by), func(a, b string) int {
		return cmp.Or(cmp.Compare(by[b].Accepted+by[b].Failed, by[a].Accepted+by[a].Failed), cmp.Compare(a, b))
	})
	return Group{
		H3(Text(title)),
		Div(Class("card scroll"), TabIndex("0"), Role("region"), Aria("label", title), Table(Class("numbers"),
			THead(Tr(columns(name, "Sent", "Delivered", "Bounced", "Failed", "Until accepted", "99 % within", "Until delivered", "99 % within"))),
			TBody(Map(names, func(name string) Node {
				t := by[name]
				return Tr(Th(Scope("row"), bdi(cmp.Or(name, "none"))), counts(t),
					Td(Text(quantile(t.ToAccepted, .5))), Td(Text(quantile(t.ToAccepted, .99))),
					Td(Text(quantile(t.ToDelivered, .5))), Td(Text(quantile(t.ToDelivered, .99))))
			})),
		)),
	}
}

// counts are the cells of a table with what became of mails.
func counts(t *deliveries.Tally) Node {
	return Map([]int{t.Accepted, t.Delivered, t.Bounced, t.Failed}, func(n int) Node { return Td(Text(grouped(n))) })
}

// Measures of a chart. It is stretched to the width of the page.
const (
	chartWidth  = 1000
	chartHeight = 200
)

// chart shows what became of mails over time: a bar for each while, the highest of
// which is of most mails, and the same as a table.
func chart(bars []deliveries.Bar, most int, p period) Node {
	first, last := bars[0].Time.Format(p.format), bars[len(bars)-1].Time.Format(p.format)
	text := fmt.Sprintf("Mails sent, from %s to %s UTC; at most %s in %s. The table below has the numbers.",
		first, last, grouped(most), deliveries.Spoken(p.span.Bar))
	var drawn, rows Group
	each := float64(chartWidth) / float64(len(bars))
	for i, b := range bars {
		label := b.Time.Format(p.format)
		if parts := barParts(&b.Tally, most, float64(i)*each+each*.1, each*.8); len(parts) > 0 {
			drawn = append(drawn, El("g", TitleEl(Textf("%s: %d sent, %d delivered, %d bounced, %d failed", label, b.Accepted, b.Delivered, b.Bounced, b.Failed)), parts))
		}
		rows = append(rows, Tr(Th(Scope("row"), Text(label)), counts(&b.Tally)))
	}
	key := func(class, text string) Node { return Span(Class("key "+class), Text(text)) }
	return Figure(Class("card chart"),
		P(Class("scale"), Aria("hidden", "true"), Text(grouped(most))),
		SVG(Role("img"), Aria("label", text), Attr("viewBox", fmt.Sprintf("0 0 %d %d", chartWidth, chartHeight)), Attr("preserveAspectRatio", "none"), drawn),
		P(Class("scale ends"), Aria("hidden", "true"), Span(Text(first)), Span(Text(last+" UTC"))),
		FigCaption(key("delivered", "delivered"), Text(" "), key("waiting", "accepted, nothing else reported"), Text(" "),
			key("bounced", "bounced"), Text(" "), key("failed", "failed")),
		Details(
			Summary(Text("The numbers as a table")),
			Div(Class("scroll"), TabIndex("0"), Role("region"), Aria("label", "Mails over time"), Table(Class("numbers"),
				THead(Tr(columns("From (UTC)", "Sent", "Delivered", "Bounced", "Failed"))),
				TBody(rows),
			)),
		),
	)
}

// barParts are the parts of a bar, from the bottom to the top.
func barParts(t *deliveries.Tally, most int, x, width float64) (parts Group) {
	y := float64(chartHeight)
	for _, part := range []struct {
		class string
		mails int
	}{
		{"delivered", t.Delivered},
		{"waiting", max(0, t.Accepted-t.Delivered-t.Bounced)}, // of which nothing is known but that they were accepted
		{"bounced", t.Bounced}, {"failed", t.Failed},
	} {
		if part.mails == 0 {
			continue
		}
		height := max(2, float64(chartHeight)*float64(part.mails)/float64(most)) // what is rare is seen
		y = max(0, y-height)
		parts = append(parts, El("rect", Class(part.class), Attr("x", fmt.Sprint(x)), Attr("y", fmt.Sprint(y)),
			Width(fmt.Sprint(width)), Height(fmt.Sprint(height))))
	}
	return parts
}
