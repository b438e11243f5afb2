package control

import (
	"fmt"
	"strings"
	"testing"
)

func TestUnified(t *testing.T) {
	f := func(a, b, want string) {
		t.Helper()
		if got := unified("a", "b", a, b); got != want {
			t.Errorf("unified(%q, %q):\n%s\nwant:\n%s", a, b, got, want)
		}
	}
	f("", "", "")
	f("x\n", "x\n", "")
	f("", "x\n", "--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n")
	f("x\n", "", "--- a\n+++ b\n@@ -1 +0,0 @@\n-x\n")
	f("x\n", "x", "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+x\n\\ No newline at end of file\n")
	f("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
		"--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n")
	// two changes far apart
	f("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "2\n3\n4\n5\n6\n7\n8\n9\n10\n",
		"--- a\n+++ b\n@@ -1,4 +1,3 @@\n-1\n 2\n 3\n 4\n@@ -7,3 +6,4 @@\n 7\n 8\n 9\n+10\n")
}

// TestDiffOfStrangers: texts with nothing in common are replaced as a whole,
// in bounded time and memory.
func TestDiffOfStrangers(t *testing.T) {
	var a, b strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&a, "a%d\n", i)
		fmt.Fprintf(&b, "b%d\n", i)
	}
	checkEdits(t, a.String(), b.String())
}

// checkEdits plays the edits from a to b.
func checkEdits(t *testing.T, a, b string) {
	t.Helper()
	var before, after strings.Builder
	for _, e := range diffLines(splitLines(a), splitLines(b)) {
		if e.op != '+' {
			before.WriteString(e.text)
		}
		if e.op != '-' {
			after.WriteString(e.text)
		}
	}
	if before.String() != a || after.String() != b {
		t.Fatalf("the edits lead from %q to %q, want from %q to %q", before.String(), after.String(), a, b)
	}
}

// shortest is the number of edits that are needed, the slow way.
func shortest(a, b []string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			d := min(row[j], row[j+1]) + 1
			if a[i] == b[j] {
				d = diagonal
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}

func FuzzDiff(f *testing.F) {
	f.Add("1\n2\n3\n", "1\n3\n4\n")
	f.Add("a\nb\nc\na\nb\nb\na\n", "c\nb\na\nb\na\nc\n")
	f.Add("x", "x\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 2000 {
			return
		}
		checkEdits(t, a, b)
		edits := 0
		for _, e := range diffLines(splitLines(a), splitLines(b)) {
			if e.op != ' ' {
				edits++
			}
		}
		if want := shortest(splitLines(a), splitLines(b)); edits != want {
			t.Errorf("%d edits from %q to %q, %d are enough", edits, a, b, want)
		}
		unified("a", "b", a, b)
	})
}
