package handlers

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// The paths of the public listener.
const (
	webhookPath = "/logto/email"
	healthPath  = "/healthz"
)

// Deliverer sends one mail and tells what became of it.
type Deliverer interface {
	Deliver(ctx context.Context, r relay.Request) *mail.Delivery
}

// Public is what the public listener needs.
type Public struct {
	// Authorization are the accepted values of the Authorization header, whole and
	// byte for byte.
	Authorization []settings.Secret
	// AllowedIPs are the callers that may use the webhook; everybody when empty.
	AllowedIPs []settings.Network
	// TrustedProxies are the proxies whose X-Forwarded-For is believed.
	TrustedProxies []settings.Network
	// Timeout bounds everything between a webhook and its answer.
	Timeout time.Duration

	// Events are the providers, by name, whose services may call with events, and
	// EventRecord is where these go.
	Events      map[string]EventReceiver
	EventRecord EventRecord

	Relay     Deliverer
	Sentences Sentences
	// Links are the links that a payload may bring.
	Links   templates.Links
	Metrics *Metrics
	Logger  *slog.Logger
}

// public is the public listener's handler.
type public struct {
	Public
	accepted *authorization
	decoder  *decoder
	// eventCalls holds a value for every call with events under way.
	eventCalls chan struct{}
}

// NewPublic returns the handler of the public listener: the webhook, the providers'
// events and a probe that says that the process is alive.
func NewPublic(o Public) http.Handler {
	p := &public{Public: o, accepted: newAuthorization(o.Authorization), decoder: newDecoder(o.Links), eventCalls: make(chan struct{}, eventCalls)}
	middleware := &middleware{
		logger: o.Logger,
		// The other half is for the mail.
		readTimeout: o.Timeout / 2,
		answer:      func(c echo.Context, f *failure) error { return answerFailure(c, f, o.Sentences) },
		accessLevel: slog.LevelInfo,
		observe:     o.Metrics.request,
	}
	server := middleware.newEcho()
	server.IPExtractor = callerAddress(o.TrustedProxies)
	server.POST(webhookPath, p.limitBody(p.requireAllowedIP(p.requireAuthorization(p.webhook))))
	if len(o.Events) > 0 {
		server.POST(eventsPath, p.takeEvents)
		o.Metrics.expectEvents(slices.Collect(maps.Keys(o.Events)))
	}
	server.GET(healthPath, alive)
	server.HEAD(healthPath, alive)
	return server
}

// alive answers the probe of a running process.
func alive(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// requireAllowedIP lets only the callers pass that the operator listed, if any.
func (p *public) requireAllowedIP(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if len(p.AllowedIPs) > 0 {
			address, err := netip.ParseAddr(c.RealIP())
			if err != nil || !contains(p.AllowedIPs, address) {
				return &failure{reason: forbidden, detail: "the caller's address is not in server.allowedIPs"}
			}
		}
		return next(c)
	}
}
