package proxy

import (
	"errors"
	"io"
	"os"
	"time"

	"weir/internal/loop"
	"weir/internal/metrics"
)

// quietBeforeParking is how long a keep-alive connection stays on its
// coroutine after an answer. Long enough for a browser's next request, short
// enough that memory follows the work and not the connections.
const quietBeforeParking = time.Second

// clientConn is a client's connection while a coroutine serves it. To fasthttp
// it is a net.Conn that gives one whole head at each Read, already looked at,
// and swallows what is written: bodies are read by requestbody.go and answers
// written by reply.go, both on the connection below.
type clientConn struct {
	*loop.Conn
	w  *worker
	ln *listener
	lc *listenerConfig // by which peer was judged

	in        input
	head      []byte // the head's buffer while the input has another one: see widen
	turn      turn   // what Read could not give fasthttp: see run
	given     bool   // the head at the front was given to fasthttp, and nobody took it yet
	armed     bool   // a read deadline was set
	stopped   bool   // nothing more of a body is read, unless there is another attempt
	over      bool   // the connection ends: nothing after this is a request
	tunnel    *tunnel
	headStart time.Time // when the first byte of this head came

	peer      peer   // who is at the other end; filled by worker.takeConn
	forwarded []byte // the forwarded header lines that do not change on this connection
}

// run serves the connection until it parks, ends or becomes a tunnel. fasthttp
// comes in when a head is whole, and leaves when the next one is not there soon:
// a slow head holds a small buffer and nothing of fasthttp's.
func (c *clientConn) run() {
	for {
		switch c.next(true) {
		case turnServe:
		case turnParked:
			c.in.release(c.w)
			return
		default:
			return
		}
		c.turn = turnServe
		_ = c.w.engineFor(c.in.headLen).ServeConn(c) // its errors went through malformed
		switch {
		case c.tunnel != nil:
			c.tunnel.run()
			return
		case c.over, c.given, c.turn == turnEnd:
			return
		case c.turn == turnParked:
			c.in.release(c.w)
			return
		}
	}
}

// Read gives fasthttp the next head. Where there is none soon, or it is larger
// than fasthttp's buffer, fasthttp sees an end, and run goes on.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.over || c.tunnel != nil {
		return 0, io.EOF
	}
	if c.turn = c.next(false); c.turn != turnServe || c.in.headLen > len(p) {
		return 0, io.EOF
	}
	c.given = true
	return copy(p, c.in.buffered()[:c.in.headLen]), nil
}

// takeHead hands the head at the front of the input to an exchange, whose lines are
// views of it: the buffer must not change before the exchange is over.
func (c *clientConn) takeHead() []byte {
	head := c.in.buffered()[:c.in.headLen]
	c.given = false
	c.in.r += c.in.headLen
	c.in.rest()
	return head
}

// meet judges the peer by another configuration: trust that was withdrawn ends
// on the connections that are open, too.
func (c *clientConn) meet(lc *listenerConfig) {
	c.lc = lc
	c.peer.trusted = lc.trusts(c.peer.addr)
}

// rest is the state between two requests. What is left in the input is the
// beginning of the next one.
func (c *clientConn) rest() {
	c.narrow()
	c.headStart = c.w.loop.Now()
}

// readBody reads bytes of a body straight from the connection: what came with
// the head has been taken before. It waits for idle at most, and for no client
// that is slower than it may be.
func (c *clientConn) readBody(p []byte, idle time.Duration, pc *pace) (int, error) {
	if c.stopped {
		return 0, os.ErrDeadlineExceeded
	}
	c.armed = true
	began := c.w.loop.Now()
	c.Conn.SetReadDeadline(sooner(after(began, idle), pc.limit(began)))
	n, err := c.Conn.Read(p)
	pc.note(n, c.w.loop.Now().Sub(began))
	if n > 0 {
		return n, nil
	}
	return 0, unexpected(err)
}

// stopReading ends the read that waits for more of a body, and those to come.
func (c *clientConn) stopReading() {
	c.stopped, c.armed = true, true
	c.Conn.SetReadDeadline(c.w.loop.Now())
}

// goOnReading undoes stopReading, for another attempt.
func (c *clientConn) goOnReading() { c.stopped = false }

// SetReadDeadline does nothing: the deadlines are Weir's.
func (c *clientConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: fasthttp writes nothing.
func (c *clientConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline does nothing: see SetReadDeadline.
func (c *clientConn) SetDeadline(time.Time) error { return nil }

// Write swallows what fasthttp would answer. The real answer has been written
// by then.
func (c *clientConn) Write(p []byte) (int, error) { return len(p), nil }

// Close does nothing: the loop closes the connection when run returns, unless
// it is parked.
func (c *clientConn) Close() error { return nil }

// send writes an answer's bytes to the client. A client that takes nothing for
// idle is cut off, one that takes too little, and any at the end of the
// request's time.
func (c *clientConn) send(b []byte, idle time.Duration, end time.Time, pc *pace) error {
	return writeAll(c.Conn, b, idle, end, pc)
}

// writeAll writes b to a peer that has to take some of it every idle, and all of
// it before end, if there is one. A nil pc has no opinion.
func writeAll(c *loop.Conn, b []byte, idle time.Duration, end time.Time, pc *pace) error {
	for {
		began := c.Loop().Now()
		c.SetWriteDeadline(sooner(sooner(after(began, idle), end), pc.limit(began)))
		n, err := c.Write(b)
		pc.note(n, c.Loop().Now().Sub(began))
		if n == 0 || n == len(b) || !isTimeout(err) {
			return err
		}
		b = b[n:] // slow, but not silent
	}
}

// refuse answers what never became a whole request.
func (c *clientConn) refuse(reason metrics.Reason) {
	ex := c.w.open(c)
	ex.closing = true
	ex.glimpse()
	ex.refuse(reason)
	ex.finish()
}

// turnAway tells the client of a connection too many why, and closes it.
func (c *clientConn) turnAway() {
	reason := metrics.AllFull
	if c.Tag&overPerIP != 0 {
		reason = metrics.RateLimited
	}
	ex := c.w.open(c)
	ex.closing = true
	ex.refuse(reason)
	ex.finish()
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

func isParked(err error) bool { return err == loop.ErrParked }
