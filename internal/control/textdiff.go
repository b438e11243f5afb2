package control

import (
	"fmt"
	"slices"
	"strings"
)

const (
	diffContext = 3    // unchanged lines around a change
	maxEdits    = 1500 // beyond it the differing middle is shown as replaced: exactness would cost its square in memory
)

// edit is one line of a diff: kept (' '), deleted ('-') or inserted ('+').
type edit struct {
	op   byte
	text string
}

// unified renders the difference between two texts like diff -u; empty if
// there is none.
func unified(nameA, nameB, a, b string) string {
	if a == b {
		return ""
	}
	edits := diffLines(splitLines(a), splitLines(b))
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", nameA, nameB)
	lineA, lineB := 1, 1 // of edits[done]
	done := 0
	for _, h := range hunks(edits) {
		lineA, lineB = lineA+h.from-done, lineB+h.from-done // all kept
		done = h.to
		body, lenA, lenB := renderHunk(edits[h.from:h.to])
		fmt.Fprintf(&out, "@@ -%s +%s @@\n%s", span(lineA, lenA), span(lineB, lenB), body)
		lineA, lineB = lineA+lenA, lineB+lenB
	}
	return out.String()
}

// renderHunk returns the lines of a hunk and how many of them a and b have.
func renderHunk(edits []edit) (body string, lenA, lenB int) {
	var out strings.Builder
	for _, e := range edits {
		if e.op != '+' {
			lenA++
		}
		if e.op != '-' {
			lenB++
		}
		out.WriteByte(e.op)
		out.WriteString(e.text)
		if !strings.HasSuffix(e.text, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
	return out.String(), lenA, lenB
}

// span is a hunk's position: first line and number of lines. Of an empty one
// diff -u names the line before it.
func span(start, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", start-1)
	case 1:
		return fmt.Sprint(start)
	}
	return fmt.Sprintf("%d,%d", start, n)
}

type hunk struct{ from, to int }

// hunks groups changes whose surroundings touch.
func hunks(edits []edit) []hunk {
	var hs []hunk
	for i, e := range edits {
		if e.op == ' ' {
			continue
		}
		from, to := max(i-diffContext, 0), min(i+1+diffContext, len(edits))
		if n := len(hs); n > 0 && from <= hs[n-1].to {
			hs[n-1].to = to
			continue
		}
		hs = append(hs, hunk{from, to})
	}
	return hs
}

// splitLines keeps the line ends: a missing one is a difference.
func splitLines(s string) []string {
	return slices.Collect(strings.Lines(s))
}

// diffLines is what leads from a to b, with as few edits as possible.
func diffLines(a, b []string) []edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out []edit
	out = appendEdits(out, ' ', a[:head])
	out = append(out, myers(a[head:len(a)-tail], b[head:len(b)-tail])...)
	return appendEdits(out, ' ', a[len(a)-tail:])
}

func appendEdits(out []edit, op byte, lines []string) []edit {
	for _, l := range lines {
		out = append(out, edit{op, l})
	}
	return out
}

// myers is the greedy algorithm of Myers (1986): the furthest point on each
// diagonal for a growing number of edits, then the way back.
func myers(a, b []string) []edit {
	n, m := len(a), len(b)
	limit := min(n+m, maxEdits)
	v := make([]int, 2*limit+2) // furthest x on diagonal k, at k+limit
	var trace [][]int
	for d := 0; d <= limit; d++ {
		trace = append(trace, slices.Clone(v[limit-d:limit+d+1]))
		for k := -d; k <= d; k += 2 {
			x := 0
			if d > 0 {
				x = step(func(k int) int { return v[k+limit] }, k, d)
			}
			for x < n && x-k < m && a[x] == b[x-k] {
				x++
			}
			v[k+limit] = x
			if x >= n && x-k >= m {
				return walkBack(a, b, trace)
			}
		}
	}
	return appendEdits(appendEdits(nil, '-', a), '+', b)
}

// step is the x on diagonal k after d edits, before the run of equal lines:
// down from diagonal k+1, or right from k-1, whichever got further.
func step(v func(k int) int, k, d int) int {
	if k == -d || k != d && v(k-1) < v(k+1) {
		return v(k + 1)
	}
	return v(k-1) + 1
}

// walkBack follows trace from the end: trace[d] holds the diagonals -d to d
// as they were before the d-th edit.
func walkBack(a, b []string, trace [][]int) []edit {
	var out []edit
	x, y := len(a), len(b)
	for d := len(trace) - 1; d > 0; d-- {
		before := func(k int) int { return trace[d][k+d] }
		k := x - y
		from := step(before, k, d)
		for x > from && y > from-k { // equal lines
			x, y = x-1, y-1
			out = append(out, edit{' ', a[x]})
		}
		if k == -d || k != d && before(k-1) < before(k+1) {
			y--
			out = append(out, edit{'+', b[y]})
		} else {
			x--
			out = append(out, edit{'-', a[x]})
		}
	}
	for x > 0 {
		x--
		out = append(out, edit{' ', a[x]})
	}
	slices.Reverse(out)
	return out
}
