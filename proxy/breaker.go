package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/metrics"
)

// breakerRule is a route's circuit_breaker, compiled.
type breakerRule struct {
	share  int // percent of the answers in the window that are errors
	least  int // answers in the window before it is asked
	window time.Duration
	open   time.Duration
}

const (
	trialsToClose  = 3               // successes in a row: one may be luck
	trialLost      = 2 * time.Minute // after which a trial that has not said how it went never will
	breakerBuckets = 10              // of the window
	judgePause     = 5 * time.Millisecond
)

// breaker is a route's circuit breaker. It is closed, or open until a moment, and
// half open from then on: one request at a time is let through, and what becomes
// of it decides. Times are those of routeStates.now.
//
// Ordinary requests read until, and count on their own loop: the counts are added
// up when there was an error, and not more often than judgePause on one loop. So
// it may open a few requests late.
type breaker struct {
	loops []breakerLoop
	gauge *metrics.Route // shows what it is; written under mu

	until atomic.Int64 // 0: closed. Written under mu
	trial atomic.Int64 // when the one under way began; 0: there is none
	fresh atomic.Int64 // what was counted before this moment is of a former time

	mu      sync.Mutex // whoever changes the state, which is rare; held for a few instructions
	enabled bool       // some route of the running configuration has it
	since   int64      // it has been open
	passed  int        // trials in a row
	failed  int        // trials since it opened
}

// breakerLoop is one loop's part.
type breakerLoop struct {
	buckets [breakerBuckets]breakerBucket
	judged  int64 // when the loop last added up
	_       [64]byte
}

// breakerBucket counts the answers of one tenth of the window. The loop writes
// it, others read it.
type breakerBucket struct {
	at     atomic.Int64  // which tenth, since the beginning of time
	counts atomic.Uint64 // answers in the upper half, errors in the lower
}

const oneAnswer = 1 << 32

func newBreaker(loops int, gauge *metrics.Route) *breaker {
	return &breaker{loops: make([]breakerLoop, loops), gauge: gauge}
}

// circuitChange is what a breaker has become, with the numbers that say why.
type circuitChange struct {
	opened  bool
	errors  int // of answers
	answers int
	lasted  time.Duration // open
	trials  int           // that failed meanwhile
}

// admit reports whether a request may go on. Where it may not, it says how long
// that will be so at least. trial is not 0 if the request is one: then settle has
// to be called.
func (b *breaker) admit(now int64) (ok bool, trial int64, wait time.Duration) {
	until := b.until.Load()
	if until == 0 {
		return true, 0, 0
	}
	if now < until {
		return false, 0, time.Duration(until - now)
	}
	other := b.trial.Load()
	if other != 0 && now-other < int64(trialLost) || !b.trial.CompareAndSwap(other, now) {
		return false, 0, 0
	}
	// It may have changed before the trial was this one's.
	if until = b.until.Load(); until == 0 || now < until {
		b.trial.CompareAndSwap(now, 0)
		return until == 0, 0, time.Duration(max(0, until-now))
	}
	return true, now, 0
}

// count enters an answer, and opens the breaker if there are too many errors.
func (b *breaker) count(r *breakerRule, loop int, now int64, failed bool) (c circuitChange, changed bool) {
	l := &b.loops[loop]
	l.add(r, now, failed)
	if !failed || b.until.Load() != 0 || now-l.judged < int64(judgePause) && l.judged != 0 {
		return c, false
	}
	l.judged = now
	answers, errors := b.sum(r, now)
	if answers < r.least || errors*100 < r.share*answers {
		return c, false
	}
	if !b.openUp(now, r.open) {
		return c, false
	}
	return circuitChange{opened: true, errors: errors, answers: answers}, true
}

// add counts an answer in the bucket of the moment.
func (l *breakerLoop) add(r *breakerRule, now int64, failed bool) {
	at := now / r.bucket()
	k := &l.buckets[uint64(at)%breakerBuckets]
	if k.at.Load() != at {
		k.counts.Store(0) // first: nobody shall take old counts for new ones
		k.at.Store(at)
	}
	n := k.counts.Load() + oneAnswer
	if failed {
		n++
	}
	k.counts.Store(n)
}

// bucket is how long a tenth of the window is, in ns.
func (r *breakerRule) bucket() int64 { return int64(r.window) / breakerBuckets }

// sum is what all loops counted in the window, or since the breaker was last
// closed.
func (b *breaker) sum(r *breakerRule, now int64) (answers, errors int) {
	last := now / r.bucket()
	first := max(last-breakerBuckets+1, (b.fresh.Load()+r.bucket()-1)/r.bucket())
	for i := range b.loops {
		for j := range b.loops[i].buckets {
			k := &b.loops[i].buckets[j]
			at, n := k.at.Load(), k.counts.Load()
			if at < first || at > last || k.at.Load() != at {
				continue
			}
			answers += int(n >> 32)
			errors += int(uint32(n))
		}
	}
	return answers, errors
}

// openUp opens a closed breaker. False: it is not closed, or nobody's.
func (b *breaker) openUp(now int64, d time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.enabled || b.until.Load() != 0 {
		return false
	}
	b.since, b.passed, b.failed = now, 0, 0
	b.until.Store(now + int64(d))
	b.gauge.SetBreaker(true, true)
	return true
}

// outcome is what a request says of its route's backends.
type outcome uint8

const (
	saysNothing outcome = iota
	saysGood
	saysBad
)

// settle ends a trial. One of a former time says nothing any more.
func (b *breaker) settle(r *breakerRule, now, trial int64, o outcome) (c circuitChange, changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trial.Load() != trial || b.until.Load() == 0 {
		return c, false
	}
	switch o {
	case saysBad:
		b.passed = 0
		b.failed++
		b.until.Store(now + int64(r.open)) // before the next trial may begin
	case saysGood:
		if b.passed++; b.passed >= trialsToClose {
			b.until.Store(0)
			b.fresh.Store(now)
			b.gauge.SetBreaker(true, false)
			c, changed = circuitChange{lasted: time.Duration(now - b.since), trials: b.failed}, true
		}
	}
	b.trial.Store(0)
	return c, changed
}

// enable lets it open.
func (b *breaker) enable() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.enabled = true
	b.gauge.SetBreaker(true, b.until.Load() != 0)
}

// disable closes it until it is enabled again, when it begins with nothing.
func (b *breaker) disable(now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.enabled {
		return
	}
	b.enabled = false
	b.until.Store(0)
	b.trial.Store(0)
	b.fresh.Store(now)
	b.gauge.SetBreaker(false, false)
}

// opened is since when it has been open, and how many trials have failed; 0 if it
// is closed.
func (b *breaker) opened() (since int64, failed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.Load() == 0 {
		return 0, 0
	}
	return b.since, b.failed
}
