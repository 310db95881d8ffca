package settings

import (
	"strings"

	"github.com/hbollon/go-edlib"
)

// Nearest returns the word that an operator most likely meant, else the first one that
// goes on with a capital behind what was written, or an empty text when there is none.
func Nearest(written string, words []string) string {
	const longest = 64
	if len(written) > longest {
		return ""
	}
	best, bestDistance := "", 1+max(1, min(3, len(written)/3))
	for _, word := range words {
		distance := edlib.OSADamerauLevenshteinDistance(strings.ToLower(written), strings.ToLower(word))
		if distance < bestDistance {
			best, bestDistance = word, distance
		}
	}
	if best != "" || written == "" {
		return best
	}
	for _, word := range words { // fromEmail, for "from"
		if rest, found := strings.CutPrefix(word, written); found && 'A' <= rest[0] && rest[0] <= 'Z' {
			return word
		}
	}
	return ""
}
