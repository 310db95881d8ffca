package handlers

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

const metricsPath = "/metrics"

// adminReadTimeout bounds the body of a request to the admin listener.
const adminReadTimeout = 5 * time.Second

// Admin is what the admin listener needs.
type Admin struct {
	// Token is asked for on every page but the probes, as Bearer token or as the
	// password of HTTP Basic authentication; empty for none.
	Token   settings.Secret
	Status  func() Status
	Metrics prometheus.Gatherer
	// Problem is why the last change of the configuration or of the templates was
	// not taken, nil if it was.
	Problem func() error
	// Gallery shows the templates, in the operator's branding.
	Gallery  Gallery
	Branding templates.Branding
	// Inbox is nil where no provider keeps its mails to look at.
	Inbox Inbox
	// Deliveries and Suppressions are nil where nothing is recorded.
	Deliveries   Deliveries
	Suppressions Suppressions
	// Lift takes an address off the lists of the providers' services, and returns what
	// each of them said.
	Lift   func(ctx context.Context, address string) map[string]string
	Logger *slog.Logger
}

// Status tells how the relay is.
type Status struct {
	// Ready tells whether it should get webhooks.
	Ready bool `json:"ready"`
	// Degraded tells that it needs somebody's help all the same.
	Degraded bool `json:"degraded,omitempty"`
	// Details tell how it stands with each thing that it depends on, by name.
	Details map[string]string `json:"details,omitempty"`
}

// NewAdmin returns the handler of the admin listener. Its probes are open;
// everything else asks for the token, if there is one.
func NewAdmin(o Admin) http.Handler {
	middleware := &middleware{logger: o.Logger, readTimeout: adminReadTimeout, answer: answerAdmin, accessLevel: slog.LevelDebug}
	server := middleware.newEcho()
	server.IPExtractor = callerAddress(nil)
	server.Use(requireToken(o.Token))
	server.GET(healthPath, alive)
	server.HEAD(healthPath, alive)
	server.GET(readyPath, readiness(o))
	server.HEAD(readyPath, readiness(o))
	server.GET(metricsPath, echo.WrapHandler(promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{})))

	pages := newPages(o.Inbox != nil)
	server.GET(stylePath, pages.style)
	server.GET("/", overview{pages, o.Status}.show)
	gallery := templatePages{pages, o.Gallery, o.Branding, o.Problem}
	server.GET(templatesPath, gallery.list)
	server.GET(templatesPath+"/:type", gallery.list)
	server.GET(templatesPath+"/:type/:locale", gallery.mail)
	server.GET(templatesPath+"/:type/:locale/html", gallery.html)
	if o.Inbox != nil {
		inbox := inboxPages{pages, o.Inbox}
		server.GET(inboxPath, inbox.list)
		server.GET(inboxPath+"/:id", inbox.mail)
		server.GET(inboxPath+"/:id/html", inbox.html)
	}
	if o.Deliveries != nil {
		record := recordPages{o.Deliveries}
		server.GET(deliveriesPath, record.list)
		server.GET(deliveriesPath+"/:id", record.one)
	}
	if o.Suppressions != nil {
		suppressions := suppressionPages{o.Suppressions, o.Lift}
		server.GET(suppressionsPath, suppressions.show)
		server.POST(suppressionsPath, suppressions.add)
		server.DELETE(suppressionsPath+"/:address", suppressions.remove)
	}
	return server
}

// requireToken asks everybody who wants more than the probes.
func requireToken(token settings.Secret) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if c.Path() != healthPath && c.Path() != readyPath {
				if refused := maySee(c.Request(), token); refused != nil {
					return refused
				}
			}
			return next(c)
		}
	}
}

// maySee asks for the token, if there is one. Without a token only this machine can
// connect, and then requests must name it too: a page on the web that points its own
// host name at 127.0.0.1 could read the mails otherwise.
func maySee(r *http.Request, token settings.Secret) error {
	if token.Reveal() == "" {
		if !isLocalName(r.Host) {
			return &failure{reason: forbidden, detail: "the Host header does not name this machine, and no admin.token is set"}
		}
		return nil
	}
	if placeOf([][sha256.Size]byte{sha256.Sum256([]byte(token.Reveal()))}, presentedToken(r)) == none {
		return &failure{reason: unauthorized, detail: "not admin.token"}
	}
	return nil
}

// presentedToken returns the Bearer token of a request, or the password of its
// HTTP Basic authentication, which browsers can ask people for.
func presentedToken(r *http.Request) string {
	if len(r.Header.Values("Authorization")) > 1 {
		return ""
	}
	if _, password, isBasic := r.BasicAuth(); isBasic {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

func isLocalName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// answerAdmin answers operators, who need the status and the reference only.
func answerAdmin(c echo.Context, f *failure) error {
	code := status(f.reason)
	if code == http.StatusUnauthorized {
		c.Response().Header().Set("WWW-Authenticate", `Basic realm="logto-email-relay admin", charset="UTF-8"`)
	}
	if f.retryAfter > 0 {
		c.Response().Header().Set("Retry-After", seconds(f.retryAfter))
	}
	if !drained(c.Request()) {
		c.Response().Header().Set("Connection", "close")
	}
	return c.String(code, http.StatusText(code)+" (ref "+reference(c)+")\n")
}

// readiness is the answer of /readyz. Strangers learn no more than what the status
// code says.
func readiness(o Admin) echo.HandlerFunc {
	return func(c echo.Context) error {
		status := o.Status()
		code := http.StatusOK
		if !status.Ready {
			code = http.StatusServiceUnavailable
		}
		if maySee(c.Request(), o.Token) != nil {
			status = Status{Ready: status.Ready}
		}
		c.Response().Header().Set("Cache-Control", "no-store")
		return c.JSON(code, status)
	}
}

// overview is the first page: how the relay is, and where to go.
type overview struct {
	pages  *pages
	status func() Status
}

func (o overview) show(c echo.Context) error {
	return o.pages.show(c, "overview", page{Title: "Overview", Content: o.status()})
}
