package templates

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"logto-email-relay/settings"
)

// operator reads the operator's directory into a collection:
//
//	<locale>/<Type>.html   a whole mail; its <title> is the subject
//	<locale>/<Type>.txt    its text, or a mail of text alone
//	<locale>.json          single sentences of a language
//
// Files and directories whose names begin with a dot, and files of other kinds,
// are left alone.
type operator struct {
	catalogue  *Catalogue
	collection *collection
	faults     []error
	// changed are the embedded mails whose sentences the operator changed.
	changed []mailKey
	// written are the names of directories and files by the language they mean.
	written map[string]string
}

func (o *operator) fault(err error) {
	if err != nil {
		o.faults = append(o.faults, err)
	}
}

func (o *operator) load() {
	dir := o.catalogue.settings.Dir
	entries, err := os.ReadDir(dir)
	if err != nil {
		o.fault(fmt.Errorf("templates.dir: %w", err))
		return
	}
	o.written = make(map[string]string)
	for _, entry := range entries {
		name := entry.Name()
		file := filepath.Join(dir, name)
		if strings.HasPrefix(name, ".") {
			continue
		}
		info, err := os.Stat(file) // follows the symbolic links of Kubernetes
		switch {
		case err != nil:
			o.fault(err)
		case info.IsDir():
			if t := o.tongue(file, name); t != nil {
				o.readDir(file, t)
			}
		case strings.HasSuffix(name, ".json"):
			if t := o.tongue(file, strings.TrimSuffix(name, ".json")); t != nil {
				o.readSentences(file, t)
			}
		case isTemplateFile(name):
			o.fault(fmt.Errorf("%s: put it into the directory of its language, such as %s", file, filepath.Join(dir, english, name)))
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(o.collection.own), func(a, b mailKey) int {
		return strings.Compare(a.locale+a.messageType, b.locale+b.messageType)
	}) {
		o.collection.warnings = append(o.collection.warnings, warnings(key.messageType, o.collection.own[key])...)
	}
}

// isTemplateFile knows the files of templates; .htm is one to be told about.
func isTemplateFile(name string) bool {
	extension := strings.ToLower(filepath.Ext(name))
	return extension == ".html" || extension == ".htm" || extension == ".txt"
}

// tongue returns the language that a directory or a JSON file is named after,
// an embedded one if it means the same readers.
func (o *operator) tongue(file, name string) *tongue {
	tag, err := language.Parse(name)
	if err != nil || readTag(name) == language.Und {
		if near := settings.Nearest(name, slices.Collect(maps.Keys(o.collection.tongues))); near != "" {
			err = fmt.Errorf("%s: %q is not a language tag; did you mean %s?", file, name, near)
		} else {
			err = fmt.Errorf("%s: %q is not a language tag such as en or pt-BR; what begins with a dot is left alone", file, name)
		}
		o.fault(err)
		return nil
	}
	same := sameLanguage(tag) + filepath.Ext(file)
	if other, twice := o.written[same]; twice {
		o.fault(fmt.Errorf("%s: this is the same language as %s; keep one of them", file, other))
		return nil
	}
	o.written[same] = file
	for _, known := range o.collection.tongues {
		if sameLanguage(known.tag) == sameLanguage(tag) {
			return known
		}
	}
	fresh := &tongue{name: tag.String(), tag: tag, dir: direction(tag)}
	o.collection.tongues[fresh.name] = fresh
	return fresh
}

// readSentences lays single sentences over a language. One that the relay does
// not speak starts from the same language of another region (en-GB from en);
// where there is none, the file must be complete.
func (o *operator) readSentences(file string, t *tongue) {
	content, err := os.ReadFile(file)
	if err != nil {
		o.fault(err)
		return
	}
	sentences, err := readTexts(file, []byte(strings.TrimPrefix(string(content), byteOrderMark)))
	if err != nil {
		o.fault(err)
		return
	}
	original := o.original()
	if err := sentences.check(file, original, o.catalogue.vocabulary("")); err != nil {
		o.fault(err)
		return
	}
	merged := *t
	switch related := o.related(t); {
	case t.texts != nil:
		merged.texts = t.texts.overlay(sentences)
	case related != nil:
		merged.texts = related.texts.overlay(sentences)
	default:
		if lacks := sentences.missing(original); len(lacks) > 0 {
			o.fault(fmt.Errorf("%s: the relay does not speak %s, so the file must have every text; it lacks %s",
				file, t.name, strings.Join(lacks, ", ")))
			return
		}
		merged.texts = sentences
	}
	merged.dir, merged.source = merged.texts["dir"].text, file
	o.collection.tongues[t.name] = &merged
	for _, messageType := range messageTypes() {
		o.changed = append(o.changed, mailKey{messageType, t.name})
	}
}

const byteOrderMark = "\ufeff"

// original are the English texts, which name every key there is.
func (o *operator) original() texts {
	for _, t := range o.catalogue.languages {
		if t.name == english {
			return t.texts
		}
	}
	return nil
}

// related finds the embedded language that a regional one can start from.
func (o *operator) related(t *tongue) *tongue {
	var tags []language.Tag
	for _, known := range o.catalogue.languages {
		tags = append(tags, known.tag)
	}
	_, i, confidence := language.NewMatcher(tags).Match(t.tag)
	base, _ := t.tag.Base()
	if found, _ := tags[i].Base(); confidence < language.High || found != base {
		return nil
	}
	return o.catalogue.languages[i]
}

// readDir reads the templates of one language.
func (o *operator) readDir(dir string, t *tongue) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		o.fault(err)
		return
	}
	files := make(map[string]map[string]string) // by type and extension
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || !isTemplateFile(name) {
			continue
		}
		extension := filepath.Ext(name)
		messageType := strings.TrimSuffix(name, extension)
		if !slices.Contains(messageTypes(), messageType) || extension != ".html" && extension != ".txt" {
			near := settings.Nearest(messageType, messageTypes())
			if near == "" {
				o.fault(fmt.Errorf("%s: Logto has no message type %s; it has %s",
					filepath.Join(dir, name), messageType, strings.Join(messageTypes(), ", ")))
				continue
			}
			if extension != ".txt" {
				extension = ".html"
			}
			o.fault(fmt.Errorf("%s: name it %s%s", filepath.Join(dir, name), near, extension))
			continue
		}
		if files[messageType] == nil {
			files[messageType] = make(map[string]string)
		}
		files[messageType][extension] = filepath.Join(dir, name)
	}
	for _, messageType := range messageTypes() {
		if found := files[messageType]; found != nil {
			own, err := o.compile(found[".html"], found[".txt"], messageType)
			o.fault(err)
			if err == nil {
				o.collection.own[mailKey{messageType, t.name}] = own
			}
		}
	}
}

// compile compiles one mail from its files, either of which may be absent.
func (o *operator) compile(htmlFile, textFile, messageType string) (*template, error) {
	v := o.catalogue.vocabulary(messageType)
	if htmlFile == "" {
		return compileTextMail(textFile, v)
	}
	s, err := readTemplate(htmlFile)
	if err != nil {
		return nil, err
	}
	t := &template{source: htmlFile}
	if t.html, err = compile(s, htmlFormat, v); err != nil {
		if textFile != "" {
			_, textErr := compileText(textFile, v)
			err = errors.Join(err, textErr)
		}
		return nil, err
	}
	title := s.title()
	if title == nil {
		return nil, s.errorAt(0, "write the subject as <title>…</title> into the <head>")
	}
	if t.subject, err = compile(title, titleFormat, v); err != nil {
		return nil, err
	}
	if textFile != "" {
		t.text, err = compileText(textFile, v)
		return t, err
	}
	t.derived = true
	text := s.plainText()
	if strings.TrimSpace(text) == "" {
		return nil, s.errorAt(0, "no text can be made of this HTML, which shows none: write "+messageType+".txt beside it")
	}
	if t.text, err = compile(&source{file: htmlFile, text: text}, textFormat, v); err != nil {
		return nil, s.errorAt(0, "no text can be made of this HTML, because blocks begin or end inside of hidden parts: "+
			"write "+messageType+".txt beside it")
	}
	return t, nil
}

// readTemplate reads a file with line ends as mail wants them from us.
func readTemplate(file string) (*source, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxTemplateBytes {
		return nil, &Error{File: file, Line: 1, Column: 1,
			Text: fmt.Sprintf("the template has %d bytes; at most %d are taken", info.Size(), maxTemplateBytes)}
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	text := strings.ReplaceAll(strings.TrimPrefix(string(content), byteOrderMark), "\r\n", "\n")
	return &source{file: file, text: text}, nil
}

const subjectPrefix = "subject:"

// compileTextMail compiles a mail of text alone, whose first line is the subject.
func compileTextMail(file string, v vocabulary) (*template, error) {
	s, err := readTemplate(file)
	if err != nil {
		return nil, err
	}
	first, rest, _ := strings.Cut(s.text, "\n")
	if !hasSubject(first) || strings.TrimSpace(first[len(subjectPrefix):]) == "" || strings.TrimSpace(rest) == "" {
		return nil, s.errorAt(0, "begin with the subject, as in \"Subject: Your code\", and write the text below it")
	}
	// Blanks keep the columns of mistakes.
	subject, err := compile(&source{file: file, text: strings.Repeat(" ", len(subjectPrefix)) + first[len(subjectPrefix):]}, textFormat, v)
	body := strings.TrimLeft(rest, "\n")
	text, textErr := compile(&source{file: file, text: body, linesBefore: 1 + len(rest) - len(body)}, textFormat, v)
	return &template{subject: subject, text: text, source: file}, errors.Join(err, textErr)
}

func hasSubject(line string) bool {
	return len(line) >= len(subjectPrefix) && strings.EqualFold(line[:len(subjectPrefix)], subjectPrefix)
}

// compileText compiles the text beside an HTML template.
func compileText(file string, v vocabulary) (*program, error) {
	s, err := readTemplate(file)
	if err != nil {
		return nil, err
	}
	if hasSubject(s.text) {
		return nil, s.errorAt(0, "the subject is the <title> of the HTML template beside this file: remove this line")
	}
	if strings.TrimSpace(s.text) == "" {
		return nil, s.errorAt(0, "the file is empty: write the text, or remove the file to have it made from the HTML")
	}
	return compile(s, textFormat, v)
}

// warnings tells which of the printed names Logto often leaves out.
func warnings(messageType string, t *template) []string {
	programs := []*program{t.subject, t.html}
	if !t.derived {
		programs = append(programs, t.text)
	}
	var found []string
	for _, p := range programs {
		if p == nil {
			continue // a template kept at a provider may lack any part
		}
		for _, at := range p.relies {
			if p == t.subject && t.html != nil && at.File == t.source {
				continue // a title, which is part of the HTML too
			}
			if root := rootOf(at.Text); isOftenMissing(root, messageType) {
				warning := *at
				warning.Text = fmt.Sprintf("%s mails often come without %s: write {{#if %s}} … {{/if}} around {{%[3]s}}",
					messageType, root, at.Text)
				found = append(found, warning.Error())
			}
		}
	}
	return found
}

// isOftenMissing tells whether Logto leaves out a part of the context in mails
// of a type: the user is known once signed in, the organization only where the
// sign-in or the invitation names one, the application not when its look-up fails.
func isOftenMissing(root, messageType string) bool {
	switch root {
	case "application", "inviter":
		return true
	case "organization":
		return messageType != invitation
	case "user":
		return messageType != "UserPermissionValidation" && messageType != "BindNewIdentifier"
	}
	return false
}
