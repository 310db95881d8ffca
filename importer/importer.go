// Package importer turns what people have, Logto's connectors and templates and
// LoopBack's data sources, into files of the relay's own: a part of the
// configuration, and templates.
//
// It reads and returns bytes. What it returns has been through the loaders that
// the relay itself uses; what they refuse is left out and told.
package importer

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"logto-email-relay/config"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// Result is what a file becomes.
type Result struct {
	// Snippet is the part of the configuration, as JSON.
	Snippet []byte
	// Files are the templates.
	Files []File
	// Notes tell what an operator should know, what was left out among it.
	Notes []string
	// Lost counts the templates, providers and keys that were left out.
	Lost int
	// Secrets are the environment variables that stand for what is secret.
	Secrets []string
	// Unset are environment variables that the file names itself, and that are not set here.
	Unset []string
	// Config is a whole configuration with the snippet in it, to be tried. Its
	// token and sender are made up.
	Config *config.Config
}

// File is one template. Its path begins in the templates' directory and has
// slashes: "en/SignIn.html".
type File struct{ Path, Content string }

// Import reads the JSON of one of Logto's email connectors, the answer of Logto's
// GET /api/connectors or GET /api/email-templates, or a datasources.json of LoopBack. The templates will
// be in dir; locale is the language of a connector's, which Logto keeps without
// one.
func Import(text []byte, dir, locale string) (*Result, error) {
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		return nil, err
	}
	i := &importer{locale: locale, catalogue: catalogue, secrets: make(map[string]string), named: make(map[string]string)}
	var unset []string
	for _, found := range reference.FindAllSubmatch(text, -1) {
		name := string(found[1])
		if value, isSet := os.LookupEnv(name); isSet {
			i.named[name] = value
		} else if i.named[name] == "" {
			i.named[name] = rand.Text() // what stands behind it does not matter here
			unset = append(unset, name)
		}
	}
	if err := i.read(text); err != nil {
		return nil, err
	}
	part := make(map[string]any)
	if len(i.templates) > 0 {
		part["templates"] = struct {
			Dir       string   `json:"dir"`
			Variables []string `json:"variables,omitempty"`
		}{dir, i.variables}
	}
	if len(i.providers) > 0 {
		part["providers"] = i.providers
	}
	loaded, err := i.load(part)
	if err != nil {
		return nil, err
	}
	for _, notice := range loaded.Notices {
		i.note("%s", notice.Text)
	}
	r := &Result{Notes: i.notes, Lost: i.lost, Secrets: slices.Sorted(maps.Keys(i.secrets)), Config: loaded.Config}
	for _, t := range i.templates {
		r.Files = append(r.Files, t.files()...)
	}
	slices.SortFunc(r.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	r.Snippet, err = encode(part)
	for _, name := range slices.Sorted(slices.Values(unset)) {
		if bytes.Contains(r.Snippet, []byte("${"+name+"}")) {
			r.Unset = append(r.Unset, name)
		}
	}
	return r, err
}

// reference names a variable of the environment in a file.
var reference = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// importer collects what a file holds.
type importer struct {
	locale    string
	catalogue *templates.Catalogue
	templates []template
	providers []provider
	// variables are names that templates use and Logto does not send by itself.
	variables []string
	// secrets are the values of the variables that stand for them, and named those of the
	// variables that the file names itself.
	secrets, named map[string]string
	notes          []string
	lost           int
}

func (i *importer) note(format string, arguments ...any) {
	lines := strings.Split(fmt.Sprintf(format, arguments...), "\n")
	for n := range lines {
		lines[n] = settings.Printable(lines[n], 1000)
	}
	i.notes = append(i.notes, strings.Join(lines, "\n"))
}

// lose notes something that could not be carried over.
func (i *importer) lose(format string, arguments ...any) {
	i.note("not carried over: "+format, arguments...)
	i.lost++
}

// read tells the kinds of files apart by what is in them.
func (i *importer) read(text []byte) error {
	text = bytes.TrimPrefix(bytes.TrimSpace(text), []byte("\ufeff"))
	if bytes.HasPrefix(text, []byte("[")) {
		var connectors []connector
		if json.Unmarshal(text, &connectors) == nil && len(connectors) > 0 && connectors[0].ConnectorID != "" {
			return i.readConnectors(connectors)
		}
		var list []emailTemplate
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
		return i.readEmailTemplates(list)
	}
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return err
	}
	if id, isConnector := object["connectorId"].(string); isConnector {
		// The answer of Logto's GET /api/connectors/{id}.
		settings, _ := object["config"].(map[string]any)
		return i.readConnector(connectorTypes[id], settings)
	}
	if kind := kindOfConnector(object); kind != "" {
		return i.readConnector(kind, object)
	}
	if i.readDataSources(object) {
		return nil
	}
	return errors.New("this is none of the files that can be imported: the JSON of one of Logto's email connectors, " +
		"the answer of its GET /api/connectors or GET /api/email-templates, or a datasources.json with a mail connector")
}

// load reads sections as part of a configuration.
func (i *importer) load(part map[string]any) (config.Loaded, error) {
	whole := map[string]any{
		"server":    map[string]any{"authorization": []string{"Bearer " + rand.Text()}},
		"sender":    map[string]any{"from": "no-reply@acme.example"},
		"providers": []any{map[string]any{"type": "inbox"}},
	}
	maps.Copy(whole, part)
	text, err := encode(whole)
	if err != nil {
		return config.Loaded{}, err
	}
	return config.Parse("imported.json", text, func(name string) (string, bool) {
		if value, found := i.secrets[name]; found {
			return value, true
		}
		value, found := i.named[name]
		return value, found
	})
}

// encode writes JSON that people read.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(value)
	return b.Bytes(), err
}
