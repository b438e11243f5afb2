package config

import (
	"net/netip"
	"regexp/syntax"
	"slices"
	"strings"
)

// Covers reports whether m certainly holds for every request that o holds for,
// so that a route with o that comes after one with m never gets a request. False
// may also mean that it cannot be told: of regular expressions only the plain
// ones are understood, and no two conditions are added up.
func (m *Match) Covers(o *Match) bool {
	return m.covers(o, m.pathShape(), o.pathShape())
}

// covers is Covers with the shapes of both paths at hand.
func (m *Match) covers(o *Match, path, other pathShape) bool {
	return coversHosts(m.Hosts, o.Hosts) &&
		path.covers(other) &&
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

// pathShape is what a match asks of the path, as far as it can be compared.
type pathShape struct {
	kind pathKind
	text string // of the kind
	expr string // the expression of leadingText and someText
}

type pathKind uint8

const (
	anyPath     pathKind = iota
	exactPath            // it is text
	prefixPath           // it is text, or text and then a slash and anything
	leadingText          // it begins with text, and that is all that is asked
	someText             // an expression; what it matches begins with text, perhaps ""
)

func (m *Match) pathShape() pathShape {
	switch {
	case m.PathExact != "":
		return pathShape{kind: exactPath, text: m.PathExact}
	case m.PathRegex != "":
		return regexShape(m.PathRegex)
	}
	// Routes compare prefixes without the slashes at their end: "/" is every path.
	if prefix := strings.TrimRight(m.Path, "/"); prefix != "" {
		return pathShape{kind: prefixPath, text: prefix}
	}
	return pathShape{}
}

func regexShape(expr string) pathShape {
	re := parseRegex(expr)
	if re == nil {
		return pathShape{kind: someText, expr: expr}
	}
	if matchesAll(re) {
		return pathShape{}
	}
	text, open := leading(re)
	if open {
		return pathShape{kind: leadingText, text: text, expr: expr}
	}
	return pathShape{kind: someText, text: text, expr: expr}
}

// covers reports whether s holds for every path that o holds for.
func (s pathShape) covers(o pathShape) bool {
	switch s.kind {
	case anyPath:
		return true
	case exactPath:
		return o.kind == exactPath && o.text == s.text
	case prefixPath:
		same := o.text == s.text && (o.kind == exactPath || o.kind == prefixPath)
		return same || o.kind != anyPath && strings.HasPrefix(o.text, s.text+"/")
	case leadingText:
		return o.kind != anyPath && strings.HasPrefix(o.text, s.text)
	}
	return o.kind == someText && o.expr == s.expr
}

// leading is the text that everything begins with that re matches; "" if there is
// none or it is not plain to see. open says that this is all that re asks.
func leading(re *syntax.Regexp) (text string, open bool) {
	if re.Op != syntax.OpConcat || len(re.Sub) < 2 || re.Sub[0].Op != syntax.OpBeginText {
		return "", false
	}
	if re.Sub[1].Op != syntax.OpLiteral || re.Sub[1].Flags&syntax.FoldCase != 0 {
		return "", false
	}
	rest := re.Sub[2:]
	return string(re.Sub[1].Rune), !slices.ContainsFunc(rest, func(s *syntax.Regexp) bool { return !mayBeEmpty(s) })
}

// matchesAll reports whether re certainly matches in every text: nothing at all is
// enough for it, at the beginning.
func matchesAll(re *syntax.Regexp) bool {
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
