package commands

import (
	"cmp"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

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

// importedTemplate is one mail, as a file of the operator's templates.
type importedTemplate struct {
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
		if d.ReplyTo != "" {
			i.note("%s: replyTo %q has no place in a template; use sender.replyTo, in a route with these types and locales", where, d.ReplyTo)
		}
		if d.SendFrom != "" {
			i.note("%s: sendFrom %q has no place in a template; use sender.from, in a route with these types and locales", where, d.SendFrom)
		}
		i.add(importedTemplate{locale: entry.LanguageTag, messageType: entry.TemplateType,
			subject: d.Subject, content: d.Content, isText: d.ContentType == "text/plain"})
	}
	return nil
}

// add takes a template if the relay can load it.
func (i *importer) add(t importedTemplate) {
	where := t.locale + " " + t.messageType
	// A language or a type with a slash in it would lead out of the directory.
	if t.locale != filepath.Base(t.locale) || t.messageType != filepath.Base(t.messageType) || strings.HasPrefix(t.locale, ".") {
		i.lose("%s: this is no language and type of Logto's", where)
		return
	}
	if slices.ContainsFunc(i.files, func(f importedTemplate) bool {
		return f.locale == t.locale && f.messageType == t.messageType
	}) {
		i.lose("%s: an earlier template is of this type already", where)
		return
	}
	variables, err := t.try()
	if err != nil {
		i.lose("%s: %v", where, err)
		return
	}
	for _, name := range variables {
		if !slices.Contains(i.variables, name) {
			i.variables = append(i.variables, name)
			i.note("%s uses {{%s}}, which Logto does not send by itself; it is declared in templates.variables", where, name)
		}
	}
	i.files = append(i.files, t)
}

var (
	// placeholder is one as Logto knows it.
	placeholder = regexp.MustCompile(`{{\s*([\w.]+)\s*}}`)
	title       = regexp.MustCompile(`(?is)<title[^>]*>.*?</title\s*>`)
	head        = regexp.MustCompile(`(?i)<head(\s[^>]*)?>`)
	opening     = regexp.MustCompile(`(?i)<html(\s[^>]*)?>`)
)

// contents are the files of a template, by their extension.
func (t importedTemplate) contents() map[string]string {
	if t.isText {
		return map[string]string{".txt": "Subject: " + t.subject + "\n\n" + endLine(t.content)}
	}
	files := map[string]string{".html": endLine(withTitle(t.content, t.subject))}
	if t.text != "" {
		files[".txt"] = endLine(t.text)
	}
	return files
}

func endLine(text string) string { return strings.TrimRight(text, "\n") + "\n" }

// withTitle makes the subject the title of an HTML document or of a part of one.
func withTitle(content, subject string) string {
	element := "<title>" + html.EscapeString(subject) + "</title>"
	if at := title.FindStringIndex(content); at != nil {
		return content[:at[0]] + element + content[at[1]:]
	}
	if at := head.FindStringIndex(content); at != nil {
		return content[:at[1]] + "\n" + element + content[at[1]:]
	}
	if at := opening.FindStringIndex(content); at != nil {
		return content[:at[1]] + "\n<head>" + element + "</head>" + content[at[1]:]
	}
	return element + "\n" + content
}

// try loads the template alone, and returns the names in it that have to be
// declared.
func (t importedTemplate) try() (variables []string, err error) {
	dir, err := os.MkdirTemp("", "import-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Mkdir(filepath.Join(dir, t.locale), 0o700); err != nil {
		return nil, err
	}
	for extension, content := range t.contents() {
		if err := os.WriteFile(filepath.Join(dir, t.locale, t.messageType+extension), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	s := templates.DefaultSettings()
	s.Dir, s.Variables = dir, t.variables()
	if _, err := templates.Open(s); err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""))
	}
	return s.Variables, nil
}

// variables are the names in the template that no message of its type has.
func (t importedTemplate) variables() []string {
	var names []string
	for _, found := range placeholder.FindAllStringSubmatch(t.subject+t.content+t.text, -1) {
		root, _, _ := strings.Cut(found[1], ".")
		if !slices.Contains(templates.Names(t.messageType), root) && !slices.Contains(names, root) {
			names = append(names, root)
		}
	}
	return names
}

// write writes the templates, unless a file is there already that says something
// else.
func (i *importer) write() (written []string, err error) {
	type file struct{ path, content string }
	var missing []file
	var different []string
	for _, t := range i.files {
		for extension, content := range t.contents() {
			path := filepath.Join(i.dir, t.locale, t.messageType+extension)
			switch present, err := os.ReadFile(path); {
			case errors.Is(err, fs.ErrNotExist):
				missing = append(missing, file{path, content})
			case err != nil:
				return nil, err
			case string(present) != content:
				different = append(different, path)
			}
		}
	}
	if len(different) > 0 {
		slices.Sort(different)
		return nil, fmt.Errorf("nothing was written, because these files are there already and differ: %s",
			strings.Join(different, ", "))
	}
	slices.SortFunc(missing, func(a, b file) int { return cmp.Compare(a.path, b.path) })
	for _, f := range missing {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return written, err
		}
		if err := os.WriteFile(f.path, []byte(f.content), 0o644); err != nil {
			return written, err
		}
		written = append(written, f.path)
	}
	return written, nil
}
