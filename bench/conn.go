package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// readBuffer holds one answer's head at least; larger bodies pass through it.
const readBuffer = 16 << 10

// protocolError is an answer that HTTP/1.1 does not allow.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// errShortBody is a connection that ended inside an announced body.
var errShortBody = errors.New("the answer ended before its announced end")

// conn is one client connection. It belongs to one worker.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func newConn(c net.Conn) *conn {
	return &conn{Conn: c, r: bufio.NewReaderSize(c, readBuffer)}
}

// answer is what a benchmark wants to know of a response.
type answer struct {
	status int
	bytes  int64 // of the body, without chunk framing
	reuse  bool  // the connection may carry another request
}

// roundTrip sends request and reads the answer to its last byte.
func (c *conn) roundTrip(request []byte, head bool, deadline time.Time) (answer, error) {
	if err := c.SetDeadline(deadline); err != nil {
		return answer{}, err
	}
	if _, err := c.Write(request); err != nil {
		return answer{}, err
	}
	for {
		a, f, err := c.readHead()
		if err != nil {
			return a, err
		}
		if a.status == 101 {
			return a, protocolError("the server switched protocols, which nobody asked for")
		}
		if a.status >= 200 {
			return c.readBody(a, f, head)
		}
	}
}

// framing is what a head says about the body that follows.
type framing struct {
	length  int64 // -1: not said
	chunked bool
}

// readHead reads a status line and the fields that matter here.
func (c *conn) readHead() (answer, framing, error) {
	a, f := answer{reuse: true}, framing{length: -1}
	line, err := c.line()
	if err != nil {
		return a, f, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' {
		return a, f, protocolError(fmt.Sprintf("%.40q is not an HTTP/1 status line", line))
	}
	a.reuse = line[7] != '0'
	n, ok := number(line[9:12], 10)
	if !ok || n < 100 {
		return a, f, protocolError(fmt.Sprintf("%.40q has no status", line))
	}
	a.status = int(n)
	for {
		line, err = c.line()
		if err != nil {
			return a, f, midway(err)
		}
		if len(line) == 0 {
			return a, f, nil
		}
		if err := field(line, &a, &f); err != nil {
			return a, f, err
		}
	}
}

// field looks at one header line for framing and persistence.
func field(line []byte, a *answer, f *framing) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return protocolError(fmt.Sprintf("%.40q is not a header line", line))
	}
	value = bytes.TrimSpace(value)
	// Lengths first: comparing case-insensitively is the dearer question.
	switch {
	case len(name) == 14 && bytes.EqualFold(name, []byte("Content-Length")):
		if f.length, ok = number(value, 10); !ok {
			return protocolError(fmt.Sprintf("Content-Length %.40q is not a number", value))
		}
	case len(name) == 17 && bytes.EqualFold(name, []byte("Transfer-Encoding")):
		f.chunked = bytes.EqualFold(value, []byte("chunked"))
	case len(name) == 10 && bytes.EqualFold(name, []byte("Connection")):
		switch {
		case bytes.EqualFold(value, []byte("close")):
			a.reuse = false
		case bytes.EqualFold(value, []byte("keep-alive")):
			a.reuse = true
		}
	}
	return nil
}

// readBody reads what f announced and throws it away.
func (c *conn) readBody(a answer, f framing, head bool) (answer, error) {
	var err error
	switch {
	case head || a.status == 204 || a.status == 304:
	case f.chunked:
		a.bytes, err = c.readChunks()
	case f.length >= 0:
		a.bytes, err = c.discard(f.length)
	default: // until the server closes
		a.bytes, err = io.Copy(io.Discard, c.r)
		a.reuse = false
	}
	return a, err
}

// readChunks reads a chunked body with its trailer section.
func (c *conn) readChunks() (total int64, err error) {
	for {
		line, err := c.line()
		if err != nil {
			return total, midway(err)
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, ok := number(bytes.TrimSpace(digits), 16)
		if !ok {
			return total, protocolError(fmt.Sprintf("%.40q is not a chunk size", line))
		}
		if size == 0 {
			return total, c.skipTrailers()
		}
		n, err := c.discard(size)
		total += n
		if err != nil {
			return total, err
		}
		if line, err = c.line(); err != nil {
			return total, midway(err)
		}
		if len(line) != 0 {
			return total, protocolError(fmt.Sprintf("%.40q where a chunk should end", line))
		}
	}
}

// skipTrailers reads up to and with the empty line that ends the message.
func (c *conn) skipTrailers() error {
	for {
		line, err := c.line()
		if err != nil {
			return midway(err)
		}
		if len(line) == 0 {
			return nil
		}
	}
}

// discard reads n bytes of body.
func (c *conn) discard(n int64) (int64, error) {
	var done int64
	for done < n {
		step := int(min(n-done, 1<<20))
		m, err := c.r.Discard(step)
		done += int64(m)
		if err != nil {
			return done, midway(err)
		}
	}
	return done, nil
}

// line reads one line without its end. It is valid until the next read.
func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, protocolError("a line of the answer is longer than 16 KiB")
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, errShortBody
	case err != nil:
		return nil, err
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}

// midway is err of a read inside a message, where a clean end is none.
func midway(err error) error {
	if errors.Is(err, io.EOF) {
		return errShortBody
	}
	return err
}

// number reads digits of the base, which is 10 or 16. Unlike strconv it takes
// bytes, and no sign.
func number(b []byte, base int64) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 15 {
		return 0, false
	}
	for _, c := range b {
		d := int64(99)
		switch {
		case c >= '0' && c <= '9':
			d = int64(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			d = int64(c|0x20-'a') + 10
		}
		if d >= base {
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}

// Cause says why a request counts as an error.
type Cause uint8

// The causes, in the order in which reports name them.
const (
	Connect   Cause = iota // no connection could be made
	Reset                  // closed or reset before the first byte of an answer, or reset later
	Timeout                // Options.Timeout passed
	Status                 // answered, with 400 or more
	ShortBody              // the connection ended inside an answer
	Protocol               // the answer was not HTTP/1.1
	causes
)

var causeNames = [causes]string{"connect", "reset", "timeout", "status", "short_body", "protocol"}

// String is the cause as reports and JSON spell it.
func (c Cause) String() string { return causeNames[c] }

// causeOf sorts an error of roundTrip into a Cause.
func causeOf(err error) Cause {
	var p protocolError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case errors.Is(err, errShortBody):
		return ShortBody
	case errors.As(err, &p):
		return Protocol
	default:
		return Reset
	}
}
