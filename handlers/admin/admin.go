package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"logto-email-relay/handlers/web"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

const metricsPath = "/metrics"

// readTimeout bounds the body of a request to the admin listener.
const readTimeout = 5 * time.Second

// Options are what the admin listener needs.
type Options struct {
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
	// Sender is who mails are from, as lists of mails show it.
	Sender string
	// Send sends a mail of the gallery to an address.
	Send Send
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

// New returns the handler of the admin listener. Its probes are open;
// everything else asks for the token, if there is one.
func New(o Options) http.Handler {
	middleware := &web.Middleware{Logger: o.Logger, ReadTimeout: readTimeout, Answer: answer, AccessLevel: slog.LevelDebug}
	server := middleware.NewEcho()
	server.IPExtractor = echo.ExtractIPDirect()
	server.Use(requireToken(o.Token))
	server.GET(web.HealthPath, web.Alive)
	server.HEAD(web.HealthPath, web.Alive)
	server.GET(web.ReadyPath, readiness(o))
	server.HEAD(web.ReadyPath, readiness(o))
	server.GET(metricsPath, echo.WrapHandler(promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{})))

	pages := newPages(o.Inbox != nil)
	server.GET(stylePath, pages.style)
	server.GET("/", overview{pages, o.Status}.show)
	server.GET(livePath, pages.script)
	gallery := templatePages{pages, o.Gallery, o.Branding, o.Sender, o.Problem, o.Send}
	server.GET(templatesPath, gallery.list)
	server.GET(templatesPath+"/:type", gallery.list)
	server.GET(templatesPath+"/:type/:locale", gallery.mail)
	server.GET(templatesPath+"/:type/:locale/html", gallery.html)
	server.POST(templatesPath+"/:type/:locale/send", gallery.sendSample)
	if o.Inbox != nil {
		inbox := inboxPages{pages, o.Inbox}
		server.GET(inboxPath, inbox.list)
		server.GET(inboxPath+"/:id", inbox.mail)
		server.GET(inboxPath+"/:id/html", inbox.html)
		server.GET(inboxPath+"/:id/message.eml", inbox.download)
		server.POST(inboxPath+"/:id/delete", inbox.remove)
		server.POST(inboxPath+"/clear", inbox.clear)
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
			if c.Path() != web.HealthPath && c.Path() != web.ReadyPath {
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
			return &web.Failure{Reason: web.Forbidden, Detail: "the Host header does not name this machine, and no admin.token is set"}
		}
		return nil
	}
	if !sameText(token.Reveal(), presentedToken(r)) {
		return &web.Failure{Reason: web.Unauthorized, Detail: "not admin.token"}
	}
	return nil
}

// sameText compares in a time that tells nothing of the texts.
func sameText(one, other string) bool {
	a, b := sha256.Sum256([]byte(one)), sha256.Sum256([]byte(other))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
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

// answer answers operators, who need the status and the reference only.
func answer(c echo.Context, f *web.Failure) error {
	code := web.Status(f.Reason)
	if code == http.StatusUnauthorized {
		c.Response().Header().Set("WWW-Authenticate", `Basic realm="logto-email-relay admin", charset="UTF-8"`)
	}
	if !web.Drained(c.Request()) {
		c.Response().Header().Set("Connection", "close")
	}
	return c.String(code, http.StatusText(code)+" (ref "+web.Reference(c)+")\n")
}

// readiness is the answer of /readyz. Strangers learn no more than what the status
// code says.
func readiness(o Options) echo.HandlerFunc {
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
