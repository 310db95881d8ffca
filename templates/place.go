package templates

import (
	"slices"
	"strings"

	htmltokens "golang.org/x/net/html"
)

// placeKind says what the bytes around a tag are to an HTML parser.
type placeKind uint8

const (
	notAllowed   placeKind = iota // nothing may stand here; the reason is noted
	textPlace                     // HTML text, also of title and textarea
	commentPlace                  // an ordinary comment
	attrPlace                     // a quoted attribute value
	prosePlace                    // a quoted attribute value that people read
	urlPlace                      // a quoted value that is a URL
	imagePlace                    // a quoted value that is loaded when the mail is read
	stylePlace                    // style="…" or <style>: only the colours of the branding
)

// place is where a tag stands. Two tags stand in the same place if an HTML
// parser can go from the one to the other without noticing.
type place struct {
	kind placeKind
	// at is the offset of the element's text, the attribute value or the
	// comment; 0 for the text of the document.
	at int
	// inComment tells that all of it is inside an HTML comment, as Outlook's
	// conditional parts are for every other reader.
	inComment bool
}

// contentKind says how the tokenizer takes what stands inside of an element.
type contentKind uint8

const (
	markup        contentKind = iota
	escapableText             // text with character references
	rawText                   // text without
)

func contentOf(element string) contentKind {
	switch element {
	case "title", "textarea":
		return escapableText
	case "iframe", "noembed", "noframes", "noscript", "plaintext", "script", "style", "xmp":
		return rawText
	}
	return markup
}

// places finds for every tag where it stands, and notes a mistake for each that
// stands where a value could break out.
//
// The tokenizer sees the source with every tag replaced by as many letters, so
// that offsets stay the same, and so that a tag right behind a "<" shows up as
// part of an element's name. All branches of all blocks stand one behind the
// other. That is enough, because a parser that is in the same place at the
// beginning and at the end of a branch goes on in the same way whether it has
// seen the branch or not.
func (s *source) places(tags []tag) []place {
	masked := []byte(s.text)
	for _, t := range tags {
		for i := t.start; i < t.end; i++ {
			masked[i] = 'x'
		}
	}
	f := placeFinder{source: s, masked: string(masked), tags: tags, places: make([]place, len(tags))}
	f.html(0, len(masked), 0)
	for i, t := range tags {
		if (t.kind == elseTag || t.kind == closeTag) &&
			f.places[i].kind != notAllowed && f.places[t.opener].kind != notAllowed && f.places[i] != f.places[t.opener] {
			s.fault(t.start, "the block begins in another place than here: "+
				"put the whole of it into the same text or into the same attribute value")
		}
	}
	return f.places
}

// placesInAddresses finds the tags of a text that stand in the address of a link.
func (s *source) placesInAddresses(tags []tag) []place {
	places := make([]place, len(tags))
	for i, t := range tags {
		for _, a := range s.addresses {
			if a.start <= t.start && t.end <= a.end {
				places[i] = place{kind: urlPlace, at: a.start}
			}
		}
	}
	return places
}

const (
	insideForeign = "placeholders cannot stand inside <svg> or <math>, which mail programs remove"
	outsideValue  = "placeholders stand in the value of an attribute, not in its name or between attributes: " +
		`write name="{{value}}", and put blocks around the whole tag or inside the value`
)

// placeFinder reads the tokens of a source and its tags side by side.
type placeFinder struct {
	*source
	masked string
	tags   []tag
	places []place
	// next is the index of the first tag that was not reached yet.
	next int
}

// html reads masked[start:end]; conditional is the offset of the
// conditional comment that it is the inside of, or 0. It tells whether the end
// is reached in the text of the document.
func (f *placeFinder) html(start, end, conditional int) bool {
	tokens := htmltokens.NewTokenizer(strings.NewReader(f.masked[start:end]))
	inComment := conditional > 0
	element, foreign := "", 0
	at := start
	for {
		kind := tokens.Next()
		from := at
		at += len(tokens.Raw())
		if at == len(f.masked) {
			f.noteEnd(kind, from, element)
		}
		if kind == htmltokens.ErrorToken {
			break
		}
		tagName, _ := tokens.TagName()
		name := string(tagName)
		text := element
		element = ""
		switch kind {
		case htmltokens.TextToken:
			if foreign > 0 {
				f.refuse(at, insideForeign)
			}
			switch contentOf(text) {
			case rawText:
				if text == "style" {
					f.colors(from, at, "<style>", inComment)
				} else {
					f.refuse(at, "placeholders cannot stand inside <"+text+">")
				}
				element = text
			case escapableText:
				f.escapableText(from, at, inComment)
				element = text
			default:
				f.set(at, place{kind: textPlace, at: conditional, inComment: inComment})
			}
		case htmltokens.StartTagToken, htmltokens.SelfClosingTagToken:
			if isForeign(name) {
				foreign++
			}
			if contentOf(name) != markup {
				element = name
			}
			f.startTag(from, at, name, foreign > 0, inComment)
		case htmltokens.EndTagToken:
			if isForeign(name) && foreign > 0 {
				foreign--
			}
			f.refuse(at, "placeholders cannot stand inside a closing tag")
		case htmltokens.CommentToken:
			f.comment(from, at, inComment)
		default:
			f.refuse(at, "placeholders cannot stand inside the doctype")
		}
	}
	if at < end || f.hasTagBefore(end) {
		f.refuse(end, "the HTML tag around this placeholder is not closed: write > after it")
		return false
	}
	return element == ""
}

// noteEnd notes a mistake if the document ends before the element, the comment or the
// tag that begins at from does: perhaps only a part of the file is there.
func (f *placeFinder) noteEnd(kind htmltokens.TokenType, from int, element string) {
	token, cut := f.masked[from:], kind == htmltokens.ErrorToken
	switch {
	case f.hasTagBefore(len(f.masked)): // which is told of
	case cut && element != "":
		f.fault(from, "the HTML ends inside of <%s>: write </%[1]s> after it", element)
	case kind == htmltokens.CommentToken && strings.HasPrefix(token, "<!--") && !strings.HasSuffix(token, "-->") && !strings.HasSuffix(token, "--!>"):
		f.fault(from, "the HTML ends inside of this comment: write --> after it")
	case cut && token != "", kind != htmltokens.TextToken && !cut && !strings.HasSuffix(token, ">"):
		f.fault(from, "the HTML ends inside of this tag: write > after it")
	}
}

func isForeign(element string) bool { return element == "svg" || element == "math" }

// hasTagBefore tells whether a tag that was not reached yet begins before the offset end.
func (f *placeFinder) hasTagBefore(end int) bool {
	return f.next < len(f.tags) && f.tags[f.next].start < end
}

// set gives a place to every tag before the offset end.
func (f *placeFinder) set(end int, p place) {
	for f.hasTagBefore(end) {
		f.places[f.next] = p
		f.next++
	}
}

// refuse notes the mistake of every tag before the offset end.
func (f *placeFinder) refuse(end int, reason string) {
	for f.hasTagBefore(end) {
		f.fault(f.tags[f.next].start, "%s", reason)
		f.next++
	}
}

// colors takes the colours of the branding, and blocks that ask for them, in CSS:
// their values are checked to be colours. Everything else could become CSS of its
// own.
func (f *placeFinder) colors(from, end int, where string, inComment bool) {
	for f.hasTagBefore(end) {
		t := f.tags[f.next]
		path := t.path
		if t.kind == elseTag || t.kind == closeTag {
			path = f.tags[t.opener].path
		}
		switch {
		case !isColorName(path):
			f.refuse(t.end, "only {{branding.color}} can stand inside "+where+": write the value itself, or use an attribute such as bgcolor")
		case endsInTag(f.masked[from:t.start]):
			f.refuse(t.end, "a placeholder cannot stand right after <")
		default:
			f.set(t.end, place{kind: stylePlace, at: from, inComment: inComment})
		}
	}
}

func isColorName(path string) bool {
	names := builtinNames()
	return slices.Contains(names[brandColor:darkBrandText+1], path)
}

// escapableText is the inside of a title or a textarea.
func (f *placeFinder) escapableText(from, end int, inComment bool) {
	for f.hasTagBefore(end) {
		t := f.tags[f.next]
		if endsInTag(f.masked[from:t.start]) {
			f.refuse(t.end, "a placeholder cannot stand right after <")
			continue
		}
		f.set(t.end, place{kind: textPlace, at: from, inComment: inComment})
	}
}

// endsInTag tells whether what follows could complete a closing tag.
func endsInTag(text string) bool {
	text = text[max(0, len(text)-len("</textarea")):]
	text = strings.TrimRightFunc(text, isASCIILetter)
	return strings.HasSuffix(text, "<") || strings.HasSuffix(text, "</")
}

// comment is everything between <! and > that is not a doctype, <? … > and </ >.
// Only a real comment may hold placeholders; in it, the bytes before a value and
// the bytes behind it must not add up to its end.
func (f *placeFinder) comment(from, end int, inComment bool) {
	if inside, ok := conditionalComment(f.masked[from:end]); ok && !inComment {
		f.refuse(from+inside.start, "placeholders cannot stand inside the condition of a comment")
		f.noteUnsafeDashes(from, from+inside.end)
		first := f.next
		if !f.html(from+inside.start, from+inside.end, from+1) && first < len(f.tags) {
			f.fault(from, "close every tag and every <style> inside of this conditional comment")
		}
		return
	}
	token := f.masked[from:end]
	if !strings.HasPrefix(token, "<!--") || !strings.HasSuffix(token, "-->") || strings.HasPrefix(strings.ToLower(token), "<!--[if") {
		f.refuse(end, "placeholders cannot stand here: an HTML parser reads this as a comment that is not one")
		return
	}
	f.noteUnsafeDashes(from, end)
	f.set(end, place{kind: commentPlace, at: from, inComment: true})
}

// noteUnsafeDashes refuses tags of a comment behind which an empty value would
// join dashes to an end of the comment.
func (f *placeFinder) noteUnsafeDashes(from, end int) {
	for i := f.next; i < len(f.tags) && f.tags[i].start < end; i++ {
		before := f.masked[from:f.tags[i].start]
		if strings.HasSuffix(before, "-") || strings.HasSuffix(before, "-!") {
			f.fault(f.tags[i].start, "inside of a comment a placeholder cannot stand right after a dash: put a blank between them")
		}
	}
}

type span struct{ start, end int }

// conditionalComment finds the inside of <!--[if …]>…<![endif]-->.
func conditionalComment(token string) (span, bool) {
	const begin, end = "<!--[if", "<![endif]-->"
	lower := strings.ToLower(token)
	_, inside, found := strings.Cut(token, "]>")
	if !strings.HasPrefix(lower, begin) || !strings.HasSuffix(lower, end) || !found {
		return span{}, false
	}
	return span{len(token) - len(inside), len(token) - len(end)}, true
}

// startTag finds the attribute that each tag inside of an HTML tag belongs to.
func (f *placeFinder) startTag(from, end int, element string, foreign, inComment bool) {
	if !f.hasTagBefore(end) {
		return
	}
	attrs, ok := attributes(f.masked[from:end], 1+len(element))
	if !ok {
		f.refuse(end, "placeholders cannot stand inside this HTML tag, which parsers read in different ways")
		return
	}
	refresh := element == "meta" && slices.ContainsFunc(attrs, func(a attribute) bool { return a.name == "http-equiv" })
	for _, a := range attrs {
		f.refuse(from+a.value.start, outsideValue)
		kind, reason := attributePlace(element, a.name)
		switch {
		case !a.quoted:
			reason = "write quotes around the value: " + a.name + `="…"`
		case refresh:
			reason = "placeholders cannot stand in <meta http-equiv>"
		case foreign:
			reason = insideForeign
		}
		valueEnd := from + a.value.end
		switch {
		case reason != "":
			f.refuse(valueEnd, reason)
		case kind == stylePlace:
			f.colors(from+a.value.start, valueEnd, "style", inComment)
		default:
			f.set(valueEnd, place{kind: kind, at: from + a.value.start, inComment: inComment})
		}
	}
	f.refuse(end, outsideValue)
}

// attributePlace says what the values of an attribute are. The reason is given
// for those that no placeholder may stand in.
func attributePlace(element, name string) (kind placeKind, reason string) {
	switch element {
	case "base", "link", "script", "set", "animate", "animatemotion", "animatetransform":
		return notAllowed, "placeholders cannot stand in <" + element + ">"
	}
	if prefix := strings.LastIndexByte(name, ':'); prefix >= 0 {
		name = name[prefix+1:] // xlink:href, and v:src of Outlook
	}
	switch name {
	case "style":
		return stylePlace, ""
	case "alt", "title", "aria-label":
		return prosePlace, ""
	case "srcset", "imagesrcset", "srcdoc", "ping", "archive", "attributionsrc":
		return notAllowed, "placeholders cannot stand in " + name
	case "src", "background", "poster", "dynsrc", "lowsrc", "icon":
		return imagePlace, ""
	case "href", "action", "formaction", "cite", "data", "longdesc", "codebase", "classid", "profile", "usemap", "manifest":
		return urlPlace, ""
	}
	if strings.HasPrefix(name, "on") {
		return notAllowed, "placeholders cannot stand in event handlers such as " + name
	}
	return attrPlace, ""
}

// attribute is one name="value" of an HTML tag, offsets from the tag's "<".
type attribute struct {
	name   string
	value  span
	quoted bool
}

// attributes reads the attributes of a tag that the tokenizer has delimited, from the
// offset behind its name. It fails if it does not come to the same end.
func attributes(tag string, i int) ([]attribute, bool) {
	if !strings.HasSuffix(tag, ">") { // which nothing below reads past
		return nil, false
	}
	var found []attribute
	for {
		for isSpace(tag[i]) || tag[i] == '/' {
			i++
		}
		if tag[i] == '>' {
			return found, i == len(tag)-1
		}
		begin := i
		for i++; !isSpace(tag[i]) && !strings.ContainsRune("/>=", rune(tag[i])); i++ {
		}
		a := attribute{name: strings.ToLower(tag[begin:i]), value: span{i, i}, quoted: true}
		for isSpace(tag[i]) {
			i++
		}
		if tag[i] == '=' {
			for i++; isSpace(tag[i]); i++ {
			}
			switch quote := tag[i]; quote {
			case '"', '\'':
				begin := i + 1
				length := strings.IndexByte(tag[begin:], quote)
				if length < 0 {
					return nil, false
				}
				a.value = span{begin, begin + length}
				i = a.value.end + 1
			default:
				begin := i
				for !isSpace(tag[i]) && tag[i] != '>' {
					i++
				}
				a.value, a.quoted = span{begin, i}, false
			}
		}
		found = append(found, a)
	}
}

func isSpace[T byte | rune](c T) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f'
}
