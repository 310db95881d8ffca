package commands

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"logto-email-relay/app"
	"logto-email-relay/config"
	"logto-email-relay/importer"
	"logto-email-relay/settings"
)

type importCommand struct {
	File, Dir, Locale string
}

func newImport(s *environment) *cobra.Command {
	var cmd importCommand
	c := &cobra.Command{
		Use: "import FILE", Short: "Turn a connector of Logto's, its email templates or LoopBack's data sources into our files",
		Long: "Turn a connector of Logto's, its email templates or LoopBack's data sources into our files.\n" +
			"FILE holds the JSON of a connector from Logto's console, the answer of Logto's GET /api/connectors\n" +
			"or GET /api/email-templates, or LoopBack's datasources.json.",
		Args: cobra.ExactArgs(1),
		RunE: s.runs(func(args []string) error {
			cmd.File = args[0]
			return cmd.run(s)
		}),
	}
	c.Flags().StringVar(&cmd.Dir, "dir", "templates", "the `FOLDER` that templates are written to: <locale>/<Type>.html or .txt")
	c.Flags().StringVar(&cmd.Locale, "locale", "en", "the language of a connector's templates, a BCP 47 `TAG`, which Logto keeps without one")
	return c
}

// run turns what an operator has into a part of the configuration, which is
// printed, and into templates, which are written. What was done and what could
// not be carried over goes to standard error.
func (cmd importCommand) run(s *environment) error {
	const largest = 16 << 20 // nine templates in twenty languages, and more
	name := settings.Printable(cmd.File, maxName)
	text, err := config.ReadFile(cmd.File, largest)
	if err != nil {
		return fmt.Errorf("%w: cannot read %s: %w", errUsage, name, err)
	}
	imported, err := importer.Import(text, cmd.Dir, cmd.Locale)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errUsage, name, err)
	}
	written, err := cmd.write(imported.Files)
	for _, file := range written {
		fmt.Fprintf(s.errOut, "wrote %s\n", settings.Printable(filepath.Join(cmd.Dir, filepath.FromSlash(file)), maxName))
	}
	notes := imported.Notes
	if err == nil {
		// Everything together, and beside what the directory held before.
		var g *app.Graph
		if g, err = app.Build(imported.Config, nil, nil, nil, slog.New(slog.DiscardHandler)); err == nil {
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
	for _, variable := range imported.Secrets {
		fmt.Fprintf(s.errOut, "note: set %s in the environment; its value stands in %s\n", variable, name)
	}
	for _, variable := range imported.Unset {
		fmt.Fprintf(s.errOut, "note: set %s in the environment; %s has its name alone\n", variable, name)
	}
	if _, err := s.out.Write(imported.Snippet); err != nil {
		return err
	}
	if imported.Lost > 0 {
		return fmt.Errorf("%d of the templates, providers and keys could not be carried over", imported.Lost)
	}
	return nil
}

// write writes the templates, unless a file is there already that says something
// else. Nothing outside of the directory is read or written, and no link in it is
// followed.
func (cmd importCommand) write(files []importer.File) (written []string, err error) {
	if len(files) == 0 {
		return nil, nil
	}
	if err := os.MkdirAll(cmd.Dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(cmd.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	var missing []importer.File
	var different []string
	for _, file := range files {
		switch same, err := holds(root, file); {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, file)
		case err != nil:
			return nil, err
		case !same:
			different = append(different, settings.Printable(filepath.Join(cmd.Dir, filepath.FromSlash(file.Path)), maxName))
		}
	}
	if len(different) > 0 {
		return nil, fmt.Errorf("nothing was written, because these files are there already and differ: %s",
			strings.Join(different, ", "))
	}
	for _, file := range missing {
		if err := root.MkdirAll(path.Dir(file.Path), 0o755); err != nil {
			return written, err
		}
		if err := create(root, file); err != nil {
			return written, err
		}
		written = append(written, file.Path)
	}
	return written, nil
}

// holds tells whether a file is there that says the same.
func holds(root *os.Root, file importer.File) (bool, error) {
	for _, name := range []string{path.Dir(file.Path), file.Path} {
		info, err := root.Lstat(name)
		if err != nil {
			return false, err
		}
		if info.IsDir() != (name != file.Path) || !info.IsDir() && !info.Mode().IsRegular() {
			return false, fmt.Errorf("nothing was written, because %s is a link or another special file", filepath.Join(root.Name(), name))
		}
		if !info.IsDir() && info.Size() != int64(len(file.Content)) {
			return false, nil
		}
	}
	present, err := root.ReadFile(file.Path)
	return string(present) == file.Content, err
}

// create writes a file that is not there yet.
func create(root *os.Root, file importer.File) error {
	created, err := root.OpenFile(file.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(created, file.Content)
	return errors.Join(err, created.Close())
}
