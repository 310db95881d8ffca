package app

import (
	"errors"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/deliveries"
	"logto-email-relay/providers"
	"logto-email-relay/relay"
)

// collector shows the state of the providers, the configuration, the record, the
// operator's endpoints and the log as metrics, read at the moment of the scrape. The metrics of
// a provider that a reload removes end with it, while the counters of package handlers stay.
type collector struct{ app *App }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	buildDesc         = describe("relay_build_info", "1, with the version of the relay and of Go.", "version", "goversion")
	timeoutDesc       = describe("relay_request_timeout_seconds", "The time that a webhook may take, server.timeout.")
	configDesc        = describe("relay_config_last_reload_successful", "0 while the last change is refused because of the configuration.")
	templatesDesc     = describe("relay_templates_last_reload_successful", "0 while the last change is refused because of templates.")
	degradedDesc      = describe("relay_degraded", "1 while all providers rest, the record is kept in memory or the log cannot be written.")
	droppedDesc       = describe("relay_log_lines_dropped_total", "Lines of the log that were lost because nobody took them.")
	behindDesc        = describe("relay_deliveries_behind", "1 while deliveries are kept in memory, because the database does not take them in time, or old ones cannot be deleted.")
	lostDesc          = describe("relay_deliveries_lost_total", "Deliveries that are not recorded, because the database did not take them and memory had no room.")
	queueDesc         = describe("relay_deliveries_queue_length", "Deliveries that wait in memory for the database.")
	uncheckedDesc     = describe("relay_suppressions_skipped_total", "Mails that went out without a look at the suppressed addresses, because the database did not answer.")
	aloneDesc         = describe("relay_limits_alone", "1 while Redis does not answer, so that this relay counts mails for itself.")
	restingDesc       = describe("relay_provider_resting", "1 from the failure that puts the provider behind all others to the next mail that it accepts.", "provider")
	causeDesc         = describe("relay_provider_rest_cause", "1 for the cause of which the provider rests.", "provider", "cause")
	untilDesc         = describe("relay_provider_rest_until_seconds", "When the rest of the provider ends or has ended, in seconds since 1970; 0 while it does not rest. A later mail has to show that it is well.", "provider")
	inFlightDesc      = describe("relay_provider_in_flight", "Sends under way at the provider.", "provider")
	boundDesc         = describe("relay_provider_max_concurrent", "Sends that may be under way at the provider.", "provider")
	connectionsDesc   = describe("relay_provider_connections", "Connections to an SMTP server.", "provider", "state")
	eventsSentDesc    = describe("relay_webhooks_sent_total", "Events that an endpoint of the operator's took.", "endpoint")
	eventsFailedDesc  = describe("relay_webhooks_failed_total", "Calls of an endpoint of the operator's that failed.", "endpoint")
	eventsGivenUpDesc = describe("relay_webhooks_given_up_total", "Events that an endpoint of the operator's did not take within a day, or refused for good.", "endpoint")
	eventsPendingDesc = describe("relay_webhooks_pending", "Events in the database that wait for an endpoint of the operator's.", "endpoint")
)

// Describe implements prometheus.Collector.
func (collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildDesc, timeoutDesc, configDesc, templatesDesc, degradedDesc, droppedDesc, behindDesc, lostDesc,
		queueDesc, uncheckedDesc, restingDesc, causeDesc, untilDesc, inFlightDesc, boundDesc, connectionsDesc,
		eventsSentDesc, eventsFailedDesc, eventsGivenUpDesc, eventsPendingDesc} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value int, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	g := c.app.current.get()
	gauge(buildDesc, 1, c.app.Version, runtime.Version())
	gauge(timeoutDesc, time.Duration(g.Config.Server.Timeout).Seconds())
	problem := c.app.problem()
	isOfTemplates := errors.Is(problem, ErrTemplates)
	gauge(configDesc, number(problem == nil || isOfTemplates))
	gauge(templatesDesc, number(!isOfTemplates))
	gauge(degradedDesc, number(c.app.status().Degraded))
	counter(droppedDesc, c.app.lines.lost())

	var record deliveries.State
	if c.app.record != nil {
		record = c.app.record.State()
	}
	gauge(behindDesc, number(!record.IsWell()))
	gauge(queueDesc, float64(record.Waiting))
	counter(lostDesc, record.Lost)
	counter(uncheckedDesc, record.Unchecked)
	_, alone := g.limiter.IsShared()
	gauge(aloneDesc, number(alone != ""))
	if c.app.sender != nil {
		for _, e := range c.app.sender.State() {
			counter(eventsSentDesc, e.Sent, e.Name)
			counter(eventsFailedDesc, e.Failed, e.Name)
			counter(eventsGivenUpDesc, e.GivenUp, e.Name)
			gauge(eventsPendingDesc, float64(e.Pending), e.Name)
		}
	}

	for _, m := range g.members {
		p := m.Status()
		gauge(restingDesc, number(p.Resting), p.Name)
		for _, cause := range restCauses {
			gauge(causeDesc, number(cause == restCause(p)), p.Name, cause)
		}
		until := 0.0
		if p.Resting {
			until = float64(p.Until.Unix())
		}
		gauge(untilDesc, until, p.Name)
		gauge(inFlightDesc, float64(p.InFlight), p.Name)
		gauge(boundDesc, float64(p.MaxConcurrent), p.Name)
		if pooled, ok := m.Service.(providers.Pooled); ok {
			open, idle := pooled.Connections()
			gauge(connectionsDesc, float64(idle), p.Name, "idle")
			gauge(connectionsDesc, float64(max(0, open-idle)), p.Name, "busy")
		}
	}
}

// quota is the cause that needs another cure than a throttled provider.
const quota = "quota"

// restCauses are what a provider can rest of.
var restCauses = []string{providers.Configuration.String(), quota, providers.RateLimited.String(), providers.Temporary.String(),
	providers.Uncertain.String()}

// restCause returns of what a provider rests; empty if it does not.
func restCause(p relay.Status) string {
	switch {
	case p.Cause == nil:
		return ""
	case p.Cause.Quota:
		return quota
	}
	return p.Cause.Kind.String()
}

func number(truth bool) float64 {
	if truth {
		return 1
	}
	return 0
}
