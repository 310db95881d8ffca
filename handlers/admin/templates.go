package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

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
	// variant is a name of templates.Variants, empty for the usual one.
	variant string
	// data is a payload of the reader's own, in JSON; it goes before the variant.
	data string
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
	if s.data == "" {
		return p.gallery.SampleVariant(messageType, locale, s.variant), nil
	}
	if len(s.data) > longestData {
		return nil, fmt.Errorf("the data is longer than %d bytes", longestData)
	}
	var payload map[string]any
	decoder := json.NewDecoder(strings.NewReader(s.data))
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
	if s.data == "" {
		return err
	}
	return &web.Failure{Reason: web.Malformed, Detail: err.Error(), Err: err}
}

// shown is one mail of the gallery.
type shown struct {
	templates.Language
	*templates.Mail
	messageType string
	// path is that of its own page.
	path string
}

// isOwn tells whether the mail comes from a file of the operator's.
func (s shown) isOwn() bool { return s.Source != templates.Embedded }

// isElsewhere tells whether the language lacks the type, so that its readers get
// the mail in another one.
func (s shown) isElsewhere() bool { return s.Mail.Locale != s.Language.Locale }

// subject and snippet are how lists of mails show it.
func (s shown) subject() Node { return bdi(s.Subject, Lang(s.Mail.Locale)) }
func (s shown) snippet() Node { return bdi(snippet(s.HTML.String(), s.Text), Lang(s.Mail.Locale)) }

func (p templatePages) write(messageType string, language templates.Language, of sample) (shown, error) {
	payload, err := p.payload(of, messageType, language.Locale)
	if err != nil {
		return shown{}, err
	}
	mail, err := p.gallery.Preview(messageType, language.Locale, payload, p.branding)
	return shown{language, mail, messageType, templatePath(messageType, language.Locale)}, err
}

// templatePath is the path of a type, or with a language that of one mail.
func templatePath(names ...string) string {
	path := templatesPath
	for _, name := range names {
		path += "/" + url.PathEscape(name)
	}
	return path
}

// variants offers a look at the variants.
func (l look) variants() Node {
	var options []option
	for _, v := range templates.Variants() {
		other := l
		other.sample = sample{variant: v.Name}
		options = append(options, option{v.Title, other.query(), l.data == "" && v.Name == l.variant})
	}
	return choice("Sample", options...)
}

// languageName is a language by its own name.
func languageName(l templates.Language) Node {
	return Group{bdi(l.Name, Lang(l.Locale)), If(l.Name != l.Locale, Group{Text(" "), Span(Class("tag"), Text(l.Locale))})}
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
	l := look{view: "html", dark: isDark(c), sample: sample{variant: c.QueryParam("variant")}}
	var samples Group
	for _, language := range p.gallery.Languages() {
		s, err := p.write(messageType, language, l.sample)
		if err != nil {
			return err
		}
		samples = append(samples, s.card(l))
	}
	return p.pages.show(c, http.StatusOK, page{title: messageType + " templates", path: templatesPath},
		H1(Text("Templates")),
		p.problems(),
		Div(Class("tools"),
			P(Class("note"), Text("Every mail in every language, on sample data and in your branding.")),
			l.colours(),
		),
		Div(Class("tools variants"), l.variants()),
		Nav(Class("tabs"), Aria("label", "Message type"), Map(types, func(name string) Node {
			return Group{Text(" "), A(Href(templatePath(name)+l.query()), If(name == messageType, Aria("current", "page")), Text(name))}
		})),
		Ul(Class("gallery"), samples),
	)
}

// problems tells what is wrong with the operator's templates, or will be.
func (p templatePages) problems() Node {
	var content Group
	if problem := p.problem(); problem != nil {
		content = append(content, Div(Class("card notice bad"),
			P(Strong(Text("The last change of the configuration or its templates was refused.")), Text(" The mails below are the last good ones, and they are what is sent.")),
			Pre(Text(problem.Error())),
		))
	}
	if warnings := p.gallery.Warnings(); len(warnings) > 0 {
		content = append(content, Div(Class("card notice"),
			P(Strong(Text("Your templates rely on what Logto often leaves out."))),
			Ul(Map(warnings, func(warning string) Node { return Li(Text(warning)) })),
		))
	}
	return content
}

// card is a mail in the gallery.
func (s shown) card(l look) Node {
	thumb := Pre(Dir("auto"), Text(s.Text))
	if !s.HTML.IsEmpty() {
		thumb = IFrame(Class("mail "+l.scheme()), Attr("sandbox"), Loading("lazy"), TabIndex("-1"), Src(l.frame(s.path)),
			Title(s.messageType+" in "+s.Language.Locale))
	}
	var note Node
	if s.isElsewhere() {
		note = Span(Class("mark"), Text("sent in "+s.Mail.Locale))
	} else if s.isOwn() {
		note = Span(Class("mark good"), Text("yours"))
	}
	return Li(Class("card"),
		Div(Class("thumb"), thumb),
		A(Href(s.path+l.query()), languageName(s.Language)), Text(" "), note,
		P(s.subject()),
	)
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
	if err != nil && of.data != "" { // what the reader wrote does not fit
		wrong, of = err.Error(), sample{}
		s, err = p.write(c.Param("type"), language, of)
	}
	if err != nil {
		return err
	}
	view := mailView{html: s.HTML.String(), text: s.Text, path: s.path, look: newLook(c, s.HTML)}
	view.sample = of
	written := c.QueryParam("data")
	if written == "" {
		payload, err := p.payload(of, s.messageType, language.Locale)
		if err != nil {
			return err
		}
		indented, err := json.MarshalIndent(payload, "", "  ")
		if err != nil {
			return err
		}
		written = string(indented)
	}
	source := Group{Text("built in")}
	if s.isOwn() {
		source = Group{Span(Class("mark good"), Text("yours")), Text(" " + s.Source)}
	}
	return p.pages.show(c, http.StatusOK, page{title: s.messageType + " " + language.Locale, path: templatesPath},
		P(Class("back"), A(Href(templatePath(s.messageType)), Text("Templates"))),
		H1(s.subject()),
		Div(Class("card"),
			Dl(Class("facts"),
				fact("Type", menu(Text(s.messageType), p.gallery.Types(), func(other string) Node {
					return A(Href(templatePath(other, language.Locale)+view.query()), If(other == s.messageType, Aria("current", "true")), Text(other))
				})),
				fact("Language", menu(languageName(language), p.gallery.Languages(), func(other templates.Language) Node {
					return A(Href(templatePath(s.messageType, other.Locale)+view.query()), If(other.Locale == language.Locale, Aria("current", "true")), languageName(other))
				}), If(s.isElsewhere(), Group{Text(" "), Span(Class("mark"), Text("not written in this language; readers get "+s.Mail.Locale))})),
				fact("Template", source),
				fact("Size", Text(view.sizes())),
				view.facts(),
			),
			Details(If(wrong != "" || of.data != "", Attr("open")),
				Summary(Text("Your own data")),
				Form(Class("data"), Method("get"),
					If(wrong != "", P(Class("problem"), Role("alert"), Text(wrong))),
					Label(For("data"), Text("The payload, as Logto sends it")),
					Textarea(ID("data"), Name("data"), Rows("10"), MaxLength("4096"), Attr("spellcheck", "false"), Text(written)),
					Button(Text("Show")),
				),
			),
			If(p.send != nil, sendForm(s.path, of, c.QueryParam("sent"))),
		),
		H2(Text("In a list of mails")),
		Div(Class("lines"),
			Div(Class("card line wide"), Span(Text("Gmail")), P(B(bdi(p.sender)), Text(" "),
				Span(Class("what"), s.subject(), Text(" "), Span(Class("snippet"), Text("- "), s.snippet())))),
			Div(Class("card line phone"), Span(Text("Apple Mail")), P(B(bdi(p.sender))), P(Class("what"), s.subject()), P(Class("snippet"), s.snippet())),
		),
		H2(Text("The mail")),
		Div(Class("tools variants"), view.variants()),
		view.node(),
	)
}

// menu shows what is chosen, and leads to the others when it is opened.
func menu[T any](chosen Node, all []T, anchor func(T) Node) Node {
	return Details(Class("menu"), Summary(chosen), Ul(Map(all, func(one T) Node { return Li(anchor(one)) })))
}

// sendForm asks whom to send the mail to, and tells what became of the last one.
func sendForm(path string, of sample, sent string) Node {
	return Details(If(sent != "", Attr("open")),
		Summary(Text("Send this mail")),
		Form(Class("data"), Method("post"), Action(path+"/send"),
			If(sent != "", P(Class("note"), Role("status"), Text(sent))),
			Label(For("to"), Text("To, through the provider that mails of this kind take")),
			Input(ID("to"), Type("email"), Name("to"), Required(), AutoComplete("email")),
			Input(Type("hidden"), Name("variant"), Value(of.variant)), Input(Type("hidden"), Name("data"), Value(of.data)),
			Button(Text("Send")),
		),
	)
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
	l := look{view: "html", sample: sample{values.Get("variant"), strings.TrimSpace(values.Get("data"))}}
	to, err := mail.ParseRecipient(mail.Copied(values.Get("to")))
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
	return c.Redirect(http.StatusSeeOther, templatePath(c.Param("type"), language.Locale)+"?"+query.Encode())
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
