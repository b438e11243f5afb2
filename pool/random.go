package pool

import (
	"math"
	"math/rand/v2"
)

// drawTries is how often a policy draws again when whom it drew cannot be had,
// before it looks at everybody.
const drawTries = 8

// alias draws members by weight in constant time (Vose's method): each slot
// belongs to one member up to its mark, and to another one above it.
type alias []slot

type slot struct{ mark, other uint32 }

// newAlias takes the weights of the members, each 1 or more.
func newAlias(weights []int) alias {
	sum := 0.0
	for _, w := range weights {
		sum += float64(w)
	}
	a := make(alias, len(weights))
	left := make([]float64, len(weights)) // of a slot's room, 1 being all of it
	var small, large []uint32
	for i, w := range weights {
		left[i] = float64(w) * float64(len(weights)) / sum
		a[i] = slot{mark: math.MaxUint32, other: uint32(i)}
		if left[i] < 1 {
			small = append(small, uint32(i))
		} else {
			large = append(large, uint32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a[s] = slot{mark: uint32(left[s] * math.MaxUint32), other: l}
		if left[l] -= 1 - left[s]; left[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	return a
}

// draw returns the index of a member.
func (a alias) draw() int {
	r := rand.Uint64()
	i := r >> 32 * uint64(len(a)) >> 32
	if s := a[i]; uint32(r) > s.mark {
		return int(s.other)
	}
	return int(i)
}

// random is the policy of that name.
type random struct{ alias alias }

func (r *random) pick(members []Member, c *cursor) (Lease, bool) {
	for range drawTries {
		m := &members[r.alias.draw()]
		if !m.open(c) {
			continue
		}
		if l, ok := m.take(); ok {
			return l, false
		}
	}
	if m := byWeight(members, c); m != nil {
		if l, ok := m.take(); ok {
			return l, false
		}
	}
	return anyOf(members, rand.IntN(len(members)), c)
}

// byWeight draws among those that can be had, looking at everybody; nil if
// there are none.
func byWeight(members []Member, c *cursor) *Member {
	var drawn *Member
	sum := 0.0
	for i := range members {
		m := &members[i]
		if !m.open(c) || m.full() {
			continue
		}
		sum += m.weight
		if rand.Float64()*sum < m.weight {
			drawn = m
		}
	}
	return drawn
}
