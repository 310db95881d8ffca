package templates

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"logto-email-relay/mail"
)

// Logto's message types that rules name.
const (
	invitation     = "OrganizationInvitation"
	generic        = "Generic"
	forgotPassword = "ForgotPassword"
)

// Types are Logto's message types, in the order in which its console lists them.
func Types() []string {
	return []string{"SignIn", "Register", "ForgotPassword", invitation, generic,
		"UserPermissionValidation", "BindNewIdentifier", "MfaVerification", "BindMfa"}
}

// NeedsCode tells whether mails of a type are sent for their code.
func NeedsCode(messageType string) bool {
	return messageType != invitation && messageType != generic && slices.Contains(Types(), messageType)
}

// Request is one mail to write.
type Request struct {
	// Type is Logto's message type. An unknown one is written as Generic.
	Type string
	// Locale is the language to write in, as Locale chose it for this type.
	Locale string
	// Payload is the JSON object that came with the type.
	Payload map[string]any
	// Branding is the operator's, a route's laid over it.
	Branding Branding
	// To is the recipient.
	To string
	// IP is the address of whoever asked for the mail as Logto gave it, which may
	// be any text.
	IP string
	// Time is when the mail was asked for.
	Time time.Time
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
	// Source is "embedded", the operator's file that the mail comes from, or the
	// key of a provider's settings.
	Source string
	// ReplyTo replaces the reply address if it is not zero.
	ReplyTo mail.Address
	// Stored is the template of a mail service that makes the mail. HTML and Text
	// are empty then, and Subject unless it replaces that of the template.
	Stored *mail.StoredTemplate
	// Link is that of the payload as it is printed, empty unless it may become one.
	Link string
}

// Catalogue holds every template in every language. It never changes: to see
// what was edited, open another one. It is safe for use by many goroutines at a
// time.
type Catalogue struct {
	settings     Settings
	translations map[string]*translation
	// own are the operator's templates.
	own map[mailKey]*template
	// embedded compile the mails made of texts and layouts, each when it is first
	// needed: few operators send nine types in all languages.
	embedded map[mailKey]func() (*template, error)
	// choosers choose the language, by type.
	choosers map[string]*chooser
	// anyType chooses among all languages.
	anyType  *chooser
	warnings []string
	// palette is that of the last mail.
	palette atomic.Pointer[palette]
}

type mailKey struct{ messageType, locale string }

// template is one compiled mail.
type template struct {
	subject, html, text *program
	// shown is the text that the HTML shows; nil if none can be made of it.
	shown *program
	// derived tells that the text is shown; it may have too many blank lines where
	// blocks are left out.
	derived bool
	source  string
}

// lacksCode tells whether a part that readers may be shown does not print the code
// where they see it. HTML of which no text can be made has the benefit of the doubt.
func (t *template) lacksCode() bool {
	shown := cmp.Or(t.shown, t.html)
	return shown != nil && !shown.printsCode() || t.text != nil && !t.text.printsCode()
}

// codeMissing is the mistake of a file that has none.
func codeMissing(file, messageType string) error {
	return (&source{file: file}).errorAt(0, messageType+" mails are sent for their code, and without it their readers are locked out: "+
		"write {{code}} where it can be read (what is hidden does not count), into the text too if there is one beside the HTML")
}

// Open loads the embedded templates and those of the operator. Its error joins
// every mistake found, those inside of files being an *Error with line and
// column.
func Open(s Settings) (*Catalogue, error) {
	originals, err := readEmbedded()
	if err != nil {
		return nil, err
	}
	return originals.open(s)
}

// minutes is the lifetime of a code, rounded up: a reader who hurries is better
// off than one who is late.
func (s *Settings) minutes() int {
	return int((time.Duration(s.CodeLifetime) + time.Minute - 1) / time.Minute)
}

func (s *Settings) vocabulary(messageType string) vocabulary {
	return vocabulary{messageType: messageType, variables: s.Variables, schemes: s.Links.Schemes}
}

// Locale chooses the language of a mail: the first of the reader's languages in
// which there is a template for the type, else the default.
func (c *Catalogue) Locale(messageType string, payload map[string]any) string {
	locale, _ := payload["locale"].(string)
	uiLocales, _ := payload["uiLocales"].(string)
	chooser, known := c.choosers[messageType]
	if !known {
		chooser = c.choosers[generic]
	}
	return chooser.choose(locale, uiLocales)
}

// find returns the template of a type in a language. The operator's own goes
// before the embedded one. The operator's Generic serves the other types only in
// languages that the relay has no texts for; elsewhere it must not replace mails
// that say more.
func (c *Catalogue) find(messageType, locale string) (*template, error) {
	if own, ok := c.own[mailKey{messageType, locale}]; ok {
		return own, nil
	}
	if embedded, ok := c.embedded[mailKey{messageType, locale}]; ok {
		return embedded()
	}
	if own, ok := c.own[mailKey{generic, locale}]; ok {
		return own, nil
	}
	return nil, fmt.Errorf("there is no template of type %s in %q", messageType, locale)
}

// Render writes one mail. It fails if the type has no template in the language,
// which is never so in one that Locale chose.
func (c *Catalogue) Render(r Request) (*Mail, error) {
	messageType := r.Type
	if _, known := c.choosers[messageType]; !known {
		messageType = generic
	}
	template, err := c.find(messageType, r.Locale)
	if err != nil {
		return nil, err
	}
	m := &Mail{Locale: r.Locale, Source: template.source, ReplyTo: r.replyTo(mail.Address{})}
	var v values
	c.fill(&v, &r, c.translations[r.Locale])
	template.write(m, &v)
	if m.Subject == "" {
		m.Subject = c.subject(messageType, r.Locale, &v)
	}
	return m, nil
}

// subject is that of a mail whose own is empty, since it depends on what Logto has left out:
// the relay's own, in the mail's language if it speaks it.
func (c *Catalogue) subject(messageType, locale string, v *values) string {
	if _, known := c.choosers[messageType]; !known {
		messageType = generic
	}
	for _, l := range []string{locale, english} {
		if embedded, found := c.embedded[mailKey{messageType, l}]; found {
			if t, err := embedded(); err == nil {
				return oneLine(t.subject.text(v))
			}
		}
	}
	return ""
}

// fill makes the values that a mail in a language may say. It does so in place, since
// copies would make the stacks of all webhooks that wait twice as large.
func (c *Catalogue) fill(v *values, r *Request, t *translation) {
	v.payload, v.links, v.language, v.time = r.Payload, c.settings.Links, t, r.Time
	v.builtins[localeBuiltin], v.builtins[dirBuiltin] = t.Locale, t.Dir
	v.builtins[lifetimeBuiltin] = t.digits(strconv.Itoa(c.settings.minutes()))
	v.builtins[toBuiltin] = Mailbox(r.To)
	if r.IP != "" {
		v.setIP(r.IP)
	}
	v.setLink()
	v.setBranding(&r.Branding)
	v.setColors(c.paletteOf(r.Branding.Color))
}

// replyTo is the inviter of an invitation if the operator wants replies to go
// there and Logto knows an address, else what the template says.
func (r *Request) replyTo(template mail.Address) mail.Address {
	if r.Type != invitation || r.Branding.ReplyToInviter == nil || !*r.Branding.ReplyToInviter {
		return template
	}
	inviter, _ := r.Payload["inviter"].(map[string]any)
	if address, _ := inviter["primaryEmail"].(string); address != "" && isPlainMailbox(address) {
		return mail.Address{Address: address}
	}
	return template
}

// write fills in the parts of a mail that the template has.
func (t *template) write(m *Mail, v *values) {
	m.Link = v.builtins[linkBuiltin]
	if t.subject != nil {
		m.Subject = oneLine(t.subject.text(v))
	}
	if t.html != nil {
		m.HTML = t.html.render(v)
	}
	if t.text == nil {
		return
	}
	m.Text = t.text.text(v)
	if t.derived {
		m.Text = squeeze(m.Text)
	}
	m.Text = trimLines(m.Text)
	if strings.TrimSpace(m.Text) == "" {
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

// Failure is why a mail was not sent, as far as its reader is told.
type Failure struct {
	// Reason is a word such as "provider_unavailable".
	Reason string
	// Wait is when to ask again; zero where the sentence is not to say that.
	Wait time.Duration
	// Suggestion is the domain that the reader may have meant; empty if nobody knows.
	Suggestion string
}

// Sentence returns what the person at the sign-in page reads when a mail was not
// sent. An unknown reason gets the sentence of an internal error, an unknown locale
// the default language.
func (c *Catalogue) Sentence(locale string, f Failure) string {
	for _, reason := range []string{f.Reason, "internal"} {
		for _, name := range []string{c.anyType.choose(locale, ""), c.anyType.fallback, english} {
			t := c.translations[name]
			if sentence := cmp.Or(f.details(t), t.texts["failures."+reason].text); sentence != "" {
				return sentence
			}
		}
	}
	return ""
}

// details returns the sentence that tells how long to wait, or what was meant; empty
// where there is nothing of that to tell, or no words for it.
func (f *Failure) details(t *translation) string {
	switch {
	case f.Suggestion != "":
		return strings.ReplaceAll(t.texts[didYouMean].text, "{{domain}}", f.Suggestion)
	case f.Wait <= 0:
		return ""
	}
	key, unit := waitMinutes, time.Minute
	if f.Wait > 90*time.Minute {
		key, unit = waitHours, time.Hour
	}
	n := int((f.Wait + unit - 1) / unit) // rather too late than too early
	return strings.ReplaceAll(t.texts.plural(key, t.tag, n), "{{count}}", t.digits(strconv.Itoa(n)))
}

// Types returns Logto's message types.
func (c *Catalogue) Types() []string { return Types() }

// Locales returns the tags of all languages that mails are written in, sorted.
func (c *Catalogue) Locales() []string { return slices.Clone(c.anyType.names) }

// Languages returns all languages that mails are written in, in the order of their tags.
func (c *Catalogue) Languages() []Language {
	var languages []Language
	for _, locale := range c.Locales() {
		languages = append(languages, c.translations[locale].Language)
	}
	return languages
}

// Warnings returns what the operator's templates rely on although Logto often
// leaves it out, each with file, line and column.
func (c *Catalogue) Warnings() []string { return slices.Clone(c.warnings) }
