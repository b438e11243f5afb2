package loop

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// errAgain is what the socket calls return when they would block.
var errAgain = errors.New("would block")

// Bits of Conn.waiting.
const (
	readWaits  = 1
	writeWaits = 2
)

// Conn is a stream socket of a loop. It is a net.Conn whose Read and Write may
// be called only by coroutines of its own loop, by one reader and one writer at
// a time. Close, Abort and the deadlines may be set from anywhere.
//
// An idle connection is this struct and nothing else: no buffer, no coroutine.
type Conn struct {
	l    *Loop
	ln   *Listener // nil if dialed
	pipe *pipe     // the socket of a portable connection; nil otherwise
	fd   int32
	slot int32  // in l.conns; -1 before and after
	gen  uint32 // tells its events from those of an earlier user of slot

	closed  atomic.Bool   // Close was called; the loop releases the socket soon after
	linger0 atomic.Bool   // and shall reset it
	waiting atomic.Uint32 // who waits; tells setters of deadlines to tell the loop
	readBy  atomic.Int64  // deadlines, ns since the group's epoch; 0: none
	writeBy atomic.Int64

	// What follows is touched only by what runs on the loop.
	readable bool // the next recv may find something
	unsure   bool // or not: the last one filled its buffer exactly
	writable bool
	hup      bool // the peer has closed its side, or the connection broke
	broken   bool // it broke: what is written arrives nowhere
	canceled bool
	parked   bool // no coroutine: the next byte starts one
	quiet    bool // in the waiting part of ReadIdle
	serving  bool // a coroutine runs the listener's handler
	kept     bool
	released bool
	watched  bool // the listener's watcher has heard of it
	unix     bool

	// Tag belongs to whoever serves the connection; the loop does not look at it.
	Tag uint8

	reader, writer *coro // who waits in Read and Write
	idle           IdleOwner
	target         hangupTarget // cancelled when this one hangs up; nil: nothing is
	grace          int64        // ns that target goes on when the peer has only closed its side
	cancelAt       int64        // when target is cancelled then; 0: not
	wroteAt        int64        // when something was last written to a peer that has closed its side
	unsent         int32        // bytes the peer had not taken when cancelAt was set; -1: not known
	idleAt         int64        // when a quiet connection is parked, a parked one closed
	timer          timer
	remote, local  netip.AddrPort // local is looked up when first asked for
}

// Loop is the loop c belongs to.
func (c *Conn) Loop() *Loop { return c.l }

// Listener accepted c; nil if c was dialed.
func (c *Conn) Listener() *Listener { return c.ln }

// fault is why c can neither be read nor written, if it cannot.
func (c *Conn) fault() error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	if c.canceled {
		return ErrCanceled
	}
	return nil
}

func (c *Conn) past(deadline int64) bool { return deadline != 0 && deadline <= c.l.now }

// Read reads what is there, waiting for the first byte. Errors: io.EOF,
// net.ErrClosed, os.ErrDeadlineExceeded, ErrCanceled, or what the kernel said
// in a net.OpError.
func (c *Conn) Read(p []byte) (int, error) {
	co := c.l.current()
	if co.moved >= fairShare {
		co.reschedule()
	}
	if err := c.fault(); err != nil {
		return 0, err
	}
	if c.past(c.readBy.Load()) {
		return 0, os.ErrDeadlineExceeded
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.readable {
			n, err := c.recv(p)
			if n > 0 {
				co.moved += n
				// A short read has drained the socket, and epoll will tell of more, unless
				// it has told all: an end or an error is still to be read.
				c.readable = n == len(p) || c.hup
				c.unsure = !c.hup
				return n, nil
			}
			if err != errAgain {
				return 0, c.fail("read", err)
			}
			c.readable = false
		}
		if err := c.awaitRead(co); err != nil {
			return 0, err
		}
	}
}

// awaitRead parks until c is readable, or says why waiting is over.
func (c *Conn) awaitRead(co *coro) error {
	if c.reader != nil {
		panic("BUG: two coroutines read one connection")
	}
	c.reader = co
	// Setters store the deadline, then look at waiting; we do it the other way
	// round: one of us sees the other.
	c.waiting.Or(readWaits)
	c.arm()
	co.park()
	switch {
	case c.closed.Load() || c.canceled:
		return c.fault()
	case !c.readable && c.past(c.readBy.Load()):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Write writes all of p, waiting when the peer does not keep up. Errors as for
// Read; n counts what the kernel took before.
func (c *Conn) Write(p []byte) (n int, err error) {
	co := c.l.current()
	if err := c.fault(); err != nil {
		return 0, err
	}
	if c.past(c.writeBy.Load()) {
		return 0, os.ErrDeadlineExceeded
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err = c.write(co, p)
	if c.hup && n > 0 {
		c.wroteAt = c.l.now
	}
	return n, err
}

// awaitWrite parks until c is writable, or says why waiting is over.
func (c *Conn) awaitWrite(co *coro) error {
	if c.writer != nil {
		panic("BUG: two coroutines write one connection")
	}
	c.writer = co
	c.waiting.Or(writeWaits)
	c.arm()
	co.park()
	switch {
	case c.closed.Load() || c.canceled:
		return c.fault()
	case !c.writable && c.past(c.writeBy.Load()):
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *Conn) wakeReader() {
	if co := c.reader; co != nil {
		c.reader = nil
		c.waiting.And(^uint32(readWaits))
		c.l.ready(co)
	}
}

func (c *Conn) wakeWriter() {
	if co := c.writer; co != nil {
		c.writer = nil
		c.waiting.And(^uint32(writeWaits))
		c.l.ready(co)
	}
}

// event notes what the poller saw and wakes who waited for it. hup and broken
// come with in or out, whichever now will not block.
func (c *Conn) event(in, out, hup, broken bool) {
	if c.released || c.closed.Load() {
		return
	}
	if in || hup {
		c.readable, c.unsure = true, false
		if hup {
			c.hangup(broken)
		}
		switch {
		case c.idle != nil:
			c.spoil()
		case c.reader != nil:
			c.wakeReader()
		case c.parked && !c.serving:
			c.unpark()
		}
	}
	if out {
		c.writable = true
		c.wakeWriter()
	}
}

// SetDeadline sets both deadlines. The zero time means none.
func (c *Conn) SetDeadline(t time.Time) error {
	at := c.l.g.since(t)
	c.readBy.Store(at)
	c.writeBy.Store(at)
	c.rearm(readWaits | writeWaits)
	return nil
}

// SetReadDeadline is when Read gives up, to within 10 ms.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readBy.Store(c.l.g.since(t))
	c.rearm(readWaits)
	return nil
}

// SetWriteDeadline is when Write gives up, to within 10 ms.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeBy.Store(c.l.g.since(t))
	c.rearm(writeWaits)
	return nil
}

// rearm tells the loop of a new deadline if somebody is waiting for the old one.
// Otherwise setting a deadline is the store alone.
func (c *Conn) rearm(who uint32) {
	if c.waiting.Load()&who != 0 {
		c.l.send(mail{op: opRearm, conn: c})
	}
}

// arm makes sure that the loop looks at c when the first of the deadlines that
// somebody waits for has come.
func (c *Conn) arm() {
	at := int64(0)
	sooner := func(deadline int64) {
		if deadline != 0 && (at == 0 || deadline < at) {
			at = deadline
		}
	}
	if c.reader != nil {
		sooner(c.readBy.Load())
	}
	if c.writer != nil {
		sooner(c.writeBy.Load())
	}
	if c.quiet || c.parked {
		sooner(c.idleAt)
	}
	sooner(c.cancelAt)
	if at != 0 && !c.released {
		c.l.timers.set(&c.timer, at)
	}
}

// expire implements expirer.
func (c *Conn) expire(int64) {
	if c.parked && c.past(c.idleAt) {
		c.closed.Store(true)
		c.release()
		return
	}
	if c.past(c.readBy.Load()) || c.quiet && c.past(c.idleAt) {
		c.wakeReader()
	}
	if c.past(c.writeBy.Load()) {
		c.wakeWriter()
	}
	if c.past(c.cancelAt) {
		c.endGrace()
	}
	c.arm()
}

// Close closes c. Whoever waits in Read or Write gets net.ErrClosed, and so
// does a second Close. The loop gives the descriptor back right after the
// coroutines that are ready now.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	// Through the loop even when called on it: a descriptor must not be closed,
	// and used again, under a call or an event that still means the old one.
	c.l.send(mail{op: opClose, conn: c})
	return nil
}

// Abort closes c with a reset: the peer learns that something went wrong.
func (c *Conn) Abort() error {
	c.linger0.Store(true)
	return c.Close()
}

// release is the loop's part of Close.
func (c *Conn) release() {
	if c.released {
		return
	}
	c.released = true
	c.l.unregister(c)
	c.closeSocket()
	c.idle, c.target, c.parked = nil, nil, false
	c.leave()
	c.wakeReader()
	c.wakeWriter()
}

// leave takes c out of the counts of accepted connections.
func (c *Conn) leave() {
	if c.ln != nil {
		c.gone()
		c.ln.conns.Add(-1)
		c.l.accepted.Add(-1)
	}
}

// fail makes the error of a Read or Write, after which the peer is gone, whether
// or not the poller has said so yet. io.EOF is the regular way.
func (c *Conn) fail(op string, err error) error {
	c.hangup(err != io.EOF)
	if err == io.EOF {
		return io.EOF
	}
	return c.opError(op, err)
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
