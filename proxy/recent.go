package proxy

import (
	"time"

	"weir/internal/metrics"
)

const (
	recentOctaves = 22
	recentBits    = 3
	recentWindow  = 30 * time.Second // how far back a percentile looks: one to two of these
	recentRefresh = 100 * time.Millisecond
)

// recentScale is from 33 µs to two minutes.
var recentScale = metrics.Scale{Shift: 15, Octaves: recentOctaves, Bits: recentBits}

// recent is how long a route's backends took of late until they began to answer,
// on one loop. It counts in buckets that are 12 % wide.
type recent struct {
	counts [2][recentOctaves << recentBits]uint32 // of the present window, and of the one before
	totals [2]uint32
	turned time.Time // when the present window began

	known time.Duration // the percentile as of knownAt; 0: there was none
	at    time.Time
}

// recentOf is what a worker remembers of a route. It outlives configurations, as
// the route's counters do.
func (w *worker) recentOf(m *metrics.Route) *recent {
	r := w.recents[m]
	if r == nil {
		r = new(recent)
		w.recents[m] = r
	}
	return r
}

func (r *recent) add(d time.Duration, now time.Time) {
	r.turn(now)
	r.counts[0][recentScale.Slot(d)]++
	r.totals[0]++
}

// turn begins a new window when the present one is over.
func (r *recent) turn(now time.Time) {
	switch since := now.Sub(r.turned); {
	case since < recentWindow:
		return
	case since < 2*recentWindow:
		r.counts[1], r.totals[1] = r.counts[0], r.totals[0]
	default:
		r.counts[1], r.totals[1] = [recentOctaves << recentBits]uint32{}, 0
	}
	r.counts[0], r.totals[0] = [recentOctaves << recentBits]uint32{}, 0
	r.turned = now
}

// percentile is the time within which p of 100 began to be answered; 0 if there
// have been too few of late for anybody to say. It is worked out ten times a
// second at most.
func (r *recent) percentile(p int, now time.Time) time.Duration {
	if since := now.Sub(r.at); since >= recentRefresh || r.known == 0 {
		r.turn(now)
		r.known, r.at = r.find(p), now
	}
	return r.known
}

func (r *recent) find(p int) time.Duration {
	total := uint64(r.totals[0]) + uint64(r.totals[1])
	if total*uint64(100-p) < 100 { // not one above it
		return 0
	}
	below, want := uint64(0), (total*uint64(p)+99)/100
	for i := range r.counts[0] {
		if below += uint64(r.counts[0][i]) + uint64(r.counts[1][i]); below >= want {
			return recentScale.End(i)
		}
	}
	return 0
}
