package commands

import (
	"fmt"

	"logto-email-relay/config"
)

type schemaCommand struct{}

// Run prints the JSON Schema, for editors and pipelines.
func (schemaCommand) Run(s *environment) error {
	schema, err := config.Schema()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\n", schema)
	return err
}
