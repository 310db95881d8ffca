package templates

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"

	"logto-email-relay/settings"
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

// translation is a language with what the relay can say in it.
type translation struct {
	Language
	tag language.Tag
	// base is the tag without script and region.
	base string
	// texts are nil for a language that only has whole templates of the operator's.
	texts texts
	// months are the names of the months, as they stand in a date.
	months []string
	// source is where the texts come from.
	source string
}

func newTranslation(locale string, tag language.Tag, sentences texts, source string) *translation {
	for key, s := range sentences {
		if strings.Contains(key, ".") && !strings.HasPrefix(key, "failures.") {
			s.text = typeset(tag, s.text, strings.HasSuffix(key, ".heading"))
			sentences[key] = s
		}
	}
	base, _ := tag.Base()
	t := &translation{Language: Language{locale, sentences["language"].text, sentences["dir"].text}, tag: tag, base: base.String(),
		texts: sentences, months: strings.Fields(sentences["months"].text), source: source}
	if t.Name == "" {
		t.Name = locale
	}
	if t.Dir == "" {
		t.Dir = direction(tag)
	}
	return t
}

// texts are the sentences of one language, by dotted key: "shared.footer",
// "types.SignIn.subject", "validity.one", "failures.timeout".
type texts map[string]sentence

// sentence is one text and where it was written.
type sentence struct {
	text         string
	line, column int
}

// maxTextsDepth is the depth of the deepest key, types.SignIn.subject.
const maxTextsDepth = 3

// readTexts reads a language's JSON file. It is a tree of objects whose leaves
// are texts; the same key twice is a mistake.
func readTexts(file, content string) (texts, error) {
	s := &source{file: file, text: content}
	decoder := json.NewDecoder(strings.NewReader(content))
	found := texts{}
	if err := s.readTree(decoder, nil, found); err != nil {
		s.fault(min(int(decoder.InputOffset()), len(content)), "%s", jsonReason(err))
	} else if _, err := decoder.Token(); err != io.EOF {
		s.fault(min(int(decoder.InputOffset()), len(content)), "something stands behind the closing brace: remove it")
	}
	return found, s.err()
}

func jsonReason(err error) string {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return "not JSON: " + syntax.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "not JSON: the file ends too early"
	}
	return err.Error()
}

var errNotTexts = errors.New(`write texts in objects, such as {"shared": {"footer": "…"}}`)

// readTree reads one value, to which a path of names leads from the root.
func (s *source) readTree(decoder *json.Decoder, path []string, into texts) error {
	behind := int(decoder.InputOffset())
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if text, ok := token.(string); ok && len(path) > 0 {
		begin := s.errorAt(behind+strings.IndexByte(s.text[behind:], '"'), "")
		into[strings.Join(path, ".")] = sentence{text: text, line: begin.Line, column: begin.Column}
		return nil
	}
	if token != json.Delim('{') || len(path) == maxTextsDepth {
		return errNotTexts
	}
	seen := make(map[string]bool)
	for decoder.More() {
		if token, err = decoder.Token(); err != nil {
			return err
		}
		name, _ := token.(string) // the decoder takes nothing else here
		inner := append(path, name)
		if seen[name] {
			s.fault(int(decoder.InputOffset())-1, "%s is written twice", strings.Join(inner, "."))
		}
		seen[name] = true
		if err := s.readTree(decoder, inner, into); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

// of returns the text that a layout knows as {{text.KEY}}: the type's own, else
// the shared one.
func (t texts) of(messageType, key string) string {
	if own, ok := t["types."+messageType+"."+key]; ok {
		return own.text
	}
	return t["shared."+key].text
}

// overlay returns the texts with those of another laid over them.
func (t texts) overlay(over texts) texts {
	merged := make(texts, len(over))
	maps.Copy(merged, t)
	maps.Copy(merged, over)
	return merged
}

// The keys whose texts have a form for each plural of the language. Those of
// failures, and didYouMean, say more than the sentence that stands for them where a
// language lacks them.
const (
	validity    = "validity."
	waitMinutes = "failures.wait_minutes."
	waitHours   = "failures.wait_hours."
	didYouMean  = "failures.did_you_mean"
)

// plural returns the text of such a key that fits a number in a language; empty if
// there is none.
func (t texts) plural(key string, tag language.Tag, n int) string {
	form := plural.Cardinal.MatchPlural(tag, n, 0, 0, 0, 0)
	if own, ok := t[key+pluralNames()[form]]; ok {
		return own.text
	}
	return t[key+"other"].text
}

// hasPlurals tells whether a text is one of several forms.
func hasPlurals(key string) bool {
	return strings.HasPrefix(key, validity) || strings.HasPrefix(key, waitMinutes) || strings.HasPrefix(key, waitHours)
}

// failurePlaceholder is the only one that a text about a failure may have; most have
// none.
func failurePlaceholder(key string) string {
	switch {
	case hasPlurals(key):
		return "{{count}}"
	case key == didYouMean:
		return "{{domain}}"
	}
	return ""
}

// pluralNames are the forms that a language may have a sentence for.
func pluralNames() [6]string {
	return [...]string{plural.Other: "other", plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many"}
}

// check notes every mistake in the texts of an operator's file: keys that the
// original does not have, and placeholders that no mail of the type fills.
func (t texts) check(file string, original texts, v vocabulary) error {
	known := slices.Sorted(maps.Keys(original))
	for _, form := range pluralNames() {
		known = append(known, validity+form, waitMinutes+form, waitHours+form)
	}
	var faults []error
	for _, key := range slices.Sorted(maps.Keys(t)) {
		s := t[key]
		fault := func(format string, arguments ...any) {
			faults = append(faults, &Error{File: file, Line: s.line, Column: s.column, Text: key + ": " + fmt.Sprintf(format, arguments...)})
		}
		messageType, name := typeOfKey(key)
		switch {
		case key == "dir" && s.text != "ltr" && s.text != "rtl":
			fault(`write "ltr" or "rtl"`)
		case key == "months" && len(strings.Fields(s.text)) != monthsOfAYear:
			fault("write the names of the twelve months with blanks between them")
		case key == "time" && strings.ContainsAny(momentParts.Replace(s.text), "{}"):
			fault("in braces write {year}, {month}, {day}, {time} or {zone}")
		case slices.Contains(known, key), messageType != "" && original.has(name):
		default:
			if near := settings.Nearest(key, known); near != "" {
				fault("there is no such text; did you mean %s?", near)
			} else {
				fault("there is no such text")
			}
			continue
		}
		if strings.ContainsAny(s.text, "\r\n\x00") {
			fault("write it as one line")
		}
		if name == "subject" && strings.TrimSpace(s.text) == "" {
			fault("write a subject: services refuse mails without one")
		}
		if strings.HasPrefix(key, "failures.") || !strings.Contains(key, ".") {
			allowed := failurePlaceholder(key)
			switch rest := strings.ReplaceAll(s.text, allowed, ""); {
			case !strings.Contains(rest, "{{"):
			case allowed == "":
				fault("this text is shown as it is: remove the placeholder")
			default:
				fault("the only placeholder here is %s", allowed)
			}
			continue
		}
		v.messageType = messageType
		if messageType == "" {
			v.messageType = generic // a shared text may stand in any mail
		}
		var inText *Error
		if _, err := compile(&source{file: file, text: s.text}, textFormat, v); errors.As(err, &inText) {
			fault("character %d: %s", inText.Column, inText.Text)
		}
	}
	return joined(faults)
}

// typeOfKey splits types.SignIn.subject.
func typeOfKey(key string) (messageType, name string) {
	parts := strings.Split(key, ".")
	if len(parts) == 3 && parts[0] == "types" && slices.Contains(Types(), parts[1]) {
		return parts[1], parts[2]
	}
	return "", ""
}

// has tells whether some mail has a text of this name.
func (t texts) has(name string) bool {
	if _, shared := t["shared."+name]; shared {
		return true
	}
	return slices.ContainsFunc(Types(), func(messageType string) bool {
		_, own := t["types."+messageType+"."+name]
		return own
	})
}

// missing lists what a language of the operator's own still lacks.
func (t texts) missing(original texts) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(original)) {
		if _, written := t[key]; !written && !hasPlurals(key) && key != didYouMean {
			keys = append(keys, key)
		}
	}
	if _, written := t[validity+"other"]; !written {
		keys = append(keys, validity+"other")
	}
	return keys
}
