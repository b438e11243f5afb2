package health_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"weir/health"
)

func TestQueue(t *testing.T) {
	for n := range 100 {
		var q health.Queue
		var want []int64
		stop := rand.Float64()
		for range n {
			at, stopped := rand.Int64N(50), rand.Float64() < stop
			q.Push(at, stopped)
			if !stopped {
				want = append(want, at)
			}
		}
		q.Sweep()
		if n%2 == 0 && len(want) > 0 { // some go and come between
			slices.Sort(want)
			want = append(want[1:], 7)
			q.Pop()
			q.Push(7, false)
		}
		slices.Sort(want)
		var got []int64
		for q.Len() > 0 {
			got = append(got, q.Pop())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}
