package templates

import (
	"html"
	"slices"
	"strings"

	"logto-email-relay/mail"
)

// format says what a source is written for.
type format uint8

const (
	htmlFormat  format = iota
	textFormat         // a text part
	titleFormat        // the inside of an HTML <title>, for use as a subject
)

// vocabulary are the names that a template may use, and the URL schemes that
// its author may put before a placeholder.
type vocabulary struct {
	messageType string
	variables   []string
	schemes     []string
	// anyName lets templates use names that no message has; they print as
	// nothing.
	anyName bool
}

// program is a compiled template: steps from first to last.
type program struct {
	steps []step
	// pieces is how many pieces it makes at most, and own a guess at the bytes of
	// those that are not shared.
	pieces, own int
	// relies are the places where it prints a name whose root no block around
	// asks for, the first one of each root, with the name for a text.
	relies []*Error
	// unknown are the fields that Logto does not send, where they are no mistakes.
	unknown []*Error
}

const (
	// valueSize is a guess at the bytes of a value.
	valueSize = 24
	// shortLiteral is how long a literal of HTML may be, in bytes, that is copied
	// into a mail's own pieces: another piece takes more time and memory.
	shortLiteral = 32
)

// action says what a step does.
type action uint8

const (
	writeLiteral action = iota
	writeValue
	skipUnless // go to step `to` unless the value is true
	skipIf     // go to step `to` if the value is true
	skip       // go to step `to`
)

// escaping says how a value is made harmless at its place.
type escaping uint8

const (
	plain      escaping = iota // a line of text
	escaped                    // HTML text and attribute values
	wholeURL                   // a URL, if it may become a link
	shownURL                   // the same in a text
	wholeImage                 // an https URL
	partOfURL                  // percent-encoded
	mailboxURL                 // percent-encoded, with the @ kept for mailto:
	color                      // #rrggbb or nothing
)

type step struct {
	action   action
	escaping escaping
	// inComment also keeps dashes from closing a comment.
	inComment bool
	// isolated tells that the value is read as part of a sentence, whose direction
	// it must not change.
	isolated bool
	// ends tells that the sentence ends behind the value. That of "Acme Inc." has one
	// full stop all the same.
	ends    bool
	literal mail.Part
	path    path
	to      int
}

// compile turns a source into a program, or says everything that is wrong with it.
func compile(s *source, f format, v vocabulary) (*program, error) {
	tags := s.scan()
	if len(s.faults) > 0 {
		return nil, s.err()
	}
	var places []place
	switch {
	case f == htmlFormat:
		places = s.places(tags)
	case s.addresses != nil:
		places = s.placesInAddresses(tags)
	}
	c := compiler{source: s, vocabulary: v, format: f, tags: tags, places: places, program: &program{}}
	c.run()
	if err := s.err(); err != nil {
		return nil, err
	}
	c.program.measure()
	return c.program, nil
}

// measure finds out how much the program makes at most, on the longest way
// through its blocks.
func (p *program) measure() {
	// Pieces from each step to the end, after a shared one and after one of the
	// mail's own, which the next own text only makes longer; and own bytes.
	type most struct{ afterShared, afterOwn, own int }
	from := make([]most, len(p.steps)+1)
	for i := len(p.steps) - 1; i >= 0; i-- {
		next := from[i+1]
		switch s := &p.steps[i]; {
		case s.literal.IsShared():
			next.afterShared++
			next.afterOwn = next.afterShared
		case s.action == writeLiteral, s.action == writeValue:
			next.afterShared = next.afterOwn + 1
			next.own += max(valueSize, len(s.literal.String()))
		case s.action == skip:
			next = from[s.to]
		default: // a block
			other := from[s.to]
			next = most{max(next.afterShared, other.afterShared), max(next.afterOwn, other.afterOwn), max(next.own, other.own)}
		}
		from[i] = next
	}
	// No mail takes every block, and most values are shorter than the guess.
	p.pieces, p.own = from[0].afterShared, from[0].own*2/3
}

// printsCode tells whether the code can be seen in what the program makes.
func (p *program) printsCode() bool {
	return slices.ContainsFunc(p.steps, func(s step) bool {
		return s.action == writeValue && !s.inComment && len(s.path.keys) == 1 && s.path.keys[0].name == "code"
	})
}

type compiler struct {
	*source
	vocabulary
	format  format
	tags    []tag
	places  []place
	program *program
	url     urlTracker
	// patches are, for every open block, the step whose target is not known yet.
	patches []int
	// asked are the roots that the open blocks ask for.
	asked []string
}

func (c *compiler) run() {
	at := 0
	for i, t := range c.tags {
		c.literal(at, t.start)
		at = t.end
		var here place
		if c.places != nil {
			here = c.places[i]
			c.followURL(i, here)
		}
		switch t.kind {
		case valueTag:
			p := c.resolve(t)
			c.rely(t)
			isRead := c.format != htmlFormat || here.kind == textPlace || here.kind == prosePlace
			c.program.steps = append(c.program.steps, step{action: writeValue, path: p, escaping: c.escapingAt(t, here),
				inComment: here.inComment, isolated: isRead && p.isName()})
		case ifTag, unlessTag:
			jump := skipUnless
			if t.kind == unlessTag {
				jump = skipIf
			}
			c.patches = append(c.patches, len(c.program.steps))
			c.asked = append(c.asked, rootOf(t.path))
			c.program.steps = append(c.program.steps, step{action: jump, path: c.resolve(t)})
		case elseTag:
			opener := len(c.patches) - 1
			c.program.steps = append(c.program.steps, step{action: skip})
			c.program.steps[c.patches[opener]].to = len(c.program.steps)
			c.patches[opener] = len(c.program.steps) - 1
		case closeTag:
			last := len(c.patches) - 1
			c.program.steps[c.patches[last]].to = len(c.program.steps)
			c.patches, c.asked = c.patches[:last], c.asked[:last]
		}
	}
	c.literal(at, len(c.text))
}

func (c *compiler) literal(start, end int) {
	text := c.text[start:end]
	if c.format == titleFormat {
		text = html.UnescapeString(text)
	}
	if text != "" {
		if last := len(c.program.steps) - 1; last >= 0 && text[0] == '.' && (len(text) == 1 || strings.ContainsRune(" \n<", rune(text[1]))) {
			c.program.steps[last].ends = true
		}
		literal := mail.OwnPart(text)
		if c.format == htmlFormat && len(text) > shortLiteral {
			literal = mail.SharedPart(text)
		}
		c.program.steps = append(c.program.steps, step{action: writeLiteral, literal: literal})
	}
}

// rely notes a name that is printed without asking for it, for the warnings
// about context that Logto may leave out.
func (c *compiler) rely(t tag) {
	root := rootOf(t.path)
	if reason := unknownField(t.path, root, c.messageType); reason != "" && c.anyName && !slices.Contains(c.variables, root) {
		c.program.unknown = append(c.program.unknown, c.errorAt(t.start, reason))
	}
	known := slices.ContainsFunc(c.program.relies, func(e *Error) bool { return rootOf(e.Text) == root })
	if !known && !slices.Contains(c.asked, root) {
		c.program.relies = append(c.program.relies, c.errorAt(t.start, t.path))
	}
}

// resolve checks the name of a tag.
func (c *compiler) resolve(t tag) path {
	p, reason := c.vocabulary.path(t.path)
	if reason != "" {
		c.fault(t.start, "%s", reason)
	}
	return p
}

// escapingAt chooses how a value is written where it stands.
func (c *compiler) escapingAt(t tag, p place) escaping {
	switch p.kind {
	case urlPlace, imagePlace:
		how := c.url.escaping(c, t, p.kind)
		if how == wholeURL && c.format == textFormat {
			return shownURL
		}
		return how
	case stylePlace:
		return color
	case textPlace, commentPlace, attrPlace, prosePlace:
		if before := c.text[:t.start]; endsInReference(before) {
			c.fault(t.start, "a placeholder cannot stand inside a character reference such as &#160;")
		}
		return escaped
	}
	return plain
}

// endsInReference tells whether text ends in an unfinished &#… .
func endsInReference(text string) bool {
	text = text[max(0, len(text)-len("&#x10ffff")):]
	text = strings.TrimRightFunc(text, func(r rune) bool {
		return isDigit(r) || isASCIILetter(r)
	})
	return strings.HasSuffix(text, "&#")
}

// urlTracker follows what stands before a value in the URL that it is part of.
type urlTracker struct {
	// attribute is the offset of the attribute value that is followed.
	attribute int
	// from is the offset up to which it was followed.
	from int
	// before are all texts that can stand before, by the branches taken. A
	// value is a NUL in them.
	before []string
	// open are the blocks that were opened in this attribute.
	open []urlBlock
}

type urlBlock struct {
	atOpen, afterFirst []string
	switched           bool
}

// Bounds of one URL: the combinations of its branches, and the bytes before its
// last placeholder, which are more than Links allows.
const (
	maxURLBranches = 32
	maxURLBytes    = 4096
)

// followURL takes the tracker past the author's text before tag i and past the
// tag itself.
func (c *compiler) followURL(i int, here place) {
	if here.kind != urlPlace && here.kind != imagePlace {
		return
	}
	u, t := &c.url, c.tags[i]
	if u.before == nil || u.attribute != here.at {
		*u = urlTracker{attribute: here.at, from: here.at, before: []string{""}}
	}
	if t.start-here.at > maxURLBytes {
		c.fault(t.start, "the URL has more than %d bytes before this placeholder", maxURLBytes)
		return
	}
	literal := html.UnescapeString(c.text[u.from:t.start])
	for k := range u.before {
		u.before[k] += literal
	}
	u.from = t.end
	last := len(u.open) - 1
	switch {
	case t.kind == ifTag || t.kind == unlessTag:
		u.open = append(u.open, urlBlock{atOpen: slices.Clone(u.before)})
	case t.kind == elseTag && last >= 0:
		u.open[last].afterFirst, u.open[last].switched = u.before, true
		u.before = slices.Clone(u.open[last].atOpen)
	case t.kind == closeTag && last >= 0:
		other := u.open[last].atOpen
		if u.open[last].switched {
			other = u.open[last].afterFirst
		}
		u.before = append(u.before, other...)
		slices.Sort(u.before)
		u.before = slices.Compact(u.before)
		u.open = u.open[:last]
		if len(u.before) > maxURLBranches {
			c.fault(t.start, "too many blocks in one URL: put blocks around the whole tag")
			u.before = u.before[:1]
		}
	}
}

// escaping decides how a value is written into a URL, and takes it as written.
func (u *urlTracker) escaping(c *compiler, t tag, kind placeKind) escaping {
	how, reason := urlEscaping(u.before[0], c.schemes)
	for _, before := range u.before[1:] {
		if reason != "" {
			break
		}
		var other escaping
		if other, reason = urlEscaping(before, c.schemes); reason == "" && other != how {
			reason = "here the URL begins in one branch and goes on in another: put the block around the whole tag"
		}
	}
	if reason != "" {
		c.fault(t.start, "%s", reason)
	}
	for k := range u.before {
		u.before[k] += "\x00"
	}
	if how == wholeURL && kind == imagePlace {
		return wholeImage
	}
	return how
}

// urlEscaping says how a value is written after the beginning of a URL, or why
// it cannot stand there: it must choose neither scheme nor host unless it is the
// whole URL and is checked as such. Browsers drop tabs and line breaks and read
// backslashes as slashes, so this does too.
func urlEscaping(before string, schemes []string) (how escaping, reason string) {
	before = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(before)
	before = strings.TrimLeftFunc(before, func(r rune) bool { return r != 0 && r <= ' ' })
	if before == "" {
		return wholeURL, ""
	}
	if before[0] == 0 {
		if !strings.ContainsAny(before, "?#") {
			return plain, "behind a whole URL a value can only stand in the query: write ? and a name before it"
		}
		return partOfURL, ""
	}
	scheme, rest, found := strings.Cut(before, ":")
	scheme = strings.ToLower(scheme)
	if !found || strings.ContainsAny(scheme, "\x00/?#") {
		return plain, "a URL with a placeholder begins with its scheme, such as https://, or with the placeholder"
	}
	switch scheme {
	case "mailto":
		if !strings.Contains(rest, "?") {
			return mailboxURL, ""
		}
		return partOfURL, ""
	case "tel", "sms", "cid":
		return partOfURL, ""
	case "http", "https":
		rest = "//" + rest // browsers need no slashes here
	default:
		if !slices.Contains(schemes, scheme) {
			return plain, "a value cannot stand in a URL with the scheme " + scheme +
				": use https, mailto or tel, or add it to templates.links.schemes"
		}
	}
	if host, hasHost := strings.CutPrefix(rest, "//"); hasHost && !strings.ContainsAny(strings.TrimLeft(host, "/"), "/?#") {
		return plain, "a value cannot be part of the host of a URL: write a /, ? or # before it"
	}
	return partOfURL, ""
}
