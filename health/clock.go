package health

import (
	"time"

	"weir/internal/loop"
)

// clock calls Pace.tick when it is time. Its methods want Pace.mu.
type clock interface {
	sleep(until time.Time)      // called by tick; zero: until it is woken
	wake(at time.Time)          // it was going to sleep for longer
	stop() (gone chan struct{}) // closed when it has ended
}

// start is the clock of p, running.
func (p *Pace) start() clock {
	if p.Loop != nil {
		c := &loopClock{gone: make(chan struct{})}
		p.Loop.Go(func() { c.run(p) })
		return c
	}
	c := &timerClock{
		timer: time.NewTimer(time.Hour),
		now:   make(chan struct{}, 1), quit: make(chan struct{}), gone: make(chan struct{}),
	}
	go c.run(p)
	return c
}

// timerClock is a goroutine.
type timerClock struct {
	timer      *time.Timer
	now        chan struct{} // holds one: tick at once
	quit, gone chan struct{}
}

func (c *timerClock) run(p *Pace) {
	defer close(c.gone)
	defer c.timer.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-c.timer.C:
		case <-c.now:
		}
		p.tick(c)
	}
}

func (c *timerClock) sleep(until time.Time) {
	if !until.IsZero() {
		c.wake(until)
	}
}

// wake does not set a timer to fire at once: those of a synctest bubble must not,
// under the race detector (go.dev/issue/78156).
func (c *timerClock) wake(at time.Time) {
	if d := time.Until(at); d > 0 {
		c.timer.Reset(d)
		return
	}
	select {
	case c.now <- struct{}{}:
	default: // it is about to
	}
}

func (c *timerClock) stop() chan struct{} {
	close(c.quit)
	return c.gone
}

// loopClock is a coroutine: on the loop on which the probes are made, so that
// nobody has to be woken to begin them.
type loopClock struct {
	task  *loop.Task // Pace.mu; nil: it has not begun, and will look first
	until time.Time  // it sleeps; written by tick
	gone  chan struct{}
}

func (c *loopClock) run(p *Pace) {
	defer close(c.gone)
	t := p.Loop.Task()
	p.mu.Lock()
	c.task = t
	p.mu.Unlock()
	for {
		if !p.tick(c) {
			return
		}
		if !t.Park(c.until) && (c.until.IsZero() || p.Loop.Now().Before(c.until)) {
			return // the loop closes, too early
		}
	}
}

func (c *loopClock) sleep(until time.Time) { c.until = until }

func (c *loopClock) wake(time.Time) {
	if c.task != nil {
		c.task.Wake()
	}
}

func (c *loopClock) stop() chan struct{} {
	c.wake(time.Time{})
	return c.gone
}
