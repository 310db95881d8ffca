package templates

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// The bounds of one template.
const (
	maxTemplate = 256 << 10 // bytes
	maxDepth    = 32        // blocks within blocks
)

// tokenKind is what a piece of a template's source is.
type tokenKind int

const (
	literal     tokenKind = iota
	value                 // {{ path }}
	ifBlock               // {{#if path}}
	unlessBlock           // {{#unless path}}
	elseBranch            // {{else}}
	endIf                 // {{/if}}
	endUnless             // {{/unless}}
)

// token is a piece of a template's source. The sources of all tokens, one after
// the other, are the template.
type token struct {
	kind   tokenKind
	offset int    // of its first byte
	source string // as the author wrote it
	path   string // of a value or the beginning of a block
}

// Problem is a mistake in a template, with its place.
type Problem struct {
	File         string
	Line, Column int // from 1; columns count bytes
	Text         string
}

// Error writes the problem the way compilers do.
func (p *Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// source is a template's text with its name.
type source struct{ file, text string }

// problem reports a mistake at an offset.
func (s source) problem(offset int, format string, args ...any) *Problem {
	before := s.text[:min(offset, len(s.text))]
	return &Problem{
		File:   s.file,
		Line:   1 + strings.Count(before, "\n"),
		Column: len(before) - strings.LastIndexByte(before, '\n'),
		Text:   fmt.Sprintf(format, args...),
	}
}

var (
	pathForm  = regexp.MustCompile(`^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$`)
	blockForm = regexp.MustCompile(`^#(if|unless)\s+(\S+)$`)
)

// scan cuts a template into tokens and checks that its blocks are closed. It
// reports all problems.
func scan(s source) ([]token, error) {
	if len(s.text) > maxTemplate {
		return nil, s.problem(0, "the template is larger than %d KiB", maxTemplate>>10)
	}
	var (
		tokens   []token
		problems []error
		open     []token // blocks, the innermost last
		elses    []bool  // whether they have had their else
	)
	for at := 0; at < len(s.text); {
		begin := strings.Index(s.text[at:], "{{")
		if begin < 0 {
			tokens = append(tokens, token{kind: literal, offset: at, source: s.text[at:]})
			break
		}
		if begin > 0 {
			tokens = append(tokens, token{kind: literal, offset: at, source: s.text[at : at+begin]})
			at += begin
		}
		end := strings.Index(s.text[at:], "}}")
		if end < 0 {
			problems = append(problems, s.problem(at, "{{ without }}"))
			break
		}
		t := token{offset: at, source: s.text[at : at+end+2]}
		if err := t.parse(s); err != nil {
			problems = append(problems, err)
			at += len(t.source)
			continue
		}
		switch t.kind {
		case ifBlock, unlessBlock:
			open, elses = append(open, t), append(elses, false)
			if len(open) > maxDepth {
				return nil, s.problem(at, "more than %d blocks within each other", maxDepth)
			}
		case elseBranch, endIf, endUnless:
			top := len(open) - 1
			switch {
			case top < 0:
				problems = append(problems, s.problem(at, "%s without a block that it belongs to", t.source))
			case t.kind == elseBranch && elses[top]:
				problems = append(problems, s.problem(at, "a second {{else}} in the same block"))
			case t.kind == elseBranch:
				elses[top] = true
			case (t.kind == endIf) != (open[top].kind == ifBlock):
				problems = append(problems, s.problem(at, "%s closes %s", t.source, open[top].source))
				fallthrough
			default:
				open, elses = open[:top], elses[:top]
			}
		}
		tokens = append(tokens, t)
		at += len(t.source)
	}
	for _, t := range open {
		problems = append(problems, s.problem(t.offset, "%s is never closed", t.source))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return tokens, nil
}

// parse reads what stands between the braces.
func (t *token) parse(s source) error {
	inner := strings.TrimSpace(t.source[2 : len(t.source)-2])
	switch inner {
	case "else":
		t.kind = elseBranch
		return nil
	case "/if":
		t.kind = endIf
		return nil
	case "/unless":
		t.kind = endUnless
		return nil
	}
	if block := blockForm.FindStringSubmatch(inner); block != nil {
		t.kind, t.path = ifBlock, block[2]
		if block[1] == "unless" {
			t.kind = unlessBlock
		}
	} else {
		t.kind, t.path = value, inner
	}
	if !pathForm.MatchString(t.path) {
		return s.problem(t.offset, "%.60q is not a placeholder: write {{ path }} such as {{ code }} or {{ application.name }}, "+
			"or {{#if path}} … {{else}} … {{/if}}", t.source)
	}
	return nil
}
