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

// The paths of the admin listener that are not pages.
const (
	readyPath         = "/readyz"
	metricsPath       = "/metrics"
	authorizationPath = "/authorization"
)

// adminReadTimeout bounds the body of a request to the admin listener.
const adminReadTimeout = 5 * time.Second

// Admin is what the admin listener needs.
type Admin struct {
	// Token is asked for on every page but the probes, as Bearer token or as the
	// password of HTTP Basic authentication; empty for none.
	Token settings.Secret
	// Ready tells whether the relay should get mail to send, and how it stands
	// with each thing that this depends on, by name.
	Ready   func() (ready bool, details map[string]string)
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
	Lift func(ctx context.Context, address string) map[string]string
	// Authorization is the value that webhooks must bear, for those who try
	// development mode by hand; empty everywhere else.
	Authorization string
	Logger        *slog.Logger
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
	server.GET(readyPath, readiness(o.Ready))
	server.HEAD(readyPath, readiness(o.Ready))
	server.GET(metricsPath, echo.WrapHandler(promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{})))

	if o.Authorization != "" {
		header := "Authorization: " + o.Authorization + "\n"
		server.GET(authorizationPath, func(c echo.Context) error { return c.String(http.StatusOK, header) })
	}

	pages := newPages(o.Inbox != nil)
	server.GET(stylePath, pages.style)
	server.GET("/", overview{pages, o.Ready}.show)
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

// requireToken asks for the token on everything but the probes. Without a token only
// this machine can connect, and then requests must name it too: a page on the
// web that points its own host name at 127.0.0.1 could read the mails otherwise.
func requireToken(token settings.Secret) echo.MiddlewareFunc {
	expected := [][sha256.Size]byte{sha256.Sum256([]byte(token.Reveal()))}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			switch {
			case c.Path() == healthPath || c.Path() == readyPath:
			case token.Reveal() == "":
				if !isLocalName(c.Request().Host) {
					return &failure{reason: forbidden, detail: "the Host header does not name this machine, and no admin.token is set"}
				}
			case placeOf(expected, presentedToken(c.Request())) == none:
				return &failure{reason: unauthorized, detail: "not admin.token"}
			}
			return next(c)
		}
	}
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
	if !drained(c.Request()) {
		c.Response().Header().Set("Connection", "close")
	}
	return c.String(code, http.StatusText(code)+" (ref "+reference(c)+")\n")
}

// readiness is the answer of /readyz.
func readiness(ready func() (bool, map[string]string)) echo.HandlerFunc {
	type answer struct {
		Ready   bool              `json:"ready"`
		Details map[string]string `json:"details,omitempty"`
	}
	return func(c echo.Context) error {
		isReady, details := ready()
		code := http.StatusOK
		if !isReady {
			code = http.StatusServiceUnavailable
		}
		c.Response().Header().Set("Cache-Control", "no-store")
		return c.JSON(code, answer{isReady, details})
	}
}

// overview is the first page: how the relay is, and where to go.
type overview struct {
	pages *pages
	ready func() (bool, map[string]string)
}

func (o overview) show(c echo.Context) error {
	ready, details := o.ready()
	return o.pages.show(c, "overview", page{Title: "Overview", Content: struct {
		Ready   bool
		Details map[string]string
	}{ready, details}})
}
