package settings

import "strings"

// Nearest returns the word that an operator most likely meant, or an empty text
// when none is near.
func Nearest(written string, words []string) string {
	const longest = 64
	if len(written) > longest {
		return ""
	}
	best, bestDistance := "", 1+max(1, min(3, len(written)/3))
	for _, word := range words {
		distance := EditDistance(strings.ToLower(written), strings.ToLower(word))
		if distance < bestDistance {
			best, bestDistance = word, distance
		}
	}
	return best
}

// EditDistance counts the letters to insert, delete, replace or swap with their
// neighbour to get from one word to the other.
func EditDistance(from, to string) int {
	a, b := []rune(from), []rune(to)
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			if i == 0 || j == 0 {
				rows[i][j] = i + j
				continue
			}
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
