package config

import (
	"encoding"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// curlyQuotes are made by word processors and chats, and mean nothing in JSON and YAML.
	curlyQuotes = "“”„‟«»‘’‚"
	straight    = "the curly quotes are part of this value; write straight ones, or none in YAML"
)

// inQuotes is a text in quotes.
var inQuotes = regexp.MustCompile(`(?s)^".*"$|^'.*'$`)

// isInvisible tells whether a character has no shape, such as the zero-width ones of web pages.
func isInvisible(r rune) bool { return unicode.IsSpace(r) || unicode.In(r, unicode.Cf) }

// curly tells whether a text stands in curly quotes.
func curly(text string) bool {
	last, size := utf8.DecodeLastRuneInString(text)
	return size < len(text) && strings.IndexAny(text, curlyQuotes) == 0 && strings.ContainsRune(curlyQuotes, last)
}

func (d *decoder) decodeText(n *node, target encoding.TextUnmarshaler, path string, t reflect.Type) {
	secret := formOf(t).secret
	n.public = n.public || !secret
	if !d.expand(n, path) {
		return
	}
	text, isText := n.scalar.(string)
	if !isText {
		d.wrongType(n, path, t)
		return
	}
	if secret {
		d.secrets = append(d.secrets, text)
		if text != strings.TrimFunc(text, isInvisible) && !strings.Contains(text, "-----BEGIN") {
			d.notice(n.from, path, "begins or ends with a blank, a line break or a character that nobody sees, which is part of it; remove it unless that is meant")
		}
		if inQuotes.MatchString(text) {
			d.notice(n.from, path, "has quotes around it, which are part of it, as docker run --env-file keeps them; remove them unless that is meant")
		}
	}
	if curly(text) {
		d.problem(n.from, path, straight)
		return
	}
	d.refused(target.UnmarshalText([]byte(text)), n, path, t)
}

var digits = regexp.MustCompile(`^[0-9]{1,9}$`)

// setScalar sets a text, a truth value or a number. What came out of ${…} is a
// text at first and may stand for the others, and so may digits in quotes, which
// nodemailer takes.
func setScalar(n *node, v reflect.Value) (fits bool) {
	value := reflect.ValueOf(n.scalar)
	text, isText := n.scalar.(string)
	if isText && v.Kind() != reflect.String && (n.reference != "" || v.CanInt() && digits.MatchString(text)) {
		value = reflect.ValueOf(scalarOf(text))
	}
	switch {
	case v.CanInt():
		fits = value.IsValid() && value.CanInt() && !v.OverflowInt(value.Int())
	case v.CanFloat():
		fits = value.IsValid() && (value.CanInt() || value.CanFloat())
	default:
		fits = value.Kind() == v.Kind()
	}
	if fits {
		v.Set(value.Convert(v.Type()))
	}
	return fits
}

// scalarOf reads a text as the file would be read where it stands without quotes.
func scalarOf(text string) any {
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
		return whole
	}
	if number, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(number) && !math.IsInf(number, 0) {
		return number
	}
	if text == "true" || text == "false" {
		return text == "true"
	}
	return text
}
