package pool

import "slices"

// Set is who may get requests at this moment. It is immutable once published;
// everything that a pick needs has been worked out when it was built.
type Set struct {
	tiers []tier // in order of preference; each has members
	none  error  // what Acquire says if there are no tiers
}

// Member is a Backend as one Set sees it.
type Member struct {
	*Backend       // outlives every Set that lists it
	limit    int64 // requests in flight at once; 0: any number
}

// tier is a group of members that share the requests.
type tier struct {
	members  []Member
	schedule []uint32 // one cycle of turns: indices of members
	stride   uint64   // how far apart the loops start in it
}

// buildSet works out the Set from the backends, in the order of Spec. p.mu is
// held. Each step narrows what the one before left; steps that widen or weigh
// (a panic threshold, slow start) belong between the last filter and the tiers.
func (p *Pool) buildSet() *Set {
	usable := filter(p.order, (*Backend).ready)
	usable = filter(usable, (*Backend).serving)
	usable = filter(usable, (*Backend).trusted)
	s := &Set{none: p.whyNone()}
	for _, group := range byTier(usable) {
		s.tiers = append(s.tiers, newTier(group, p.weights(group), len(p.cursors)))
	}
	return s
}

// ready is the operator's axis: state and configuration let it have requests.
func (b *Backend) ready() bool { return b.admin == Ready && b.spec.Weight != NoTraffic }

// serving is the probes' axis, and the name's.
func (b *Backend) serving() bool { return b.verdict == up && b.target.Load() != nil }

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

// weights are the policy's: round_robin does not look at the operator's.
func (p *Pool) weights(group []*Backend) []int {
	w := make([]int, len(group))
	for i, b := range group {
		w[i] = p.weight(b)
	}
	return w
}

func (p *Pool) weight(b *Backend) int {
	if p.spec.Balance == RoundRobin {
		return 1
	}
	return max(1, b.spec.Weight)
}

func newTier(group []*Backend, weights []int, loops int) tier {
	t := tier{members: make([]Member, len(group)), schedule: schedule(weights)}
	for i, b := range group {
		t.members[i] = Member{Backend: b, limit: int64(b.spec.MaxRequests)}
	}
	t.stride = max(1, uint64(len(t.schedule)/loops))
	return t
}
