package ratelimit

import (
	"math"
	"time"
)

const (
	maxBurst  = 1 << 30
	maxWindow = 1 << 60 // ns, 36 years: what is added to a clock must not overflow
)

// Rate is how often a key may pass, compiled. The zero Rate allows everything.
type Rate struct {
	interval int64 // ns from one request to the next at the steady rate
	window   int64 // ns that an empty bucket takes to fill: burst intervals
}

// NewRate compiles a rate of rps requests a second, of which burst may come at
// once. Fractions are fine: 0.01 is one request every 100 s.
//
// What is out of bounds is moved to the bound: rps to at most 1e9 and at least
// what fills the bucket in 36 years (0 and NaN are that), burst to 1 and 2^30. An
// interval is whole nanoseconds: at 1e6 requests a second that is exact to 0.05 %.
func NewRate(rps float64, burst int) Rate {
	n := int64(min(max(burst, 1), maxBurst))
	slowest := maxWindow / n
	interval := slowest
	if ns := math.Round(1e9 / rps); rps > 0 && ns < float64(slowest) {
		interval = max(1, int64(ns))
	}
	return Rate{interval: interval, window: interval * n}
}

// Verdict is the answer to one request, and the state of the bucket after it.
type Verdict struct {
	OK        bool
	Remaining int           // how many more would pass at this moment
	Reset     time.Duration // until the bucket is full again, if nothing comes
	Retry     time.Duration // until one would pass; 0 if this one did
}

// judge decides about one request at now, of a key whose bucket is full at full;
// both in ns. If it passes, the bucket is full at next.
//
// This is the Generic Cell Rate Algorithm, in its form of virtual scheduling
// (ITU-T I.371, annex A; ATM Forum Traffic Management 4.0, section 4.4.2): full
// is its theoretical arrival time, interval its increment T, and window less one
// interval its tolerance tau. Its decisions are those of a token bucket, with
// one number to remember instead of two.
func (r Rate) judge(full, now int64) (next int64, v Verdict) {
	// A bucket emptied at a slower rate can owe more than this one holds. It is empty.
	full = min(max(full, now), now+r.window)
	next = full + r.interval
	late := next - now - r.window
	if late > 0 {
		return full, Verdict{Reset: time.Duration(full - now), Retry: time.Duration(late)}
	}
	return next, Verdict{OK: true, Remaining: int(-late / r.interval), Reset: time.Duration(next - now)}
}
