package handlers

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/relay"
	"logto-email-relay/templates"
)

// The paths of the public listener.
const (
	webhookPath = "/logto/email"
	healthPath  = "/healthz"
)

// Deliverer sends one mail. Its error is a *relay.Error.
type Deliverer interface {
	Deliver(ctx context.Context, r relay.Request) (relay.Receipt, error)
}

// Public is what the public listener needs.
type Public struct {
	Relay     Deliverer
	Sentences Sentences
	// Links are the links that a payload may bring.
	Links   templates.Links
	Metrics *Metrics
	Logger  *slog.Logger
	// MailLogger writes the lines of mails, each of which is followed at once by
	// a line of Logger at level info or above.
	MailLogger *slog.Logger
}

// NewPublic returns the handler of the public listener: the webhook and a probe
// that says that the process is alive.
func NewPublic(s Settings, deps Public) http.Handler {
	p := &public{
		relay:      deps.Relay,
		sentences:  deps.Sentences,
		metrics:    deps.Metrics,
		logger:     deps.MailLogger,
		accepted:   newAuthorization(s.Authorization),
		allowedIPs: s.AllowedIPs,
		decoder:    newDecoder(deps.Links),
		timeout:    time.Duration(s.Timeout),
	}
	edge := &edge{
		logger: deps.Logger,
		answer: func(c echo.Context, f *failure) error {
			return answerFailure(c, f, deps.Sentences)
		},
		accessLevel: slog.LevelInfo,
		observe:     deps.Metrics.request,
	}
	server := edge.newEcho()
	server.IPExtractor = callerAddress(s.TrustedProxies)
	server.POST(webhookPath, p.sized(p.allowed(p.authorized(p.webhook))))
	server.GET(healthPath, alive)
	server.HEAD(healthPath, alive)
	return server
}

// alive answers the probe of a running process.
func alive(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// allowed lets only the callers pass that the operator listed, if any.
func (p *public) allowed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if len(p.allowedIPs) > 0 {
			address, err := netip.ParseAddr(c.RealIP())
			if err != nil || !contains(p.allowedIPs, address) {
				return &failure{reason: relay.Forbidden, detail: "the caller's address is not in server.allowedIPs"}
			}
		}
		return next(c)
	}
}

// authorized lets only those pass who know one of the accepted values.
func (p *public) authorized(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if mismatch := p.accepted.check(c.Request().Header); mismatch != "" {
			return &failure{reason: relay.Unauthorized, detail: mismatch}
		}
		return next(c)
	}
}
