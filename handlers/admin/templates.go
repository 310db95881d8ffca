package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/templates"
)

const templatesPath = "/templates"

// Gallery writes sample mails of every type in every language.
type Gallery interface {
	Types() []string
	Languages() []templates.Language
	// SampleVariant returns the payload that a name of templates.Variants stands for.
	SampleVariant(messageType, locale, variant string) map[string]any
	Preview(messageType, locale string, payload map[string]any, b templates.Branding) (*templates.Mail, error)
	// Warnings are what the operator's templates should better not rely on.
	Warnings() []string
}

// templatePages are the gallery, one type at a time, and the view of one mail.
type templatePages struct {
	pages    *pages
	gallery  Gallery
	branding templates.Branding
	sender   string
	problem  func() error
	send     Send
}

// Send sends a mail on the way of those from Logto.
type Send func(ctx context.Context, to, messageType string, payload map[string]any) *mail.Delivery

// sample is what a mail of the gallery is made of.
type sample struct {
	// Variant is a name of templates.Variants, empty for the usual one.
	Variant string
	// Data is a payload of the reader's own, in JSON; it goes before the variant.
	Data string
}

// longestData bounds a payload of the reader's own, in bytes. It travels in the
// address of the page.
const longestData = 4 << 10

// newSample reads the query.
func newSample(c echo.Context) sample {
	return sample{c.QueryParam("variant"), strings.TrimSpace(c.QueryParam("data"))}
}

// payload makes the payload.
func (p templatePages) payload(s sample, messageType, locale string) (map[string]any, error) {
	if s.Data == "" {
		return p.gallery.SampleVariant(messageType, locale, s.Variant), nil
	}
	if len(s.Data) > longestData {
		return nil, fmt.Errorf("the data is longer than %d bytes", longestData)
	}
	var payload map[string]any
	decoder := json.NewDecoder(strings.NewReader(s.Data))
	decoder.UseNumber()
	if err := decoder.Decode(&payload); err != nil {
		return nil, fmt.Errorf("the data is no JSON object: %w", err)
	}
	if decoder.More() || payload == nil {
		return nil, errors.New("the data is not one JSON object")
	}
	return payload, nil
}

// failure is the reader's where the data are.
func (s sample) failure(err error) error {
	if s.Data == "" {
		return err
	}
	return &web.Failure{Reason: web.Malformed, Detail: err.Error(), Err: err}
}

// shown is one mail of the gallery.
type shown struct {
	templates.Language
	*templates.Mail
	Type string
	// Path is that of its own page.
	Path string
	sample
}

// Own tells whether the mail comes from a file of the operator's.
func (s shown) Own() bool { return s.Source != templates.Embedded }

// Elsewhere tells whether the language lacks the type, so that its readers get
// the mail in another one.
func (s shown) Elsewhere() bool { return s.Mail.Locale != s.Language.Locale }

// Snippet is how lists of mails show the beginning of the text.
func (s shown) Snippet() string { return snippet(s.HTML.String(), s.Text) }

// Frame is the address of the HTML alone.
func (s shown) Frame() string { return mailView{Path: s.Path, look: look{sample: s.sample}}.Frame() }

func (p templatePages) write(messageType string, language templates.Language, of sample) (shown, error) {
	payload, err := p.payload(of, messageType, language.Locale)
	if err != nil {
		return shown{}, err
	}
	mail, err := p.gallery.Preview(messageType, language.Locale, payload, p.branding)
	return shown{Language: language, Mail: mail, Type: messageType,
		Path: templatesPath + "/" + messageType + "/" + language.Locale, sample: of}, err
}

// variants offers a look at the variants.
func (l look) variants() choice {
	c := choice{Title: "Sample"}
	for _, v := range templates.Variants() {
		other := l
		other.sample = sample{Variant: v.Name}
		c.Looks = append(c.Looks, option{v.Title, other.Query(), l.Data == "" && other.Variant == l.Variant})
	}
	return c
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
	l := look{View: "html", Dark: isDark(c), sample: sample{Variant: c.QueryParam("variant")}}
	var all []shown
	for _, language := range p.gallery.Languages() {
		s, err := p.write(messageType, language, l.sample)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	return p.pages.show(c, http.StatusOK, "templates", page{Title: messageType + " templates", Path: templatesPath, Content: struct {
		Types    []string
		Type     string
		Look     look
		Variants choice
		Samples  []shown
		Problem  error
		Warnings []string
	}{types, messageType, l, l.variants(), all, p.problem(), p.gallery.Warnings()}})
}

// mail shows one type in one language.
func (p templatePages) mail(c echo.Context) error {
	language, err := p.asked(c)
	if err != nil {
		return err
	}
	of := newSample(c)
	s, err := p.write(c.Param("type"), language, of)
	wrong := ""
	if err != nil && of.Data != "" { // what the reader wrote does not fit
		wrong, of = err.Error(), sample{}
		s, err = p.write(c.Param("type"), language, of)
	}
	if err != nil {
		return err
	}
	view := mailView{HTML: s.HTML.String(), Text: s.Text, Path: s.Path, look: newLook(c, s.HTML)}
	view.sample = of
	written := c.QueryParam("data")
	if written == "" {
		payload, err := p.payload(of, s.Type, language.Locale)
		if err != nil {
			return err
		}
		indented, err := json.MarshalIndent(payload, "", "  ")
		if err != nil {
			return err
		}
		written = string(indented)
	}
	return p.pages.show(c, http.StatusOK, "template", page{Title: s.Type + " " + s.Language.Locale, Path: templatesPath, Content: struct {
		shown
		Types     []string
		Languages []templates.Language
		View      mailView
		Variants  choice
		// Written is the data to begin from, and Wrong why it was not taken.
		Written, Wrong string
		Sender         string
		// Sends tells whether a mail can be sent, and Sent what became of one.
		Sends bool
		Sent  string
	}{s, p.gallery.Types(), p.gallery.Languages(), view, view.variants(), written, wrong,
		p.sender, p.send != nil, c.QueryParam("sent")}})
}

func (p templatePages) html(c echo.Context) error {
	language, err := p.asked(c)
	if err != nil {
		return err
	}
	of := newSample(c)
	s, err := p.write(c.Param("type"), language, of)
	if err != nil {
		return of.failure(err)
	}
	if s.HTML.IsEmpty() {
		return &web.Failure{Reason: web.NotFound}
	}
	return showMail(c, strings.ReplaceAll(s.HTML.String(), templates.SampleLogo, sampleLogo))
}

// sampleLogo is the picture that stands at templates.SampleLogo.
const sampleLogo = "data:image/svg+xml," +
	"%3Csvg xmlns='http://www.w3.org/2000/svg' width='120' height='36'%3E%3Crect width='120' height='36' rx='8' fill='%234a3fd1'/%3E" +
	"%3Ctext x='60' y='24' font-family='sans-serif' font-size='17' font-weight='bold' fill='white' text-anchor='middle'%3ESample%3C/text%3E%3C/svg%3E"

// sendSample sends the mail that the page shows to an address.
func (p templatePages) sendSample(c echo.Context) error {
	language, err := p.asked(c)
	if err != nil {
		return err
	}
	values, err := readForm(c.Request())
	if err != nil {
		return err
	}
	l := look{View: "html", sample: sample{values.Get("variant"), strings.TrimSpace(values.Get("data"))}}
	to, err := mail.ParseRecipient(values.Get("to"))
	told := ""
	if err != nil {
		told = "not sent: " + err.Error()
	} else {
		payload, err := p.payload(l.sample, c.Param("type"), language.Locale)
		if err != nil {
			return l.failure(err)
		}
		payload["locale"] = language.Locale
		d := p.send(c.Request().Context(), to, c.Param("type"), payload)
		told = fmt.Sprintf("not sent: %s %s (ref %s)", d.Reason, d.Cause, mail.Reference(d.ID))
		if d.Accepted() {
			told = fmt.Sprintf("%s accepted it in %v (ref %s)", d.Provider, d.Duration.Round(time.Millisecond), mail.Reference(d.ID))
		}
	}
	query := l.values()
	query.Set("sent", told)
	return c.Redirect(http.StatusSeeOther, templatesPath+"/"+c.Param("type")+"/"+language.Locale+"?"+query.Encode())
}

// asked returns the language of the mail that the path names.
func (p templatePages) asked(c echo.Context) (templates.Language, error) {
	languages := p.gallery.Languages()
	i := slices.IndexFunc(languages, func(l templates.Language) bool { return l.Locale == c.Param("locale") })
	if i < 0 || !slices.Contains(p.gallery.Types(), c.Param("type")) {
		return templates.Language{}, &web.Failure{Reason: web.NotFound}
	}
	return languages[i], nil
}
