package commands

import (
	"bytes"
	"flag"
	"fmt"
	"html/template"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

var update = flag.Bool("update", false, "draw the picture of the architecture anew")

const (
	module       = "logto-email-relay"
	architecture = "docs/architecture.md"
	picture      = "../docs/pictures/architecture.svg"
)

// packageRow is a row of the table in docs/architecture.md: a package and all below
// its folder, but for those that have rows of their own.
type packageRow struct {
	name      string
	level     int
	imports   []string // of the module
	libraries []string
}

// tableOfPackages reads the table.
func tableOfPackages(t *testing.T) (rows []packageRow) {
	t.Helper()
	quoted := regexp.MustCompile("`([^`]+)`")
	names := func(cell string) (list []string) {
		for _, name := range quoted.FindAllStringSubmatch(cell, -1) {
			list = append(list, name[1])
		}
		slices.Sort(list)
		return list
	}
	for line := range strings.Lines(read(t, architecture)) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 {
			continue
		}
		level, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil {
			continue
		}
		rows = append(rows, packageRow{names(cells[2])[0], level, names(cells[4]), names(cells[5])})
	}
	if len(rows) < 10 {
		t.Fatalf("only %d packages found in %s", len(rows), architecture)
	}
	return rows
}

// actualImports returns what each package and those below it import, tests
// aside: by the folder, those of the module as folders too. A folder within another
// counts by itself if it has a row of its own.
func actualImports(t *testing.T, rows []packageRow) map[string][]string {
	t.Helper()
	list := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	folder := func(path string) string {
		below, inside := strings.CutPrefix(path, module+"/")
		switch {
		case path == module:
			return "main"
		case !inside:
			return path
		}
		if slices.ContainsFunc(rows, func(r packageRow) bool { return r.name == below }) {
			return below
		}
		top, _, _ := strings.Cut(below, "/")
		return top
	}
	imports := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := folder(fields[0])
		imports[name] = append(imports[name], "")
		for _, path := range fields[1:] {
			if other := folder(path); other != name {
				imports[name] = append(imports[name], other)
			}
		}
	}
	for name, list := range imports {
		slices.Sort(list)
		imports[name] = slices.Compact(list)[1:] // without the empty one
	}
	return imports
}

// isBeside tells which folders hold no part of the product.
func isBeside(name string) bool { return name == "bench" || name == "deploy" || name == "e2e" }

// The table says what is there, and its arrows point down.
func TestTheTableOfTheArchitectureIsTrue(t *testing.T) {
	rows := tableOfPackages(t)
	actual := actualImports(t, rows)
	levels := make(map[string]int)
	for _, row := range rows {
		levels[row.name] = row.level
	}
	for name, imports := range actual {
		if isBeside(name) {
			continue
		}
		i := slices.IndexFunc(rows, func(r packageRow) bool { return r.name == name })
		if i < 0 {
			t.Errorf("package %s has no row", name)
			continue
		}
		for _, other := range imports {
			_, ours := levels[other]
			if (ours || isBeside(other)) && !slices.Contains(rows[i].imports, other) {
				t.Errorf("%s imports %s, which its row does not name", name, other)
			}
			for _, row := range rows {
				for _, library := range row.libraries {
					if (other == library || strings.HasPrefix(other, library+"/")) && !slices.Contains(rows[i].libraries, library) {
						t.Errorf("%s imports %s, which is for %s", name, other, row.name)
					}
				}
			}
		}
	}
	for _, row := range rows {
		if _, there := actual[row.name]; !there {
			t.Errorf("there is no package %s", row.name)
		}
		for _, other := range row.imports {
			if levels[other] <= row.level {
				t.Errorf("%s may import %s, which is not below it", row.name, other)
			}
		}
	}
}

// The linter holds what the table says.
func TestTheLinterHoldsTheArchitecture(t *testing.T) {
	type rule struct {
		Mode  string   `yaml:"list-mode"`
		Files []string `yaml:"files"`
		Deny  []struct {
			Pkg string `yaml:"pkg"`
		} `yaml:"deny"`
		Allow []string `yaml:"allow"`
	}
	var linter struct {
		Linters struct {
			Enable   []string
			Settings struct {
				Depguard struct{ Rules map[string]rule }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".golangci.yml")), &linter); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(linter.Linters.Enable, "depguard") || !slices.Contains(linter.Linters.Enable, "staticcheck") {
		t.Error("depguard and staticcheck have to be enabled")
	}
	rules := linter.Linters.Settings.Depguard.Rules

	only := make(map[string][]string) // who may import a library
	table := tableOfPackages(t)
	for _, row := range table {
		for _, library := range row.libraries {
			only[library] = append(only[library], row.name)
		}
		r := rules[row.name]
		delete(rules, row.name)
		var allowed []string
		for _, path := range r.Allow {
			allowed = append(allowed, strings.TrimSuffix(strings.TrimPrefix(path, module+"/"), "$"))
		}
		slices.Sort(allowed)
		files := "${config-path}/" + row.name + "/**"
		if row.name == "main" {
			files = "${config-path}/*.go"
		} else if slices.ContainsFunc(table, func(other packageRow) bool { return strings.HasPrefix(other.name, row.name+"/") }) {
			files = "${config-path}/" + row.name + "/*.go" // the folders in it have rules of their own
		}
		if !slices.Equal(allowed, row.imports) {
			t.Errorf("%s: the linter allows %v, the table %v", row.name, allowed, row.imports)
		}
		if r.Mode != "lax" || !slices.Equal(r.Files, []string{files, "!$test"}) || len(r.Deny) != 1 || r.Deny[0].Pkg != module {
			t.Errorf("%s: the rule %+v does not hold it", row.name, r)
		}
	}
	delete(rules, "bench")
	for name, r := range rules { // those of the libraries
		var exempt []string
		for _, file := range r.Files {
			if folder, ok := strings.CutPrefix(file, "!${config-path}/"); ok && file != "!${config-path}/bench/**" {
				exempt = append(exempt, strings.TrimSuffix(folder, "/**"))
			}
		}
		slices.Sort(exempt)
		if r.Mode != "lax" || !slices.Contains(r.Files, "$all") || len(r.Allow) > 0 {
			t.Errorf("%s: the rule %+v does not hold it", name, r)
		}
		for _, library := range r.Deny {
			want := slices.Sorted(slices.Values(only[library.Pkg]))
			if !slices.Equal(exempt, want) {
				t.Errorf("%s: the linter lets %v import it, the table %v", library.Pkg, exempt, want)
			}
			delete(only, library.Pkg)
		}
	}
	for library := range only {
		t.Errorf("no rule of the linter keeps %s in its place", library)
	}
}

// The picture shows what go list finds, each level in a row.
func TestThePictureOfTheArchitectureIsTrue(t *testing.T) {
	rows := tableOfPackages(t)
	got := drawArchitecture(t, rows, actualImports(t, rows))
	if *update {
		if err := os.WriteFile(picture, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is old: go test ./commands -run Architecture -update", picture)
	}
}

// Measures of the picture, in pixels.
const (
	pictureWidth = 720
	boxWidth     = 112
	boxHeight    = 30
	levelHeight  = 66
)

var drawing = template.Must(template.New("").Parse(
	`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{.Width}} {{.Height}}" font-family="sans-serif" font-size="14" fill="#1f2328">
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#59636e"/></marker></defs>
<rect width="100%" height="100%" fill="#ffffff"/>
{{- range .Arrows}}
<path d="{{.}}" fill="none" stroke="#59636e" marker-end="url(#arrow)"/>
{{- end}}
{{- range .Boxes}}
<rect x="{{.X}}" y="{{.Y}}" width="{{$.BoxWidth}}" height="{{$.BoxHeight}}" rx="5" fill="#eef4fb" stroke="#59636e"/>
<text x="{{.TextX}}" y="{{.TextY}}" text-anchor="middle">{{.Name}}</text>
{{- end}}
</svg>
`))

type box struct {
	Name string
	X, Y int
}

func (b box) TextX() int { return b.X + boxWidth/2 }
func (b box) TextY() int { return b.Y + boxHeight/2 + 5 }

// drawArchitecture draws the packages that are there, and of their imports those
// that do not follow from others.
func drawArchitecture(t *testing.T, rows []packageRow, actual map[string][]string) []byte {
	t.Helper()
	levels := make(map[int][]string)
	for _, row := range rows {
		if _, there := actual[row.name]; there {
			levels[row.level] = append(levels[row.level], row.name)
		}
	}
	boxes := make(map[string]box)
	y := 16
	for _, level := range slices.Sorted(maps.Keys(levels)) {
		names := levels[level]
		gap := pictureWidth / len(names)
		for i, name := range names {
			boxes[name] = box{name, i*gap + (gap-boxWidth)/2, y}
		}
		y += levelHeight
	}
	var reaches func(from, to string) bool
	reaches = func(from, to string) bool {
		return from == to || slices.ContainsFunc(actual[from], func(next string) bool { return reaches(next, to) })
	}
	var arrows []template.HTMLAttr
	for _, name := range slices.Sorted(maps.Keys(boxes)) {
		for _, other := range actual[name] {
			to, drawn := boxes[other]
			follows := slices.ContainsFunc(actual[name], func(between string) bool { return between != other && reaches(between, other) })
			if !drawn || follows {
				continue
			}
			from := boxes[name]
			x1, y1, x2, y2 := from.X+boxWidth/2, from.Y+boxHeight, to.X+boxWidth/2, to.Y
			bend := (y2 - y1) / 2
			path := fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1, y1+bend, x2, y2-bend, x2, y2)
			if y2-y1 > levelHeight { // around the boxes of the levels between
				path = fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x2, y1+boxHeight/2, x2, y1+boxHeight/2, x2, y2)
			}
			arrows = append(arrows, template.HTMLAttr(path))
		}
	}
	var svg bytes.Buffer
	err := drawing.Execute(&svg, map[string]any{
		"Width": pictureWidth, "Height": y - levelHeight + boxHeight + 16, "BoxWidth": boxWidth, "BoxHeight": boxHeight, "Arrows": arrows,
		"Boxes": slices.SortedFunc(maps.Values(boxes), func(a, b box) int { return strings.Compare(a.Name, b.Name) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	return svg.Bytes()
}

// The linker leaves out what nobody calls, which is half of what the libraries have,
// unless something calls methods by a name that it cannot know: text/template does, and
// so do some command line parsers. The program would be larger by 8 MB, of which 3 are
// in memory.
func TestMethodsThatNobodyCallsAreLeftOut(t *testing.T) {
	build := exec.Command("go", "build", "-ldflags=-dumpdep", "-o", os.DevNull, "..")
	dependencies, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, dependencies)
	}
	if !bytes.Contains(dependencies, []byte("main.main -> ")) {
		t.Fatal("the linker tells nothing")
	}
	by := map[string]bool{}
	for line := range bytes.Lines(dependencies) {
		if function, is := bytes.CutSuffix(bytes.TrimSpace(line), []byte(" <ReflectMethod>")); is {
			by[string(function)] = true
		}
	}
	if len(by) > 0 {
		t.Errorf("methods are called by name: %q", slices.Sorted(maps.Keys(by)))
	}
}
