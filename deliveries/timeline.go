package deliveries

import (
	"fmt"
	"time"

	"logto-email-relay/mail"
)

// Moment is a step on the way of a mail.
type Moment struct {
	Time time.Time
	// Text says what happened, for a person.
	Text string
}

// Timeline tells the way of a mail in plain words, from the webhook to the last
// event.
func Timeline(d *mail.Delivery) []Moment {
	asked := fmt.Sprintf("a %s mail was asked for", d.Type)
	if d.Locale != "" {
		asked += ", in " + d.Locale
	}
	if d.Trace != "" {
		asked += "; its trace is " + d.Trace
	}
	moments := []Moment{{d.Time, asked}}
	end, last := time.Duration(0), d.Time
	add := func(when time.Time, text string) {
		moments = append(moments, Moment{when, text})
		last = when
	}
	for _, a := range d.Attempts {
		end = max(end, a.Start) + a.Duration // there may have been a pause before it
		at := d.Time.Add(end)
		if a.Kind == mail.AttemptAccepted {
			add(at, fmt.Sprintf("accepted by %s, %s after the request", a.Provider, Spoken(end)))
		} else {
			add(at, fmt.Sprintf("not taken by %s after %s: %s", a.Provider, Spoken(a.Duration), a))
		}
	}
	verdict := d.Time.Add(d.Duration)
	switch {
	case d.Status == mail.StatusSending:
		add(verdict, "there is no verdict yet")
	case d.Status == mail.StatusUncertain && len(d.Attempts) == 0:
		add(verdict, "no verdict was recorded: the relay has probably been killed in between, and the mail may have been sent")
	case d.Reason == mail.Uncertain:
		add(verdict, "nobody knows whether it was sent")
	case d.Reason != "":
		add(verdict, "it was not sent: "+string(d.Reason))
	}
	for _, e := range d.Events {
		text := fmt.Sprintf("%s, %s later, says %s", e.Status, Spoken(e.Time.Sub(last)), e.Provider)
		if e.Detail != "" {
			text += ": " + e.Detail
		}
		add(e.Time, text)
	}
	return moments
}

// Spoken is a time as people say it: 40 ms, 0.1 s, 42 s, 5 min, 3 h, 2 d.
func Spoken(d time.Duration) string {
	switch {
	case 0 < d && d < 95*time.Millisecond:
		return fmt.Sprintf("%d ms", max(1, d.Milliseconds()))
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", max(0, d.Seconds()))
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f d", d.Hours()/24)
}
