package pool

import (
	"math"
	"slices"
)

const (
	ringPoints = 16      // points for each unit of weight
	ringProbes = 8       // places of the ring where a key looks for the nearest point
	maxPoints  = 1 << 17 // of all members, about; unless there are more than 8192
	passedOver = 16      // members that a key passes over by its own order
	golden     = 0x9e3779b97f4a7c15
)

// ring is consistent_hash. Members have points on a ring, as many as their
// weight says, which depend on nothing but their address. A key looks in some
// places of the ring and belongs to the member with the point that follows
// nearest. So a member that leaves moves its own keys and no others, and the
// several looks keep anybody's share below 1 + 1/ringProbes of its due (a ring
// with one look would want hundreds of points for that).
type ring struct {
	points []uint64  // position above the index of the member; sorted
	starts []uint32  // the first point whose position has these top bits or higher ones
	shift  uint      // to the top bits
	bounds []float64 // by member: its share of all requests in flight; nil: no bound
	loops  []cursor  // who knows how many are in flight
}

// newRing takes weights in hundredths. unit is how many of the operator's
// weight make one unit on the ring; it must not depend on who is usable, or
// everybody's points would move when somebody fails.
func newRing(members []Member, weights []int, unit int, factor float64, loops []cursor) *ring {
	r := &ring{loops: loops}
	for i := range members {
		n := min(max(1, int(int64(weights[i])*ringPoints/int64(100*unit))), maxPoints)
		h := hashAddress(members[i].address)
		for k := range n {
			r.points = append(r.points, mix(h+uint64(k)*golden)&^math.MaxUint32|uint64(i))
		}
	}
	slices.Sort(r.points)
	r.index()
	if factor >= 1 {
		r.bounds = bounds(weights, factor)
	}
	return r
}

// index makes starts, about as long as points.
func (r *ring) index() {
	r.shift = 31
	for r.shift > 0 && len(r.points)>>(32-r.shift) > 0 {
		r.shift--
	}
	r.starts = make([]uint32, 1<<(32-r.shift))
	p := 0
	for i := range r.starts {
		for p < len(r.points) && position(r.points[p])>>r.shift < uint32(i) {
			p++
		}
		r.starts[i] = uint32(p)
	}
}

// bounds is factor times each weight's share.
func bounds(weights []int, factor float64) []float64 {
	sum := 0.0
	for _, w := range weights {
		sum += float64(w)
	}
	b := make([]float64, len(weights))
	for i, w := range weights {
		b[i] = factor * float64(w) / sum
	}
	return b
}

// ringUnit keeps the ring of these backends, all of them in rotation, within
// maxPoints. It is a power of two, so that weights have to change much before
// points move.
func ringUnit(all []*Backend) int {
	sum := 0
	for _, b := range all {
		sum += b.spec.shownWeight()
	}
	unit := 1
	for sum/unit > max(maxPoints/ringPoints, len(all)) {
		unit *= 2
	}
	return unit
}

// pick asks the key's member, and whoever would have the key if that one were
// gone, and so on: which backend is next is as fixed as which is first.
func (r *ring) pick(members []Member, c *cursor) (Lease, bool) {
	var out [passedOver]uint32
	n := 0
	for n < min(len(out), len(members)) {
		i := r.owner(c.key, out[:n])
		if l, ok := r.take(members, int(i), c); ok {
			return l, false
		}
		out[n] = i
		n++
	}
	first := int(out[0])
	for i := range members {
		if l, ok := r.take(members, (first+i)%len(members), c); ok {
			return l, false
		}
	}
	return anyOf(members, first, c) // more than its bound is better than nothing
}

func (r *ring) take(members []Member, i int, c *cursor) (Lease, bool) {
	m := &members[i]
	if c.tried.has(m.Backend) || r.over(m, i, c) {
		return Lease{}, false
	}
	l, ok := m.take()
	if ok && r.bounds != nil {
		c.inFlight.Add(1)
		l.state |= leaseCounted
	}
	return l, ok
}

// unbounded is how many requests a backend may have whatever its bound. With two
// or three in flight in all, a bound would send a key elsewhere because an answer
// has not been counted out yet.
const unbounded = 4

// over reports whether one more request is more than m's bound: its part of
// all that are in flight, times the factor, rounded up.
func (r *ring) over(m *Member, i int, c *cursor) bool {
	if r.bounds == nil {
		return false
	}
	n := m.load.inFlight.Load()
	return n >= unbounded && float64(n+1) > math.Ceil(r.bounds[i]*float64(c.everywhere(r.loops)+1))
}

// everywhere is how many requests are in flight on all loops. The other loops'
// part is up to as many picks old as there are loops: to look at all of them in
// each pick would cost more than the pick.
func (c *cursor) everywhere(loops []cursor) int64 {
	if c.counts == 0 {
		c.others = -c.inFlight.Load()
		for i := range loops {
			c.others += loops[i].inFlight.Load()
		}
		c.counts = len(loops)
	}
	c.counts--
	return max(0, c.others+c.inFlight.Load())
}

// owner is whom the key belongs to, were those of out gone. Out are not all.
func (r *ring) owner(key uint64, out []uint32) uint32 {
	h := mix(key)
	var owner, nearest uint32
	for k := range uint64(ringProbes) {
		at := uint32(mix(h+k*golden) >> 32)
		p := r.after(at, out)
		if d := position(p) - at; k == 0 || d < nearest {
			owner, nearest = uint32(p), d
		}
	}
	return owner
}

// after is the first point at or behind a place of the ring whose member is not
// one of out.
func (r *ring) after(at uint32, out []uint32) uint64 {
	i := int(r.starts[at>>r.shift])
	for i < len(r.points) && position(r.points[i]) < at {
		i++
	}
	for {
		if i == len(r.points) {
			i = 0
		}
		if !slices.Contains(out, uint32(r.points[i])) {
			return r.points[i]
		}
		i++
	}
}

func position(point uint64) uint32 { return uint32(point >> 32) }

// hashAddress is FNV-1a: the same in every process, so that several Weirs agree
// on whose a key is.
func hashAddress(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix makes every bit depend on every bit of x (the finisher of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
