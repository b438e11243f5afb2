package pool_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"weir/pool"
)

func TestFirst(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, under(pool.First, spec("b<2", "a<3", "c<1")))
	held := hold(t, p, 4)
	if got := fmt.Sprint(busy(p)); got != "[2 2 0]" {
		t.Errorf("four at once: %s, want the Spec's order", got)
	}
	held[0].Done(pool.Success)
	if _, who := take(p); who != "b" {
		t.Errorf("b has room again, and %s is asked", who)
	}
	if got := fmt.Sprint(busy(p)); got != "[2 2 0]" {
		t.Error(got)
	}
}

// used returns how many backends are in use, and the last of them.
func used(p *pool.Pool) (n, last int) {
	for i, busy := range busy(p) {
		if busy > 0 {
			n, last = n+1, i
		}
	}
	return n, last
}

// Of many backends, those in front are full and the others idle; and when load
// falls, the ones at the end become idle, with requests coming and going.
func TestFirstOfMany(t *testing.T) {
	s := many(1000, func(_ int, b *pool.BackendSpec) { b.MaxRequests = 10 })
	p := start(t, pool.Options{Loops: 1}, under(pool.First, s))
	held := hold(t, p, 5000)
	if n, last := used(p); n != 500 || last != 499 {
		t.Errorf("5000 requests are at %d backends, the last is %d; want the first 500", n, last)
	}
	churn := func(load, rounds int) {
		t.Helper()
		for range rounds {
			for len(held) > load {
				i := rand.IntN(len(held))
				held[i].Done(pool.Success)
				held[i] = held[len(held)-1]
				held = held[:len(held)-1]
			}
			held = append(held, hold(t, p, 1)...)
		}
	}
	churn(500, 20_000)
	if n, last := used(p); n > 75 || last > 100 {
		t.Errorf("500 requests are at %d backends, the last is %d; want about the first 50", n, last)
	}
	churn(3000, 20_000)
	if n, last := used(p); n > 345 || last > 400 {
		t.Errorf("3000 requests are at %d backends, the last is %d; want about the first 300", n, last)
	}
	churn(0, 1)
	release(held)
}

// Every place is found, even if the Set shrinks under a loop that was far on.
func TestFirstFillsEverything(t *testing.T) {
	s := many(300, func(_ int, b *pool.BackendSpec) { b.MaxRequests = 2 })
	p := start(t, pool.Options{Loops: 1}, under(pool.First, s))
	release(hold(t, p, 600))
	s.Backends = s.Backends[:100]
	p.Update(s)
	held := hold(t, p, 200)
	if _, who := take(p); who != "full" {
		t.Errorf("all are full, and %s is asked", who)
	}
	release(held)
}
