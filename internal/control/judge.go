package control

import (
	"fmt"
	"sync/atomic"
	"time"

	"weir/internal/config"
	"weir/internal/history"
	"weir/internal/metrics"
)

// What the guard says of a route, and of a version.
const (
	Good     = "good"     // it answers as well as before
	Bad      = "bad"      // it does not
	Unproven = "unproven" // too few requests to say
)

// leastLooks is at how many looks of the guard there have to be answers that are
// far slower than before. A machine that stands still for a moment makes many of
// them at once; a change that is bad makes them all the time.
const leastLooks = 5

// quantiles are what is compared of latencies, and what they have to rise by,
// whatever the factor. The median sees what befalls all; from one millisecond
// to four it is mostly somebody else's doing. The 99th percentile sees what
// befalls a few, which on a busy machine is the machine: its other work delays
// one answer in a hundred by some twenty milliseconds.
var quantiles = [...]struct {
	q     float64
	name  string
	least time.Duration
}{
	{.99, "99th percentile", 50 * time.Millisecond},
	{.5, "median", 10 * time.Millisecond},
}

// pace is at how many looks answers were far slower than a quantile was before.
// One goroutine looks, any may read.
type pace [len(quantiles)]struct {
	slower float64 // answers at the last look
	looks  atomic.Int32
}

// look is for every guardEvery.
func (p *pace) look(rule config.Guard, before, after *metrics.Tally) {
	for i, q := range quantiles {
		slower := after.Slower(bound(rule, before.Quantile(q.q), q.least))
		if slower > p[i].slower {
			p[i].looks.Add(1)
		}
		p[i].slower = slower
	}
}

// reset forgets all looks.
func (p *pace) reset() {
	for i := range p {
		p[i].slower = 0
		p[i].looks.Store(0)
	}
}

// bound is what a quantile may rise to.
func bound(rule config.Guard, was, least time.Duration) time.Duration {
	return max(time.Duration(float64(was)*rule.MaxLatencyFactor), was+least)
}

// judge compares what a route answered under a change with what it answered
// without it, and says in words what is bad.
func judge(rule config.Guard, before, after metrics.Tally, p *pace) (verdict, why string) {
	n := after.Requests()
	if n < float64(rule.MinRequests) {
		return Unproven, ""
	}
	// A failure that came before the change does not condemn it.
	rise := 100 * (after.FailureShare() - before.FailureShare())
	if rise > float64(rule.MaxErrorIncrease) {
		return Bad, fmt.Sprintf("%.1f %% of %.0f answers are errors, %.1f %% of %.0f were before",
			100*after.FailureShare(), n, 100*before.FailureShare(), before.Requests())
	}
	if before.Requests() < float64(rule.MinRequests) {
		return Good, "" // nothing to compare latencies with
	}
	for i, q := range quantiles {
		was, is := before.Quantile(q.q), after.Quantile(q.q)
		if is > bound(rule, was, q.least) && p[i].looks.Load() >= leastLooks {
			return Bad, fmt.Sprintf("the %s of %.0f answers is %v, it was %v", q.name, n, short(is), short(was))
		}
	}
	return Good, ""
}

// measure is a tally as it is kept with a version.
func measure(t metrics.Tally) history.Measure {
	return history.Measure{
		Requests:   int(t.Requests() + .5),
		ErrorShare: round(100*t.FailureShare(), 100),
		P99:        round(t.Quantile(.99).Seconds(), 1e4),
	}
}

func round(f, steps float64) float64 { return float64(int64(f*steps+.5)) / steps }

// short is a duration without digits that nobody reads.
func short(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
