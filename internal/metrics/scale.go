package metrics

import (
	"math/bits"
	"time"
)

// Scale divides durations into slots: each octave has as many, so that a slot is
// as wide as a fixed part of what is in it.
type Scale struct {
	Shift   uint // what is faster than 2^Shift ns is all the same
	Octaves uint // as is what is slower than 2^Octaves times that
	Bits    uint // an octave has 2^Bits slots
}

// Slots is how many there are.
func (s Scale) Slots() int { return int(s.Octaves << s.Bits) }

// Slot is where a duration counts.
func (s Scale) Slot(d time.Duration) int {
	n := uint64(max(d, 0)) >> (s.Shift - s.Bits)
	if n < 1<<s.Bits {
		return 0
	}
	octave := uint(bits.Len64(n)) - s.Bits - 1
	return min(int(octave<<s.Bits)+int(n>>octave&(1<<s.Bits-1)), s.Slots()-1)
}

// End is the least duration that no longer counts in slot i.
func (s Scale) End(i int) time.Duration {
	slot := uint(i)
	return time.Duration((1<<s.Bits + 1 + slot&(1<<s.Bits-1)) << (slot>>s.Bits + s.Shift - s.Bits))
}
