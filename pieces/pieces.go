// Package pieces holds long texts as what they were put together from.
//
// Nine tenths of a mail's HTML are the same for every reader. Passed along in
// pieces, those parts are shared by all mails instead of being copied into each,
// which is time and, with a thousand mails waiting for their provider, memory.
package pieces

import "strings"

// Text is a text in pieces, none of which is empty. The zero Text is the empty
// one. It must not be changed.
type Text []string

// Of returns a text of one piece.
func Of(text string) Text {
	if text == "" {
		return nil
	}
	return Text{text}
}

// String puts the pieces together.
func (t Text) String() string { return strings.Join(t, "") }

// IsEmpty tells whether there is no text.
func (t Text) IsEmpty() bool { return len(t) == 0 }

// Len returns the length of the whole, in bytes.
func (t Text) Len() (n int) {
	for _, piece := range t {
		n += len(piece)
	}
	return n
}
