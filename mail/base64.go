package mail

import (
	"encoding/base64"
	"strings"
)

// base64Line is how many bytes make the 76 characters of a line.
const base64Line = 57

// crlf makes any line end the one that mail has.
var crlf = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n")

// Base64Len returns about how long the text is in base64, in bytes.
func (body Body) Base64Len() int { return base64.StdEncoding.EncodedLen(body.Len()) * 78 / 76 }

// AppendBase64 appends the text in base64: in lines of 76 characters, with the
// text's own line ends made CRLF.
func (body Body) AppendBase64(b []byte) []byte {
	text := []byte(crlf.Replace(body.String()))
	for len(text) > 0 {
		line := text[:min(base64Line, len(text))]
		b = append(base64.StdEncoding.AppendEncode(b, line), "\r\n"...)
		text = text[len(line):]
	}
	return b
}
