package commands

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"logto-email-relay/config"
	"logto-email-relay/templates"
)

type importCommand struct {
	File   string `arg:"" placeholder:"FILE" help:"The JSON of a connector from Logto's console, the answer of Logto's GET /api/email-templates, or LoopBack's datasources.json."`
	Dir    string `default:"templates" placeholder:"DIR" help:"Where templates are written: <locale>/<Type>.html or .txt."`
	Locale string `default:"en" help:"The language of a connector's templates, which Logto keeps without one."`
}

// Run turns what an operator has into a part of the configuration, which is
// printed, and into templates, which are written. What was done and what could
// not be carried over goes to standard error.
func (cmd importCommand) Run(s *surroundings) error {
	text, err := os.ReadFile(cmd.File)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	i := &importer{dir: cmd.Dir, locale: cmd.Locale, secrets: make(map[string]string)}
	if err := i.read(text); err != nil {
		return fmt.Errorf("%w: %s: %w", errUsage, cmd.File, err)
	}
	written, err := i.write()
	for _, file := range written {
		fmt.Fprintf(s.errOut, "wrote %s\n", file)
	}
	if err == nil {
		err = i.check()
	}
	for _, note := range i.notes {
		fmt.Fprintf(s.errOut, "note: %s\n", note)
	}
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(i.secrets)) {
		fmt.Fprintf(s.errOut, "note: set %s in the environment; its value stands in %s\n", name, cmd.File)
	}
	snippet, err := i.snippet()
	if err == nil {
		_, err = s.out.Write(snippet)
	}
	if err == nil && i.lost > 0 {
		err = fmt.Errorf("%d of the templates and providers could not be carried over", i.lost)
	}
	return err
}

// importer collects what a file holds.
type importer struct {
	dir, locale string
	files       []importedTemplate
	providers   []providerEntry
	// variables are names that templates use and Logto does not send by itself.
	variables []string
	// secrets are the values of the variables that stand for them.
	secrets map[string]string
	notes   []string
	// lost counts what could not be carried over at all.
	lost int
}

func (i *importer) note(format string, arguments ...any) {
	i.notes = append(i.notes, fmt.Sprintf(format, arguments...))
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
		"the answer of its GET /api/email-templates, or a datasources.json with a mail connector")
}

// check opens the result with the loaders that serve uses.
func (i *importer) check() error {
	if len(i.files) > 0 {
		s := templates.DefaultSettings()
		s.Dir, s.Variables = i.dir, i.variables
		catalogue, err := templates.Open(s)
		if err != nil {
			return fmt.Errorf("%w: %w", errTemplates, err)
		}
		i.notes = append(i.notes, catalogue.Warnings()...)
	}
	if len(i.providers) == 0 {
		return nil
	}
	c, err := i.load(i.providers)
	if err != nil {
		return err
	}
	h, err := build(c, nil)
	if err != nil {
		return err
	}
	i.notes = append(i.notes, h.warnings...)
	return h.Close()
}

// load reads providers as a configuration.
func (i *importer) load(list []providerEntry) (*config.Config, error) {
	text, err := json.MarshalIndent(map[string]any{
		"server":    map[string]any{"authorization": []string{"Bearer " + strings.Repeat("x", 32)}},
		"sender":    map[string]any{"from": "no-reply@acme.example"},
		"providers": list,
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "import-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	c, notices, err := config.Load(file, func(name string) (string, bool) {
		value, found := i.secrets[name]
		return value, found
	})
	for _, notice := range notices {
		if !slices.Contains(i.notes, notice.Text) {
			i.note("%s", notice.Text)
		}
	}
	return c, err
}

// snippet is the part of the configuration.
func (i *importer) snippet() ([]byte, error) {
	part := make(map[string]any)
	if len(i.files) > 0 {
		section := map[string]any{"dir": i.dir}
		if len(i.variables) > 0 {
			section["variables"] = i.variables
		}
		part["templates"] = section
	}
	if len(i.providers) > 0 {
		part["providers"] = i.providers
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(part)
	return b.Bytes(), err
}
