package pool

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	latencyTau   = 10_000         // ms in which a latency fades to 37 %
	latencyStale = 3 * latencyTau // ms after which it says nothing
	unmeasured   = 1e6            // seconds: the price of more than one request at a backend nobody knows

	failurePrice    = 1.0  // seconds: what a failed request counts as, or twice the present latency
	maxFailurePrice = 60.0 // seconds
)

// epoch is where clock begins.
var epoch = time.Now()

// clock is the time in milliseconds. It wraps after 49 days, which whoever
// compares two readings has to mind: see age.
func clock() uint32 { return uint32(time.Since(epoch).Milliseconds()) }

// age is how long before now a reading was taken. Loops read the clock on their
// own, so that a reading can be slightly ahead of now.
func age(now, reading uint32) float64 { return max(0, float64(int32(now-reading))) }

// latency is a peak-sensitive average: a slower answer than it counts at once
// and in full, faster ones bring it down over time, and so does silence. Value
// and time share one word, so that loops change both at once without a lock:
// seconds as a float32 above the clock's reading. 0 is no measurement.
type latency struct{ word atomic.Uint64 }

func pack(seconds float64, now uint32) uint64 {
	return uint64(math.Float32bits(float32(seconds)))<<32 | uint64(now)
}

// unpack returns what a word says: the seconds as they were entered, and the
// share of them that has not faded. Nothing is known of too old a word.
func unpack(w uint64, now uint32) (seconds, share float64) {
	since := age(now, uint32(w))
	if w == 0 || since > latencyStale {
		return 0, 0
	}
	return float64(math.Float32frombits(uint32(w >> 32))), math.Exp(-since / latencyTau)
}

// price is the latency that a pick reckons with, at a backend with that many
// requests in flight. Nobody knows one that is new or was idle for long: its
// first request is free, so that it is measured, and until that is answered
// nobody else goes there, for it might be slow.
func (l *latency) price(now uint32, inFlight int64) float64 {
	seconds, share := unpack(l.word.Load(), now)
	switch {
	case seconds > 0:
		return seconds * share
	case inFlight == 0:
		return 0
	}
	return unmeasured
}

// observe enters an answer that took d.
func (l *latency) observe(now uint32, d time.Duration) {
	sample := max(d.Seconds(), 1e-9)
	l.enter(now, func(seconds, share float64) float64 {
		return max(sample, seconds*share+sample*(1-share))
	})
}

// fail enters a request that ended badly. To fail is often quick: taken for
// what it is, it would draw everybody to the backend that fails.
func (l *latency) fail(now uint32) {
	l.enter(now, func(seconds, share float64) float64 {
		return min(max(failurePrice, 2*seconds*share), maxFailurePrice)
	})
}

// enter replaces what is known with what f makes of it.
func (l *latency) enter(now uint32, f func(seconds, share float64) float64) {
	for {
		w := l.word.Load()
		if l.word.CompareAndSwap(w, pack(f(unpack(w, now)), now)) {
			return
		}
	}
}

// forget makes the backend one that nobody knows.
func (l *latency) forget() { l.word.Store(0) }
