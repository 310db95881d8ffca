package pieces

import (
	"encoding/base64"
	"strings"
)

// base64Line is how many bytes make the 76 characters of a line.
const base64Line = 57

// Base64Len returns about how long the text is in base64, in bytes.
func (t Text) Base64Len() int { return base64.StdEncoding.EncodedLen(t.Len()) * 78 / 76 }

// AppendBase64 appends the text in base64: in lines of 76 characters, with the
// text's own line ends made CRLF.
func (t Text) AppendBase64(b []byte) []byte {
	w := base64Writer{b: b}
	for _, piece := range t {
		w.write(piece.text)
	}
	return w.end()
}

// base64Writer encodes text line by line.
type base64Writer struct {
	b    []byte
	line [base64Line]byte
	n    int // bytes of line in use
	// afterCR tells that the last character was a CR, to which a line feed belongs.
	afterCR bool
}

func (w *base64Writer) write(text string) {
	ends := "\n" // which alone is found faster
	if strings.Contains(text, "\r") {
		ends = "\r\n"
	}
	for text != "" {
		run := text
		if end := strings.IndexAny(text, ends); end >= 0 {
			run = text[:end]
		}
		if w.put(run); len(run) == len(text) {
			w.afterCR = false
			return
		}
		c := text[len(run)]
		if c == '\r' || run != "" || !w.afterCR {
			w.put("\r\n")
		}
		w.afterCR = c == '\r'
		text = text[len(run)+1:]
	}
}

func (w *base64Writer) put(text string) {
	for text != "" {
		n := copy(w.line[w.n:], text)
		w.n, text = w.n+n, text[n:]
		if w.n == len(w.line) {
			w.flush()
		}
	}
}

func (w *base64Writer) flush() {
	w.b = append(base64.StdEncoding.AppendEncode(w.b, w.line[:w.n]), "\r\n"...)
	w.n = 0
}

func (w *base64Writer) end() []byte {
	if w.n > 0 {
		w.flush()
	}
	return w.b
}
