package pool

import (
	"math"
	"sync/atomic"
	"time"
)

// adaptive is a limit that follows latency (Spec.AdaptiveConcurrency). Requests
// only count; the pool's goroutine judges, see gradient. Like the rest of load it
// belongs to the address: a reload does not start it over.
type adaptive struct {
	limit atomic.Int64 // read by every pick; written by the pool's goroutine
	met   atomic.Bool  // somebody was passed over because of it
	loops []adaptiveLoop

	law    gradient // under pool.mu, like what follows
	seen   sums     // of the window
	peak   int64
	wasMet bool
}

// adaptiveLoop is what one loop counts until the pool's goroutine takes it.
type adaptiveLoop struct {
	answers  atomic.Uint64
	micros   atomic.Uint64 // of their latencies
	squares  atomic.Uint64 // of these
	failures atomic.Uint64
	_        [cacheLine - 32]byte
}

// sums is what loops have counted, added up.
type sums struct{ answers, micros, squares, failures uint64 }

// longestSample keeps squares from running over: a day of answers that took a
// minute each fits.
const longestSample = time.Minute

func newAdaptive(loops int) *adaptive {
	a := &adaptive{loops: make([]adaptiveLoop, loops)}
	a.limit.Store(firstLimit)
	return a
}

// observe counts an answer whose head took d.
func (a *adaptive) observe(loop int32, d time.Duration) {
	l := &a.loops[loop]
	us := uint64(min(max(d, 0), longestSample) / time.Microsecond)
	l.answers.Add(1)
	l.micros.Add(us)
	l.squares.Add(us * us)
}

// overloaded reports whether an outcome may come of too many requests. One that
// is refused meets a backend that is down.
func (o Outcome) overloaded() bool {
	return o == BadStatus || o == ConnectTimeout || o == Reset || o == ResponseTimeout
}

// full reports whether n requests are as many as may be.
func (a *adaptive) full(n int64) bool {
	if n < a.limit.Load() {
		return false
	}
	a.turnAway()
	return true
}

// count counts one more request in at m, whose limit a is.
func (a *adaptive) count(m *Member) bool {
	limit := a.limit.Load()
	if m.limit > 0 {
		limit = min(limit, m.limit)
	}
	if countTo(&m.load.inFlight, limit) {
		return true
	}
	a.turnAway()
	return false
}

// turnAway notes that somebody was passed over.
func (a *adaptive) turnAway() {
	if !a.met.Load() { // looked at first: the line stays shared
		a.met.Store(true)
	}
}

// concurrencyLimit is the limit that follows latency, within what is configured;
// 0 where there is none. p.mu is held.
func (b *Backend) concurrencyLimit() int {
	a := b.load.adaptive.Load()
	if a == nil {
		return 0
	}
	n := int(a.limit.Load())
	if most := b.advice.bound(b.spec.MaxRequests); most > 0 {
		n = min(n, most)
	}
	return n
}

// watch makes the pool's goroutine look at the limits until there is nothing to
// see. By whoever counted.
func (p *Pool) watch() {
	if !p.watching.Load() && p.watching.CompareAndSwap(false, true) {
		p.kick()
	}
}

// equip gives every backend a limit that adapts, or takes it away: who switches
// it on again starts over. p.mu is held.
func (p *Pool) equip() {
	for _, b := range p.order {
		switch a := b.load.adaptive.Load(); {
		case !p.spec.AdaptiveConcurrency:
			b.load.adaptive.Store(nil)
		case a == nil:
			b.load.adaptive.Store(newAdaptive(len(p.cursors)))
		}
	}
}

// adapt looks at what was counted, and sets limits where that is enough to judge
// by. It asks to be called again for as long as there is traffic. p.mu is held.
func (p *Pool) adapt(now time.Time) {
	if !p.watching.Load() {
		return
	}
	// Unset first: who counts after it was looked at sets it again.
	p.watching.Store(false)
	again := false
	for _, b := range p.order {
		if a := b.load.adaptive.Load(); a != nil {
			again = a.look(now, b.load.inFlight.Load()) || again
			if a.step(now, b, p.rand()) {
				p.queue.wake(true)
			}
		}
	}
	if again {
		p.watching.Store(true)
	}
}

// nextAdapt is when adapt wants to be called; zero: not before somebody counts.
// p.mu is held.
func (p *Pool) nextAdapt(now time.Time) time.Time {
	if !p.watching.Load() {
		return time.Time{}
	}
	return now.Add(windowLeast)
}

// look takes over what the loops have counted. It reports whether that was
// anything, or the limit is lowered and has to be seen to.
func (a *adaptive) look(now time.Time, inFlight int64) bool {
	before := a.seen
	for i := range a.loops {
		l := &a.loops[i]
		if l.answers.Load() > 0 {
			a.seen.answers += l.answers.Swap(0)
			a.seen.micros += l.micros.Swap(0)
			a.seen.squares += l.squares.Swap(0)
		}
		if l.failures.Load() > 0 {
			a.seen.failures += l.failures.Swap(0)
		}
	}
	if before == (sums{}) && a.seen != before && now.Sub(a.law.began) > windowFair {
		a.law.began = now // the time before is not the window's: nobody asked for anything
	}
	a.peak = max(a.peak, inFlight)
	if a.met.Load() {
		a.met.Store(false)
		a.wasMet = true
	}
	return a.seen != before || a.law.phase != steady
}

// step judges the window, if there is enough in it, and reports whether the limit
// has grown.
func (a *adaptive) step(now time.Time, b *Backend, r float64) (grown bool) {
	most := int64(b.advice.bound(b.spec.MaxRequests))
	if !a.law.step(now, a.window(b.load.inFlight.Load()), most, r) {
		return false
	}
	a.seen, a.peak, a.wasMet = sums{}, 0, false
	was, n := a.limit.Load(), int64(a.law.limit)
	if n != was {
		a.limit.Store(n)
	}
	return n > was
}

func (a *adaptive) window(inFlight int64) window {
	w := window{
		answers: int(a.seen.answers), failures: int(a.seen.failures),
		inFlight: inFlight, peak: a.peak, met: a.wasMet,
	}
	if n := float64(a.seen.answers); n > 0 {
		mean := float64(a.seen.micros) / n
		w.latency = mean / 1e6
		w.deviation = math.Sqrt(max(0, float64(a.seen.squares)/n-mean*mean)) / 1e6
	}
	return w
}
