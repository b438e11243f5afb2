package health

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	shortAnswer = 4 << 10                // bytes of an answer that are read in one piece
	patience    = 100 * time.Millisecond // for the rest of an answer that is only in the way
)

var errCheckHeader = fmt.Errorf("net/http: server response headers exceeded %d bytes; aborted", maxCheckHeader)

// verdict is what one exchange came to.
type verdict struct {
	err   error
	clean bool // it passed, and nothing of request or answer is left: the connection can be used again
	stale bool // if it was used before, the backend had given it up
}

// ask sends the request over conn and judges the answer. It reads no more than it
// needs, but for what would be in the way of the next request. in is its to use.
func (q *inquiry) ask(ctx context.Context, conn net.Conn, in *incoming) verdict {
	defer untilDone(ctx, conn)()
	in.begin(conn)
	defer in.begin(nil)
	_, unsent := conn.Write(q.message) // an answer may have come all the same
	in.more()
	if in.n == 0 {
		if unsent != nil {
			in.err = unsent
		}
		return verdict{err: cause(ctx, in.err), stale: isStale(in.err)}
	}
	var v verdict
	if h, ok := parseHead(in.buf[:in.n], q.Method); ok && h.end+h.length <= len(in.buf) {
		v = q.judgeShort(ctx, in, h)
	} else {
		v = q.judgeLong(ctx, in)
	}
	v.clean = v.clean && v.err == nil && unsent == nil
	return v
}

// wrongStatus is the verdict of a status that is not expected.
func wrongStatus(status int, err error) verdict {
	// This one may have been said to a connection on which nothing was asked.
	return verdict{err: err, stale: status == http.StatusRequestTimeout}
}

// judgeShort is for an answer whose head has come and whose body fits behind it.
func (q *inquiry) judgeShort(ctx context.Context, in *incoming, h head) (v verdict) {
	if err := q.unexpected(h.status); err != nil {
		return wrongStatus(h.status, err)
	}
	if q.Body == "" && q.Fresh {
		return verdict{}
	}
	whole := h.end + h.length
	if q.Body == "" && in.n < whole {
		in.hurry(ctx)
	}
	for in.n < whole && in.err == nil {
		in.more()
	}
	v.clean = in.n == whole && in.err == nil && !h.close
	if q.Body == "" {
		return v
	}
	var cut error
	if in.n < whole {
		cut = cause(ctx, in.err)
		if cut == io.EOF {
			cut = io.ErrUnexpectedEOF
		}
	}
	v.err = q.lacks(in.buf[h.end:min(in.n, whole)], cut)
	return v
}

// judgeLong is for all other answers: net/http knows how to read them.
func (q *inquiry) judgeLong(ctx context.Context, in *incoming) verdict {
	in.left = maxCheckHeader
	r := bufio.NewReader(in)
	res, err := q.final(r)
	if err != nil {
		// What there is of a head may look malformed: it is late first of all.
		if late := cause(ctx, in.err); late != in.err {
			return verdict{err: late}
		}
		return verdict{err: fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", err)}
	}
	// The body is not closed, which would read it to its end. It holds nothing.
	in.left = math.MaxInt
	if err := q.unexpected(res.StatusCode); err != nil {
		return wrongStatus(res.StatusCode, err)
	}
	if q.Body != "" {
		said, err := io.ReadAll(io.LimitReader(res.Body, maxCheckBody))
		if err := q.lacks(said, cause(ctx, err)); err != nil {
			return verdict{err: err}
		}
	}
	if q.Fresh || res.Close || res.ProtoMajor != 1 || res.StatusCode < 200 || res.ContentLength > maxCheckBody {
		return verdict{}
	}
	in.hurry(ctx)
	_, err = io.CopyN(io.Discard, res.Body, maxCheckBody)
	return verdict{clean: err == io.EOF && r.Buffered() == 0 && in.at == in.n}
}

// final is the answer that no other follows.
func (q *inquiry) final(r *bufio.Reader) (*http.Response, error) {
	for {
		res, err := http.ReadResponse(r, &http.Request{Method: q.Method})
		if err != nil || res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, err
		}
	}
}

// incoming is what comes over a connection.
type incoming struct {
	conn  net.Conn
	err   error // what ended it
	n, at int   // how much of buf is there, and has been read
	left  int   // bytes that Read may yet give
	buf   [shortAnswer]byte
}

// begin makes in that which comes over conn.
func (in *incoming) begin(conn net.Conn) {
	in.conn, in.err, in.n, in.at, in.left = conn, nil, 0, 0, math.MaxInt
}

// more reads once. buf must have room.
func (in *incoming) more() {
	var n int
	n, in.err = in.conn.Read(in.buf[in.n:])
	in.n += n
}

// hurry makes reading end soon: nobody needs what comes.
func (in *incoming) hurry(ctx context.Context) {
	soon := time.Now().Add(patience)
	if at, ok := ctx.Deadline(); ok && at.Before(soon) {
		return
	}
	_ = in.conn.SetReadDeadline(soon)
}

// Read reads what is in buf, and then the connection.
func (in *incoming) Read(b []byte) (n int, err error) {
	switch {
	case in.left <= 0:
		return 0, errCheckHeader
	case in.at < in.n:
		n = copy(b, in.buf[in.at:in.n])
		in.at += n
	case in.err != nil:
		return 0, in.err
	default:
		n, in.err = in.conn.Read(b)
	}
	in.left -= n
	if n == 0 {
		return 0, in.err
	}
	return n, nil
}

// head is the beginning of an answer, up to its body.
type head struct {
	status int
	end    int // bytes of it
	length int // bytes of the body
	close  bool
}

// parseHead reads the head that b begins with. It understands those that nearly
// everybody sends: of HTTP/1.1, with a final status and one Content-Length where
// there is a body, and complete. ok is false for all others, good or bad.
func parseHead(b []byte, method string) (h head, ok bool) {
	const version, line = "HTTP/1.1 ", len("HTTP/1.1 200")
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < line || string(b[:len(version)]) != version {
		return head{}, false
	}
	h.end = i + 4
	b = b[:i+2]
	for _, c := range b[len(version):line] {
		if c < '0' || c > '9' {
			return head{}, false
		}
		h.status = 10*h.status + int(c-'0')
	}
	b, ok = skipReason(b[line:])
	h.length = -1
	for ok && len(b) > 0 {
		b, ok = h.field(b)
	}
	if !ok || h.status < 200 {
		return head{}, false
	}
	if method == http.MethodHead || h.status == http.StatusNoContent || h.status == http.StatusNotModified {
		h.length = 0
	}
	return h, h.length >= 0
}

// skipReason returns what follows the reason phrase and its line.
func skipReason(b []byte) (rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\r')
	return b[min(i+2, len(b)):], b[i+1] == '\n' && (i == 0 || b[0] == ' ') && isText(b[:i])
}

// field reads the header line that b begins with and returns what follows it. b
// ends with a line's end.
func (h *head) field(b []byte) (rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\r')
	line, rest := b[:i], b[i+2:]
	colon := bytes.IndexByte(line, ':')
	if b[i+1] != '\n' || colon < 1 || !isName(line[:colon]) || !isText(line[colon+1:]) {
		return nil, false
	}
	name, value := line[:colon], trim(line[colon+1:])
	switch len(name) {
	case len("Connection"):
		if bytes.EqualFold(name, []byte("Connection")) {
			ends := bytes.EqualFold(value, []byte("close"))
			h.close = h.close || ends
			return rest, ends || bytes.EqualFold(value, []byte("keep-alive"))
		}
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			n, err := strconv.ParseUint(string(value), 10, 31)
			if err != nil || h.length >= 0 {
				return nil, false
			}
			h.length = int(n)
		}
	case len("Transfer-Encoding"):
		return rest, !bytes.EqualFold(name, []byte("Transfer-Encoding"))
	}
	return rest, true
}

// trim removes the blanks around a value. bytes.Trim is for all the world's.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// isName says whether b has nothing but what names of headers commonly have.
func isName(b []byte) bool {
	for _, c := range b {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isText says whether b is without control characters.
func isText(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

// isStale says whether err, before a byte of the answer, is how a connection ends
// that the other side had given up while nobody used it.
func isStale(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
