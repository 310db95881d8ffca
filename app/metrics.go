package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/deliveries"
)

// collector shows the state of the providers, the configuration and the log as
// metrics, read at the moment of the scrape.
type collector struct{ app *App }

var (
	restingDesc   = prometheus.NewDesc("relay_provider_resting", "1 while the provider is put behind all others.", []string{"provider"}, nil)
	inFlightDesc  = prometheus.NewDesc("relay_provider_in_flight", "Sends under way at the provider.", []string{"provider"}, nil)
	reloadDesc    = prometheus.NewDesc("relay_config_last_reload_successful", "1 while the last change of the configuration or of the templates is in use, 0 while it is refused.", nil, nil)
	lostDesc      = prometheus.NewDesc("relay_deliveries_lost_total", "Deliveries that are not recorded, because the database did not take them and memory had no room.", nil, nil)
	queueDesc     = prometheus.NewDesc("relay_deliveries_queue_length", "Deliveries that wait in memory for the database.", nil, nil)
	degradedDesc  = prometheus.NewDesc("relay_degraded", "1 while all providers rest or the log cannot be written.", nil, nil)
	droppedDesc   = prometheus.NewDesc("relay_log_lines_dropped_total", "Lines of the log that were lost because nobody took them.", nil, nil)
	boundDesc     = prometheus.NewDesc("relay_provider_max_concurrent", "Sends that may be under way at the provider.", []string{"provider"}, nil)
	uncheckedDesc = prometheus.NewDesc("relay_suppressions_skipped_total", "Mails that went out without a look at the suppressed addresses, because the database did not answer.", nil, nil)
)

// Describe implements prometheus.Collector.
func (collector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- restingDesc
	descriptions <- inFlightDesc
	descriptions <- boundDesc
	descriptions <- reloadDesc
	descriptions <- lostDesc
	descriptions <- queueDesc
	descriptions <- degradedDesc
	descriptions <- droppedDesc
	descriptions <- uncheckedDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	metrics <- prometheus.MustNewConstMetric(reloadDesc, prometheus.GaugeValue, number(c.app.problem() == nil))
	var record deliveries.State
	if c.app.record != nil {
		record = c.app.record.State()
	}
	metrics <- prometheus.MustNewConstMetric(lostDesc, prometheus.CounterValue, float64(record.Lost))
	metrics <- prometheus.MustNewConstMetric(queueDesc, prometheus.GaugeValue, float64(record.Waiting))
	metrics <- prometheus.MustNewConstMetric(degradedDesc, prometheus.GaugeValue, number(c.app.status().Degraded))
	metrics <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(c.app.lines.lost()))
	metrics <- prometheus.MustNewConstMetric(uncheckedDesc, prometheus.CounterValue, float64(record.Unchecked))
	for _, p := range c.app.current.get().Relay.Status() {
		metrics <- prometheus.MustNewConstMetric(restingDesc, prometheus.GaugeValue, number(p.Resting), p.Name)
		metrics <- prometheus.MustNewConstMetric(inFlightDesc, prometheus.GaugeValue, float64(p.InFlight), p.Name)
		metrics <- prometheus.MustNewConstMetric(boundDesc, prometheus.GaugeValue, float64(p.MaxConcurrent), p.Name)
	}
}

func number(truth bool) float64 {
	if truth {
		return 1
	}
	return 0
}
