package config

import (
	"fmt"
	"strings"
)

// didYouMean is a fix for a word that is none of those known: the nearest one,
// or all of them if none is near and they are few enough to read.
func didYouMean(word string, known []string) string {
	if s := nearest(word, known); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	if len(known) == 0 || len(known) > 16 {
		return ""
	}
	return "known here: " + strings.Join(known, ", ")
}

// nearest is the known word that word may be a mistyped or shortened form of, or "".
func nearest(word string, known []string) string {
	const longest = 64 // the distance costs the product of the lengths
	if word == "" || len(word) > longest {
		return ""
	}
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	word = fold(word)
	best, allowed := "", max(1, len(word)/3)
	for _, k := range known {
		if gap := len(k) - len(word); gap > allowed || -gap > allowed {
			continue
		}
		if dist := distance(word, fold(k)); dist <= allowed {
			// One less: a later word must be nearer to win.
			best, allowed = k, dist-1
		}
	}
	if best != "" {
		return best
	}
	for _, k := range known { // warning for warn, conn for connections
		if len(word) >= 3 && len(k) >= 3 && (strings.HasPrefix(word, k) || strings.HasPrefix(k, word)) {
			return k
		}
	}
	return ""
}

// distance is the number of typing mistakes between two words: a byte put in,
// left out, replaced, or swapped with its neighbour.
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
