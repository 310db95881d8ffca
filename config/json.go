package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// jsonReader makes a tree from the tokens of encoding/json, which accepts JSON
// and nothing beside it, and knows the offset of every token.
type jsonReader struct {
	data   []byte
	tokens *json.Decoder

	values int

	// The offset that was last turned into a place. Offsets only grow, so that
	// every character is counted once.
	offset int
	place  place
}

func parseJSON(data []byte) (*node, *syntaxError) {
	r := &jsonReader{data: data, tokens: json.NewDecoder(bytes.NewReader(data)), place: place{1, 1}}
	r.tokens.UseNumber()
	root, problem := r.value(0)
	if problem != nil {
		return nil, problem
	}
	if rest := bytes.TrimLeft(data[r.tokens.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, &syntaxError{r.at(len(data) - len(rest)), "the file goes on after its end; remove what follows"}
	}
	return root, nil
}

// at turns an offset into a place.
func (r *jsonReader) at(offset int) place {
	for r.offset < offset {
		c, size := utf8.DecodeRune(r.data[r.offset:])
		r.offset += size
		if c == '\n' {
			r.place = place{r.place.line + 1, 1}
		} else {
			r.place.column++
		}
	}
	return r.place
}

// next returns the next token and where it stands.
func (r *jsonReader) next() (token json.Token, from, to place, problem *syntaxError) {
	start := int(r.tokens.InputOffset())
	for start < len(r.data) && strings.IndexByte(" \t\r\n,:", r.data[start]) >= 0 {
		start++
	}
	token, err := r.tokens.Token()
	if err != nil {
		return nil, place{}, place{}, r.explain(start, err)
	}
	from = r.at(start)
	return token, from, r.at(int(r.tokens.InputOffset())), nil
}

func (r *jsonReader) value(depth int) (*node, *syntaxError) {
	token, from, to, problem := r.next()
	if problem != nil {
		return nil, problem
	}
	if r.values++; r.values > maxValues {
		return nil, &syntaxError{from, tooMany}
	}
	n := &node{from: from, to: to}
	switch token := token.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, &syntaxError{from, tooDeep}
		}
		if n.kind = object; token == '[' {
			n.kind = list
		}
		return n, r.inside(n, depth)
	case json.Number:
		if whole, err := token.Int64(); err == nil {
			n.scalar = whole
		} else if n.scalar, err = token.Float64(); err != nil {
			return nil, &syntaxError{from, "this number is too large"}
		}
	default:
		n.scalar = token
	}
	return n, nil
}

// inside reads what a list or an object holds, and its end.
func (r *jsonReader) inside(n *node, depth int) *syntaxError {
	for r.tokens.More() {
		var m member
		if n.kind == object {
			key, at, end, problem := r.next()
			if problem != nil {
				if problem.text == noValue {
					problem.text = noKey
				}
				return problem
			}
			m.key, m.at, m.end = key.(string), at, end
		}
		var problem *syntaxError
		if m.value, problem = r.value(depth + 1); problem != nil {
			return problem
		}
		if n.kind == object {
			n.members = append(n.members, m)
		} else {
			n.items = append(n.items, m.value)
		}
	}
	_, _, _, problem := r.next()
	return problem
}

const (
	noKey   = "a key in double quotes belongs here"
	noValue = "this is no JSON value; texts belong in double quotes"
)

// explain says in an operator's words why no token could be read. The token
// would have begun at the offset start.
func (r *jsonReader) explain(start int, err error) *syntaxError {
	rest := r.data[start:]
	before := bytes.TrimRight(r.data[:start], " \t\r\n:")
	afterComma := bytes.HasSuffix(before, []byte(","))
	var syntax *json.SyntaxError
	switch {
	case len(rest) == 0 || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return &syntaxError{r.at(len(bytes.TrimRight(r.data, " \t\r\n"))),
			"the file ends too early: a closing quote, bracket or brace is missing"}
	case bytes.HasPrefix(rest, []byte("//")), bytes.HasPrefix(rest, []byte("/*")), rest[0] == '#':
		return &syntaxError{r.at(start), "JSON has no comments; remove this one, or write the file as YAML"}
	case rest[0] == '\'', strings.IndexAny(string(rest), curlyQuotes) == 0:
		return &syntaxError{r.at(start), `put texts and keys in straight double quotes: "`}
	case (rest[0] == '}' || rest[0] == ']') && afterComma:
		return &syntaxError{r.at(start), "the comma before this is one too many; remove it"}
	case !errors.As(err, &syntax):
		return &syntaxError{r.at(start), "this is not JSON"}
	case strings.Contains(syntax.Error(), "after object key:value pair"),
		strings.Contains(syntax.Error(), "after array element"):
		return &syntaxError{r.at(start), "a comma is missing before this, or a bracket or brace is not closed"}
	case strings.Contains(syntax.Error(), "after object key"):
		return &syntaxError{r.at(start), "a colon is missing between the key and its value"}
	case strings.Contains(syntax.Error(), "object key"), strings.Contains(syntax.Error(), "expecting comma"):
		return &syntaxError{r.at(start), noKey}
	case strings.Contains(syntax.Error(), "string escape"), strings.Contains(syntax.Error(), `\u`):
		return &syntaxError{r.at(start), `this text has a backslash that JSON does not know; write a backslash as \\`}
	case strings.Contains(syntax.Error(), "in string literal"):
		return &syntaxError{r.at(start), `this text is not closed on its line; add the closing quote, or write a line break as \n`}
	}
	return &syntaxError{r.at(start), noValue}
}
