package importer

import (
	"errors"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"

	htmltokens "golang.org/x/net/html"
	"golang.org/x/text/language"

	"logto-email-relay/mail"
	"logto-email-relay/templates"
)

// emailTemplate is one entry of the answer of Logto's GET /api/email-templates:
// https://openapi.logto.io/operation/operation-listemailtemplates
type emailTemplate struct {
	LanguageTag  string `json:"languageTag"`
	TemplateType string `json:"templateType"`
	Details      struct {
		Subject     string `json:"subject"`
		Content     string `json:"content"`
		ContentType string `json:"contentType"`
		ReplyTo     string `json:"replyTo"`
		SendFrom    string `json:"sendFrom"`
	} `json:"details"`
}

// template is one mail, as a file of the operator's templates.
type template struct {
	locale, messageType    string
	subject, content, text string
	isText                 bool
}

func (i *importer) readEmailTemplates(list []emailTemplate) error {
	for n, entry := range list {
		if entry.TemplateType == "" || entry.LanguageTag == "" {
			return fmt.Errorf("entry %d has no languageTag or no templateType; this is not an answer of GET /api/email-templates", n)
		}
		d := entry.Details
		where := entry.LanguageTag + " " + entry.TemplateType
		for _, key := range [][3]string{{"replyTo", d.ReplyTo, "replyTo"}, {"sendFrom", d.SendFrom, "from"}} {
			if key[1] != "" {
				i.note("%s: %s %q has no place in a template; use sender.%s, in a route with these types and locales", where, key[0], key[1], key[2])
			}
		}
		i.add(template{locale: entry.LanguageTag, messageType: entry.TemplateType,
			subject: d.Subject, content: d.Content, isText: d.ContentType == "text/plain"})
	}
	return nil
}

// add takes a template if the relay can load it.
func (i *importer) add(t template) {
	where := t.locale + " " + t.messageType
	if slices.ContainsFunc(i.templates, func(f template) bool {
		return f.locale == t.locale && f.messageType == t.messageType
	}) {
		i.lose("%s: an earlier template is of this type already", where)
		return
	}
	if err := t.check(i.catalogue); err != nil {
		i.lose("%s: %v", where, err)
		return
	}
	for _, name := range t.variables() {
		root, _, _ := strings.Cut(name, ".")
		if !slices.Contains(i.variables, root) {
			i.variables = append(i.variables, root)
			i.note("%s uses {{%s}}, which Logto does not send by itself; %s is declared in templates.variables", where, name, root)
		}
	}
	i.templates = append(i.templates, t)
}

// check finds what keeps the relay from loading the template's files.
func (t template) check(catalogue *templates.Catalogue) error {
	// A language or a type with a slash in it would lead out of the directory.
	tag, err := language.Parse(t.locale)
	if err != nil || tag == language.Und || !slices.Contains(catalogue.Types(), t.messageType) {
		return errors.New("this is no language and type of Logto's")
	}
	if strings.TrimSpace(t.subject) == "" || strings.TrimSpace(t.content) == "" {
		return errors.New("it lacks a subject or a content")
	}
	files := t.files()
	c := mail.ConnectorTemplate{Key: files[0].Path, Type: t.messageType, Subject: t.subject, HTML: files[0].Content, Text: t.text}
	if t.isText {
		c.HTML, c.Text = "", files[0].Content
	}
	_, err = catalogue.With([]mail.ConnectorTemplate{c})
	return err
}

// files are the template as the relay loads it.
func (t template) files() []File {
	path := t.locale + "/" + t.messageType
	if t.isText {
		return []File{{path + ".txt", "Subject: " + strings.Join(strings.Fields(t.subject), " ") + "\n\n" + endLine(t.content)}}
	}
	files := []File{{path + ".html", endLine(withTitle(t.content, t.subject))}}
	if strings.TrimSpace(t.text) != "" {
		files = append(files, File{path + ".txt", endLine(t.text)})
	}
	return files
}

func endLine(text string) string { return strings.TrimRight(text, "\n") + "\n" }

// withTitle makes the subject the title of an HTML document or of a part of one.
func withTitle(content, subject string) string {
	element := "<title>" + html.EscapeString(subject) + "</title>"
	// The title takes the place of the one there is, else it begins the head.
	at, until, before, after := 0, 0, "", "\n"
	tokens := htmltokens.NewTokenizer(strings.NewReader(content))
	for end := 0; ; {
		kind := tokens.Next()
		start := end
		end += len(tokens.Raw())
		name, _ := tokens.TagName()
		switch tag := string(name); {
		case kind == htmltokens.EndTagToken && tag == "title" && until > at, kind == htmltokens.ErrorToken:
			if until > at {
				until = end
			}
			return content[:at] + before + element + after + content[until:]
		case kind != htmltokens.StartTagToken || until > at:
		case tag == "title":
			at, until, before, after = start, end, "", ""
		case tag == "head":
			at, until, before, after = end, end, "\n", ""
		case tag == "html":
			at, until, before, after = end, end, "\n<head>", "</head>"
		}
	}
}

// placeholder is a name, printed or asked for.
var placeholder = regexp.MustCompile(`{{\s*(?:#(?:if|unless)\s+)?([\w.]+)\s*}}`)

// variables are the names in the template that no message of its type has.
func (t template) variables() []string {
	var names []string
	for _, found := range placeholder.FindAllStringSubmatch(t.subject+t.content+t.text, -1) {
		if name := found[1]; name != "else" && !templates.Sends(t.messageType, name) {
			names = append(names, name)
		}
	}
	return names
}
