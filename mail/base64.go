package mail

import (
	"encoding/base64"
	"strings"
)

// base64Line is how many bytes make the 76 characters of a line.
const base64Line = 57

// Base64Len returns about how long the text is in base64, in bytes.
func (body Body) Base64Len() int { return base64.StdEncoding.EncodedLen(body.Len()) * 78 / 76 }

// AppendBase64 appends the text in base64: in lines of 76 characters, with the
// text's own line ends made CRLF.
func (body Body) AppendBase64(b []byte) []byte {
	w := base64Writer{b: b}
	for i, part := range body {
		w.write(part.text, body.next(i))
	}
	if w.n > 0 {
		w.flush()
	}
	return w.b
}

// base64Writer encodes text line by line.
type base64Writer struct {
	b    []byte
	line [base64Line]byte
	n    int // bytes of line in use
}

// write encodes a text that is followed by the character next.
func (w *base64Writer) write(text string, next byte) {
	ends := "\n" // which alone is found faster
	if strings.Contains(text, "\r") {
		ends = "\r\n"
	}
	for text != "" {
		end := strings.IndexAny(text, ends)
		if end < 0 {
			w.put(text)
			return
		}
		w.put(text[:end])
		c, after := text[end], next
		if text = text[end+1:]; text != "" {
			after = text[0]
		}
		if c == '\n' || after != '\n' {
			w.put("\r\n")
		}
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
