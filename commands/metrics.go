package commands

import (
	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/relay"
)

// providerCollector shows the state of the providers as metrics, read at the
// moment of the scrape.
type providerCollector struct{ relay *relay.Relay }

var (
	restingDesc  = prometheus.NewDesc("relay_provider_resting", "1 while the provider is put behind all others.", []string{"provider"}, nil)
	inFlightDesc = prometheus.NewDesc("relay_provider_in_flight", "Sends under way at the provider.", []string{"provider"}, nil)
	boundDesc    = prometheus.NewDesc("relay_provider_max_concurrent", "Sends that may be under way at the provider.", []string{"provider"}, nil)
)

// Describe implements prometheus.Collector.
func (providerCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- restingDesc
	descriptions <- inFlightDesc
	descriptions <- boundDesc
}

// Collect implements prometheus.Collector.
func (c providerCollector) Collect(metrics chan<- prometheus.Metric) {
	for _, p := range c.relay.Status() {
		resting := 0.0
		if p.Resting {
			resting = 1
		}
		metrics <- prometheus.MustNewConstMetric(restingDesc, prometheus.GaugeValue, resting, p.Name)
		metrics <- prometheus.MustNewConstMetric(inFlightDesc, prometheus.GaugeValue, float64(p.InFlight), p.Name)
		metrics <- prometheus.MustNewConstMetric(boundDesc, prometheus.GaugeValue, float64(p.MaxConcurrent), p.Name)
	}
}
