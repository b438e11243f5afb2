package pool

import (
	"fmt"
	"math"
	"time"
)

const (
	loadStep  = time.Second      // between Sets that only make weights follow loads
	loadGain  = 0.3              // share of the way to the latest loads, a step
	loadStale = 30 * time.Second // without a report, after which a load begins to fade
	loadFloor = 5                // percent of the weight that is left at full load: someone has to go on, and to report
	loadGone  = 0.01             // a faded load below this is none

	loadUnit = 1 << 20 // of the sum of loads
)

// following is what the answers of a backend say of its load.
type following struct {
	seen  tally     // at the latest look
	heard time.Time // when there was news at a look
	level float64   // the load, smoothed
	less  int       // percent that the weight is lowered by, in the Set
	told  int       // less, as of the latest event
}

// ReportLoad tells the load that the backend names in an answer, from 0 to 1. It
// is called at most once, before Done. It neither locks nor allocates, and
// writes nothing that other loops write.
func (l *Lease) ReportLoad(load float64) {
	b := l.b
	count := &b.load.loops[l.loop]
	count.reported.Add(uint64(load * loadUnit))
	count.reports.Add(1)
	if p := b.pool; p.loadQuiet.Load() && p.loadQuiet.CompareAndSwap(true, false) {
		p.kick()
	}
}

// followLoads makes weights follow loads, once a step while there are any. When
// all is quiet it sleeps until the next report. p.mu is held.
func (p *Pool) followLoads(now time.Time) {
	switch {
	case !p.spec.followsLoad():
		return
	case p.loadNext.IsZero():
		if !p.loadQuiet.Load() {
			p.loadNext = now.Add(loadStep) // until then there may be more than one
		}
		return
	case now.Before(p.loadNext):
		return
	}
	busy := false
	for _, b := range p.order {
		busy = p.followLoad(b, now) || busy
	}
	p.loadNext = now.Add(loadStep)
	if busy {
		return
	}
	p.loadNext = time.Time{}
	p.loadQuiet.Store(true)
	for _, b := range p.order {
		if b.load.tally().since(b.follows.seen).reports > 0 { // it came between the two
			p.loadQuiet.Store(false)
			p.loadNext = now.Add(loadStep)
		}
	}
}

// followLoad reports whether there is more to follow. p.mu is held.
func (p *Pool) followLoad(b *Backend, now time.Time) bool {
	f := &b.follows
	n := b.load.tally()
	d := n.since(f.seen)
	f.seen = n
	f.hear(d, now)
	if f.adapt() {
		p.setStale = true
		if far(f.less, f.told) && !b.advice.weighed {
			f.told = f.less
			p.change(b, now, EventWeight, fmt.Sprintf("%d %% of its weight, for a load of %.2f", 100-f.less, f.level))
		}
	}
	return d.reports > 0 || f.level > 0
}

// hear enters what came since the look before.
func (f *following) hear(d tally, now time.Time) {
	switch {
	case d.reports > 0:
		load := min(1, float64(d.reported)/float64(d.reports)/loadUnit)
		f.level += loadGain * (load - f.level)
		f.heard = now
	case now.Sub(f.heard) < loadStale:
	case f.level < loadGone:
		f.level = 0
	default:
		f.level -= loadGain * f.level
	}
}

// adapt makes the weight what the load says, if that is a tenth more or less
// than it is, or all or the least that can be, and reports whether it did.
func (f *following) adapt() bool {
	const most = 100 - loadFloor
	less := min(most, int(math.Round(100*f.level)))
	change := max(less-f.less, f.less-less)
	if change == 0 || change < max(2, (100-f.less)/10) && 0 < less && less < most {
		return false
	}
	f.less = less
	return true
}

// refollow follows a change of the Spec. p.mu is held.
func (p *Pool) refollow(before bool) {
	follows := p.spec.followsLoad()
	if follows == before {
		return
	}
	p.loadNext = time.Time{}
	p.loadQuiet.Store(follows)
	for _, b := range p.order {
		b.follows = following{seen: b.load.tally()}
	}
}

// ownPercent is how many percent of its weight a backend gets by its own word.
// What its agent or its heartbeats say goes before what its answers say: both
// may speak of the same load, which must not count twice.
func (b *Backend) ownPercent() int {
	if b.advice.weighed {
		return b.advice.percent
	}
	return 100 - b.follows.less
}

// ownWord is a weight with that. One that is there stays above zero.
func (b *Backend) ownWord(weight int) int { return max(1, weight*b.ownPercent()/100) }
