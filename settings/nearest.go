package settings

import (
	"strings"

	"github.com/hbollon/go-edlib"
)

// Nearest returns the word that an operator most likely meant, or an empty text
// when none is near.
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
	return best
}
