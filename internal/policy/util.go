package policy

import (
	"slices"
)

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// sortedTrue are the keys whose value is true.
func sortedTrue(m map[string]bool) []string {
	var keys []string
	for k, v := range m {
		if v {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// nearest is the word closest to s, if it is close enough to be meant.
func nearest(s string, words []string) string {
	best, bestDistance := "", max(1, (len(s)+1)/3)
	for _, w := range words {
		if d := distance(s, w); d <= bestDistance {
			best, bestDistance = w, d-1
		}
	}
	return best
}

// distance is the Levenshtein distance; of long texts, which no key is, it is
// only an upper bound.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
