package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"logto-email-relay/providers"
	"logto-email-relay/settings"
)

// maxFile bounds the configuration file, in bytes.
const maxFile = 1 << 20

// Loaded is a configuration as it was read.
type Loaded struct {
	// Config is nil if the file cannot be used.
	Config *Config
	// Address is where to ask whether a relay is alive that runs on with what it read
	// before: the server.address of the file, also if that has mistakes elsewhere.
	Address string
	// Notices come in either case.
	Notices []Notice
	// Files are the configuration and all files whose contents went into it. A
	// change in one of them is a change of the configuration; with one that cannot
	// be read, this is how a watcher learns what to wait for.
	Files []string
}

// Load reads a configuration file, at most 1 MiB of it, and parses it. The error
// of a file that cannot be read is no *Error; fs.ErrNotExist is in its chain when
// there is no such file.
func Load(path string, lookup func(name string) (string, bool)) (Loaded, error) {
	data, err := ReadFile(path, maxFile)
	if err != nil {
		return Loaded{Address: defaultServer().Address, Files: []string{path}},
			fmt.Errorf("cannot read the configuration %s: %w", settings.Printable(path, longestName), err)
	}
	return Parse(path, data, lookup)
}

// Parse makes a configuration from the content of a file of JSON or YAML, with
// lookup for the environment variables that it refers to. The file's name is for
// messages, tells JSON from YAML, and its folder is where relative names of other
// files begin. An error is an *Error.
func Parse(name string, data []byte, lookup func(name string) (string, bool)) (Loaded, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	// One kind of line end lets everybody count the same lines.
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	data = bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
	src := &source{lines: strings.Split(string(data), "\n"), keys: knownKeys()}
	d := &decoder{file: name, values: map[string]keyed{}, reported: map[string]bool{},
		environment: &environment{lookup: lookup, folder: filepath.Dir(name), files: []string{name}}}
	config := defaults()
	root, problem := parseTree(name, data)
	if problem == nil && root.kind != object {
		problem = &syntaxError{root.from, "a configuration is an object: { \"server\": …, \"providers\": … }"}
	}
	if problem != nil {
		d.problem(problem.at, "", problem.text)
		src.hideLine(problem.at.line)
	} else {
		d.values[""] = keyed{root.from, root.from}
		d.decode(root, reflect.ValueOf(config).Elem(), "")
		d.check(config)
		src.hide(root)
		src.hideComments(root.comments)
	}
	loaded := Loaded{config, config.Server.Address, d.notices, d.environment.files}
	if len(d.problems) == 0 {
		return loaded, nil
	}
	problems := sorted(d.problems)
	for i := range problems[:min(len(problems), maxShown)] {
		src.show(&problems[i])
	}
	loaded.Config = nil
	return loaded, &Error{problems}
}

// parseTree makes a tree of the file. Its name tells JSON from YAML, and where it
// does not, a brace at the beginning does.
func parseTree(path string, data []byte) (*node, *syntaxError) {
	content := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		return nil, &syntaxError{place{1, 1}, "the file is not UTF-8 text"}
	case len(content) == 0:
		return nil, &syntaxError{place{1, 1}, "the file is empty"}
	}
	switch extension := strings.ToLower(filepath.Ext(path)); {
	case extension == ".yaml" || extension == ".yml":
		return parseYAML(data)
	case extension == ".json" || content[0] == '{':
		return parseJSON(data)
	}
	return parseYAML(data)
}

// lexemes tells what a line consists of. Its groups are what may be a secret, two
// kinds of keys and values: everything but punctuation.
var lexemes = regexp.MustCompile(`^\s*(?:- +)*([\w$-]{1,40}):(?:\s|$)|"([\w$-]{1,40})"\s*:|[\s{}\[\],:]+|- ` +
	`|("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s{}\[\],:"']+)`)

// knownKeys are the keys of all settings, whatever section they belong to.
func knownKeys() map[string]bool {
	keys := make(map[string]bool)
	var collect func(reflect.Type)
	collect = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			collect(t.Elem())
		case reflect.Struct:
			for _, f := range fieldsOf(t) {
				keys[f.key] = true
				collect(f.kind)
			}
		}
	}
	collect(reflect.TypeFor[Config]())
	for _, kind := range providers.Types() {
		collect(reflect.TypeOf(kind.New()))
	}
	return keys
}

// hideLine masks a line of a file that made no tree, which could say more.
func (s *source) hideLine(number int) {
	if number < 1 || number > len(s.lines) {
		return
	}
	line := s.lines[number-1]
	at, offset := place{number, 1}, 0
	advance := func(to int) place {
		at.column += utf8.RuneCountInString(line[offset:to])
		offset = to
		return at
	}
	for _, match := range lexemes.FindAllStringSubmatchIndex(line, -1) {
		for group := 2; group < len(match); group += 2 {
			if from, to := match[group], match[group+1]; from >= 0 && !s.keys[line[from:to]] {
				s.hidden = append(s.hidden, span{advance(from), advance(to)})
			}
		}
	}
}

// SameProvider tells whether the settings of two providers are the same, secrets
// and the contents of files included, so that what was opened with the one can go
// on in place of the other.
func SameProvider(a, b providers.Settings) bool { return reflect.DeepEqual(a, b) }
