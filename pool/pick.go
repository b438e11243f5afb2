package pool

import (
	"math/rand/v2"
	"sync/atomic"
)

// cursor is what a loop knows when it picks: what the request wants, and where
// the loop is in its cycle. Only that loop reads or writes it, but for inFlight.
// It counts on when the Set changes: a pool that changes often must not start
// over with its first backend each time.
type cursor struct {
	loop  int
	key   uint64 // of this request, like tried: passed on by value, they would be copied at each step
	tried Tried

	n     uint64 // turns so far
	front front

	inFlight atomic.Int64 // leases of this loop that count for the bounds of a ring
	others   int64        // the other loops' inFlight, when they were last added up
	counts   int          // for how many picks that is good

	_ [2*cacheLine - 112]byte
}

// picker is a balancing policy over the members of one tier, for all loops at
// once. pick takes a lease on one that is neither tried nor full; if there is
// none, full says whether some are in use as much as they may be.
type picker interface {
	pick(members []Member, c *cursor) (l Lease, full bool)
}

// Acquire takes a lease on the backend that the policy chooses. It passes over
// backends that are full or in tried; if all of a tier have been tried, the next
// tier is asked. The error is ErrEmpty, ErrNoHealthy or ErrAllFull. Under
// consistent_hash it is AcquireKey with a random key.
//
// Only one goroutine at a time may call it for one loop. It neither locks nor
// allocates.
func (p *Pool) Acquire(loop int, tried Tried) (Lease, error) {
	set := p.set.Load()
	var key uint64
	if set.keyed {
		key = rand.Uint64()
	}
	return set.acquireNext(p.cursors[loop].ask(key, tried))
}

// AcquireKey is Acquire for a request with a key: under consistent_hash equal
// keys go to the same backend, as long as it is usable and not full. Any uint64
// will do, it is mixed here. Other policies do not look at it.
func (p *Pool) AcquireKey(loop int, key uint64, tried Tried) (Lease, error) {
	return p.set.Load().acquireNext(p.cursors[loop].ask(key, tried))
}

// acquireNext is acquire for who does not wait: those who do come first.
func (s *Set) acquireNext(c *cursor) (Lease, error) {
	if s.others() && len(s.tiers) > 0 {
		return Lease{}, ErrAllFull
	}
	return s.acquire(c)
}

// others reports whether requests wait that would take any backend.
func (s *Set) others() bool { return s.queue != nil && s.queue.waiting.Load() > s.queue.choosy.Load() }

// ask notes what the next request wants.
func (c *cursor) ask(key uint64, tried Tried) *cursor {
	c.key = key
	if tried.n > 0 || c.tried.n > 0 {
		c.tried = tried
	}
	return c
}

func (s *Set) acquire(c *cursor) (Lease, error) {
	if len(s.tiers) == 0 {
		return Lease{}, s.none
	}
	for i := range s.tiers {
		t := &s.tiers[i]
		l, full := t.picker.pick(t.members, c)
		if l.b != nil {
			l.loop = int32(c.loop)
			return l, nil
		}
		if full {
			return Lease{}, ErrAllFull
		}
	}
	return Lease{}, ErrNoHealthy
}

// turns is weighted round robin: one cycle of indices of members, in which the
// loops start a stride apart.
type turns struct {
	schedule []uint32
	stride   uint64
}

// pick takes the next turn, or the next after that if its member cannot be had.
// Turns passed over are gone: were they not, whoever follows a full backend in
// the schedule would get its turns on top of their own.
func (t *turns) pick(members []Member, c *cursor) (Lease, bool) {
	turns := uint64(len(t.schedule))
	at := (c.n + uint64(c.loop)*t.stride) % turns
	for range min(turns, 2*uint64(len(members))) {
		c.n++
		if l, ok := members[t.schedule[at]].takeUntried(c); ok {
			return l, false
		}
		if at++; at == turns {
			at = 0
		}
	}
	return anyOf(members, int(at), c)
}

// anyOf takes a member whatever the policy says: next to a far heavier one, a
// member may be further off in the schedule than is worth walking.
func anyOf(members []Member, from int, c *cursor) (l Lease, full bool) {
	for i := range members {
		m := &members[(from+i)%len(members)]
		if !m.open(c) {
			continue
		}
		if l, ok := m.take(); ok {
			return l, false
		}
		full = true
	}
	return Lease{}, full
}

// open reports whether m may be asked at all: it has not been tried, and is not
// on trial with its one request under way.
func (m *Member) open(c *cursor) bool {
	return !c.tried.has(m.Backend) && !(m.onTrial && m.trial.busy())
}

// full reports whether m has as many requests as it may have.
func (m *Member) full() bool {
	n := m.load.inFlight.Load()
	return m.limit > 0 && n >= m.limit || m.adaptive != nil && m.adaptive.full(n)
}

// takeUntried is take, unless m has been tried.
func (m *Member) takeUntried(c *cursor) (Lease, bool) {
	if c.tried.has(m.Backend) {
		return Lease{}, false
	}
	return m.take()
}

// take counts a request in, unless the member is full. Its limit is exact: no
// moment sees more leases than that.
func (m *Member) take() (Lease, bool) {
	l := Lease{b: m.Backend}
	if m.onTrial {
		if l.trial = m.trial.begin(); l.trial == 0 {
			return Lease{}, false
		}
	}
	if m.adaptive == nil && m.count() || m.adaptive != nil && m.adaptive.count(m) {
		return l, true
	}
	m.trial.cancel(l.trial)
	return Lease{}, false
}

func (m *Member) count() bool {
	in := &m.load.inFlight
	if m.limit == 0 {
		in.Add(1)
		return true
	}
	return countTo(in, m.limit)
}

// countTo counts one more in, but not above limit.
func countTo(in *atomic.Int64, limit int64) bool {
	for {
		n := in.Load()
		if n >= limit {
			return false
		}
		if in.CompareAndSwap(n, n+1) {
			return true
		}
	}
}
