package admin

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"

	"github.com/labstack/echo/v4"
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
	templates map[string]*template.Template
	sections  []section
	sheet     []byte
	live      []byte
}

// section is an entry of the navigation.
type section struct{ Path, Title string }

// page is what the layout needs of a page.
type page struct {
	Title string
	// Path is that of the section that the page belongs to.
	Path string
	// Live has the page show what is new; without scripts it loads itself again.
	Live     bool
	Sections []section
	Content  any
}

// newPages reads the embedded pages; one that does not parse is a bug.
func newPages(withInbox bool) *pages {
	p := &pages{templates: make(map[string]*template.Template), sections: []section{{"/", "Overview"}, {templatesPath, "Templates"}}}
	if withInbox {
		p.sections = append(p.sections, section{inboxPath, "Inbox"})
	}
	for _, name := range []string{"overview", "templates", "template", "inbox", "mail"} {
		p.templates[name] = template.Must(
			template.ParseFS(pageFiles, "pages/layout.html", "pages/look.html", "pages/"+name+".html"))
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

// show renders a page whole before the answer begins, so that an error can
// still become one.
func (p *pages) show(c echo.Context, name string, content page) error {
	content.Sections = p.sections
	if content.Path == "" {
		content.Path = "/"
	}
	var rendered bytes.Buffer
	if err := p.templates[name].ExecuteTemplate(&rendered, "layout.html", content); err != nil {
		return err
	}
	policy := pagePolicy
	if content.Live {
		policy = livePolicy
	}
	protect(c, policy)
	return c.HTMLBlob(http.StatusOK, rendered.Bytes())
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
