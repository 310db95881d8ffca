package config

import (
	"cmp"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"logto-email-relay/providers"
)

// Every key has a description for editors, which is the comment of its field.
func TestEveryKeyIsDescribed(t *testing.T) {
	comments := commentsOfFields(t)
	wanted := make(map[string]string)
	var visit func(reflect.Type)
	visit = func(settings reflect.Type) {
		switch settings.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(settings.Elem())
		case reflect.Struct:
			for _, f := range fieldsOf(settings) {
				if _, known := wanted[f.name]; known || f.noeffect != "" {
					continue
				}
				comment := comments[f.name]
				if formOf(f.kind).schema == nil {
					comment = cmp.Or(comment, comments[typeName(f.kind)])
				}
				if comment == "" {
					t.Errorf("%s has no comment", f.name)
				}
				calls := map[string]string{strings.TrimPrefix(path.Ext(typeName(f.kind)), "."): f.key}
				for _, other := range fieldsOf(settings) {
					calls[strings.TrimPrefix(path.Ext(other.name), ".")] = other.key
				}
				for name, key := range calls { // as the operator knows it
					if name != strings.ToUpper(name) {
						comment = regexp.MustCompile(`\b`+name+`\b`).ReplaceAllLiteralString(comment, key)
					}
				}
				wanted[f.name] = comment
				if formOf(f.kind).schema == nil {
					visit(f.kind)
				}
			}
		}
	}
	visit(reflect.TypeFor[Config]())
	for _, kind := range providers.Types() {
		visit(reflect.TypeOf(kind.New()))
	}
	text, err := json.MarshalIndent(wanted, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "descriptions.json"
	if text = append(text, '\n'); *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		described = text // for the tests that come after
	} else if string(text) != string(described) {
		t.Errorf("%s is old: go test ./config -run Described -update", file)
	}
}

func typeName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return path.Base(t.PkgPath()) + "." + t.Name()
}

// commentsOfFields are the comments in the source, by package, struct and field. A
// field without one shares that of an earlier field which names it, else that of its
// type.
func commentsOfFields(t *testing.T) map[string]string {
	files, err := filepath.Glob("../*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	comments := make(map[string]string)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			group, _ := n.(*ast.GenDecl)
			if group == nil || group.Tok != token.TYPE {
				return true
			}
			declared := group.Specs[0].(*ast.TypeSpec)
			comments[file.Name.Name+"."+declared.Name.Name] = strings.Join(strings.Fields(group.Doc.Text()), " ")
			structure, _ := declared.Type.(*ast.StructType)
			if structure == nil {
				return true
			}
			last := ""
			for _, f := range structure.Fields.List {
				if f.Doc != nil {
					last = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
				for _, name := range f.Names {
					if f.Doc != nil || regexp.MustCompile(`\b`+name.Name+`\b`).MatchString(last) {
						comments[file.Name.Name+"."+declared.Name.Name+"."+name.Name] = last
					}
				}
			}
			return true
		})
	}
	return comments
}
