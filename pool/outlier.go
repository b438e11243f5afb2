package pool

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// SuccessRate says when a backend is taken out that succeeds much less often
// than the others do at the same time: Envoy's success-rate outlier detection,
// with two conditions more, see outliers.
type SuccessRate struct {
	Interval    time.Duration // over which successes are counted; 0: nobody goes by them
	Deviations  float64       // standard deviations below the mean; an outlier is further off
	MinBackends int           // with MinRequests each, or nobody is judged
	MinRequests int           // in an Interval
}

const (
	// leastGap is how much less often than the others an outlier succeeds. To
	// do without a backend costs more than one request in a hundred.
	leastGap = 0.01

	// leastOdds is the logarithm of the odds against chance: 160,000 to 1.
	leastOdds = 12
)

// sample is what one backend did in an interval.
type sample struct {
	b                *Backend
	requests, errors float64
}

func (s sample) rate() float64 { return 1 - s.errors/s.requests }

// outlier is a sample that is far off, and how often the others succeed, on
// average.
type outlier struct {
	sample
	others float64
}

// compareRates ejects who succeeds much less often than the others, when an
// interval is over. p.mu is held.
func (p *Pool) compareRates(now time.Time) {
	if p.rateNext.IsZero() || now.Before(p.rateNext) {
		return
	}
	s := p.spec.Passive.SuccessRate
	p.rateNext = now.Add(s.Interval)
	var samples []sample
	for _, b := range p.order {
		n := b.load.tally()
		d := n.since(b.rated)
		b.rated = n
		// Clients that left, and others of which nothing follows, are no requests here.
		if ended := d.requests - min(d.requests, d.neutral); ended >= uint64(s.MinRequests) && b.usable() && !b.halfOpen {
			samples = append(samples, sample{b, float64(ended), float64(min(d.errors, ended))})
		}
	}
	if len(samples) < s.MinBackends {
		return
	}
	for _, o := range outliers(samples, s.Deviations) {
		if p.mayEject(now) {
			p.condemn(o.b, "success_rate", fmt.Sprintf(
				"succeeds in %.1f %% of requests, the others in %.1f %% on average", 100*o.rate(), 100*o.others), now)
		}
	}
}

// recompare follows a change of the Spec. p.mu is held.
func (p *Pool) recompare(before time.Duration, now time.Time) {
	interval := p.spec.Passive.SuccessRate.Interval
	if interval == before {
		return
	}
	p.rateNext = time.Time{}
	if interval > 0 {
		p.rateNext = now.Add(interval)
	}
	for _, b := range p.order {
		b.rated = b.load.tally()
	}
}

// outliers are the samples whose rate is more than that many standard deviations
// below the mean of all, the worst first. That alone would be no reason: where
// nobody else has an error a single one is two deviations off, at five backends.
// So the gap must also be worth it (leastGap), and no chance (leastOdds).
func outliers(samples []sample, deviations float64) []outlier {
	mean, deviation := spreadOf(samples)
	n := float64(len(samples))
	var requests, errors float64
	for _, s := range samples {
		requests += s.requests
		errors += s.errors
	}
	var found []outlier
	for _, s := range samples {
		others := (mean*n - s.rate()) / (n - 1)
		if s.rate() < mean-deviations*deviation && others-s.rate() >= leastGap &&
			oddsAgainst(s.errors, errors, s.requests/requests) >= leastOdds {
			found = append(found, outlier{s, others})
		}
	}
	slices.SortStableFunc(found, func(a, b outlier) int { return cmp.Compare(a.rate(), b.rate()) })
	return found
}

// spreadOf is the mean of the rates, and their standard deviation.
func spreadOf(samples []sample) (mean, deviation float64) {
	n := float64(len(samples))
	for _, s := range samples {
		mean += s.rate() / n
	}
	for _, s := range samples {
		deviation += (s.rate() - mean) * (s.rate() - mean) / n
	}
	return mean, math.Sqrt(deviation)
}

// oddsAgainst bounds, as a logarithm, the odds against chance alone giving a
// backend so many of all errors, or more, where share of all requests are its
// own: if all were alike, each error would be its own with that probability
// (Chernoff's bound of the binomial distribution).
func oddsAgainst(errors, all, share float64) float64 {
	own := errors / all
	if all == 0 || own <= share {
		return 0
	}
	odds := own * math.Log(own/share)
	if own < 1 {
		odds += (1 - own) * math.Log((1-own)/(1-share))
	}
	return all * odds
}
