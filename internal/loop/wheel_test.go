package loop

import (
	"math/rand/v2"
	"testing"
)

// event is an owner that notes when it was fired.
type event struct {
	timer timer
	fired int64
}

func (e *event) expire(now int64) { e.fired = now }

// Timers fire in the tick after their moment, wherever the wheel put them, and
// the wheel never asks to be advanced later than that.
func TestWheelFiresInTime(t *testing.T) {
	const tick = 1 << tickBits
	f := func(now, when int64) {
		t.Helper()
		w := &wheel{tick: now >> tickBits}
		e := &event{}
		e.timer.owner = e
		w.set(&e.timer, when)
		for e.fired == 0 {
			at, ok := w.next()
			if !ok || at <= now {
				t.Fatalf("at %d: next is %d, %v with a timer for %d", now, at, ok, when)
			}
			now = at
			w.advance(now)
		}
		if late := e.fired - when; late < 0 || late > tick {
			t.Errorf("a timer for %d fired %d ns late", when, late)
		}
		if at, ok := w.next(); ok {
			t.Errorf("an empty wheel waits for %d", at)
		}
	}
	f(0, 1)
	f(0, tick)
	f(0, tick+1)
	f(0, 255*tick)
	f(0, 256*tick)
	f(200*tick, 256*tick)
	f(255*tick, 257*tick)
	f(255*tick+3, 512*tick)
	f(12345*tick+7, (12345+horizon)*tick)
	f(12345*tick+7, (12345+horizon+1)*tick)
	f(99*tick, 10*ringSize*ringSize*tick+5) // an hour and a half
}

// A wheel behaves like a list of deadlines.
func TestWheelAgainstList(t *testing.T) {
	const tick = 1 << tickBits
	rnd := rand.New(rand.NewPCG(1, 2))
	w := &wheel{}
	events := make([]*event, 200)
	due := make([]int64, len(events)) // 0: not set
	for i := range events {
		events[i] = &event{}
		events[i].timer.owner = events[i]
	}
	spans := []int64{tick, 100 * tick, 300 * tick, 5000 * tick, 2 * horizon * tick}
	now := int64(0)
	for range 20_000 {
		for range rnd.IntN(4) {
			i := rnd.IntN(len(events))
			switch rnd.IntN(3) {
			case 0:
				w.remove(&events[i].timer)
				due[i] = 0
			default:
				when := now + 1 + rnd.Int64N(spans[rnd.IntN(len(spans))])
				w.set(&events[i].timer, when)
				if due[i] == 0 || when < due[i] { // setting it later changes nothing
					due[i] = when
				}
			}
		}
		now += rnd.Int64N(spans[rnd.IntN(3)])
		w.advance(now)
		for i, e := range events {
			fired := e.fired == now && now != 0
			switch {
			case due[i] == 0 && fired:
				t.Fatalf("event %d fired at %d, but was not set", i, now)
			case fired && due[i] > now:
				t.Fatalf("event %d for %d fired at %d", i, due[i], now)
			case !fired && due[i] != 0 && due[i] <= now-tick:
				t.Fatalf("event %d for %d has not fired at %d", i, due[i], now)
			}
			if fired {
				due[i], e.fired = 0, 0
			}
		}
	}
}

func BenchmarkWheelMoveLater(b *testing.B) {
	w := &wheel{}
	e := &event{}
	e.timer.owner = e
	for i := range b.N {
		w.set(&e.timer, int64(i)<<10+1e9)
	}
}

func BenchmarkWheelSetRemove(b *testing.B) {
	w := &wheel{}
	e := &event{}
	e.timer.owner = e
	for i := range b.N {
		w.set(&e.timer, int64(i)<<10+1e9)
		w.remove(&e.timer)
	}
}
