package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"logto-email-relay/settings"
)

// maxReferenced bounds a file that a text refers to, in bytes.
const maxReferenced = 64 << 10

var (
	// reference is also the beginning of a broken or a literal one.
	reference = regexp.MustCompile(`\$?\$\{(?:file:([^{}]+)\}|([A-Za-z_][A-Za-z0-9_]*)\})?`)
	// bare is a text that is one reference and no secret of its own.
	bare = regexp.MustCompile(`^(?:Bearer |Basic )?\$\{(?:file:[^{}]+|[A-Za-z_][A-Za-z0-9_]*)\}$`)
)

// environment is what a configuration may refer to: variables, and files, whose
// relative names begin at its folder.
type environment struct {
	lookup func(name string) (string, bool)
	folder string
	// files are the names of all files that were asked for, also of those that
	// cannot be read: a watcher has to see when they can.
	files []string
}

// path returns a name as it is opened.
func (e *environment) path(written string) string {
	if written == "" || filepath.IsAbs(written) {
		return written
	}
	return filepath.Join(e.folder, written)
}

// certificates returns a URL of PostgreSQL with the files of its parameters as they are
// opened.
func (e *environment) certificates(written string) string {
	base, query, found := strings.Cut(written, "?")
	if !found {
		return written
	}
	parameters := strings.Split(query, "&")
	for i, parameter := range parameters { // each by itself: a + is a blank to some
		key, value, _ := strings.Cut(parameter, "=")
		if name, err := url.PathUnescape(value); err == nil && name != "system" && e.path(name) != name && slices.Contains(certificateFiles, key) {
			parameters[i] = key + "=" + strings.ReplaceAll(url.QueryEscape(e.path(name)), "+", "%20")
		}
	}
	return base + "?" + strings.Join(parameters, "&")
}

// certificateFiles are the parameters that name files.
var certificateFiles = []string{"sslrootcert", "sslcert", "sslkey"}

// expand replaces every ${NAME} and ${file:/path} in a text; $${ is a literal
// ${. What comes in is not expanded again. It returns the first reference too.
func (e *environment) expand(text string) (expanded, first string, err error) {
	expanded = reference.ReplaceAllStringFunc(text, func(match string) string {
		groups := reference.FindStringSubmatch(match)
		switch {
		case strings.HasPrefix(match, "$$"):
			return match[1:]
		case err != nil:
			return ""
		case groups[1]+groups[2] == "":
			err = errors.New("after ${ belongs a name and a brace: " +
				"write ${NAME} for a variable, ${file:/path} for a file, or $${ for the characters ${ themselves")
			return ""
		}
		first = cmp.Or(first, settings.Printable(match, 80))
		var value string
		value, err = e.value(groups[1], groups[2])
		return value
	})
	if err != nil {
		return "", first, err
	}
	return expanded, first, nil
}

func (e *environment) value(path, name string) (string, error) {
	if path == "" {
		value, set := e.lookup(name)
		if !set {
			return "", fmt.Errorf("the environment variable %s is not set", settings.Printable(name, 80))
		}
		return value, nil
	}
	text, err := e.read(path, maxReferenced)
	// Editors and shells end a file with a line break that is no part of a key, and those of
	// Windows begin it with a byte order mark.
	return strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), "\ufeff"), err
}

// read returns the text of a file that the configuration names.
func (e *environment) read(path string, limit int64) (string, error) {
	path = e.path(path)
	if !slices.Contains(e.files, path) {
		e.files = append(e.files, path)
	}
	shown := settings.Printable(path, 200)
	content, err := ReadFile(path, limit)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", shown, err)
	}
	if !utf8.Valid(content) {
		return "", fmt.Errorf("%s is not UTF-8 text", shown)
	}
	return string(content), nil
}

// ReadFile is settings.ReadFile with errors that do not hold the name, which may have
// characters that a terminal obeys.
func ReadFile(path string, limit int64) ([]byte, error) {
	content, err := settings.ReadFile(path, limit)
	var cause *fs.PathError
	switch {
	case errors.As(err, &cause):
		return nil, cause.Err
	case errors.Is(err, settings.ErrTooLarge):
		return nil, fmt.Errorf("it is larger than %d KiB", limit>>10)
	}
	return content, err
}

// expand replaces the references in every text of a value, once.
func (d *decoder) expand(n *node, path string) bool {
	if n.expanded {
		return !d.reported[path]
	}
	n.expanded = true
	good := true
	for i, item := range n.items {
		good = d.expand(item, fmt.Sprintf("%s[%d]", path, i)) && good
	}
	for _, m := range n.members {
		if placeholder.MatchString(m.key) {
			d.problem(m.at, path, "placeholders are not replaced in the names of keys")
			good = false
		}
		good = d.expand(m.value, join(path, shownKey(m.key))) && good
	}
	written, isText := n.scalar.(string)
	isSecret := !n.public
	if isText && mayHoldKey(written) {
		n.public = false
	}
	if text := n.unfilled(written); text != "" {
		d.problem(n.from, path, text)
		return false
	}
	if name := d.withoutBraces(written); name != "" {
		d.problem(n.from, path, "write ${"+name+"}, in braces, for the environment variable")
		return false
	}
	if !isText || !strings.Contains(written, "${") {
		return good
	}
	text, first, err := d.environment.expand(written)
	n.public = n.public || bare.MatchString(written)
	if err != nil {
		d.problem(n.from, path, err.Error())
		return false
	}
	if problem := n.unfilled(text); problem != "" && !isSecret { // a password may look like this
		d.problem(n.from, path, problem)
		return false
	}
	if n.scalar, n.reference = text, first; first != "" {
		d.secrets = append(d.secrets, text)
	}
	if text == "" && first != "" {
		if strings.HasSuffix(path, "recipients.redirectTo") { // which keeps a test environment from real people
			d.problem(n.from, path, "is empty, because "+first+" is, and every mail would go to whom it is for; remove the key if that is meant")
			return false
		}
		d.notice(n.from, path, "is empty, because "+first+" is, as if it were not written at all")
	}
	return good
}

// placeholder is one as templates have them.
var placeholder = regexp.MustCompile(`\{\{\s*(.*?)\s*\}\}`)

// unfilled says that nobody would replace a placeholder of the text, if that is so:
// it would go out as it is written.
func (n *node) unfilled(text string) string {
	for _, found := range placeholder.FindAllStringSubmatch(text, -1) {
		switch {
		case n.placeholders == "":
			return "placeholders such as {{id}} are not replaced here; write the text itself"
		case n.placeholders != "any" && !slices.Contains(strings.Fields(n.placeholders), found[1]):
			return "no placeholder is replaced here but {{" + strings.ReplaceAll(n.placeholders, " ", "}}, {{") + "}}"
		}
	}
	return ""
}

// variable is a text that a shell would replace. The values of variables and
// files are not looked at, so that a password may look like this there.
var variable = regexp.MustCompile(`^(?:Bearer |Basic )?\$([A-Za-z_][A-Za-z0-9_]*)$`)

// loginVariable is a URL whose user or password is a text that a shell or Kubernetes would replace. A
// password may look like this, so that there has to be such a variable.
var loginVariable = regexp.MustCompile(`^[a-z]+://(?:[^/@]*:)?\$\(?([A-Za-z_][A-Za-z0-9_]*)\)?(?::[^/@]*)?@`)

// withoutBraces returns the variable that a text means and does not name as one, empty for
// none. A whole text means one by its letters, too, and not only because there is one.
func (d *decoder) withoutBraces(text string) string {
	name := variable.FindStringSubmatch(text)
	isWhole := name != nil
	if !isWhole {
		name = loginVariable.FindStringSubmatch(text)
	}
	if name == nil {
		return ""
	}
	if _, set := d.environment.lookup(name[1]); set || isWhole && name[1] == strings.ToUpper(name[1]) {
		return name[1]
	}
	return ""
}
