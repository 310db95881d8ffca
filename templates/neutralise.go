package templates

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"logto-email-relay/mail"
)

const (
	// maxNameRunes bounds what a person typed.
	maxNameRunes = 100
	// maxMarks bounds the marks on one letter; no writing system needs more.
	maxMarks = 4
)

// neutralise makes a text that a person typed, such as a name, harmless to the
// reader of a mail. Anyone can sign up under the name "Your account is locked,
// go to evil.com", and mail programs turn that into a link in a mail that readers
// trust. So
//
//   - line breaks, tabs and runs of blanks become one blank; controls, characters
//     without a shape, and those that turn the direction of the text disappear,
//     but for the joiners that Persian, Indic scripts and emoji need;
//   - whatever Gmail, Outlook or Apple Mail would make a link of is broken by
//     a blank: evil.com → "evil. com", a@b.c → "a @ b. c", mailto:x →
//     "mailto: x", localhost → "local host", while J.R. and 10:30 stay legible;
//     doubled slashes and backslashes become single; this holds for what Unicode
//     takes for the same too (NFKC), such as ㏂ for a.m.;
//   - what mail services fill in is broken by a blank as well: {{x}} → "{ { x}}";
//   - at most 100 characters are left, whole words and an ellipsis if any are lost.
//
// It is idempotent.
func neutralise(name string) string {
	if isHarmless(name) {
		return name
	}
	runes := clean(name)
	runes = breakLinks(runes)
	return string(truncate(runes))
}

// IsLinked tells whether mail programs would make a link of a text, or of a part of it.
func IsLinked(text string) bool {
	if isHarmless(text) || isGrouped(text) {
		return false
	}
	runes := clean(text)
	return !slices.Equal(breakLinks(slices.Clone(runes)), runes)
}

// isGrouped tells whether a text is a number in groups, such as 12.34.56. Four groups
// could be an address of the Internet.
func isGrouped(text string) bool {
	return strings.Trim(text, ".0123456789") == "" && strings.Count(text, ".") != 3
}

// isHarmless is the short way for the names that most people have: letters and
// digits with single blanks and dashes between them.
func isHarmless(name string) bool {
	if len(name) > maxNameRunes || len(name) >= len(localhost) && strings.Contains(strings.ToLower(name), localhost) {
		return false
	}
	blank := true
	for _, r := range name {
		switch {
		case r == ' ' && !blank:
			blank = true
		case (r == '-' || r == '_') && !blank:
		case isDigit(r), unicode.IsLetter(r) && !isFiller(r):
			blank = false
		default:
			return false
		}
	}
	return !blank && norm.NFKC.IsNormalString(name)
}

// maxCleanRunes is how much of a text is looked at. Whatever clean drops counts
// too, so that nobody pays for 60 KB of invisible characters.
const maxCleanRunes = 8 * maxNameRunes

// clean drops what cannot be seen, makes every kind of space a blank, and leaves
// blanks only between other characters.
func clean(name string) []rune {
	in := make([]rune, 0, min(len(name), maxCleanRunes))
	for _, r := range name {
		if len(in) >= maxCleanRunes {
			break
		}
		in = append(in, []rune(spelled(r))...)
	}
	out := in[:0]
	marks := 0
	for i, r := range in {
		var last, next rune = ' ', ' '
		if len(out) > 0 {
			last = out[len(out)-1]
		}
		if i+1 < len(in) {
			next = in[i+1]
		}
		switch {
		case unicode.IsSpace(r) || r == 0x2028 || r == 0x2029:
			marks = 0
			if last != ' ' {
				out = append(out, ' ')
			}
		case unicode.Is(unicode.M, r) && !isInvisible(r):
			if marks++; !unicode.IsPunct(last) && last != ' ' && !isDot(last) && marks <= maxMarks {
				out = append(out, r)
			}
		case isJoiner(r) && joins(last, r, next), isVariationSelector(r) && varies(last):
			out = append(out, r)
		case isInvisible(r):
		default:
			marks = 0
			out = append(out, r)
		}
	}
	return trimRight(out)
}

// spelled writes a character that stands for several with a dot or a colon among
// them as those; the ellipsis aside, which joins nothing.
func spelled(r rune) string {
	switch r {
	case 0x2025, 0xfe30:
		return ".."
	case 0xfe19:
		return "..."
	case 0x2a74:
		return "::="
	case 0x33c2:
		return "a.m."
	case 0x33c7:
		return "Co."
	case 0x33d8:
		return "p.m."
	}
	return string(r)
}

func trimRight(runes []rune) []rune {
	for len(runes) > 0 && (runes[len(runes)-1] == ' ' || isJoiner(runes[len(runes)-1])) {
		runes = runes[:len(runes)-1]
	}
	return runes
}

// IsShown tells whether a reader sees anything of a text.
func IsShown(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) && !isInvisible(r) })
}

// isInvisible tells whether a character has no shape of its own: controls,
// formatting characters, fillers, private use, and what is no character.
func isInvisible(r rune) bool {
	switch r {
	case 0x034f, 0x17b4, 0x17b5, 0x2065, 0x2800, utf8.RuneError:
		return true
	}
	return isFiller(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp) ||
		isVariationSelector(r) || 0xfff0 <= r && r <= 0xfff8 || 0xe0000 <= r && r <= 0xe0fff || r&0xfffe == 0xfffe
}

// isFiller knows the letters of Hangul that stand for no sound and have no shape.
func isFiller(r rune) bool { return r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0 }

func isJoiner(r rune) bool { return r == zeroWidthJoiner || r == zeroWidthNonJoiner }

const (
	zeroWidthNonJoiner = 0x200c
	zeroWidthJoiner    = 0x200d
)

// joins tells whether a joiner changes the shape of its neighbours: in the
// scripts that join letters, and between the parts of one emoji.
func joins(last, joiner, next rune) bool {
	if isJoining(last) && isJoining(next) && unicode.IsLetter(next) {
		return true
	}
	return joiner == zeroWidthJoiner && unicode.Is(unicode.So, next) && !isInvisible(next) &&
		(unicode.In(last, unicode.So, unicode.Sk) || last == emojiPresentation)
}

func isJoining(r rune) bool {
	return unicode.In(r, unicode.Arabic, unicode.Syriac, unicode.Mongolian, unicode.Nko, unicode.Devanagari, unicode.Bengali,
		unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil, unicode.Telugu, unicode.Kannada, unicode.Malayalam,
		unicode.Sinhala, unicode.Khmer, unicode.Myanmar) && (unicode.IsLetter(r) || unicode.Is(unicode.M, r))
}

const emojiPresentation = 0xfe0f

func isVariationSelector(r rune) bool {
	return 0xfe00 <= r && r <= 0xfe0f || 0xe0100 <= r && r <= 0xe01ef || 0x180b <= r && r <= 0x180f
}

// varies tells whether a character has variants: emoji and keycaps, and the Han
// characters of many Japanese family names.
func varies(r rune) bool {
	return unicode.In(r, unicode.So, unicode.Sk, unicode.Han) || '0' <= r && r <= '9' || r == '#' || r == '*'
}

// breakLinks puts blanks where a mail program would see an address. What joins the
// parts of one are dots, @, colons and slashes, in all the forms that IDNA and
// NFKC read as such.
func breakLinks(in []rune) []rune {
	out := make([]rune, 0, len(in)+8)
	for i, r := range in {
		var last, next rune = ' ', ' '
		if len(out) > 0 {
			last = out[len(out)-1]
		}
		if i+1 < len(in) {
			next = in[i+1]
		}
		if isFilledIn(last, r) {
			out, last = append(out, ' '), ' '
		}
		switch {
		case isSlash(r) && isSlash(last):
			// http:// and \\server
		case isAt(r):
			if last != ' ' {
				out = append(out, ' ')
			}
			if out = append(out, r); next != ' ' && last != ' ' {
				out = append(out, ' ')
			}
		case isDot(r) && continues(next) && !isDecimal(in, i), isColon(r) && opens(out, next):
			out = append(out, r, ' ')
		default:
			if out = append(out, r); endsInLocalhost(out) {
				out = slices.Insert(out, len(out)-len("host"), ' ')
			}
		}
	}
	return trimRight(out)
}

// isFilledIn tells whether these two begin what some service would replace in a mail
// that is written already, and not send it if it is no word of its template language:
// Brevo's {{x}} and {% x %} (https://developers.brevo.com/docs/send-a-transactional-email),
// Mandrill's *|x|*, Elastic Email's {x}, SendGrid's <%x%> and [%x%], Mailjet's [[x]].
func isFilledIn(last, r rune) bool {
	switch last {
	case '{':
		return r != ' '
	case '*':
		return r == '|'
	case '[', '<':
		return r == '%' || r == last
	}
	return false
}

// opens tells whether a colon behind these characters could be that of a scheme, of a
// port or of a network address: not in a time of day, and not before a blank, an
// ellipsis or a bracket that closes.
func opens(before []rune, next rune) bool {
	begin := len(before)
	for begin > 0 && isDigit(before[begin-1]) {
		begin--
	}
	switch hasDigits, inside := begin < len(before), begin > 0 && isColon(before[begin-1]); {
	case next == ' ' || next == '…' || unicode.Is(unicode.Pe, next):
		return false
	case hasDigits && isDigit(next):
		return inside // 1:2:3
	case isColon(next):
		return len(before) > 0 && !unicode.IsPunct(before[len(before)-1]) && before[len(before)-1] != ' '
	}
	return true
}

// localhost is a link to some programs, as no other name without a dot is.
const localhost = "localhost"

func endsInLocalhost(runes []rune) bool {
	if last := runes[len(runes)-1]; len(runes) < len(localhost) || last < utf8.RuneSelf && last|0x20 != 't' {
		return false
	}
	return strings.EqualFold(norm.NFKC.String(string(runes[len(runes)-len(localhost):])), localhost)
}

// continues tells whether an address could go on with this character: anything
// but a blank and punctuation, of which only dashes and low lines are part of
// names.
func continues(r rune) bool {
	return r != ' ' && (!unicode.IsPunct(r) || unicode.In(r, unicode.Pd, unicode.Pc) || r == '[' || r == '{' || r == '%')
}

// isDecimal tells whether the dot at i is that of a number such as 2.0, which
// stands alone and is neither a network address nor part of a longer name.
func isDecimal(in []rune, i int) bool {
	if in[i] != '.' {
		return false
	}
	begin, end := i, i+1
	for begin > 0 && isDigit(in[begin-1]) {
		begin--
	}
	for end < len(in) && isDigit(in[end]) {
		end++
	}
	return begin < i && (begin == 0 || in[begin-1] == ' ') && (end == len(in) || in[end] == ' ' || in[end] == '…')
}

// isDot knows the full stops that IDNA maps to a dot, those that NFKC does, and
// the digits and letters that have one built in.
func isDot(r rune) bool {
	switch r {
	case '.', 0x3002, 0xff0e, 0xff61, 0x2024, 0xfe52, 0xfe12, 0x06d4:
		return true
	}
	return 0x2488 <= r && r <= 0x249b || r == 0x1f100
}

func isColon(r rune) bool { return r == ':' || r == 0xff1a || r == 0xfe55 || r == 0xfe13 }

func isAt(r rune) bool { return r == '@' || r == 0xff20 || r == 0xfe6b }

func isSlash(r rune) bool {
	switch r {
	case '/', '\\', 0xff0f, 0xff3c, 0x2044, 0x2215, 0x29f8, 0x29f5, 0x29f9, 0xfe68, 0x2571, 0x2572:
		return true
	}
	return false
}

// maxLostRunes bounds the part of a word that is given up for a cut between words.
const maxLostRunes = 24

// truncate cuts at maxNameRunes, behind a word if there is one that ends shortly
// before, else between two characters as people see them.
func truncate(runes []rune) []rune {
	if len(runes) <= maxNameRunes {
		return runes
	}
	end := maxNameRunes - 1
	for end > 1 && isContinuation(runes, end) {
		end--
	}
	if last := lastBlank(runes[:end+1]); last > max(0, end-maxLostRunes) {
		end = last
	}
	kept := runes[:end:end]
	for len(kept) > 1 && (unicode.IsPunct(kept[len(kept)-1]) || len(trimRight(kept)) < len(kept)) {
		kept = kept[:len(kept)-1]
	}
	return append(kept, '…')
}

func lastBlank(runes []rune) int {
	for i := len(runes) - 1; i >= 0; i-- {
		if runes[i] == ' ' {
			return i
		}
	}
	return -1
}

// isContinuation tells whether the character at i belongs to the one before.
func isContinuation(runes []rune, i int) bool {
	r := runes[i]
	if unicode.Is(unicode.M, r) || isJoiner(r) || isJoiner(runes[i-1]) || isVariationSelector(r) || 0x1f3fb <= r && r <= 0x1f3ff {
		return true
	}
	if !isRegionalIndicator(r) {
		return false
	}
	before := 0
	for i-before > 0 && isRegionalIndicator(runes[i-before-1]) {
		before++
	}
	return before%2 == 1
}

// isRegionalIndicator tells whether two of its kind make a flag.
func isRegionalIndicator(r rune) bool { return 0x1f1e6 <= r && r <= 0x1f1ff }

// isPlainMailbox tells whether a text is one mail address of the usual form and
// nothing else.
func isPlainMailbox(text string) bool {
	_, refused := mail.ParseRecipient(text)
	path, ascii, _ := mail.Path(text)
	return refused == nil && ascii && path == text && text[0] != '"'
}

// hostInMailbox finds what mail programs take for a host in the part before the @, with
// a character behind it that ends a host: evil.com/x@acme.example leads to evil.com.
var hostInMailbox = regexp.MustCompile(`(?i)(?:localhost|\.(?:[^.]{2,}|[0-9]))[^a-z0-9.+=&$_-]`)

// isShownMailbox tells whether a text is a plain mail address of which mail programs
// make no other link than that of a mail, and services nothing at all.
func isShownMailbox(text string) bool {
	local, _, _ := strings.Cut(text, "@")
	return isPlainMailbox(text) && !hostInMailbox.MatchString(local) && !strings.ContainsAny(local, "{*")
}

// Mailbox returns an address that somebody typed as a mail may show it.
func Mailbox(address string) string {
	if isShownMailbox(address) {
		return address
	}
	return neutralise(address)
}
