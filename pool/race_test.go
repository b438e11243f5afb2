package pool_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/health"
	"weir/internal/metrics"
	"weir/pool"
)

// Requests on four loops while everything about the pool changes: whatever
// happens, each lease ends where it began and nothing is left in flight.
func TestEverythingAtOnce(t *testing.T) {
	const loops = 4
	r := metrics.New(loops)
	c := &clinic{}
	p := pool.New("web", pool.Options{Loops: loops, Metrics: r, Events: func(pool.Event) {}})
	s := func(n int) pool.Spec {
		words := []string{"a*5", "b<50", "c^1", "d*2", "e"}
		rand.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
		s := checked(passive(spec(words[:1+n%len(words)]...)), c)
		s.Check.Interval, s.Check.Timeout = time.Millisecond, time.Millisecond
		s.Check.Key = fmt.Sprint(n % 3)
		s.Passive.Ejection = time.Millisecond
		s.Passive.SuccessRate = pool.SuccessRate{Interval: time.Duration(n%2) * time.Millisecond, Deviations: 1, MinBackends: 3, MinRequests: 1}
		s.Heartbeat, s.FollowLoad = time.Duration(n%3)*time.Millisecond, n%4 > 0
		s.AdaptiveConcurrency = n%3 != 0
		return s
	}
	p.Update(s(4))

	var requests, changes sync.WaitGroup
	stop := make(chan struct{})
	seen := make([]map[*pool.Backend]bool, loops)
	var served atomic.Int64
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
				if len(held) > 0 {
					tried.Add(held[0].Backend())
				}
				if l, err := p.Acquire(loop, tried); err == nil {
					if tried.Has(l.Backend()) {
						t.Error("a tried backend again")
					}
					served.Add(1)
					seen[loop][l.Backend()] = true
					l.ReportLoad(rand.Float64())
					l.Observe(time.Microsecond)
					held = append(held, l)
				}
				if len(held) > 8 {
					held[0].Done(pool.Outcome(rand.IntN(int(pool.ClientClosed) + 1)))
					held = held[1:]
				}
				if i%64 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	for i, change := range []func(n int){
		func(n int) { p.Update(s(n)) },
		func(n int) {
			st := p.Stage(s(n))
			st.Wait(t.Context())
			if n%2 == 0 {
				st.Commit()
			} else {
				st.Discard()
			}
		},
		func(n int) {
			_ = p.Mark(addr(string(rune('a'+n%5))), pool.Admin(rand.IntN(3))) // may be unlisted just now
		},
		func(n int) { c.say([]string{"", "a", "bcd", "abcde"}[n%4]) },
		func(n int) {
			_, _ = p.Heartbeat(addr(string(rune('a'+n%5))), health.Report{Weight: n % 100, MaxConn: -1}) // nor need it be wanted
		},
		func(n int) { p.Status() },
	} {
		changes.Go(func() {
			for n := range 300 {
				change(n + i)
				runtime.Gosched()
			}
		})
	}
	changes.Wait()
	close(stop)
	requests.Wait()
	p.Close()

	if served.Load() == 0 {
		t.Error("nothing was served")
	}
	for _, backends := range seen {
		for b := range backends {
			if n := b.InFlight(); n != 0 {
				t.Errorf("%s: %d in flight in the end", b.Address(), n)
			}
			if !b.Retired() {
				t.Errorf("%s is not retired after Close", b.Address())
			}
		}
	}
	for _, who := range []string{"a", "b", "c", "d", "e"} {
		if n := series(t, r, who); n != 0 {
			t.Errorf("%d series of %s are left", n, who)
		}
	}
}

// Closing ends every goroutine (the bubble sees to that), retires everybody,
// and lets those who still hold the pool go on.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &nameServer{}
		r := metrics.New(1)
		c := &clinic{}
		p := pool.New("web", pool.Options{Loops: 1, Metrics: r, Resolve: n.resolve})
		s := checked(passive(spec("a", "b")), c)
		s.Backends = append(s.Backends, pool.BackendSpec{Address: "app:80"})
		p.Update(s)
		time.Sleep(time.Second)
		early, _ := take(p)
		st := p.Stage(checked(spec("c", "d"), c))
		p.Close()
		p.Close()

		a := early.Backend()
		if !a.Retired() {
			t.Error("not retired")
		}
		late, who := take(p)
		if who != "a" && who != "b" {
			t.Errorf("a late request gets %s", who)
		}
		a.Metrics().Error(0, metrics.UpstreamReset)
		if series(t, r, "a") == 0 {
			t.Error("series are gone while a request runs")
		}
		late.Done(pool.Reset)
		early.Done(pool.Reset)
		for _, who := range []string{"a", "b", "c"} {
			if n := series(t, r, who); n != 0 {
				t.Errorf("%d series of %s are left", n, who)
			}
		}

		// what comes after Close does nothing
		st.Commit()
		st.Wait(t.Context())
		p.Update(spec("e"))
		p.Stage(s).Discard()
		_ = p.Mark(addr("a"), pool.Drain)
		visits := c.visits("a")
		time.Sleep(time.Hour)
		if c.visits("a") != visits {
			t.Error("probed after Close")
		}
	})
}

// A pool of many: probes spread out, few Sets, all up in an interval.
func TestManyBackends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		c := &clinic{}
		p := pool.New("web", pool.Options{Loops: 1})
		defer p.Close()
		var s pool.Spec
		for i := range n {
			s.Backends = append(s.Backends, pool.BackendSpec{Address: fmt.Sprintf("127.0.0.1:%d", 2000+i), Weight: 1 + i%9})
		}
		st := p.Stage(checked(s, c))
		begin := time.Now()
		st.Wait(t.Context())
		st.Commit()
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%d first probes took %v, want an interval at most", n, d)
		}
		l, err := p.Acquire(0, pool.Tried{})
		if err != nil {
			t.Fatal(err)
		}
		l.Done(pool.Success)
		for _, b := range p.Status().Backends {
			if b.State != pool.StateUp {
				t.Fatalf("%s is %s", b.Address, b.State)
			}
		}
	})
}
