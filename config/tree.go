package config

import (
	"cmp"
	"fmt"
)

// maxDepth bounds how deep values may nest. Real configurations need five.
const maxDepth = 32

// maxValues bounds how many values a file holds, keys counted apart. Real
// configurations need some hundred.
const maxValues = 20_000

var (
	tooDeep = fmt.Sprintf("values nest too deep here; no setting needs more than %d levels", maxDepth)
	tooMany = fmt.Sprintf("the file holds too many values; no configuration needs more than %d", maxValues)
)

// place is a line and a column, both counted from 1, columns in characters.
type place struct{ line, column int }

func (p place) before(q place) bool { return p.compare(q) < 0 }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.line, q.line), cmp.Compare(p.column, q.column))
}

func (p place) in(file string) Position { return Position{file, p.line, p.column} }

// node is a value as the file holds it: the common ground of JSON and YAML.
type node struct {
	kind kind
	// from is where the value begins, to is where it has ended. to is set for
	// scalars only.
	from, to place
	// scalar is nil, bool, int64, float64 or string.
	scalar  any
	items   []*node
	members []member

	// reference is the first ${…} that was replaced in the text, empty if none.
	reference string
	expanded  bool
	// placeholders are those that the setting takes, by the tag of that name.
	placeholders string
	// public values may be shown in the excerpt beside a problem. Everything
	// else is masked there: secrets, and what the loader could not place and so
	// could not know to be none.
	public   bool
	comments []span // of the whole file, at its root
}

type kind int

const (
	scalar kind = iota
	list
	object
)

// member is one key of an object. A file may hold the same key twice.
type member struct {
	key   string
	at    place
	end   place // behind the key
	value *node
	// public keys were read as such; others that no setting has are masked,
	// because they may be what somebody meant as a value.
	public bool
}

// find returns the value of the first member with the key.
func (n *node) find(key string) *node {
	for _, m := range n.members {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// walk visits a value and everything in it.
func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, item := range n.items {
		item.walk(visit)
	}
	for _, m := range n.members {
		m.value.walk(visit)
	}
}

// refers returns the first ${…} that was replaced in the value or below it,
// empty if there is none.
func (n *node) refers() (first string) {
	n.walk(func(value *node) { first = cmp.Or(first, value.reference) })
	return first
}

// plain returns the value as settings.Unmarshaler wants it.
func (n *node) plain() any {
	switch n.kind {
	case list:
		values := make([]any, 0, len(n.items))
		for _, item := range n.items {
			values = append(values, item.plain())
		}
		return values
	case object:
		values := make(map[string]any, len(n.members))
		for _, m := range n.members {
			values[m.key] = m.value.plain()
		}
		return values
	}
	return n.scalar
}

// off tells whether a value asks for nothing.
func (n *node) off() bool {
	switch n.kind {
	case list:
		return len(n.items) == 0
	case object:
		return len(n.members) == 0
	}
	return n.scalar == nil || n.scalar == "" || n.scalar == false
}

const aText = "a text"

// written describes the value to its author without quoting a text, which may
// be a secret in the wrong place.
func (n *node) written() string {
	switch value := n.scalar.(type) {
	case bool:
		return fmt.Sprint(value)
	case int64, float64:
		if n.public {
			return fmt.Sprint(value)
		}
		return "a number"
	case string:
		return aText
	}
	switch n.kind {
	case list:
		return "a list"
	case object:
		return "an object"
	}
	return "null"
}

// syntaxError is a file that is no tree at all.
type syntaxError struct {
	at   place
	text string
}
