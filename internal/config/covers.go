package config

import (
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Covers reports whether m certainly holds for every request that o holds for,
// so that a route with o that comes after one with m never gets a request. False
// may also mean that it cannot be told: of regular expressions only the plain
// ones are understood, and no two conditions are added up.
func (m *Match) Covers(o *Match) bool {
	return coversHosts(m.Hosts, o.Hosts) &&
		m.coversPath(o) &&
		coversMethods(m.Methods, o.Methods) &&
		coversHeaders(m.Headers, o.Headers, strings.EqualFold) &&
		coversHeaders(m.Query, o.Query, func(a, b string) bool { return a == b }) &&
		coversNetworks(m.ClientIPs, o.ClientIPs)
}

func coversHosts(m, o []string) bool {
	if len(m) == 0 {
		return true
	}
	if len(o) == 0 {
		return false
	}
	for _, host := range o {
		if !slices.ContainsFunc(m, func(h string) bool { return coversHost(h, host) }) {
			return false
		}
	}
	return true
}

// coversHost compares two hosts as they are in Match: "*." is one label or more.
func coversHost(m, o string) bool {
	if m == o {
		return true
	}
	suffix, wild := strings.CutPrefix(m, "*")
	return wild && strings.HasSuffix(strings.TrimPrefix(o, "*"), suffix) && strings.TrimPrefix(o, "*") != suffix
}

func coversMethods(m, o []string) bool {
	return len(m) == 0 || len(o) > 0 && !slices.ContainsFunc(o, func(s string) bool { return !slices.Contains(m, s) })
}

// coversHeaders reports whether each condition of m is asked for by o as well.
func coversHeaders(m, o []Header, same func(a, b string) bool) bool {
	for _, h := range m {
		if !slices.ContainsFunc(o, func(x Header) bool {
			return same(h.Name, x.Name) && (h.Value == "*" || h.Value == x.Value)
		}) {
			return false
		}
	}
	return true
}

func coversNetworks(m, o []netip.Prefix) bool {
	if len(m) == 0 {
		return true
	}
	return len(o) > 0 && !slices.ContainsFunc(o, func(p netip.Prefix) bool { return !anyContains(m, p) })
}

// anyContains reports whether one of the networks holds all of p.
func anyContains(networks []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) })
}

// prefixOf is a path condition as routes compare it: without the slashes at its
// end, so that "/" is every path.
func prefixOf(path string) string { return strings.TrimRight(path, "/") }

// anyPath reports whether m says nothing of the path.
func (m *Match) anyPath() bool {
	switch {
	case m.PathExact != "":
		return false
	case m.PathRegex != "":
		return matchesAll(m.PathRegex)
	}
	return prefixOf(m.Path) == ""
}

func (m *Match) coversPath(o *Match) bool {
	switch {
	case m.anyPath():
		return true
	case m.PathExact != "":
		return m.PathExact == o.PathExact
	case m.PathRegex != "":
		return coveredByRegex(m.PathRegex, o)
	}
	prefix := prefixOf(m.Path)
	switch {
	case o.PathExact != "":
		return underPrefix(o.PathExact, prefix)
	case o.PathRegex != "":
		literal, _ := leading(o.PathRegex)
		return strings.HasPrefix(literal, prefix+"/")
	}
	return underPrefix(prefixOf(o.Path), prefix)
}

// underPrefix reports whether path is prefix or goes on behind it with a segment.
func underPrefix(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

func coveredByRegex(expr string, o *Match) bool {
	literal, open := leading(expr)
	switch {
	case o.PathRegex != "":
		theirs, _ := leading(o.PathRegex)
		return expr == o.PathRegex || open && strings.HasPrefix(theirs, literal)
	case o.PathExact != "":
		re, err := regexp.Compile(expr)
		return err == nil && re.MatchString(o.PathExact)
	}
	return open && prefixOf(o.Path) != "" && strings.HasPrefix(prefixOf(o.Path), literal)
}

// leading is the text that everything begins with that expr matches; "" if there
// is none or it is not plain to see. open says that this is all that expr asks.
func leading(expr string) (literal string, open bool) {
	re := parseRegex(expr)
	if re == nil || re.Op != syntax.OpConcat || len(re.Sub) < 2 || re.Sub[0].Op != syntax.OpBeginText {
		return "", false
	}
	if re.Sub[1].Op != syntax.OpLiteral || re.Sub[1].Flags&syntax.FoldCase != 0 {
		return "", false
	}
	return string(re.Sub[1].Rune), !slices.ContainsFunc(re.Sub[2:], func(s *syntax.Regexp) bool { return !mayBeEmpty(s) })
}

// matchesAll reports whether expr certainly matches in every text: it matches
// nothing at all, and does not ask where that is.
func matchesAll(expr string) bool {
	re := parseRegex(expr)
	if re == nil {
		return false
	}
	// These hold around the nothing at the beginning of any text.
	if re.Op == syntax.OpBeginText {
		return true
	}
	if re.Op == syntax.OpConcat && re.Sub[0].Op == syntax.OpBeginText {
		re = &syntax.Regexp{Op: syntax.OpConcat, Sub: re.Sub[1:]}
	}
	return mayBeEmpty(re)
}

// mayBeEmpty reports whether re matches the empty text wherever it stands.
func mayBeEmpty(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpRepeat:
		return re.Min == 0 || mayBeEmpty(re.Sub[0])
	case syntax.OpCapture, syntax.OpPlus:
		return mayBeEmpty(re.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return !mayBeEmpty(s) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, mayBeEmpty)
	}
	return false
}

func parseRegex(expr string) *syntax.Regexp {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil
	}
	return re.Simplify()
}
