package metrics

import (
	"sync/atomic"
	"time"
)

// fine is from 66 µs to 69 s.
var fine = Scale{Shift: 16, Octaves: fineOctaves, Bits: fineBits}

const (
	fineOctaves = 20
	fineBits    = 2
	fineSlots   = fineOctaves << fineBits
)

// fineHistogram counts durations in buckets 25 % wide or less: enough to tell a
// percentile from one that is a half more.
type fineHistogram [fineSlots]atomic.Uint32

func (h *fineHistogram) observe(d time.Duration) { h[fine.Slot(d)].Add(1) }

// Tally is what a route has answered: since the process began, or between two
// moments. Clients that left are not in it.
type Tally struct {
	Failures float64 // answers with a 5xx, a backend's or Weir's own
	answers  [fineSlots]float64
}

// Tally adds up what the route has answered so far. Two of them less than four
// billion answers apart can be subtracted.
func (m *Route) Tally() (t Tally) {
	for i := range m.loops {
		l := m.loops.of(i)
		t.Failures += float64(l.failures.load())
		for slot := range l.answers {
			t.answers[slot] += float64(l.answers[slot].Load())
		}
	}
	return t
}

// Sub is what t has more than an earlier Tally of the same route.
func (t Tally) Sub(earlier Tally) Tally {
	t.Failures -= earlier.Failures
	for i := range t.answers {
		if t.answers[i] -= earlier.answers[i]; t.answers[i] < 0 { // the counter went round
			t.answers[i] += 1 << 32
		}
	}
	return t
}

// Add is both together.
func (t Tally) Add(u Tally) Tally {
	t.Failures += u.Failures
	for i := range t.answers {
		t.answers[i] += u.answers[i]
	}
	return t
}

// Scale makes t count less, or more.
func (t Tally) Scale(by float64) Tally {
	t.Failures *= by
	for i := range t.answers {
		t.answers[i] *= by
	}
	return t
}

// Requests is how many were answered.
func (t *Tally) Requests() (n float64) {
	for _, k := range t.answers {
		n += k
	}
	return n
}

// FailureShare is the part of the answers that are failures, 0 to 1.
func (t *Tally) FailureShare() float64 {
	if n := t.Requests(); n > 0 {
		return t.Failures / n
	}
	return 0
}

// Quantile is the time within which that part of the requests, 0 to 1, began to
// be answered; 0 if there are none.
func (t *Tally) Quantile(q float64) time.Duration {
	want, below := q*t.Requests(), 0.0
	if want <= 0 {
		return 0
	}
	for i, k := range t.answers {
		if below += k; below >= want {
			return fine.End(i)
		}
	}
	return fine.End(fineSlots - 1)
}

// Slower is how many requests took longer than d until they began to be answered.
func (t *Tally) Slower(d time.Duration) (n float64) {
	for i := fine.Slot(d) + 1; i < fineSlots; i++ {
		n += t.answers[i]
	}
	return n
}
