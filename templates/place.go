package templates

import (
	"errors"
	"io"
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// escape is how a value is written at its place.
type escape int

const (
	plain     escape = iota // subject and text: line breaks and controls go
	markup                  // HTML text and attributes
	commented               // the same within a conditional comment, where dashes matter too
	link                    // an attribute that holds a URL
	color                   // a style, where only a colour may stand
)

// place is where a token of a template stands in its HTML. A block has to open
// and close at the same place.
type place struct {
	escape escape
	// within tells places of the same kind apart: the text outside of tags has
	// one value, every attribute and every special element has its own.
	within int
	// start is the offset at which the attribute's value begins, for links.
	start int
}

// locate finds the place of every token that is not literal, in order. It reads
// the template the way mail clients read HTML, with the placeholders in it: as
// the words between their braces hold none of the characters that HTML cares
// about outside of tags, they do not change how it is read.
func locate(s source, tokens []token) ([]place, error) {
	l := locator{source: s, places: make([]place, len(tokens))}
	for i, t := range tokens {
		if t.kind != literal {
			l.dynamic = append(l.dynamic, i)
		}
	}
	l.tokens = tokens
	l.document(0, len(s.text), markup, 0)
	if len(l.problems) > 0 {
		return nil, errors.Join(l.problems...)
	}
	return l.places, l.sameplace()
}

type locator struct {
	source   source
	tokens   []token
	dynamic  []int // indexes of tokens that are not literal and not yet located
	places   []place
	fresh    int // the number of the next place
	problems []error
}

func (l *locator) refuse(t token, format string, args ...any) {
	l.problems = append(l.problems, l.source.problem(t.offset, format, args...))
}

// next returns the first token that is not yet located if it begins before end.
func (l *locator) next(end int) (int, bool) {
	if len(l.dynamic) == 0 || l.tokens[l.dynamic[0]].offset >= end {
		return 0, false
	}
	i := l.dynamic[0]
	l.dynamic = l.dynamic[1:]
	return i, true
}

func (l *locator) number() int {
	l.fresh++
	return l.fresh
}

// rawText are the elements whose content is not markup and is not for readers.
var rawText = map[string]bool{"style": true, "script": true, "iframe": true, "noembed": true, "noframes": true,
	"noscript": true, "xmp": true, "plaintext": true}

// document locates the tokens of a stretch of HTML that begins and ends outside
// of tags.
func (l *locator) document(begin, end int, text escape, within int) {
	tokenizer := html.NewTokenizer(strings.NewReader(l.source.text[begin:end]))
	at := begin
	inside := "" // the element whose raw text comes next
	for {
		kind := tokenizer.Next()
		raw := string(tokenizer.Raw())
		stretch := at + len(raw)
		if kind == html.ErrorToken {
			// What the tokenizer could not finish is a tag or comment that is
			// never closed.
			if tokenizer.Err() != io.EOF || stretch < end || len(raw) > 0 {
				stretch = end
			}
			for i, found := l.next(end); found; i, found = l.next(end) {
				l.refuse(l.tokens[i], "%s stands in a tag or comment that is never closed", l.tokens[i].source)
			}
			return
		}
		switch kind {
		case html.TextToken:
			l.text(stretch, inside, text, within)
		case html.CommentToken:
			l.comment(at, raw)
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			l.tag(at, raw, text)
		case html.DoctypeToken:
			for i, found := l.next(stretch); found; i, found = l.next(stretch) {
				l.refuse(l.tokens[i], "%s stands in the doctype", l.tokens[i].source)
			}
		}
		inside = ""
		if kind == html.StartTagToken {
			inside = tagName(raw)
		}
		at = stretch
	}
}

// unfinished is the end of a text that the next letters could make a tag of.
var unfinished = regexp.MustCompile(`<[/!?]?[A-Za-z-]*$`)

// text locates the tokens of a text, which ends at end.
func (l *locator) text(end int, inside string, text escape, within int) {
	here := place{escape: text, within: within}
	special := rawText[inside] || inside == "title" || inside == "textarea"
	if special {
		here = place{escape: text, within: l.number()}
	}
	for i, found := l.next(end); found; i, found = l.next(end) {
		t := l.tokens[i]
		switch {
		case rawText[inside] && t.kind == value && inside == "style" && t.path == colorPath:
			l.places[i] = place{escape: color, within: here.within}
			continue
		case rawText[inside]:
			l.refuse(t, "%s stands in <%s>, where no value is safe", t.source, inside)
		case i > 0 && l.tokens[i-1].kind == literal && unfinished.MatchString(l.tokens[i-1].source):
			l.refuse(t, "%s follows an open <; write &lt; for the character itself", t.source)
		}
		l.places[i] = here
	}
}

// comment locates the tokens of a comment. Outlook reads what is in a
// conditional one, so they work there; any other comment stays as it is.
func (l *locator) comment(at int, raw string) {
	begin, end := at, at+len(raw)
	if strings.HasPrefix(raw, "<!--[if") && strings.HasSuffix(raw, "<![endif]-->") {
		if condition := strings.Index(raw, "]>"); condition >= 0 {
			begin, end = at+condition+len("]>"), at+len(raw)-len("<![endif]-->")
			for i, found := l.next(begin); found; i, found = l.next(begin) {
				l.refuse(l.tokens[i], "%s stands in the condition of a comment", l.tokens[i].source)
			}
			if begin < end {
				l.document(begin, end, commented, l.number())
			}
			return
		}
	}
	for i, found := l.next(end); found; i, found = l.next(end) {
		// The compiler copies what is not located.
		l.places[i] = place{within: untouched}
	}
}

// untouched is the place of what stands in an ordinary comment.
const untouched = -1

// urlAttributes hold an address that a client loads or opens.
var urlAttributes = map[string]bool{"href": true, "src": true, "action": true, "formaction": true, "background": true,
	"poster": true, "cite": true, "data": true, "longdesc": true, "lowsrc": true, "dynsrc": true, "usemap": true,
	"xlink:href": true, "icon": true, "manifest": true, "ping": true, "classid": true, "codebase": true, "archive": true}

// forbiddenAttributes hold code, or addresses in a form of their own.
var forbiddenAttributes = map[string]bool{"srcset": true, "srcdoc": true, "imagesrcset": true, "http-equiv": true}

// forbiddenTags load or run what they name.
var forbiddenTags = map[string]bool{"script": true, "iframe": true, "frame": true, "object": true, "embed": true,
	"applet": true, "link": true, "base": true, "svg": true, "math": true, "param": true}

// tag locates the tokens of a tag.
func (l *locator) tag(at int, raw string, text escape) {
	end := at + len(raw)
	if len(l.dynamic) == 0 || l.tokens[l.dynamic[0]].offset >= end {
		return
	}
	name := tagName(raw)
	attributes := attributesOf(raw)
	refresh := name == "meta" && hasAttribute(attributes, "http-equiv")
	for i, found := l.next(end); found; i, found = l.next(end) {
		t := l.tokens[i]
		a := attributeAt(attributes, t.offset-at)
		switch {
		case forbiddenTags[name] || refresh:
			l.refuse(t, "%s stands in <%s>, where no value is safe", t.source, name)
		case a == nil:
			l.refuse(t, "%s stands in a tag, but not in an attribute with quotes: write name=\"%s\", or put the condition around the whole tag",
				t.source, t.source)
		case a.name == "style" && (t.path == colorPath || t.kind == elseBranch || t.kind == endIf || t.kind == endUnless):
			l.places[i] = place{escape: color, within: -2 - at - a.begin}
		case a.name == "style", strings.HasPrefix(a.name, "on"), forbiddenAttributes[a.name]:
			l.refuse(t, "%s stands in the attribute %s, where no value is safe", t.source, a.name)
		case urlAttributes[a.name]:
			l.places[i] = place{escape: link, within: -2 - at - a.begin, start: at + a.begin}
		default:
			l.places[i] = place{escape: text, within: -2 - at - a.begin}
		}
	}
}

// attribute is a quoted attribute of a tag. The offsets of its value are
// relative to the tag.
type attribute struct {
	name       string
	begin, end int
}

func hasAttribute(attributes []attribute, name string) bool {
	for _, a := range attributes {
		if a.name == name {
			return true
		}
	}
	return false
}

func attributeAt(attributes []attribute, offset int) *attribute {
	for i := range attributes {
		if a := &attributes[i]; a.begin <= offset && offset < a.end {
			return a
		}
	}
	return nil
}

func tagName(raw string) string {
	name := strings.TrimLeft(raw, "</")
	if end := strings.IndexAny(name, " \t\n\r\f/>"); end >= 0 {
		name = name[:end]
	}
	return strings.ToLower(name)
}

// attributesOf finds the attributes of a tag, by the rules of the HTML standard,
// section 13.2.5. One without quotes is listed with an empty value, so that
// nothing stands in it.
func attributesOf(raw string) []attribute {
	const space = " \t\n\r\f"
	var list []attribute
	at := strings.IndexAny(raw, space+"/>")
	if strings.HasPrefix(raw, "</") {
		if at = strings.IndexAny(raw[2:], space+"/>"); at >= 0 {
			at += 2
		}
	}
	for at >= 0 && at < len(raw) {
		for at < len(raw) && strings.IndexByte(space+"/", raw[at]) >= 0 {
			at++
		}
		if at >= len(raw) || raw[at] == '>' {
			break
		}
		begin := at
		// A = at the very beginning belongs to the name.
		for at++; at < len(raw) && strings.IndexByte(space+"/>=", raw[at]) < 0; at++ {
		}
		a := attribute{name: strings.ToLower(raw[begin:at])}
		for at < len(raw) && strings.IndexByte(space, raw[at]) >= 0 {
			at++
		}
		if at < len(raw) && raw[at] == '=' {
			for at++; at < len(raw) && strings.IndexByte(space, raw[at]) >= 0; at++ {
			}
			switch {
			case at < len(raw) && (raw[at] == '"' || raw[at] == '\''):
				closing := strings.IndexByte(raw[at+1:], raw[at])
				if closing < 0 {
					return list
				}
				a.begin, a.end = at+1, at+1+closing
				at = a.end + 1
			default:
				for at < len(raw) && strings.IndexByte(space+">", raw[at]) < 0 {
					at++
				}
			}
		}
		list = append(list, a)
	}
	return list
}

// sameplace asks that every block opens, switches and closes at one place, so
// that whichever branch is taken the rest stands where it was located.
func (l *locator) sameplace() error {
	var open []int
	var problems []error
	for i, t := range l.tokens {
		if t.kind == literal || t.kind == value || l.places[i].within == untouched {
			continue
		}
		if t.kind == ifBlock || t.kind == unlessBlock {
			open = append(open, i)
			continue
		}
		if len(open) == 0 {
			problems = append(problems, l.source.problem(t.offset, "%s belongs to a block that begins in a comment", t.source))
			continue
		}
		begin := open[len(open)-1]
		if l.places[begin].within != l.places[i].within {
			problems = append(problems, l.source.problem(t.offset,
				"%s stands in another part of the HTML than its %s: begin and end a block in the same text or the same attribute",
				t.source, l.tokens[begin].source))
		}
		if t.kind != elseBranch {
			open = open[:len(open)-1]
		}
	}
	for _, i := range open {
		problems = append(problems, l.source.problem(l.tokens[i].offset, "%s is closed in a comment", l.tokens[i].source))
	}
	return errors.Join(problems...)
}
