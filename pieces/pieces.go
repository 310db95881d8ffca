// Package pieces holds long texts as what they were put together from.
//
// Nine tenths of a mail's HTML are the same for every reader. Passed along in
// pieces, those parts are shared by all mails instead of being copied and
// encoded for each, which is time and, with a thousand mails waiting for their
// provider, memory.
package pieces

import (
	"strings"
)

// Text is a text in pieces, none of which is empty. The zero Text is the empty
// one. It must not be changed.
type Text []Piece

// Piece is a part of a text.
type Piece struct {
	text string
	// lines is nil for a piece of one text.
	lines *lines
}

// lines are what is known of a piece that is part of many texts.
type lines struct {
	// start and end bound the whole lines within the piece.
	start, end int
	// quoted are these lines in quoted-printable.
	quoted string
	// escapes is how many characters of the whole piece are escaped there.
	escapes int
}

// One returns a piece of one text.
func One(text string) Piece { return Piece{text: text} }

// Shared returns a piece that is to be part of many texts.
func Shared(text string) Piece {
	known := &lines{end: strings.LastIndexByte(text, '\n') + 1, escapes: escapes(text)}
	known.start = strings.IndexByte(text[:known.end], '\n') + 1
	quoted, _ := appendQuoted(nil, 0, text[known.start:known.end], endOfText)
	known.quoted = string(quoted)
	return Piece{text, known}
}

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
