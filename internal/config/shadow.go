package config

import "strings"

// Shadowed tells of each route of l that can never get a request which earlier one
// gets them all, by their numbers. It claims only what is certain: see Covers.
func (l *Listener) Shadowed() map[int]int {
	// Of thousands of routes few can cover one: they are looked up by a host and a
	// path, not tried one by one.
	seen := map[shadowKey][]int{}
	out := map[int]int{}
	for i := range l.Routes {
		m := &l.Routes[i].Match
		if by := firstCover(l.Routes, seen, m); by >= 0 {
			out[i] = by
			continue // whom it would cover, its own cover does
		}
		hosts := m.Hosts
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, h := range hosts {
			k := shadowKey{h, m.pathKey()}
			seen[k] = append(seen[k], i)
		}
	}
	return out
}

// shadowKey is a host (none: "") and a path of a route's match.
type shadowKey struct{ host, path string }

const someRegex = "~" // the path of all that have a regular expression: no path begins like it

func (m *Match) pathKey() string {
	switch {
	case m.anyPath():
		return ""
	case m.PathExact != "":
		return m.PathExact
	case m.PathRegex != "":
		return someRegex
	}
	return prefixOf(m.Path)
}

// firstCover is the first route among those seen that covers m, or -1. What covers
// all of m covers its first host, with a host from hostsOver and a path from pathsOver.
func firstCover(routes []Route, seen map[shadowKey][]int, m *Match) int {
	first := -1
	host := ""
	if len(m.Hosts) > 0 {
		host = m.Hosts[0]
	}
	paths := m.pathsOver()
	for _, h := range hostsOver(host) {
		for _, p := range paths {
			for _, i := range seen[shadowKey{h, p}] {
				if first >= 0 && i >= first {
					break
				}
				if routes[i].Match.Covers(m) {
					first = i
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

// pathsOver are the keys of the paths that may hold for all that m's holds for.
func (m *Match) pathsOver() []string {
	over := []string{"", someRegex}
	path := m.PathExact
	switch {
	case m.anyPath():
		return over
	case m.PathRegex != "":
		path, _ = leading(m.PathRegex)
	case path == "":
		path = prefixOf(m.Path)
	}
	if path != "" {
		over = append(over, path)
	}
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			over = append(over, path[:i])
		}
	}
	return over
}
