package pool

import "time"

// What a pool learns of its backends, beside what probes tell it: that they
// report (heartbeat.go), their load (loadheader.go), how often they succeed
// (outlier.go). All of it is judged by the pool's goroutine; requests and
// reports only leave their mark.

// learn acts on what has become due. p.mu is held.
func (p *Pool) learn(now time.Time) {
	p.listen(now)
	p.compareRates(now)
	p.followLoads(now)
}

// nextLesson says when learn has to be called by itself. p.mu is held.
func (p *Pool) nextLesson(sooner func(time.Time)) {
	sooner(p.rateNext)
	sooner(p.loadNext)
	if p.spec.Heartbeat == 0 {
		return
	}
	for _, b := range p.order {
		if b.beat.out == "" {
			sooner(b.beat.due(p.spec.Heartbeat))
		}
	}
}

// meet prepares a backend that comes onto the list: what is counted for it from
// now on is its own. p.mu is held.
func (p *Pool) meet(b *Backend, now time.Time) {
	b.rated = b.load.tally()
	b.follows.seen = b.rated
	p.expect(b, now)
}

// relearn adapts to the Spec that is now in force, in place of before. p.mu is
// held.
func (p *Pool) relearn(before *Spec, now time.Time) {
	p.relisten(before.Heartbeat, now)
	p.recompare(before.Passive.SuccessRate.Interval, now)
	p.refollow(before.followsLoad())
}
