package templates

import (
	"html"
	"slices"
	"strings"

	"github.com/k3a/html2text"
	htmltokens "golang.org/x/net/html"
)

// title finds the inside of the first <title>; nil if it is absent or empty.
func (s *source) title() *source {
	var found *source
	inTitle := false
	s.tokens(func(kind htmltokens.TokenType, start, end int) bool {
		if kind == htmltokens.TextToken && inTitle {
			if text := s.text[start:end]; strings.TrimSpace(text) != "" {
				found = &source{file: s.file, text: text, linesBefore: strings.Count(s.text[:start], "\n")}
			}
			return false
		}
		inTitle = kind == htmltokens.StartTagToken && tagName(s.text[start+1:end]) == "title"
		return true
	})
	return found
}

// tokens calls visit for every token until it returns false. Tags of ours are
// seen as text.
func (s *source) tokens(visit func(kind htmltokens.TokenType, start, end int) bool) {
	tokens := htmltokens.NewTokenizer(strings.NewReader(s.text))
	for at := 0; ; {
		kind := tokens.Next()
		start := at
		at += len(tokens.Raw())
		if kind == htmltokens.ErrorToken || !visit(kind, start, at) {
			return
		}
	}
}

// plainText makes a text template of an HTML one. Comments, Outlook's parts,
// the head and everything hidden, such as a preheader, are left out; cells and
// rows are kept apart; a link is followed by its address. The rest is left to
// html2text, which takes bare tags only.
func (s *source) plainText() string {
	var b strings.Builder
	var hidden []string // the open elements from the outermost hidden one
	var links []link
	element := ""
	s.tokens(func(kind htmltokens.TokenType, start, end int) bool {
		token := s.text[start:end]
		content := contentOf(element)
		element = ""
		switch kind {
		case htmltokens.TextToken:
			if content == markup && len(hidden) == 0 {
				b.WriteString(token)
			}
		case htmltokens.StartTagToken, htmltokens.SelfClosingTagToken:
			name := tagName(token[1:])
			element = name
			switch {
			case len(hidden) > 0:
				if !isVoid(name) {
					hidden = append(hidden, name)
				}
			case isHidden(name, token):
				if !isVoid(name) {
					hidden = append(hidden, name)
				}
			case name == "a":
				links = append(links, link{href: attributeValue(token, "href"), at: b.Len()})
			default:
				b.WriteString(plainStart(name, token))
			}
		case htmltokens.EndTagToken:
			name := tagName(token[2:])
			switch {
			case len(hidden) > 0:
				// An element that its author left open ends with the one around it.
				if i := lastIndex(hidden, name); i >= 0 {
					hidden = hidden[:i]
				}
			case name == "a" && len(links) > 0:
				last := links[len(links)-1]
				links = links[:len(links)-1]
				b.WriteString(last.address(b.String()[last.at:]))
			default:
				b.WriteString(plainEnd(name))
			}
		}
		return true
	})
	text := html2text.HTML2TextWithOptions(b.String(), html2text.WithUnixLineBreaks(), html2text.WithListSupport())
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Trim(line, " \t")
	}
	return strings.TrimSpace(squeeze(strings.Join(lines, "\n"))) + "\n"
}

type link struct {
	href string
	at   int
}

// address is what follows the text of a link, unless the text says it already.
func (l link) address(text string) string {
	text = strings.TrimSpace(html.UnescapeString(text))
	where := strings.TrimPrefix(l.href, "mailto:")
	if l.href == "" || strings.HasPrefix(l.href, "#") || text == l.href || text == where {
		return ""
	}
	if text == "" {
		return html.EscapeString(where)
	}
	return " &lt;" + html.EscapeString(where) + "&gt;"
}

// plainStart is what the beginning of an element means to plain text.
func plainStart(name, token string) string {
	switch name {
	case "p", "h1", "h2", "h3", "h4", "h5", "h6":
		return "<p>"
	case "br", "hr":
		return "<br>"
	case "li":
		return "<li>"
	case "td", "th":
		return " "
	case "img":
		if alt := attributeValue(token, "alt"); alt != "" {
			return " " + html.EscapeString(alt) + " "
		}
	}
	return ""
}

func plainEnd(name string) string {
	switch name {
	case "p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote":
		return "</p>"
	case "tr", "div", "section", "header", "footer", "article":
		return "<br>"
	}
	return ""
}

// isHidden knows what readers never see, by the ways in which mails hide things.
// A font size of 0 is none: it removes the gaps between columns, which have sizes
// of their own.
func isHidden(name, token string) bool {
	switch name {
	case "head", "title", "style", "script", "noscript", "template":
		return true
	}
	style := strings.ToLower(strings.ReplaceAll(attributeValue(token, "style"), " ", ""))
	for _, way := range []string{"display:none", "visibility:hidden", "mso-hide:all", "max-height:0", "opacity:0"} {
		if i := strings.Index(style, way); i >= 0 && !strings.HasPrefix(style[i+len(way):], ".") {
			return true
		}
	}
	found, _ := attributes(token)
	return slices.ContainsFunc(found, func(a attribute) bool { return a.name == "hidden" })
}

func isVoid(name string) bool {
	switch name {
	case "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr":
		return true
	}
	return false
}

// attributeValue returns an attribute as an HTML parser understands it.
func attributeValue(token, name string) string {
	found, _ := attributes(token)
	for _, a := range found {
		if a.name == name {
			return html.UnescapeString(token[a.value.start:a.value.end])
		}
	}
	return ""
}

func lastIndex(list []string, word string) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == word {
			return i
		}
	}
	return -1
}

// squeeze leaves at most one blank line between two lines.
func squeeze(text string) string {
	for strings.Contains(text, "\n\n\n") {
		text = strings.ReplaceAll(text, "\n\n\n", "\n\n")
	}
	return text
}
