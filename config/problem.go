package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"logto-email-relay/settings"
)

// Position is a place in a file. Line and Column count from 1, columns in
// characters.
type Position struct {
	File         string
	Line, Column int
}

// String writes the position the way compilers do and editors understand.
func (p Position) String() string {
	return fmt.Sprintf("%s:%d:%d", settings.Printable(p.File, longestName), p.Line, p.Column)
}

// longestName bounds what is shown of a file's name.
const longestName = 200

// Problem is something in the file that the operator has to change.
type Problem struct {
	Position Position
	// Key is the whole path of the key, "providers[0].auth.pass"; empty for the
	// file as a whole.
	Key string
	// Text says what is wrong and what to write instead.
	Text string
	// Source is the line of the file with its secrets masked, and Caret the
	// column in it that the problem is about, from 0.
	Source string
	Caret  int
}

// String returns the problem with its line and a caret below the place.
func (p Problem) String() string {
	text := p.Text
	if p.Key != "" {
		text = settings.Printable(p.Key, longestName) + ": " + text
	}
	text = p.Position.String() + ": " + text
	if p.Source == "" {
		return text
	}
	return text + "\n    " + p.Source + "\n    " + strings.Repeat(" ", p.Caret) + "^"
}

// Error is a file that cannot be used, with everything that is wrong with it in
// the order of the file.
type Error struct{ Problems []Problem }

// maxShown bounds how many problems a text repeats.
const maxShown = 50

// Error lists the problems.
func (e *Error) Error() string {
	var b strings.Builder
	for _, problem := range e.Problems[:min(len(e.Problems), maxShown)] {
		b.WriteString(problem.String() + "\n")
	}
	switch n := len(e.Problems); {
	case n > maxShown:
		return b.String() + fmt.Sprintf("%d problems, of which the first %d are shown", n, maxShown)
	case n > 1:
		return b.String() + fmt.Sprintf("%d problems", n)
	}
	return b.String() + "1 problem"
}

// Notice is something that the operator may want to know and need not change.
type Notice struct {
	Position Position
	Text     string
}

// String returns the notice with its place.
func (n Notice) String() string { return n.Position.String() + ": " + n.Text }

// source is the text that problems are shown in.
type source struct {
	lines []string
	keys  map[string]bool // that settings have
	// hidden are the values that may not be shown, in the order of the file.
	hidden []span
}

type span struct{ from, to place }

// hide masks every value and key of the tree that is not known to be harmless.
func (s *source) hide(n *node) {
	if n.kind == scalar && !n.public && !n.off() {
		s.hidden = append(s.hidden, span{n.from, n.to})
	}
	for _, item := range n.items {
		s.hide(item)
	}
	for _, m := range n.members {
		if !m.public && !s.keys[m.key] {
			s.hidden = append(s.hidden, span{m.at, m.end})
		}
		s.hide(m.value)
	}
}

// hideComments masks comments too, where values that were in use yesterday live on.
func (s *source) hideComments(comments []span) {
	s.hidden = append(s.hidden, comments...)
	slices.SortFunc(s.hidden, func(a, b span) int { return a.from.compare(b.from) })
}

// excerptWidth is how many characters of a line are shown at most: a whole
// configuration may stand on one line.
const excerptWidth = 110

// show adds the line of the place to a problem.
func (s *source) show(p *Problem) {
	at := place{p.Position.Line, p.Position.Column}
	if at.line < 1 || at.line > len(s.lines) {
		return
	}
	line := []rune(s.lines[at.line-1])
	spans := s.hidden
	var shown []rune
	caret := -1
	for column := 1; column <= len(line); {
		here := place{at.line, column}
		for len(spans) > 0 && !here.before(spans[0].to) {
			spans = spans[1:]
		}
		hidden, until := len(spans) > 0 && !here.before(spans[0].from), place{}
		if hidden {
			until = spans[0].to
		}
		// What is known of a YAML text is where the next thing begins, which may
		// be behind the indentation of the next line.
		if hidden && until.line == at.line && strings.TrimSpace(string(line[column-1:min(until.column-1, len(line))])) == "" {
			hidden = false
		}
		if here == at || hidden && at.before(until) && !at.before(here) {
			caret = len(shown)
		}
		r := line[column-1]
		switch {
		case hidden:
			shown = append(shown, '…')
		case !unicode.IsPrint(r):
			shown = append(shown, ' ')
		default:
			shown = append(shown, r)
		}
		if hidden && until.line > at.line {
			break
		}
		if column++; hidden {
			column = until.column
		}
	}
	if caret < 0 {
		caret = len(shown)
	}
	p.Source, p.Caret = window(shown, caret)
}

// window cuts a line to the part around the caret and drops its indentation.
func window(line []rune, caret int) (string, int) {
	from := max(0, min(caret-excerptWidth/2, len(line)-excerptWidth))
	to, cut := min(from+excerptWidth, len(line)), from > 0
	for from < min(to, caret) && line[from] == ' ' {
		from++
	}
	text := strings.TrimRight(string(line[from:to]), " ")
	if cut {
		text, caret = "…"+text, caret+1
	}
	if to < len(line) {
		text += "…"
	}
	return text, min(caret-from, utf8.RuneCountInString(text))
}

// sorted puts problems in the order of the file, and each of them once.
func sorted(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
	})
	return slices.Compact(problems)
}
