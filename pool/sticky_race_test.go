package pool_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/pool"
)

func TestStickyDoesNotAllocate(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, sticking(under(pool.ConsistentHash, spec("a", "b", "c"))))
	b := byName(t, p, "b")
	id := []byte(p.StickyID(b))
	n := testing.AllocsPerRun(1000, func() {
		l, _ := p.AcquireSticky(0, id, pool.Tried{})
		if p.StickyID(l.Backend()) != string(id) || !p.Sticks(id) {
			t.Fatal("another backend")
		}
		l.Done(pool.Success)
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// Clients come back while everything changes: nobody meets a backend that is
// another one than its id says, and nothing is left in flight.
func TestStickyInAStorm(t *testing.T) {
	const loops = 2
	p := pool.New("web", pool.Options{Loops: loops})
	defer p.Close()
	change := func(n int) {
		s := passive(sticking(spec("a*5", "b<5", "c^1", "d*-1", "e")))
		rand.Shuffle(len(s.Backends), func(i, j int) { s.Backends[i], s.Backends[j] = s.Backends[j], s.Backends[i] })
		s.Backends = s.Backends[:1+n%5]
		s.Passive.Ejection, s.Passive.HalfOpen = time.Millisecond, n%2 == 0
		p.Update(under(policies[n%len(policies)], s))
	}
	p.Update(sticking(spec("a", "b", "c", "d", "e")))
	all := ids(t, p)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var served atomic.Int64
	for loop := range loops {
		clients.Go(func() {
			var held []pool.Lease
			for i := 0; ; i++ {
				select {
				case <-stop:
					release(held)
					return
				default:
				}
				who := string(rune('a' + i%5))
				if l, _ := p.AcquireSticky(loop, []byte(all[who]), pool.Tried{}); l.Backend() != nil {
					if got := name(l.Backend().Address()); got != who {
						t.Errorf("a client of %s is %s", who, got)
					}
					if id := p.StickyID(l.Backend()); id != "" && id != all[who] {
						t.Errorf("a client of %s gets another id", who)
					}
					held = append(held, l)
					served.Add(1)
				}
				if l, err := p.Acquire(loop, pool.Tried{}); err == nil {
					held = append(held, l)
				}
				for len(held) > 8 {
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
		_ = p.Mark(addr(string(rune('a'+n%5))), pool.Admin(n%3)) // may be unlisted just now
		_ = p.SetWeight(addr(string(rune('a'+n%5))), n%3-1)
		runtime.Gosched()
	}
	close(stop)
	clients.Wait()
	if served.Load() == 0 {
		t.Error("no client has ever met its backend")
	}
	if n := pool.CountedInFlight(p); n != 0 {
		t.Errorf("%d in flight by the loops' own count", n)
	}
	for _, b := range p.Status().Backends {
		if b.InFlight != 0 {
			t.Errorf("%s: %d in flight in the end", b.Address, b.InFlight)
		}
	}
}

// BenchmarkSticky is one request of a client that comes back.
func BenchmarkSticky(b *testing.B) {
	for _, n := range []int{3, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := start(b, pool.Options{Loops: 1}, sticking(many(n, nil)))
			all := make([][]byte, min(n, 1000))
			for i := range all {
				l, err := p.Acquire(0, pool.Tried{})
				if err != nil {
					b.Fatal(err)
				}
				all[i] = []byte(p.StickyID(l.Backend()))
				l.Done(pool.Success)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				l, _ := p.AcquireSticky(0, all[i%len(all)], pool.Tried{})
				l.Observe(time.Millisecond)
				l.Done(pool.Success)
			}
		})
	}
}

// BenchmarkStickySet is a change of a large pool whose clients stick.
func BenchmarkStickySet(b *testing.B) {
	for what, s := range map[string]pool.Spec{"plain": many(10_000, nil), "sticky": sticking(many(10_000, nil))} {
		b.Run(what, func(b *testing.B) {
			p := start(b, pool.Options{Loops: 1}, s)
			for i := 0; b.Loop(); i++ {
				_ = p.SetWeight("127.0.0.1:1000", 1+i%2)
			}
		})
	}
}
