package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// table is text for people that is Markdown, too.
type table struct {
	head []string
	rows [][]string
	text int // so many columns, the first, are words; the others are numbers
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the table with its columns aligned.
func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	b := bufio.NewWriter(w)
	t.line(b, t.head, widths)
	for i, n := range widths {
		dashes := strings.Repeat("-", n)
		if i >= t.text {
			dashes = dashes[1:] + ":"
		}
		fmt.Fprintf(b, "| %s ", dashes)
	}
	fmt.Fprintln(b, "|")
	for _, row := range t.rows {
		t.line(b, row, widths)
	}
	return b.Flush()
}

func (t *table) line(w io.Writer, cells []string, widths []int) {
	for i, cell := range cells {
		space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i < t.text {
			fmt.Fprintf(w, "| %s%s ", cell, space)
		} else {
			fmt.Fprintf(w, "| %s%s ", space, cell)
		}
	}
	fmt.Fprintln(w, "|")
}

// millis is d in milliseconds with three digits, as far as they are there.
func millis[D ~int64](d D) string {
	v := float64(d) / float64(time.Millisecond)
	switch {
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// seconds is d in seconds, or a dash where there is nothing to tell.
func seconds(d time.Duration, ok bool) string {
	if !ok {
		return "-"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 2, 64)
}

// tens is v with one digit behind the point.
func tens(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// writeLate says how far the client itself is in the numbers above.
func writeLate(w io.Writer, rows []tally) {
	worst := duration(0)
	for _, t := range rows {
		worst = max(worst, t.Late)
	}
	fmt.Fprintf(w, "\nIn the worst of these runs 99 %% of the requests were sent within %s ms of when they were due.\n", millis(worst))
}

// headOfTally and cells are the columns of a tally.
var headOfTally = []string{"requests", "failed", "proxy's error", "passed on", "cut", "timeout", "p50 ms", "p99 ms", "p99.9 ms", "max ms"}

func (t tally) cells() []string {
	return []string{
		strconv.Itoa(t.Requests), strconv.Itoa(t.Failed()), strconv.Itoa(t.Made), strconv.Itoa(t.PassedOn),
		strconv.Itoa(t.Cut), strconv.Itoa(t.Timeout), millis(t.P50), millis(t.P99), millis(t.P999), millis(t.Max),
	}
}
