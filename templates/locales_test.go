package templates

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/feature/plural"
)

// names returns what a sentence's placeholders and blocks are about, sorted.
func names(sentence string) []string {
	var found []string
	for _, t := range (&source{text: sentence}).scan() {
		if t.kind != elseTag && t.kind != closeTag {
			found = append(found, t.path)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Every language of Logto's sign-in page has every text that English has, with
// the same placeholders, in its own words and with the plural forms that it has
// for the minutes of an hour and a day.
func TestLocalesAreComplete(t *testing.T) {
	c, err := Open(DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	languages := c.translations
	original := languages[english].texts
	for _, locale := range logtoLocales() {
		l, ok := languages[locale]
		if !ok {
			t.Errorf("there are no texts in %s", locale)
			continue
		}
		if err := l.texts.check(locale+".json", original, c.settings.vocabulary("")); err != nil {
			t.Error(err)
		}
		if lacks := l.texts.missing(original); len(lacks) > 0 {
			t.Errorf("%s lacks %s", locale, strings.Join(lacks, ", "))
		}
		needed := map[string]bool{"other": true}
		for minutes := 1; minutes <= 24*60; minutes++ {
			needed[pluralNames()[plural.Cardinal.MatchPlural(l.tag, minutes, 0, 0, 0, 0)]] = true
		}
		for form := range needed {
			for _, key := range []string{validity, waitMinutes, waitHours} {
				if l.texts[key+form].text == "" {
					t.Errorf("%s lacks %s%s", locale, key, form)
				}
			}
		}
		if l.texts[didYouMean].text == "" {
			t.Errorf("%s lacks %s", locale, didYouMean)
		}
		for key, s := range l.texts {
			english, known := original[key]
			switch {
			case !known && !hasPlurals(key):
				t.Errorf("%s has %s, which English does not have", locale, key)
			case strings.TrimSpace(s.text) != s.text || s.text == "":
				t.Errorf("%s: %s is empty or has blanks around it: %q", locale, key, s.text)
			case locale != "en" && s.text == english.text && key != "dir" && key != "fonts" && key != "time":
				t.Errorf("%s: %s is English: %s", locale, key, s.text)
			}
			if hasPlurals(key) {
				number := "count"
				if strings.HasPrefix(key, validity) {
					number = "codeLifetime"
				}
				if got := names(s.text); len(got) > 1 || len(got) == 1 && got[0] != number {
					t.Errorf("%s: %s has the placeholders %v", locale, key, got)
				}
			} else if got, want := names(s.text), names(english.text); !slices.Equal(got, want) {
				t.Errorf("%s: %s has the placeholders %v, English has %v", locale, key, got, want)
			}
		}
	}
	for name := range languages {
		if !slices.Contains(logtoLocales(), name) {
			t.Errorf("%s is none of Logto's languages", name)
		}
	}
}
