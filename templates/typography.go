package templates

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
)

const noBreakSpace = "\u00a0"

var (
	// hyphenated are words such as "e-mail" and "sign-in", that browsers would break
	// at the hyphen. Thai words, and Chinese and Japanese ones in headings, break
	// anywhere.
	hyphenated = regexp.MustCompile(`[\pL\pN]+-\pL+|เพิกเฉย|เข้าใช้งาน|ก็ต่อเมื่อ`)
	inHeadings = regexp.MustCompile(`[\pL\pN]+-\pL+|サインイン|電子郵件|เข้าร่วม|เข้าสู่ระบบ|ขั้นตอนเดียว`)
)

// typeset puts the blanks at which no line may break into a sentence: behind a number,
// behind a preposition or a conjunction of one letter in some languages, and in headings
// behind the short words of all.
func typeset(tag language.Tag, sentence string, isHeading bool) string {
	sentence = strings.ReplaceAll(sentence, "{{codeLifetime}} ", "{{codeLifetime}}"+noBreakSpace)
	letters := 0
	switch base, _ := tag.Base(); {
	case base.String() == "ko": // in which two letters may be a noun
		letters = 1
	case isHeading:
		letters = 2
	case slices.Contains([]string{"cs", "pl", "ru", "uk"}, base.String()):
		letters = 1
	}
	parts := strings.Split(sentence, " ")
	var b strings.Builder
	b.WriteString(parts[0])
	for i, next := range parts[1:] {
		blank := " "
		if endsInShortWord(parts[i], letters) && next != "" && next[0] != '}' {
			blank = noBreakSpace
		}
		b.WriteString(blank + next)
	}
	return b.String()
}

// endsInShortWord tells whether a text ends in a number, or in a word of at most so many
// letters. The end of a longer word is none, nor is a piece of a tag such as {{#if.
func endsInShortWord(text string, letters int) bool {
	before := strings.TrimRightFunc(text, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	word := text[len(before):]
	last, _ := utf8.DecodeLastRuneInString(before)
	switch {
	case word == "" || unicode.IsMark(last) || strings.ContainsRune("\u200c'’.#-", last):
		return false
	case !strings.ContainsFunc(word, unicode.IsLetter):
		return true
	}
	return !strings.ContainsFunc(word, unicode.IsNumber) && utf8.RuneCountInString(word) <= letters
}

// keepWhole marks the words of HTML text that no line may break in. It adds no
// character, so what readers copy stays the same. Marks inside of every sentence
// of Japanese or Thai would look to spam filters as if it hid something.
func keepWhole(text string, isHeading bool) string {
	words := hyphenated
	if isHeading {
		words = inHeadings
	}
	return words.ReplaceAllString(text, `<span style="white-space:nowrap">$0</span>`)
}

// digits writes a number as readers of a language do.
func (t *translation) digits(number string) string {
	if t.base != "fa" {
		return number
	}
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r - '0' + '۰'
		}
		return r
	}, number)
}
