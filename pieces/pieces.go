// Package pieces holds long texts as what they were put together from.
//
// Nine tenths of a mail's HTML are the same for every reader. Passed along in
// pieces, those parts are shared by all mails instead of being copied and
// encoded for each, which is time and, with a thousand mails waiting for their
// provider, memory.
package pieces

import "strings"

// Text is a text in pieces, none of which is empty. The zero Text is the empty
// one. It must not be changed.
type Text []Piece

// Piece is a part of a text.
type Piece struct {
	text string
	// known is nil for a piece of one text.
	known *knowledge
}

// knowledge is what is found out once about a piece that is part of many texts.
type knowledge struct {
	// start and end bound what is encoded in the same way whatever comes before
	// the piece and after it: all behind its first line end, but for blanks at
	// its own end. Where the first line is long, all of it: a soft line break
	// goes before it.
	start, end int
	// quoted is that in quoted-printable, and column how long its last line is.
	quoted string
	column int
	// escapes is how many characters of the whole piece are escaped there.
	escapes int
}

// farOff is where a soft line break, of three characters, costs less than to
// encode what stands before the first line end.
const farOff = 12

// One returns a piece of one text.
func One(text string) Piece { return Piece{text: text} }

// Shared returns a piece that is to be part of many texts.
func Shared(text string) Piece {
	start := strings.IndexByte(text, '\n') + 1
	end := len(strings.TrimRight(text, " \t\r"))
	switch {
	case start > farOff, start == 0 && end > farOff:
		start = 0
	case start == 0 || start >= end:
		start, end = 0, 0
	}
	quoted, column := appendQuoted(nil, 0, text[start:end], endOfText)
	return Piece{text, &knowledge{start, end, string(quoted), column, escapes(text)}}
}

// IsShared tells whether the piece was made by Shared.
func (p Piece) IsShared() bool { return p.known != nil }

// String returns the piece as it is.
func (p Piece) String() string { return p.text }

// Of returns the text of some pieces that are its own.
func Of(parts ...string) (t Text) {
	for _, part := range parts {
		if part != "" {
			t = append(t, One(part))
		}
	}
	return t
}

// String puts the pieces together.
func (t Text) String() string {
	var b strings.Builder
	b.Grow(t.Len())
	for _, piece := range t {
		b.WriteString(piece.text)
	}
	return b.String()
}

// IsEmpty tells whether there is no text.
func (t Text) IsEmpty() bool { return len(t) == 0 }

// Len returns the length of the whole, in bytes.
func (t Text) Len() (n int) {
	for _, piece := range t {
		n += len(piece.text)
	}
	return n
}
