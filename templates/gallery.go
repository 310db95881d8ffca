package templates

import (
	"maps"
	"slices"
)

// Language is one of the catalogue's languages.
type Language struct {
	// Locale is its BCP 47 tag.
	Locale string
	// Name is the language's own name; the tag where the operator's templates are
	// all that there is of the language.
	Name string
	// Dir is "ltr" or "rtl".
	Dir string
}

// Languages returns all languages in the order of their tags.
func (c *Catalogue) Languages() []Language {
	l := c.current.Load()
	var languages []Language
	for _, locale := range slices.Sorted(maps.Keys(l.tongues)) {
		t := l.tongues[locale]
		name := t.texts["language"].text
		if name == "" {
			name = locale
		}
		languages = append(languages, Language{Locale: locale, Name: name, Dir: t.dir})
	}
	return languages
}

// Preview writes the mail that a reader of a language gets, on a sample payload.
// Where the operator's own language lacks the type, that is a mail in another
// one.
func (c *Catalogue) Preview(messageType, locale string, b Branding) (Mail, error) {
	return c.Render(Request{Type: messageType, Payload: c.Sample(messageType, locale), Branding: b})
}
