// Package loop owns the event loops: their sockets, their timers and the
// coroutines that run on them.
//
// Code above it is plain blocking code over net.Conn. A Read that would block
// parks its coroutine and the loop runs the next one: a switch costs about a
// tenth of a microsecond and never enters the Go scheduler. The price is the
// law of the loop: inside a coroutine nothing may block but Conn and Task.
//
// A loop runs one thing at a time. Coroutines and functions given to Post of
// one loop never run simultaneously, so what belongs to a loop needs no lock.
//
// On Linux a loop waits in epoll and calls the kernel without telling the
// scheduler. Elsewhere, and with Options.Portable, the same engine sits on
// goroutines over package net. It knows nothing of HTTP, pools or configuration.
package loop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// ErrParked is returned by Conn.ReadIdle when the connection has been parked.
// The handler must return; the next byte starts the listener's handler anew.
var ErrParked = errors.New("connection parked")

// ErrCanceled is returned by Read and Write of a connection whose work was
// cancelled because another connection hung up (see Conn.SetHangupTarget).
var ErrCanceled = errors.New("cancelled: the other side hung up")

// Options configure a Group. The zero value is good for tests.
type Options struct {
	// Loops is the number of event loops; 0 means GOMAXPROCS.
	Loops int
	// Panic is told of a panic in a coroutine, after its connection was closed.
	// It runs on the loop and must not block. nil: written to standard error.
	Panic func(v any, stack []byte)
	// Stall is told, once a stall, that a loop has not come back for d
	// (100 ms or more) and what it was doing. It runs on a goroutine of its own.
	// stack is nil if another stall was reported in the last ten seconds.
	Stall func(loop int, d time.Duration, stack []byte)
	// Quiet is for loops that sleep most of the time and are in no hurry. They
	// wait as goroutines do, in the runtime's poller: a thread that waits in a
	// system call of its own keeps the scheduler's watchman up, who looks after it
	// a thousand times a second. And while many coroutines wait they look once a
	// millisecond, not for each of them.
	Quiet bool
	// Portable chooses goroutines over net even where epoll exists.
	Portable bool
}

// Group is a set of loops that share listeners.
type Group struct {
	o     Options
	epoch time.Time // loops count nanoseconds from here
	loops []*Loop
	stop  chan struct{} // closed by Close: ends the watchdog and paused accepts
	wg    sync.WaitGroup

	mu        sync.Mutex // guards what follows; taken by Listen, accepts and Close
	closed    bool
	listeners map[int32]*Listener
	lastID    int32
}

// New starts the loops. Close ends them.
func New(o Options) (*Group, error) {
	if o.Loops <= 0 {
		o.Loops = runtime.GOMAXPROCS(0)
	}
	if o.Panic == nil {
		o.Panic = func(v any, stack []byte) {
			fmt.Fprintf(os.Stderr, "panic in a coroutine: %v\n\n%s\n", v, stack)
		}
	}
	g := &Group{
		o: o,
		// One nanosecond back, so that no moment is 0: that means "none".
		epoch:     time.Now().Add(-1),
		stop:      make(chan struct{}),
		listeners: make(map[int32]*Listener),
	}
	for i := range o.Loops {
		l, err := newLoop(g, i)
		if err != nil {
			for _, l := range g.loops {
				l.poll.close()
			}
			return nil, fmt.Errorf("event loop %d: %w", i, err)
		}
		g.loops = append(g.loops, l)
	}
	for _, l := range g.loops {
		g.wg.Go(l.main)
	}
	if o.Stall != nil {
		g.wg.Go(g.watch)
	}
	return g, nil
}

// Len is the number of loops.
func (g *Group) Len() int { return len(g.loops) }

// Loop is the i-th loop, 0 <= i < Len().
func (g *Group) Loop(i int) *Loop { return g.loops[i] }

// Close closes the listeners and all connections, makes what waits return, and
// waits until every coroutine has come to its end and the loops are gone. It
// must not be called from a coroutine. A second Close returns net.ErrClosed.
func (g *Group) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return net.ErrClosed
	}
	g.closed = true
	open := make([]*Listener, 0, len(g.listeners))
	for _, ln := range g.listeners {
		open = append(open, ln)
	}
	g.mu.Unlock()

	var errs []error
	for _, ln := range open {
		errs = append(errs, ln.Close())
	}
	close(g.stop)
	for _, l := range g.loops {
		l.send(mail{op: opShutdown})
	}
	g.wg.Wait()
	return errors.Join(errs...)
}

// since turns a moment into nanoseconds of the group's clock: 0 is "none", and
// whatever lies before the epoch is 1, which has always passed.
func (g *Group) since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(1, int64(t.Sub(g.epoch)))
}

// fewest is the loop with the fewest accepted connections.
func (g *Group) fewest() *Loop {
	best := g.loops[0]
	least := best.accepted.Load()
	for _, l := range g.loops[1:] {
		if n := l.accepted.Load(); n < least {
			best, least = l, n
		}
	}
	return best
}
