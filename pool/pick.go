package pool

// cursor is where a loop is in its cycle. Only that loop reads or writes it.
// It counts on when the Set changes: a pool that changes often must not start
// over with its first backend each time.
type cursor struct {
	n uint64
	_ [cacheLine - 8]byte
}

// Acquire takes a lease on the backend whose turn it is on this loop. It passes
// over backends that are full or in tried; if all of a tier have been tried, the
// next tier is asked. The error is ErrEmpty, ErrNoHealthy or ErrAllFull.
//
// Only one goroutine at a time may call it for one loop. It neither locks nor
// allocates.
func (p *Pool) Acquire(loop int, tried Tried) (Lease, error) {
	set := p.set.Load()
	if len(set.tiers) == 0 {
		return Lease{}, set.none
	}
	c := &p.cursors[loop]
	for i := range set.tiers {
		b, full := set.tiers[i].pick(c, loop, tried)
		if b != nil {
			return Lease{b: b, loop: int32(loop)}, nil
		}
		if full {
			return Lease{}, ErrAllFull
		}
	}
	return Lease{}, ErrNoHealthy
}

// pick takes the next turn, or the next after that if its member cannot be had.
// Turns passed over are gone: were they not, whoever follows a full backend in
// the schedule would get its turns on top of their own.
func (t *tier) pick(c *cursor, loop int, tried Tried) (b *Backend, full bool) {
	turns := uint64(len(t.schedule))
	at := (c.n + uint64(loop)*t.stride) % turns
	for range min(turns, 2*uint64(len(t.members))) {
		c.n++
		m := &t.members[t.schedule[at]]
		if !tried.Has(m.Backend) && m.take() {
			return m.Backend, false
		}
		if at++; at == turns {
			at = 0
		}
	}
	return t.any(int(at), tried)
}

// any takes a member regardless of turns: next to a far heavier one, a member
// may be further off in the schedule than is worth walking.
func (t *tier) any(from int, tried Tried) (b *Backend, full bool) {
	for i := range t.members {
		m := &t.members[(from+i)%len(t.members)]
		if tried.Has(m.Backend) {
			continue
		}
		if m.take() {
			return m.Backend, false
		}
		full = true
	}
	return nil, full
}

// take counts a request in, unless the member is full. Its limit is exact: no
// moment sees more leases than that.
func (m *Member) take() bool {
	in := &m.load.inFlight
	if m.limit == 0 {
		in.Add(1)
		return true
	}
	for {
		n := in.Load()
		if n >= m.limit {
			return false
		}
		if in.CompareAndSwap(n, n+1) {
			return true
		}
	}
}
