package pool

import (
	"math"
	"slices"
)

const (
	maxTurns   = 1 << 16 // longest schedule, unless there are more members than that
	smoothWork = 1 << 20 // members × turns up to which the exact algorithm is cheap enough
)

// schedule lays out one cycle of smooth weighted round robin: member i gets
// weights[i] turns (all divided by what they have in common), spread as evenly
// as they go. Weights are 1 or more. Where the cycle would be longer than
// maxTurns weights are rounded; no member's share moves by more than 1 %.
func schedule(weights []int) []uint32 {
	w := reduce(fit(weights, max(maxTurns, 8*len(weights))))
	turns := 0
	for _, x := range w {
		turns += x
	}
	if turns == len(w) { // all the same
		s := make([]uint32, turns)
		for i := range s {
			s[i] = uint32(i)
		}
		return s
	}
	if turns <= smoothWork/len(w) {
		return smooth(w, turns)
	}
	return spread(w, turns)
}

// fit scales weights down until their sum is about limit.
func fit(weights []int, limit int) []int {
	sum := 0.0
	for _, w := range weights {
		sum += float64(w)
	}
	if sum <= float64(limit) {
		return weights
	}
	fitted := make([]int, len(weights))
	for i, w := range weights {
		fitted[i] = max(1, int(math.Round(float64(w)*float64(limit)/sum)))
	}
	return fitted
}

// reduce divides weights by their greatest common divisor.
func reduce(weights []int) []int {
	d := 0
	for _, w := range weights {
		for w != 0 {
			d, w = w, d%w
		}
	}
	reduced := slices.Clone(weights)
	for i := range reduced {
		reduced[i] /= d
	}
	return reduced
}

// smooth is nginx's algorithm: in each turn everybody gains their weight, the
// richest one takes the turn and pays for it with the sum.
func smooth(w []int, turns int) []uint32 {
	s := make([]uint32, turns)
	credit := make([]int, len(w))
	for t := range s {
		best := 0
		for i, x := range w {
			credit[i] += x
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= turns
		s[t] = uint32(best)
	}
	return s
}

// spread makes the same number of turns as smooth in time linear in turns:
// each member's are equally far apart, and members start at phases that do not
// clump (multiples of the golden ratio). A turn's place is found by counting sort.
func spread(w []int, turns int) []uint32 {
	ends := make([]uint32, turns+1)
	places(w, turns, func(_, at int) { ends[at+1]++ })
	for i := range turns {
		ends[i+1] += ends[i]
	}
	s := make([]uint32, turns)
	places(w, turns, func(i, at int) {
		s[ends[at]] = uint32(i)
		ends[at]++
	})
	return s
}

// places calls f for each turn of each member with where in the cycle it would
// like to be; several may want the same place.
func places(w []int, turns int, f func(member, at int)) {
	for i, x := range w {
		_, phase := math.Modf(float64(i) * math.Phi)
		step := float64(turns) / float64(x)
		for k := range x {
			f(i, min(turns-1, int((float64(k)+phase)*step)))
		}
	}
}
