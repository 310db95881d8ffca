package templates

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a template. They are far above what a mail needs (Gmail clips a
// message at about 102 KB) and keep a mistake from costing memory or stack.
const (
	maxTemplateBytes = 256 << 10
	maxBlockDepth    = 32
)

// Error is a mistake in a template, with its place and with words that tell
// what to write instead. Line and column count from 1, the column in characters.
type Error struct {
	File         string
	Line, Column int
	Text         string
}

// Error writes the mistake as file:line:column: text.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", printable(e.File), e.Line, e.Column, e.Text)
}

// source is the text of one template. It collects the mistakes found in it, so
// that the author sees all of them at once.
type source struct {
	file string
	text string
	// linesBefore are the lines of the file above the text.
	linesBefore int
	// addresses are where a text that is made of HTML has those of its links.
	addresses []span
	faults    []error
}

// maxFaults bounds the mistakes told of one template.
const maxFaults = 20

// fault notes a mistake at a byte offset.
func (s *source) fault(at int, format string, arguments ...any) {
	if len(s.faults) == maxFaults {
		return
	}
	s.faults = append(s.faults, s.errorAt(at, fmt.Sprintf(format, arguments...)))
}

func (s *source) errorAt(at int, text string) *Error {
	before := s.text[:at]
	lineStart := strings.LastIndexByte(before, '\n') + 1
	return &Error{
		File:   s.file,
		Line:   s.linesBefore + strings.Count(before, "\n") + 1,
		Column: utf8.RuneCountInString(before[lineStart:]) + 1,
		Text:   text,
	}
}

func (s *source) err() error { return errors.Join(s.faults...) }

// tagKind says what a pair of double braces does.
type tagKind uint8

const (
	valueTag  tagKind = iota // {{path}}
	ifTag                    // {{#if path}}
	unlessTag                // {{#unless path}}
	elseTag                  // {{else}}
	closeTag                 // {{/if}}, {{/unless}}
)

// tag is one pair of double braces: text[start:end] with the braces.
type tag struct {
	kind       tagKind
	path       string
	start, end int
	// opener is the index of the tag that opened the block, for else and close.
	opener int
}

// scan finds the tags of a template and pairs the blocks. After a mistake it
// goes on, to find the next one too.
func (s *source) scan() []tag {
	if len(s.text) > maxTemplateBytes {
		s.fault(0, "the template has %d bytes; at most %d are taken", len(s.text), maxTemplateBytes)
		return nil
	}
	if !utf8.ValidString(s.text) || strings.Contains(s.text, "\x00") {
		s.fault(0, "the template is not UTF-8 text; save it as UTF-8")
		return nil
	}
	var tags []tag
	for at := 0; ; {
		open := strings.Index(s.text[at:], "{{")
		if open < 0 {
			break
		}
		start := at + open
		length := strings.Index(s.text[start+2:], "}}")
		if length < 0 {
			s.fault(start, "a placeholder is not closed: write }} after it")
			break
		}
		end := start + 2 + length + 2
		inside := s.text[start+2 : end-2]
		if again := strings.LastIndex(inside, "{{"); again > 0 {
			s.fault(start, "a placeholder is not closed: write }} after it, before the next {{")
			at = start + 2 + again
			continue
		}
		if t, ok := s.readTag(start, inside); ok {
			t.start, t.end = start, end
			tags = append(tags, t)
		}
		at = end
	}
	s.pair(tags)
	return tags
}

// readTag reads what stands between double braces at start.
func (s *source) readTag(start int, inside string) (tag, bool) {
	words := strings.Fields(inside)
	switch {
	case strings.HasPrefix(inside, "{"):
		s.fault(start, "three braces ask for unescaped output, which there is not: write {{name}}")
	case len(words) == 0:
		s.fault(start, "empty placeholder: write a name such as {{code}}")
	case words[0] == "else" && len(words) == 1:
		return tag{kind: elseTag}, true
	case words[0] == "else":
		s.fault(start, "write {{else}} alone, and another {{#if %s}} … {{/if}} inside it", words[len(words)-1])
	case words[0] == "#if" || words[0] == "#unless":
		if len(words) != 2 || !isPath(words[1]) {
			s.fault(start, "%s takes one name: write {{%[1]s user.name}}; there are no comparisons", words[0])
			break
		}
		kind := ifTag
		if words[0] == "#unless" {
			kind = unlessTag
		}
		return tag{kind: kind, path: words[1]}, true
	case inside[0] == '/' && len(words) == 1 && (words[0] == "/if" || words[0] == "/unless"):
		return tag{kind: closeTag, path: words[0]}, true
	case words[0] == "#each" || words[0] == "#with":
		s.fault(start, "there is no %s: write each element, such as {{list.0.name}}", words[0])
	case strings.HasPrefix(words[0], ">"):
		s.fault(start, "a template cannot include another: write its text here")
	case strings.HasPrefix(words[0], "!"):
		s.fault(start, "write comments as HTML comments: <!-- … -->")
	case strings.ContainsAny(words[0][:1], "#/^&~@"):
		s.fault(start, "{{%s}} is unknown: there are {{name}}, {{#if name}}, {{#unless name}}, {{else}}, {{/if}} and {{/unless}}",
			shorten(words[0]))
	case len(words) > 1:
		s.fault(start, "a placeholder is one name, such as {{user.name}}; there are no functions")
	case !isPath(words[0]):
		s.fault(start, "%q is not a name: write letters, digits and underscores, with dots between, such as user.name or list.0",
			shorten(words[0]))
	default:
		return tag{kind: valueTag, path: words[0]}, true
	}
	return tag{}, false
}

// pair connects every {{else}} and {{/if}} with the block that it belongs to.
func (s *source) pair(tags []tag) {
	var open []int
	switched := make(map[int]bool)
	for i := range tags {
		t := &tags[i]
		switch t.kind {
		case ifTag, unlessTag:
			if open = append(open, i); len(open) == maxBlockDepth+1 {
				s.fault(t.start, "blocks are nested more than %d deep", maxBlockDepth)
			}
		case elseTag:
			if len(open) == 0 {
				s.fault(t.start, "{{else}} stands outside of {{#if name}} … {{/if}}")
				continue
			}
			t.opener = open[len(open)-1]
			if switched[t.opener] {
				s.fault(t.start, "a second {{else}} in one block: remove it, or close the inner block before it")
			}
			switched[t.opener] = true
		case closeTag:
			if len(open) == 0 {
				s.fault(t.start, "{{%s}} closes nothing: remove it, or write {{#%s name}} before it", t.path, t.path[1:])
				continue
			}
			t.opener = open[len(open)-1]
			open = open[:len(open)-1]
			if opener := tags[t.opener].kind; (opener == unlessTag) != (t.path == "/unless") {
				s.fault(t.start, "{{%s}} closes a block of the other kind: {{#if}} ends with {{/if}}, {{#unless}} with {{/unless}}", t.path)
			}
		}
	}
	for _, i := range open {
		word := "if"
		if tags[i].kind == unlessTag {
			word = "unless"
		}
		s.fault(tags[i].start, "the block is not closed: write {{/%s}} after it", word)
	}
}

// isPath tells whether a word is a path: names and indexes with single dots
// between them.
func isPath(word string) bool {
	for name := range strings.SplitSeq(word, ".") {
		if name == "" {
			return false
		}
		for i := range len(name) {
			if c := name[i]; c != '_' && !isASCIILetter(c) && !isDigit(c) {
				return false
			}
		}
	}
	return true
}

func isASCIILetter[T byte | rune](c T) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit[T byte | rune](c T) bool       { return '0' <= c && c <= '9' }

// shorten keeps a quotation in an error readable.
func shorten(text string) string {
	if runes := []rune(text); len(runes) > 40 {
		return string(runes[:40]) + "…"
	}
	return text
}

// printable returns a file's name as an error may show it: quoted if something
// in it could write a line of its own, or steer a terminal.
func printable(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, isControl) {
		return strconv.Quote(name)
	}
	return name
}
