package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"logto-email-relay/app"
	"logto-email-relay/importer"
)

type importCommand struct {
	File   string `arg:"" placeholder:"FILE" help:"The JSON of a connector from Logto's console, the answer of Logto's GET /api/email-templates, or LoopBack's datasources.json."`
	Dir    string `default:"templates" placeholder:"DIR" help:"Where templates are written: <locale>/<Type>.html or .txt."`
	Locale string `default:"en" help:"The language of a connector's templates, which Logto keeps without one."`
}

// Run turns what an operator has into a part of the configuration, which is
// printed, and into templates, which are written. What was done and what could
// not be carried over goes to standard error.
func (cmd importCommand) Run(s *environment) error {
	text, err := os.ReadFile(cmd.File)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	imported, err := importer.Import(text, cmd.Dir, cmd.Locale)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errUsage, cmd.File, err)
	}
	written, err := cmd.write(imported.Files)
	for _, file := range written {
		fmt.Fprintf(s.errOut, "wrote %s\n", file)
	}
	notes := imported.Notes
	if err == nil {
		// Everything together, and beside what the directory held before.
		var g *app.Graph
		if g, err = app.Build(imported.Config, nil, nil, nil); err == nil {
			notes = append(notes, g.Warnings...)
			err = g.Close()
		}
	}
	for _, note := range notes {
		fmt.Fprintf(s.errOut, "note: %s\n", note)
	}
	if err != nil {
		return err
	}
	for _, name := range imported.Secrets {
		fmt.Fprintf(s.errOut, "note: set %s in the environment; its value stands in %s\n", name, cmd.File)
	}
	if _, err := s.out.Write(imported.Snippet); err != nil {
		return err
	}
	if imported.Lost > 0 {
		return fmt.Errorf("%d of the templates and providers could not be carried over", imported.Lost)
	}
	return nil
}

// write writes the templates, unless a file is there already that says something
// else.
func (cmd importCommand) write(files []importer.File) (written []string, err error) {
	var missing []importer.File
	var different []string
	for _, file := range files {
		path := filepath.Join(cmd.Dir, filepath.FromSlash(file.Path))
		switch present, err := os.ReadFile(path); {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, importer.File{Path: path, Content: file.Content})
		case err != nil:
			return nil, err
		case string(present) != file.Content:
			different = append(different, path)
		}
	}
	if len(different) > 0 {
		return nil, fmt.Errorf("nothing was written, because these files are there already and differ: %s",
			strings.Join(different, ", "))
	}
	for _, file := range missing {
		if err := os.MkdirAll(filepath.Dir(file.Path), 0o755); err != nil {
			return written, err
		}
		if err := os.WriteFile(file.Path, []byte(file.Content), 0o644); err != nil {
			return written, err
		}
		written = append(written, file.Path)
	}
	return written, nil
}
