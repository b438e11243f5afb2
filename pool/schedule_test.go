package pool_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"weir/pool"
)

// longestRun is the most turns in a row that one member gets, round the end of
// the cycle too.
func longestRun(s []uint32) int {
	run, longest := 0, 0
	for i := range 2 * len(s) {
		if i > 0 && s[i%len(s)] == s[(i-1)%len(s)] {
			run++
		} else {
			run = 1
		}
		longest = max(longest, min(run, len(s)))
	}
	return longest
}

func turns(s []uint32, members int) []int {
	n := make([]int, members)
	for _, m := range s {
		n[m]++
	}
	return n
}

func TestSchedule(t *testing.T) {
	f := func(weights []int, want ...uint32) {
		t.Helper()
		if got := pool.Schedule(weights); !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", weights, got, want)
		}
	}

	// nginx's own example
	f([]int{5, 1, 1}, 0, 0, 1, 0, 2, 0, 0)

	// equal weights take turns, however they are written
	f([]int{1, 1, 1}, 0, 1, 2)
	f([]int{70, 70, 70}, 0, 1, 2)
	f([]int{9}, 0)

	// what weights have in common does not make the cycle longer
	f([]int{300, 200, 100}, 0, 1, 0, 2, 1, 0)
}

func TestScheduleHasNoLongRuns(t *testing.T) {
	f := func(want int, weights ...int) {
		t.Helper()
		if got := longestRun(pool.Schedule(weights)); got > want {
			t.Errorf("%v: %d in a row, want %d at most", weights, got, want)
		}
	}
	f(4, 5, 1, 1)
	f(2, 5, 3, 2)
	f(2, 2, 1, 1)
	f(1, 50, 50, 1)
	f(10, 100, 10, 1)
}

// However many members and however odd the weights: everybody has exactly the
// turns of their weight, and they are spread over the cycle.
func TestScheduleIsExactAndEven(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{2, 3, 10, 99, 1000, 5000} {
		weights := make([]int, n)
		sum := 0
		for i := range weights {
			weights[i] = 1 + rnd.IntN(12)
			sum += weights[i]
		}
		weights[0], sum = 1, sum-weights[0]+1 // nothing in common
		s := pool.Schedule(weights)
		if got := turns(s, n); !slices.Equal(got, weights) {
			t.Fatalf("%d members: turns differ from weights", n)
		}
		last := make([]int, n)
		for i := range last {
			last[i] = -1
		}
		for i := range 2 * len(s) {
			m := s[i%len(s)]
			if gap := i - last[m]; last[m] >= 0 && gap > 3*sum/weights[m]+3 {
				t.Fatalf("%d members: one of weight %d waits %d turns of %d", n, weights[m], gap, sum)
			}
			last[m] = i
		}
	}
}

// One heavy among thousands of light ones must not get its turns in one block.
func TestScheduleHeavyAmongMany(t *testing.T) {
	weights := make([]int, 9000)
	for i := range weights {
		weights[i] = 1
	}
	weights[0] = 1000
	s := pool.Schedule(weights)
	if got := turns(s, len(weights)); !slices.Equal(got, weights) {
		t.Error("turns differ from weights")
	}
	if got := longestRun(s); got > 2 {
		t.Errorf("%d in a row, want 2 at most", got)
	}
}

func TestScheduleBoundsHugeWeights(t *testing.T) {
	f := func(weights ...int) {
		t.Helper()
		s := pool.Schedule(weights)
		if len(s) > 1<<16+len(weights) {
			t.Errorf("%v: %d turns", weights, len(s))
		}
		sum := 0.0
		for _, w := range weights {
			sum += float64(w)
		}
		for i, n := range turns(s, len(weights)) {
			got, want := float64(n)/float64(len(s)), float64(weights[i])/sum
			if math.Abs(got-want) > 0.01 || n == 0 {
				t.Errorf("%v: member %d has a share of %.4f, want %.4f and a turn at least", weights, i, got, want)
			}
		}
	}
	f(1_000_003, 999_983, 1)
	f(math.MaxInt32, 1)
	f(math.MaxInt64/2, math.MaxInt64/3, 7)
	f(65535, 65534, 65533)
	f(1<<40, 1<<39, 1<<38+1)
}

func BenchmarkSchedule10000(b *testing.B) {
	weights := make([]int, 10_000)
	for i := range weights {
		weights[i] = 1 + i%7
	}
	for b.Loop() {
		pool.Schedule(weights)
	}
}
