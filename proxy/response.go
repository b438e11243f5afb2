package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

// framing says where the body of an answer ends.
type framing uint8

const (
	frameNone    framing = iota // it has none
	frameLength                 // after contentLength bytes
	frameChunked                // after the last chunk
	frameClose                  // when the backend closes
)

// responseHead is the head of a backend's answer.
type responseHead struct {
	head
	status  int
	line    []byte // "200 OK": status and reason phrase, as they came
	http10  bool
	framing framing
	length  int64 // of the body, with frameLength
	size    int   // bytes of the head in the buffer
}

// maxInterim is how many 1xx answers a backend may send before its real one.
const maxInterim = 8

var (
	errStatusLine  = errors.New("the status line is malformed")
	errHeadTooLong = errors.New("the head is longer than the buffer")
	errInterim     = errors.New("too many interim answers")
	errSwitch      = errors.New("the backend switched protocols without being asked")
	errTruncated   = errors.New("the answer ends before its head does")
	errUnwanted    = errors.New("an answer that the route would rather not have")
	errSurplus     = errors.New("an answer that has no body has one")
)

// readHead reads the head of an answer into h. Bytes of the body that came with
// it stay buffered. The lines of h are views of the buffer: they hold until the
// next fill.
// A pump that is still sending decides on the deadline when it has ended.
func (up *upConn) readHead(h *responseHead, most int, deadline time.Time, p *pump) error {
	searched := 0
	for {
		if b := up.buffered(); len(b) > searched {
			if end := headEnd(b, searched); end > 0 {
				return h.parse(b[:end], most)
			}
			searched = max(len(b)-3, 0)
		}
		if up.r == 0 && up.e == len(up.buf) && up.buf != nil && !up.grow() {
			return errHeadTooLong
		}
		if p != nil && p.done {
			deadline = p.by
		}
		if err := up.fill(deadline); err != nil {
			if err == io.EOF && up.e > up.r {
				return errTruncated
			}
			return err
		}
	}
}

// grow replaces a full buffer by a big one, for heads that need it.
func (up *upConn) grow() bool {
	if len(up.buf) >= bigSize {
		return false
	}
	big := up.w.takeBig()
	up.e = copy(big, up.buffered())
	up.w.putBuffer(up.buf)
	up.buf, up.r = big, 0
	return true
}

// headEnd finds the end of a head in b: behind the first empty line.
func headEnd(b []byte, from int) int {
	for i := from; ; {
		k := bytes.IndexByte(b[i:], '\n')
		if k < 0 {
			return 0
		}
		i += k + 1
		if bytes.HasPrefix(b[i:], crlf) {
			return i + 2
		}
		if bytes.HasPrefix(b[i:], []byte{'\n'}) {
			return i + 1 // a bare LF ends it too; parse refuses it
		}
	}
}

// parse reads a whole head (RFC 9112, sections 4 and 6). Framing is decided by
// decide, which knows the request.
func (h *responseHead) parse(b []byte, most int) error {
	h.size = len(b)
	end := bytes.IndexByte(b, '\n')
	if end < 13 || b[end-1] != '\r' {
		return errStatusLine
	}
	line := b[:end-1]
	if string(line[:7]) != "HTTP/1." || (line[7] != '0' && line[7] != '1') || line[8] != ' ' {
		return errStatusLine
	}
	h.http10 = line[7] == '0'
	h.line = line[9:]
	if !isNumber(h.line[:3]) || (len(h.line) > 3 && h.line[3] != ' ') || hasControl(h.line) {
		return errStatusLine
	}
	if h.status = int(number(h.line[:3])); h.status < 100 || h.status > 599 {
		return errStatusLine
	}
	return h.head.parse(b[end+1:], most)
}

// final reports whether this is the answer, and no interim one.
func (h *responseHead) final() bool {
	return h.status >= 200 || h.status == http.StatusSwitchingProtocols
}

// faulty reports whether an interim answer frames a body, which it cannot have.
func (h *responseHead) faulty() bool { return !h.final() && h.chunked }

// bodiless reports whether an answer has no body whatever its head says.
func (h *responseHead) bodiless(toHead bool) bool {
	return toHead || h.status == http.StatusNoContent || h.status == http.StatusNotModified
}

// decide finds where the body ends (RFC 9112, section 6.3). Chunks from an
// HTTP/1.0 server, or in an answer that cannot have any, are an error: who sent
// them means something else than who reads them (section 6.1).
func (h *responseHead) decide(toHead bool) error {
	if h.chunked && (h.http10 || h.status == http.StatusNoContent) {
		return errFraming
	}
	switch {
	case h.bodiless(toHead):
		h.framing = frameNone
	case h.chunked:
		h.framing = frameChunked
	case h.contentLength != nil:
		h.framing = frameLength
		if h.length = number(h.contentLength); h.length == 0 {
			h.framing = frameNone
		}
	default:
		h.framing = frameClose
	}
	return nil
}

// appendStatusLine appends the status line, with the space that some backends
// leave out where there is no reason phrase (RFC 9112, section 4).
func (h *responseHead) appendStatusLine(dst []byte) []byte {
	dst = append(append(dst, "HTTP/1.1 "...), h.line...)
	if len(h.line) == 3 {
		dst = append(dst, ' ')
	}
	return append(dst, crlf...)
}

// appendBodiless appends the head of a 1xx answer, without the empty line at its
// end: the backend's lines, less those of its connection and of a body that it
// cannot have.
func (h *responseHead) appendBodiless(dst []byte) []byte {
	dst = h.appendStatusLine(dst)
	for i := range h.lines {
		l := &h.lines[i]
		switch l.kind {
		case fieldConnection, fieldHop, fieldContentLength, fieldTransferEncoding, fieldTrailer:
			continue
		case fieldUpgrade:
			if h.status != http.StatusSwitchingProtocols {
				continue
			}
		case fieldOther:
			if h.named(l.name) {
				continue
			}
		}
		dst = append(dst, l.raw...)
	}
	return dst
}

// reusable reports whether the connection may carry another request after this
// answer's body.
func (h *responseHead) reusable() bool {
	if h.framing == frameClose || h.wantsClose {
		return false
	}
	return !h.http10 || h.keepAlive
}
