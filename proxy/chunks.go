package proxy

import (
	"bytes"
	"errors"
)

// chunkReader takes the chunked framing (RFC 9112, section 7.1) off an answer.
// It is a state machine over whatever bytes are there.
type chunkReader struct {
	state    chunkState
	wary     bool   // a client's: a trailer that frames or routes is no oversight
	left     int64  // of the chunk's data
	trailers []byte // raw lines, each with its CRLF
	tail     int    // bytes of the trailer section so far, kept or not
	excess   int64  // bytes of size lines beyond what the data justifies
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd
	chunkTrailer
	chunkDone
)

var errChunk = errors.New("the chunked framing is broken")

// Bounds of what is not data.
const (
	maxSizeLine = 256
	maxTrailers = 8 << 10 // the whole section
	maxExcess   = 16 << 10
)

// next takes one piece of data off b. used is how much of b is dealt with; data
// (a view of b) may be empty. It asks for more bytes by using none.
func (c *chunkReader) next(b []byte) (data []byte, used int, err error) {
	switch c.state {
	case chunkData:
		n := min(int64(len(b)), c.left)
		if c.left -= n; c.left == 0 {
			c.state = chunkEnd
		}
		return b[:n], int(n), nil
	case chunkEnd:
		if len(b) < 2 {
			return nil, 0, nil
		}
		if b[0] != '\r' || b[1] != '\n' {
			return nil, 0, errChunk
		}
		c.state = chunkSize
		return nil, 2, nil
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if hasBareCR(b) {
			return nil, 0, errChunk
		}
		if len(b) > maxSizeLine && c.state == chunkSize || len(b) > maxTrailers {
			return nil, 0, errChunk
		}
		return nil, 0, nil
	}
	if end == 0 || b[end-1] != '\r' {
		return nil, 0, errChunk
	}
	if c.state == chunkSize {
		return nil, end + 1, c.size(b[:end-1])
	}
	return nil, end + 1, c.trailer(b[:end+1])
}

// size reads a chunk's size line. Extensions are dropped, but they have to be
// well-formed: who is vague about where one ends is vague about the data.
func (c *chunkReader) size(line []byte) error {
	if len(line) > maxSizeLine {
		return errChunk
	}
	n := 0
	for n < len(line) && isHex(line[n]) {
		n++
	}
	if n == 0 || n > 15 || !validExtensions(line[n:]) {
		return errChunk
	}
	c.left = 0
	for _, d := range line[:n] {
		c.left = c.left<<4 | int64(unhex(d))
	}
	// Lines may be long where there is data to go with them; a body of nothing
	// but extensions is an attack (net/http draws the line at the same place).
	if c.excess = max(0, c.excess+int64(len(line))+2-16-2*c.left); c.excess > maxExcess {
		return errChunk
	}
	c.state = chunkData
	if c.left == 0 {
		c.state = chunkTrailer
		c.trailers, c.tail = c.trailers[:0], 0
	}
	return nil
}

// validExtensions checks what follows a chunk's size (RFC 9112, section 7.1.1):
// any number of ";name", ";name=token" and `;name="text"`.
func validExtensions(b []byte) bool {
	for len(b) > 0 {
		b = trimLeft(b)
		if len(b) == 0 || b[0] != ';' {
			return false
		}
		b = trimLeft(b[1:])
		n := tokenLen(b)
		if n == 0 {
			return false
		}
		b = b[n:]
		if v := trimLeft(b); len(v) > 0 && v[0] == '=' {
			v = trimLeft(v[1:])
			if n = max(tokenLen(v), quotedLen(v)); n == 0 {
				return false
			}
			b = v[n:]
		}
	}
	return true
}

func trimLeft(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// tokenLen is the length of the token that b begins with; 0 if there is none.
func tokenLen(b []byte) (n int) {
	for n < len(b) && tokenChar[b[n]] != noTokenChar {
		n++
	}
	return n
}

// quotedLen is the length of the quoted string that b begins with; 0 if there is
// none, or it does not end.
func quotedLen(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			i++ // the next one stands for itself
			if i < len(b) && hasControlSlow(b[i:i+1]) {
				return 0
			}
		case c < ' ' && c != '\t' || c == 0x7f:
			return 0
		}
	}
	return 0
}

// trailer keeps a trailer line, unless the field may not be one: what frames,
// routes or authenticates has to come before the body (RFC 9110, section 6.5.1).
func (c *chunkReader) trailer(raw []byte) error {
	if len(raw) == 2 {
		c.state = chunkDone
		return nil
	}
	if c.tail += len(raw); c.tail > maxTrailers {
		return errChunk
	}
	var h head
	if err := h.add(raw); err != nil {
		return err
	}
	switch l := &h.lines[0]; l.kind {
	case fieldContentLength, fieldTransferEncoding, fieldHost, fieldConnection, fieldTrailer:
		if c.wary {
			return errChunk
		}
	default:
		if mayTrail(l) && !h.alias {
			c.trailers = append(c.trailers, raw...)
		}
	}
	return nil
}
