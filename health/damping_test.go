package health_test

import (
	"testing"
	"time"

	"weir/health"
)

func TestDamping(t *testing.T) {
	// f has n changes of the verdict, a gap apart, and looks for the passes it
	// takes after a while, where it is 2 without damping.
	f := func(n int, gap, after time.Duration, want int) {
		t.Helper()
		var d health.Damping
		now := time.Now()
		for range n {
			now = now.Add(gap)
			d.Changed(now)
		}
		if got := d.Rise(2, now.Add(after)); got != want {
			t.Errorf("%d changes %v apart, %v later: %d passes, want %d", n, gap, after, got, want)
		}
	}

	// four changes in a minute are nothing special, the fifth is
	f(0, 0, 0, 2)
	f(4, time.Second, 0, 2)
	f(5, time.Second, 0, 4)
	f(5, 15*time.Second, 0, 4)
	f(5, 15*time.Second+1, 0, 2)
	f(100, 16*time.Second, 0, 2)

	// each five more double, up to eight times
	f(9, time.Second, 0, 4)
	f(10, time.Second, 0, 8)
	f(15, time.Second, 0, 16)
	f(1000, time.Second, 0, 16)

	// five minutes without a change, and all is forgotten
	f(15, time.Second, 5*time.Minute-1, 16)
	f(15, time.Second, 5*time.Minute, 2)
	f(15, 5*time.Minute, 0, 2)
}

// A change while it is damped keeps it so; after the calm it starts at nothing.
func TestDampingIsKeptByChanges(t *testing.T) {
	var d health.Damping
	now := time.Now()
	for range 5 {
		d.Changed(now)
	}
	for range 10 {
		now = now.Add(4 * time.Minute)
		d.Changed(now)
	}
	if got := d.Rise(1, now); got != 2 {
		t.Errorf("with a change every four minutes it takes %d passes, want 2", got)
	}
	now = now.Add(5 * time.Minute)
	d.Changed(now)
	if got := d.Rise(1, now); got != 1 {
		t.Errorf("a change after five minutes: %d passes, want 1", got)
	}
	if got := d.Rise(-3, now); got != 1 {
		t.Errorf("a count that makes no sense is %d, want 1", got)
	}
}

// The Tracker counts changes, not the first verdict, and lets nobody come up
// easily who goes up and down.
func TestTrackerDamps(t *testing.T) {
	tr := health.Tracker{Fall: 1, Rise: 1}
	now := time.Now()
	var ups string
	for _, r := range "+-+-+-+-++-++-++" {
		now = now.Add(time.Second)
		tr.Observe(r == '+', now)
		ups += map[bool]string{true: "u", false: "d"}[tr.Up()]
	}
	if want := "udududdddudduddu"; ups != want {
		t.Errorf("verdicts %s, want %s", ups, want)
	}
}
