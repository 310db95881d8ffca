package admin

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"logto-email-relay/handlers/web"
	"logto-email-relay/templates"
)

const templatesPath = "/templates"

// Gallery writes sample mails of every type in every language.
type Gallery interface {
	Types() []string
	Languages() []templates.Language
	Preview(messageType, locale string, b templates.Branding) (*templates.Mail, error)
	// Warnings are what the operator's templates should better not rely on.
	Warnings() []string
}

// templatePages are the gallery, one type at a time, and the view of one mail.
type templatePages struct {
	pages    *pages
	gallery  Gallery
	branding templates.Branding
	problem  func() error
}

// sample is one mail of the gallery.
type sample struct {
	templates.Language
	*templates.Mail
	Type string
	// Path is that of its own page.
	Path string
}

// Own tells whether the mail comes from a file of the operator's.
func (s sample) Own() bool { return s.Source != templates.Embedded }

// Elsewhere tells whether the language lacks the type, so that its readers get
// the mail in another one.
func (s sample) Elsewhere() bool { return s.Mail.Locale != s.Language.Locale }

func (p templatePages) sample(messageType string, language templates.Language) (sample, error) {
	mail, err := p.gallery.Preview(messageType, language.Locale, p.branding)
	return sample{Language: language, Mail: mail, Type: messageType,
		Path: templatesPath + "/" + messageType + "/" + language.Locale}, err
}

// list shows one type in all languages.
func (p templatePages) list(c echo.Context) error {
	types := p.gallery.Types()
	messageType := c.Param("type")
	if messageType == "" {
		messageType = types[0]
	}
	if !slices.Contains(types, messageType) {
		return &web.Failure{Reason: web.NotFound}
	}
	var samples []sample
	for _, language := range p.gallery.Languages() {
		s, err := p.sample(messageType, language)
		if err != nil {
			return err
		}
		samples = append(samples, s)
	}
	return p.pages.show(c, http.StatusOK, "templates", page{Title: messageType + " templates", Path: templatesPath, Content: struct {
		Types    []string
		Type     string
		Look     look
		Samples  []sample
		Problem  error
		Warnings []string
	}{types, messageType, look{View: "html", Dark: isDark(c)}, samples, p.problem(), p.gallery.Warnings()}})
}

// mail shows one type in one language.
func (p templatePages) mail(c echo.Context) error {
	s, err := p.asked(c)
	if err != nil {
		return err
	}
	return p.pages.show(c, http.StatusOK, "template", page{Title: s.Type + " " + s.Language.Locale, Path: templatesPath, Content: struct {
		sample
		Types     []string
		Languages []templates.Language
		View      mailView
	}{s, p.gallery.Types(), p.gallery.Languages(),
		mailView{HTML: s.HTML.String(), Text: s.Text, Frame: s.Path + "/html", look: newLook(c, s.HTML)}}})
}

func (p templatePages) html(c echo.Context) error {
	s, err := p.asked(c)
	if err != nil {
		return err
	}
	if s.HTML.IsEmpty() {
		return &web.Failure{Reason: web.NotFound}
	}
	return showMail(c, s.HTML.String())
}

// asked returns the mail that the path names.
func (p templatePages) asked(c echo.Context) (sample, error) {
	languages := p.gallery.Languages()
	i := slices.IndexFunc(languages, func(l templates.Language) bool { return l.Locale == c.Param("locale") })
	if i < 0 || !slices.Contains(p.gallery.Types(), c.Param("type")) {
		return sample{}, &web.Failure{Reason: web.NotFound}
	}
	return p.sample(c.Param("type"), languages[i])
}
