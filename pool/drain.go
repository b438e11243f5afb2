package pool

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Deadline is how long what runs on a backend has, once the backend gets no more.
// Whoever holds a lease closes it when its End has come.
type Deadline struct {
	Spread time.Time // from here on streams end, a few at a time
	Until  time.Time // by now everything does; zero: there is no deadline
}

// End is when a lease has to end; zero: never. Requests have until the deadline.
// Streams, which would go on for ever, end at their own moment between Spread and
// Until, so that their clients do not all come back at once: draw, in [0, 1), is
// drawn once for each.
func (d Deadline) End(stream bool, draw float64) time.Time {
	if !stream || d.Until.IsZero() {
		return d.Until
	}
	return d.Spread.Add(time.Duration(draw * float64(d.Until.Sub(d.Spread))))
}

const (
	drainSteps    = 64 // in which the streams of a backend end
	shortestSweep = 10 * time.Millisecond
	longestSweep  = time.Second // and how often it is looked again after the deadline: some were connecting then
)

// draining is a drain that goes on; zero: none does.
type draining struct {
	Deadline
	since  time.Time
	before int64     // leases that earlier drains had closed
	told   bool      // that nothing runs any more; clients that stick may come back
	empty  time.Time // nothing runs since then; zero: something does
	swept  time.Time // Options.Expire was told
	over   bool      // the deadline has passed
}

// next is when leases may have to end next; zero: not before something else
// happens. busy says that there are leases.
func (d *draining) next(now time.Time, busy bool) time.Time {
	switch {
	case d.Until.IsZero():
		return time.Time{}
	case now.Before(d.Spread):
		return d.Spread
	case !busy && now.Before(d.Until):
		return d.Until
	case !busy:
		return time.Time{}
	}
	step := min(max(d.Until.Sub(d.Spread)/drainSteps, shortestSweep), longestSweep)
	if !d.swept.Before(d.Until) {
		step = longestSweep
	}
	at := d.swept.Add(step)
	if d.swept.Before(d.Until) && at.After(d.Until) {
		return d.Until
	}
	return at
}

// drain lets b's work end, within timeout unless that is zero. A drain that goes
// on gets another deadline. p.mu is held.
func (p *Pool) drain(b *Backend, timeout time.Duration, now time.Time) {
	d := &b.draining
	if d.since.IsZero() {
		*d = draining{since: now, before: b.load.closed.Load()}
		b.ending.Store(true) // before the leases are counted: the last one tells
		if b.InFlight() == 0 {
			d.empty, d.told = now, true
		}
	}
	d.Deadline, d.swept, d.over = Deadline{}, time.Time{}, false
	p.setStale = true
	if timeout > 0 {
		d.Deadline = Deadline{Spread: now.Add(timeout - timeout/2), Until: now.Add(timeout)}
	}
	p.kick()
}

// undrain lets b's work go on. p.mu is held.
func (p *Pool) undrain(b *Backend) {
	b.draining = draining{}
	b.ending.Store(b.retired.Load())
}

// ends lists the backends whose work ends. p.mu is held.
func (p *Pool) ends() []*Backend {
	drains := func(b *Backend) bool { return !b.draining.since.IsZero() }
	return append(filter(p.order, drains), filter(p.leaving, drains)...)
}

// sweep has leases closed whose end has come, and says which backends have none
// any more. p.mu is held.
func (p *Pool) sweep(now time.Time) {
	for _, b := range p.ends() {
		d := &b.draining
		if !d.over && !d.Until.IsZero() && !now.Before(d.Until) {
			d.over, p.setStale = true, true // from here on it has no clients of its own either
		}
		if b.InFlight() == 0 {
			p.emptied(b, now)
			continue
		}
		d.empty = time.Time{}
		if due := d.next(now, true); !due.IsZero() && !due.After(now) {
			d.swept = now
			p.expire(b, d.Deadline, now)
		}
	}
}

// emptied notes that nothing runs on b any more. p.mu is held.
func (p *Pool) emptied(b *Backend, now time.Time) {
	d := &b.draining
	if d.since.IsZero() || !d.empty.IsZero() {
		return
	}
	d.empty = now
	if d.told {
		return
	}
	d.told = true
	cause := fmt.Sprintf("nothing runs on it after %v", now.Sub(d.since).Round(time.Millisecond))
	if n := b.load.closed.Load() - d.before; n > 0 {
		cause += fmt.Sprintf("; %d closed by the deadline", n)
	}
	e := Event{now, p.name, b.address, EventDrained, cause}
	p.events = append(p.events, e)
	b.remember(e)
}

// nextSweep is when sweep has to look by itself; zero: it need not. p.mu is held.
func (p *Pool) nextSweep(now time.Time) (due time.Time) {
	for _, b := range p.ends() {
		if at := b.draining.next(now, b.InFlight() > 0); !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	return due
}

// Retire takes all backends out of the pool, as an Update to an empty Spec does,
// because nothing leads to the pool any more: requests that found it before can
// go on acquiring from its last Set. What runs is drained. An Update brings the
// pool back; Close ends it.
func (p *Pool) Retire() {
	p.mu.Lock()
	defer p.unlock()
	if p.closing || p.gone {
		return
	}
	now := time.Now()
	p.gone, p.founded, p.rampNext = true, false, time.Time{}
	for _, b := range p.order {
		p.dismiss(b, now)
		p.events = append(p.events, Event{now, p.name, b.address, EventRemoved, "its pool is no longer configured"})
	}
	p.order, p.listed = nil, make(map[string]*Backend)
	p.probeStale = true
	p.refresh(now)
	p.kick()
}

// Idle reports whether nothing runs on a backend that has left the pool.
func (p *Pool) Idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(p.leaving, func(b *Backend) bool { return b.InFlight() > 0 })
}

// dismiss retires a backend that requests may be on. p.mu is held.
func (p *Pool) dismiss(b *Backend, now time.Time) {
	if b.draining.since.IsZero() {
		p.drain(b, p.spec.DrainTimeout, now)
	}
	p.retire(b)
	b.settleState(now)
}

// leaver is the backend with that address that has left and on which something
// still runs; nil if there is none. p.mu is held.
func (p *Pool) leaver(address string) *Backend {
	i := slices.IndexFunc(p.leaving, func(b *Backend) bool { return b.address == address && b.InFlight() > 0 })
	if i < 0 {
		return nil
	}
	return p.leaving[i]
}

// DrainStatus is how far a drain has come.
type DrainStatus struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // what runs then is closed; zero: nothing is
	Closed int       `json:"closed"`         // requests and streams that it has closed
	Empty  time.Time `json:"empty,omitzero"` // nothing runs since then
}

// drainStatus is nil if b does not drain. p.mu is held.
func (b *Backend) drainStatus() *DrainStatus {
	d := &b.draining
	if d.since.IsZero() {
		return nil
	}
	return &DrainStatus{Since: d.since, Until: d.Until, Closed: int(b.load.closed.Load() - d.before), Empty: d.empty}
}

// leavers describes the backends that have left and still have work, by address.
// p.mu is held.
func (p *Pool) leavers() []BackendStatus {
	var all []BackendStatus
	for _, b := range p.leaving {
		if b.InFlight() > 0 {
			all = append(all, b.status())
		}
	}
	slices.SortFunc(all, func(a, b BackendStatus) int { return strings.Compare(a.Address, b.Address) })
	return all
}
