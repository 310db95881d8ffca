package templates

import (
	"strings"
)

// program is a compiled template: a list of steps, executed from first to last
// with jumps over the branches not taken.
type program struct {
	steps []step
	// size is the length of all literal text, in bytes.
	size int
	// paths are the values and conditions that the template uses.
	paths []use
}

type operation int

const (
	write      operation = iota // text, as it is
	writeValue                  // the value of path, escaped
	beginLink                   // an attribute that holds a URL begins here
	jump                        // to target
	jumpIfNot                   // to target, unless path is true
	jumpIf                      // to target, if path is true
)

type step struct {
	operation operation
	escape    escape
	text      string
	path      path
	target    int
}

// use is a path that a template refers to.
type use struct {
	path   string
	offset int
	// guarded tells that it stands within a block that asks for its root.
	guarded bool
	// asked tells that it is itself the condition of a block.
	asked bool
}

// compileHTML compiles a template that is HTML.
func compileHTML(s source) (*program, error) {
	tokens, err := scan(s)
	if err != nil {
		return nil, err
	}
	places, err := locate(s, tokens)
	if err != nil {
		return nil, err
	}
	return assemble(tokens, places), nil
}

// compileText compiles a template that is plain text.
func compileText(s source) (*program, error) {
	tokens, err := scan(s)
	if err != nil {
		return nil, err
	}
	return assemble(tokens, make([]place, len(tokens))), nil
}

// assemble makes steps of located tokens.
func assemble(tokens []token, places []place) *program {
	p := &program{}
	var (
		skips      []int    // of the open blocks: the step that jumps over the branch under way
		conditions []string // of the open blocks
	)
	began := 0 // the offset of the last attribute whose beginLink was written
	literalText := func(text string) {
		p.size += len(text)
		if last := len(p.steps) - 1; last >= 0 && p.steps[last].operation == write && !isTarget(p.steps, last+1) {
			p.steps[last].text += text
			return
		}
		p.steps = append(p.steps, step{operation: write, text: text})
	}
	for i, t := range tokens {
		if t.kind == literal || places[i].within == untouched {
			literalText(t.source)
			continue
		}
		if at := places[i]; at.escape == link && at.start != began {
			// What stands between the beginning of the attribute and this token
			// was the end of the last literal.
			began = at.start
			p.splitAt(t.offset - at.start)
		}
		switch t.kind {
		case value:
			p.steps = append(p.steps, step{operation: writeValue, escape: places[i].escape, path: newPath(t.path)})
			p.paths = append(p.paths, use{path: t.path, offset: t.offset, guarded: isGuarded(conditions, t.path)})
		case ifBlock, unlessBlock:
			operation := jumpIfNot
			if t.kind == unlessBlock {
				operation = jumpIf
			}
			skips, conditions = append(skips, len(p.steps)), append(conditions, t.path)
			p.steps = append(p.steps, step{operation: operation, path: newPath(t.path)})
			p.paths = append(p.paths, use{path: t.path, offset: t.offset, asked: true})
		case elseBranch:
			top := len(skips) - 1
			p.steps = append(p.steps, step{operation: jump})
			p.steps[skips[top]].target = len(p.steps)
			skips[top] = len(p.steps) - 1
		case endIf, endUnless:
			top := len(skips) - 1
			p.steps[skips[top]].target = len(p.steps)
			skips, conditions = skips[:top], conditions[:top]
		}
	}
	return p
}

// splitAt puts a beginLink before the last n bytes of the program's text.
func (p *program) splitAt(n int) {
	begin := step{operation: beginLink}
	last := len(p.steps) - 1
	if n == 0 || last < 0 || p.steps[last].operation != write || len(p.steps[last].text) < n {
		p.steps = append(p.steps, begin)
		return
	}
	text := p.steps[last].text
	p.steps[last].text = text[:len(text)-n]
	p.steps = append(p.steps, begin, step{operation: write, text: text[len(text)-n:]})
}

func isTarget(steps []step, index int) bool {
	for _, s := range steps {
		if s.operation >= jump && s.target == index {
			return true
		}
	}
	return false
}

// isGuarded tells whether one of the conditions asks for the root of a path.
func isGuarded(conditions []string, path string) bool {
	root, _, _ := strings.Cut(path, ".")
	for _, condition := range conditions {
		if of, _, _ := strings.Cut(condition, "."); of == root {
			return true
		}
	}
	return false
}
