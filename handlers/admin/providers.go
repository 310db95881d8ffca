package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

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

// shownProvider is a provider with its mails of the last day.
type shownProvider struct {
	relay.Status
	// Over tells that the rest is over, and the next mail tries the provider.
	Over bool
	// Why is the cause without what to do about it, which is Advice.
	Why, Advice string
	Day         *deliveries.Tally
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
	var list []shownProvider
	for _, s := range p.Providers() {
		shown := shownProvider{Status: s, Over: s.Resting && !now.Before(s.Until), Day: day.Providers[s.Name]}
		if s.Resting && s.Cause != nil {
			cause := *s.Cause
			cause.Hint = ""
			shown.Why, shown.Advice = cause.Error(), adviceFor(s.Cause)
		}
		list = append(list, shown)
	}
	return p.pages.show(c, http.StatusOK, "providers", page{Title: "Providers", Path: providersPath, Content: list})
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
