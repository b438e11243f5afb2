package proxy

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A bucket holds what its end says, and no end is far from the value.
func TestRecentBuckets(t *testing.T) {
	last := -1
	for d := 50 * time.Microsecond; d < 2*time.Minute; d += d/50 + 1 {
		i := recentScale.Slot(d)
		if i < last || i > last+1 && last >= 0 {
			t.Fatalf("%v is in bucket %d, after %d", d, i, last)
		}
		last = i
		if end := recentScale.End(i); end <= d || float64(end-d) > 0.13*float64(d) {
			t.Errorf("%v ends at %v", d, end)
		}
	}
	if recentScale.Slot(0) != 0 || recentScale.Slot(-1) != 0 || recentScale.Slot(time.Hour) != recentScale.Slots()-1 {
		t.Error("what is beyond the ends does not count at the ends")
	}
}

func TestRecentPercentile(t *testing.T) {
	now := time.Unix(1000, 0)
	var r recent
	if d := r.percentile(95, now); d != 0 {
		t.Errorf("of nothing: %v", d)
	}
	var all []time.Duration
	for i := range 5000 {
		d := time.Duration(float64(time.Millisecond) * (1 + 20*rand.ExpFloat64()))
		all = append(all, d)
		r.add(d, now.Add(time.Duration(i)*time.Millisecond))
		if n := i + 1; n == 19 && r.percentile(95, now) != 0 || n == 20 && r.percentile(95, now) == 0 {
			t.Errorf("after %d: %v", n, r.percentile(95, now))
		}
	}
	slices.Sort(all)
	now = now.Add(5 * time.Second)
	for _, p := range []int{50, 90, 95, 99} {
		now = now.Add(recentRefresh)
		got, want := r.percentile(p, now), all[len(all)*p/100]
		if got < want*9/10 || got > want*12/10 {
			t.Errorf("p%d is %v, want about %v", p, got, want)
		}
	}
	// the window of before counts, the one before that does not
	if now = now.Add(recentWindow); r.percentile(95, now) == 0 {
		t.Error("forgot everything after one window")
	}
	if now = now.Add(recentWindow); r.percentile(95, now) != 0 {
		t.Error("remembers after two windows")
	}
}
