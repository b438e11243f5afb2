package pool

import (
	"slices"
	"time"
)

// Set is who may get requests at this moment. It is immutable once published;
// everything that a pick needs has been worked out when it was built.
type Set struct {
	tiers []tier // in order of preference; each has members
	keyed bool   // the policy looks at keys
	queue *queue // nil: nobody waits
	none  error  // what Acquire says if there are no tiers

	sticky map[string]*Member // who may have the client with that id; nil: no client sticks
}

// Member is a Backend as one Set sees it.
type Member struct {
	*Backend           // outlives every Set that lists it
	limit    int64     // requests in flight at once; 0: any number
	adaptive *adaptive // a lower limit, which follows latency; nil: there is none
	weight   float64   // in hundredths
	onTrial  bool      // one request at a time
	bounded  bool      // its leases count for the bounds of a ring
}

// tier is a group of members that share the requests.
type tier struct {
	members []Member
	picker  picker
}

// buildSet works out the Set from the backends: who is in rotation, in tiers
// (see rotation), with which weight (see weights), under which policy. p.mu is
// held.
func (p *Pool) buildSet(now time.Time) *Set {
	tiers, panicking := p.rotation()
	p.panicIs(panicking, now)
	for _, b := range p.order {
		b.share = 0
	}
	p.rampNext = p.nextRamp(now)
	s := &Set{keyed: p.spec.Balance == ConsistentHash, none: p.whyNone()}
	if p.spec.Queue.Size > 0 {
		s.queue = &p.queue
	}
	for i, group := range tiers {
		weights := p.weights(group, now)
		if i == 0 {
			for k, b := range group {
				b.share = weights[k]
			}
		}
		s.tiers = append(s.tiers, p.newTier(group, weights))
	}
	s.sticky = p.newSticky(s.tiers)
	return s
}

// ready is the operator's axis: state and weight let it have requests.
func (b *Backend) ready() bool { return b.admin == Ready && b.weight() > 0 && !b.advice.refuses() }

// serving is the probes' axis, the heartbeats' and the name's.
func (b *Backend) serving() bool { return b.verdict == up && b.beat.out == "" && b.located() }

// trusted is the traffic's axis.
func (b *Backend) trusted() bool { return b.ejectedUntil.IsZero() }

// usable is all of them.
func (b *Backend) usable() bool { return b.ready() && b.serving() && b.trusted() }

func filter(all []*Backend, keep func(*Backend) bool) []*Backend {
	var kept []*Backend
	for _, b := range all {
		if keep(b) {
			kept = append(kept, b)
		}
	}
	return kept
}

// byTier groups backends by tier, lowest first, keeping their order within.
func byTier(all []*Backend) [][]*Backend {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b *Backend) int { return a.spec.Tier - b.spec.Tier })
	var groups [][]*Backend
	for i, b := range sorted {
		if i == 0 || sorted[i-1].spec.Tier != b.spec.Tier {
			groups = append(groups, nil)
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], b)
	}
	return groups
}

// whyNone is the error of a Set in which nobody is usable.
func (p *Pool) whyNone() error {
	for _, b := range p.order {
		if b.target.Load() != nil {
			return ErrNoHealthy
		}
	}
	return ErrEmpty
}

// weights are in hundredths, so that those of a slow start can grow. Whoever has
// grown the most has all of its weight: if all are cold, nobody can spare those
// that are the warmest, but they can spare the others.
func (p *Pool) weights(group []*Backend, now time.Time) []int {
	slowStart := p.spec.SlowStart
	if p.panicking {
		slowStart = 0
	}
	most := 0
	w := make([]int, len(group))
	for i, b := range group {
		w[i] = rampPercent(b.rampFrom, now, slowStart)
		most = max(most, w[i])
	}
	for i, b := range group {
		b.grown = w[i] * 100 / most
		w[i] = p.weight(b) * b.grown
		if p.spec.weighs() {
			w[i] = b.ownWord(w[i])
		}
	}
	return w
}

// weight is the policy's: round_robin does not look at the operator's.
func (p *Pool) weight(b *Backend) int {
	if p.spec.Balance == RoundRobin {
		return 1
	}
	return b.weight()
}

func (p *Pool) newTier(group []*Backend, weights []int) tier {
	t := tier{members: make([]Member, len(group))}
	for i, b := range group {
		t.members[i] = newMember(b, weights[i])
		t.members[i].bounded = p.spec.Balance == ConsistentHash && p.spec.HashBalanceFactor >= 1
	}
	t.picker = p.newPicker(t.members, weights)
	return t
}

func newMember(b *Backend, weight int) Member {
	return Member{
		Backend: b, limit: int64(b.advice.bound(b.spec.MaxRequests)), weight: float64(weight), onTrial: b.halfOpen,
		adaptive: b.load.adaptive.Load(),
	}
}

func (p *Pool) newPicker(members []Member, weights []int) picker {
	switch p.spec.Balance {
	case Random:
		return &random{newAlias(weights)}
	case LeastRequests:
		return &choices{alias: newAlias(weights)}
	case PeakEWMA:
		return &choices{alias: newAlias(weights), latency: true}
	case ConsistentHash:
		return newRing(members, weights, ringUnit(p.order), p.spec.HashBalanceFactor, p.cursors)
	case First:
		return first{}
	}
	s := schedule(reduce(weights)) // first reduced, so that hundredths do not count as huge
	return &turns{s, max(1, uint64(len(s)/len(p.cursors)))}
}
