package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Weight is a weight for one backend.
type Weight struct {
	Pool, Address string // as Config has them
	Weight        int
}

// Reweigh writes weights into the text of a configuration and leaves every other
// byte of it alone: comments, order and layout are the operator's. left says, a
// sentence each, which weights cannot be written because the place in the text
// stands for more than this one backend. The error is Problems for text that is
// wrong, or that the result would be: then there is none.
func Reweigh(name string, src []byte, env func(string) (string, bool), weights []Weight) (out []byte, left []string, err error) {
	want, err := Parse(name, src, env)
	if err != nil {
		return nil, nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil || len(doc.Content) == 0 {
		return nil, nil, fmt.Errorf("read %s again: %w", name, err)
	}
	text := newEditor(src)
	for _, w := range weights {
		b, at := want.backend(w)
		if b == nil {
			left = append(left, fmt.Sprintf("%s/%s: it is not in the configuration", w.Pool, w.Address))
			continue
		}
		if b.Weight == w.Weight {
			continue
		}
		if why := text.reweigh(doc.Content[0], w, at); why != "" {
			left = append(left, fmt.Sprintf("%s/%s: %s; write weight: %d there by hand", w.Pool, w.Address, why, w.Weight))
			continue
		}
		b.Weight = w.Weight
	}
	out = text.done()
	got, err := Parse(name, out, env)
	if err != nil {
		return nil, left, fmt.Errorf("with these weights it would be refused: %w", err)
	}
	if !reflect.DeepEqual(got, want) { // the text is laid out as nobody thought of
		return nil, left, errors.New("the weights cannot be written into this text without changing what else it says; write them by hand")
	}
	return out, left, nil
}

// backend finds the backend that a weight is for, and its place in the list.
func (c *Config) backend(w Weight) (*Backend, int) {
	p := c.Pool(w.Pool)
	if p == nil {
		return nil, 0
	}
	i := slices.IndexFunc(p.Backends, func(b Backend) bool { return b.Address == w.Address })
	if i < 0 {
		return nil, 0
	}
	return &p.Backends[i], i
}

// editor collects changes of a text at places that the YAML parser tells.
type editor struct {
	src   []byte
	lines []int // where each begins
	edits []edit
}

type edit struct {
	from, to int
	text     string
}

func newEditor(src []byte) *editor {
	e := &editor{src: src, lines: []int{0}}
	for i, c := range src {
		if c == '\n' {
			e.lines = append(e.lines, i+1)
		}
	}
	return e
}

func (e *editor) done() []byte {
	slices.SortStableFunc(e.edits, func(a, b edit) int { return a.from - b.from })
	var out bytes.Buffer
	at := 0
	for _, x := range e.edits {
		out.Write(e.src[at:x.from])
		out.WriteString(x.text)
		at = x.to
	}
	out.Write(e.src[at:])
	return out.Bytes()
}

// reweigh changes backend i of w's pool, or says why not.
func (e *editor) reweigh(root *yaml.Node, w Weight, i int) (why string) {
	node := root
	for _, key := range []string{"pools", w.Pool, "backends"} {
		_, next := member(node, key)
		if why := shared(next); why != "" {
			return why
		}
		node = next
	}
	if node.Kind != yaml.SequenceNode || i >= len(node.Content) {
		return "its list of backends is not where it was expected"
	}
	b := node.Content[i]
	if why := shared(b); why != "" {
		return why
	}
	number := strconv.Itoa(w.Weight)
	if key, value := member(b, "weight"); value != nil {
		if value.Anchor != "" {
			return shared(value)
		}
		return e.replace(value, key, number)
	}
	key, address := member(b, "address")
	if address == nil || address.Line != key.Line || address.Anchor != "" {
		return "its address is not on the line of its key"
	}
	return e.insert(b, key, address, "weight: "+number)
}

// member is a key of a mapping and its value, as they are written there.
func member(m *yaml.Node, key string) (k, v *yaml.Node) {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i], m.Content[i+1]
		}
	}
	return nil, nil
}

// shared says why n must not be changed, if so.
func shared(n *yaml.Node) string {
	switch {
	case n == nil:
		return "it comes through a merge (<<)"
	case n.Kind == yaml.AliasNode:
		return fmt.Sprintf("it is written as the alias *%s (line %d)", n.Value, n.Line)
	case n.Anchor != "":
		return fmt.Sprintf("it has the anchor &%s (line %d), and may be used elsewhere", n.Anchor, n.Line)
	}
	return ""
}

// replace puts text in the place of a scalar or an alias.
func (e *editor) replace(n, key *yaml.Node, text string) string {
	from, to := e.span(n)
	if n.Line != key.Line || to < 0 {
		return fmt.Sprintf("its weight is written in a way that is not understood (line %d)", n.Line)
	}
	e.edits = append(e.edits, edit{from, to, text})
	return ""
}

// insert adds an entry to the mapping b behind the one of address.
func (e *editor) insert(b, key, address *yaml.Node, text string) string {
	_, to := e.span(address)
	if to < 0 {
		return fmt.Sprintf("its address is written in a way that is not understood (line %d)", address.Line)
	}
	if b.Style&yaml.FlowStyle != 0 {
		e.edits = append(e.edits, edit{to, to, ", " + text})
		return ""
	}
	end := len(e.src)
	newline := "\n"
	if i := bytes.IndexByte(e.src[to:], '\n'); i >= 0 {
		end = to + i
		if e.src[end-1] == '\r' {
			end, newline = end-1, "\r\n"
		}
	}
	e.edits = append(e.edits, edit{end, end, newline + strings.Repeat(" ", key.Column-1) + text})
	return ""
}

// span is where a scalar or an alias on one line is in the text; to is negative
// if that cannot be said.
func (e *editor) span(n *yaml.Node) (from, to int) {
	if n.Line > len(e.lines) {
		return 0, -1
	}
	from = e.lines[n.Line-1]
	for range n.Column - 1 { // columns count characters
		if from >= len(e.src) {
			return 0, -1
		}
		from++
		for from < len(e.src) && e.src[from]&0xC0 == 0x80 {
			from++
		}
	}
	rest := string(e.src[from:])
	switch {
	case n.Kind == yaml.AliasNode:
		return from, after(from, rest, "*"+n.Value)
	case n.Kind != yaml.ScalarNode || n.Style&^(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return 0, -1
	case n.Style == 0:
		return from, after(from, rest, n.Value)
	}
	quote := byte('\'')
	if n.Style == yaml.DoubleQuotedStyle {
		quote = '"'
	}
	return from, endOfQuoted(from, rest, quote)
}

func after(from int, rest, text string) int {
	if text == "" || !strings.HasPrefix(rest, text) {
		return -1
	}
	return from + len(text)
}

// endOfQuoted is the end of the scalar in quotes that rest begins with.
func endOfQuoted(from int, rest string, quote byte) int {
	if rest == "" || rest[0] != quote {
		return -1
	}
	for i := 1; i < len(rest) && rest[i] != '\n'; i++ {
		switch {
		case rest[i] == '\\' && quote == '"':
			i++
		case rest[i] != quote:
		case quote == '\'' && i+1 < len(rest) && rest[i+1] == quote:
			i++
		default:
			return from + i + 1
		}
	}
	return -1
}
