package proxy

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Unix(1000, 0)
	type step struct {
		n    int
		took time.Duration
	}
	f := func(p *pace, want time.Duration, steps ...step) {
		t.Helper()
		for _, s := range steps {
			p.note(s.n, s.took)
		}
		limit := p.limit(start)
		switch {
		case want == 0 && !limit.IsZero():
			t.Errorf("%+v: %v, want none", p, limit.Sub(start))
		case want != 0 && limit.Sub(start) != want:
			t.Errorf("%+v: %v, want %v", p, limit.Sub(start), want)
		}
	}
	// nobody minds
	f(nil, 0, step{1, time.Hour})
	f(&pace{}, 0, step{1, time.Hour})

	// the first ten seconds are free, however little comes
	f(&pace{least: 100}, 10*time.Second)
	f(&pace{least: 100}, 7*time.Second, step{100, 4 * time.Second})

	// what came fast may be followed by a pause, but not by a long one
	f(&pace{least: 100}, 40*time.Second, step{4000, 10 * time.Second})
	f(&pace{least: 1}, time.Minute, step{1 << 30, 0}, step{1 << 30, 0})
	f(&pace{least: 1}, 20*time.Second, step{1 << 30, 0}, step{0, 40 * time.Second})

	// as fast as need be, for ever
	p := &pace{least: 100}
	for range 1000 {
		p.note(100, time.Second)
	}
	f(p, 10*time.Second)

	// too slow already
	f(&pace{least: 100}, -1*time.Second, step{100, 12 * time.Second})
}
