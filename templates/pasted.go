package templates

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"logto-email-relay/mail"
)

// Overlay lays the templates of one provider over a catalogue: a mail of a type
// that they lack is their Generic one, as in Logto, and the catalogue's if they
// lack that too. It is safe for use by many goroutines at a time.
type Overlay struct {
	catalogue *Catalogue
	own       map[string]*pastedTemplate // by type
	warnings  []string
}

type pastedTemplate struct {
	*template                        // nil for a stored one without a subject
	pasted    mail.ConnectorTemplate // its content is in the template
}

// With compiles templates out of a provider's settings. They may use any name,
// as they may in Logto; one that no message has prints as nothing, and a warning
// says so. Its error joins every mistake found, each an *Error.
func (c *Catalogue) With(list []mail.ConnectorTemplate) (*Overlay, error) {
	o := &Overlay{catalogue: c, own: make(map[string]*pastedTemplate)}
	var faults []error
	for _, p := range list {
		if o.own[p.Type] != nil {
			o.warn("%s: an earlier template is of type %s already, and used", p.Key, p.Type)
			continue
		}
		if !slices.Contains(messageTypes(), p.Type) {
			o.warn("%s: Logto has no message type %s; it has %s", p.Key, p.Type, strings.Join(messageTypes(), ", "))
		}
		compiled, err := c.compilePasted(p)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		o.own[p.Type] = &pastedTemplate{compiled, p}
		if compiled != nil {
			o.warnings = append(o.warnings, warnings(p.Type, compiled)...)
			o.warnings = append(o.warnings, c.unknowns(p, compiled)...)
		}
	}
	return o, errors.Join(faults...)
}

func (o *Overlay) warn(format string, arguments ...any) {
	o.warnings = append(o.warnings, fmt.Sprintf(format, arguments...))
}

// compilePasted compiles what is there of a template; nil if that is nothing.
func (c *Catalogue) compilePasted(p mail.ConnectorTemplate) (*template, error) {
	v := c.vocabulary(p.Type)
	v.anyName = true
	made := &template{source: p.Key}
	var faults []error
	compiled := func(part, text string, f format) *program {
		if text == "" {
			return nil
		}
		text = strings.ReplaceAll(text, "\r\n", "\n")
		result, err := compile(&source{file: p.Key + part, text: text}, f, v)
		faults = append(faults, err)
		return result
	}
	made.subject = compiled(" (subject)", p.Subject, textFormat)
	made.html = compiled("", p.HTML, htmlFormat)
	made.text = compiled("", p.Text, textFormat)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if made.html != nil && made.text == nil {
		made.derived = true
		s := &source{file: p.Key, text: strings.ReplaceAll(p.HTML, "\r\n", "\n")}
		text := &source{file: p.Key, text: s.plainText()}
		var err error
		if made.text, err = compile(text, textFormat, v); err != nil || strings.TrimSpace(text.text) == "" {
			return nil, s.errorAt(0, "no text can be made of this HTML: it shows none, or blocks begin or end inside of hidden parts")
		}
	}
	if made.subject == nil && made.text == nil {
		return nil, nil
	}
	return made, nil
}

// unknowns tells which names no message of the type has.
func (c *Catalogue) unknowns(p mail.ConnectorTemplate, t *template) []string {
	known := append(knownRoots(p.Type), c.settings.Variables...)
	var found []string
	for _, program := range []*program{t.subject, t.html, t.text} {
		if program == nil || program == t.text && t.derived {
			continue
		}
		for _, at := range program.relies {
			if root := rootOf(at.Text); !slices.Contains(known, root) {
				warning := *at
				warning.Text = fmt.Sprintf("no %s message has %s, so {{%s}} prints as nothing; Logto's connector would print it as it stands",
					p.Type, root, at.Text)
				found = append(found, warning.Error())
			}
		}
	}
	return found
}

// Locale returns the language that the catalogue would choose.
func (o *Overlay) Locale(t string, payload map[string]any) string {
	return o.catalogue.Locale(t, payload)
}

// Warnings returns what the templates rely on although Logto often leaves it
// out, and names that no message has.
func (o *Overlay) Warnings() []string { return slices.Clone(o.warnings) }

// Render writes one mail.
func (o *Overlay) Render(r Request) (Mail, error) {
	own := o.own[r.Type]
	if own == nil {
		own = o.own[generic]
	}
	if own == nil {
		return o.catalogue.Render(r)
	}
	l := o.catalogue.current.Load()
	_, known := l.choosers[r.Type]
	v := o.catalogue.values(r, l.tongues[l.anyType.choose(r.Payload)])
	m := Mail{Known: known, Source: own.pasted.Key, ReplyTo: own.pasted.ReplyTo}
	if own.template != nil {
		own.template.write(&m, &v)
	}
	if own.pasted.Stored != "" {
		m.Stored = &mail.StoredTemplate{Name: own.pasted.Stored, Data: v.data(own.pasted.Variables)}
	}
	return m, nil
}

// data returns the payload over the given variables, for a template that is not
// ours to escape in. What people typed is neutralised, addresses of images and
// the link are left out unless they may become one.
func (v *values) data(variables map[string]any) map[string]any {
	all := make(map[string]any, len(variables)+len(v.payload))
	maps.Copy(all, variables)
	for name, value := range v.payload {
		switch name {
		case "code", "locale", "uiLocales":
			all[name] = value
		case "link":
			all[name] = v.link
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
	case string:
		if isAddress(name) {
			if isHTTPS(value) {
				return value
			}
			return ""
		}
		if name == "primaryEmail" && isPlainMailbox(value) {
			return value
		}
		return neutralise(value)
	}
	return value
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
