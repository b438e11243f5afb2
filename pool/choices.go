package pool

import (
	"math"
	"math/rand/v2"
)

// scanned is how many members are all looked at; of more, two are drawn.
const scanned = 8

// choices is least_requests and peak_ewma: the cheaper of two members, or the
// cheapest of a few.
type choices struct {
	alias   alias
	latency bool // peak_ewma: what a member costs is also how slow it is
}

func (p *choices) pick(members []Member, c *cursor) (Lease, bool) {
	var now uint32
	if p.latency {
		now = clock()
	}
	for range drawTries / 2 { // somebody may have been quicker
		m := p.choose(members, c, now)
		if m == nil {
			break
		}
		if l, ok := m.take(); ok {
			return l, false
		}
	}
	return anyOf(members, rand.IntN(len(members)), c)
}

func (p *choices) choose(members []Member, c *cursor, now uint32) *Member {
	if len(members) <= scanned {
		return p.cheapest(members, c, now)
	}
	return p.cheaper(members, c, now)
}

// cheapest looks at everybody. Ties are broken at random: always the first
// would make one backend the busiest of all loops. If nobody has anything to
// do, in-flight counts say nothing, and the weights decide.
func (p *choices) cheapest(members []Member, c *cursor, now uint32) *Member {
	var best *Member
	least, ties, idle := math.Inf(1), 0, true
	for i := range members {
		m := &members[i]
		if !m.open(c) || m.full() {
			continue
		}
		cost, busy := p.cost(m, now)
		idle = idle && !busy
		switch {
		case cost < least:
			best, least, ties = m, cost, 1
		case cost == least:
			if ties++; rand.IntN(ties) == 0 {
				best = m
			}
		}
	}
	if idle && !p.latency {
		return byWeight(members, c)
	}
	return best
}

// cheaper draws two by weight: different ones, for half of the requests would
// go to the busier of two if each could be drawn twice. Of equals the first
// drawn is taken, and of two idle ones too.
func (p *choices) cheaper(members []Member, c *cursor, now uint32) *Member {
	var first *Member
	for range drawTries {
		m := &members[p.alias.draw()]
		if m == first || !m.open(c) || m.full() {
			continue
		}
		if first == nil {
			first = m
			continue
		}
		one, busy := p.cost(first, now)
		two, alsoBusy := p.cost(m, now)
		if two < one && (busy || alsoBusy || p.latency) {
			return m
		}
		return first
	}
	return first
}

// cost is what one more request would cost on m.
func (p *choices) cost(m *Member, now uint32) (cost float64, busy bool) {
	n := m.load.inFlight.Load()
	cost = float64(n+1) / m.weight
	if p.latency {
		cost *= m.load.latency.price(now, n)
	}
	return cost, n > 0
}
