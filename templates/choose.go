package templates

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// Bounds of what is read of a reader's languages: Logto passes on whatever
// stands in the address of the sign-in page.
const (
	maxTagBytes   = 64
	maxUILocales  = 10
	maxLocaleText = 512
)

// chooser finds the language for a reader among those that have a template.
type chooser struct {
	names   []string
	tags    []language.Tag
	exact   map[string]string
	matcher language.Matcher
	// fallback is for readers none of whose languages there is.
	fallback string
}

func newChooser(translations map[string]*translation) *chooser {
	c := &chooser{names: slices.Sorted(maps.Keys(translations)), exact: make(map[string]string)}
	for _, name := range c.names {
		c.tags = append(c.tags, translations[name].tag)
		c.exact[name] = name
		c.exact[strings.ToLower(name)] = name
	}
	c.matcher = language.NewMatcher(c.tags)
	return c
}

// withDefault returns a copy that falls back to a language of its own, and whether
// there is one for that.
func (c chooser) withDefault(locale string) (*chooser, bool) {
	var found bool
	c.fallback, found = c.match([]language.Tag{readTag(locale)}, language.High)
	return &c, found
}

// addChoosers makes the chooser of all languages that mails are written in and that of
// every type. Types that have all of them share it.
func (c *Catalogue) addChoosers(o *originals) error {
	offered, err := c.offered()
	if err != nil {
		return err
	}
	all := o.chooser
	if len(c.settings.Locales) > 0 || len(offered) > len(o.translations) {
		all = newChooser(offered)
	}
	var found bool
	if c.anyType, found = all.withDefault(c.settings.DefaultLocale); !found {
		reason := "there are no templates in %q; there are %s"
		if len(c.settings.Locales) > 0 {
			reason = "%q is none of templates.locales; add it to them, or write one of %s"
		}
		return fmt.Errorf("templates.defaultLocale: "+reason, c.settings.DefaultLocale, strings.Join(all.names, ", "))
	}
	c.choosers = make(map[string]*chooser)
	for _, messageType := range Types() {
		served := maps.Clone(offered)
		maps.DeleteFunc(served, func(name string, t *translation) bool {
			return t.texts == nil && c.own[mailKey{messageType, name}] == nil && c.own[mailKey{generic, name}] == nil
		})
		if len(served) == len(offered) {
			c.choosers[messageType] = c.anyType
			continue
		}
		some := newChooser(served)
		if c.choosers[messageType], found = some.withDefault(c.settings.DefaultLocale); !found {
			// The default language lacks this type. English never does.
			served[english] = c.translations[english]
			c.choosers[messageType], _ = newChooser(served).withDefault(english)
		}
	}
	return nil
}

// offered are the languages that mails are written in: all that there are, or those
// that the operator wants.
func (c *Catalogue) offered() (map[string]*translation, error) {
	written := maps.Clone(c.translations)
	maps.DeleteFunc(written, func(name string, t *translation) bool { // such as an empty folder
		return t.texts == nil && !slices.ContainsFunc(Types(), func(messageType string) bool { return c.own[mailKey{messageType, name}] != nil })
	})
	if len(c.settings.Locales) == 0 {
		return written, nil
	}
	offered := make(map[string]*translation)
	var faults []error
	for _, wanted := range c.settings.Locales {
		found := false
		for name, t := range written {
			if readTag(wanted) != language.Und && MatchLocale(wanted, name) {
				offered[name], found = t, true
			}
		}
		if !found {
			faults = append(faults, fmt.Errorf("templates.locales: there are no templates in %q; there are %s",
				wanted, strings.Join(slices.Sorted(maps.Keys(written)), ", ")))
		}
	}
	return offered, joined(faults)
}

// choose takes the first of the reader's languages that there is, in any of its
// regions; then the first that has a language near enough to be understood, as
// CLDR sees it; then the default.
func (c *chooser) choose(locale, uiLocales string) string {
	if name, ok := c.exact[locale]; ok {
		return name
	}
	var wanted []language.Tag
	if tag := readTag(locale); tag != language.Und {
		wanted = append(wanted, tag)
	}
	words := strings.FieldsFunc(uiLocales[:min(len(uiLocales), maxLocaleText)],
		func(r rune) bool { return r <= ' ' || r == ',' || r == ';' })
	for _, word := range words[:min(len(words), maxUILocales)] {
		if tag := readTag(word); tag != language.Und {
			wanted = append(wanted, tag)
		}
	}
	if name, ok := c.match(wanted, language.High); ok {
		return name
	}
	if name, ok := c.match(wanted, language.No); ok {
		return name
	}
	return c.fallback
}

// match returns the first that fits. Asked for high confidence it stays within
// the language; CLDR is highly confident too that readers of Basque know Spanish.
func (c *chooser) match(wanted []language.Tag, least language.Confidence) (string, bool) {
	for _, tag := range wanted {
		_, i, confidence := c.matcher.Match(tag)
		if confidence == language.No {
			continue
		}
		if least == language.High {
			base, _ := tag.Base()
			if found, _ := c.tags[i].Base(); confidence < language.High || found != base {
				continue
			}
		}
		return c.names[i], true
	}
	return "", false
}

// MatchLocale tells whether a language is meant by a tag of the configuration. It lets "pt"
// stand for pt-BR and pt-PT, and "zh-Hant" for zh-TW.
func MatchLocale(wanted, actual string) bool {
	if strings.EqualFold(wanted, actual) {
		return true
	}
	want, err := language.Parse(wanted)
	if err != nil {
		return false
	}
	is, err := language.Parse(actual)
	if err != nil {
		return false
	}
	wantBase, _ := want.Base()
	isBase, _ := is.Base()
	if wantBase != isBase {
		return false
	}
	if script, confidence := want.Script(); confidence == language.Exact {
		if isScript, _ := is.Script(); isScript != script {
			return false
		}
	}
	if region, confidence := want.Region(); confidence == language.Exact {
		isRegion, _ := is.Region()
		return isRegion == region
	}
	return true
}

// readTag reads one language tag as people write it, with dashes or underscores,
// perhaps with a POSIX character set behind it. What is no language is Und.
func readTag(text string) language.Tag {
	if i := strings.IndexAny(text, ".@"); i >= 0 {
		text = text[:i]
	}
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxTagBytes {
		return language.Und
	}
	tag, _ := language.Parse(text) // on an error, what could be read of it
	if base, _, _ := tag.Raw(); base.String() == "und" {
		return language.Und
	}
	return tag
}

// sameLanguage is equal for tags that mean the same readers: fa and fa-IR, pt
// and pt-BR, zh-Hant and zh-TW.
func sameLanguage(tag language.Tag) string {
	if len(tag.Variants()) > 0 || len(tag.Extensions()) > 0 {
		return tag.String()
	}
	base, _ := tag.Base()
	script, _ := tag.Script()
	region, _ := tag.Region()
	return base.String() + "-" + script.String() + "-" + region.String()
}

// direction tells how a language is written.
func direction(tag language.Tag) string {
	script, _ := tag.Script()
	switch script.String() {
	case "Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm", "Rohg", "Mand", "Samr":
		return "rtl"
	}
	return "ltr"
}
