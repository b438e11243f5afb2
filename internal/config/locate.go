package config

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// locator finds the place of a path such as listeners[0].routes[1].pool in a
// file that has been parsed.
type locator struct {
	root *yaml.Node
	keys map[*yaml.Node]map[string]entry // of the mappings that were looked into
}

// entry is a key of a mapping and its value.
type entry struct{ key, value *yaml.Node }

// newLocator reads src, which Parse has found right.
func newLocator(src []byte) *locator {
	d := &decoder{seen: map[Problem]bool{}}
	root, ok := d.document(src)
	if !ok {
		root = &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	}
	return &locator{root: root, keys: map[*yaml.Node]map[string]entry{}}
}

// find returns what the path leads to, or what encloses the first part of it
// that is not in the file; exact says which. at is where to point: the value, or
// the key of a block that stands below it.
func (l *locator) find(path string) (at, value *yaml.Node, exact bool) {
	at, value = l.root, l.root
	for path != "" {
		next, rest, ok := l.step(value, path)
		if !ok {
			return at, value, false
		}
		at, value, path = next.value, unalias(next.value), rest
		if next.key != nil && (value.Kind != yaml.ScalarNode || isNull(value) || next.value.Kind == yaml.AliasNode) {
			at = next.key
		}
	}
	return at, value, true
}

// step takes the first part of a path. A pool's name may hold dots: the longest
// key that fits is meant.
func (l *locator) step(n *yaml.Node, path string) (next entry, rest string, ok bool) {
	if number, after, isIndex := cutIndex(path); isIndex {
		if n.Kind != yaml.SequenceNode || number >= len(n.Content) {
			return entry{}, "", false
		}
		return entry{value: n.Content[number]}, after, true
	}
	if n.Kind != yaml.MappingNode {
		return entry{}, "", false
	}
	keys := l.mapping(n)
	for end := len(path); end > 0; end = strings.LastIndexAny(path[:end], ".[") {
		if e, found := keys[path[:end]]; found {
			return e, strings.TrimPrefix(path[end:], "."), true
		}
	}
	return entry{}, "", false
}

// cutIndex reads [3] in front of a path.
func cutIndex(path string) (n int, rest string, ok bool) {
	inner, rest, closed := strings.Cut(strings.TrimPrefix(path, "["), "]")
	if !closed || path[0] != '[' {
		return 0, "", false
	}
	n, err := strconv.Atoi(inner)
	return n, strings.TrimPrefix(rest, "."), err == nil && n >= 0
}

// mapping is the keys of a mapping, with those that it takes over with <<.
func (l *locator) mapping(n *yaml.Node) map[string]entry {
	if keys := l.keys[n]; keys != nil {
		return keys
	}
	keys := map[string]entry{}
	l.keys[n] = keys // before its << are followed: one that leads back here ends
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			keys[unalias(n.Content[i]).Value] = entry{n.Content[i], n.Content[i+1]}
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			l.takeOver(keys, unalias(n.Content[i+1]))
		}
	}
	return keys
}

func (l *locator) takeOver(keys map[string]entry, from *yaml.Node) {
	switch from.Kind {
	case yaml.MappingNode:
		for name, e := range l.mapping(from) {
			if _, own := keys[name]; !own {
				keys[name] = e
			}
		}
	case yaml.SequenceNode:
		for _, n := range from.Content {
			if n = unalias(n); n.Kind == yaml.MappingNode {
				l.takeOver(keys, n)
			}
		}
	}
}

func unalias(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
