package pool_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/metrics"
	"weir/pool"
)

// adaptive lets limits follow latency.
func adaptive(s pool.Spec) pool.Spec {
	s.AdaptiveConcurrency = true
	return s
}

// clients ask the pool's only backend, which has so many workers and takes so
// long, as often as they can, for d of virtual time. It returns the most that
// were in flight in the second half of that.
func clients(p *pool.Pool, n, workers int, takes, d time.Duration) (most int) {
	var all sync.WaitGroup
	var mu sync.Mutex
	worker := make(chan bool, workers)
	start := time.Now()
	for range n {
		all.Go(func() {
			for time.Since(start) < d {
				mu.Lock() // one goroutine at a time acquires for a loop
				l, err := p.Acquire(0, pool.Tried{})
				mu.Unlock()
				if err != nil {
					time.Sleep(takes)
					continue
				}
				came := time.Now()
				mu.Lock()
				if time.Since(start) > d/2 {
					most = max(most, l.Backend().InFlight())
				}
				mu.Unlock()
				worker <- true
				time.Sleep(takes)
				<-worker
				l.Observe(time.Since(came))
				l.Done(pool.Success)
			}
		})
	}
	all.Wait()
	return most
}

// limitOf is what the first backend's limit is.
func limitOf(p *pool.Pool) int { return p.Status().Backends[0].ConcurrencyLimit }

// A hundred clients at a backend with eight workers: the limit is a little above
// eight, it holds, and it is kept across changes for as long as it is wanted.
func TestAdaptiveConcurrency(t *testing.T) {
	bubble(t, adaptive(spec("a")), func(t *testing.T, p *pool.Pool, j *journal) {
		if n := limitOf(p); n != 16 {
			t.Errorf("a new backend may have %d requests at once, want 16", n)
		}
		clients(p, 100, 8, 10*time.Millisecond, 10*time.Second)
		most := clients(p, 100, 8, 10*time.Millisecond, 10*time.Second)
		n := limitOf(p)
		if n < 4 || n > 30 || most > 50 || most < 8 { // it may be in the middle of a dip
			t.Errorf("the limit is %d and %d were in flight, want about 16", n, most)
		}
		p.Update(adaptive(spec("a", "b")))
		if got := limitOf(p); got != n {
			t.Errorf("an update made %d of the limit %d", got, n)
		}
		p.Update(adaptive(spec("a<5")))
		if got := limitOf(p); got != 5 {
			t.Errorf("the limit is %d, want max_requests, 5", got)
		}
		if most := clients(p, 20, 100, 10*time.Millisecond, 5*time.Second); most != 5 {
			t.Errorf("%d are in flight, want 5", most)
		}
		p.Update(spec("a"))
		if got := limitOf(p); got != 0 {
			t.Errorf("the limit is %d after it was switched off", got)
		}
		if most := clients(p, 100, 100, 10*time.Millisecond, time.Second); most != 100 {
			t.Errorf("%d are in flight, want 100", most)
		}
		p.Update(adaptive(spec("a")))
		if got := limitOf(p); got != 16 {
			t.Errorf("switched on again it begins with %d, want 16", got)
		}
	})
}

// While nobody asks for anything nobody looks.
func TestAdaptiveConcurrencyIdle(t *testing.T) {
	bubble(t, adaptive(spec("a")), func(t *testing.T, p *pool.Pool, j *journal) {
		for range 3 {
			clients(p, 10, 2, 10*time.Millisecond, time.Second)
			if !pool.Watching(p) {
				t.Error("nobody looks at the limits of a busy pool")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if pool.Watching(p) {
				t.Error("somebody looks at the limits of a pool that was idle for a minute")
			}
		}
	})
}

// A backend that fails as one does that has too much to do is asked less.
func TestAdaptiveConcurrencyAfterFailures(t *testing.T) {
	f := func(o pool.Outcome, shrinks bool) {
		t.Helper()
		bubble(t, adaptive(spec("a")), func(t *testing.T, p *pool.Pool, j *journal) {
			for range 100 {
				var held []pool.Lease
				for range 16 {
					if l, who := take(p); who == "a" {
						held = append(held, l)
					}
				}
				time.Sleep(20 * time.Millisecond)
				for i := range held {
					held[i].Done(o)
				}
			}
			if n := limitOf(p); n == 1 != shrinks || !shrinks && n != 16 {
				t.Errorf("%v, and the limit is %d", o, n)
			}
		})
	}
	f(pool.Reset, true)
	f(pool.ResponseTimeout, true)
	f(pool.ConnectTimeout, true)
	f(pool.BadStatus, true)
	// these have other reasons
	f(pool.ConnectRefused, false)
	f(pool.BadResponse, false)
	f(pool.Stale, false)
	f(pool.ClientClosed, false)
}

// A limit that adapts costs little more than one that does not.
func BenchmarkAdaptive(b *testing.B) {
	for what, s := range map[string]pool.Spec{"off": spec("a", "b", "c"), "on": adaptive(spec("a", "b", "c"))} {
		b.Run(what, func(b *testing.B) {
			p := start(b, pool.Options{Loops: 1}, s)
			b.ReportAllocs()
			for b.Loop() {
				l, _ := p.Acquire(0, pool.Tried{})
				l.Observe(time.Millisecond)
				l.Done(pool.Success)
			}
		})
	}
}

// The metric is there where a limit adapts.
func TestAdaptiveConcurrencyMetric(t *testing.T) {
	r := metrics.New(1)
	p := start(t, pool.Options{Loops: 1, Metrics: r}, adaptive(spec("a<5", "b")))
	r.Prometheus().MustRegister(pool.NewCollector(func() []*pool.Pool { return []*pool.Pool{p} }))
	got := gather(t, r.Prometheus())
	if a, b := got["weir_backend_concurrency_limit a"], got["weir_backend_concurrency_limit b"]; a != 5 || b != 16 {
		t.Errorf("the limits are %v and %v, want 5 and 16", a, b)
	}
	p.Update(spec("a", "b"))
	if n, ok := gather(t, r.Prometheus())["weir_backend_concurrency_limit a"]; ok {
		t.Errorf("the limit is shown as %v where there is none", n)
	}
}
