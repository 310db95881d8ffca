package admin

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/deliveries"
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

// mails are what the overview shows of the record.
type mails struct {
	Choice               choice
	Unavailable          bool
	All                  deliveries.Tally
	Figures              []figure
	Chart                chart
	Providers, Languages table
}

// figure is a number that is shown large.
type figure struct{ Title, Number, Note, Class string }

// table shows tallies by their names.
type table struct {
	Title, Name string
	Rows        []tableRow
}

type tableRow struct {
	Name string
	*deliveries.Tally
}

func (o overview) show(c echo.Context) error {
	content := struct {
		Status
		Mails *mails
	}{o.Status(), nil}
	if o.Deliveries != nil {
		content.Mails = o.mails(c)
	}
	return o.pages.show(c, http.StatusOK, "overview", page{Title: "Overview", Path: "/", Content: content})
}

func (o overview) mails(c echo.Context) *mails {
	chosen := periods[1]
	shown := &mails{Choice: choice{Title: "Period"}}
	for _, p := range periods {
		if c.QueryParam("last") == p.name {
			chosen = p
		}
	}
	for _, p := range periods {
		shown.Choice.Looks = append(shown.Choice.Looks, option{p.title, "?last=" + p.name, p.name == chosen.name})
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	sum, err := o.Deliveries.Summarize(ctx, chosen.span, time.Now())
	if err != nil { // which the state of the record tells as well
		shown.Unavailable = true
		return shown
	}
	shown.All = sum.All
	shown.Figures = figures(&sum.All)
	shown.Chart = newChart(sum.Bars, chosen)
	shown.Providers = newTable("By provider", "Provider", sum.Providers)
	shown.Languages = newTable("By language", "Language", sum.Languages)
	return shown
}

func figures(all *deliveries.Tally) []figure {
	bad := func(n int) string {
		if n > 0 {
			return "bad"
		}
		return ""
	}
	list := []figure{
		{"Sent", grouped(all.Accepted), "accepted by a provider", ""},
		{"Delivered", grouped(all.Delivered), share(all.Delivered, all.Accepted), ""},
		{"Bounced", grouped(all.Bounced), share(all.Bounced, all.Accepted), bad(all.Bounced)},
		{"Failed", grouped(all.Failed), "no provider took them", bad(all.Failed)},
	}
	if all.Complained > 0 {
		list = append(list, figure{"Spam complaints", grouped(all.Complained), share(all.Complained, all.Accepted), "bad"})
	}
	for _, times := range []struct {
		title string
		of    deliveries.Times
	}{{"Until accepted", all.ToAccepted}, {"Until delivered", all.ToDelivered}} {
		if len(times.of) > 0 {
			list = append(list, figure{times.title, deliveries.Spoken(times.of.Within(.5)), "99 % within " + deliveries.Spoken(times.of.Within(.99)), ""})
		}
	}
	return list
}

// share is a part in percent of what was sent; empty if nothing was.
func share(part, all int) string {
	if all == 0 {
		return ""
	}
	return strconv.FormatFloat(100*float64(part)/float64(all), 'f', 1, 64) + " % of those sent"
}

// newTable has the largest number in front.
func newTable(title, name string, tallies map[string]*deliveries.Tally) table {
	t := table{Title: title, Name: name}
	for _, key := range slices.Sorted(maps.Keys(tallies)) {
		t.Rows = append(t.Rows, tableRow{key, tallies[key]})
	}
	slices.SortStableFunc(t.Rows, func(a, b tableRow) int { return cmp.Compare(b.Accepted+b.Failed, a.Accepted+a.Failed) })
	return t
}

// Measures of a chart. It is stretched to the width of the page.
const (
	chartWidth  = 1000
	chartHeight = 200
)

// chart shows what became of mails over time.
type chart struct {
	Width, Height int
	// Most is the height in mails.
	Most int
	Bars []chartBar
	// First and Last are when the outer bars begin, and Text says what is to be seen.
	First, Last, Text string
}

// chartBar is one while, from the bottom to the top.
type chartBar struct {
	Label string
	deliveries.Tally
	Parts []chartPart
}

type chartPart struct {
	Class               string
	X, Y, Width, Height float64
}

// Waiting are the mails of which nothing is known but that they were accepted.
func (b chartBar) Waiting() int { return max(0, b.Accepted-b.Delivered-b.Bounced) }

func newChart(bars []deliveries.Bar, p period) chart {
	c := chart{Width: chartWidth, Height: chartHeight, First: bars[0].Time.Format(p.format), Last: bars[len(bars)-1].Time.Format(p.format)}
	for _, b := range bars {
		c.Most = max(c.Most, b.Accepted+b.Failed)
	}
	c.Text = "Mails sent, from " + c.First + " to " + c.Last + " UTC; at most " + grouped(c.Most) + " in " + deliveries.Spoken(p.span.Bar) + ". The table below has the numbers."
	each := float64(chartWidth) / float64(len(bars))
	for i, b := range bars {
		shown := chartBar{Label: b.Time.Format(p.format), Tally: b.Tally}
		y := float64(chartHeight)
		for _, part := range []struct {
			class string
			mails int
		}{{"delivered", b.Delivered}, {"waiting", shown.Waiting()}, {"bounced", b.Bounced}, {"failed", b.Failed}} {
			if part.mails == 0 {
				continue
			}
			height := max(2, float64(chartHeight)*float64(part.mails)/float64(c.Most)) // what is rare is seen
			y = max(0, y-height)
			shown.Parts = append(shown.Parts, chartPart{part.class, float64(i)*each + each*.1, y, each * .8, height})
		}
		c.Bars = append(c.Bars, shown)
	}
	return c
}
