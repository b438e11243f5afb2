package config

import (
	"testing"
	"time"
)

func TestDebounce(t *testing.T) {
	start := time.Now()
	// f touches at these times and wants the burst to be due then.
	f := func(due time.Duration, touches ...time.Duration) {
		t.Helper()
		b := debounce{quiet: 200 * time.Millisecond, longest: 2 * time.Second}
		if _, ok := b.due(); ok {
			t.Error("due before any change")
		}
		for _, at := range touches {
			b.touch(start.Add(at))
		}
		at, ok := b.due()
		if got := at.Sub(start); !ok || got != due {
			t.Errorf("due at %v, %v, want %v", got, ok, due)
		}
		if b.over(at) != (due == 2*time.Second) {
			t.Errorf("over at %v: %v", due, b.over(at))
		}
		b.reset()
		if _, ok := b.due(); ok {
			t.Error("due after reset")
		}
	}
	const ms = time.Millisecond
	f(200*ms, 0)
	f(350*ms, 0, 100*ms, 150*ms)

	// changes that do not end are cut off
	f(2000*ms, 0, 1900*ms)
	f(2000*ms, 0, 1900*ms, 2500*ms)
}
