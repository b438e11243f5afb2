package config

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// value is one value of the file, or the lack of it.
type value struct {
	d    *decoder
	node *yaml.Node // aliases followed; nil: not in the file
	at   *yaml.Node // where to point: the value, or what it is missing from
	path string     // listeners[0].name

	aliased bool // reached through an alias
}

// bad records a problem with the value. fix may be empty.
func (v value) bad(fix, format string, args ...any) {
	v.d.add(Problem{
		Line: v.at.Line, Column: v.at.Column, Path: v.path,
		Message: fmt.Sprintf(format, args...), Fix: fix,
	})
}

// given says whether the file has the value. A key without a value (YAML's
// null) counts as left out.
func (v value) given() bool { return v.node != nil && !isNull(v.node) }

// within is the value for n inside v, at path v.path+suffix.
func (v value) within(n *yaml.Node, suffix string) value {
	in := value{d: v.d, path: v.path + suffix, aliased: v.aliased || n.Kind == yaml.AliasNode}
	if in.path != "" && in.path[0] == '.' {
		in.path = in.path[1:] // of the root
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	in.node, in.at = n, n
	if n.Style&yaml.TaggedStyle != 0 {
		in.bad("remove it", "the YAML tag %s has no meaning here", n.Tag)
	}
	return in
}

// describe names the value's shape for "want a list, not …".
func (v value) describe() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("the value %q", v.node.Value)
	}
}

// list is the elements of a list; none if it is left out or is none.
func (v value) list() []value {
	if !v.given() {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		fix := ""
		if v.node.Kind == yaml.ScalarNode {
			fix = fmt.Sprintf("write [%s]", v.node.Value)
		}
		v.bad(fix, "want a list, not %s", v.describe())
		return nil
	}
	if !v.spend() {
		return nil
	}
	vs := make([]value, len(v.node.Content))
	for i, n := range v.node.Content {
		vs[i] = v.within(n, fmt.Sprintf("[%d]", i))
	}
	return vs
}

// pair is a key of a mapping and its value.
type pair struct {
	key   string
	keyAt *yaml.Node
	value
}

// pairs is a mapping in the order of the file; ok is false if the value is
// something else, which is reported. Keys that come through << are last.
func (v value) pairs() (ps []pair, ok bool) {
	if !v.given() {
		return nil, true
	}
	if v.node.Kind != yaml.MappingNode {
		v.bad("", "want a mapping (key: value), not %s", v.describe())
		return nil, false
	}
	return v.merge(nil, v, map[string]*yaml.Node{}, 0), true
}

// merge appends to ps the pairs of from that it does not have, then those that
// from takes over with <<. They become keys of v. have is the keys in ps.
func (v value) merge(ps []pair, from value, have map[string]*yaml.Node, depth int) []pair {
	if !from.spend() {
		return ps
	}
	v.aliased = from.aliased
	n := from.node
	own := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := v.within(n.Content[i], "")
		if key.node.Kind != yaml.ScalarNode {
			key.bad("write key: value", "a key must be a word, not %s", key.describe())
			continue
		}
		name := key.node.Value
		if key.node.Tag == "!!merge" {
			name = "<<"
		}
		first, dup := have[name]
		switch {
		case own[name]:
			key.path = v.within(key.node, "."+name).path
			key.bad("keep one of them", "the key %q is here twice; first on line %d", name, first.Line)
		case name == "<<" || !dup:
			own[name], have[name] = true, key.node
			if name != "<<" {
				ps = append(ps, pair{key: name, keyAt: key.node, value: v.within(n.Content[i+1], "."+name)})
			}
		}
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			ps = v.mergeFrom(ps, n.Content[i+1], have, depth+1)
		}
	}
	return ps
}

// mergeFrom appends what the value of a << key stands for: a mapping, or a list of them.
func (v value) mergeFrom(ps []pair, n *yaml.Node, have map[string]*yaml.Node, depth int) []pair {
	const deepest = 10 // a mapping may be made to take over itself
	in := v.within(n, ".<<")
	switch {
	case depth > deepest:
		in.bad("", "<< inside << goes deeper than %d", deepest)
	case in.node.Kind == yaml.MappingNode:
		return v.merge(ps, in, have, depth)
	case in.node.Kind == yaml.SequenceNode:
		if !in.spend() {
			return ps
		}
		v.aliased = in.aliased
		for _, n := range in.node.Content {
			ps = v.mergeFrom(ps, n, have, depth+1)
		}
	default:
		in.bad("write <<: *anchor", "want a mapping to take over, not %s", in.describe())
	}
	return ps
}

// table is a mapping with known keys. Reading a key makes it known; done
// reports the others. So each key is named once, where it is read.
type table struct {
	value
	pairs map[string]pair
	order []string
	known []string
	ok    bool // false: not a mapping, so nothing can be said about missing keys
}

func (v value) table() *table {
	ps, ok := v.pairs()
	t := &table{value: v, pairs: make(map[string]pair, len(ps)), ok: ok}
	for _, p := range ps {
		t.pairs[p.key] = p
		t.order = append(t.order, p.key)
	}
	return t
}

// get reads a key.
func (t *table) get(key string) value {
	if !slices.Contains(t.known, key) {
		t.known = append(t.known, key)
	}
	if p, ok := t.pairs[key]; ok {
		return p.value
	}
	v := value{d: t.d, at: t.at, path: key}
	if t.path != "" {
		v.path = t.path + "." + key
	}
	return v
}

// key is get for a problem with the key being there, rather than with its value.
func (t *table) key(name string) value {
	v := t.get(name)
	if p, ok := t.pairs[name]; ok {
		v.at = p.keyAt
	}
	return v
}

// require is get for a key that must be there; why says what for.
func (t *table) require(key, why string) (v value, ok bool) {
	v = t.get(key)
	if !v.given() && t.ok {
		v.bad(why, "missing")
	}
	return v, v.given()
}

// done reports the keys that nobody read.
func (t *table) done() {
	for _, key := range t.order {
		if slices.Contains(t.known, key) {
			continue
		}
		p := t.pairs[key]
		p.at = p.keyAt
		if t.d.full() {
			p.bad("", "unknown key %q", key)
			continue
		}
		p.bad(didYouMean(key, t.known), "unknown key %q", key)
	}
}
