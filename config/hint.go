package config

import (
	"fmt"
	"slices"
	"strings"

	"logto-email-relay/settings"
)

// hint ends a sentence about a word that is not one of words.
func hint(written string, words []string) string {
	const few = 14
	if word := settings.Nearest(written, words); word != "" {
		return fmt.Sprintf("did you mean %q?", word)
	}
	if len(words) == 0 || len(words) > few {
		return ""
	}
	sorted := slices.Sorted(slices.Values(words))
	return "known are " + strings.Join(sorted, ", ")
}
