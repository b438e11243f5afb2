package pool

import (
	"sync/atomic"
	"time"
)

// trialPatience is how long after the head of its answer a request on trial has
// passed, though it still runs: a tunnel or a stream may run for hours.
const trialPatience = time.Second

// trial lets one request at a time through to a backend that returns from an
// ejection. Requests write it, each its own part; the pool's goroutine judges.
type trial struct {
	last     atomic.Uint32 // number of the latest
	current  atomic.Uint32 // the one under way; 0: none
	answered atomic.Uint32 // the one that has had the head of an answer; 0: none
	ended    atomic.Uint32 // trialPassed or trialFailed, for the pool's goroutine; else 0
}

// How a trial ended.
const (
	trialPassed = 1 + iota
	trialFailed
)

func (t *trial) busy() bool { return t.current.Load() != 0 }

// begin returns the number of a new trial, or 0 while another one is under way.
func (t *trial) begin() uint32 {
	if t.busy() {
		return 0
	}
	n := t.last.Add(1)
	if n == 0 || !t.current.CompareAndSwap(0, n) { // 0: once in four billion
		return 0
	}
	return n
}

// cancel ends trial n without a verdict.
func (t *trial) cancel(n uint32) {
	if n != 0 {
		t.current.CompareAndSwap(n, 0)
	}
}

// reset makes trials under way those of a former time: how they end no longer
// matters.
func (t *trial) reset() {
	t.current.Store(0)
	t.answered.Store(0)
	t.ended.Store(0)
}

// endTrial enters how trial n ended, unless it is of a former time. One that
// failed keeps others out until the pool's goroutine has judged it.
func (b *Backend) endTrial(n uint32, o Outcome, fault bool) {
	t := &b.trial
	switch {
	case t.current.Load() != n:
		return
	case fault:
		t.ended.Store(trialFailed)
	case o == Success:
		t.ended.Store(trialPassed)
		t.cancel(n)
	default:
		t.cancel(n)
		return
	}
	b.pool.kick()
}

// judgeTrials acts on how trials ended. p.mu is held.
func (p *Pool) judgeTrials(now time.Time) {
	for _, b := range p.order {
		if !b.halfOpen {
			continue
		}
		switch b.trial.ended.Swap(0) {
		case trialFailed:
			if p.mayEject(now) || p.strands(b) {
				p.eject(b, "half_open", "failed its first request after an ejection: "+b.lastError(), now)
			} else {
				b.trial.reset()
				p.queue.wake(false)
			}
		case trialPassed:
			p.endTrials(b)
		default:
			if due := b.trialDue(now); !due.IsZero() && !due.After(now) {
				p.endTrials(b)
			}
		}
	}
}

// trialDue is when the trial under way has passed, though it still runs; zero
// if it has no answer yet. p.mu is held.
func (b *Backend) trialDue(now time.Time) time.Time {
	n := b.trial.current.Load()
	if n == 0 || b.trial.answered.Load() != n {
		return time.Time{}
	}
	if b.seenTrial != n {
		b.seenTrial, b.seenAt = n, now
	}
	return b.seenAt.Add(trialPatience)
}

// beginTrials lets b have one request at a time. p.mu is held.
func (b *Backend) beginTrials() {
	b.trial.reset()
	b.halfOpen, b.seenTrial = true, 0
}

// endTrials lets b have as many as the others again. p.mu is held.
func (p *Pool) endTrials(b *Backend) {
	b.halfOpen = false
	p.setStale = true
}

// endLonelyTrials ends all of them if nobody else is usable: one request at a
// time is no better than an ejection then. p.mu is held.
func (p *Pool) endLonelyTrials() {
	for _, b := range p.order {
		if b.usable() && !b.halfOpen {
			return
		}
	}
	for _, b := range p.order {
		b.halfOpen = false
	}
}
