package templates

import (
	"regexp"
	"strings"

	"golang.org/x/text/language"
)

const noBreakSpace = "\u00a0"

var (
	// loneLetter is a preposition or a conjunction of one letter, such as the Czech
	// "v" and the Russian "и". It must not end a line.
	loneLetter = regexp.MustCompile(`(^|[^\pL\pN'’.-])(\pL) `)
	// hyphenated are words such as "e-mail" and "sign-in", that browsers would break
	// at the hyphen. Thai words, and Japanese ones in headings, break anywhere.
	hyphenated = regexp.MustCompile(`[\pL\pN]+-\pL+|เพิกเฉย`)
	inHeadings = regexp.MustCompile(`[\pL\pN]+-\pL+|サインイン`)
)

// typeset puts the blanks at which no line may break into a sentence.
func typeset(tag language.Tag, sentence string) string {
	sentence = strings.ReplaceAll(sentence, "{{codeLifetime}} ", "{{codeLifetime}}"+noBreakSpace)
	switch base, _ := tag.Base(); base.String() {
	case "cs", "pl", "ru", "uk":
		// Twice, since of two such words in a row the first match takes the blank.
		for range 2 {
			sentence = loneLetter.ReplaceAllString(sentence, "$1$2"+noBreakSpace)
		}
	}
	return sentence
}

// keepWhole marks the words of HTML text that no line may break in. It adds no
// character, so what readers copy stays the same. Marks inside of every sentence
// of Japanese would look to spam filters as if it hid something.
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
