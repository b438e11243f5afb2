package pool_test

import (
	"math"
	"testing"

	"weir/pool"
)

// owners returns whom each of the keys 0 to n-1 goes to, one after another.
func owners(t testing.TB, p *pool.Pool, n int, tried ...*pool.Backend) []string {
	t.Helper()
	var list pool.Tried
	for _, b := range tried {
		list.Add(b)
	}
	all := make([]string, n)
	for key := range all {
		l, err := p.AcquireKey(0, uint64(key), list)
		if err != nil {
			t.Fatal(err)
		}
		all[key] = l.Backend().Address()
		l.Done(pool.Success)
	}
	return all
}

func moved(before, after []string) int {
	n := 0
	for i := range before {
		if before[i] != after[i] {
			n++
		}
	}
	return n
}

// Keys are shared by weight; small numbers as keys are as good as any.
func TestHashDistribution(t *testing.T) {
	const keys = 100_000
	f := func(within float64, s pool.Spec) {
		t.Helper()
		p := start(t, pool.Options{Loops: 1}, under(pool.ConsistentHash, s))
		got := make(map[string]int)
		for _, who := range owners(t, p, keys) {
			got[who]++
		}
		sum := 0
		for _, b := range s.Backends {
			sum += max(1, b.Weight)
		}
		for _, b := range s.Backends {
			want := keys * float64(max(1, b.Weight)) / float64(sum)
			if d := float64(got[b.Address])/want - 1; math.Abs(d) > within {
				t.Errorf("%d backends, weight %d: %+.0f %% off its share", len(s.Backends), b.Weight, 100*d)
			}
		}
	}
	f(0, spec("a"))
	f(.15, spec("a", "b"))
	f(.15, spec("a", "b", "c"))
	f(.15, spec("a*5", "b*3", "c*2"))
	f(.15, spec("a*65535", "b*65535", "c*32768"))
	f(.25, many(100, nil))
	f(.25, many(100, func(i int, b *pool.BackendSpec) { b.Weight = 1 + i%3 }))
}

// When one of n leaves, its keys move and no others, and they are at most
// 1.25/n of all. When it comes back, all is as before.
func TestHashMovesFewKeys(t *testing.T) {
	const keys = 200_000
	for _, n := range []int{2, 3, 10, 100, 1000} {
		s := under(pool.ConsistentHash, many(n, nil))
		p := start(t, pool.Options{Loops: 1}, s)
		before := owners(t, p, keys)
		for _, gone := range []int{0, n / 2, n - 1} {
			leaver := s.Backends[gone].Address
			if err := p.Mark(leaver, pool.Drain); err != nil {
				t.Fatal(err)
			}
			after := owners(t, p, keys)
			m := moved(before, after)
			if limit := 1.25 * keys / float64(n); float64(m) > limit || m == 0 {
				t.Errorf("one of %d left: %d of %d keys moved, want %.0f at most", n, m, keys, limit)
			}
			for key, who := range before {
				if who != leaver && after[key] != who {
					t.Fatalf("one of %d left: key %d moved from %s to %s, which both stayed", n, key, who, after[key])
				}
			}
			if err := p.Mark(leaver, pool.Ready); err != nil {
				t.Fatal(err)
			}
		}
		if m := moved(before, owners(t, p, keys)); m != 0 {
			t.Errorf("all are back and %d keys are elsewhere", m)
		}
	}
}

// Whose a key is depends neither on the order of the Spec nor on the process.
func TestHashDependsOnAddressesOnly(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, under(pool.ConsistentHash, spec("a", "b", "c")))
	before := owners(t, p, 1000)
	q := start(t, pool.Options{Loops: 1}, under(pool.ConsistentHash, spec("c", "a", "b")))
	if m := moved(before, owners(t, q, 1000)); m != 0 {
		t.Errorf("in another order %d of 1000 keys are elsewhere", m)
	}
	got := ""
	for _, address := range before[:20] {
		got += name(address)
	}
	if want := "cbacaacacbbccabbacaa"; got != want {
		t.Errorf("the first 20 keys are %s's, want %s's as ever", got, want)
	}
}

// A key whose backend was tried goes where it would go if that one were gone:
// the next is as fixed as the first.
func TestHashNextIsFixed(t *testing.T) {
	s := under(pool.ConsistentHash, spec("a", "b", "c", "d", "e"))
	p := start(t, pool.Options{Loops: 1}, s)
	var a *pool.Backend
	for key := uint64(0); a == nil; key++ {
		l, err := p.AcquireKey(0, key, pool.Tried{})
		if err != nil {
			t.Fatal(err)
		}
		if name(l.Backend().Address()) == "a" {
			a = l.Backend()
		}
		l.Done(pool.Success)
	}
	tried := owners(t, p, 5000, a)
	if err := p.Mark(addr("a"), pool.Drain); err != nil {
		t.Fatal(err)
	}
	if m := moved(tried, owners(t, p, 5000)); m != 0 {
		t.Errorf("%d of 5000 keys go elsewhere when a was tried than when it is gone", m)
	}
}

// However hot one key is, no backend has more than 1.25 of its share, rounded
// up; without the bound it has all.
func TestHashBound(t *testing.T) {
	const n = 200
	f := func(factor float64, words []string, want []int) {
		t.Helper()
		s := under(pool.ConsistentHash, spec(words...))
		s.HashBalanceFactor = factor
		p := start(t, pool.Options{Loops: 1}, s)
		var held []pool.Lease
		for range n {
			l, err := p.AcquireKey(0, 42, pool.Tried{})
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, l)
		}
		got := busy(p)
		for i, limit := range want {
			if got[i] > limit {
				t.Errorf("factor %v, %v: %v, want %v at most", factor, words, got, want)
			}
		}
		release(held)
		if n := pool.CountedInFlight(p); n != 0 {
			t.Errorf("%d are left in the loops' count", n)
		}
	}
	f(1.25, []string{"a", "b", "c", "d"}, []int{63, 63, 63, 63})
	f(1.25, []string{"a*2", "b", "c"}, []int{125, 63, 63})
	f(2, []string{"a", "b", "c", "d"}, []int{100, 100, 100, 100})
	f(1, []string{"a", "b", "c", "d"}, []int{50, 50, 50, 50})

	s := under(pool.ConsistentHash, spec("a", "b", "c", "d"))
	s.HashBalanceFactor = 0
	p := start(t, pool.Options{Loops: 1}, s)
	var held []pool.Lease
	for range n {
		l, _ := p.AcquireKey(0, 42, pool.Tried{})
		held = append(held, l)
	}
	defer release(held)
	if got := held[0].Backend().InFlight(); got != n {
		t.Errorf("without a bound %d of %d requests with one key are at its backend", got, n)
	}
}

// The bound counts what all loops do.
func TestHashBoundOverLoops(t *testing.T) {
	const loops, n = 4, 400
	p := start(t, pool.Options{Loops: loops}, under(pool.ConsistentHash, many(20, nil)))
	var held []pool.Lease
	defer func() { release(held) }()
	for i := range n {
		l, err := p.AcquireKey(i%loops, 42, pool.Tried{})
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
	}
	for _, got := range busy(p) {
		if got > 25 { // of 400 in flight, 20 each, times 1.25
			t.Errorf("%v, want 25 at most", busy(p))
			break
		}
	}
}

// Without a key requests are spread.
func TestHashWithoutAKey(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, under(pool.ConsistentHash, spec("a", "b", "c")))
	for who, n := range shares(t, p, 9000) {
		if n < 2200 || n > 3800 {
			t.Errorf("%s has %d of 9000", name(who), n)
		}
	}
}
