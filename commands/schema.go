package commands

import (
	"fmt"

	"github.com/spf13/cobra"

	"logto-email-relay/config"
)

// newSchema prints the JSON Schema, for editors and pipelines.
func newSchema(s *environment) *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the configuration", Args: noArguments,
		RunE: s.runs(func([]string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "%s\n", schema)
			return err
		}),
	}
}
