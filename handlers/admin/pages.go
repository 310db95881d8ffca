package admin

import (
	"bytes"
	"cmp"
	_ "embed"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
)

var (
	//go:embed style.css
	styleSheet []byte
	//go:embed live.js
	liveScript []byte
)

const (
	stylePath = "/style.css"
	livePath  = "/live.js"
)

// pagePolicy lets a page have its stylesheet, pictures, frames and forms of its own,
// and nothing that runs. livePolicy adds the script that looks for new mails.
const (
	pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self' https:; frame-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	livePolicy = pagePolicy + "; script-src 'self'; connect-src 'self'"
)

// pages writes the admin pages within one layout.
type pages struct {
	sections []section
	access   *access
}

// section is an entry of the navigation.
type section struct{ path, title string }

// page is what the layout needs of a page.
type page struct {
	title string
	// path is that of the section that the page belongs to; empty for none.
	path string
	// live has the page show what is new; without scripts it loads itself again.
	live bool
}

func newPages(o Options, access *access) *pages {
	p := &pages{access: access, sections: []section{{"/", "Overview"}}}
	add := func(there bool, path, title string) {
		if there {
			p.sections = append(p.sections, section{path, title})
		}
	}
	add(o.Deliveries != nil, deliveriesPath, "Deliveries")
	add(o.Suppressions != nil, suppressionsPath, "Suppressions")
	add(o.Providers != nil, providersPath, "Providers")
	add(true, templatesPath, "Templates")
	add(o.Inbox != nil, inboxPath, "Inbox")
	return p
}

// show renders a page whole before the answer begins, so that an error can
// still become one.
func (p *pages) show(c echo.Context, code int, shown page, content ...Node) error {
	var rendered bytes.Buffer
	if err := p.layout(c, shown, content).Render(&rendered); err != nil {
		return err
	}
	policy := pagePolicy
	if shown.live {
		policy = livePolicy
	}
	protect(c, policy)
	// The forms of a page have to say where they come from.
	c.Response().Header().Set("Referrer-Policy", "same-origin")
	return c.HTMLBlob(code, rendered.Bytes())
}

// layout is what all pages have around their content. Who may not see the others is not
// led there.
func (p *pages) layout(c echo.Context, shown page, content Group) Node {
	return Doctype(HTML(Lang("en"),
		Head(
			Meta(Charset("utf-8")),
			Meta(Name("viewport"), Content("width=device-width, initial-scale=1")),
			Meta(Name("color-scheme"), Content("light dark")),
			If(shown.live, Group{
				Script(Src(livePath), Type("module")),
				NoScript(Meta(Attr("http-equiv", "refresh"), Content("3"))),
			}),
			TitleEl(Text(shown.title+" · logto-email-relay")),
			Link(Rel("stylesheet"), Href(stylePath)),
		),
		Body(
			A(Class("skip"), Href("#content"), Text("Skip to the content")),
			Header(Class("bar"), Div(Class("width"),
				A(Class("name"), Href("/"), Text("logto-email-relay")),
				If(p.access.check(c) == nil, Nav(Aria("label", "Pages"), Map(p.sections, func(s section) Node {
					return Group{Text(" "), A(Href(s.path), If(s.path == shown.path, Aria("current", "page")), Text(s.title))}
				}))),
				If(p.access.isLoggedIn(c.Request(), time.Now()), Form(Class("logout"), Method("post"), Action(logoutPath),
					Button(Class("small"), Type("submit"), Text("Log out")))),
			)),
			Main(Class("width"), ID("content"), content),
		),
	))
}

// bdi is a text of others, whose direction of writing changes nothing around it.
func bdi(text string, attributes ...Node) Node {
	return El("bdi", Group(attributes), Text(text))
}

// fact is a row of a list of facts.
func fact(name string, value ...Node) Node {
	return Div(Dt(Text(name)), Dd(value...))
}

// columns are the cells in the head of a table.
func columns(names ...string) Node {
	return Map(names, func(name string) Node { return Th(Scope("col"), Text(name)) })
}

// moment is a time in UTC.
func moment(t time.Time) Node {
	t = t.UTC()
	return Time(DateTime(t.Format(time.RFC3339)), Text(t.Format("2006-01-02 15:04:05")))
}

// mark is a status in its colour.
func mark(s mail.Status) Node {
	return Span(Class("mark "+outcome(s)), Text(string(s)))
}

// grouped writes a number with a thin gap between thousands.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// outcome is the class of a status.
func outcome(s mail.Status) string {
	switch s {
	case mail.StatusDelivered:
		return "good"
	case mail.StatusAccepted, mail.StatusSending:
		return ""
	case mail.StatusDeferred, mail.StatusUncertain:
		return "fair"
	}
	return "bad"
}

// answer answers operators, who need the status, the reference and what of their request
// cannot be read; browsers get a page.
func (p *pages) answer(c echo.Context, f *web.Failure) error {
	code := web.Status(f.Reason)
	switch code {
	case http.StatusUnauthorized:
		c.Response().Header().Set("WWW-Authenticate", `Basic realm="logto-email-relay admin", charset="UTF-8"`)
	case http.StatusTooManyRequests:
		c.Response().Header().Set("Retry-After", web.Seconds(f.RetryAfter))
	}
	web.Drain(c)
	if web.WantsHTML(c.Request().Header) {
		_ = p.show(c, code, page{title: http.StatusText(code)}, failurePage(code, advice(f.Reason), web.Reference(c))) // what cannot be shown is told below
		if c.Response().Committed {
			return nil
		}
	}
	why := ""
	if f.Reason == web.Malformed || f.Reason == web.Invalid {
		why = f.Detail
	}
	if web.WantsJSON(c.Request().Header) {
		return web.AnswerProblem(c, f.Reason, cmp.Or(why, advice(f.Reason)))
	}
	if why != "" {
		why = ": " + why
	}
	return c.String(code, http.StatusText(code)+why+" (ref "+web.Reference(c)+")\n")
}

func failurePage(code int, advice, reference string) Node {
	return Group{
		H1(Text(http.StatusText(code))),
		P(Text(advice)),
		P(Class("note"), Textf("Status %d, reference ", code), Code(Text(reference))),
		P(A(Href("/"), Text("Overview"))),
	}
}

// advice is what a failure's reader can do.
func advice(reason mail.Reason) string {
	switch reason {
	case web.NotFound:
		return "There is nothing at this address. A mail that is older than deliveries.retention is not kept."
	case mail.Timeout:
		return "The record did not answer within 5 seconds. A search for an address is quick, however many mails there are; where that is slow as well, the database is busy or away. Mails are sent all the same."
	case web.Unavailable:
		return "The record does not answer. Mails are sent all the same, and their deliveries are kept in memory until the database is back; the overview says how many. Try again in a moment."
	case web.Forbidden:
		return "This request comes from a page of another site, or names another host than this one."
	case web.Malformed, web.Invalid:
		return "The address of this page, or what the form sent, cannot be read."
	case mail.RateLimited:
		return "Too many wrong tokens came from your address. Wait a minute, then try again."
	}
	return "The log says more under the reference."
}

// protect sets the headers of a document. Nothing of it is stored, and nobody
// learns where its reader came from.
func protect(c echo.Context, policy string) {
	header := c.Response().Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
}

func style(c echo.Context) error {
	c.Response().Header().Set("X-Content-Type-Options", "nosniff")
	return c.Blob(http.StatusOK, "text/css; charset=utf-8", styleSheet)
}

func script(c echo.Context) error {
	c.Response().Header().Set("X-Content-Type-Options", "nosniff")
	return c.Blob(http.StatusOK, "text/javascript; charset=utf-8", liveScript)
}
