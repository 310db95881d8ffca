package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxReferenced bounds a file that a text refers to, in bytes.
const maxReferenced = 64 << 10

var (
	reference = regexp.MustCompile(`^\$\{(?:file:([^{}]+)|([A-Za-z_][A-Za-z0-9_]*))\}`)
	// bare is a text that is one reference and no secret of its own.
	bare = regexp.MustCompile(`^(?:Bearer |Basic )?\$\{(?:file:[^{}]+|[A-Za-z_][A-Za-z0-9_]*)\}$`)
)

// surroundings are what texts may refer to.
type surroundings struct {
	lookup   func(name string) (string, bool)
	readFile func(path string) ([]byte, error)
}

// expand replaces every ${NAME} and ${file:/path} in a text; $${ is a literal
// ${. What comes in is not expanded again. It returns the first reference too.
func (s surroundings) expand(text string) (expanded, first string, err error) {
	var b strings.Builder
	for {
		at := strings.Index(text, "${")
		if at < 0 {
			b.WriteString(text)
			return b.String(), first, nil
		}
		if at > 0 && text[at-1] == '$' {
			b.WriteString(text[:at-1] + "${")
			text = text[at+2:]
			continue
		}
		b.WriteString(text[:at])
		text = text[at:]
		match := reference.FindStringSubmatch(text)
		if match == nil {
			return "", first, errors.New("after ${ belongs a name and a brace: " +
				"write ${NAME} for a variable, ${file:/path} for a file, or $${ for the characters ${ themselves")
		}
		if first == "" {
			first = printable(match[0], 80)
		}
		value, err := s.value(match[1], match[2])
		if err != nil {
			return "", first, err
		}
		b.WriteString(value)
		text = text[len(match[0]):]
	}
}

func (s surroundings) value(path, name string) (string, error) {
	if path == "" {
		value, set := s.lookup(name)
		if !set {
			return "", fmt.Errorf("the environment variable %s is not set", printable(name, 80))
		}
		return value, nil
	}
	shown := printable(path, 200)
	content, err := s.readFile(path)
	var cause *fs.PathError
	switch {
	case errors.As(err, &cause):
		return "", fmt.Errorf("cannot read %s: %w", shown, cause.Err)
	case err != nil:
		return "", fmt.Errorf("cannot read %s: %w", shown, err)
	case !utf8.Valid(content):
		return "", fmt.Errorf("%s is not UTF-8 text", shown)
	}
	// Editors and shells end a file with a line break that is no part of a key.
	text := strings.TrimSuffix(string(content), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}

// readReferenced reads a regular file of at most maxReferenced bytes. A pipe or
// a device could keep the relay waiting for ever.
func readReferenced(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return readBounded(path, maxReferenced)
}

func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it is larger than %d KiB", limit>>10)
	}
	return content, err
}
