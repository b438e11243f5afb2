package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a configuration, for a person to
// act on: where it is, what it is, and what would be right.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1; 0 where no line can be named
	Column  int    `json:"column"` // from 1, like Line
	Path    string `json:"path"`   // listeners[0].routes[1].pool
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"` // what would be right, where the message alone does not say it
}

// String renders a problem as one line: file:line:column: path: message; fix.
func (p Problem) String() string {
	return p.line("")
}

// line is String with a word, unless that is empty, behind the place.
func (p Problem) line(word string) string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if word != "" {
		b.WriteString(word)
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Fix != "" {
		b.WriteString("; ")
		b.WriteString(p.Fix)
	}
	return b.String()
}

// Problems is everything that is wrong with one configuration, in the order
// of the file. It is an error of one line a problem.
type Problems []Problem

// Error renders the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
