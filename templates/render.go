package templates

import (
	"iter"
	"strings"
	"unicode/utf8"

	"logto-email-relay/mail"
)

// render returns what a program makes of the values, in pieces of which the long
// literals are shared by all mails.
func (p *program) render(v *values) mail.Body {
	made := make(mail.Body, 0, p.pieces)
	var own strings.Builder // the mail's own pieces, one after the other
	own.Grow(p.own)
	start := 0
	for s := range p.taken(v) {
		if !s.literal.IsShared() {
			s.write(&own, v)
			continue
		}
		if own.Len() > start {
			made = append(made, mail.OwnPart(own.String()[start:]))
			start = own.Len()
		}
		made = append(made, s.literal)
	}
	if own.Len() > start {
		made = append(made, mail.OwnPart(own.String()[start:]))
	}
	return made
}

// text is render for what is short.
func (p *program) text(v *values) string {
	var b strings.Builder
	b.Grow(p.own)
	for s := range p.taken(v) {
		s.write(&b, v)
	}
	return b.String()
}

// taken are the steps that write something.
func (p *program) taken(v *values) iter.Seq[*step] {
	return func(yield func(*step) bool) {
		for i := 0; i < len(p.steps); i++ {
			switch s := &p.steps[i]; s.action {
			case writeLiteral, writeValue:
				if !yield(s) {
					return
				}
			case skipUnless:
				if !v.truth(&s.path) {
					i = s.to - 1
				}
			case skipIf:
				if v.truth(&s.path) {
					i = s.to - 1
				}
			case skip:
				i = s.to - 1
			}
		}
	}
}

// write writes a literal, or a value in the manner of its place.
func (s *step) write(b *strings.Builder, v *values) {
	if s.action == writeLiteral {
		b.WriteString(s.literal.String())
		return
	}
	switch s.escaping {
	case plain, escaped:
		value := v.text(&s.path)
		if s.ends && s.isolated {
			value = strings.TrimSuffix(value, ".")
		}
		isolated := s.isolated && v.turns(&s.path, value)
		if isolated {
			b.WriteRune(firstStrongIsolate)
		}
		writeText(b, value, s.escaping == escaped, s.inComment)
		if isolated {
			b.WriteRune(popDirectionalIsolate)
		}
	case color:
		if value := v.raw(&s.path); isColor(value) {
			b.WriteString(value)
		}
	case wholeURL, shownURL:
		value := v.raw(&s.path)
		if s.path.builtin != linkBuiltin { // which has been parsed
			value, _ = v.links.Parse(value)
		}
		writeText(b, value, s.escaping == wholeURL, s.inComment)
	case wholeImage:
		value := v.raw(&s.path)
		if s.path.builtin == noBuiltin { // a logo has been parsed
			value = httpsURL(value)
		}
		writeText(b, value, true, s.inComment)
	case partOfURL, mailboxURL:
		writePercentEncoded(b, v.raw(&s.path), s.escaping == mailboxURL, s.inComment)
	}
}

// httpsURL returns a URL as Links.Parse does, and nothing if it has another scheme.
func httpsURL(url string) string {
	parsed, _ := Links{Schemes: []string{"https"}}.Parse(url)
	return parsed
}

func isColor(text string) bool {
	if len(text) != len("#rrggbb") || text[0] != '#' {
		return false
	}
	for i := 1; i < len(text); i++ {
		if c := text[i]; !isDigit(c) && !('a' <= c|0x20 && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

// isControl tells whether a character moves the caret, ends a line or turns the
// direction of what follows it, instead of showing something.
func isControl(r rune) bool {
	return r < ' ' || 0x7f <= r && r <= 0x9f || r == 0x2028 || r == 0x2029 || isBidiOverride(r)
}

// isBidiOverride tells whether a character changes the order of what follows
// beyond its own value. The isolates U+2066 to U+2069 can leave one open too.
func isBidiOverride(r rune) bool {
	return 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069
}

// isWordCharacter knows the characters that are harmless everywhere.
func isWordCharacter(c byte) bool { return isASCIILetter(c) || isDigit(c) || c == ' ' }

// writeText writes a value without its controls. For HTML and for quoted
// attribute values, what an HTML parser could take for markup becomes character
// references; in a comment a dash becomes one too.
func writeText(b *strings.Builder, value string, escape, inComment bool) {
	from := 0
	for i := 0; i < len(value); {
		if isWordCharacter(value[i]) {
			i++
			continue
		}
		r, size := rune(value[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(value[i:])
		}
		reference := ""
		if escape {
			switch r {
			case '&':
				reference = "&amp;"
			case '<':
				reference = "&lt;"
			case '>':
				reference = "&gt;"
			case '"':
				reference = "&#34;"
			case '\'':
				reference = "&#39;"
			case '-':
				if inComment {
					reference = "&#45;"
				}
			}
		}
		if reference != "" || isControl(r) {
			b.WriteString(value[from:i])
			b.WriteString(reference)
			from = i + size
		}
		i += size
	}
	b.WriteString(value[from:])
}

// writePercentEncoded writes a value as part of a URL: everything but the
// unreserved characters of RFC 3986 is encoded. A mailto: URL keeps the @,
// which RFC 6068 wants bare.
func writePercentEncoded(b *strings.Builder, value string, mailbox, inComment bool) {
	const hex = "0123456789ABCDEF"
	for i := range len(value) {
		switch c := value[i]; {
		case c == '-' && inComment:
			b.WriteString("&#45;")
		case isASCIILetter(c) || isDigit(c) || c == '-' || c == '.' || c == '_' || c == '~' || c == '@' && mailbox:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
}
