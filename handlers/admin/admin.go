package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"logto-email-relay/handlers/web"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

const metricsPath = "/metrics"

// readTimeout bounds the body of a request to the admin listener.
const readTimeout = 5 * time.Second

// Options are what the admin listener needs.
type Options struct {
	// Token is asked for on every page but the probes, as Bearer token, as the password of
	// HTTP Basic authentication or once at the login page; empty for none.
	Token   settings.Secret
	Status  func() Status
	Metrics prometheus.Gatherer
	// Problem is why the last change of the configuration or of the templates was
	// not taken, nil if it was.
	Problem func() error
	// Providers are the states of the providers, in the order of the configuration.
	Providers func() []relay.Status
	// Gallery shows the templates, in the operator's branding.
	Gallery  Gallery
	Branding templates.Branding
	// Sender is who mails are from, as lists of mails show it.
	Sender string
	// Send sends a mail of the gallery to an address; nil where none can be sent.
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
	access := newAccess(o.Token)
	pages := newPages(o, access)
	middleware := &web.Middleware{Logger: o.Logger, ReadTimeout: readTimeout, Answer: pages.answer, AccessLevel: slog.LevelDebug}
	server := middleware.NewEcho()
	server.IPExtractor = echo.ExtractIPDirect()
	server.Use(access.require, refuseOtherSites, refuseBrokenQueries)
	get := func(path string, handler echo.HandlerFunc) {
		server.Match([]string{http.MethodGet, http.MethodHead}, path, handler, web.WithoutBody)
	}
	get(web.HealthPath, web.Alive)
	get(web.ReadyPath, readiness(o, access))
	get(metricsPath, echo.WrapHandler(promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{})))

	get(stylePath, style)
	if o.Token.Reveal() != "" {
		login := loginPages{pages, access}
		get(loginPath, login.form)
		server.POST(loginPath, login.login)
		server.POST(logoutPath, login.logout)
	}
	get("/", overview{pages, o}.show)
	if o.Providers != nil {
		get(providersPath, providerPages{pages, o}.list)
	}
	get(livePath, script)
	gallery := templatePages{pages, o.Gallery, o.Branding, o.Sender, o.Problem, o.Send}
	get(templatesPath, gallery.list)
	get(templatesPath+"/:type", gallery.list)
	get(templatesPath+"/:type/:locale", gallery.mail)
	get(templatesPath+"/:type/:locale/html", gallery.html)
	if o.Send != nil {
		server.POST(templatesPath+"/:type/:locale/send", gallery.sendSample)
	}
	if o.Inbox != nil {
		inbox := inboxPages{pages, o.Inbox}
		get(inboxPath, inbox.list)
		get(inboxPath+"/:id", inbox.mail)
		get(inboxPath+"/:id/html", inbox.html)
		get(inboxPath+"/:id/message.eml", inbox.download)
		server.POST(inboxPath+"/:id/delete", inbox.remove)
		server.POST(inboxPath+"/clear", inbox.clear)
	}
	if o.Deliveries != nil {
		record := recordPages{pages, o}
		get(deliveriesPath, record.list)
		get(deliveriesPath+"/:id", record.one)
	}
	if o.Suppressions != nil {
		suppressions := suppressionPages{pages, o.Suppressions, o.Lift}
		get(suppressionsPath, suppressions.show)
		server.POST(suppressionsPath, suppressions.add)
		server.POST(liftPath, suppressions.liftForm)
		server.DELETE(suppressionsPath+"/:address", suppressions.remove)
	}
	return server
}

// refuseOtherSites refuses what changes something and comes from a page of another
// site: the browser would add the login of its reader.
func refuseOtherSites(next echo.HandlerFunc) echo.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	return func(c echo.Context) error {
		if err := protection.Check(c.Request()); err != nil {
			return &web.Failure{Reason: web.Forbidden, Detail: "a page of another site asks for a change", Err: err}
		}
		return next(c)
	}
}

// refuseBrokenQueries refuses a query of which a part cannot be read. Without that part
// the search would be for something else, and mostly for all.
func refuseBrokenQueries(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if _, err := url.ParseQuery(c.Request().URL.RawQuery); err != nil {
			return &web.Failure{Reason: web.Malformed, Detail: "the query cannot be read: write %25 for a percent sign and %3B for a semicolon"}
		}
		return next(c)
	}
}

// readiness is the answer of /readyz. Strangers learn no more than what the status
// code says.
func readiness(o Options, access *access) echo.HandlerFunc {
	return func(c echo.Context) error {
		status := o.Status()
		code := http.StatusOK
		if !status.Ready {
			code = http.StatusServiceUnavailable
		}
		if access.check(c) != nil {
			status = Status{Ready: status.Ready}
		}
		c.Response().Header().Set("Cache-Control", "no-store")
		return c.JSON(code, status)
	}
}
