package templates

import (
	"slices"
	"strings"

	htmltokens "golang.org/x/net/html"
)

// title finds the inside of the first <title>; nil if it is absent or empty.
func (s *source) title() *source {
	tokens := htmltokens.NewTokenizer(strings.NewReader(s.text))
	inTitle := false
	for end := 0; ; {
		kind := tokens.Next()
		start := end
		end += len(tokens.Raw())
		text := s.text[start:end]
		switch {
		case kind == htmltokens.ErrorToken, inTitle && kind == htmltokens.TextToken && strings.TrimSpace(text) == "":
			return nil
		case inTitle && kind == htmltokens.TextToken:
			return &source{file: s.file, text: text, linesBefore: strings.Count(s.text[:start], "\n")}
		}
		name, _ := tokens.TagName()
		inTitle = kind == htmltokens.StartTagToken && string(name) == "title"
	}
}

// compilePlainText compiles the text that is made of an HTML template. The
// remedy stands behind the reason why none can be made.
func (s *source) compilePlainText(v vocabulary, remedy string) (*program, error) {
	text := s.plainText()
	if text.text == "" {
		return nil, s.errorAt(0, "no text can be made of this HTML, which shows none"+remedy)
	}
	p, err := compile(text, textFormat, v)
	if err != nil {
		return nil, s.errorAt(0, "no text can be made of this HTML, because blocks begin or end inside of hidden parts"+remedy)
	}
	return p, nil
}

// plainText makes a text template of an HTML one. Comments, Outlook's parts,
// the head and everything hidden, such as a preheader, are left out; cells and
// rows are kept apart; a link is followed by its address. It is empty if nothing
// is shown.
func (s *source) plainText() *source {
	w := plainWriter{open: make(map[string][]bool)}
	content := markup
	marked := strings.NewReplacer("{{", openingBraces, openingBraces, "", addressBegin, "", addressEnd, "").Replace(s.text)
	tokens := htmltokens.NewTokenizer(strings.NewReader(marked))
	for tokens.Next() != htmltokens.ErrorToken {
		token := tokens.Token()
		inside := content
		content = markup
		switch token.Type {
		case htmltokens.TextToken:
			if len(w.hidden) == 0 && inside != rawText {
				w.write(strings.ReplaceAll(token.Data, "\n", " "))
			}
		case htmltokens.StartTagToken, htmltokens.SelfClosingTagToken:
			content = contentOf(token.Data)
			w.start(token)
		case htmltokens.EndTagToken:
			w.end(token.Data)
		}
	}
	lines := strings.Split(w.text.String(), "\n")
	for i, line := range lines {
		words := strings.FieldsFunc(line, isSpace)
		lines[i] = strings.Join(words, " ")
	}
	text := strings.TrimSpace(squeeze(strings.Join(lines, "\n")))
	if text != "" {
		text += "\n"
	}
	return s.withoutMarks(text)
}

// plainWriter writes what the tags of an HTML text and the words between them come to.
type plainWriter struct {
	text          strings.Builder
	begun, inLine bool              // something of the paragraph, and of the line or cell, is written
	open          map[string][]bool // by name, the open elements that others surround: does the style make it a block?
	hidden        []string          // the open elements from the outermost hidden one
	links         []plainLink       // the open ones
}

// plainLink is a link whose text begins at start.
type plainLink struct {
	href  string
	start int
}

func (w *plainWriter) write(text string) {
	switch {
	case text == ownLine && !w.inLine:
		return
	case text == ownLine:
		text = "\n"
	case text == paragraph && !w.begun:
		return
	case text == paragraph:
		w.begun = false
	case text != listItem && strings.TrimSpace(text) != "":
		w.begun = true
	}
	switch {
	case strings.HasPrefix(text, "\n"), text == cell:
		w.inLine = false
	case strings.TrimSpace(text) != "" && !isBlockTag(text):
		w.inLine = true
	}
	w.text.WriteString(text)
}

// start takes the tag that an element begins with.
func (w *plainWriter) start(token htmltokens.Token) {
	for len(w.hidden) > 0 && endsAt(w.hidden[len(w.hidden)-1], token.Data) {
		w.hidden = w.hidden[:len(w.hidden)-1]
	}
	if len(w.hidden) > 0 || isHidden(token) {
		if !isVoid(token.Data) {
			w.hidden = append(w.hidden, token.Data)
		}
		return
	}
	if !isVoid(token.Data) {
		styled := hasStyle(token, "display:block", "display:table", "display:flex", "display:grid", "display:list-item")
		w.open[token.Data] = append(w.open[token.Data], styled)
		if styled {
			w.write(ownLine)
		}
	}
	if token.Data == "a" {
		w.links = append(w.links, plainLink{attributeOf(token, "href"), w.text.Len()})
		return
	}
	w.write(plainStart(token))
}

// end takes the tag that an element of this name ends with.
func (w *plainWriter) end(name string) {
	same := w.open[name]
	if len(w.hidden) > 0 {
		// An element that its author left open ends with the one around it.
		i := len(w.hidden) - 1
		for i >= 0 && w.hidden[i] != name {
			i--
		}
		if i >= 0 {
			w.hidden = w.hidden[:i]
		}
		if i >= 0 || len(same) == 0 {
			return
		}
		w.hidden = nil
	}
	if last := len(w.links) - 1; name == "a" && last >= 0 {
		link := w.links[last]
		w.links = w.links[:last]
		w.write(addressBehind(w.text.String()[link.start:], link.href))
	} else {
		w.write(plainEnd(name))
	}
	if last := len(same) - 1; last >= 0 {
		if same[last] {
			w.write(ownLine)
		}
		w.open[name] = same[:last]
	}
}

// Marks in a text that is being made: braces that begin a placeholder, unlike those
// that are character references in the HTML, and the ends of an address.
const (
	openingBraces = "\x01"
	addressBegin  = "\x02"
	addressEnd    = "\x03"
)

// withoutMarks makes the source of a text.
func (s *source) withoutMarks(text string) *source {
	for strings.Contains(text, "{{") {
		text = strings.ReplaceAll(text, "{{", "{ {")
	}
	text = strings.ReplaceAll(text, "{"+openingBraces, "{ "+openingBraces)
	made := &source{file: s.file}
	var b strings.Builder
	for i := range len(text) {
		switch last := len(made.addresses) - 1; text[i : i+1] {
		case openingBraces:
			b.WriteString("{{")
		case addressBegin:
			made.addresses = append(made.addresses, span{start: b.Len()})
		case addressEnd:
			if last >= 0 { // not a reference of the author's
				made.addresses[last].end = b.Len()
			}
		default:
			b.WriteByte(text[i])
		}
	}
	made.text = b.String()
	return made
}

// What stands before a paragraph and behind it, before an item of a list, before a cell,
// and on both sides of what has lines of its own: a break, unless there is one.
const (
	paragraph = "\n\n"
	listItem  = "\n- "
	cell      = " "
	ownLine   = "\v"
)

// isBlockTag knows a text that is the beginning, middle or end of a block and no more.
func isBlockTag(text string) bool {
	text = strings.TrimSpace(text)
	inside, found := strings.CutPrefix(text, openingBraces)
	return found && strings.HasSuffix(text, "}}") && !strings.Contains(inside, openingBraces) &&
		(strings.HasPrefix(inside, "#") || strings.HasPrefix(inside, "/") || strings.HasPrefix(inside, "else"))
}

// isBlock knows the other elements that browsers begin on a line of their own, by the
// style sheet of https://html.spec.whatwg.org/multipage/rendering.html.
func isBlock(element string) bool {
	switch element {
	case "address", "article", "aside", "blockquote", "caption", "center", "dd", "details", "dialog", "dir", "div", "dl", "dt", "fieldset",
		"figcaption", "figure", "footer", "form", "header", "hgroup", "legend", "listing", "main", "menu", "nav", "ol", "optgroup", "option",
		"pre", "search", "section", "summary", "table", "ul", "xmp":
		return true
	}
	return false
}

// addressBehind is what follows the text of a link, unless the text says it
// already.
func addressBehind(text, href string) string {
	text = strings.TrimSpace(text)
	where, isMailbox := strings.CutPrefix(href, "mailto:")
	if href == "" || strings.HasPrefix(href, "#") || text == href || text == where {
		return ""
	}
	if !isMailbox {
		where = addressBegin + where + addressEnd
	}
	if text == "" {
		return where
	}
	return " <" + where + ">"
}

// plainStart is what the beginning of an element means to plain text.
func plainStart(token htmltokens.Token) string {
	switch token.Data {
	case "p", "h1", "h2", "h3", "h4", "h5", "h6":
		return paragraph
	case "br", "hr":
		return "\n"
	case "li":
		return listItem
	case "td", "th":
		return cell
	case "img":
		if alt := attributeOf(token, "alt"); alt != "" {
			return " " + alt + " "
		}
	case "input":
		switch attributeOf(token, "type") {
		case "hidden", "checkbox", "radio", "password":
		default:
			return " " + attributeOf(token, "value") + " "
		}
	}
	if isBlock(token.Data) {
		return ownLine
	}
	return ""
}

func plainEnd(element string) string {
	switch element {
	case "p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote":
		return paragraph
	case "tr", "div", "section", "header", "footer", "article":
		return "\n"
	}
	if isBlock(element) {
		return ownLine
	}
	return ""
}

// isHidden knows what readers never see, by the ways in which mails hide things.
// A font size of 0 is none: it removes the gaps between columns, which have sizes
// of their own. What is hidden from Outlook alone is none either.
func isHidden(token htmltokens.Token) bool {
	switch token.Data {
	case "head", "title", "style", "script", "noscript", "template":
		return true
	}
	return hasStyle(token, "display:none", "visibility:hidden", "max-height:0", "opacity:0") ||
		slices.ContainsFunc(token.Attr, func(a htmltokens.Attribute) bool { return a.Key == "hidden" })
}

func hasStyle(token htmltokens.Token, ways ...string) bool {
	style := strings.ToLower(strings.Join(strings.Fields(attributeOf(token, "style")), ""))
	return slices.ContainsFunc(ways, func(way string) bool {
		i := strings.Index(style, way)
		return i >= 0 && !strings.HasPrefix(style[i+len(way):], ".")
	})
}

// endsAt tells whether an element that its author left open ends where another one
// begins, by the same standard.
func endsAt(open, next string) bool {
	switch open {
	case "p":
		return isBlock(next) || slices.Contains([]string{"p", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li"}, next)
	case "li", "tr", "option":
		return next == open
	case "td", "th":
		return next == "td" || next == "th" || next == "tr"
	case "dt", "dd":
		return next == "dt" || next == "dd"
	}
	return false
}

func isVoid(element string) bool {
	switch element {
	case "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr":
		return true
	}
	return false
}

func attributeOf(token htmltokens.Token, name string) string {
	for _, a := range token.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// squeeze leaves at most one blank line between two lines.
func squeeze(text string) string {
	for strings.Contains(text, "\n\n\n") {
		text = strings.ReplaceAll(text, "\n\n\n", "\n\n")
	}
	return text
}
