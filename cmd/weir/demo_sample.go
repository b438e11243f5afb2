package main

import (
	"time"

	"weir/bench"
)

// sample is each backend's latency histogram at one moment.
type sample struct {
	at      time.Time
	latency map[string]histogram // by address
}

// histogram is one of Prometheus': how many were at most as long as a bound.
type histogram struct {
	bounds     []float64 // seconds
	cumulative []uint64
	count      uint64
}

// sample reads the proxy's own metrics: the demo shows nothing that an
// operator could not see.
func (d *demo) sample() sample {
	s := sample{at: time.Now(), latency: make(map[string]histogram)}
	families, err := d.weir.metrics.Prometheus().Gather()
	if err != nil && len(families) == 0 {
		return s
	}
	for _, f := range families {
		if f.GetName() != "weir_upstream_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			var h histogram
			for _, b := range m.GetHistogram().GetBucket() {
				h.bounds = append(h.bounds, b.GetUpperBound())
				h.cumulative = append(h.cumulative, b.GetCumulativeCount())
			}
			h.count = m.GetHistogram().GetSampleCount()
			for _, l := range m.GetLabel() {
				if l.GetName() == "backend" {
					s.latency[l.GetValue()] = h
				}
			}
		}
	}
	return s
}

// minus is what h has counted since old.
func (h histogram) minus(old histogram) histogram {
	if old.count > h.count || len(old.cumulative) != len(h.cumulative) {
		return h // the backend is new, or came back
	}
	d := histogram{bounds: h.bounds, count: h.count - old.count}
	for i, n := range h.cumulative {
		d.cumulative = append(d.cumulative, n-old.cumulative[i])
	}
	return d
}

// quantile estimates a quantile as Prometheus does, evenly within a bucket;
// a dash if nothing was counted.
func (h histogram) quantile(q float64) string {
	if h.count == 0 {
		return "-"
	}
	rank, below, lower := q*float64(h.count), uint64(0), 0.0
	for i, n := range h.cumulative {
		if float64(n) >= rank && n > below {
			share := (rank - float64(below)) / float64(n-below)
			return bench.Short(time.Duration((lower + share*(h.bounds[i]-lower)) * float64(time.Second)))
		}
		below, lower = n, h.bounds[i]
	}
	return "> " + bench.Short(time.Duration(lower*float64(time.Second)))
}
