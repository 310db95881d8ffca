package templates

import (
	"encoding/json"
	"net/mail"
	"strconv"
	"strings"
)

// path is the compiled form of a dotted path.
type path struct {
	root  string
	below []string
	// own is set for the roots that are the relay's, and not the payload's.
	own bool
	// neutral tells that the value is what a stranger typed.
	neutral bool
}

// colorPath is the one value that may stand in a style.
const colorPath = "branding.color"

// The roots that the relay adds to the payload's.
var ownRoots = map[string]bool{"branding": true, "locale": true, "dir": true, "codeLifetime": true}

// trusted are the roots of the payload whose values Logto or the operator's own
// systems make. Everything else is typed by people.
var trusted = map[string]bool{"code": true, "link": true, "uiLocales": true}

func newPath(text string) path {
	root, rest, dotted := strings.Cut(text, ".")
	p := path{root: root, own: ownRoots[root], neutral: !ownRoots[root] && !trusted[root]}
	if dotted {
		p.below = strings.Split(rest, ".")
	}
	return p
}

// values are what a template is filled with.
type values struct {
	payload  map[string]any
	own      map[string]any
	links    Links
	locale   string
	branding brandingValues
}

// find returns the value at a path; nil if there is none.
func (v *values) find(p *path) any {
	var current any
	switch {
	case !p.own:
		current = v.payload[p.root]
	case p.root == "branding":
		if len(p.below) == 1 {
			return v.branding.find(p.below[0])
		}
		return nil
	default:
		current = v.own[p.root]
	}
	for _, key := range p.below {
		switch c := current.(type) {
		case map[string]any:
			current = c[key]
		case []any:
			index, err := strconv.Atoi(key)
			if err != nil || index < 0 || index >= len(c) {
				return nil
			}
			current = c[index]
		default:
			return nil
		}
	}
	return current
}

// textOf writes a value as text. Objects and lists have no text.
func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// isTrue tells whether {{#if}} takes its first branch: what Handlebars calls
// false is absent, null, false, 0, the empty text and the empty list; here the
// empty object is too, because Logto writes one where it knows nothing.
func isTrue(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case string:
		return strings.TrimSpace(v) != ""
	case bool:
		return v
	case json.Number:
		number, err := v.Float64()
		return err != nil || number != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// text is the text of a path as a mail shows it: what people typed about
// themselves is made harmless.
func (v *values) text(p *path) string {
	text := textOf(v.find(p))
	if !p.neutral || text == "" {
		return text
	}
	if len(p.below) == 1 && p.below[0] == "primaryEmail" && isMailbox(text) {
		return text
	}
	return neutralise(text)
}

// isMailbox tells whether a text is one plain mail address, which may be shown
// as it is.
func isMailbox(text string) bool {
	address, err := mail.ParseAddress(text)
	return err == nil && address.Address == text && len(text) <= 254
}
