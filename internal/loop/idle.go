package loop

import (
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"
)

// IdleOwner keeps unused connections. Spoiled runs on the loop when something
// happens to one, bytes, an end or an error: it can no more be used. It is
// called once a SetIdle and must not park.
type IdleOwner interface{ Spoiled(c *Conn) }

// ReadIdle is Read at a message boundary. If nothing comes for quiet, c is
// parked: ReadIdle returns ErrParked, and the coroutine's handler must return
// and leave c open. The next byte starts the listener's handler on it again,
// without deadlines. If nothing comes for limit in all (0: no limit), c is
// closed, or, if limit is not longer than quiet, ReadIdle returns
// os.ErrDeadlineExceeded. When c's listener is closed and nothing waits to be
// read, it returns io.EOF, or ErrParked if somebody else has it now (HandOff). Only accepted connections can be parked; a dialed one
// waits for limit.
func (c *Conn) ReadIdle(p []byte, quiet, limit time.Duration) (int, error) {
	co := c.l.current()
	for start := c.l.now; !c.Readable(); {
		if c.fault() != nil || c.past(c.readBy.Load()) {
			break // Read says it
		}
		waited := time.Duration(c.l.now - start)
		parks := c.ln != nil && (limit <= 0 || quiet < limit)
		switch {
		case c.ln != nil && c.ln.closed.Load():
			left := limit
			if limit > 0 {
				left = max(limit-waited, time.Millisecond) // 0 would be for ever
			}
			switch c.offer(left) {
			case taken:
				return 0, ErrParked
			case keepIt:
				return 0, io.EOF
			}
			c.idleAt = c.l.now + int64(offerAgain)
		case parks && waited >= quiet:
			c.park(start, limit)
			return 0, ErrParked
		case limit > 0 && waited >= limit:
			return 0, os.ErrDeadlineExceeded
		case parks:
			c.idleAt = start + int64(quiet)
		case limit > 0:
			c.idleAt = start + int64(limit)
		default:
			c.idleAt = 0
		}
		c.quiet = true
		err := c.awaitRead(co)
		c.quiet = false
		if err != nil {
			return 0, err
		}
	}
	return c.Read(p)
}

// park leaves c without a coroutine. Silence is counted from start.
func (c *Conn) park(start int64, limit time.Duration) {
	c.parked, c.kept = true, false
	c.idleAt = 0
	if limit > 0 {
		c.idleAt = start + int64(limit)
	}
	c.arm()
}

// unpark starts the handler: c has something to read.
func (c *Conn) unpark() {
	// Most connections that are parked end there. That costs no coroutine.
	if c.hup {
		if _, ended := c.peek(); ended {
			c.closed.Store(true)
			c.release()
			return
		}
	}
	c.parked = false
	c.idleAt = 0
	c.readBy.Store(0)
	c.writeBy.Store(0)
	c.l.spawn(c, nil)
}

// served is called when the handler has come to its end.
func (c *Conn) served() {
	c.serving = false
	switch {
	case c.released || c.closed.Load():
	case c.parked && !c.ln.closed.Load():
		if c.readable { // since it was parked
			c.unpark()
		}
	case c.kept && !c.parked:
	default:
		c.closed.Store(true)
		c.release()
	}
}

// Keep lets the handler return without closing c, whose work goes on in other
// coroutines of the loop. Whoever keeps it closes it.
func (c *Conn) Keep() { c.kept = true }

// SetIdle says that c waits unused: the first thing that happens to it is told
// to o, at once if it has already happened. nil: c is in use again. It must be
// called on the loop.
func (c *Conn) SetIdle(o IdleOwner) {
	c.idle = o
	if o != nil && c.l.g.o.Quiet {
		c.l.timers.remove(&c.timer) // a busy loop lets it fire, a quiet one would wake up for it
	}
	if o != nil && c.Readable() {
		// Not now: the owner may be in the middle of putting c away.
		c.l.send(mail{op: opSpoil, conn: c})
	}
}

func (c *Conn) spoil() {
	o := c.idle
	if o == nil || c.released {
		return
	}
	c.idle = nil
	defer func() {
		if v := recover(); v != nil {
			c.l.g.o.Panic(v, debug.Stack())
		}
	}()
	o.Spoiled(c)
}

// Readable says whether bytes, an end or an error wait to be read. It asks the
// kernel only when the last Read filled its buffer to the last byte.
func (c *Conn) Readable() bool {
	if c.readable && c.unsure && !c.released {
		c.readable, _ = c.peek()
		c.unsure = false
	}
	return c.readable
}

// HungUp says whether the peer has closed its side, or the connection broke.
func (c *Conn) HungUp() bool { return c.hup }

// Lost says whether the connection broke: what is written arrives nowhere. A peer
// that has only closed its side still hears.
func (c *Conn) Lost() bool { return c.broken }

// SetHangupTarget ties t to c: when c's peer hangs up, or if it already has,
// t's pending and later Reads and Writes return ErrCanceled. nil unties. Both
// belong to the same loop, and it must be called there.
//
// A peer that has closed its side may still want to hear an answer, or be gone:
// TCP does not tell. Then t goes on until c's peer has taken nothing for grace.
// A connection that broke cancels at once. The portable implementation sees a
// hang-up only once what was sent before, but for 8 KiB, has been read.
func (c *Conn) SetHangupTarget(t *Conn, grace time.Duration) {
	if t == nil {
		c.target, c.cancelAt = nil, 0 // not a target that is a nil *Conn
		return
	}
	c.tie(t, grace)
}

// SetHangupTask is SetHangupTarget for a coroutine that waits for something else
// than a connection: t is woken, and Canceled says why. SetHangupTarget(nil, 0)
// unties.
func (c *Conn) SetHangupTask(t *Task, grace time.Duration) { c.tie(t, grace) }

// hangupTarget is what ends when a peer hangs up.
type hangupTarget interface{ cancel() }

func (c *Conn) tie(t hangupTarget, grace time.Duration) {
	c.target, c.grace, c.cancelAt = t, int64(grace), 0
	if c.hup {
		c.beginGrace()
	}
}

func (c *Conn) hangup(broken bool) {
	if c.hup && (c.broken || !broken) {
		return
	}
	c.hup, c.broken = true, c.broken || broken
	if c.target != nil {
		c.beginGrace()
	}
}

// beginGrace cancels the target, now or later.
func (c *Conn) beginGrace() {
	if c.broken || c.grace <= 0 {
		c.cancelAt = 0
		c.target.cancel()
		return
	}
	if c.cancelAt == 0 {
		c.unsent = c.outQueue()
		c.cancelAt = c.l.now + c.grace
		c.arm()
	}
}

// endGrace cancels the target, unless the peer has taken something meanwhile:
// then what waits in the kernel for it is not what it was.
func (c *Conn) endGrace() {
	c.cancelAt = 0
	if c.target == nil {
		return
	}
	if now := c.outQueue(); now != c.unsent || c.wroteAt+c.grace > c.l.now {
		c.unsent = now
		c.cancelAt = c.l.now + c.grace // the caller arms
		return
	}
	c.target.cancel()
}

// Cancel makes pending and later Reads and Writes return ErrCanceled. It must be
// called on the connection's loop.
func (c *Conn) Cancel() { c.cancel() }

func (c *Conn) cancel() {
	c.canceled = true
	c.wakeReader()
	c.wakeWriter()
}

// CloseWrite tells the peer that nothing more comes; reading goes on.
func (c *Conn) CloseWrite() error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	if err := c.shutdownWrite(); err != nil {
		return c.opError("close", err)
	}
	return nil
}
