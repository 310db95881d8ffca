package config

import (
	"bytes"
	"errors"
	"math"
	"regexp"
	"strings"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"logto-email-relay/settings"
)

// afterEnd is behind every place of a file.
var afterEnd = place{line: math.MaxInt}

// indentingTab ends with a tab that stands before the first character of a line.
var indentingTab = regexp.MustCompile(`(?m)^ *\t`)

// parseYAML makes a tree from the YAML that people write by hand: no anchors,
// aliases, merge keys and tags, which make a file mean something else than it
// shows, and a small one mean something huge.
func parseYAML(data []byte) (root *node, problem *syntaxError) {
	// The parser is third-party code that indexes into slices of tokens. Should
	// an odd file make it panic, then that file has a problem, not the relay.
	defer func() {
		if recover() != nil {
			root, problem = nil, &syntaxError{place{1, 1}, "this is not YAML that can be read"}
		}
	}()
	if tab := indentingTab.FindIndex(data); tab != nil {
		before := data[:tab[1]]
		return nil, &syntaxError{place{1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n') - 1},
			"YAML is indented with spaces; replace the tab"}
	}
	tokens := lexer.Tokenize(string(data))
	if problem := checkTokens(tokens); problem != nil {
		return nil, problem
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, explainYAML(err)
	}
	for _, document := range file.Docs {
		if document.Body == nil {
			continue
		}
		if root != nil {
			return nil, &syntaxError{placeOf(document.Start), "a second document begins here; write one configuration a file"}
		}
		if root, problem = yamlNode(document.Body, 0); problem != nil {
			return nil, problem
		}
	}
	if root == nil {
		return nil, &syntaxError{place{1, 1}, "the file is empty"}
	}
	for _, t := range tokens {
		if t.Type == token.CommentType {
			at := placeOf(t)
			root.comments = append(root.comments, span{at, place{at.line + 1, 1}})
		}
	}
	return root, nil
}

const notAlias = "anchors, aliases and merge keys are not read; write the value out, or put a text that begins with & or * in quotes"

// notRead says what to write in place of what is YAML, and not read.
var notRead = map[token.Type]string{
	token.AnchorType:     notAlias,
	token.AliasType:      notAlias,
	token.MergeKeyType:   notAlias,
	token.TagType:        "tags are not read; remove it, or put a text that begins with ! in quotes",
	token.DirectiveType:  "directives are not read; remove the line, or put a text that begins with % in quotes",
	token.MappingKeyType: "keys marked with ? are not read; write key: value",
}

// checkTokens refuses what the relay does not read, and nesting that would make
// the parser, which is recursive, run out of stack.
func checkTokens(tokens token.Tokens) *syntaxError {
	// A value has about two tokens beside its own: a colon or dash, and a comma.
	const tokensOfValue = 3
	if len(tokens) > maxValues*tokensOfValue {
		return &syntaxError{place{1, 1}, tooMany}
	}
	depth, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			dashes, line = 0, t.Position.Line
		}
		refused := notRead[t.Type]
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			dashes++
		}
		if max(depth, dashes) > maxDepth {
			refused = tooDeep
		}
		if refused != "" {
			return &syntaxError{placeOf(t), refused}
		}
	}
	return nil
}

func explainYAML(err error) *syntaxError {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) || syntax.Token == nil {
		return &syntaxError{place{1, 1}, "this is not YAML"}
	}
	if strings.HasSuffix(syntax.Message, "reserved character") {
		return &syntaxError{placeOf(syntax.Token), "this is not YAML: put a text that begins with @ or ` in quotes"}
	}
	if before := syntax.Token.Prev; before != nil && syntax.Token.Type == token.MappingStartType && strings.HasSuffix(before.Value, "$") {
		return &syntaxError{placeOf(before), "this is not YAML: put ${…} in quotes inside of [ ] and { }"}
	}
	return &syntaxError{placeOf(syntax.Token), "this is not YAML: " + settings.Printable(quoted.ReplaceAllString(syntax.Message, ""), 120)}
}

// quoted is what the parser's messages repeat of the file, which may be a secret;
// brackets and commas in quotes are its own.
var quoted = regexp.MustCompile(`:? *("(?:[^"\\]|\\.)*"|'(?:[^'\\\[\]{},:]|\\[^']+|\\')')`)

func placeOf(t *token.Token) place {
	return place{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// keyWithin finds the colon of a key in a text without quotes, which no such text has.
var keyWithin = regexp.MustCompile(`:\s`)

func yamlNode(from ast.Node, depth int) (*node, *syntaxError) {
	if from == nil || from.GetToken() == nil {
		return nil, &syntaxError{place{1, 1}, "this is not YAML that can be read"}
	}
	t := from.GetToken()
	n := &node{from: placeOf(t), to: afterEnd}
	if depth > maxDepth {
		return nil, &syntaxError{n.from, tooDeep}
	}
	end := t
	switch from := from.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		n.scalar = from.Value
	case *ast.IntegerNode:
		switch value := from.Value.(type) {
		case int64:
			n.scalar = value
		case uint64:
			if n.scalar = float64(value); value <= math.MaxInt64 {
				n.scalar = int64(value)
			}
		}
	case *ast.FloatNode:
		n.scalar = from.Value
	case *ast.StringNode:
		// The parser is lenient here, and what comes behind may be a secret.
		if t.Type == token.StringType && keyWithin.MatchString(from.Value) {
			return nil, &syntaxError{n.from, "a comma is missing between this and the next key, or quotes around a text with a colon and a blank in it"}
		}
		n.scalar = from.Value
	case *ast.LiteralNode:
		n.scalar, end = from.Value.Value, from.Value.GetToken()
	case *ast.InfinityNode, *ast.NanNode:
		n.scalar = t.Value
	case *ast.SequenceNode:
		n.kind = list
		for _, value := range from.Values {
			item, problem := yamlNode(value, depth+1)
			if problem != nil {
				return nil, problem
			}
			n.items = append(n.items, item)
		}
	case *ast.MappingValueNode:
		n.kind = object
		return n, yamlMember(n, from, depth)
	case *ast.MappingNode:
		n.kind = object
		for _, value := range from.Values {
			if problem := yamlMember(n, value, depth); problem != nil {
				return nil, problem
			}
		}
		// The token of a mapping in block style is its first colon.
		if !from.IsFlowStyle {
			n.from = n.members[0].at
		}
	default:
		return nil, &syntaxError{n.from, "this kind of YAML value is not read; write a text, a number, true, false, a list or an object"}
	}
	if end.Next != nil {
		n.to = placeOf(end.Next)
	}
	return n, nil
}

func yamlMember(n *node, from *ast.MappingValueNode, depth int) *syntaxError {
	key := from.Key.GetToken()
	if from.Start == key {
		return &syntaxError{placeOf(key), "a colon and a value are missing after this"}
	}
	value, problem := yamlNode(from.Value, depth+1)
	if problem != nil {
		return problem
	}
	n.members = append(n.members, member{key: key.Value, at: placeOf(key), end: placeOf(from.Start), value: value})
	return nil
}
