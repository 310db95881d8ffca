package bounces

import (
	"bufio"
	"bytes"
	"html"
	"io"
	"strings"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/textproto"
)

// maxDepth and maxParts bound how deep a mail is taken apart, and into how many parts.
const maxDepth, maxParts = 6, 50

// content is what a mail consists of, as far as reports go.
type content struct {
	header message.Header
	// text is what people are to read, without the copy of the mail that it is about.
	text, html string
	// status are the groups of fields of a delivery status, the first about the mail, and
	// feedback those of a complaint.
	status   []textproto.Header
	feedback *textproto.Header
	// original is the header of the mail that a report brings back, nil if it brings none.
	original *textproto.Header
	// receipt marks a mail that tells that a mail was read.
	receipt bool
	parts   int
}

func open(top *message.Entity) *content {
	c := &content{header: top.Header}
	c.add(top, 0)
	if strings.TrimSpace(c.text) == "" {
		c.text = plain(c.html)
	}
	c.text = strings.ReplaceAll(c.text, "\r", "")
	if len(c.status) == 0 && inText().MatchString(c.text) {
		c.status = groups([]byte(c.text))
	}
	said, copied := cutCopy(c.text)
	c.text = said[:min(len(said), maxText)]
	if c.original == nil {
		c.original, _ = headerOf([]byte(copied))
	}
	return c
}

// entity is a mail or a part of one. An encoding that is not known leaves it as it is.
func entity(header *textproto.Header, body []byte) *message.Entity {
	e, _ := message.New(message.Header{Header: *header}, bytes.NewReader(body))
	return e
}

// add takes a part and what is in it.
func (c *content) add(e *message.Entity, depth int) {
	if c.parts++; c.parts > maxParts || depth > maxDepth {
		return
	}
	body, _ := io.ReadAll(e.Body) // what can be read of it
	_, parameters, _ := e.Header.ContentType()
	kind := strings.ToLower(firstWord(e.Header.Get("Content-Type"))) // also of one that is malformed
	if strings.HasPrefix(kind, "multipart/") {
		parts := split(body, parameters["boundary"])
		for _, part := range parts {
			header, body := new(textproto.Header), part
			if field().Match(part) {
				header, body = headerOf(part)
			}
			c.add(entity(header, body), depth+1)
		}
		if len(parts) > 0 {
			return
		}
		kind = "text/plain"
	}
	switch kind {
	case "message/delivery-status", "message/global-delivery-status":
		c.status = append(c.status, groups(body)...)
	case "message/feedback-report":
		if c.feedback == nil {
			c.feedback, _ = headerOf(body)
		}
	case "message/disposition-notification", "message/global-disposition-notification":
		c.receipt = true
	case "message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers", "text/rfc822":
		if c.original == nil {
			c.original, _ = headerOf(body)
		}
	case "text/html":
		c.html += string(body) + "\n"
	case "text/plain", "":
		c.text += string(body) + "\n"
	}
}

// split takes a multipart body apart. Reports are cut, forwarded and repaired on their way,
// so that a boundary may be missing, and be another than the header says.
func split(body []byte, boundary string) (parts [][]byte) {
	if boundary == "" || !bytes.Contains(body, []byte("--"+boundary)) {
		boundary = ""
		if found := anyBoundary().FindSubmatch(body); found != nil {
			boundary = string(found[1])
		}
	}
	if boundary == "" {
		return nil
	}
	pieces := bytes.Split(append([]byte("\n"), body...), []byte("\n--"+boundary))
	for _, piece := range pieces[1:] {
		end, part, _ := bytes.Cut(piece, []byte("\n"))
		if bytes.HasPrefix(end, []byte("--")) {
			break
		}
		parts = append(parts, part)
	}
	return parts
}

// anyBoundary is a line that looks like one, with the header of a part below it.
var anyBoundary = expression(`(?mi)^--(\S{6,})[ \t]*\r?\nContent-`)

// headerOf reads the header that a text begins with, and returns what follows. Lines that
// are none of a header are left out; nil if there is no other.
func headerOf(text []byte) (header *textproto.Header, body []byte) {
	var clean bytes.Buffer
	isInside := false
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		line = bytes.TrimRight(line, "\r")
		isBlank := len(bytes.TrimSpace(line)) == 0
		text = rest
		if isBlank && isInside {
			break
		}
		isInside = !isBlank
		switch {
		case isBlank:
		case field().Match(line):
			clean.WriteString("\r\n")
			clean.Write(line)
		case clean.Len() > 0 && (line[0] == ' ' || line[0] == '\t' || bytes.HasSuffix(clean.Bytes(), []byte(";"))):
			clean.WriteString("\r\n ")
			clean.Write(line)
		}
	}
	clean.WriteString("\r\n\r\n")
	h, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(clean.Bytes(), []byte("\r\n")))))
	if err != nil || h.Len() == 0 {
		return nil, text
	}
	return &h, text
}

var blank = expression(`\n[ \t\r]*\n`)

// inText marks a delivery status that stands in the text.
var inText = expression(`(?mi)^Final-Recipient:.*@`)

var field = expression(`^[A-Za-z][A-Za-z0-9-]*:`)

// groups are the groups of fields in a delivery status: blank lines are between them.
func groups(body []byte) (all []textproto.Header) {
	for _, group := range blank().Split(string(body), -1) {
		if h, _ := headerOf([]byte(group)); h != nil {
			all = append(all, *h)
		}
	}
	return all
}

var (
	invisible = expression(`(?is)<(style|script|head)\b.*?</(style|script|head)>|<!--.*?-->`)
	breaks    = expression(`(?i)<(br|/?p|/?div|/?tr|/?li|/?h[1-6]|/?table|hr)\b[^>]*>`)
	tags      = expression(`<[A-Za-z/!][^>]*>`)
)

// plain is the text of an HTML part, well enough to look for words and addresses.
func plain(text string) string {
	text = invisible().ReplaceAllString(text, " ")
	text = breaks().ReplaceAllString(text, "\n")
	return html.UnescapeString(tags().ReplaceAllString(text, ""))
}

// ofMail is a field that a server does not write when it only cites a mail.
var ofMail = expression(`(?i)^(return-path|received|message-id|dkim-signature|arc-seal|mime-version|content-type|from|delivered-to):`)

// cutCopy separates what a server writes from the copy of a mail that follows in the
// same text: it begins with a few lines of a header.
func cutCopy(text string) (said, copy string) {
	at, begin, lines, isMail := 0, 0, 0, false
	for line := range strings.Lines(text) {
		switch {
		case field().MatchString(line):
			if lines == 0 {
				begin = at
			}
			lines++
			isMail = isMail || ofMail().MatchString(line)
			if isMail && lines > 1 {
				return text[:begin], text[begin:]
			}
		case (line[0] == ' ' || line[0] == '\t') && strings.TrimSpace(line) != "": // goes on
		default:
			lines, isMail = 0, false
		}
		at += len(line)
	}
	return text, ""
}
