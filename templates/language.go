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
	names    []string
	tags     []language.Tag
	exact    map[string]string
	matcher  language.Matcher
	fallback string
}

// addChoosers makes the chooser of all languages and that of every type. Types
// that have all languages share it.
func (l *collection) addChoosers(defaultLocale string) error {
	l.choosers = make(map[string]*chooser)
	all := slices.Sorted(maps.Keys(l.tongues))
	whole, err := newChooser(all, l.tongues, defaultLocale)
	if err != nil {
		return err
	}
	l.anyType = whole
	for _, messageType := range messageTypes() {
		served := slices.DeleteFunc(slices.Clone(all), func(name string) bool {
			return l.tongues[name].texts == nil && l.own[mailKey{messageType, name}] == nil && l.own[mailKey{generic, name}] == nil
		})
		if len(served) == len(all) {
			l.choosers[messageType] = whole
			continue
		}
		if l.choosers[messageType], err = newChooser(served, l.tongues, defaultLocale); err != nil {
			// The default language lacks this type.
			if l.choosers[messageType], err = newChooser(served, l.tongues, english); err != nil {
				return err
			}
		}
	}
	return nil
}

func newChooser(names []string, tongues map[string]*tongue, defaultLocale string) (*chooser, error) {
	c := &chooser{names: names, exact: make(map[string]string)}
	for _, name := range names {
		c.tags = append(c.tags, tongues[name].tag)
		c.exact[name] = name
		c.exact[strings.ToLower(name)] = name
	}
	c.matcher = language.NewMatcher(c.tags)
	wanted := readTag(defaultLocale)
	found, ok := c.match([]language.Tag{wanted}, language.High)
	if !ok {
		return nil, fmt.Errorf("templates.defaultLocale: there are no templates in %q; there are %s",
			defaultLocale, strings.Join(names, ", "))
	}
	c.fallback = found
	return c, nil
}

// choose takes the first of the reader's languages that there is, in any of its
// regions; then the first that has a language near enough to be understood, as
// CLDR sees it; then the default.
func (c *chooser) choose(payload map[string]any) string {
	locale, _ := payload["locale"].(string)
	if name, ok := c.exact[locale]; ok {
		return name
	}
	var wanted []language.Tag
	if tag := readTag(locale); tag != language.Und {
		wanted = append(wanted, tag)
	}
	if uiLocales, _ := payload["uiLocales"].(string); uiLocales != "" {
		words := strings.FieldsFunc(uiLocales[:min(len(uiLocales), maxLocaleText)],
			func(r rune) bool { return r <= ' ' || r == ',' || r == ';' })
		for _, word := range words[:min(len(words), maxUILocales)] {
			if tag := readTag(word); tag != language.Und {
				wanted = append(wanted, tag)
			}
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
