package admin

import (
	"bytes"
	"cmp"
	"embed"
	"html/template"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/deliveries"
	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
)

//go:embed pages
var pageFiles embed.FS

const stylePath = "/style.css"

// pagePolicy lets a page have its stylesheet, pictures, frames and forms of its own,
// and nothing that runs. livePolicy adds the script that looks for new mails.
const (
	pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self' https:; frame-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	livePolicy = pagePolicy + "; script-src 'self'; connect-src 'self'"
)

// pages renders the admin pages: one template each, within one layout.
type pages struct {
	templates map[string]func() *template.Template
	sections  []section
	sheet     []byte
	live      []byte
	access    *access
}

// section is an entry of the navigation.
type section struct{ Path, Title string }

// page is what the layout needs of a page.
type page struct {
	Title string
	// Path is that of the section that the page belongs to; empty for none.
	Path string
	// Live has the page show what is new; without scripts it loads itself again.
	Live bool
	// Sections are those that the reader may go to.
	Sections []section
	// LoggedIn tells whether the reader may log out.
	LoggedIn bool
	Content  any
}

// newPages makes the pages. Each is read when it is first looked at, since many a relay
// is never looked at; one that does not parse is a bug.
func newPages(o Options, access *access) *pages {
	p := &pages{templates: make(map[string]func() *template.Template), access: access, sections: []section{{"/", "Overview"}}}
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
	for _, name := range []string{"overview", "deliveries", "delivery", "suppressions", "providers", "templates", "template", "inbox", "mail", "login", "failure"} {
		p.templates[name] = sync.OnceValue(func() *template.Template {
			return template.Must(template.New("").Funcs(words).ParseFS(pageFiles, "pages/layout.html", "pages/parts.html", "pages/look.html", "pages/"+name+".html"))
		})
	}
	p.sheet, p.live = pageFile("style.css"), pageFile("live.js")
	return p
}

// pageFile returns an embedded file.
func pageFile(name string) []byte {
	content, err := pageFiles.ReadFile("pages/" + name)
	if err != nil {
		panic(err)
	}
	return content
}

// words are how pages write values.
var words = template.FuncMap{
	"span":    deliveries.Spoken,
	"count":   grouped,
	"stamp":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"when":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"ref":     mail.Reference,
	"outcome": outcome,
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

// show renders a page whole before the answer begins, so that an error can
// still become one.
func (p *pages) show(c echo.Context, code int, name string, content page) error {
	content.LoggedIn = p.access.isLoggedIn(c.Request(), time.Now())
	if p.access.check(c) == nil {
		content.Sections = p.sections
	}
	var rendered bytes.Buffer
	if err := p.templates[name]().ExecuteTemplate(&rendered, "layout.html", content); err != nil {
		return err
	}
	policy := pagePolicy
	if content.Live {
		policy = livePolicy
	}
	protect(c, policy)
	// The forms of a page have to say where they come from.
	c.Response().Header().Set("Referrer-Policy", "same-origin")
	return c.HTMLBlob(code, rendered.Bytes())
}

// shownFailure is what the page of a failure says.
type shownFailure struct {
	Code                     int
	Title, Advice, Reference string
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
	if !web.Drained(c.Request()) {
		c.Response().Header().Set("Connection", "close")
	}
	if web.WantsHTML(c.Request().Header) {
		title := http.StatusText(code)
		shown := page{Title: title, Content: shownFailure{Code: code, Title: title, Advice: advice(f.Reason), Reference: web.Reference(c)}}
		_ = p.show(c, code, "failure", shown) // what cannot be shown is told below
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

// advice is what a failure's reader can do.
func advice(reason mail.Reason) string {
	switch reason {
	case web.NotFound:
		return "There is nothing at this address. A mail that is older than deliveries.retention is not kept."
	case web.Unavailable, mail.Timeout:
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

func (p *pages) style(c echo.Context) error {
	c.Response().Header().Set("X-Content-Type-Options", "nosniff")
	return c.Blob(http.StatusOK, "text/css; charset=utf-8", p.sheet)
}

func (p *pages) script(c echo.Context) error {
	c.Response().Header().Set("X-Content-Type-Options", "nosniff")
	return c.Blob(http.StatusOK, "text/javascript; charset=utf-8", p.live)
}
