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
	// unbroken are the words that browsers would break: "e-mail" and "sign-in" at
	// the hyphen, and in scripts without blanks anywhere.
	unbroken = regexp.MustCompile(`[\pL\pN]+-\pL+|サインイン|เพิกเฉย`)
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
// character, so what readers copy stays the same.
func keepWhole(text string) string {
	return unbroken.ReplaceAllString(text, `<span style="white-space:nowrap">$0</span>`)
}

// digits writes a number as readers of a language do.
func (t *translation) digits(number string) string {
	if base, _ := t.tag.Base(); base.String() != "fa" {
		return number
	}
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r - '0' + '۰'
		}
		return r
	}, number)
}
