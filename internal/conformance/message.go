package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// bodyKept is how much of a body is kept; the rest is read and forgotten.
const bodyKept = 1 << 20

// errBroken says that a message went wrong in a way that hides its end.
var errBroken = errors.New("the message has no end that could be known")

// Field is one header or trailer line.
type Field struct{ Name, Value string }

// message reads one message and keeps what is wrong with it. It goes on where
// it can, to see all of it.
type message struct {
	r        *bufio.Reader
	fields   []Field
	trailers []Field
	body     []byte
	wrong    []string
}

func (m *message) complain(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// line reads a line, without its end. A part of one is returned with the error.
func (m *message) line() (string, error) {
	text, err := m.r.ReadString('\n')
	if err != nil {
		return text, err
	}
	text = text[:len(text)-1]
	if !strings.HasSuffix(text, "\r") {
		m.complain("line %.60q ends in LF alone", text)
	}
	text = strings.TrimSuffix(text, "\r")
	if strings.Contains(text, "\r") {
		m.complain("CR inside line %.60q", text)
	}
	return text, nil
}

// section reads header or trailer lines and the empty line behind them.
func (m *message) section() (fields []Field, err error) {
	for {
		text, err := m.line()
		if err != nil || text == "" {
			return fields, err
		}
		fields = append(fields, m.field(text))
	}
}

func (m *message) field(text string) Field {
	if text[0] == ' ' || text[0] == '\t' {
		m.complain("line %.60q is folded", text)
	}
	name, value, found := strings.Cut(text, ":")
	if !found {
		m.complain("line %.60q has no colon", text)
	}
	if !isToken(name) {
		m.complain("field name %.60q is no token", name)
	}
	value = strings.Trim(value, " \t")
	if strings.IndexFunc(value, isControl) >= 0 {
		m.complain("a control in field %s: %.60q", name, value)
	}
	return Field{name, value}
}

// values are the lines of a field, in order.
func values(fields []Field, name string) (list []string) {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			list = append(list, f.Value)
		}
	}
	return list
}

// items are the elements of a list field over all its lines.
func items(fields []Field, name string) (list []string) {
	for _, v := range values(fields, name) {
		for item := range strings.SplitSeq(v, ",") {
			if item = strings.Trim(item, " \t"); item != "" {
				list = append(list, item)
			}
		}
	}
	return list
}

// has says whether a list field has an element.
func has(fields []Field, name, element string) bool {
	return slices.ContainsFunc(items(fields, name), func(s string) bool { return strings.EqualFold(s, element) })
}

// framing is how the end of a body is known.
type framing struct {
	chunked bool
	length  int64 // -1: not given
}

// framed finds the framing and complains of what makes it doubtful.
func (m *message) framed() framing {
	f := framing{length: -1}
	if lengths := values(m.fields, "Content-Length"); len(lengths) > 0 {
		if len(lengths) > 1 {
			m.complain("Content-Length comes %d times", len(lengths))
		}
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil || strings.Trim(lengths[0], "0123456789") != "" {
			m.complain("Content-Length is %.60q", lengths[0])
		}
		f.length = int64(n)
	}
	if len(values(m.fields, "Transfer-Encoding")) == 0 {
		return f
	}
	if f.length >= 0 {
		m.complain("both Transfer-Encoding and Content-Length")
	}
	f.chunked = m.coded()
	return f
}

// coded looks at the transfer codings, of which the last must be chunked, and
// only that.
func (m *message) coded() (chunked bool) {
	codings := items(m.fields, "Transfer-Encoding")
	count := 0
	for i, c := range codings {
		if !isToken(c) || strings.EqualFold(c, "identity") {
			m.complain("transfer coding %.60q", c)
		}
		if strings.EqualFold(c, "chunked") {
			count++
			chunked = i == len(codings)-1
		}
	}
	if !chunked || count != 1 {
		m.complain("Transfer-Encoding is %.60q", strings.Join(codings, ", "))
	}
	return chunked
}

// take reads n octets of the body.
func (m *message) take(n int64) error {
	keep := min(n, int64(bodyKept-len(m.body)))
	part := make([]byte, keep)
	got, err := io.ReadFull(m.r, part)
	m.body = append(m.body, part[:got]...)
	if err == nil {
		_, err = io.CopyN(io.Discard, m.r, n-keep)
	}
	return err
}

// chunks reads a chunked body and its trailer section.
func (m *message) chunks() error {
	for {
		n, err := m.chunkSize()
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := m.chunk(n); err != nil {
			return err
		}
	}
	var err error
	m.trailers, err = m.section()
	for _, f := range m.trailers {
		if slices.Contains(early, strings.ToLower(f.Name)) {
			m.complain("trailer %s: %.60s", f.Name, f.Value)
		}
	}
	return err
}

func (m *message) chunkSize() (int64, error) {
	text, err := m.line()
	if err != nil {
		return 0, err
	}
	digits, extensions := text, ""
	if i := strings.IndexByte(text, ';'); i >= 0 {
		digits, extensions = text[:i], text[i:]
	}
	n, err := strconv.ParseUint(digits, 16, 63)
	if err != nil || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		m.complain("chunk size %.60q", text)
		return 0, errBroken
	}
	if !areExtensions(extensions) {
		m.complain("chunk extension %.60q", extensions)
	}
	return int64(n), nil
}

// chunk reads the data of one chunk and the line end behind it.
func (m *message) chunk(n int64) error {
	if err := m.take(n); err != nil {
		return err
	}
	var end [2]byte
	if _, err := io.ReadFull(m.r, end[:]); err != nil {
		return err
	}
	if end != [2]byte{'\r', '\n'} {
		m.complain("%q behind the data of a chunk", end)
		return errBroken
	}
	return nil
}

// early are fields that mean something before a body and must not come behind
// it: they frame, route or authenticate (RFC 9110, section 6.5.1).
var early = []string{
	"authorization", "connection", "content-encoding", "content-length", "content-range", "content-type", "cookie",
	"expect", "forwarded", "host", "keep-alive", "max-forwards", "proxy-authorization", "set-cookie", "te", "trailer",
	"transfer-encoding", "upgrade", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
}
