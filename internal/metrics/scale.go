package metrics

import (
	"math/bits"
	"time"
)

// Scale divides durations into slots: each octave has as many, so that a slot is
// as wide as a fixed part of what is in it.
type Scale struct {
	Shift   int // what is faster than 2^Shift ns is all the same
	Octaves int // as is what is slower than 2^Octaves times that
	Bits    int // an octave has 2^Bits slots
}

// Slots is how many there are.
func (s Scale) Slots() int { return s.Octaves << s.Bits }

// Slot is where a duration counts.
func (s Scale) Slot(d time.Duration) int {
	n := uint64(max(d, 0)) >> (s.Shift - s.Bits)
	if n < 1<<s.Bits {
		return 0
	}
	octave := bits.Len64(n) - s.Bits - 1
	return min(octave<<s.Bits+int(n>>octave&(1<<s.Bits-1)), s.Slots()-1)
}

// End is the least duration that no longer counts in slot i.
func (s Scale) End(i int) time.Duration {
	return time.Duration(uint64(1<<s.Bits+1+i&(1<<s.Bits-1)) << (i>>s.Bits + s.Shift - s.Bits))
}
