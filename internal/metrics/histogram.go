package metrics

import "time"

// bounds are the upper bounds of the buckets of every duration.
var bounds = [...]time.Duration{
	time.Millisecond,
	2500 * time.Microsecond,
	5 * time.Millisecond,
	10 * time.Millisecond,
	25 * time.Millisecond,
	50 * time.Millisecond,
	100 * time.Millisecond,
	250 * time.Millisecond,
	500 * time.Millisecond,
	time.Second,
	2500 * time.Millisecond,
	5 * time.Second,
	10 * time.Second,
	30 * time.Second,
}

// histogram counts durations in buckets.
type histogram struct {
	buckets [len(bounds) + 1]counter // not cumulative; the last is what lies above all bounds
	nanos   counter
}

func (h *histogram) observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.buckets[i].add(1)
	h.nanos.add(uint64(d))
}

// histogramSum is what histograms add up to.
type histogramSum struct {
	buckets [len(bounds) + 1]uint64
	nanos   uint64
}

func (s *histogramSum) add(h *histogram) {
	s.nanos += h.nanos.load()
	for i := range h.buckets {
		s.buckets[i] += h.buckets[i].load()
	}
}

// cumulative is the form Prometheus wants: how many were at most this many seconds.
func (s *histogramSum) cumulative() (count uint64, seconds float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(bounds))
	for i, bound := range bounds {
		count += s.buckets[i]
		buckets[bound.Seconds()] = count
	}
	return count + s.buckets[len(bounds)], time.Duration(s.nanos).Seconds(), buckets
}
