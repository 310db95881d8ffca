package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/config"
	"logto-email-relay/handlers/admin"
	"logto-email-relay/mail"
)

// webhooksCollector shows what is sent to the operator's endpoints as metrics.
type webhooksCollector struct{ app *App }

var (
	eventsSentDesc    = prometheus.NewDesc("relay_webhooks_sent_total", "Events that an endpoint of the operator's took.", []string{"endpoint"}, nil)
	eventsFailedDesc  = prometheus.NewDesc("relay_webhooks_failed_total", "Calls of an endpoint of the operator's that failed.", []string{"endpoint"}, nil)
	eventsGivenUpDesc = prometheus.NewDesc("relay_webhooks_given_up_total", "Events that an endpoint of the operator's did not take within a day, or refused for good.", []string{"endpoint"}, nil)
	eventsPendingDesc = prometheus.NewDesc("relay_webhooks_pending", "Events in the database that wait for an endpoint of the operator's.", []string{"endpoint"}, nil)
)

// Describe implements prometheus.Collector.
func (webhooksCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- eventsSentDesc
	descriptions <- eventsFailedDesc
	descriptions <- eventsGivenUpDesc
	descriptions <- eventsPendingDesc
}

// Collect implements prometheus.Collector.
func (c webhooksCollector) Collect(metrics chan<- prometheus.Metric) {
	if c.app.sender == nil {
		return
	}
	for _, e := range c.app.sender.State() {
		metrics <- prometheus.MustNewConstMetric(eventsSentDesc, prometheus.CounterValue, float64(e.Sent), e.Name)
		metrics <- prometheus.MustNewConstMetric(eventsFailedDesc, prometheus.CounterValue, float64(e.Failed), e.Name)
		metrics <- prometheus.MustNewConstMetric(eventsGivenUpDesc, prometheus.CounterValue, float64(e.GivenUp), e.Name)
		metrics <- prometheus.MustNewConstMetric(eventsPendingDesc, prometheus.GaugeValue, float64(e.Pending), e.Name)
	}
}

// Tell has the endpoints of a configuration told of what is written to a record.
func Tell(record interface {
	Tell(wants map[string][]string, describe func(*mail.Delivery) any)
}, c *config.Config) {
	record.Tell(c.Events.Wants(), admin.DeliveryJSON)
}
