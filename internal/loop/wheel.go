package loop

import "math/bits"

const (
	tickBits = 23 // a tick is 2^23 ns, 8.4 ms: no division, and below the promised 10 ms
	ringBits = 8
	ringSize = 1 << ringBits
	ringMask = ringSize - 1
	// horizon is the farthest tick, seen from now, that the outer ring can tell
	// from the present one: 9 minutes. What is later is looked at again then.
	horizon = ringSize*ringSize - ringSize
)

// expirer owns a timer. expire runs on the loop once the timer's moment has
// come, and decides what is really due: owners only store their deadlines.
type expirer interface{ expire(now int64) }

// timer is an entry of a wheel, kept inside its owner.
type timer struct {
	next, prev *timer
	owner      expirer
	at         int64 // tick to fire at
	slot       int32 // 1 + position in wheel.slots; 0 means not linked
}

// wheel is a loop's timers: an inner ring of single ticks and an outer ring of
// 256 ticks a slot. Setting and firing cost the same however many there are.
type wheel struct {
	tick  int64 // the last tick that was fired
	count [2]int
	used  [2][ringSize / 64]uint64 // which slots have entries
	slots [2 * ringSize]*timer
}

// set makes t fire at when (ns) or up to one tick later. A timer already set to
// fire sooner stays: its owner will look at its deadlines then and set it
// again. That makes moving a deadline into the future, which every request
// does, free.
func (w *wheel) set(t *timer, when int64) {
	at := max((when+1<<tickBits-1)>>tickBits, w.tick+1)
	if t.slot != 0 {
		if t.at <= at {
			return
		}
		w.remove(t)
	}
	t.at = at
	w.link(t)
}

// link puts t where t.at belongs as seen from the present tick.
func (w *wheel) link(t *timer) {
	ahead := t.at - w.tick
	i, ring := int(t.at&ringMask), 0
	if ahead >= ringSize {
		at := w.tick + min(ahead, horizon)
		i, ring = ringSize+int(at>>ringBits&ringMask), 1
	}
	t.slot = int32(i + 1)
	t.prev, t.next = nil, w.slots[i]
	if t.next != nil {
		t.next.prev = t
	}
	w.slots[i] = t
	w.used[ring][i&ringMask/64] |= 1 << (i & 63)
	w.count[ring]++
}

// remove takes t out of the wheel; a timer that is not set is left alone.
func (w *wheel) remove(t *timer) {
	if t.slot == 0 {
		return
	}
	i := int(t.slot - 1)
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.slots[i] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	ring := i / ringSize
	if w.slots[i] == nil {
		w.used[ring][i&ringMask/64] &^= 1 << (i & 63)
	}
	w.count[ring]--
	t.next, t.prev, t.slot = nil, nil, 0
}

// next is when the wheel wants to be advanced, in ns; false if nothing is set.
func (w *wheel) next() (int64, bool) {
	best := int64(-1)
	if w.count[0] > 0 {
		best = w.tick + 1 + w.gap(0, w.tick+1)
	}
	if w.count[1] > 0 {
		slot := w.tick>>ringBits + 1
		if at := (slot + w.gap(1, slot)) << ringBits; best < 0 || at < best {
			best = at
		}
	}
	return best << tickBits, best >= 0
}

// gap counts the empty slots of a ring from position from on. The ring must
// not be empty.
func (w *wheel) gap(ring int, from int64) int64 {
	start := int(from & ringMask)
	for n := 0; n <= ringSize; {
		i := (start + n) & ringMask
		if word := w.used[ring][i/64] >> (i & 63); word != 0 {
			return int64(n + bits.TrailingZeros64(word))
		}
		n += 64 - i&63
	}
	return 0
}

// advance fires everything that is due at now (ns).
func (w *wheel) advance(now int64) {
	for end := now >> tickBits; w.tick < end; {
		if w.count[0] == 0 {
			// Nothing before the outer ring's next slot: one step after a long sleep.
			w.tick = min(end, w.tick|ringMask)
			if w.tick == end {
				return
			}
		}
		w.tick++
		if w.tick&ringMask == 0 {
			for t := w.slots[ringSize+w.tick>>ringBits&ringMask]; t != nil; {
				next := t.next
				w.remove(t)
				w.link(t)
				t = next
			}
		}
		// An owner may set or remove any timer, so take the first each time; none
		// can be set for a tick that has begun, so this ends.
		for i := w.tick & ringMask; w.slots[i] != nil; {
			t := w.slots[i]
			w.remove(t)
			t.owner.expire(now)
		}
	}
}
