package handlers

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/semaphore"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// webhookPath is where Logto calls. Some who set it up end it with a slash.
const webhookPath = "/logto/email"

// Deliverer sends one mail and tells what became of it.
type Deliverer interface {
	Deliver(ctx context.Context, r relay.Request) *mail.Delivery
}

// Public is what the public listener needs.
type Public struct {
	// Authorization are the accepted values of the Authorization header, whole and
	// byte for byte, with the tenants whose they are.
	Authorization []settings.Token
	// AllowedIPs are the callers that may use the webhook; everybody when empty.
	AllowedIPs []settings.Network
	// TrustedProxies are the proxies whose X-Forwarded-For is believed.
	TrustedProxies []settings.Network
	// Timeout bounds everything between a webhook and its answer.
	Timeout time.Duration
	// Ready tells balancers whether to send webhooks here.
	Ready func() bool

	// Providers are the names of all providers, whose metrics begin at 0.
	Providers []string
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
	// eventCalls counts the calls with events under way, eventBytes the bodies of these and of
	// those that wait, and unread has those that are read.
	eventCalls *semaphore.Weighted
	eventBytes *semaphore.Weighted
	unread     unreadBodies
}

// NewPublic returns the handler of the public listener: the webhook, the providers'
// events and a probe that says that the process is alive.
func NewPublic(o Public) http.Handler {
	p := &public{
		Public:     o,
		accepted:   newAuthorization(o.Authorization),
		decoder:    newDecoder(o.Links),
		eventCalls: semaphore.NewWeighted(eventCalls),
		eventBytes: semaphore.NewWeighted(eventBytes),
	}
	middleware := &web.Middleware{
		Logger: o.Logger,
		// The other half is for the mail.
		ReadTimeout: o.Timeout / 2,
		Answer:      func(c echo.Context, f *web.Failure) error { return answerFailure(c, f, o.Sentences) },
		AccessLevel: slog.LevelInfo,
		Observe:     o.Metrics.request,
	}
	o.Metrics.expect(p.accepted.callers, o.Providers)
	server := middleware.NewEcho()
	server.IPExtractor = callerAddress(o.TrustedProxies)
	server.Use(expectPath, refuseOptions)
	webhook := p.limitBody(p.requireAllowedIP(p.requireAuthorization(p.webhook)))
	server.POST(webhookPath, webhook)
	server.POST(webhookPath+"/", webhook)
	if len(o.Events) > 0 {
		server.POST(eventsPath, p.takeEvents)
		o.Metrics.ExpectEvents(slices.Collect(maps.Keys(o.Events)))
	}
	server.GET(web.HealthPath, web.Alive, web.WithoutBody)
	server.HEAD(web.HealthPath, web.Alive, web.WithoutBody)
	server.GET(web.ReadyPath, p.ready, web.WithoutBody)
	server.HEAD(web.ReadyPath, p.ready, web.WithoutBody)
	return server
}

// ready answers the balancer's probe.
func (p *public) ready(c echo.Context) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	if !p.Ready() {
		return c.String(http.StatusServiceUnavailable, "stopping\n")
	}
	return c.String(http.StatusOK, "ok\n")
}

// maxShownPath bounds a path in the log, in bytes. A part of it that is longer than
// maxShownPart may hold a token.
const maxShownPath, maxShownPart = 64, 15

// expectPath says in the log which path was asked for in vain, since it is often
// Logto's endpoint with a mistake in it, such as the token behind it.
func expectPath(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		var routing *echo.HTTPError
		if errors.As(err, &routing) && routing.Code == http.StatusNotFound {
			path := c.Request().URL.Path
			parts := strings.SplitN(path, "/", maxShownPath) // no more are shown
			for i, part := range parts {
				if len(part) > maxShownPart {
					parts[i] = "[long]"
				}
			}
			path = strings.Join(parts, "/")
			return &web.Failure{Reason: web.NotFound, Err: err, Detail: "no such path: " +
				strconv.QuoteToASCII(path[:min(len(path), maxShownPath)]) + "; Logto's endpoint is " + webhookPath}
		}
		return err
	}
}

// refuseOptions refuses what Echo would answer itself, to anybody and with a success.
func refuseOptions(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method == http.MethodOptions && c.Path() != "" {
			return echo.MethodNotAllowedHandler(c)
		}
		return next(c)
	}
}

// requireAllowedIP lets only the callers pass that the operator listed, if any.
func (p *public) requireAllowedIP(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if len(p.AllowedIPs) > 0 {
			address, err := netip.ParseAddr(c.RealIP())
			if err != nil {
				return &web.Failure{Reason: web.Forbidden, Detail: "the caller's address cannot be read: look at what the proxy writes into X-Forwarded-For"}
			}
			if !contains(p.AllowedIPs, address) {
				return &web.Failure{Reason: web.Forbidden, Detail: "the caller's address is not in server.allowedIPs"}
			}
		}
		return next(c)
	}
}
