package config

import (
	"cmp"
	"encoding"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"logto-email-relay/providers"
	"logto-email-relay/settings"
)

// decoder lays a tree over settings structs. It never stops at a problem.
type decoder struct {
	file        string
	environment *environment
	problems    []Problem
	notices     []Notice
	// values remembers where every key of the file stands.
	values map[string]keyed
	// reported are the keys that a problem was reported for already, so that no
	// rule complains about what follows from it.
	reported map[string]bool
	// names are what the entries of providers are called, also those that could
	// not be decoded.
	names []string
	// secrets are texts that no problem may repeat.
	secrets []string
}

// keyed is where a key and its value stand; they are the same for an item of a
// list.
type keyed struct{ key, value place }

// field is a key that a settings struct has, those of embedded structs
// included.
type field struct {
	key      string
	name     string // that of the field in Go, with its package and struct
	index    []int
	kind     reflect.Type
	validate string
	noeffect string
	file     string

	placeholders string
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && key == "" && f.Type.Kind() == reflect.Struct:
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				fields = append(fields, inner)
			}
		case f.IsExported() && key != "" && key != "-":
			fields = append(fields, field{key, path.Base(t.PkgPath()) + "." + t.Name() + "." + f.Name, []int{i}, f.Type,
				f.Tag.Get("validate"), f.Tag.Get("noeffect"), f.Tag.Get("file"), f.Tag.Get("placeholders")})
		}
	}
	return fields
}

func keysOf(fields []field) []string {
	keys := make([]string, 0, len(fields))
	for _, f := range fields {
		keys = append(keys, f.key)
	}
	return keys
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// problem reports what is wrong with the value of a key.
func (d *decoder) problem(at place, path, text string) {
	d.problems = append(d.problems, Problem{Position: at.in(d.file), Key: path, Text: text})
	d.reported[path] = true
}

// notice tells what the operator need not change.
func (d *decoder) notice(at place, path, text string) {
	d.notices = append(d.notices, Notice{at.in(d.file), settings.Printable(path, longestName) + " " + text})
}

// wrongType says what belongs to a key in place of what is there.
func (d *decoder) wrongType(n *node, path string, t reflect.Type) {
	wanted := formOf(t)
	switch reference := n.refers(); {
	case reference != "":
		d.problem(n.from, path, "the value of "+reference+" does not fit here; write "+wanted.write)
	case n.kind == scalar && n.scalar == nil:
		d.problem(n.from, path, "write "+wanted.write+", or remove the key")
	case n.written() == aText && wanted.bare:
		d.problem(n.from, path, "write "+wanted.write+", without quotes")
	default:
		d.problem(n.from, path, "write "+wanted.write+", not "+n.written())
	}
}

// decode lays a value over a setting.
func (d *decoder) decode(n *node, v reflect.Value, path string) {
	t := v.Type()
	if t == reflect.TypeFor[providers.Settings]() {
		d.decodeProvider(n, v, path)
		return
	}
	if t.Kind() == reflect.Pointer {
		v.Set(reflect.New(t.Elem()))
		d.decode(n, v.Elem(), path)
		return
	}
	switch target := v.Addr().Interface().(type) {
	case settings.Unmarshaler:
		if own, known := forms[t]; known && !own.secret {
			n.walk(func(value *node) {
				value.public = true
				for i := range value.members {
					value.members[i].public = true
				}
			})
		}
		if d.expand(n, path) {
			d.refused(target.UnmarshalSetting(n.plain()), n, path, t)
		}
		return
	case encoding.TextUnmarshaler:
		d.decodeText(n, target, path, t)
		return
	}
	if nested := kindsOfNodes[t.Kind()]; nested != scalar && nested != n.kind {
		d.wrongType(n, path, t)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		d.decodeStruct(n, v, path)
	case reflect.Slice:
		d.decodeSlice(n, v, path)
	case reflect.Map:
		d.decodeMap(n, v, path)
	case reflect.Interface:
		if d.expand(n, path) && n.plain() != nil {
			v.Set(reflect.ValueOf(n.plain()))
		}
	default:
		n.public = true
		switch text, _ := n.scalar.(string); {
		case !d.expand(n, path):
		case curly(text):
			d.problem(n.from, path, straight)
		case !setScalar(n, v):
			d.wrongType(n, path, t)
		}
	}
}

// kindsOfNodes are what the file holds for settings that hold others.
var kindsOfNodes = map[reflect.Kind]kind{reflect.Struct: object, reflect.Map: object, reflect.Slice: list}

// refused reports the error that a setting has with its value. An error may
// quote the value, so that of an expanded one is replaced.
func (d *decoder) refused(err error, n *node, path string, t reflect.Type) {
	switch {
	case err == nil:
	case n.refers() != "":
		d.wrongType(n, path, t)
	default:
		d.problem(n.from, path, settings.Printable(err.Error(), 300))
	}
}

func (d *decoder) decodeSlice(n *node, v reflect.Value, path string) {
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		key := fmt.Sprintf("%s[%d]", path, i)
		d.values[key] = keyed{item.from, item.from}
		d.decode(item, v.Index(i), key)
	}
}

func (d *decoder) decodeMap(n *node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	for m, key := range d.membersOf(n, path) {
		element := reflect.New(v.Type().Elem()).Elem()
		d.decode(m.value, element, key)
		v.SetMapIndex(reflect.ValueOf(m.key).Convert(v.Type().Key()), element)
	}
}

func (d *decoder) decodeStruct(n *node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	for m, key := range d.membersOf(n, path) {
		at := slices.IndexFunc(fields, func(f field) bool { return f.key == m.key })
		if at < 0 {
			d.unknown(m, path, fields)
			continue
		}
		f := fields[at]
		if f.noeffect != "" {
			d.notice(m.at, key, "has no effect: "+f.noeffect)
			continue
		}
		written, _ := m.value.scalar.(string)
		if f.placeholders != "" {
			m.value.walk(func(value *node) { value.placeholders = f.placeholders })
		}
		d.decode(m.value, v.FieldByIndex(f.index), key)
		if strings.Contains(f.validate, "http") && !harmlessURL.MatchString(written) && !bare.MatchString(written) {
			m.value.public = false // services have keys in their URLs, whatever is wrong with them
		}
		if f.file != "" && !d.reported[key] {
			d.resolve(m.value, v.FieldByIndex(f.index), f.file, key)
		}
	}
}

// resolve carries out the file tag of a setting that is a text or a list of texts.
func (d *decoder) resolve(n *node, v reflect.Value, tag, path string) {
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			item := n
			if n.kind == list {
				item = n.items[i]
			}
			d.resolve(item, v.Index(i), tag, path)
		}
		return
	}
	if secret, ok := v.Interface().(settings.Secret); ok {
		name := secret.Reveal()
		if strings.Contains(name, "://") { // it is no file
			name = d.environment.certificates(name)
		} else {
			name = d.environment.path(name)
		}
		v.Set(reflect.ValueOf(settings.NewSecret(name)))
		return
	}
	switch text := v.String(); {
	case tag == "path":
		v.SetString(d.environment.path(text))
	case !strings.Contains(text, "-----BEGIN"):
		content, err := d.environment.read(text, maxFile)
		if err == nil && !strings.Contains(content, "-----BEGIN") {
			err = fmt.Errorf("there is nothing in PEM in %s", settings.Printable(text, 200))
		}
		if err != nil && n.reference != "" {
			// What was taken for a file's name may be a secret: nobody hears of it.
			d.environment.files = slices.DeleteFunc(d.environment.files, func(file string) bool { return file == d.environment.path(text) })
			err = fmt.Errorf("the value of %s is neither", n.reference)
		}
		if err != nil {
			d.complain(path, "write PEM, or the name of a file with it: "+err.Error())
			d.reported[path] = true
			content = "" // it is no name of a file either
		}
		v.SetString(content)
	}
}

// membersOf yields the members of an object with their paths, and reports those
// that are there twice.
func (d *decoder) membersOf(n *node, path string) func(yield func(*member, string) bool) {
	return func(yield func(*member, string) bool) {
		seen := make(map[string]place, len(n.members))
		for i := range n.members {
			m := &n.members[i]
			shown := shownKey(m.key)
			m.public = shown != hidden
			key := join(path, shown)
			if first, twice := seen[m.key]; twice {
				d.problem(m.at, key, fmt.Sprintf("this key is on line %d already; keep one of the two", first.line))
				continue
			}
			seen[m.key] = m.at
			d.values[key] = keyed{m.at, m.value.from}
			if !yield(m, key) {
				return
			}
		}
	}
}

func (d *decoder) unknown(m *member, path string, fields []field) {
	known, shown := keysOf(fields), shownKey(m.key)
	text := "unknown key" + hint(m.key, known)
	meant := settings.Nearest(m.key, known)
	if meant != "" {
		d.reported[join(path, meant)] = true
	} else if at := slices.IndexFunc(fields, func(f field) bool { return isKeyInside(m.key, f.kind) }); at >= 0 {
		text = fmt.Sprintf("unknown key; it belongs into %s: %q: {%q: …}", fields[at].key, fields[at].key, m.key)
	} else if strings.ContainsAny(shown, "0123456789") { // as no key does, but a part of a secret that lost its quotes or its indentation
		shown, m.public = hidden, false
	}
	d.problem(m.at, join(path, shown), text)
}

// isKeyInside tells whether an object of this type, if it is one, has the key.
func isKeyInside(key string, t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && slices.Contains(keysOf(fieldsOf(t)), key)
}

// decodeProvider makes the settings that the entry's type asks for. Of an entry
// without a known type nothing else can be said.
func (d *decoder) decodeProvider(n *node, v reflect.Value, path string) {
	called := ""
	for _, key := range []string{"type", "name"} {
		if value := n.find(key); value != nil {
			text, _ := value.scalar.(string)
			called = cmp.Or(text, called)
		}
	}
	d.names = append(d.names, called)
	if n.kind != object {
		d.wrongType(n, path, reflect.TypeFor[struct{}]())
		return
	}
	written, key := n.find("type"), join(path, "type")
	var names []string
	for _, kind := range providers.Types() {
		names = append(names, kind.Name)
	}
	if written == nil {
		d.problem(n.from, path, fmt.Sprintf(`say which kind of provider this is: add "type" with one of %s`, strings.Join(names, ", ")))
		return
	}
	var name string
	d.decode(written, reflect.ValueOf(&name).Elem(), key)
	// What is no word may have a comment in it that lost its sign.
	written.public = written.public && (patterns["providername"].MatchString(name) || written.reference != "")
	at := slices.Index(names, name)
	if at < 0 && !d.reported[key] {
		text := "no provider of this type is known"
		if written.reference == "" {
			text += hint(name, names)
		}
		d.problem(written.from, key, text)
	}
	if at < 0 {
		d.reported[path] = true
		return
	}
	made := providers.Types()[at].New()
	d.decodeStruct(n, reflect.ValueOf(made).Elem(), path)
	shared := made.Shared()
	shared.Name = cmp.Or(shared.Name, name)
	d.names[len(d.names)-1] = shared.Name
	v.Set(reflect.ValueOf(made))
}

// hint goes on with a sentence about a word that is not one of words.
func hint(written string, words []string) string {
	const few = 14
	if word := settings.Nearest(written, words); word != "" {
		return fmt.Sprintf(", did you mean %q?", word)
	}
	if len(words) == 0 || len(words) > few {
		return ""
	}
	return ", known are " + strings.Join(slices.Sorted(slices.Values(words)), ", ")
}
