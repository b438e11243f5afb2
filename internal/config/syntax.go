package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// document reads the one document that a configuration is. False means that
// it is not YAML, or not one document, and that this has been reported.
func (d *decoder) document(src []byte) (*yaml.Node, bool) {
	// An empty file is an empty mapping, so that what is missing is what gets reported.
	root := &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	for first := true; ; first = false {
		var doc yaml.Node
		err := decode(dec, &doc)
		if errors.Is(err, io.EOF) {
			return root, true
		}
		if err != nil {
			d.add(syntaxProblem(src, err))
			return nil, false
		}
		n := doc.Content[0]
		switch {
		case isNull(n):
		case first:
			root = n
		default:
			d.add(Problem{
				Line: n.Line, Column: n.Column,
				Message: "a second YAML document starts here; a configuration is one",
				Fix:     "remove the --- line above, or what follows it",
			})
			return nil, false
		}
	}
}

// decode is dec.Decode, with the panics that the library keeps for its own
// mistakes as errors: an edit must not be able to end a running proxy.
func decode(dec *yaml.Decoder, doc *yaml.Node) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("yaml: %v", v)
		}
	}()
	return dec.Decode(doc)
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Style&yaml.TaggedStyle == 0
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxProblem says in words what the YAML library says in terms of its
// grammar, and where. The library names the line where the enclosing block
// began, or one beside it, so the place is found here if it can be.
func syntaxProblem(src []byte, err error) Problem {
	prefix := yamlError.FindStringSubmatch(err.Error())
	ends := lineEnds(src)
	n, ok := brokenLine(src, ends)
	if !ok {
		said, _ := strconv.Atoi(prefix[1]) // none means the first
		n = min(max(said, 1), len(ends))
	}
	text := line(src, ends, n)
	p := Problem{Line: n, Column: 1 + len(text) - len(strings.TrimLeft(text, " "))}
	p.Message, p.Fix = explain(err.Error()[len(prefix[0]):], text)
	return p
}

// brokenLine is the number of the line after the longest beginning of src that
// is YAML by itself: there the mistake begins, however late the parser sees it.
// False: src is too large to search.
func brokenLine(src []byte, ends []int) (n int, ok bool) {
	// Fed byte by byte, the parser has read little more than it complains about.
	r := &oneByte{rest: src}
	parses(r)
	n = bytes.Count(src[:len(src)-len(r.rest)], []byte("\n")) + 1

	budget := 1 << 20 // each step back parses once more
	for n = min(n, len(ends)); n > 0 && !parses(bytes.NewReader(src[:ends[n-1]])); n-- {
		if budget -= ends[n-1]; budget < 0 {
			return 0, false
		}
	}
	return min(n+1, len(ends)), true
}

// lineEnds are the offsets just after each line; at least one.
func lineEnds(src []byte) []int {
	var ends []int
	for i, b := range src {
		if b == '\n' {
			ends = append(ends, i+1)
		}
	}
	if len(src) == 0 || src[len(src)-1] != '\n' {
		ends = append(ends, len(src))
	}
	return ends
}

// line is the text of line n, from 1.
func line(src []byte, ends []int, n int) string {
	start := 0
	if n > 1 {
		start = ends[n-2]
	}
	return strings.TrimRight(string(src[start:ends[n-1]]), "\r\n")
}

func parses(r io.Reader) bool {
	dec := yaml.NewDecoder(r)
	for {
		var doc yaml.Node
		if err := decode(dec, &doc); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// oneByte reads one byte at a time, so that rest tells how far a parser got.
type oneByte struct{ rest []byte }

func (r *oneByte) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(1, len(p))], r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// explain puts the library's message for the mistake on that line into words.
func explain(message, text string) (what, fix string) {
	indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
	has := func(s string) bool { return strings.Contains(message, s) }
	switch {
	case strings.Contains(indent, "\t"):
		return "this line is indented with a tab", "YAML wants spaces"
	case has("did not find expected alphabetic or numeric character") && strings.Contains(text, "*"):
		return "a value that starts with * and has no quotes is an alias in YAML", `put it in quotes, such as "*.example.com"`
	case has("unknown anchor"):
		return "a value that starts with * and has no quotes is an alias in YAML, and this one's anchor is not above it",
			"define the anchor first, or put the value in quotes"
	case has("mapping values are not allowed"):
		return "a key where no key can be", `is the line indented as those beside it? A value that contains ": " needs quotes`
	case has("could not find expected ':'"):
		return "this is neither a key with a value nor part of a list", "write key: value"
	case has("did not find expected key"), has("did not find expected '-' indicator"):
		return "this line does not fit to those above it", "is it indented as those beside it, and are its quotes closed once?"
	case has("did not find expected ',' or ']'"), has("did not find expected ',' or '}'"), has("did not find expected node content"):
		if strings.Contains(text, "${") {
			return "a list or mapping in brackets is not as it should be here", "within brackets a value with ${NAME} needs quotes"
		}
		return "a list or mapping in brackets is not as it should be here", "is a closing bracket or a comma missing?"
	case has("found unexpected end of stream"):
		return "a quote is opened here and not closed", "close it"
	case has("cannot start any token"):
		return "a value cannot start with this character", "put the value in quotes"
	}
	return "not valid YAML: " + message, ""
}
