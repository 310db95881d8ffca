package smtp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Line lengths of RFC 5322 section 2.1.1 and RFC 2047 section 2, in bytes
// without the line end.
const (
	foldAt      = 78
	encodedLine = 76
	longestWord = 900 // a longer word might not fit into the 998 of any line
	longestName = 60  // a longer display name is encoded, which can be folded
)

// Message is a mail to one recipient.
type Message struct {
	From, ReplyTo Mailbox // ReplyTo may be empty
	// To is the recipient's address, as between angle brackets.
	To      string
	Subject string
	Date    time.Time
	// ID is the Message-ID without its angle brackets.
	ID string
	// Boundary is a printable word that no other message has.
	Boundary string
	// Headers are additional ones, in UTF-8.
	Headers []Header
	Text    Body
	HTML    Body // nil for none
}

// Mailbox is an address, as between angle brackets (RFC 5321 section 4.1.2), and
// an optional display name.
type Mailbox struct{ Name, Address string }

// Header is a header of a message.
type Header struct{ Name, Value string }

// Body is a text that can encode itself (RFC 2045 section 6). Both forms have
// lines of at most 76 characters with CRLF between them, and no line of either
// begins with a dot, so that nothing is left to be escaped on the wire.
type Body interface {
	QuotedLen() int // about how long it is in quoted-printable, in bytes
	AppendQuoted([]byte) []byte
	Base64Len() int // about how long it is in base64, in bytes
	AppendBase64([]byte) []byte
}

// AppendTo appends the message as RFC 5322 and MIME want it, 7-bit but for its
// addresses, with CRLF line ends. Text that would break out of a header comes out
// encoded; its error tells what cannot be encoded. It allocates nothing, where
// go-mail's Msg takes 13 times as long and 166 allocations (BenchmarkSMTPBuild in
// package providers).
func (m *Message) AppendTo(b []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return b, err
	}
	b = m.Date.UTC().AppendFormat(append(b, "Date: "...), time.RFC1123Z)
	b = appendMailbox(append(b, "\r\nFrom:"...), m.From)
	if m.ReplyTo.Address != "" {
		b = appendMailbox(append(b, "Reply-To:"...), m.ReplyTo)
	}
	b = appendMailbox(append(b, "To:"...), Mailbox{Address: m.To})
	b = append(append(append(b, "Message-ID: <"...), m.ID...), ">\r\nSubject:"...)
	b = appendText(b, m.Subject, strings.Contains(m.Subject, "=?"))
	for _, header := range m.Headers {
		b = appendText(append(append(b, header.Name...), ':'), header.Value, false)
	}
	b = append(b, "MIME-Version: 1.0\r\n"...)
	if m.HTML == nil {
		b = appendPart(b, "plain", m.Text)
		if !bytes.HasSuffix(b, []byte("\r\n")) {
			b = append(b, "\r\n"...)
		}
		return b, nil
	}
	// Neither encoding of the parts can produce "=_", so the boundary cannot
	// occur in them.
	boundary := "=_" + m.Boundary
	b = append(append(append(b, "Content-Type: multipart/alternative;\r\n boundary=\""...), boundary...), "\"\r\n"...)
	b = append(append(append(b, "\r\n--"...), boundary...), "\r\n"...)
	b = appendPart(b, "plain", m.Text)
	b = append(append(append(b, "\r\n--"...), boundary...), "\r\n"...)
	b = appendPart(b, "html", m.HTML)
	return append(append(append(b, "\r\n--"...), boundary...), "--\r\n"...), nil
}

// check refuses what becomes part of the message's frame and could break out of
// it.
func (m *Message) check() error {
	switch {
	case m.ID == "" || len(m.ID) > longestWord || !isWord(m.ID):
		return errors.New("the Message-ID is not a printable word")
	case !isWord(m.Boundary):
		return errors.New("the boundary is not a printable word")
	case !fitsLine(m.From.Address), !fitsLine(m.ReplyTo.Address), !fitsLine(m.To):
		return errAddress
	}
	for _, header := range m.Headers {
		if header.Name == "" || !isWord(header.Name) || strings.Contains(header.Name, ":") {
			return errors.New("an additional header is malformed")
		}
	}
	return nil
}

var errAddress = errors.New("an address is too long or holds a control character")

// fitsLine tells whether an address cannot break out of its line, or of a line's
// length.
func fitsLine(address string) bool {
	return len(address) <= longestWord && strings.IndexFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// isASCII tells whether an address needs no SMTPUTF8.
func isASCII(address string) bool {
	for i := range len(address) {
		if address[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isWord tells whether the text is visible ASCII without blanks, quotes and
// angle brackets.
func isWord(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '"' || c == '<' || c == '>' {
			return false
		}
	}
	return true
}

// appendMailbox appends a display name, if there is one, and an address, after
// the colon of its header.
func appendMailbox(b []byte, box Mailbox) []byte {
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
	if column(b)+len(box.Address)+3 > encodedLine && box.Name != "" {
		b = append(b, "\r\n"...)
	}
	return append(append(append(b, " <"...), box.Address...), ">\r\n"...)
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
	if strings.Contains(value, "  ") { // readers make one blank of those at a fold
		return append(appendEncodedWords(b, value), "\r\n"...)
	}
	first := true
	for word := range strings.SplitSeq(value, " ") {
		if !first && column(b)+1+len(word) > foldAt {
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
// two encodings is shorter, one word a line. Go's mime.WordEncoder knows nothing of
// lines, and its Q leaves characters that may not stand in a display name.
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
					b = fmt.Appendf(b, "=%02X", c)
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

// column is the length of the line under way.
func column(b []byte) int { return len(b) - 1 - bytes.LastIndexByte(b, '\n') }

// appendPart appends a text part with its headers, in whichever encoding is
// shorter.
func appendPart(b []byte, subtype string, text Body) []byte {
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
