package proxy

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Unix(1000, 0)
	f := func(p *pace, want time.Duration) {
		t.Helper()
		limit := p.limit(start)
		if want == 0 {
			if !limit.IsZero() {
				t.Errorf("%+v: %v, want none", p, limit.Sub(start))
			}
			return
		}
		if got := limit.Sub(start); got != want {
			t.Errorf("%+v: %v, want %v", p, got, want)
		}
	}
	// nobody minds
	f(nil, 0)
	f(&pace{waited: time.Hour}, 0)

	// the first ten seconds are free, however little comes
	f(&pace{least: 100}, 10*time.Second)
	f(&pace{least: 100, bytes: 500, waited: 4 * time.Second}, 6*time.Second)

	// what came fast may be followed by a pause
	f(&pace{least: 100, bytes: 6000, waited: 10 * time.Second}, 50*time.Second)
	f(&pace{least: 1, bytes: 1 << 60}, 1e18)

	// too slow already
	f(&pace{least: 100, bytes: 500, waited: 12 * time.Second}, -2*time.Second)

	var p pace
	p.note(10, time.Second)
	p.note(5, 2*time.Second)
	if p.bytes != 15 || p.waited != 3*time.Second {
		t.Errorf("%+v", p)
	}
	(*pace)(nil).note(1, 1)
}
