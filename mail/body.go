package mail

import "strings"

// Body is the HTML of a mail, in parts none of which is empty. The zero Body is
// the empty one. It must not be changed.
//
// Nine tenths of a mail's HTML are the same for every reader. Those parts are
// shared by all mails instead of being copied and encoded for each, which is time
// and, with a thousand mails waiting for their provider, memory.
type Body []Part

// Part is a part of a body.
type Part struct {
	text string
	// shared is nil for a part of one body alone.
	shared *encoded
}

// encoded is what is found out once about a part that many bodies share.
type encoded struct {
	// start and end bound what is encoded in the same way whatever comes before
	// the part and after it: all behind its first line end, but for blanks at
	// its own end. Where the first line is long, all of it: a soft line break
	// goes before it.
	start, end int
	// quoted is that in quoted-printable, and column how long its last line is.
	quoted string
	column int
	// escapes is how many characters of the whole part are escaped there.
	escapes int
}

// farOff is where a soft line break, of three characters, costs less than to
// encode what stands before the first line end.
const farOff = 12

// OwnPart returns a part of one body.
func OwnPart(text string) Part { return Part{text: text} }

// SharedPart returns a part that many bodies are to have.
func SharedPart(text string) Part {
	start := strings.IndexByte(text, '\n') + 1
	end := len(strings.TrimRight(text, " \t\r"))
	switch {
	case start > farOff, start == 0 && end > farOff:
		start = 0
	case start == 0:
		end = 0
	}
	quoted, column := appendQuoted(nil, 0, text[start:end], endOfText)
	return Part{text, &encoded{start, end, string(quoted), column, escapes(text)}}
}

// IsShared tells whether the part was made by SharedPart.
func (p Part) IsShared() bool { return p.shared != nil }

// String returns the part as it is.
func (p Part) String() string { return p.text }

// String puts the parts together.
func (body Body) String() string {
	var b strings.Builder
	b.Grow(body.Len())
	for _, part := range body {
		b.WriteString(part.text)
	}
	return b.String()
}

// IsEmpty tells whether there is no text.
func (body Body) IsEmpty() bool { return len(body) == 0 }

// Len returns the length of the whole, in bytes.
func (body Body) Len() (n int) {
	for _, part := range body {
		n += len(part.text)
	}
	return n
}
