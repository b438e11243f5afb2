package pool_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/pool"
)

// policies are those that promise what all policies promise.
var policies = []string{
	pool.WeightedRoundRobin, pool.RoundRobin, pool.Random, pool.LeastRequests, pool.PeakEWMA,
	pool.ConsistentHash, pool.First,
}

// under returns the spec with another policy.
func under(balance string, s pool.Spec) pool.Spec {
	s.Balance = balance
	if balance == pool.ConsistentHash {
		s.HashBalanceFactor = 1.25
	}
	return s
}

// many is a spec of n backends, the i-th as f says.
func many(n int, f func(i int, b *pool.BackendSpec)) pool.Spec {
	var s pool.Spec
	for i := range n {
		b := pool.BackendSpec{Address: fmt.Sprintf("127.0.0.1:%d", 1000+i)}
		if f != nil {
			f(i, &b)
		}
		s.Backends = append(s.Backends, b)
	}
	return s
}

// shares makes n requests, one after another, and returns how many each got.
func shares(t testing.TB, p *pool.Pool, n int) map[string]int {
	t.Helper()
	got := make(map[string]int)
	for range n {
		l, err := p.Acquire(0, pool.Tried{})
		if err != nil {
			t.Fatal(err)
		}
		got[l.Backend().Address()]++
		l.Done(pool.Success)
	}
	return got
}

// Each policy goes past what was tried and what is full, says which of the two
// it is when nobody is left, and gets back what becomes free.
func TestEveryPolicyKeepsTheRules(t *testing.T) {
	for _, balance := range policies {
		p := start(t, pool.Options{Loops: 1}, under(balance, spec("a<1", "b<1", "c<1")))
		var held []pool.Lease
		var tried pool.Tried
		seen := ""
		for range 3 {
			l, who := take(p)
			held = append(held, l)
			tried.Add(l.Backend())
			seen += who
		}
		if !strings.Contains(seen, "a") || !strings.Contains(seen, "b") || !strings.Contains(seen, "c") {
			t.Errorf("%s: three requests at once went to %s", balance, seen)
		}
		if _, who := take(p); who != "full" {
			t.Errorf("%s: all are full, and a fourth got %s", balance, who)
		}
		if _, err := p.Acquire(0, tried); err != pool.ErrNoHealthy {
			t.Errorf("%s: all were tried: %v", balance, err)
		}
		for i := range held {
			held[i].Done(pool.Success)
		}
		a := held[0].Backend()
		for range 50 {
			l, who := take(p, a)
			if l.Backend() == nil || l.Backend() == a {
				t.Fatalf("%s: %s was tried, picked %s", balance, name(a.Address()), who)
			}
			l.Done(pool.Success)
		}
	}
}

// Two hundred requests find two hundred places, though one backend is far
// heavier than the others; and the one place that becomes free is found again.
func TestEveryPolicyFindsRoom(t *testing.T) {
	for _, balance := range policies {
		s := many(200, func(i int, b *pool.BackendSpec) {
			if b.MaxRequests = 1; i == 0 {
				b.Weight = 60_000
			}
		})
		p := start(t, pool.Options{Loops: 1}, under(balance, s))
		var held []pool.Lease
		for i := range s.Backends {
			l, err := p.Acquire(0, pool.Tried{})
			if err != nil {
				t.Fatalf("%s: request %d of 200 at once: %v", balance, i, err)
			}
			held = append(held, l)
		}
		held[77].Done(pool.Success)
		l, err := p.Acquire(0, pool.Tried{})
		if err != nil || l.Backend() != held[77].Backend() {
			t.Errorf("%s: one of 200 has room, and is not found: %v", balance, err)
		}
	}
}

// In the long run everybody's share is their weight's, give or take four
// standard deviations.
func TestRandomDistribution(t *testing.T) {
	const n = 200_000
	f := func(s pool.Spec) {
		t.Helper()
		p := start(t, pool.Options{Loops: 1}, under(pool.Random, s))
		got := shares(t, p, n)
		sum := 0
		for _, b := range s.Backends {
			sum += max(1, b.Weight)
		}
		for _, b := range s.Backends {
			share := float64(max(1, b.Weight)) / float64(sum)
			want, sigma := n*share, math.Sqrt(n*share*(1-share))
			if d := math.Abs(float64(got[b.Address]) - want); d > 4.5*sigma+1 {
				t.Errorf("%d backends, weight %d: %d requests, want %.0f", len(s.Backends), b.Weight, got[b.Address], want)
			}
		}
	}
	f(spec("a"))
	f(spec("a", "b", "c"))
	f(spec("a*5", "b*3", "c*2"))
	f(spec("a*1000", "b", "c*10"))
	f(many(100, func(i int, b *pool.BackendSpec) { b.Weight = 1 + i%7 }))
}

// Whom a random request cannot have is replaced by weight, not by neighbourhood.
func TestRandomPastAHeavyOne(t *testing.T) {
	const n = 20_000
	p := start(t, pool.Options{Loops: 1}, under(pool.Random, spec("a*1000", "b*3", "c*1")))
	var a *pool.Backend
	for a == nil {
		l, who := take(p)
		if who == "a" {
			a = l.Backend()
		}
		l.Done(pool.Success)
	}
	b := 0
	for range n {
		l, who := take(p, a)
		if who == "b" {
			b++
		}
		l.Done(pool.Success)
	}
	if got := float64(b) / n; math.Abs(got-0.75) > 0.02 {
		t.Errorf("b has %.3f of what a could not have, want 0.75", got)
	}
}

// No policy allocates, whatever comes in its way.
func TestNoPolicyAllocates(t *testing.T) {
	for _, balance := range policies {
		for what, s := range map[string]pool.Spec{
			"three":   spec("a*5", "b", "c"),
			"limits":  spec("a<5", "b<5", "c<5"),
			"tiers":   spec("a", "b^1"),
			"heavy":   spec("a*60000", "b"),
			"hundred": many(100, nil),
			"adapt":   adaptive(spec("a<5", "b", "c")),
		} {
			p := start(t, pool.Options{Loops: 2}, under(balance, s))
			l, _ := p.AcquireKey(0, 7, pool.Tried{})
			avoid := l.Backend()
			key := uint64(0)
			n := testing.AllocsPerRun(1000, func() {
				key++
				l, err := p.AcquireKey(1, key, pool.Tried{})
				if err != nil {
					t.Fatal(err)
				}
				l.Observe(time.Millisecond)
				l.Done(pool.ConnectRefused)
				var tried pool.Tried
				tried.Add(avoid)
				if l, err = p.Acquire(1, tried); err == nil {
					l.Observe(time.Millisecond)
					l.Done(pool.Success)
				}
			})
			if n != 0 {
				t.Errorf("%s, %s: %v allocations, want 0", balance, what, n)
			}
		}
	}
}

// Backends come, go, fail, return and ramp while four loops hold leases, under
// one policy after another: nothing is left in flight in the end.
func TestPoliciesInAStorm(t *testing.T) {
	const loops = 4
	p := pool.New("web", pool.Options{Loops: loops})
	defer p.Close()
	change := func(n int) {
		s := passive(many(12, func(i int, b *pool.BackendSpec) {
			b.Weight, b.Tier, b.MaxRequests = 1+i%3, i/8, []int{0, 2, 50}[i%3]
		}))
		rand.Shuffle(len(s.Backends), func(i, j int) { s.Backends[i], s.Backends[j] = s.Backends[j], s.Backends[i] })
		s.Backends = s.Backends[:1+rand.IntN(12)]
		s.Passive.Ejection, s.Passive.MaxEjection = time.Millisecond, 3*time.Millisecond
		s.Passive.HalfOpen = n%3 != 0
		s.PanicThreshold = 50 * (n % 2)
		s.SlowStart = time.Duration(n%2) * 5 * time.Millisecond
		p.Update(under(policies[n%len(policies)], s))
	}
	change(0)
	seen := make([]map[*pool.Backend]bool, loops)
	stop := make(chan struct{})
	var requests sync.WaitGroup
	for loop := range loops {
		seen[loop] = make(map[*pool.Backend]bool)
		requests.Go(func() {
			var held []pool.Lease
			for i := 0; ; i++ {
				select {
				case <-stop:
					for i := range held {
						held[i].Done(pool.Success)
					}
					return
				default:
				}
				var tried pool.Tried
				if len(held) > 0 && i%3 == 0 {
					tried.Add(held[0].Backend())
				}
				if l, err := p.AcquireKey(loop, rand.Uint64(), tried); err == nil {
					seen[loop][l.Backend()] = true
					held = append(held, l)
				}
				if len(held) > rand.IntN(16) {
					if i%2 == 0 {
						held[0].Observe(time.Duration(rand.IntN(1e6)))
					}
					held[0].Done(pool.Outcome(rand.IntN(int(pool.ClientClosed) + 1)))
					held = held[1:]
				}
				if i%64 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	for n := range 300 {
		change(n)
		_ = p.SetWeight(fmt.Sprintf("127.0.0.1:%d", 1000+n%12), n%5-1) // may be unlisted just now
		_ = p.Mark(fmt.Sprintf("127.0.0.1:%d", 1000+n%7), pool.Admin(n%3))
		p.Status()
		runtime.Gosched()
	}
	close(stop)
	requests.Wait()
	total := 0
	for _, backends := range seen {
		for b := range backends {
			if total++; b.InFlight() != 0 {
				t.Errorf("%s: %d in flight in the end", b.Address(), b.InFlight())
			}
		}
	}
	if total == 0 {
		t.Error("nothing was served")
	}
	if n := pool.CountedInFlight(p); n != 0 {
		t.Errorf("%d in flight by the loops' own count", n)
	}
}

// BenchmarkPolicies is one request, in a pool where a third of the backends
// has something to do; docs/balancing.md has its results.
func BenchmarkPolicies(b *testing.B) {
	for _, balance := range policies {
		for _, n := range []int{3, 100, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", balance, n), func(b *testing.B) {
				s := many(n, func(i int, b *pool.BackendSpec) { b.Weight, b.MaxRequests = 1+i%3, 4 })
				p := start(b, pool.Options{Loops: 1}, under(balance, s))
				for range n / 3 * 4 {
					l, err := p.AcquireKey(0, rand.Uint64(), pool.Tried{})
					if err != nil {
						b.Fatal(err)
					}
					l.Observe(time.Duration(1 + rand.IntN(1e6)))
				}
				key := uint64(0)
				b.ReportAllocs()
				for b.Loop() {
					key++
					l, _ := p.AcquireKey(0, key, pool.Tried{})
					l.Observe(time.Millisecond)
					l.Done(pool.Success)
				}
			})
		}
	}
}
