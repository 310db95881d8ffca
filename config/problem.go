package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Position is a place in a file. Line and Column count from 1, columns in
// characters.
type Position struct {
	File         string
	Line, Column int
}

// String writes the position the way compilers do and editors understand.
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

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
		text = p.Key + ": " + text
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
		fmt.Fprintf(&b, "%d problems, of which the first %d are shown", n, maxShown)
	case n == 1:
		b.WriteString("1 problem")
	default:
		fmt.Fprintf(&b, "%d problems", n)
	}
	return b.String()
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
	// hidden are the values that may not be shown, in the order of the file.
	hidden []span
}

type span struct{ from, to place }

// hide masks every value of the tree that is not known to be harmless.
func (s *source) hide(root *node) {
	root.walk(func(n *node) {
		if n.kind == scalar && !n.public && !n.off() {
			s.hidden = append(s.hidden, span{n.from, n.to})
		}
	})
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
	shown := make([]rune, 0, min(len(line), 1024))
	caret := -1
	for column := 0; column < len(line); {
		here := place{at.line, column + 1}
		hidden, until := s.hiddenAt(here)
		// What is known of a YAML text is where the next thing begins, which may
		// be behind the indentation of the next line.
		if hidden && until.line == at.line && isBlank(line[column:min(until.column-1, len(line))]) {
			hidden = false
		}
		if caret < 0 && (here == at || hidden && at.before(until) && !at.before(here)) {
			caret = len(shown)
		}
		if hidden {
			shown = append(shown, '…')
			if until.line > at.line {
				break
			}
			column = until.column - 1
			continue
		}
		r := line[column]
		if caret >= 0 && r == '#' && (column == 0 || line[column-1] == ' ') {
			// A comment, where values that were in use yesterday live on.
			shown = append(shown, '…')
			break
		}
		if r < ' ' || r == 0x7f {
			r = ' '
		}
		shown = append(shown, r)
		column++
	}
	if caret < 0 {
		caret = len(shown)
	}
	p.Source, p.Caret = window(shown, caret)
}

func isBlank(text []rune) bool { return strings.TrimSpace(string(text)) == "" }

// hiddenAt tells whether the character at a place is masked, and where the mask
// ends.
func (s *source) hiddenAt(at place) (bool, place) {
	i, _ := slices.BinarySearchFunc(s.hidden, at, func(hidden span, at place) int {
		if at.before(hidden.to) {
			return 1
		}
		return -1
	})
	if i == len(s.hidden) || at.before(s.hidden[i].from) {
		return false, place{}
	}
	return true, s.hidden[i].to
}

// window cuts a line to the part around the caret and drops its indentation.
func window(line []rune, caret int) (string, int) {
	from, to := 0, len(line)
	if len(line) > excerptWidth {
		from = max(0, min(caret-excerptWidth/2, len(line)-excerptWidth))
		to = from + excerptWidth
	}
	for from < min(to, caret) && line[from] == ' ' {
		from++
	}
	text := strings.TrimRight(string(line[from:to]), " ")
	if from > 0 && to-from == excerptWidth {
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
