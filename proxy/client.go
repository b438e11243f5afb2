package proxy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"weir/internal/loop"
	"weir/internal/metrics"
)

// quietBeforeParking is how long a keep-alive connection stays on its
// coroutine after an answer. Long enough for a browser's next request, short
// enough that memory follows the work and not the connections.
const quietBeforeParking = time.Second

// phase is what a client's connection is in the middle of. It decides which
// deadline a read has.
type phase uint8

const (
	atRest   phase = iota // between messages: nothing of the next request was read
	inHead                // some bytes of a head were read, not all
	inBody                // the head is complete
	upgraded              // no longer HTTP; the tunnel reads it
)

// clientConn is what fasthttp sees of a client's connection. It reads under
// the deadlines of the running configuration, and swallows what fasthttp
// writes: answers are written by reply.go to the embedded connection.
type clientConn struct {
	*loop.Conn
	w  *worker
	ln *listener
	lc *listenerConfig // by which peer was judged

	bufSize   int // of fasthttp's reader: a read this large finds it empty
	phase     phase
	parked    bool
	armed     bool      // a read deadline was set
	stopped   bool      // nothing more is read: the connection ends with this request
	site      *site     // of the request whose body streams
	lineSeen  bool      // of the head being read, the first line is complete
	headStart time.Time // when the first byte of this head came
	readErr   error     // what ended the last read that failed

	peer      peer   // who is at the other end; filled by worker.takeConn
	forwarded []byte // the forwarded header lines that do not change on this connection
}

// Read gives fasthttp bytes of the client. At rest it parks the connection
// after a quiet second: fasthttp sees io.EOF, returns, and the next byte starts
// it again on another coroutine.
func (c *clientConn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if err != nil && c.readErr == nil {
		c.readErr = err
	}
	return n, err
}

func (c *clientConn) read(p []byte) (int, error) {
	switch c.phase {
	case atRest:
		return c.readAtRest(p)
	case inHead:
		// Only a head that did not come in one piece gets here: the deadline
		// is armed for the second read, and costs the usual request nothing.
		c.armed = true
		c.Conn.SetReadDeadline(after(c.headStart, c.ln.config().timeouts.ClientHeader))
		n, err := c.Conn.Read(p)
		c.noteLine(p[:n])
		return n, err
	case inBody:
		if c.stopped {
			return 0, os.ErrDeadlineExceeded
		}
		c.armed = true
		c.Conn.SetReadDeadline(after(c.w.loop.Now(), c.bodyIdle()))
		return c.Conn.Read(p)
	default: // upgraded: fasthttp may hand over what it has buffered, no more
		return 0, io.EOF
	}
}

func (c *clientConn) readAtRest(p []byte) (n int, err error) {
	if len(p) < c.bufSize {
		// The rest of a pipelined head: its beginning is in fasthttp's buffer.
		c.beginHead()
		c.lineSeen = true // perhaps: it is out of sight, and 431 is never wrong
		return c.read(p)
	}
	if c.armed { // by an earlier request
		c.armed = false
		c.Conn.SetReadDeadline(time.Time{})
	}
	n, err = c.Conn.ReadIdle(p, quietBeforeParking, c.ln.config().timeouts.ClientIdle)
	switch {
	case err == loop.ErrParked:
		c.parked = true
		return 0, io.EOF
	case err != nil:
		return n, io.EOF // idle too long, gone, or draining: nothing to answer
	}
	c.beginHead()
	c.noteLine(p[:n])
	return n, nil
}

func (c *clientConn) beginHead() {
	c.phase = inHead
	c.lineSeen = false
	c.readErr = nil
	c.headStart = c.w.loop.Now()
}

func (c *clientConn) noteLine(p []byte) {
	if !c.lineSeen {
		c.lineSeen = bytes.IndexByte(p, '\n') >= 0
	}
}

// meet judges the peer by another configuration: trust that was withdrawn ends
// on the connections that are open, too.
func (c *clientConn) meet(lc *listenerConfig) {
	c.lc = lc
	c.peer.trusted = lc.trusts(c.peer.addr)
}

// rest is the state between two requests.
func (c *clientConn) rest() {
	c.phase, c.site = atRest, nil
}

// stopReading ends the read that waits for more of a body, and those to come.
func (c *clientConn) stopReading() {
	c.stopped = true
	c.Conn.SetReadDeadline(c.w.loop.Now())
}

// bodyIdle is how long the body may be silent: what the route says, once there
// is one. Small bodies are read before.
func (c *clientConn) bodyIdle() time.Duration {
	if c.site != nil {
		return c.site.timeouts.ClientBodyIdle
	}
	return c.ln.config().timeouts.ClientBodyIdle
}

// SetReadDeadline is called by fasthttp once a request, and only when its head
// is complete and a body follows (worker.headReceived asks for it). It marks the
// border between the two; the deadlines themselves are ours. The head of a
// pipelined request may have been complete without a read of its own: then the
// phase is atRest, and a body that comes late would look like a quiet connection.
func (c *clientConn) SetReadDeadline(time.Time) error {
	if c.phase != upgraded {
		c.phase = inBody
	}
	return nil
}

// SetWriteDeadline does nothing: fasthttp writes nothing.
func (c *clientConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline does nothing: see SetReadDeadline.
func (c *clientConn) SetDeadline(time.Time) error { return nil }

// Write swallows what fasthttp would answer. The real answer has been written
// by then.
func (c *clientConn) Write(p []byte) (int, error) { return len(p), nil }

// Close closes the connection, unless it is parked or has become a tunnel.
func (c *clientConn) Close() error {
	if c.parked || c.phase == upgraded {
		return nil
	}
	return c.Conn.Close()
}

// send writes an answer's bytes to the client. A client that takes nothing for
// idle is cut off, and any client at the end of the request's time.
func (c *clientConn) send(b []byte, idle time.Duration, end time.Time) error {
	return writeAll(c.Conn, b, idle, end)
}

// writeAll writes b to a peer that has to take some of it every idle, and all of
// it before end, if there is one.
func writeAll(c *loop.Conn, b []byte, idle time.Duration, end time.Time) error {
	for {
		c.SetWriteDeadline(sooner(after(c.Loop().Now(), idle), end))
		n, err := c.Write(b)
		if n == 0 || n == len(b) || !isTimeout(err) {
			return err
		}
		b = b[n:] // slow, but not silent
	}
}

// turnAway tells the client of a connection too many why, and closes it.
func (c *clientConn) turnAway() {
	reason := metrics.AllFull
	if c.Tag == overPerIP {
		reason = metrics.RateLimited
	}
	ex := c.w.open(c)
	ex.closing = true
	ex.refuse(reason)
	ex.finish()
}

// reasonOf names what went wrong before there was a request.
func (c *clientConn) reasonOf(err error) metrics.Reason {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small) && c.lineSeen:
		return metrics.HeaderTooLarge
	case errors.As(err, &small):
		return metrics.URITooLong
	case isTimeout(c.readErr):
		return metrics.ClientTimeout
	case c.readErr != nil:
		return metrics.ClientClosed
	}
	return metrics.BadRequest
}

// after is now + d, or never for a d of zero.
func after(now time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return now.Add(d)
}

// sooner is the earlier of two deadlines, where zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
