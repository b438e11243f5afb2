package metrics

import "sync/atomic"

// cacheLines keeps neighbours apart: processors fetch lines of 64 bytes in pairs.
const cacheLines = 128

// perLoop is one T for each loop, none sharing a cache line with another.
type perLoop[T any] []padded[T]

type padded[T any] struct {
	value T
	_     [cacheLines]byte
}

func newPerLoop[T any](loops int) perLoop[T] { return make(perLoop[T], loops) }

func (p perLoop[T]) of(loop int) *T { return &p[loop].value }

// counter only grows. It is an atomic addition although only one loop writes it:
// an atomic store costs the same on amd64, and this way a caller that runs
// outside of the loops loses nothing.
type counter struct{ n atomic.Uint64 }

func (c *counter) add(n uint64) { c.n.Add(n) }
func (c *counter) load() uint64 { return c.n.Load() }

// gauge goes up and down. One loop's part of it may be negative, the sum is not.
type gauge struct{ n atomic.Int64 }

func (g *gauge) add(n int)   { g.n.Add(int64(n)) }
func (g *gauge) load() int64 { return g.n.Load() }

// reasonCounters counts each reason.
type reasonCounters [reasons]counter

func (c *reasonCounters) add(r Reason) { c[r].add(1) }
