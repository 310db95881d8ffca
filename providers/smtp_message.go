package providers

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"logto-email-relay/mail"
)

// Line lengths of RFC 5322 section 2.1.1 and RFC 2047 section 2, in bytes
// without the line end.
const (
	foldAt      = 78
	encodedLine = 76
	longestWord = 900 // a longer word might not fit into the 998 of any line
	longestName = 60  // a longer display name is encoded, which can be folded
)

// appendMIME appends the message as RFC 5322 and MIME want it, 7-bit, with CRLF
// line ends, and with no line that begins with a dot, so that nothing is left
// to be escaped on the wire. A header of own replaces one of the same name in
// m.Headers.
func appendMIME(b []byte, m *mail.Message, own []mail.Header) ([]byte, error) {
	if err := checkWords(m); err != nil {
		return b, err
	}
	b = appendDate(append(b, "Date: "...), m.Date)
	b = append(b, "\r\nFrom:"...)
	b, err := appendMailbox(b, m.From)
	if err != nil {
		return b, fmt.Errorf("the sender's address: %w", err)
	}
	if m.ReplyTo.Address != "" {
		b = append(b, "Reply-To:"...)
		if b, err = appendMailbox(b, m.ReplyTo); err != nil {
			return b, fmt.Errorf("the reply address: %w", err)
		}
	}
	b = append(b, "To:"...)
	if b, err = appendMailbox(b, mail.Address{Address: m.To}); err != nil {
		return b, fmt.Errorf("the recipient's address: %w", err)
	}
	b = append(append(append(b, "Message-ID: <"...), m.MessageID...), ">\r\nSubject:"...)
	b = appendText(b, m.Subject, strings.Contains(m.Subject, "=?"))
	for _, header := range m.Headers {
		if !contains(own, header.Name) {
			b = appendText(append(append(b, header.Name...), ':'), header.Value, false)
		}
	}
	for _, header := range own {
		b = appendText(append(append(b, header.Name...), ':'), header.Value, false)
	}
	b = append(b, "MIME-Version: 1.0\r\n"...)
	if m.HTML.IsEmpty() {
		b = appendPart(b, "plain", mail.BodyOf(m.Text))
		if !bytes.HasSuffix(b, []byte("\r\n")) {
			b = append(b, "\r\n"...)
		}
		return b, nil
	}
	// Neither encoding of the parts can produce "=_", so the boundary cannot
	// occur in them.
	boundary := "=_" + m.ID
	b = append(append(append(b, "Content-Type: multipart/alternative;\r\n boundary=\""...), boundary...), "\"\r\n"...)
	b = append(append(append(b, "\r\n--"...), boundary...), "\r\n"...)
	b = appendPart(b, "plain", mail.BodyOf(m.Text))
	b = append(append(append(b, "\r\n--"...), boundary...), "\r\n"...)
	b = appendPart(b, "html", m.HTML)
	return append(append(append(b, "\r\n--"...), boundary...), "--\r\n"...), nil
}

// appendDate appends a date as RFC 5322 section 3.3 writes it, in UTC.
func appendDate(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	two := func(before string, n int) {
		b = append(append(b, before...), byte('0'+n/10), byte('0'+n%10))
	}
	b = append(b, t.Weekday().String()[:3]...)
	two(", ", day)
	b = append(append(b, ' '), month.String()[:3]...)
	two(" ", year/100)
	two("", year%100)
	two(" ", hour)
	two(":", minute)
	two(":", second)
	return append(b, " +0000"...)
}

func contains(headers []mail.Header, name string) bool {
	for _, header := range headers {
		if strings.EqualFold(header.Name, name) {
			return true
		}
	}
	return false
}

// checkWords refuses what becomes part of the message's frame and could break
// out of it; Message.check has seen to the rest.
func checkWords(m *mail.Message) error {
	switch {
	case m.MessageID == "" || len(m.MessageID) > longestWord || !printable(m.MessageID):
		return errors.New("the Message-ID is not a printable word")
	case !printable(m.ID):
		return errors.New("the id is not a printable word")
	}
	for _, header := range m.Headers {
		if header.Name == "" || !printable(header.Name) || strings.Contains(header.Name, ":") {
			return errors.New("an additional header is malformed")
		}
	}
	return nil
}

// printable tells whether the text is visible ASCII without blanks, quotes and
// angle brackets.
func printable(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9': // as most are
		case c <= ' ' || c > '~' || c == '"' || c == '<' || c == '>':
			return false
		}
	}
	return true
}

// appendMailbox appends a display name, if there is one, and an address, after
// the colon of its header.
func appendMailbox(b []byte, box mail.Address) ([]byte, error) {
	path, _, err := mail.Path(box.Address)
	if err != nil {
		return b, err
	}
	switch {
	case box.Name == "":
	case len(box.Name) > longestName || needsEncoding(box.Name) || strings.Contains(box.Name, "=?"):
		b = appendEncodedWords(b, box.Name)
	default:
		b = append(b, ` "`...)
		for i := range len(box.Name) {
			if c := box.Name[i]; c == '"' || c == '\\' {
				b = append(b, '\\')
			}
			b = append(b, box.Name[i])
		}
		b = append(b, '"')
	}
	if column(b)+len(path)+3 > foldAt && box.Name != "" {
		b = append(b, "\r\n"...)
	}
	return append(append(append(b, " <"...), path...), ">\r\n"...), nil
}

// appendText appends an unstructured header value after the colon: folded at
// its blanks, or as encoded words.
func appendText(b []byte, value string, encode bool) []byte {
	value = strings.Trim(value, " ")
	if encode || needsEncoding(value) {
		return append(appendEncodedWords(b, value), "\r\n"...)
	}
	if column(b)+1+len(value) <= foldAt {
		return append(append(append(b, ' '), value...), "\r\n"...)
	}
	first := true
	for word := range strings.SplitSeq(value, " ") {
		if !first && word != "" && column(b)+1+len(word) > foldAt {
			b = append(b, "\r\n"...)
		}
		b = append(append(b, ' '), word...)
		first = false
	}
	return append(b, "\r\n"...)
}

// needsEncoding tells whether a header value cannot go as it is.
func needsEncoding(value string) bool {
	word := 0
	for i := range len(value) {
		c := value[i]
		if word++; c == ' ' {
			word = 0
		}
		if c < ' ' || c > '~' || word > longestWord {
			return true
		}
	}
	return false
}

// appendEncodedWords appends text as RFC 2047 encoded words, in whichever of the
// two encodings is shorter, one word a line.
func appendEncodedWords(b []byte, text string) []byte {
	const overhead = len("=?utf-8?q?") + len("?=")
	quoted := 0
	for i := range len(text) {
		quoted += quotedWidth(text[i])
	}
	inBase64 := quoted > base64.StdEncoding.EncodedLen(len(text))
	for len(text) > 0 {
		room := encodedLine - column(b) - 1 - overhead
		if room < 16 {
			b = append(b, "\r\n"...)
			room = encodedLine - 1 - overhead
		}
		n, used := 0, 0
		for n < len(text) {
			_, size := utf8.DecodeRuneInString(text[n:])
			width := 0
			for i := range size {
				width += quotedWidth(text[n+i])
			}
			if inBase64 {
				width = base64.StdEncoding.EncodedLen(n+size) - used
			}
			if used+width > room {
				break
			}
			n, used = n+size, used+width
		}
		if inBase64 {
			b = append(b, " =?utf-8?b?"...)
			b = base64.StdEncoding.AppendEncode(b, []byte(text[:n]))
		} else {
			b = append(b, " =?utf-8?q?"...)
			for i := range n {
				switch c := text[i]; {
				case c == ' ':
					b = append(b, '_')
				case quotedWidth(c) == 1:
					b = append(b, c)
				default:
					b = appendHex(b, c)
				}
			}
		}
		b = append(b, "?="...)
		text = text[n:]
	}
	return b
}

// quotedWidth is the length of a byte in a Q encoded word that may stand in a
// display name too (RFC 2047 section 5, rule 3).
func quotedWidth(c byte) int {
	if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(" !*+-/", c) >= 0 {
		return 1
	}
	return 3
}

func appendHex(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, '=', digits[c>>4], digits[c&15])
}

// column is the length of the line under way.
func column(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == '\n' {
			return len(b) - 1 - i
		}
	}
	return len(b)
}

// appendPart appends a text part with its headers, in whichever encoding is
// shorter.
func appendPart(b []byte, subtype string, text mail.Body) []byte {
	b = append(append(append(b, "Content-Type: text/"...), subtype...), "; charset=utf-8\r\n"...)
	quoted, inBase64 := text.QuotedLen(), text.Base64Len()
	// Room for the part and what comes around it, at once: growing by doubling
	// would leave a mail that waits for its server with twice the memory.
	b = slices.Grow(b, min(quoted, inBase64)+512)
	if quoted > inBase64 {
		return text.AppendBase64(append(b, "Content-Transfer-Encoding: base64\r\n\r\n"...))
	}
	return text.AppendQuoted(append(b, "Content-Transfer-Encoding: quoted-printable\r\n\r\n"...))
}
