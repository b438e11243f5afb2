package loop

import (
	"bytes"
	"iter"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
)

const (
	// fairShare is what a coroutine may move (bytes, both directions) before it
	// yields to its neighbours.
	fairShare = 256 << 10

	trimEvery = 2 * time.Second
	keepIdle  = 16 // coroutines a loop keeps however little there is to do
)

// waitKind says what a coroutine of Task waits for; connections remember their
// waiters themselves.
type waitKind uint8

const (
	waitNothing waitKind = iota
	waitWake             // Task.Park
	waitTime             // Task.Sleep
)

// coro is a coroutine: a goroutine that the loop switches to and from without
// the scheduler. It works off one job after another.
//
// Whoever makes a waiting coroutine ready first takes away what made it
// findable (Conn.reader, a task's state, waitKind): nobody is made ready twice.
type coro struct {
	l     *Loop
	next  func() (struct{}, bool) // runs it until it yields
	stop  func()                  // ends it; only while it has no job
	yield func(struct{}) bool
	id    uint64 // its goroutine's
	index int    // in l.coros

	conn *Conn  // the job: serve conn,
	fn   func() // or run fn
	task *Task  // of this job; made when somebody asks

	timer timer
	until int64 // deadline of Park or Sleep, 0 for none
	wait  waitKind
	woken bool // how Park ended
	moved int  // bytes since it last waited
}

// spawn starts a job: serving c, or fn.
func (l *Loop) spawn(c *Conn, fn func()) {
	var co *coro
	if k := len(l.idle); k > 0 {
		co = l.idle[k-1]
		l.idle[k-1] = nil
		l.idle = l.idle[:k-1]
		l.unused = min(l.unused, k-1)
	} else {
		co = &coro{l: l, index: len(l.coros)}
		co.timer.owner = co
		co.next, co.stop = iter.Pull(co.work)
		l.coros = append(l.coros, co)
	}
	co.conn, co.fn = c, fn
	if c != nil {
		c.serving = true
	}
	l.busy++
	l.ready(co)
}

// ready queues a coroutine that waits no more.
func (l *Loop) ready(co *coro) { l.runq = append(l.runq, co) }

// runReady resumes what is ready now; what gets ready meanwhile is for the next
// batch, after the sockets have been looked at.
func (l *Loop) runReady() {
	// head is a field: if a coroutine takes the loop's goroutine with it, the
	// next one goes on behind it.
	for n := len(l.runq); l.head < n; {
		co := l.runq[l.head]
		l.runq[l.head] = nil
		l.head++
		l.resume(co)
	}
	n := copy(l.runq, l.runq[l.head:])
	clear(l.runq[n:])
	l.runq, l.head = l.runq[:n], 0
}

func (l *Loop) resume(co *coro) {
	l.cur = co
	l.running.Store(co.id)
	co.next()
	l.running.Store(l.id)
	l.cur = nil
}

// current is the running coroutine.
func (l *Loop) current() *coro {
	if l.cur == nil {
		panic("BUG: only a coroutine of its own loop can wait here")
	}
	return l.cur
}

// park returns to the loop until somebody makes co ready.
func (co *coro) park() {
	co.moved = 0
	co.yield(struct{}{})
}

// reschedule lets everybody else who is ready go first.
func (co *coro) reschedule() {
	co.l.ready(co)
	co.park()
}

// work is the body of a coroutine.
func (co *coro) work(yield func(struct{}) bool) {
	co.yield = yield
	co.id = goid()
	co.l.running.Store(co.id)
	for {
		co.run()
		co.l.idle = append(co.l.idle, co)
		co.l.trim.arm()
		if !yield(struct{}{}) {
			return
		}
	}
}

// run does the job and cleans up after it, whichever way it ends.
func (co *coro) run() {
	returned := false
	defer func() {
		if !returned {
			co.fail(recover())
		}
		co.finish()
	}()
	if co.conn != nil {
		(*co.conn.ln.handle.Load())(co.conn)
	} else {
		co.fn()
	}
	returned = true
}

// fail closes the connection of a job that did not return: it panicked with v
// or, if v is nil, called Goexit, which takes the coroutine with it.
func (co *coro) fail(v any) {
	l := co.l
	if co.conn != nil {
		co.conn.parked, co.conn.kept = false, false
	}
	if v != nil {
		stack := debug.Stack()
		l.guard(func() { l.g.o.Panic(v, stack) })
		return
	}
	l.forget(co)
}

// finish ends the job: whatever still points at its task is too late.
func (co *coro) finish() {
	c := co.conn
	if co.task != nil {
		co.task.state.Store(taskGone)
	}
	co.conn, co.fn, co.task, co.until, co.moved = nil, nil, nil, 0, 0
	co.l.busy--
	if c != nil {
		c.served()
	}
}

// interrupt makes a coroutine return from Park or Sleep because the loop ends.
func (co *coro) interrupt() {
	switch {
	case co.wait == waitWake && co.task.state.CompareAndSwap(taskParked, taskIdle):
		co.woken = false
	case co.wait == waitTime:
	default:
		return
	}
	co.wait = waitNothing
	co.l.ready(co)
}

// expire implements expirer for the deadlines of Park and Sleep.
func (co *coro) expire(now int64) {
	switch {
	case co.wait == waitNothing || co.until == 0:
	case now < co.until:
		co.l.timers.set(&co.timer, co.until)
	default:
		co.interrupt()
	}
}

// forget removes a coroutine that has ended or is about to.
func (l *Loop) forget(co *coro) {
	l.timers.remove(&co.timer)
	last := len(l.coros) - 1
	l.coros[co.index] = l.coros[last]
	l.coros[co.index].index = co.index
	l.coros[last] = nil
	l.coros = l.coros[:last]
}

// trimmer gives back coroutines, and with them their stacks, after a burst.
type trimmer struct {
	l     *Loop
	timer timer
}

// arm keeps the timer set while there is something to give back, and only
// then: a loop without work sleeps.
func (t *trimmer) arm() {
	if l := t.l; t.timer.slot == 0 && len(l.idle) > keepIdle {
		l.unused = len(l.idle)
		l.timers.set(&t.timer, l.now+int64(trimEvery))
	}
}

// expire implements expirer: half of what was never needed since the last
// time goes.
func (t *trimmer) expire(int64) {
	l := t.l
	for n := min(l.unused, len(l.idle)-keepIdle) / 2; n > 0; n-- {
		last := len(l.idle) - 1
		co := l.idle[last]
		l.idle[last] = nil
		l.idle = l.idle[:last]
		l.forget(co)
		co.stop()
	}
	if len(l.idle) > keepIdle+1 {
		t.arm()
	}
}

// goid is the id of the calling goroutine, as stack dumps print it. It is slow
// (a microsecond), so a coroutine asks once in its life.
func goid() uint64 {
	var buf [40]byte
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	digits, _, _ := bytes.Cut(text, []byte(" "))
	id, _ := strconv.ParseUint(string(digits), 10, 64)
	return id
}
