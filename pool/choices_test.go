package pool_test

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/pool"
)

// hold takes n leases at once and returns them.
func hold(t testing.TB, p *pool.Pool, n int) []pool.Lease {
	t.Helper()
	held := make([]pool.Lease, n)
	for i := range held {
		l, err := p.Acquire(0, pool.Tried{})
		if err != nil {
			t.Fatal(err)
		}
		held[i] = l
	}
	return held
}

func release(held []pool.Lease) {
	for i := range held {
		held[i].Done(pool.Success)
	}
}

// busy returns how many requests each backend is working on, in order.
func busy(p *pool.Pool) []int {
	var n []int
	for _, b := range p.Status().Backends {
		n = append(n, b.InFlight)
	}
	return n
}

// Up to eight are all looked at: requests under way are as the weights, exactly.
func TestLeastRequestsOfAFew(t *testing.T) {
	f := func(n int, want []int, words ...string) {
		t.Helper()
		p := start(t, pool.Options{Loops: 1}, under(pool.LeastRequests, spec(words...)))
		defer release(hold(t, p, n))
		for i, got := range busy(p) {
			if got != want[i] {
				t.Errorf("%v with %d requests: %v, want %v", words, n, busy(p), want)
				return
			}
		}
	}
	f(300, []int{100, 100, 100}, "a", "b", "c")
	f(100, []int{50, 30, 20}, "a*5", "b*3", "c*2")
	f(16, []int{2, 2, 2, 2, 2, 2, 2, 2}, "a", "b", "c", "d", "e", "f", "g", "h")
}

// The busy one of two gets nothing until the other is as busy.
func TestLeastRequestsAvoidsTheBusy(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, under(pool.LeastRequests, spec("a", "b")))
	held := hold(t, p, 1)
	defer release(held)
	busyOne := name(held[0].Backend().Address())
	if got := picks(p, 1000); strings.Contains(got, busyOne) {
		t.Errorf("%s is busy and has %d of 1000", busyOne, strings.Count(got, busyOne))
	}
}

// Who is equally busy gets as much: with nothing to do at all, by weight.
func TestLeastRequestsTies(t *testing.T) {
	const n = 30_000
	f := func(held int, want map[string]float64, words ...string) {
		t.Helper()
		p := start(t, pool.Options{Loops: 1}, under(pool.LeastRequests, spec(words...)))
		defer release(hold(t, p, held))
		got := shares(t, p, n)
		for who, share := range want {
			if s := float64(got[addr(who)]) / n; math.Abs(s-share) > 0.02 {
				t.Errorf("%v with %d in flight: %s has %.3f, want %.3f", words, held, who, s, share)
			}
		}
	}
	f(0, map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}, "a", "b", "c")
	f(3, map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}, "a", "b", "c")
	f(0, map[string]float64{"a": .7, "b": .2, "c": .1}, "a*7", "b*2", "c*1")
}

// Of many, two are drawn. What is under way follows the weights, without the
// peaks that chance alone would have; and idle ones share by weight.
func TestLeastRequestsOfMany(t *testing.T) {
	weight := func(i int, b *pool.BackendSpec) { b.Weight = 1 + 2*(i%2) }
	p := start(t, pool.Options{Loops: 1}, under(pool.LeastRequests, many(100, weight)))
	held := hold(t, p, 2000) // 10 for each unit of weight
	for i, got := range busy(p) {
		want := 10 * (1 + 2*(i%2))
		if got > want*3/2 || got < want/4 { // two choices keep the busiest low; who is seldom drawn has less
			t.Errorf("backend %d has %d under way, want about %d", i, got, want)
		}
	}
	release(held)
	heavy := 0
	for address, n := range shares(t, p, 40_000) {
		if strings.HasSuffix(address, "1") || strings.HasSuffix(address, "3") || strings.HasSuffix(address, "5") ||
			strings.HasSuffix(address, "7") || strings.HasSuffix(address, "9") {
			heavy += n
		}
	}
	if share := float64(heavy) / 40_000; math.Abs(share-.75) > .02 {
		t.Errorf("idle: half of the backends with weight 3 have %.3f, want 0.75", share)
	}
}

// serve makes a request that takes as long as its backend is slow.
func serve(t testing.TB, p *pool.Pool, slow map[string]time.Duration) string {
	t.Helper()
	l, who := take(p)
	if l.Backend() == nil {
		t.Fatal(who)
	}
	time.Sleep(slow[who])
	l.Observe(slow[who])
	l.Done(pool.Success)
	return who
}

// One request after another goes to the fastest. The slow ones are measured
// again when their latency has faded to the fast one's: rarely, not never.
func TestPeakEWMAPrefersTheFast(t *testing.T) {
	bubble(t, under(pool.PeakEWMA, spec("a", "b", "c")), func(t *testing.T, p *pool.Pool, _ *journal) {
		slow := map[string]time.Duration{"a": 40 * time.Millisecond, "b": 5 * time.Millisecond, "c": 10 * time.Millisecond}
		got := make(map[string]int)
		for begin := time.Now(); time.Since(begin) < 5*time.Minute; {
			got[serve(t, p, slow)]++
		}
		all := got["a"] + got["b"] + got["c"]
		if got["b"] < all*98/100 {
			t.Errorf("%v, want nearly all for b", got)
		}
		if got["a"] < 5 || got["c"] < 5 {
			t.Errorf("%v: in five minutes each must be measured several times", got)
		}
		slow["b"] = 400 * time.Millisecond // it gets slow: the first such answer counts in full
		serve(t, p, slow)
		before := got["b"]
		for range 100 {
			got[serve(t, p, slow)]++
		}
		if n := got["b"] - before; n > 2 {
			t.Errorf("b is slow now and has %d of 100", n)
		}
	})
}

// With work in flight the product decides: a backend twice as fast has twice
// as many requests, and so has one of twice the weight.
func TestPeakEWMADistribution(t *testing.T) {
	bubble(t, under(pool.PeakEWMA, spec("a*2", "b", "c")), func(t *testing.T, p *pool.Pool, _ *journal) {
		held := hold(t, p, 3) // one each: nobody knows any of them
		for i := range held {
			held[i].Observe(map[string]time.Duration{"a": 10, "b": 10, "c": 5}[name(held[i].Backend().Address())] * time.Millisecond)
		}
		release(held)
		held = hold(t, p, 100)
		defer release(held)
		if got := busy(p); got[0] < 39 || got[0] > 41 || got[1] < 19 || got[1] > 21 {
			t.Errorf("%v, want 40, 20 and 40", got)
		}
	})
}

// A new backend, and one that was idle for long, gets one request, and no second
// one before it has answered.
func TestPeakEWMAMeasuresTheUnknown(t *testing.T) {
	bubble(t, under(pool.PeakEWMA, spec("a", "b")), func(t *testing.T, p *pool.Pool, _ *journal) {
		slow := map[string]time.Duration{"a": time.Millisecond, "b": time.Millisecond}
		for range 100 {
			serve(t, p, slow)
		}
		p.Update(under(pool.PeakEWMA, spec("a", "b", "c")))
		l, who := take(p)
		if who != "c" {
			t.Errorf("%s is asked, want c, which is new", who)
		}
		held := hold(t, p, 50)
		if n := l.Backend().InFlight(); n != 1 {
			t.Errorf("%d requests at a backend that has not answered its first", n)
		}
		release(held)
		l.Observe(time.Millisecond)
		l.Done(pool.Success)
		defer release(hold(t, p, 30))
		if n := l.Backend().InFlight(); n < 8 {
			t.Errorf("%d of 30 at the one that is known now", n)
		}
	})
}

// To fail quickly is not to be fast.
func TestPeakEWMAFailures(t *testing.T) {
	bubble(t, under(pool.PeakEWMA, spec("a", "b")), func(t *testing.T, p *pool.Pool, _ *journal) {
		failed := 0
		for range 1000 {
			l, who := take(p)
			if who == "a" {
				failed++
				l.Done(pool.ConnectRefused)
				continue
			}
			time.Sleep(5 * time.Millisecond)
			l.Observe(5 * time.Millisecond)
			l.Done(pool.Success)
		}
		if failed > 3 {
			t.Errorf("a backend that refuses has %d of 1000 requests", failed)
		}
	})
}

// Of many, too, the slow ones are avoided.
func TestPeakEWMAOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool.NewSteady("web", pool.Options{Loops: 1}, 0.5)
		defer p.Close()
		p.Update(under(pool.PeakEWMA, many(40, nil)))
		slow := 0
		for range 20_000 {
			l, err := p.Acquire(0, pool.Tried{})
			if err != nil {
				t.Fatal(err)
			}
			d := time.Millisecond
			if strings.HasSuffix(l.Backend().Address(), "0") { // four of them
				slow++
				d = 50 * time.Millisecond
			}
			l.Observe(d)
			l.Done(pool.Success)
			time.Sleep(time.Millisecond)
		}
		if slow == 0 || slow > 800 { // one in ten by chance: 2000
			t.Errorf("slow ones have %d of 20,000 requests, want less than half of their part, but some", slow)
		}
	})
}
