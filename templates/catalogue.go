package templates

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/text/language"

	"logto-email-relay/mail"
)

// Logto's message types that rules name.
const (
	invitation = "OrganizationInvitation"
	generic    = "Generic"
)

// messageTypes are Logto's message types, in the order in which its console
// lists them.
func messageTypes() []string {
	return []string{"SignIn", "Register", "ForgotPassword", invitation, generic,
		"UserPermissionValidation", "BindNewIdentifier", "MfaVerification", "BindMfa"}
}

//go:embed layouts/mail.html layouts/mail.txt locales/*.json
var embedded embed.FS

// english is the language whose texts every other one is measured by.
const english = "en"

// Embedded is the Source of a mail without anything of the operator's.
const Embedded = "embedded"

// Request is one mail to write.
type Request struct {
	// Type is Logto's message type. An unknown one is written as Generic.
	Type string
	// Locale is the language to write it in, as Locale decided.
	Locale string
	// Payload is the JSON object that came with it.
	Payload map[string]any
	// Branding is the operator's, a route's laid over it.
	Branding Branding
}

// Mail is one mail as it is written.
type Mail struct {
	// Locale is the BCP 47 tag of its language; empty for a provider's own
	// template, which has none.
	Locale string
	// Subject is one line.
	Subject string
	// HTML is empty if the operator's template is text alone. Text never is.
	HTML mail.Body
	Text string
	// Known tells whether the type is one of Logto's; otherwise the mail is the
	// Generic one.
	Known bool
	// Source is "embedded", the operator's file that the mail comes from, or the
	// key of a provider's settings.
	Source string
	// ReplyTo replaces the reply address if it is not zero.
	ReplyTo mail.Address
	// Stored is the template of a mail service that makes the mail. HTML and Text
	// are empty then, and Subject unless it replaces that of the template.
	Stored *mail.StoredTemplate
}

// Catalogue holds every template in every language. It is safe for use by many
// goroutines at a time, also while it is loaded again.
type Catalogue struct {
	settings  Settings
	files     fs.FS
	languages []*tongue
	layouts   [2]string // by format
	current   atomic.Pointer[collection]
	loading   sync.Mutex
	problem   atomic.Pointer[error]
}

// tongue is one language of the catalogue.
type tongue struct {
	name string
	tag  language.Tag
	dir  string
	// texts are nil for a language that only has whole templates of the operator's.
	texts texts
	// source is where the texts come from.
	source string
}

// collection is all that was loaded at one time. It never changes.
type collection struct {
	tongues map[string]*tongue
	// own are the operator's templates.
	own map[mailKey]*template
	// embedded are those made of texts and layouts.
	embedded map[mailKey]*lazyTemplate
	// choosers choose the language, by type.
	choosers map[string]*chooser
	// anyType chooses among all languages.
	anyType  *chooser
	warnings []string
}

type mailKey struct{ messageType, locale string }

// template is one compiled mail.
type template struct {
	subject, html, text *program
	// derived tells that the text was made from the HTML; it may have too many
	// blank lines where blocks are left out.
	derived bool
	source  string
}

// lazyTemplate is compiled when it is first needed: few operators send nine
// types in twenty languages.
type lazyTemplate struct {
	once     sync.Once
	edition  edition
	source   string
	template *template
	err      error
}

// Open loads the embedded templates and those of the operator. Its error joins
// every mistake found, each an *Error with file, line and column.
func Open(s Settings) (*Catalogue, error) { return open(s, embedded) }

func open(s Settings, files fs.FS) (*Catalogue, error) {
	c := &Catalogue{settings: s, files: files}
	for f, name := range []string{htmlFormat: "layouts/mail.html", textFormat: "layouts/mail.txt"} {
		layout, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		c.layouts[f] = string(layout)
	}
	names, err := fs.Glob(files, "locales/*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sentences, err := readTexts(name, content)
		if err != nil {
			return nil, err
		}
		tag := strings.TrimSuffix(strings.TrimPrefix(name, "locales/"), ".json")
		parsed, err := language.Parse(tag)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		c.languages = append(c.languages,
			&tongue{name: tag, tag: parsed, dir: sentences["dir"].text, texts: sentences, source: Embedded})
	}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the operator's directory again. If anything in it is wrong, what
// was loaded before stays in use, and Problem tells why until a later Reload
// succeeds.
func (c *Catalogue) Reload() error {
	c.loading.Lock()
	defer c.loading.Unlock()
	loaded, err := c.load()
	if err != nil {
		c.problem.Store(&err)
		return err
	}
	c.current.Store(loaded)
	c.problem.Store(nil)
	return nil
}

// Problem returns why the last Reload was not taken, nil if it was.
func (c *Catalogue) Problem() error {
	if err := c.problem.Load(); err != nil {
		return *err
	}
	return nil
}

// load reads everything into a new collection.
func (c *Catalogue) load() (*collection, error) {
	l := &collection{tongues: make(map[string]*tongue), own: make(map[mailKey]*template), embedded: make(map[mailKey]*lazyTemplate)}
	for _, t := range c.languages {
		l.tongues[t.name] = t
	}
	var faults []error
	var eager []mailKey
	if c.settings.Dir != "" {
		o := operator{catalogue: c, collection: l}
		o.load()
		faults, eager = o.faults, o.changed
	}
	for _, t := range l.tongues {
		if t.texts == nil {
			continue
		}
		for _, messageType := range messageTypes() {
			l.embedded[mailKey{messageType, t.name}] = &lazyTemplate{source: t.source, edition: edition{
				messageType: messageType, locale: t.name, tag: t.tag, texts: t.texts, minutes: c.minutes()}}
		}
	}
	if len(faults) == 0 {
		for _, key := range eager {
			if _, err := l.embedded[key].get(c); err != nil {
				faults = append(faults, err)
			}
		}
	}
	if len(faults) == 0 {
		faults = append(faults, l.addChoosers(c.settings.DefaultLocale))
	}
	return l, errors.Join(faults...)
}

// minutes is the lifetime of a code, rounded up: better a reader who hurries
// than one who is late.
func (c *Catalogue) minutes() int {
	return int((time.Duration(c.settings.CodeLifetime) + time.Minute - 1) / time.Minute)
}

func (c *Catalogue) vocabulary(messageType string) vocabulary {
	return vocabulary{messageType: messageType, variables: c.settings.Variables, schemes: c.settings.Links.Schemes}
}

// get compiles the template once.
func (z *lazyTemplate) get(c *Catalogue) (*template, error) {
	z.once.Do(func() {
		made := &template{source: z.source}
		name := z.edition.locale + " " + z.edition.messageType
		program := func(what, layout string, f format) *program {
			filled, err := z.edition.fill(what, layout, f)
			if err == nil {
				var compiled *program
				if compiled, err = compile(&source{file: what + " (" + name + ")", text: filled}, f, c.vocabulary(z.edition.messageType)); err == nil {
					return compiled
				}
			}
			z.err = errors.Join(z.err, err)
			return nil
		}
		made.subject = program("subject", "{{text.subject}}", textFormat)
		made.html = program("layouts/mail.html", c.layouts[htmlFormat], htmlFormat)
		made.text = program("layouts/mail.txt", c.layouts[textFormat], textFormat)
		z.template = made
	})
	return z.template, z.err
}

// find returns the template of a type in a language that the type's chooser
// knows. The operator's own goes before the embedded one. The operator's Generic
// serves the other types only in languages that the relay has no texts for;
// elsewhere it must not swallow mails that say more.
func (l *collection) find(c *Catalogue, messageType, locale string) (*template, error) {
	if own, ok := l.own[mailKey{messageType, locale}]; ok {
		return own, nil
	}
	if lazy, ok := l.embedded[mailKey{messageType, locale}]; ok {
		return lazy.get(c)
	}
	if own, ok := l.own[mailKey{generic, locale}]; ok {
		return own, nil
	}
	return nil, fmt.Errorf("there is no template of type %s in %s", messageType, locale)
}

// Render writes one mail.
func (c *Catalogue) Render(r Request) (Mail, error) {
	l := c.current.Load()
	chooser, known := l.choosers[r.Type]
	messageType := r.Type
	if !known {
		messageType, chooser = generic, l.choosers[generic]
	}
	tongue := l.tongues[chooser.choose(r.Payload)]
	template, err := l.find(c, messageType, tongue.name)
	if err != nil {
		return Mail{}, err
	}
	m := Mail{Locale: tongue.name, Known: known, Source: template.source}
	v := c.values(r, tongue)
	template.write(&m, &v)
	return m, nil
}

// values are what a mail in a language may say.
func (c *Catalogue) values(r Request, t *tongue) values {
	v := values{
		payload:      r.Payload,
		branding:     effectiveBranding(r.Branding, r.Payload),
		locale:       t.name,
		dir:          t.dir,
		codeLifetime: strconv.Itoa(c.minutes()),
		links:        c.settings.Links,
	}
	if link, _ := r.Payload["link"].(string); link != "" && c.settings.Links.Allow(link) {
		v.link = link
	}
	return v
}

// write fills in the parts of a mail that the template has.
func (t *template) write(m *Mail, v *values) {
	if t.subject != nil {
		m.Subject = oneLine(t.subject.text(v))
	}
	if t.html != nil {
		m.HTML = t.html.render(v)
	}
	if t.text != nil {
		m.Text = t.text.text(v)
	}
	if t.derived {
		m.Text = squeeze(m.Text)
	}
	m.Text = trimLines(m.Text)
	if t.text != nil && strings.TrimSpace(m.Text) == "" {
		m.Text = m.Subject + "\n" // nothing but values that are missing
	}
}

// trimLines drops the blank lines that blocks left at the beginning and the end.
func trimLines(text string) string {
	text = strings.TrimLeft(text, "\n")
	end := len(strings.TrimRight(text, "\n"))
	return text[:min(end+1, len(text))]
}

// oneLine joins the words of a subject by single blanks.
func oneLine(subject string) string {
	if strings.ContainsAny(subject, "\t\r\n") || strings.Contains(subject, "  ") ||
		strings.HasPrefix(subject, " ") || strings.HasSuffix(subject, " ") {
		return strings.Join(strings.FieldsFunc(subject, func(r rune) bool { return r <= ' ' }), " ")
	}
	return subject
}

// Locale returns the language that a mail with this payload is written in. Where
// the operator has a language for some types only, the mail of another type can
// be in the next language of the reader.
func (c *Catalogue) Locale(_ string, payload map[string]any) string {
	return c.current.Load().anyType.choose(payload)
}

// Sentence returns what the person at the sign-in page reads when a mail was not
// sent, for a reason such as "provider_unavailable".
func (c *Catalogue) Sentence(locale, reason string) string {
	l := c.current.Load()
	chooser := l.anyType
	for _, name := range []string{chooser.choose(map[string]any{"locale": locale}), chooser.fallback, english} {
		if t, ok := l.tongues[name]; ok {
			if s, ok := t.texts["failures."+reason]; ok {
				return s.text
			}
		}
	}
	if reason == "internal" {
		return ""
	}
	return c.Sentence(locale, "internal")
}

// Types returns Logto's message types.
func (c *Catalogue) Types() []string { return messageTypes() }

// Locales returns the tags of all languages, sorted.
func (c *Catalogue) Locales() []string {
	return slices.Sorted(maps.Keys(c.current.Load().tongues))
}

// Warnings returns what the operator's templates rely on although Logto often
// leaves it out, each with file, line and column.
func (c *Catalogue) Warnings() []string { return slices.Clone(c.current.Load().warnings) }
