package commands

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// comparisons are the functions that decide whether a caller has a secret: of a
// webhook and of the admin listener, of events by credentials and by signature.
var comparisons = map[string]string{
	"handlers/authorization.go placeOf": "subtle.ConstantTimeCompare", "providers/events.go verifyCredentials": "subtle.ConstantTimeCompare",
	"providers/events.go isSigned": "hmac.Equal",
}

// No caller learns from the time of an answer how much of a guess is right: secrets are
// compared by their sums, every one of them, by functions that take the same time for
// all. Nothing else compares the text of a secret, but with none or with another one of
// the configuration.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	found := make(map[string]bool)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
		for _, declaration := range file.Decls {
			function, is := declaration.(*ast.FuncDecl)
			if !is {
				continue
			}
			key := name + " " + function.Name.Name
			if compare, decides := comparisons[key]; decides {
				found[key] = slices.Contains(called(function), compare) && !leavesALoop(function)
			}
			ast.Inspect(function, func(n ast.Node) bool {
				if reveals(n) && !strings.HasPrefix(name, "config/") && !strings.HasPrefix(name, "app/reload.go") && name != "webhooks/settings.go" {
					t.Errorf("%s compares a secret", files.Position(n.Pos()))
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := range comparisons {
		if !found[key] {
			t.Errorf("%s does not compare all in constant time", key)
		}
	}
}

// called lists what a function calls, as package.function.
func called(function *ast.FuncDecl) (names []string) {
	ast.Inspect(function, func(n ast.Node) bool {
		if call, is := n.(*ast.CallExpr); is {
			names = append(names, nameOf(call.Fun))
		}
		return true
	})
	return names
}

// nameOf returns a name with what it is selected from.
func nameOf(e ast.Expr) string {
	selected, is := e.(*ast.SelectorExpr)
	if !is {
		return ""
	}
	if from, is := selected.X.(*ast.Ident); is {
		return from.Name + "." + selected.Sel.Name
	}
	return "." + selected.Sel.Name
}

// leavesALoop tells whether a loop of the function ends before its end.
func leavesALoop(function *ast.FuncDecl) (leaves bool) {
	ast.Inspect(function, func(n ast.Node) bool {
		var body ast.Node
		switch loop := n.(type) {
		case *ast.ForStmt:
			body = loop.Body
		case *ast.RangeStmt:
			body = loop.Body
		default:
			return true
		}
		ast.Inspect(body, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.ReturnStmt, *ast.BranchStmt, *ast.IfStmt:
				leaves = true
			}
			return true
		})
		return true
	})
	return leaves
}

// reveals tells whether a node compares the text of a secret with something else than
// an empty one.
func reveals(n ast.Node) bool {
	var compared []ast.Expr
	switch compare := n.(type) {
	case *ast.BinaryExpr:
		if compare.Op != token.EQL && compare.Op != token.NEQ {
			return false
		}
		compared = []ast.Expr{compare.X, compare.Y}
	case *ast.CallExpr:
		switch nameOf(compare.Fun) {
		case "bytes.Equal", "strings.EqualFold", "strings.Compare", "strings.HasPrefix", "slices.Contains", "cmp.Compare":
			compared = compare.Args
		}
	}
	if slices.ContainsFunc(compared, func(e ast.Expr) bool {
		literal, is := e.(*ast.BasicLit)
		return is && literal.Value == `""`
	}) {
		return false
	}
	return slices.ContainsFunc(compared, isText)
}

// isText tells whether an expression is the text of a secret, or made of it.
func isText(e ast.Expr) bool {
	call, is := e.(*ast.CallExpr)
	if !is {
		return false
	}
	name := nameOf(call.Fun)
	return strings.HasSuffix(name, ".Reveal") || (name == "" || strings.HasPrefix(name, "strings.")) && slices.ContainsFunc(call.Args, isText)
}

// The tests that the threat model names exist, and it names every parser that is fuzzed
// but those of the operator's own files.
func TestTheThreatModelNamesTests(t *testing.T) {
	declared := make(map[string]bool)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		for _, found := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(read(t, strings.TrimPrefix(path, "../")), -1) {
			declared[found[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	text := read(t, "docs/security.md")
	for _, named := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(text, -1) {
		if !declared[named[1]] {
			t.Errorf("there is no %s", named[1])
		}
	}
	own := []string{"FuzzLoad", "FuzzImport", "FuzzRate", "FuzzTexts", "FuzzPlainText", "FuzzQuotedPrintable"}
	for name := range declared {
		if strings.HasPrefix(name, "Fuzz") && !slices.Contains(own, name) && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("%s is not in docs/security.md", name)
		}
	}
}
