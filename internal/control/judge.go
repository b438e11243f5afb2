package control

import (
	"fmt"
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

const (
	// leastSlower is how many requests have to be far slower than the 99th
	// percentile was: of fifty that percentile is just the slowest.
	leastSlower = 5
	// leastLatency is what a percentile has to rise by, whatever the factor:
	// from one millisecond to four is mostly somebody else's doing.
	leastLatency = 10 * time.Millisecond
)

// judge compares what a route answered under a change with what it answered
// without it, and says in words what is bad.
func judge(rule config.Guard, before, after metrics.Tally) (verdict, why string) {
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
	was, is := before.Quantile(.99), after.Quantile(.99)
	bound := max(time.Duration(float64(was)*rule.MaxLatencyFactor), was+leastLatency)
	if is > bound && after.Slower(bound) >= max(leastSlower, n/100) {
		return Bad, fmt.Sprintf("the 99th percentile of %.0f answers is %v, it was %v", n, short(is), short(was))
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
