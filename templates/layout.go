package templates

import (
	"strings"

	"golang.org/x/text/language"
)

// edition is what a layout needs to know to become the template of one type in
// one language.
type edition struct {
	messageType string
	locale      string
	tag         language.Tag
	texts       texts
	minutes     int
}

// text returns what {{text.KEY}} stands for.
func (e *edition) text(key string) string {
	rtl := e.texts["dir"].text == "rtl"
	switch key {
	case "locale":
		return e.locale
	case "dir":
		return e.texts["dir"].text
	case "start", "end":
		if rtl == (key == "start") {
			return "right"
		}
		return "left"
	case "fonts":
		return e.texts["fonts"].text
	case "validity":
		return e.texts.validity(e.tag, e.minutes)
	}
	return e.texts.of(e.messageType, key)
}

// fill replaces the {{text.KEY}} of a layout by the language's texts, whose own
// placeholders stay, and decides its {{#if text.KEY}} blocks. What is left is an
// ordinary template.
func (e *edition) fill(file, layout string, f format) (string, error) {
	s := &source{file: file, text: layout}
	tags := s.scan()
	if err := s.err(); err != nil {
		return "", err
	}
	var b strings.Builder
	b.Grow(2 * len(layout))
	// The tags of a decided block are left out, with one of its branches.
	type block struct{ decided, wanted bool }
	var blocks []block
	hidden := func() bool {
		for _, k := range blocks {
			if k.decided && !k.wanted {
				return true
			}
		}
		return false
	}
	at := 0
	for _, t := range tags {
		if !hidden() {
			b.WriteString(layout[at:t.start])
		}
		at = t.end
		key, ours := strings.CutPrefix(t.path, "text.")
		whole := layout[t.start:t.end]
		switch t.kind {
		case valueTag:
			if ours {
				whole = e.text(key)
				if f == htmlFormat {
					whole = textEscaper.Replace(whole)
				}
			}
			if !hidden() {
				b.WriteString(whole)
			}
		case ifTag, unlessTag:
			if !ours && !hidden() {
				b.WriteString(whole)
			}
			blocks = append(blocks, block{decided: ours, wanted: (e.text(key) != "") == (t.kind == ifTag)})
		case elseTag:
			last := &blocks[len(blocks)-1]
			if !last.decided && !hidden() {
				b.WriteString(whole)
			}
			last.wanted = !last.wanted
		case closeTag:
			last := blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
			if !last.decided && !hidden() {
				b.WriteString(whole)
			}
		}
	}
	b.WriteString(layout[at:])
	return b.String(), nil
}

// textEscaper makes a sentence HTML. The quotes of font names stay, because the
// layout has all its attributes in double quotes.
var textEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;")
