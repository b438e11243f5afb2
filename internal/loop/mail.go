package loop

import (
	"sync"
	"sync/atomic"
)

// op says what a mail asks of a loop.
type op uint8

const (
	opPost     op = iota // run fn
	opGo                 // run fn on a coroutine
	opWake               // a parked task was woken
	opResume             // what a coroutine blocked on has returned
	opClose              // Close was called
	opRearm              // a deadline changed while somebody waits
	opAdopt              // an accepted connection for this loop
	opEvent              // a portable connection has changed
	opWrote              // a portable connection has written
	opSpoil              // a connection was readable when it became idle
	opShutdown           // the group closes
)

// mail is a request to a loop. Plain fields instead of closures: a Wake or a
// Close must not allocate.
type mail struct {
	op   op
	conn *Conn
	co   *coro
	task *Task
	fn   func()
}

// mailbox holds what others, or the loop's own coroutines, want of the loop.
type mailbox struct {
	pending atomic.Bool // in is not empty: lets the loop look without the lock

	mu   sync.Mutex // senders and the loop
	in   []mail
	dead bool // the loop has ended; nothing is taken any more

	// The loop's own: what it has fetched, and how far it has come in that.
	out []mail
	at  int
}

// fetch makes what has arrived available to next.
func (b *mailbox) fetch() {
	if b.at < len(b.out) || !b.pending.Load() {
		return
	}
	b.mu.Lock()
	b.in, b.out = b.out[:0], b.in
	b.pending.Store(false)
	b.mu.Unlock()
	b.at = 0
}

// next takes one mail of those that were fetched.
func (b *mailbox) next() (mail, bool) {
	if b.at == len(b.out) {
		return mail{}, false
	}
	m := b.out[b.at]
	b.out[b.at] = mail{} // or its function and connection would live on
	b.at++
	return m, true
}

// shut refuses further mail if none is left.
func (b *mailbox) shut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dead = len(b.in) == 0
	return b.dead
}

// send puts m into the loop's box and wakes the loop if it sleeps. It is false
// if the loop has ended.
func (l *Loop) send(m mail) bool {
	l.box.mu.Lock()
	defer l.box.mu.Unlock()
	if l.box.dead {
		return false
	}
	l.box.in = append(l.box.in, m)
	l.box.pending.Store(true)
	// Only the first sender after the loop fell asleep pays for a system call. It
	// is made under the lock, or it could hit a poller that is closed by then.
	if l.awake.CompareAndSwap(asleep, waking) {
		l.poll.wake()
	}
	return true
}

// deliver acts on all mail that is there now.
func (l *Loop) deliver() {
	l.box.fetch()
	for {
		m, ok := l.box.next()
		if !ok {
			return
		}
		l.act(m)
	}
}

func (l *Loop) act(m mail) {
	switch m.op {
	case opPost:
		l.guard(m.fn)
	case opGo:
		l.spawn(nil, m.fn)
	case opWake:
		m.task.deliver()
	case opResume:
		l.ready(m.co)
	case opClose:
		m.conn.release()
	case opRearm:
		m.conn.arm()
	case opAdopt:
		l.adopt(m.conn)
	case opEvent:
		in, hup, broken := m.conn.pipe.poll()
		m.conn.event(in, false, hup, broken)
	case opWrote:
		m.conn.writable = true
		m.conn.wakeWriter()
	case opSpoil:
		// It may have been used, and put away well, since.
		if m.conn.Readable() {
			m.conn.spoil()
		}
	case opShutdown:
		l.shutdown()
	}
}
