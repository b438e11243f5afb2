package proxy

import (
	"bytes"
	"time"

	"weir/internal/metrics"
)

// input is what a client has sent and nobody has used yet: buf[r:e]. It is
// Weir's and not fasthttp's, which gets whole heads out of it and nothing else:
// so the bytes of a request are judged as they came, and its body is read here.
type input struct {
	buf  []byte
	r, e int

	seen    int  // of buffered, what was searched for the end of a head
	blanks  int  // empty lines before the head
	lineOK  bool // the request line is complete and well-formed
	headLen int  // of the head at the front, once it is whole
}

// Bounds of what comes before a head.
const (
	inputSize = 4 << 10 // of a buffer at first: most heads have a few hundred bytes
	maxBlanks = 4       // RFC 9112, section 2.2, asks to ignore one
)

func (in *input) buffered() []byte { return in.buf[in.r:in.e] }

// rest makes the state that between two messages.
func (in *input) rest() {
	in.seen, in.blanks, in.lineOK, in.headLen = 0, 0, false, 0
}

// look searches for the end of the head at the front. It reports whether the
// head is whole, and refuses as early as the bytes allow: whoever speaks
// another protocol, or does not stop, is not waited for.
func (in *input) look(limit int) (whole bool, reason metrics.Reason) {
	if reason := in.skipBlanks(); reason != metrics.NoReason {
		return false, reason
	}
	b := in.buffered()
	if n := headEnd(b, in.seen); n > 0 {
		in.headLen = n
		if n > limit {
			return false, tooLong(b)
		}
		return true, metrics.NoReason
	}
	if !in.lineOK && !in.lookAtLine(b) || hasBareCR(b[in.seen:]) {
		return false, metrics.BadRequest
	}
	in.seen = max(len(b)-3, 0)
	if len(b) >= limit {
		return false, tooLong(b)
	}
	return false, metrics.NoReason
}

// lookAtLine checks what is new of a request line: a line that comes byte by
// byte is not looked at as a whole each time.
func (in *input) lookAtLine(b []byte) bool {
	end := bytes.IndexByte(b[in.seen:], '\n')
	if end >= 0 {
		in.lineOK = new(requestLine).parse(b[:in.seen+end+1])
		return in.lineOK
	}
	return beginsLine(b, in.seen)
}

// skipBlanks drops empty lines before a request line: some clients of old send
// one after a body.
func (in *input) skipBlanks() metrics.Reason {
	for in.seen == 0 && in.r < in.e && in.buf[in.r] <= '\r' {
		switch b := in.buffered(); {
		case b[0] != '\r' || len(b) > 1 && b[1] != '\n':
			return metrics.BadRequest
		case len(b) == 1:
			return metrics.NoReason // its LF is still to come
		}
		in.r += 2
		if in.blanks++; in.blanks > maxBlanks {
			return metrics.BadRequest
		}
	}
	return metrics.NoReason
}

// tooLong says which part of a head is over the limit.
func tooLong(b []byte) metrics.Reason {
	if bytes.IndexByte(b, '\n') < 0 {
		return metrics.URITooLong
	}
	return metrics.HeaderTooLarge
}

// room makes space behind what is buffered, in a buffer of at most the limit
// and what it takes to see that it is passed.
func (in *input) room(w *worker, limit int) []byte {
	switch {
	case in.buf == nil:
		in.buf, in.r, in.e = w.takeInput(), 0, 0
	case in.r == in.e:
		in.r, in.e = 0, 0
	case in.e == len(in.buf) && in.r > 0:
		in.e = copy(in.buf, in.buffered())
		in.r = 0
	case in.e == len(in.buf):
		in.grow(w, min(4*len(in.buf), max(limit+1, 2*len(in.buf))))
	}
	return in.buf[in.e:]
}

func (in *input) grow(w *worker, size int) {
	big := make([]byte, size)
	in.e = copy(big, in.buffered())
	in.r = 0
	w.putInput(in.buf)
	in.buf = big
}

// release gives the buffer back if nothing is in it.
func (in *input) release(w *worker) {
	if in.r < in.e || in.buf == nil {
		return
	}
	w.putInput(in.buf)
	*in = input{}
}

// turn is what follows when somebody has waited for a head.
type turn uint8

const (
	turnServe  turn = iota // a whole head is at the front of the input
	turnWait               // a part of one: it may take a while
	turnParked             // nothing: the connection was parked
	turnEnd                // the connection ends
)

// next brings a whole head to the front of the input. patient waits for heads
// that come in pieces.
func (c *clientConn) next(patient bool) turn {
	for {
		if c.in.r < c.in.e {
			whole, reason := c.in.look(c.headerLimit())
			switch {
			case whole:
				return turnServe
			case reason != metrics.NoReason:
				c.refuse(reason)
				return turnEnd
			case c.in.r < c.in.e && !patient:
				return turnWait
			}
		}
		if t := c.fill(); t != turnServe {
			return t
		}
	}
}

// fill reads more: the first bytes of a head under the rules of an idle
// connection, the others under the head's own deadline.
func (c *clientConn) fill() turn {
	if c.in.r == c.in.e {
		return c.fillAtRest()
	}
	room := c.in.room(c.w, c.headerLimit())
	c.armed = true
	c.Conn.SetReadDeadline(after(c.headStart, c.ln.config().timeouts.ClientHeader))
	n, err := c.Conn.Read(room)
	c.in.e += n
	switch {
	case n > 0:
		return turnServe
	case isTimeout(err):
		c.refuse(metrics.ClientTimeout)
	default:
		c.refuse(metrics.ClientClosed)
	}
	return turnEnd
}

func (c *clientConn) fillAtRest() turn {
	if c.armed { // by an earlier head or body
		c.armed = false
		c.Conn.SetReadDeadline(time.Time{})
	}
	room := c.in.room(c.w, c.headerLimit())
	n, err := c.Conn.ReadIdle(room, quietBeforeParking, c.ln.config().timeouts.ClientIdle)
	if n > 0 {
		c.in.e += n
		if c.in.blanks == 0 { // empty lines do not begin a head anew
			c.headStart = c.w.loop.Now()
		}
		return turnServe
	}
	if isParked(err) {
		return turnParked
	}
	return turnEnd // idle too long, gone, or draining: nothing to answer
}

func (c *clientConn) headerLimit() int { return c.ln.config().limits.HeaderBytes }
