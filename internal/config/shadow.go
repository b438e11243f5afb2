package config

import "strings"

// Shadowed tells of each route of l that can never get a request which earlier one
// gets them all, by their numbers. It claims only what is certain: see Covers.
func (l *Listener) Shadowed() map[int]int {
	c := covers{routes: l.Routes, seen: map[coverKey][]int{}}
	out := map[int]int{}
	for i := range l.Routes {
		path := l.Routes[i].Match.pathShape()
		c.paths = append(c.paths, path)
		if by := c.first(i); by >= 0 {
			out[i] = by
			continue // whom it would cover, its own cover does
		}
		hosts := l.Routes[i].Match.Hosts
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		c.leading = c.leading || path.kind == leadingText
		for _, h := range hosts {
			k := coverKey{h, path.key()}
			c.seen[k] = append(c.seen[k], i)
		}
	}
	return out
}

// covers are the routes so far. Of thousands few can cover one: they are looked up
// by a host and a path, not tried one by one.
type covers struct {
	routes  []Route
	paths   []pathShape
	seen    map[coverKey][]int
	leading bool // some have a path of kind leadingText
}

// mostTried bounds how many routes with one host and path are compared with another
// one: thousands that differ in a header alone must not hold up a change.
const mostTried = 256

// coverKey is a host (none: "") and a path of a route's match.
type coverKey struct{ host, path string }

// Expressions have keys that no path begins like.
const (
	leadingKey = "^"
	exprKey    = "~"
)

func (s pathShape) key() string {
	switch s.kind {
	case leadingText:
		return leadingKey + s.text
	case someText:
		return exprKey + s.expr
	}
	return s.text
}

// first is the first route among those seen that covers route i, or -1. What covers
// all of it covers its first host, with a host from hostsOver and a path from over.
func (c *covers) first(i int) int {
	m, first := &c.routes[i].Match, -1
	host := ""
	if len(m.Hosts) > 0 {
		host = m.Hosts[0]
	}
	paths := c.paths[i].over(c.leading)
	for _, h := range hostsOver(host) {
		for _, p := range paths {
			for n, k := range c.seen[coverKey{h, p}] {
				if first >= 0 && k >= first || n == mostTried {
					break
				}
				if c.routes[k].Match.covers(m, c.paths[k], c.paths[i]) {
					first = k
				}
			}
		}
	}
	return first
}

// hostsOver are the hosts that hold for all that h holds for.
func hostsOver(h string) []string {
	over := []string{""}
	if h == "" {
		return over
	}
	over = append(over, h)
	rest := strings.TrimPrefix(h, "*.")
	for {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return over
		}
		over = append(over, "*."+after)
		rest = after
	}
}

// over are the keys of the paths that may hold for all that s holds for; leading
// says whether there are any of that kind.
func (s pathShape) over(leading bool) []string {
	over := []string{""}
	if s.kind == anyPath {
		return over
	}
	over = append(over, s.key())
	for i := len(s.text); i > 0; i-- {
		if i == len(s.text) || s.text[i] == '/' {
			over = append(over, s.text[:i])
		}
		if leading {
			over = append(over, leadingKey+s.text[:i])
		}
	}
	return over
}
