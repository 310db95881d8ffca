package templates

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"slices"
	"strings"

	"logto-email-relay/mail"
)

// Overlay lays the templates of one provider's settings over a catalogue: a mail
// of a type that they lack is their Generic one, as in Logto, and the catalogue's
// if they lack that too. They have no language. It is safe for use by many
// goroutines at a time.
type Overlay struct {
	catalogue *Catalogue
	own       map[string]*connectorTemplate // by type
	warnings  []string
}

type connectorTemplate struct {
	*template                        // nil for a stored one without a subject
	written   mail.ConnectorTemplate // what the settings say; its content is in the template
}

// With compiles templates out of a provider's settings. They may use any name,
// as they may in Logto; one that no message has prints as nothing, and a warning
// says so. Its error joins every mistake found, each an *Error.
func (c *Catalogue) With(list []mail.ConnectorTemplate) (*Overlay, error) {
	o := &Overlay{catalogue: c, own: make(map[string]*connectorTemplate)}
	var faults []error
	for _, written := range list {
		if o.own[written.Type] != nil {
			o.warn("%s: an earlier template is of type %s already, and used", written.Key, written.Type)
			continue
		}
		if !slices.Contains(Types(), written.Type) {
			o.warn("%s: Logto has no message type %s; it has %s", written.Key, written.Type, strings.Join(Types(), ", "))
		}
		compiled, err := c.compileConnectorTemplate(written)
		if err == nil && written.Stored == "" && NeedsCode(written.Type) && compiled.lacksCode() {
			err = codeMissing(written.Key, written.Type)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		o.own[written.Type] = &connectorTemplate{compiled, written}
		o.warnings = append(o.warnings, compiled.warnings(written.Type)...)
		o.warnings = append(o.warnings, compiled.unknowns(written.Type, c.settings.Variables)...)
	}
	if stand := o.own[generic]; stand != nil && stand.written.Stored == "" && stand.lacksCode() {
		for _, messageType := range Types() {
			if o.own[messageType] == nil && NeedsCode(messageType) {
				faults = append(faults, codeMissing(stand.written.Key, messageType))
				break
			}
		}
	}
	return o, errors.Join(faults...)
}

func (o *Overlay) warn(format string, arguments ...any) {
	o.warnings = append(o.warnings, fmt.Sprintf(format, arguments...))
}

// compileConnectorTemplate compiles what is there of a template.
func (c *Catalogue) compileConnectorTemplate(written mail.ConnectorTemplate) (*template, error) {
	v := c.settings.vocabulary(written.Type)
	v.anyName = true
	var faults []error
	part := func(name, text string, f format) *program {
		if text == "" {
			return nil
		}
		compiled, err := compile(&source{file: written.Key + name, text: strings.ReplaceAll(text, "\r\n", "\n")}, f, v)
		faults = append(faults, err)
		return compiled
	}
	t := &template{source: written.Key}
	t.subject = part(" (subject)", written.Subject, textFormat)
	t.html = part("", written.HTML, htmlFormat)
	t.text = part("", written.Text, textFormat)
	if t.html != nil {
		s := &source{file: written.Key, text: strings.ReplaceAll(written.HTML, "\r\n", "\n")}
		var err error
		if t.shown, err = s.compilePlainText(v, ""); t.text == nil {
			t.text, t.derived = t.shown, true
			faults = append(faults, err)
		}
	}
	return t, errors.Join(faults...)
}

// Locale returns the language that the catalogue would choose.
func (o *Overlay) Locale(messageType string, payload map[string]any) string {
	return o.catalogue.Locale(messageType, payload)
}

// Warnings returns what the templates rely on although Logto often leaves it
// out, and names that no message has.
func (o *Overlay) Warnings() []string { return slices.Clone(o.warnings) }

// Render writes one mail. Its language shows in {{locale}} and {{dir}} alone.
func (o *Overlay) Render(r Request) (*Mail, error) {
	own := o.own[r.Type]
	if own == nil {
		own = o.own[generic]
	}
	if own == nil {
		return o.catalogue.Render(r)
	}
	translation, found := o.catalogue.translations[r.Locale]
	if !found {
		return nil, fmt.Errorf("there is no language %q", r.Locale)
	}
	var v values
	o.catalogue.fill(&v, &r, translation)
	m := &Mail{Source: own.written.Key, ReplyTo: r.replyTo(own.written.ReplyTo)}
	own.template.write(m, &v)
	if own.written.Stored != "" {
		m.Stored = &mail.StoredTemplate{Name: own.written.Stored, Data: v.data(own.written.Variables)}
	} else if m.Subject == "" {
		m.Subject = o.catalogue.subject(r.Type, r.Locale, &v)
	}
	return m, nil
}

// data returns the harmless payload over the given variables, for a template that
// is not ours to escape in. The link is left out unless it may become one.
func (v *values) data(variables map[string]any) map[string]any {
	all := make(map[string]any, len(variables)+len(v.payload))
	maps.Copy(all, variables)
	maps.Copy(all, Harmless(v.payload))
	if _, found := all["link"]; found {
		all["link"] = v.builtins[linkBuiltin]
	}
	return all
}

// Harmless returns a payload in which what people typed is neutralised and holds no
// markup, for a service that writes the mail itself. Addresses of images and pages are left out
// unless they are https. The link stays, for which there is Mail.Link.
func Harmless(payload map[string]any) map[string]any {
	all := make(map[string]any, len(payload))
	for name, value := range payload {
		switch name {
		case "code", "link":
			all[name] = value
		default:
			all[name] = harmless(name, value)
		}
	}
	return all
}

// harmless neutralises every text of a value that is found under a name.
func harmless(name string, value any) any {
	switch value := value.(type) {
	case map[string]any:
		object := make(map[string]any, len(value))
		for name, inner := range value {
			object[name] = harmless(name, inner)
		}
		return object
	case []any:
		list := make([]any, len(value))
		for i, inner := range value {
			list[i] = harmless(name, inner)
		}
		return list
	case json.Number:
		if len(value) > maxNameRunes {
			return neutralise(string(value))
		}
	case string:
		if isAddress(name) {
			return httpsURL(value)
		}
		if name == "primaryEmail" {
			return unmarked(Mailbox(value))
		}
		return unmarked(neutralise(value))
	}
	return value
}

// withoutMarkup replaces the characters of HTML by others that look like them.
var withoutMarkup = strings.NewReplacer("<", "‹", ">", "›", `"`, "”")

// unmarked takes the markup out of a text, and the character references, behind which a
// link may hide: not every service escapes what it puts into its templates.
func unmarked(text string) string {
	if text = withoutMarkup.Replace(text); html.UnescapeString(text) != text {
		text = strings.ReplaceAll(text, "&", "& ")
	}
	return text
}

// isAddress tells whether Logto keeps the address of an image or a page under a
// name.
func isAddress(name string) bool {
	switch name {
	case "avatar", "favicon", "darkFavicon", "picture", "website", "profile":
		return true
	}
	return strings.HasSuffix(name, "Url") || strings.HasSuffix(name, "Uri")
}
