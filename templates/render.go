package templates

import (
	"strings"
	"unicode/utf8"
)

// render appends the text of a program to b.
func (p *program) render(b []byte, v *values) []byte {
	beginOfLink := 0
	for i := 0; i < len(p.steps); i++ {
		switch s := &p.steps[i]; s.operation {
		case write:
			b = append(b, s.text...)
		case writeValue:
			b = v.write(b, s, beginOfLink)
		case beginLink:
			beginOfLink = len(b)
		case jump:
			i = s.target - 1
		case jumpIfNot:
			if !isTrue(v.find(&s.path)) {
				i = s.target - 1
			}
		case jumpIf:
			if isTrue(v.find(&s.path)) {
				i = s.target - 1
			}
		}
	}
	return b
}

// write appends a value in the form that is safe at its place.
func (v *values) write(b []byte, s *step, beginOfLink int) []byte {
	switch s.escape {
	case link:
		// A link as a whole has to be one that is allowed; a part of one can
		// only add to what the author wrote.
		text := textOf(v.find(&s.path))
		if len(strings.TrimSpace(string(b[beginOfLink:]))) > 0 {
			return appendPercent(b, text)
		}
		if !v.links.Allow(text) && !(s.path.own && strings.HasPrefix(text, "https://")) {
			return b
		}
		return appendMarkup(b, text, false)
	case color:
		if text := textOf(v.find(&s.path)); isColor(text) {
			return append(b, text...)
		}
		return b
	case markup, commented:
		return appendMarkup(b, v.text(&s.path), s.escape == commented)
	}
	return appendPlain(b, v.text(&s.path))
}

// appendMarkup escapes a text for HTML text and for attributes with either kind
// of quotes. NUL, which HTML replaces, goes.
func appendMarkup(b []byte, text string, inComment bool) []byte {
	last := 0
	for i := 0; i < len(text); i++ {
		var entity string
		switch text[i] {
		case '&':
			entity = "&amp;"
		case '<':
			entity = "&lt;"
		case '>':
			entity = "&gt;"
		case '"':
			entity = "&#34;"
		case '\'':
			entity = "&#39;"
		case '-':
			if !inComment {
				continue
			}
			entity = "&#45;"
		case 0:
		default:
			continue
		}
		b = append(append(b, text[last:i]...), entity...)
		last = i + 1
	}
	return append(b, text[last:]...)
}

// appendPercent encodes everything but the unreserved characters of RFC 3986.
func appendPercent(b []byte, text string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b = append(b, c)
			continue
		}
		b = append(b, '%', digits[c>>4], digits[c&15])
	}
	return b
}

// appendPlain writes a value on one line, without controls.
func appendPlain(b []byte, text string) []byte {
	for _, r := range text {
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029' || r == '\u0085':
			if n := len(b); n > 0 && b[n-1] != ' ' && b[n-1] != '\n' {
				b = append(b, ' ')
			}
		case r < ' ' || 0x7f <= r && r < 0xa0:
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

func isColor(text string) bool {
	return len(text) == 7 && text[0] == '#' && strings.Trim(text[1:], "0123456789abcdefABCDEF") == ""
}
