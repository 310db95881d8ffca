package recipients

import (
	"strings"

	"github.com/hbollon/go-edlib"

	"logto-email-relay/mail"
)

// Suggest returns the well-known domain that was probably meant by one that does not
// exist: each part of it is right, or one letter away, as in gmial.con. It is empty
// where there is none.
func Suggest(domain string) string {
	if mail.IsWellKnown(domain) { // which is not misspelt
		return ""
	}
	best, bestDistance := "", 3
	for _, known := range mail.WellKnown {
		if distance := distance(domain, known); distance < bestDistance {
			best, bestDistance = known, distance
		}
	}
	return best
}

// far is the distance of what is no misspelling.
const far = 100

func distance(domain, known string) (sum int) {
	parts, knownParts := strings.Split(domain, "."), strings.Split(known, ".")
	if len(parts) != len(knownParts) {
		return far
	}
	for i, part := range parts {
		d := edlib.OSADamerauLevenshteinDistance(part, knownParts[i])
		isName := i == 0
		if d > 1 || d == 1 && isName && len(knownParts[i]) < 3 { // any two letters are near qq
			return far
		}
		sum += d
	}
	return sum
}
