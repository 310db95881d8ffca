package templates

import (
	"strings"
	"unicode"
)

const longestName = 64 // characters

// neutralise makes a text that a stranger typed harmless to show: one line of at
// most 64 characters, without controls and invisible format characters, and
// without anything that a mail client would turn into a link.
func neutralise(text string) string {
	var b strings.Builder
	count, space := 0, false
	for _, r := range text {
		switch {
		case r == '.' || r == '@' || r == ':' || r == '/' || r == '\\' || r == '。' || r == '．' || r == '｡' || r == '․':
			space = b.Len() > 0
			continue
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case r == '\u200c' || r == '\u200d':
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			continue
		}
		if count >= longestName {
			break
		}
		if space {
			b.WriteByte(' ')
			count++
			space = false
		}
		b.WriteRune(r)
		count++
	}
	return b.String()
}
