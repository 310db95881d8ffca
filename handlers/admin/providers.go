package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"logto-email-relay/deliveries"
	"logto-email-relay/providers"
	"logto-email-relay/relay"
)

const providersPath = "/providers"

// providerPages tell how each provider is, why, and what to do.
type providerPages struct {
	pages *pages
	Options
}

func (p providerPages) list(c echo.Context) error {
	now := time.Now()
	day := new(deliveries.Summary)
	if p.Deliveries != nil {
		ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
		defer cancel()
		if sum, err := p.Deliveries.Summarize(ctx, deliveries.LastDay, now); err == nil {
			day = sum
		}
	}
	content := Group{
		H1(Text("Providers")),
		P(Class("note"), Text("In the order of the configuration. A provider in trouble rests behind the others; the first mail after its rest tries it again.")),
	}
	for i, s := range p.Providers() {
		content = append(content, providerCard(fmt.Sprint("provider-", i), s, day.Providers[s.Name], now))
	}
	return p.pages.show(c, http.StatusOK, page{title: "Providers", path: providersPath}, content)
}

// providerCard shows a provider and its mails of the last day, nil if there are none.
func providerCard(id string, s relay.Status, day *deliveries.Tally, now time.Time) Node {
	class, state, until := "good", "healthy", "Rests until"
	switch {
	case s.IsDue(now):
		class, state, until = "fair", "to be tried again", "Rested until"
	case s.Resting:
		class, state = "bad", "resting"
	}
	var facts Group
	if s.Resting {
		facts = append(facts, fact(until, moment(s.Until), Text(" UTC")))
	}
	if s.Resting && s.Cause != nil {
		cause := *s.Cause
		cause.Hint = "" // which is part of what to do
		facts = append(facts, fact("Cause", bdi(cause.Error())), fact("What to do", bdi(adviceFor(s.Cause))))
	}
	facts = append(facts, fact("Under way", Textf("%d of %d at a time", s.InFlight, s.MaxConcurrent)))
	if day != nil {
		text := grouped(day.Accepted) + " sent, " + grouped(day.Delivered) + " delivered, " + grouped(day.Bounced) + " bounced"
		if len(day.ToAccepted) > 0 {
			text += "; half were accepted within " + quantile(day.ToAccepted, .5) + ", 99 % within " + quantile(day.ToAccepted, .99)
		}
		facts = append(facts, fact("Last day", Text(text)))
	}
	return Section(Class("card provider"), Aria("labelledby", id),
		H2(ID(id), bdi(s.Name), Text(" "), Span(Class("mark "+class), Text(state))),
		Dl(Class("facts"), facts),
	)
}

// adviceFor says what an operator can do about a provider that rests.
func adviceFor(cause *providers.Error) string {
	if cause.Hint != "" {
		return cause.Hint
	}
	switch {
	case cause.Kind == providers.Configuration:
		return "Mend the key, the sender or the account that the cause names. logto-email-relay check --connect tells whether it works."
	case cause.Quota:
		return "The quota is spent. Raise it at the service, or wait until it begins anew."
	case cause.Kind == providers.RateLimited:
		return "The service asks for fewer mails at a time. If this comes often, lower the provider's maxConcurrent or ask the service for more."
	case cause.Kind == providers.Uncertain:
		return "The service took mails and did not answer. Look at its status page and at the network between; mails may have arrived all the same."
	}
	return "The service or the way to it is in trouble: look at its status page, at DNS and at the firewall. logto-email-relay check --connect tells whether it answers."
}
