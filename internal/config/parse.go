package config

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	// maxSource bounds a configuration's text: room for some ten thousand
	// routes, and far from what would make the parser's memory hurt.
	maxSource = 8 << 20

	// maxAliased bounds the values that aliases stand for, counted at each use:
	// a few lines of aliases of aliases can stand for billions.
	maxAliased = 1 << 17

	// maxProblems is as many as anybody reads; the rest is only counted.
	maxProblems = 200
)

// Parse reads a configuration: strictly, with defaults filled in and every
// reference checked. name is the file's, for the problems. env looks up
// ${NAME}; nil means that nothing is set. src is not kept.
//
// The error is always Problems: all there are, in the order of the file.
func Parse(name string, src []byte, env func(string) (string, bool)) (*Config, error) {
	d := &decoder{file: name, env: env, seen: map[Problem]bool{}}
	c := d.parse(src)
	if ps := d.result(); len(ps) > 0 {
		return nil, ps
	}
	return c, nil
}

// decoder holds what one Parse has found so far.
type decoder struct {
	file     string
	env      func(string) (string, bool)
	aliased  int // values read behind aliases, against maxAliased
	problems Problems
	seen     map[Problem]bool // without their path: one cause behind an alias is one problem
	unshown  int
	tooMany  *Problem // aliased passed maxAliased: all that follows is unreliable
}

func (d *decoder) parse(src []byte) *Config {
	if len(src) > maxSource {
		d.add(Problem{
			Message: fmt.Sprintf("the file has %d bytes; at most %d are read", len(src), maxSource),
			Fix:     "is this the right file?",
		})
		return nil
	}
	root, ok := d.document(src)
	if !ok {
		return nil
	}
	return d.config(value{d: d, node: root, at: root})
}

// add records a problem once, up to maxProblems.
func (d *decoder) add(p Problem) {
	p.File = d.file
	id := p
	id.Path = ""
	if d.seen[id] {
		return
	}
	if d.full() {
		d.unshown++
		return
	}
	d.seen[id] = true
	d.problems = append(d.problems, p)
}

// full says that another problem would only be counted: no need to think of a fix.
func (d *decoder) full() bool { return len(d.problems) >= maxProblems }

// spend counts the values inside v if they are reached through an alias. False
// means stop.
func (v value) spend() bool {
	d := v.d
	if v.aliased {
		d.aliased += 1 + len(v.node.Content)
	}
	if d.aliased <= maxAliased {
		return true
	}
	if d.tooMany == nil {
		d.tooMany = &Problem{
			File: d.file, Line: v.at.Line, Column: v.at.Column,
			Message: fmt.Sprintf("the aliases in this file stand for more than %d values", maxAliased),
			Fix:     "use fewer aliases of aliases",
		}
	}
	return false
}

// result is all problems in the order of the file.
func (d *decoder) result() Problems {
	if d.tooMany != nil {
		return Problems{*d.tooMany}
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if d.unshown > 0 {
		d.problems = append(d.problems, Problem{
			File:    d.file,
			Message: fmt.Sprintf("%d more problems are not shown", d.unshown),
		})
	}
	return d.problems
}
