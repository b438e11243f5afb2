package proxy

import (
	"bytes"
	"errors"
)

// chunkReader takes the chunked framing (RFC 9112, section 7.1) off an answer.
// It is a state machine over whatever bytes are there.
type chunkReader struct {
	state    chunkState
	left     int64  // of the chunk's data
	trailers []byte // raw lines, each with its CRLF
	tail     int    // bytes of the trailer section so far, kept or not
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

// size reads a chunk's size line. Extensions are dropped.
func (c *chunkReader) size(line []byte) error {
	if len(line) > maxSizeLine {
		return errChunk
	}
	digits := line
	if i := bytes.IndexByte(line, ';'); i >= 0 {
		digits = trim(line[:i])
	}
	if len(digits) == 0 || len(digits) > 15 || hasControl(line) {
		return errChunk
	}
	c.left = 0
	for _, d := range digits {
		if !isHex(d) {
			return errChunk
		}
		c.left = c.left<<4 | int64(unhex(d))
	}
	c.state = chunkData
	if c.left == 0 {
		c.state = chunkTrailer
		c.trailers, c.tail = c.trailers[:0], 0
	}
	return nil
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
	if l := &h.lines[0]; l.kind == fieldOther && !isProtected(l.name) {
		c.trailers = append(c.trailers, raw...)
	}
	return nil
}
