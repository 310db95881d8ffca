package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/labstack/echo/v4"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"logto-email-relay/mail"
)

// mailView is one mail as a page shows it, in the form that the query asks for.
type mailView struct {
	html, text string
	// raw is the whole as it goes to a server; empty where it is not known.
	raw string
	// path is that of the mail. Its HTML alone is below it.
	path string
	look
}

// node shows the mail below the choices.
func (v mailView) node() Node {
	var shown Node
	switch v.view {
	case "html":
		class := "mail " + v.scheme()
		if v.phone {
			class += " phone"
		}
		shown = IFrame(Class(class), Attr("sandbox"), Src(v.frame(v.path)), Title("The mail as HTML"))
	case "raw":
		shown = Pre(Class("card"), Text(v.raw))
	case "text":
		shown = Pre(Class("card"), Dir("auto"), Text(v.text))
	default:
		shown = Pre(Class("card"), Text(v.html))
	}
	return Group{Div(Class("tools"), v.choices()), shown}
}

// facts are what is in the HTML.
func (v mailView) facts() Node {
	inside := Text("nothing that mail programs are known not to show")
	if v.html == "" {
		inside = Text("none")
	} else if findings := checkHTML(v.html); len(findings) > 0 {
		inside = Ul(Class("plain"), Map(findings, func(finding string) Node { return Li(Text(finding)) }))
	}
	listed := Text("none")
	if links := linksOf(v.html); len(links) > 0 {
		listed = Ul(Class("plain"), Map(links, func(l link) Node {
			return Li(bdi(cmp.Or(l.Text, "(no text)")), Text(": "), Code(Text(l.Target)))
		}))
	}
	return Group{fact("HTML", inside), fact("Links", listed)}
}

// sizes tells how long the parts are.
func (v mailView) sizes() string {
	text := fmt.Sprintf("%d bytes of text", len(v.text))
	if v.html != "" {
		text = fmt.Sprintf("%d bytes of HTML, ", len(v.html)) + text
	}
	return text
}

// look is how a mail is looked at.
type look struct {
	// view is "html", "text", "source" for the HTML as it is sent, or "raw" for the
	// whole mail.
	view string
	// phone narrows the frame to the width of a telephone.
	phone bool
	// dark is for readers whose device is set to dark colours.
	dark bool
	// sample is what a sample is made of, which stays the same.
	sample
}

// newLook reads the query. A mail without HTML has its text only.
func newLook(c echo.Context, html mail.Body) look {
	l := look{view: c.QueryParam("view"), phone: c.QueryParam("width") == "phone", dark: isDark(c)}
	switch {
	case l.view == "raw":
	case html.IsEmpty():
		l.view = "text"
	case l.view != "text" && l.view != "source":
		l.view = "html"
	}
	return l
}

func isDark(c echo.Context) bool { return c.QueryParam("scheme") == "dark" }

func (l look) scheme() string {
	if l.dark {
		return "dark"
	}
	return "light"
}

// frame is the address of a mail's HTML alone, in the colours of this look.
func (l look) frame(path string) string {
	query := look{view: "html", sample: l.sample}.values()
	query.Set("scheme", l.scheme())
	return path + "/html?" + query.Encode()
}

// query is the look as a page's address has it, from the question mark on. What
// goes without saying is left out.
func (l look) query() string {
	if query := l.values(); len(query) > 0 {
		return "?" + query.Encode()
	}
	return ""
}

func (l look) values() url.Values {
	query := make(url.Values)
	if l.view != "html" {
		query.Set("view", l.view)
	}
	if l.phone {
		query.Set("width", "phone")
	}
	if l.dark {
		query.Set("scheme", "dark")
	}
	if l.variant != "" {
		query.Set("variant", l.variant)
	}
	if l.data != "" {
		query.Set("data", l.data)
	}
	return query
}

// option is one look of a group.
type option struct {
	title, query string
	current      bool
}

// choice is a group of looks that a page offers side by side.
func choice(title string, options ...option) Node {
	return Nav(Class("choice"), Aria("label", title), Map(options, func(o option) Node {
		return Group{Text(" "), A(Href(cmp.Or(o.query, "?")), If(o.current, Aria("current", "true")), Text(o.title))}
	}))
}

// choices are the looks to choose from.
func (v mailView) choices() Node {
	view := func(title, name string) option {
		other := v.look
		other.view = name
		return option{title, other.query(), v.view == name}
	}
	var forms []option
	if v.html != "" {
		forms = append(forms, view("HTML", "html"))
	}
	forms = append(forms, view("Text", "text"))
	if v.html != "" {
		forms = append(forms, view("HTML source", "source"))
	}
	if v.raw != "" {
		forms = append(forms, view("Raw", "raw"))
	}
	choices := Group{choice("Form", forms...)}
	if v.view == "html" {
		choices = append(choices, v.widths(), v.colours())
	}
	return choices
}

func (l look) widths() Node {
	desktop, phone := l, l
	desktop.phone, phone.phone = false, true
	return choice("Width", option{"Desktop", desktop.query(), !l.phone}, option{"Phone", phone.query(), l.phone})
}

// colours offers light and dark ones.
func (l look) colours() Node {
	light, dark := l, l
	light.dark, dark.dark = false, true
	return choice("Colours", option{"Light", light.query(), !l.dark}, option{"Dark", dark.query(), l.dark})
}

// mailPolicy shuts a mail's HTML in, also for those who open it without the
// frame: no scripts, no forms, no origin of its own, pictures as mail readers
// load them.
const mailPolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// showMail answers with a mail's HTML, for a frame. Without a colour scheme in the query it is
// as it is sent.
func showMail(c echo.Context, html string) error {
	protect(c, mailPolicy)
	if scheme := c.QueryParam("scheme"); scheme != "" {
		html = inScheme(html, scheme)
	}
	return c.HTML(http.StatusOK, html)
}

var preference = regexp.MustCompile(`(?i)\(\s*prefers-color-scheme\s*:\s*(dark|light)\s*\)`)

// inScheme answers what a mail asks about the reader's colours. Chrome and Firefox would answer
// with the colour scheme of the frame, but Safari with that of whoever looks at the page.
func inScheme(html, scheme string) string {
	return preference.ReplaceAllStringFunc(html, func(question string) string {
		if strings.Contains(strings.ToLower(question), scheme) {
			return "(min-width:0)"
		}
		return "(max-width:0)"
	})
}
