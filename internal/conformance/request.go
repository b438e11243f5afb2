package conformance

import (
	"bufio"
	"slices"
	"strings"
)

// Request is one request as it arrived at the Origin.
type Request struct {
	Method, Target, Proto string
	Fields                []Field
	Trailers              []Field
	Body                  []byte   // its first MiB
	Whole                 bool     // it was read to its end
	Wrong                 []string // what is forbidden in it
}

// incoming is a request that is being read.
type incoming struct {
	message
	method, target, proto string
	frame                 framing
}

// readHead reads a request up to the empty line.
func readHead(r *bufio.Reader) (*incoming, error) {
	m := &incoming{message: message{r: r}}
	first, err := m.line()
	if err != nil {
		return m, err
	}
	if !m.requestLine(first) {
		m.complain("%.80q is no request line", first)
		return m, errBroken
	}
	if m.fields, err = m.section(); err != nil {
		return m, err
	}
	m.frame = m.framed()
	if m.frame.chunked && m.proto == "HTTP/1.0" {
		m.complain("chunked in HTTP/1.0")
	}
	m.checkHost()
	m.checkHop()
	return m, nil
}

func (m *incoming) requestLine(text string) bool {
	words := strings.Split(text, " ")
	if len(words) != 3 || !isToken(words[0]) || words[1] == "" {
		return false
	}
	m.method, m.target, m.proto = words[0], words[1], words[2]
	if m.proto != "HTTP/1.1" && m.proto != "HTTP/1.0" {
		m.complain("version %.40q", m.proto)
	}
	m.checkTarget()
	return true
}

// checkTarget is milder than RFC 3986: what browsers do not escape, such as |
// and ^, is not held against a proxy that leaves it alone.
func (m *incoming) checkTarget() {
	if i := strings.IndexFunc(m.target, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }); i >= 0 {
		m.complain("target %.80q has %q", m.target, m.target[i])
	}
	switch {
	case strings.HasPrefix(m.target, "/"), strings.HasPrefix(m.target, "http://"):
	case m.target == "*" && m.method == "OPTIONS":
	default:
		m.complain("target %.80q of %s", m.target, m.method)
	}
	if path, _, _ := strings.Cut(m.target, "?"); hasBrokenEscape(path) {
		m.complain("target %.80q has a broken escape", m.target)
	}
}

func (m *incoming) checkHost() {
	hosts := values(m.fields, "Host")
	if len(hosts) > 1 || len(hosts) == 0 && m.proto == "HTTP/1.1" {
		m.complain("%d Host lines", len(hosts))
	}
	for _, h := range hosts {
		if !isHost(h) {
			m.complain("Host is %.60q", h)
		}
	}
}

// checkHop finds fields of one connection that were passed on. A proxy may have
// its own, but those here only say what its client would have said.
func (m *incoming) checkHop() {
	for _, name := range []string{"Keep-Alive", "Proxy-Connection", "HTTP2-Settings"} {
		if len(values(m.fields, name)) > 0 {
			m.complain("field %s was passed on", name)
		}
	}
	for _, name := range items(m.fields, "Connection") {
		if !slices.Contains([]string{"close", "keep-alive", "upgrade", "te"}, strings.ToLower(name)) {
			m.complain("Connection names %.40q", name)
		}
	}
	te := items(m.fields, "TE")
	if len(te) > 0 && (len(te) > 1 || te[0] != "trailers" || !has(m.fields, "Connection", "te")) {
		m.complain("TE: %.40q", strings.Join(te, ", "))
	}
	upgrade := items(m.fields, "Upgrade")
	if len(upgrade) > 0 && !has(m.fields, "Connection", "upgrade") {
		m.complain("Upgrade: %.40q that Connection does not name", upgrade)
	}
	if has(m.fields, "Upgrade", "h2c") {
		m.complain("the upgrade to h2c was passed on")
	}
}

// waits says whether the sender wants leave to send the body.
func (m *incoming) waits() bool {
	return has(m.fields, "Expect", "100-continue") && (m.frame.chunked || m.frame.length > 0)
}

// readBody reads the body to its end.
func (m *incoming) readBody() error {
	switch {
	case m.frame.chunked:
		return m.chunks()
	case m.frame.length > 0:
		return m.take(m.frame.length)
	}
	return nil
}

// seen is the request as far as it has been read.
func (m *incoming) seen(whole bool) Request {
	return Request{m.method, m.target, m.proto, m.fields, m.trailers, m.body, whole, slices.Clone(m.wrong)}
}
