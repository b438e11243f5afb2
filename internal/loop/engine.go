package loop

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Values of Loop.awake besides the moment at which the present batch began.
const (
	asleep = 0
	waking = -1 // somebody is about to wake it
)

// poller is how a loop learns of its sockets. wake may be called by anybody,
// the rest by the loop only.
type poller interface {
	// add begins to report c's events.
	add(c *Conn) error
	// wait reports events through Conn.event. It waits for the first one: not at
	// all if timeout is 0, until wake if it is negative.
	wait(timeout time.Duration)
	wake()
	close()
}

// Loop is one event loop: a goroutine, its connections, timers and coroutines.
type Loop struct {
	g     *Group
	index int
	poll  poller
	box   mailbox

	// awake is when the present batch began, asleep or waking. Senders of mail
	// change asleep to waking; everything else is the loop's.
	awake    atomic.Int64
	running  atomic.Uint64 // id of the goroutine that runs for the loop, for the watchdog
	accepted atomic.Int64  // accepted connections; counted up by who accepts

	// What follows is touched only by what runs on the loop.
	now     int64     // ns since the group's epoch, read once a batch
	clock   time.Time // the same as a time
	timers  wheel
	conns   []*Conn // by slot; nil where free
	slots   []int32 // free slots
	gen     uint32  // of the connection registered last
	cur     *coro   // the running coroutine; nil between coroutines
	id      uint64  // of the goroutine in main
	runq    []*coro
	head    int     // runq[:head] have been resumed
	coros   []*coro // all that exist
	idle    []*coro // those without work
	unused  int     // fewest idle coroutines since the last trim
	busy    int     // coroutines that have work
	trim    trimmer
	closing bool
}

func newLoop(g *Group, index int) (*Loop, error) {
	l := &Loop{g: g, index: index}
	l.trim.l = l
	l.trim.timer.owner = &l.trim
	var err error
	l.poll, err = newPoller(l)
	if err != nil {
		return nil, err
	}
	l.tick()
	l.timers.tick = l.now >> tickBits
	return l, nil
}

// Index is the loop's position in its group.
func (l *Loop) Index() int { return l.index }

// Now is the time at which the loop began its present batch of work. It is
// meant for what runs on the loop.
func (l *Loop) Now() time.Time { return l.clock }

// Conns is the number of accepted connections the loop owns. From anywhere.
func (l *Loop) Conns() int { return int(l.accepted.Load()) }

// Post runs fn on the loop, between coroutines. fn must not park. Post may be
// called from anywhere and returns at once; after Group.Close it does nothing.
func (l *Loop) Post(fn func()) { l.send(mail{op: opPost, fn: fn}) }

// Go runs fn on a coroutine of the loop. Go may be called from anywhere and
// returns at once; after Group.Close it does nothing.
func (l *Loop) Go(fn func()) { l.send(mail{op: opGo, fn: fn}) }

// main runs the loop until the group is closed.
func (l *Loop) main() {
	done := false
	// Goexit in a coroutine (t.FailNow, say) ends the goroutine that resumed it,
	// this one. The loop must live on, so another goroutine takes over.
	defer func() {
		if !done {
			l.cur = nil
			l.g.wg.Go(l.main)
		}
	}()
	l.id = goid()
	l.running.Store(l.id)
	for !l.step() {
	}
	l.poll.close()
	done = true
}

// step is one batch. It is true when the loop has ended.
func (l *Loop) step() bool {
	l.rest()
	// Events are only noted above and what they wake runs below, so no socket is
	// closed, and no descriptor used again, while events of the batch are open.
	l.deliver()
	l.timers.advance(l.now)
	l.runReady()
	l.deliver()
	return l.closing && l.busy == 0 && len(l.runq) == 0 && l.end()
}

// rest waits for something to do and takes note of it.
func (l *Loop) rest() {
	timeout := time.Duration(-1)
	if at, ok := l.timers.next(); ok {
		timeout = max(0, time.Duration(at-l.g.since(time.Now())))
	}
	if len(l.runq) > 0 || l.closing && l.busy == 0 {
		timeout = 0
	}
	if timeout != 0 {
		l.awake.Store(asleep)
		// Mail that came before the store has woken nobody.
		if l.box.pending.Load() {
			timeout = 0
		}
	}
	l.poll.wait(timeout)
}

// tick reads the clock. Pollers call it when they have waited.
func (l *Loop) tick() {
	l.clock = time.Now()
	l.now = l.g.since(l.clock)
	l.awake.Store(l.now)
}

// guard runs fn between coroutines and survives its panic.
func (l *Loop) guard(fn func()) {
	defer func() {
		if v := recover(); v != nil {
			l.g.o.Panic(v, debug.Stack())
		}
	}()
	fn()
}

// register gives c a slot and begins to watch it.
func (l *Loop) register(c *Conn) error {
	if k := len(l.slots); k > 0 {
		c.slot = l.slots[k-1]
		l.slots = l.slots[:k-1]
		l.conns[c.slot] = c
	} else {
		c.slot = int32(len(l.conns))
		l.conns = append(l.conns, c)
	}
	l.gen++
	c.gen = l.gen
	c.timer.owner = c
	return l.poll.add(c)
}

// unregister frees c's slot. Closing the socket ends its events.
func (l *Loop) unregister(c *Conn) {
	l.timers.remove(&c.timer)
	if c.slot >= 0 {
		l.conns[c.slot] = nil
		l.slots = append(l.slots, c.slot)
		c.slot = -1
	}
}

// adopt takes over a connection that was accepted for this loop. It is parked
// at birth: it costs no coroutine until its first byte.
func (l *Loop) adopt(c *Conn) {
	if c.closed.Load() || l.closing || l.register(c) != nil {
		c.closed.Store(true)
		c.release()
		return
	}
	c.opened()
	c.parked = true
	if first := c.ln.first.Load(); first > 0 && c.idleAt == 0 { // it may have been silent elsewhere
		c.idleAt = l.now + first
	}
	c.arm()
}

// shutdown closes every connection and wakes whatever waits for something that
// may never come.
func (l *Loop) shutdown() {
	l.closing = true
	for _, c := range l.conns {
		if c != nil {
			c.closed.Store(true)
			c.release()
		}
	}
	for _, co := range l.coros {
		co.interrupt()
	}
}

// end stops the idle coroutines and refuses mail. It is false if there is some.
func (l *Loop) end() bool {
	if !l.box.shut() {
		return false
	}
	for _, co := range l.coros {
		co.stop()
	}
	l.coros, l.idle = nil, nil
	return true
}
