package admin

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"logto-email-relay/mail"
)

// mailView is one mail as a page shows it, in the form that the query asks for.
type mailView struct {
	HTML, Text string
	// Raw is the whole as it goes to a server; empty where it is not known.
	Raw string
	// Path is that of the mail. Its HTML alone is below it.
	Path string
	look
}

// Frame is the address of the HTML alone.
func (v mailView) Frame() string {
	return v.Path + "/html" + look{View: "html", sample: v.sample}.Query()
}

// Links are the links of the HTML, and Findings what of it mail programs do not show.
func (v mailView) Links() []link      { return linksOf(v.HTML) }
func (v mailView) Findings() []string { return checkHTML(v.HTML) }

// Sizes tells how long the parts are.
func (v mailView) Sizes() string {
	text := fmt.Sprintf("%d bytes of text", len(v.Text))
	if v.HTML != "" {
		text = fmt.Sprintf("%d bytes of HTML, ", len(v.HTML)) + text
	}
	return text
}

// look is how a mail is looked at.
type look struct {
	// View is "html", "text", "source" for the HTML as it is sent, or "raw" for the
	// whole mail.
	View string
	// Phone narrows the frame to the width of a telephone.
	Phone bool
	// Dark is for readers whose device is set to dark colours. It is set as the
	// frame's colour scheme, which browsers pass on to the document within, so
	// that the mail is shown as it is sent.
	Dark bool
	// sample is what a sample is made of, which stays the same.
	sample
}

// newLook reads the query. A mail without HTML has its text only.
func newLook(c echo.Context, html mail.Body) look {
	l := look{View: c.QueryParam("view"), Phone: c.QueryParam("width") == "phone", Dark: isDark(c)}
	switch {
	case l.View == "raw":
	case html.IsEmpty():
		l.View = "text"
	case l.View != "text" && l.View != "source":
		l.View = "html"
	}
	return l
}

func isDark(c echo.Context) bool { return c.QueryParam("scheme") == "dark" }

// Query is the look as a page's address has it, from the question mark on. What
// goes without saying is left out.
func (l look) Query() string {
	if query := l.values(); len(query) > 0 {
		return "?" + query.Encode()
	}
	return ""
}

func (l look) values() url.Values {
	query := make(url.Values)
	if l.View != "html" {
		query.Set("view", l.View)
	}
	if l.Phone {
		query.Set("width", "phone")
	}
	if l.Dark {
		query.Set("scheme", "dark")
	}
	if l.Variant != "" {
		query.Set("variant", l.Variant)
	}
	if l.Data != "" {
		query.Set("data", l.Data)
	}
	return query
}

// choice is a group of looks that a page offers side by side.
type choice struct {
	Title string
	Looks []option
}

// option is one look of a group.
type option struct {
	Title, Query string
	Current      bool
}

// Choices are the looks to choose from.
func (v mailView) Choices() []choice {
	view := func(title, name string) option {
		other := v.look
		other.View = name
		return option{title, other.Query(), v.View == name}
	}
	var forms []option
	if v.HTML != "" {
		forms = append(forms, view("HTML", "html"))
	}
	forms = append(forms, view("Text", "text"))
	if v.HTML != "" {
		forms = append(forms, view("HTML source", "source"))
	}
	if v.Raw != "" {
		forms = append(forms, view("Raw", "raw"))
	}
	choices := []choice{{"Form", forms}}
	if v.View == "html" {
		choices = append(choices, v.widths(), v.Colours())
	}
	return choices
}

func (l look) widths() choice {
	desktop, phone := l, l
	desktop.Phone, phone.Phone = false, true
	return choice{"Width", []option{{"Desktop", desktop.Query(), !l.Phone}, {"Phone", phone.Query(), l.Phone}}}
}

// Colours offers light and dark ones.
func (l look) Colours() choice {
	light, dark := l, l
	light.Dark, dark.Dark = false, true
	return choice{"Colours", []option{{"Light", light.Query(), !l.Dark}, {"Dark", dark.Query(), l.Dark}}}
}

// mailPolicy shuts a mail's HTML in, also for those who open it without the
// frame: no scripts, no forms, no origin of its own, pictures as mail readers
// load them.
const mailPolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// showMail answers with a mail's HTML, for a frame.
func showMail(c echo.Context, html string) error {
	protect(c, mailPolicy)
	return c.HTML(http.StatusOK, html)
}
