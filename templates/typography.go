package templates

import (
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

const noBreakSpace = "\u00a0"

var (
	// Words that must not end a line: a number always, a preposition or a conjunction
	// of one letter in some languages, and in headings the short words of all.
	number     = word(`\pN+`)
	loneLetter = word(`\pN+|\pL`)
	shortWord  = word(`\pN+|\pL{1,2}`)
	// hyphenated are words such as "e-mail" and "sign-in", that browsers would break
	// at the hyphen. Thai words, and Chinese and Japanese ones in headings, break
	// anywhere.
	hyphenated = regexp.MustCompile(`[\pL\pN]+-\pL+|เพิกเฉย|เข้าใช้งาน|ก็ต่อเมื่อ`)
	inHeadings = regexp.MustCompile(`[\pL\pN]+-\pL+|サインイン|電子郵件|เข้าร่วม|เข้าสู่ระบบ|ขั้นตอนเดียว`)
)

// word finds words with a blank behind them, but nothing of a tag: neither {{#if
// nor a name that has blanks around it.
func word(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`(^|[^\pL\pM\pN\x{200c}'’.#-])(` + pattern + `) ([^}])`)
}

// typeset puts the blanks at which no line may break into a sentence.
func typeset(tag language.Tag, sentence string, isHeading bool) string {
	sentence = strings.ReplaceAll(sentence, "{{codeLifetime}} ", "{{codeLifetime}}"+noBreakSpace)
	words := number
	switch base, _ := tag.Base(); {
	case base.String() == "ko": // in which two letters may be a noun
		words = loneLetter
	case isHeading:
		words = shortWord
	case slices.Contains([]string{"cs", "pl", "ru", "uk"}, base.String()):
		words = loneLetter
	}
	// Twice, since of two such words in a row the first match takes the blank.
	for range 2 {
		sentence = words.ReplaceAllString(sentence, "$1$2"+noBreakSpace+"$3")
	}
	return sentence
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
