package pool

import "time"

// NewSteady is New with a jitter that is always r: 0.5 is none.
func NewSteady(name string, o Options, r float64) *Pool {
	return newPool(name, o, func() float64 { return r })
}

// What is decided without a pool.
var (
	Schedule     = schedule
	EjectionCap  = ejectionCap
	EjectionTime = ejectionTime
	Forgive      = forgive
)

// More of it.
var RampPercent = rampPercent

// Sample is what one backend did in an interval.
type Sample struct{ Requests, Errors int }

// Outliers returns which of the samples are far off, the worst first.
func Outliers(samples []Sample, deviations float64) (found []int) {
	all, place := make([]sample, len(samples)), make(map[*Backend]int)
	for i, s := range samples {
		all[i] = sample{new(Backend), float64(s.Requests), float64(s.Errors)}
		place[all[i].b] = i
	}
	for _, o := range outliers(all, deviations) {
		found = append(found, place[o.b])
	}
	return found
}

// OddsAgainst is a logarithm.
var OddsAgainst = oddsAgainst

// CountedInFlight adds up what the loops' cursors hold for the bounds of a ring.
func CountedInFlight(p *Pool) (n int64) {
	for i := range p.cursors {
		n += p.cursors[i].inFlight.Load()
	}
	return n
}

// Law is the control law of a limit that adapts.
type Law struct{ g gradient }

// Seen is a window of it.
type Seen struct {
	Answers, Failures  int
	Latency, Deviation float64 // seconds
	InFlight, Peak     int64
	Met                bool
}

// NewLaw starts at a limit; 0 is where a new backend starts.
func NewLaw(limit float64) *Law { return &Law{gradient{limit: limit}} }

// Step is gradient.step.
func (l *Law) Step(now time.Time, w Seen, most int64, r float64) bool {
	return l.g.step(now, window{
		answers: w.Answers, failures: w.Failures, latency: w.Latency, deviation: w.Deviation,
		inFlight: w.InFlight, peak: w.Peak, met: w.Met,
	}, most, r)
}

// Limit is how many requests may be in flight.
func (l *Law) Limit() int64 { return int64(l.g.limit) }

// Watching reports whether the pool's goroutine looks at limits by itself.
func Watching(p *Pool) bool { return p.watching.Load() }

// Locked runs f while the pool's own goroutine can do nothing.
func Locked(p *Pool, f func()) {
	p.mu.Lock()
	defer p.unlock()
	f()
}
