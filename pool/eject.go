package pool

import (
	"fmt"
	"time"
)

// ejectionJitter keeps backends that failed together from coming back together.
const ejectionJitter = 0.2

// ejectFailing looks for backends whose errors in a row reached the limit and
// ejects those that may be. p.mu is held.
func (p *Pool) ejectFailing(now time.Time) {
	limit := int64(p.spec.Passive.ConsecutiveErrors)
	for _, b := range p.order {
		n := b.failed.Load()
		if n == 0 {
			continue
		}
		// Counted anew whatever is decided: one that may not be ejected is
		// looked at again after as many errors more, not at each of them.
		b.forgetErrors()
		if limit <= 0 || n < limit || !p.strands(b) && (!b.usable() || !p.mayEject(now)) {
			continue
		}
		p.condemn(b, "consecutive_errors", fmt.Sprintf("%d errors in a row, the last %s", n, b.lastError()), now)
	}
}

// condemn takes b out, or says that it would be out. p.mu is held.
func (p *Pool) condemn(b *Backend, reason, cause string, now time.Time) {
	if p.spec.Passive.Enforce {
		p.eject(b, reason, cause, now)
	} else {
		p.wouldEject(b, reason, cause, now)
	}
}

// mayEject reports whether one more may be out: never the last that is usable,
// and never more than the cap, counted with it out. Where nobody is ejected those
// that would be out are counted as if they were: it is to be seen what enforce
// would do. p.mu is held.
func (p *Pool) mayEject(now time.Time) bool {
	ready, ejected, usable := p.census()
	if !p.spec.Passive.Enforce {
		for _, b := range p.order {
			if b.usable() && now.Before(b.wouldReturn) {
				ejected, usable = ejected+1, usable-1
			}
		}
	}
	return usable > 1 && ejected+1 <= ejectionCap(ready, p.spec.Passive.MaxEjected)
}

// census counts the backends that matter for the cap. p.mu is held.
func (p *Pool) census() (ready, ejected, usable int) {
	for _, b := range p.order {
		if !b.ready() {
			continue
		}
		ready++
		if !b.trusted() {
			ejected++
		}
		if b.usable() {
			usable++
		}
	}
	return ready, ejected, usable
}

// ejectionCap is how many of n backends may be ejected at once: percent of
// them rounded down, but one of two or more (at 50 % one of two and one of
// three), and none of one. 0 % is none at all.
func ejectionCap(n, percent int) int {
	if n < 2 || percent <= 0 {
		return 0
	}
	return max(1, n*percent/100)
}

// eject takes b out; reason is for the metrics. p.mu is held.
func (p *Pool) eject(b *Backend, reason, cause string, now time.Time) {
	b.halfOpen = false
	b.ejections = forgive(b.ejections, now.Sub(b.returned), p.spec.Passive.Ejection) + 1
	d := ejectionTime(p.spec.Passive, b.ejections, p.rand())
	b.ejectedUntil = now.Add(d)
	b.ejectCause = cause
	b.metrics.Ejected(reason)
	p.change(b, now, EventEjected, fmt.Sprintf("%s; out for %v", cause, roughly(d)))
}

// wouldEject says that b would be out if ejection were enforced, and does not
// say so again while it would be. p.mu is held.
func (p *Pool) wouldEject(b *Backend, reason, cause string, now time.Time) {
	if now.Before(b.wouldReturn) {
		return
	}
	d := ejectionTime(p.spec.Passive, 1, p.rand())
	b.wouldReturn = now.Add(d)
	b.metrics.WouldEject(reason)
	p.change(b, now, EventWouldEject, fmt.Sprintf("%s; would be out for %v", cause, roughly(d)))
}

// roughly is a duration for people: jitter makes digits that say nothing.
func roughly(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// forgive lets past ejections fade: one for each first-ejection time that the
// backend has been back without another.
func forgive(ejections int, back, ejection time.Duration) int {
	if ejection <= 0 {
		return 0
	}
	return int(max(0, time.Duration(ejections)-back/ejection))
}

// ejectionTime grows with each ejection that came shortly after another. r in
// [0, 1) is the jitter; near the cap it is folded back below it, for a clamp
// would bring half of them back at the same moment.
func ejectionTime(s Passive, nth int, r float64) time.Duration {
	d := time.Duration(nth) * s.Ejection
	if s.MaxEjection > 0 {
		d = min(d, s.MaxEjection)
	}
	d = time.Duration(float64(d) * (1 + ejectionJitter*(2*r-1)))
	if s.MaxEjection > 0 && d > s.MaxEjection {
		d = 2*s.MaxEjection - d
	}
	return d
}

// endEjections brings back those whose time is over. p.mu is held.
func (p *Pool) endEjections(now time.Time) {
	p.endEjectionsOf(func(b *Backend) bool { return !b.ejectedUntil.After(now) }, now, "ejection is over")
}

// endExcessEjections brings back what the other axes leave no room to keep out:
// all, if nobody else is usable (shunned is then no better than tried), and the
// nearest to their end, if the pool became smaller. p.mu is held.
func (p *Pool) endExcessEjections(now time.Time) {
	ready, ejected, usable := p.census()
	if ejected == 0 {
		return
	}
	if usable == 0 {
		p.endEjectionsOf(func(b *Backend) bool { return b.ready() && b.serving() }, now, "nobody else is left")
		return
	}
	for limit := ejectionCap(ready, p.spec.Passive.MaxEjected); ejected > limit; ejected-- {
		p.endEjection(p.nextReturning((*Backend).ready), now, "more than max_ejected are out")
	}
}

// endEjectionsOf brings back whom of the ejected which picks. p.mu is held.
func (p *Pool) endEjectionsOf(which func(*Backend) bool, now time.Time, cause string) {
	for _, b := range p.order {
		if !b.trusted() && which(b) {
			p.endEjection(b, now, cause)
		}
	}
}

func (p *Pool) endEjection(b *Backend, now time.Time, cause string) {
	b.clearEjection(now)
	if p.spec.Passive.HalfOpen && p.spec.Passive.ejects() {
		b.beginTrials()
	}
	p.change(b, now, EventReturned, cause)
}

// clearEjection forgets an ejection, but not that there was one. Errors of
// requests that were under way when it began no longer count.
func (b *Backend) clearEjection(now time.Time) {
	b.ejectedUntil, b.ejectCause = time.Time{}, ""
	b.returned = now
	b.halfOpen = false
	b.load.latency.forget()
	b.forgetErrors()
	b.rated = b.load.tally()
}

// forgetErrors starts the count anew.
func (b *Backend) forgetErrors() {
	b.errs.Store(0) // first: an error between the two must not look like the limit again
	b.failed.Store(0)
}

// nextReturning is, of the ejected that which picks, the one whose time is over
// first; nil if there is none. p.mu is held.
func (p *Pool) nextReturning(which func(*Backend) bool) *Backend {
	var next *Backend
	for _, b := range p.order {
		if !b.trusted() && which(b) && (next == nil || b.ejectedUntil.Before(next.ejectedUntil)) {
			next = b
		}
	}
	return next
}
