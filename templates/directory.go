package templates

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"

	"logto-email-relay/settings"
)

// dirReader reads the operator's directory into a catalogue:
//
//	<locale>/<Type>.html   a whole mail; its <title> is the subject
//	<locale>/<Type>.txt    its text, or a mail of text alone
//	<locale>.json          single sentences of a language
//
// Files and directories whose names begin with a dot, files of other kinds that no type is
// named in, and what editors leave behind, are left alone. Symbolic links are followed:
// Kubernetes mounts files as such.
type dirReader struct {
	*Catalogue
	originals *originals
	faults    []error
	// edited are the embedded mails whose sentences the operator changed.
	edited []mailKey
	// written are the names of directories and files by the language they mean.
	written map[string]string
}

// maxShown bounds how many mistakes of a directory are told, and of a file of sentences.
const maxShown = 50

// joined makes one error of mistakes, which has room in a line of the log.
func joined(faults []error) error {
	if n := len(faults); n > maxShown {
		faults = append(slices.Clip(faults[:maxShown]), fmt.Errorf("%d mistakes, of which the first %d are shown", n, maxShown))
	}
	return errors.Join(faults...)
}

func (r *dirReader) fault(err error) {
	if err != nil {
		r.faults = append(r.faults, err)
	}
}

// faultIn notes a mistake with a file or its name.
func (r *dirReader) faultIn(file, format string, arguments ...any) {
	r.fault(fmt.Errorf("%s: %s", printable(file), fmt.Sprintf(format, arguments...)))
}

// list returns the names in a directory that are not hidden.
func list(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, printablePath(err)
}

func (r *dirReader) read() {
	dir := r.settings.Dir
	names, err := list(dir)
	if err != nil {
		r.fault(fmt.Errorf("templates.dir: %w", err))
		return
	}
	r.written = make(map[string]string)
	for _, name := range names {
		file := filepath.Join(dir, name)
		info, err := os.Stat(file)
		switch {
		case err != nil:
			r.fault(printablePath(err))
		case name == "lost+found": // the root of a volume of its own has it
		case info.IsDir():
			if t := r.translation(file, name); t != nil {
				r.readMails(file, t)
			}
		case filepath.Ext(name) != ".json" && strings.EqualFold(filepath.Ext(name), ".json"):
			r.faultIn(file, "name it %s.json", printable(strings.TrimSuffix(name, filepath.Ext(name))))
		case strings.HasSuffix(name, ".json"):
			if t := r.translation(file, strings.TrimSuffix(name, ".json")); t != nil {
				r.readSentences(file, t)
			}
		case isTemplateFile(name):
			r.faultIn(file, "put it into the directory of its language, such as %s", printable(filepath.Join(dir, english, name)))
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(r.own), func(a, b mailKey) int {
		return strings.Compare(a.locale+a.messageType, b.locale+b.messageType)
	}) {
		r.warnings = append(r.warnings, r.own[key].warnings(key.messageType)...)
		if key.messageType == generic && r.translations[key.locale].texts == nil && r.own[mailKey{invitation, key.locale}] == nil { // it stands in
			r.warnings = append(r.warnings, r.own[key].purposeWarnings(invitation)...)
		}
	}
}

// maxLocaleBytes bounds a file of sentences; those of ours have 10 KB.
const maxLocaleBytes = 1 << 20

// readFile reads a regular file of UTF-8, with line ends as mail wants them from
// us.
func readFile(name string, limit int) (*source, error) {
	s := &source{file: name}
	content, err := settings.ReadFile(name, int64(limit))
	switch {
	case errors.Is(err, settings.ErrNotRegular):
		return nil, fmt.Errorf("%s: this is not a regular file", printable(name))
	case errors.Is(err, settings.ErrTooLarge):
		return nil, s.errorAt(0, fmt.Sprintf("the file is too large; at most %d bytes are taken", limit))
	case err != nil:
		return nil, printablePath(err)
	case !utf8.Valid(content):
		return nil, s.errorAt(0, "the file is not UTF-8 text; save it as UTF-8")
	}
	s.text = strings.ReplaceAll(strings.TrimPrefix(string(content), "\ufeff"), "\r\n", "\n") // without a byte order mark
	return s, nil
}

// printablePath makes the path in an error of package os printable.
func printablePath(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return &fs.PathError{Op: at.Op, Path: printable(at.Path), Err: at.Err}
	}
	return err
}

// isTemplateFile knows the files of templates; .htm is one to be told about.
func isTemplateFile(name string) bool {
	extension := strings.ToLower(filepath.Ext(name))
	return extension == ".html" || extension == ".htm" || extension == ".txt"
}

// isMeant tells whether a file in the folder of a language is meant as a template: by its
// ending, or by a type that its name begins with. What editors leave behind is not.
func isMeant(name string) bool {
	switch extension := filepath.Ext(name); {
	case isTemplateFile(name):
		return true
	case strings.HasSuffix(name, "~"), slices.Contains([]string{".bak", ".swp", ".tmp", ".orig"}, strings.ToLower(extension)):
		return false
	}
	begin, _, _ := strings.Cut(name, ".")
	return slices.ContainsFunc(Types(), func(t string) bool { return strings.EqualFold(t, begin) })
}

// translation returns the language that a directory or a JSON file is named
// after, an embedded one if it means the same readers.
func (r *dirReader) translation(file, name string) *translation {
	tag, err := language.Parse(name)
	if err != nil || readTag(name) == language.Und {
		if near := settings.Nearest(name, slices.Sorted(maps.Keys(r.translations))); near != "" {
			r.faultIn(file, "%q is not a language tag; did you mean %s?", name, near)
		} else {
			r.faultIn(file, "%q is not a language tag such as en or pt-BR; what begins with a dot is left alone", name)
		}
		return nil
	}
	same := sameLanguage(tag) + filepath.Ext(file)
	if other, twice := r.written[same]; twice {
		r.faultIn(file, "this is the same language as %s; keep one of them", printable(other))
		return nil
	}
	r.written[same] = file
	for _, known := range r.translations {
		if sameLanguage(known.tag) == sameLanguage(tag) {
			return known
		}
	}
	added := newTranslation(tag.String(), tag, nil, "")
	r.translations[added.Locale] = added
	return added
}

// readSentences lays single sentences over a language. One that the relay does
// not speak starts from the same language of another region (en-GB from en);
// where there is none, the file must be complete.
func (r *dirReader) readSentences(file string, t *translation) {
	s, err := readFile(file, maxLocaleBytes)
	if err != nil {
		r.fault(err)
		return
	}
	sentences, err := readTexts(file, s.text)
	if err != nil {
		r.fault(err)
		return
	}
	original := r.originals.translations[english].texts
	if err := sentences.check(file, original, r.settings.vocabulary("")); err != nil {
		r.fault(err)
		return
	}
	under := t.texts
	if under == nil { // the same language of another region, if there is one
		if related, ok := r.originals.chooser.match([]language.Tag{t.tag}, language.High); ok {
			under = r.originals.translations[related].texts
		}
	}
	all := under.overlay(sentences)
	if lacks := all.missing(original); len(lacks) > 0 {
		r.faultIn(file, "the relay does not speak %s, so the file must have every text; it lacks %s", t.Locale, strings.Join(lacks, ", "))
		return
	}
	r.translations[t.Locale] = newTranslation(t.Locale, t.tag, all, file)
	for _, messageType := range Types() {
		r.edited = append(r.edited, mailKey{messageType, t.Locale})
	}
}

// tellMisnamed tells what a file in the folder of a language would have to be named; names are
// those of all files there. What a template is made of, such as MJML, may stand beside it.
func (r *dirReader) tellMisnamed(file string, names []string) {
	dir, name := filepath.Split(file)
	begin, _, _ := strings.Cut(name, ".")
	extension := strings.ToLower(filepath.Ext(name))
	near := settings.Nearest(begin, Types())
	switch isTemplate := extension == ".html" || extension == ".htm"; {
	case near == "":
		messageType := strings.TrimSuffix(name, filepath.Ext(name))
		r.faultIn(file, "Logto has no message type %s; it has %s", printable(messageType), strings.Join(Types(), ", "))
	case extension == ".txt":
		r.faultIn(file, "name it %s.txt", near)
	case extension == ".json":
		r.faultIn(file, "sentences stand in one file for a language: put them into %s.json, below types.%s", printable(filepath.Clean(dir)), near)
	case isTemplate || !slices.Contains(names, near+".html") && !slices.Contains(names, near+".txt"):
		r.faultIn(file, "name it %s.html", near)
	}
}

// readMails reads the templates of one language.
func (r *dirReader) readMails(dir string, t *translation) {
	names, err := list(dir)
	r.fault(err)
	type pair struct{ html, text string }
	files := make(map[string]pair) // by type
	for _, name := range names {
		if !isMeant(name) {
			continue
		}
		file, extension := filepath.Join(dir, name), filepath.Ext(name)
		messageType := strings.TrimSuffix(name, extension)
		found := files[messageType]
		switch known := slices.Contains(Types(), messageType); {
		case known && extension == ".html":
			found.html = file
		case known && extension == ".txt":
			found.text = file
		default:
			r.tellMisnamed(file, names)
			continue
		}
		files[messageType] = found
	}
	for _, messageType := range Types() {
		if found, ok := files[messageType]; ok {
			own, err := compileMail(found.html, found.text, messageType, r.settings.vocabulary(messageType))
			if err == nil && NeedsCode(messageType) && own.lacksCode() {
				err = codeMissing(own.source, messageType)
			}
			if err != nil {
				r.fault(err)
				continue
			}
			r.own[mailKey{messageType, t.Locale}] = own
		}
	}
	// In a language that has no sentences the Generic mail stands in for the others.
	if stand := r.own[mailKey{generic, t.Locale}]; stand != nil && t.texts == nil && stand.lacksCode() {
		for _, messageType := range Types() {
			if _, ok := files[messageType]; !ok && NeedsCode(messageType) {
				r.fault(codeMissing(stand.source, messageType))
				return
			}
		}
	}
}

// compileMail compiles one mail from its files, either of which may be absent.
func compileMail(htmlFile, textFile, messageType string, v vocabulary) (*template, error) {
	if htmlFile == "" {
		return compileTextMail(textFile, v)
	}
	s, err := readFile(htmlFile, maxTemplateBytes)
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
	t.shown, err = s.compilePlainText(v, ": write "+messageType+".txt beside it")
	t.text, t.derived = t.shown, true
	if textFile != "" {
		t.text, err = compileText(textFile, v)
		t.derived = false
	}
	return t, err
}

const subjectPrefix = "subject:"

// compileTextMail compiles a mail of text alone, whose first line is the subject.
func compileTextMail(file string, v vocabulary) (*template, error) {
	s, err := readFile(file, maxTemplateBytes)
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
	s, err := readFile(file, maxTemplateBytes)
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
