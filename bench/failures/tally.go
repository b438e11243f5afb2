package main

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// tally sums up the requests of one or several runs.
type tally struct {
	Requests int      `json:"requests"`
	Good     int      `json:"good"`
	Made     int      `json:"errors_made"`      // error answers of the proxy's own
	PassedOn int      `json:"errors_passed_on"` // 5xx of the backend
	Cut      int      `json:"cut"`              // no whole answer
	Timeout  int      `json:"client_timeouts"`
	Unsent   int      `json:"unsent"`
	P50      duration `json:"p50_ms"` // latencies are of all requests, failed ones too,
	P99      duration `json:"p99_ms"` // and count from when a request was due
	P999     duration `json:"p99_9_ms"`
	Max      duration `json:"max_ms"`
	Late     duration `json:"sent_late_p99_ms"` // how late the client was, which is part of the latencies
}

// Failed is how many requests had no good answer.
func (t tally) Failed() int { return t.Requests - t.Good }

// duration is written to JSON in milliseconds.
type duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d duration) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(d)/float64(time.Millisecond), 'f', 3, 64), nil
}

func sum(samples []sample) tally {
	var n [kinds]int
	took, late := make([]time.Duration, len(samples)), make([]time.Duration, len(samples))
	for i, s := range samples {
		n[s.kind]++
		took[i], late[i] = s.took, s.late
	}
	slices.Sort(took)
	slices.Sort(late)
	at := func(p float64) duration { return duration(quantile(took, p)) }
	return tally{
		Requests: len(samples), Good: n[good], Made: n[made], PassedOn: n[passedOn],
		Cut: n[cut], Timeout: n[timedOut], Unsent: n[unsent],
		P50: at(50), P99: at(99), P999: at(99.9), Max: at(100), Late: duration(quantile(late, 99)),
	}
}

// quantile is the least of the sorted values that p percent of them do not
// exceed; 0 of none.
func quantile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	// The nearest rank. p is rounded to a thousandth: 99.9 percent of 1000 are 999
	// and not one more for want of a bit.
	rank := int(math.Ceil(math.Round(p*1000) * float64(len(sorted)) / 100_000))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// between is the samples that were due from one moment to another.
func between(samples []sample, from, to time.Duration) (out []sample) {
	for _, s := range samples {
		if from <= s.due && s.due < to {
			out = append(out, s)
		}
	}
	return out
}

// lastFailure is when the latest request that failed was due, counted from a
// moment; false if none failed since.
func lastFailure(samples []sample, from time.Duration) (time.Duration, bool) {
	last, any := time.Duration(0), false
	for _, s := range samples {
		if s.kind != good && s.due >= from {
			last, any = max(last, s.due-from), true
		}
	}
	return last, any
}

// firstGood is when the first good answer came after a moment, counted from it;
// false if none came.
func firstGood(samples []sample, from time.Duration) (time.Duration, bool) {
	first, any := time.Duration(math.MaxInt64), false
	for _, s := range samples {
		if s.kind == good && s.end() >= from {
			first, any = min(first, s.end()-from), true
		}
	}
	return first, any
}

// share is the part of the good answers that came from one backend, in percent.
func share(samples []sample, backend int) float64 {
	all, its := 0, 0
	for _, s := range samples {
		if s.backend == noBackend {
			continue
		}
		all++
		if s.backend == backend {
			its++
		}
	}
	if all == 0 {
		return 0
	}
	return 100 * float64(its) / float64(all)
}
