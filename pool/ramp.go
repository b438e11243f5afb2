package pool

import "time"

const (
	rampFloor = 10          // percent of the weight that a slow start begins with
	rampStep  = time.Second // between Sets that only make weights grow
)

// rampPercent is how much of its weight a backend has that is in rotation since
// then: it grows evenly from rampFloor to all of it within slowStart. A zero
// since was long ago.
func rampPercent(since, now time.Time, slowStart time.Duration) int {
	if since.IsZero() || now.Sub(since) >= slowStart {
		return 100
	}
	grown := float64(max(0, now.Sub(since))) / float64(slowStart)
	return rampFloor + int((100-rampFloor)*grown)
}

// ramping reports whether a slow start is under way.
func (b *Backend) ramping(now time.Time, slowStart time.Duration) bool {
	return !b.rampFrom.IsZero() && now.Sub(b.rampFrom) < slowStart
}

// fit is what slow start is about: whoever was not fit has cold caches when it
// is again. To be drained does not make unfit.
func (b *Backend) fit() bool {
	return b.admin != Maintenance && b.serving() && b.trusted() && !b.halfOpen
}

// noteFitness notes who has become fit. p.mu is held.
func (p *Pool) noteFitness(now time.Time) {
	for _, b := range p.order {
		fit := b.fit()
		if fit && !b.fitNow && (b.known || !b.founder) {
			b.rampFrom = now
		}
		b.fitNow = fit
		b.known = b.known || fit || b.founder && b.verdict == down
	}
}

// nextRamp is when to build a Set in which weights have grown; zero if nobody's
// grow. p.mu is held.
func (p *Pool) nextRamp(now time.Time) time.Time {
	for _, b := range p.order {
		if !b.usable() || !b.ramping(now, p.spec.SlowStart) {
			continue
		}
		if p.rampNext.IsZero() {
			p.kick() // its goroutine does not wait for this yet
		}
		return now.Add(max(rampStep, p.spec.SlowStart/(100-rampFloor)))
	}
	return time.Time{}
}
