package loop

import (
	"sync/atomic"
	"time"
)

// States of a task.
const (
	taskIdle   = iota
	taskToken  // woken before it parked
	taskParked // in Park
	taskQueued // woken in Park; the loop has mail about it
	taskGone   // its coroutine has moved on to another job
)

// Task is a coroutine as its job sees it: the way to wait for something that is
// not a connection. It ends with the job; a Wake after that does nothing.
type Task struct {
	l     *Loop
	co    *coro
	state atomic.Int32

	canceled bool // a connection that it was tied to hung up; the loop's
}

// Task is the coroutine now running on this loop. It must be called from a
// coroutine of the loop. The first call in a job allocates.
func (l *Loop) Task() *Task {
	co := l.current()
	if co.task == nil {
		co.task = &Task{l: l, co: co}
	}
	return co.task
}

// running is the coroutine of t, which must be the caller.
func (t *Task) running() *coro {
	if t.l.cur != t.co || t.co.task != t {
		panic("BUG: a task can be parked only by itself")
	}
	return t.co
}

// Park waits for Wake (true) or until deadline (false; the zero time means no
// deadline). One Wake before Park is remembered. When the group closes, Park
// returns false.
func (t *Task) Park(deadline time.Time) bool {
	co := t.running()
	if t.state.CompareAndSwap(taskToken, taskIdle) {
		return true
	}
	if t.l.closing {
		co.reschedule() // so that a loop around Park cannot keep the others from ending
		return t.state.CompareAndSwap(taskToken, taskIdle)
	}
	co.until = t.l.g.since(deadline)
	if co.until != 0 && co.until <= t.l.now {
		return false
	}
	if !t.state.CompareAndSwap(taskIdle, taskParked) {
		t.state.Store(taskIdle) // woken since we looked
		return true
	}
	if co.until != 0 {
		t.l.timers.set(&co.timer, co.until)
	}
	co.wait = waitWake
	co.park()
	return co.woken
}

// Wake ends the Park that waits, or the next one. It may be called from
// anywhere, any number of times, and does not allocate.
func (t *Task) Wake() {
	for {
		switch s := t.state.Load(); s {
		case taskIdle:
			if t.state.CompareAndSwap(s, taskToken) {
				return
			}
		case taskParked:
			if t.state.CompareAndSwap(s, taskQueued) {
				t.l.send(mail{op: opWake, task: t})
				return
			}
		default:
			return
		}
	}
}

// Canceled says whether a connection hung up that the task was tied to
// (Conn.SetHangupTask) since it was last asked. It must be called on the loop.
func (t *Task) Canceled() bool {
	canceled := t.canceled
	t.canceled = false
	return canceled
}

// cancel implements hangupTarget.
func (t *Task) cancel() {
	t.canceled = true
	t.Wake()
}

// deliver is the loop's end of Wake: exactly one for each taskQueued.
func (t *Task) deliver() {
	t.state.Store(taskIdle)
	t.co.wait = waitNothing
	t.co.woken = true
	t.l.ready(t.co)
}

// Block runs fn on a goroutine of its own and parks until it returns: the way
// to files, resolvers and channels. A panic in fn panics in the coroutine.
func (t *Task) Block(fn func()) {
	co := t.running()
	var failure any
	t.l.g.wg.Go(func() {
		defer func() {
			failure = recover()
			t.l.send(mail{op: opResume, co: co})
		}()
		fn()
	})
	co.park()
	if failure != nil {
		panic(failure)
	}
}

// Sleep parks for d, or until the group closes.
func (t *Task) Sleep(d time.Duration) {
	co := t.running()
	if d <= 0 || t.l.closing {
		co.reschedule()
		return
	}
	co.until = t.l.now + int64(d)
	t.l.timers.set(&co.timer, co.until)
	co.wait = waitTime
	co.park()
}

// Yield lets everything else that is ready run first.
func (t *Task) Yield() { t.running().reschedule() }
