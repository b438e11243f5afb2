package conformance

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Answer is one final answer as the client got it.
type Answer struct {
	Status   int
	Fields   []Field
	Trailers []Field
	Body     []byte // its first MiB
	Interim  []int  // the statuses of interim answers before it
	Whole    bool   // it was read to its end
	Closes   bool   // it says that it is the connection's last
	Asked    string // which request it answers, by the Origin's word; empty: not the Origin's answer
	Wrong    []string
}

// outgoing is an answer that is being read.
type outgoing struct {
	message
	status int
	proto  string
}

// readAnswer reads interim answers and the final one. An error before the first
// octet comes with a nil answer.
func readAnswer(r *bufio.Reader, head bool) (*Answer, error) {
	a := new(Answer)
	for {
		if _, err := r.Peek(1); err != nil {
			if len(a.Interim) == 0 {
				a = nil
			}
			return a, err
		}
		m := &outgoing{message: message{r: r}}
		err := m.readHead()
		if err == nil && m.status < 200 && m.status != 101 {
			if m.framed() != (framing{length: -1}) {
				m.complain("a %d with a length", m.status)
			}
			a.Interim = append(a.Interim, m.status)
			a.Wrong = append(a.Wrong, m.wrong...)
			continue
		}
		a.Asked = strings.Join(values(m.fields, asked), ", ")
		if err == nil {
			err = m.readBody(head || strings.HasPrefix(a.Asked, "HEAD "))
		}
		a.take(m, err)
		return a, err
	}
}

// take copies what was read.
func (a *Answer) take(m *outgoing, err error) {
	a.Status, a.Fields, a.Trailers, a.Body = m.status, m.fields, m.trailers, m.body
	a.Wrong = append(a.Wrong, m.wrong...)
	a.Whole = err == nil
	a.Closes = has(m.fields, "Connection", "close") || m.proto == "HTTP/1.0" && !has(m.fields, "Connection", "keep-alive")
}

func (m *outgoing) readHead() error {
	first, err := m.line()
	if err != nil {
		if !strings.HasPrefix("HTTP/1.", first[:min(len(first), 7)]) {
			m.complain("%.80q is no status line", first)
		}
		return err
	}
	if !m.statusLine(first) {
		m.complain("%.80q is no status line", first)
		return errBroken
	}
	if m.fields, err = m.section(); err == nil {
		m.checkHop()
	}
	return err
}

// statusLine reads RFC 9112, section 4: the blank behind the status is there
// even where the reason is not.
func (m *outgoing) statusLine(text string) bool {
	proto, rest, _ := strings.Cut(text, " ")
	code, reason, found := strings.Cut(rest, " ")
	status, err := strconv.ParseUint(code, 10, 16)
	if !strings.HasPrefix(proto, "HTTP/") || len(code) != 3 || err != nil {
		return false
	}
	m.proto, m.status = proto, int(status)
	if proto != "HTTP/1.1" && proto != "HTTP/1.0" || !found || status < 100 {
		m.complain("status line %.80q", text)
	}
	if strings.IndexFunc(reason, isControl) >= 0 {
		m.complain("a control in the reason %.60q", reason)
	}
	return true
}

// checkHop finds what the proxy should have kept for itself.
func (m *outgoing) checkHop() {
	for _, name := range []string{"Keep-Alive", "Proxy-Connection"} {
		if len(values(m.fields, name)) > 0 {
			m.complain("field %s was passed on", name)
		}
	}
	for _, name := range items(m.fields, "Connection") {
		if !slices.Contains([]string{"close", "keep-alive", "upgrade"}, strings.ToLower(name)) {
			m.complain("Connection names %.40q", name)
		}
	}
	if len(values(m.fields, "Upgrade")) > 0 && m.status != 101 && m.status != 426 {
		m.complain("Upgrade in a %d", m.status)
	}
	if m.status == 101 && (!has(m.fields, "Connection", "upgrade") || len(values(m.fields, "Upgrade")) != 1) {
		m.complain("a 101 that does not say to what")
	}
}

// readBody reads what follows the head by RFC 9112, section 6.3.
func (m *outgoing) readBody(head bool) error {
	f := m.framed()
	if f.chunked && m.proto == "HTTP/1.0" {
		m.complain("chunked in HTTP/1.0")
	}
	bare := m.status < 200 || m.status == 204
	if bare && f != (framing{length: -1}) {
		m.complain("a %d with a length", m.status)
	}
	switch {
	case head || bare || m.status == 304:
		return nil
	case f.chunked:
		return m.chunks()
	case f.length >= 0:
		return m.take(f.length)
	}
	err := m.take(1 << 62) // to the end of the connection
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
