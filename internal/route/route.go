// Package route finds the first of many rules that a request meets.
//
// Rules are compiled once into a table that is never changed. Looking up neither
// allocates nor locks, and its cost depends on the labels of the host and the
// segments of the path, not on the number of rules: only rules that share a
// host and a path, and those with a regular expression, are tried one by one.
//
// It does not know what a rule leads to, nor where rules come from.
package route

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Rule is a set of conditions, all of which must hold, and what it leads to.
// Of the rules that a request meets, the first in order wins. A condition that
// is left empty holds for every request.
type Rule[T any] struct {
	// Hosts lists the hosts: exact ("example.com", "[::1]"), or "*.example.com",
	// which is any number of labels before example.com but not example.com
	// itself. Case, the request's port and its trailing dot are ignored.
	Hosts []string

	// At most one of these is set. Path is a prefix that ends where a segment
	// ends: "/v1" and "/v1/" both match /v1, /v1/ and /v1/x, but not /v1x.
	// PathRegex matches anywhere in the path unless it is anchored.
	Path, PathExact, PathRegex string

	Methods []string       // any of them, exactly as written
	Headers []Cond         // names in any case; of a repeated header, any value may match
	Query   []Cond         // names and values as they are without percent-encoding
	Clients []netip.Prefix // any of them

	Value T
}

// Cond asks for a name with a value. The value "*" is any value at all.
type Cond struct{ Name, Value string }

// Request is what rules are compared with. The slices are only looked at.
type Request struct {
	Method []byte
	Host   []byte // as the client wrote it, with or without port
	Path   []byte // normalised by the caller, without the query
	Query  []byte // raw, without the question mark
	Client netip.Addr
	Header Headers // nil: no headers
}

// Headers gives access to a request's headers.
type Headers interface {
	// Get returns the i-th value, from 0, of the header of that name, which is
	// given in lower case and must be compared without regard to case.
	Get(name string, i int) ([]byte, bool)
}

// Table is a compiled list of rules. It is immutable.
type Table[T any] struct {
	index  index
	values []T
}

// Compile makes a table of the rules. The error names the number of each bad
// rule, counted from 0, and what is wrong with it.
func Compile[T any](rules []Rule[T]) (*Table[T], error) {
	t := &Table[T]{values: make([]T, len(rules))}
	var problems []error
	for i := range rules {
		r := &rules[i]
		t.values[i] = r.Value
		if err := addRule(&t.index, r); err != nil {
			problems = append(problems, fmt.Errorf("rule %d: %w", i, err))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return t, nil
}

// Lookup returns the value of the first rule that the request meets.
func (t *Table[T]) Lookup(r *Request) (v T, ok bool) {
	i := t.index.find(r)
	if i == len(t.values) {
		return v, false
	}
	return t.values[i], true
}

func addRule[T any](x *index, r *Rule[T]) error {
	where, err := placeOf(r.Path, r.PathExact, r.PathRegex)
	if err != nil {
		return err
	}
	c := conditions{
		path:    where.regex,
		methods: slices.Clone(r.Methods),
		headers: slices.Clone(r.Headers),
		query:   slices.Clone(r.Query),
	}
	for i, h := range c.headers {
		if h.Name == "" {
			return errors.New("a header condition has no name")
		}
		c.headers[i].Name = strings.ToLower(h.Name)
	}
	for _, q := range c.query {
		if q.Name == "" {
			return errors.New("a query condition has no name")
		}
	}
	for _, p := range r.Clients {
		if !p.IsValid() {
			return errors.New("a client network is not valid")
		}
		c.clients = append(c.clients, unmapPrefix(p))
	}
	return x.add(c, r.Hosts, where)
}

// place is where in the path index a rule belongs.
type place struct {
	kind  placeKind
	path  string
	regex *regexp.Regexp
}

type placeKind uint8

const (
	anyPath placeKind = iota
	exactPath
	prefixPath
)

func placeOf(prefix, exact, expr string) (place, error) {
	set := 0
	for _, s := range []string{prefix, exact, expr} {
		if s != "" {
			set++
		}
	}
	switch {
	case set > 1:
		return place{}, errors.New("only one of path, path_exact and path_regex may be set")
	case prefix != "" && prefix[0] != '/':
		return place{}, fmt.Errorf("path %q does not begin with a slash", prefix)
	case exact != "" && exact[0] != '/':
		return place{}, fmt.Errorf("path_exact %q does not begin with a slash", exact)
	case exact != "":
		return place{kind: exactPath, path: exact}, nil
	case expr != "":
		re, err := regexp.Compile(expr)
		if err != nil {
			return place{}, fmt.Errorf("path_regex %q: %w", expr, err)
		}
		return place{regex: re}, nil
	}
	if prefix = strings.TrimRight(prefix, "/"); prefix != "" {
		return place{kind: prefixPath, path: prefix}, nil
	}
	return place{}, nil
}
