package handlers

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
)

// Metrics counts requests and mails. Every label has few values: what callers
// choose is replaced by a word of ours.
type Metrics struct {
	types           []string
	requests        *prometheus.CounterVec
	requestDuration prometheus.Histogram
	mails           *prometheus.CounterVec
	attempts        *prometheus.CounterVec
	attemptDuration *prometheus.HistogramVec
	reported        *prometheus.CounterVec
}

// otherType stands for every message type that is not known by name.
const otherType = "other"

// NewMetrics registers the metrics of the public listener. The message types
// are those that are counted by name.
func NewMetrics(registry prometheus.Registerer, types []string) *Metrics {
	// Up to the 8 s that a webhook may take, and the next after it.
	buckets := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 4, 6, 8, 16}
	m := &Metrics{
		types: types,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_requests_total",
			Help: "Requests to the public listener, probes aside, by status, error word, and the tenant or the place in server.authorization of the value that they bore.",
		}, []string{"status", "error", "authorization"}),
		requestDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "relay_request_duration_seconds",
			Help:    "Time from a webhook to its answer.",
			Buckets: buckets,
		}),
		mails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_mails_total",
			Help: "Mails by message type and by the provider that accepted them, or by error word if none did.",
		}, []string{"type", "provider", "error"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_attempts_total",
			Help: "Attempts at each provider by outcome: accepted, or the kind of the error.",
		}, []string{"provider", "kind"}),
		attemptDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "relay_attempt_duration_seconds",
			Help:    "Time of one attempt at a provider.",
			Buckets: buckets,
		}, []string{"provider"}),
		reported: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_events_total",
			Help: "Events that services reported of mails, each once, by provider and status; the status unknown is for mails that are not in the record.",
		}, []string{"provider", "status"}),
	}
	registry.MustRegister(m.requests, m.requestDuration, m.mails, m.attempts, m.attemptDuration, m.reported)
	return m
}

// The words that a request can be answered with; empty for 200.
var (
	// strangersReasons: before the authorization is known, or by the events of services.
	strangersReasons = []mail.Reason{"", web.Malformed, web.TooLarge, web.Unauthorized, web.Forbidden, web.NotFound, web.MethodNotAllowed, web.NotAcceptable,
		web.Unavailable, mail.RateLimited, mail.Timeout, mail.Internal}
	// mailReasons: a mail that nobody accepted.
	mailReasons = []mail.Reason{mail.RecipientRefused, mail.RecipientSuppressed, mail.RateLimited, mail.ProviderRefused,
		mail.ProviderUnavailable, mail.Timeout, mail.Uncertain, mail.Internal}
	// callersReasons: besides those of mails, an authorized request.
	callersReasons = []mail.Reason{"", web.Malformed, web.TooLarge, web.UnsupportedMediaType, web.Invalid}
)

// expect begins the series of the callers and providers of a configuration at 0. A
// series that begins with its first failure hides that failure: what grew is the
// difference of two values.
func (m *Metrics) expect(callers []web.Caller, names []string) {
	for _, reason := range strangersReasons {
		m.expectRequests("", reason)
	}
	for _, c := range callers {
		for _, reason := range slices.Concat(callersReasons, mailReasons) {
			m.expectRequests(c.Label, reason)
		}
	}
	for _, messageType := range append([]string{otherType}, m.types...) {
		for _, reason := range mailReasons {
			m.mails.WithLabelValues(messageType, "", string(reason))
		}
		for _, name := range names {
			m.mails.WithLabelValues(messageType, name, "")
		}
	}
	for _, name := range names {
		m.attemptDuration.WithLabelValues(name)
		m.attempts.WithLabelValues(name, mail.AttemptAccepted)
		for kind := providers.Recipient; kind <= providers.Uncertain; kind++ {
			m.attempts.WithLabelValues(name, kind.String())
		}
	}
}

func (m *Metrics) expectRequests(label string, reason mail.Reason) {
	code := http.StatusOK
	if reason != "" {
		code = web.Status(reason)
	}
	m.requests.WithLabelValues(strconv.Itoa(code), string(reason), label)
}

func (m *Metrics) request(c echo.Context, code int, reason mail.Reason, took time.Duration) {
	m.requests.WithLabelValues(strconv.Itoa(code), string(reason), web.CallerOf(c).Label).Inc()
	if strings.TrimSuffix(c.Path(), "/") == webhookPath {
		m.requestDuration.Observe(took.Seconds())
	}
}

func (m *Metrics) mail(d *mail.Delivery) {
	messageType := d.Type
	if !slices.Contains(m.types, messageType) {
		messageType = otherType
	}
	m.mails.WithLabelValues(messageType, d.Provider, string(d.Reason)).Inc()
	for _, attempt := range d.Attempts {
		m.attempts.WithLabelValues(attempt.Provider, attempt.Kind).Inc()
		m.attemptDuration.WithLabelValues(attempt.Provider).Observe(attempt.Duration.Seconds())
	}
}

// unknownMail is the status of an event of a mail that is not in the record.
const unknownMail = "unknown"

// ExpectEvents begins the series of the providers at 0, so that the first event is
// seen as one.
func (m *Metrics) ExpectEvents(names []string) {
	for _, name := range names {
		for _, status := range []mail.Status{mail.StatusDeferred, mail.StatusDelivered, mail.StatusBounced, mail.StatusComplained,
			mail.StatusSuppressed, mail.StatusFailed, unknownMail} {
			m.reported.WithLabelValues(name, string(status))
		}
	}
}

// Events counts what one call brought.
func (m *Metrics) Events(provider string, applied []mail.Event, unknown int) {
	for _, e := range applied {
		m.reported.WithLabelValues(provider, string(e.Status)).Inc()
	}
	m.reported.WithLabelValues(provider, unknownMail).Add(float64(unknown))
}
