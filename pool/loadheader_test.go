package pool_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/health"
	"weir/pool"
)

// loaded makes weights follow what answers say of load.
func loaded(s pool.Spec) pool.Spec {
	s.FollowLoad = true
	return s
}

// answer has n answers of each backend, of which those of the one called who
// name that load.
func answer(p *pool.Pool, n int, who string, load float64) {
	for range n {
		for range 2 {
			l, got := take(p)
			if got == who {
				l.ReportLoad(load)
			}
			l.Done(pool.Success)
		}
	}
}

// weightOf is the effective weight.
func weightOf(p *pool.Pool, who string) int {
	synctest.Wait()
	for _, b := range p.Status().Backends {
		if name(b.Address) == who {
			return b.EffectiveWeight
		}
	}
	return -1
}

// A weight follows its load smoothly, and goes back when nobody speaks of one.
func TestWeightFollowsLoad(t *testing.T) {
	bubble(t, loaded(spec("a*1000", "b*1000")), func(t *testing.T, p *pool.Pool, j *journal) {
		answer(p, 1, "a", 0.6)
		time.Sleep(time.Second / 2) // from here on a step never ends while somebody answers
		var got []int
		for range 20 {
			answer(p, 50, "a", 0.6)
			if w := weightOf(p, "a"); len(got) == 0 || w != got[len(got)-1] {
				got = append(got, w)
			}
			time.Sleep(time.Second)
		}
		for i, w := range got[1:] {
			if w >= got[i] || got[i]-w > 200 {
				t.Errorf("weights %v, want small steps down", got)
			}
		}
		if w := got[len(got)-1]; w < 380 || w > 440 {
			t.Errorf("weights %v, want about 400 in the end", got)
		}
		if b := p.Status().Backends[0]; b.Load < 0.59 || b.Load > 0.6 || b.WeightPercent == 0 || b.SlowStart != 0 {
			t.Errorf("%+v", b)
		}
		if w := weightOf(p, "b"); w != 1000 {
			t.Errorf("b has %d, want all of it", w)
		}
		// an event now and then, not for each step
		want(t, j, "2s a weight, 8s a weight")

		time.Sleep(20 * time.Second)
		if w := weightOf(p, "a"); w > 440 {
			t.Errorf("after 20 s of silence %d, want it unchanged", w)
		}
		time.Sleep(40 * time.Second)
		if w := weightOf(p, "a"); w != 1000 {
			t.Errorf("after a minute of silence %d, want all of it", w)
		}
		// and then the pool sleeps until the next report
		answer(p, 50, "a", 1)
		time.Sleep(2 * time.Second)
		if w := weightOf(p, "a"); w >= 1000 {
			t.Errorf("%d after it has spoken again", w)
		}
	})
}

// One answer does not swing it, and a full load leaves a little.
func TestLoadIsSmoothedAndBounded(t *testing.T) {
	bubble(t, loaded(spec("a*1000", "b*1000")), func(t *testing.T, p *pool.Pool, _ *journal) {
		l := from(t, p, "a")
		l.ReportLoad(1)
		l.Done(pool.Success)
		time.Sleep(time.Second)
		if w := weightOf(p, "a"); w != 700 {
			t.Errorf("%d after one answer, want 700", w)
		}
		for range 60 {
			answer(p, 50, "a", 1)
			time.Sleep(time.Second)
		}
		if w := weightOf(p, "a"); w != 50 {
			t.Errorf("%d at full load, want 50", w)
		}
	})
}

// The weight shows in what a backend gets, under each policy that has weights.
func TestLoadUnderEachPolicy(t *testing.T) {
	for _, policy := range []string{pool.WeightedRoundRobin, pool.RoundRobin, pool.Random, pool.LeastRequests,
		pool.PeakEWMA, pool.ConsistentHash, pool.First} {
		s := loaded(spec("a*10", "b*10"))
		s.Balance = policy
		bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
			for range 30 {
				answer(p, 100, "a", 0.8)
				time.Sleep(time.Second)
			}
			b := p.Status().Backends[0]
			if policy == pool.RoundRobin || policy == pool.First {
				if b.EffectiveWeight < 1 || b.WeightPercent != 0 || b.Load != 0 || j.read() != "" {
					t.Errorf("%s: %+v", policy, b)
				}
				return
			}
			if b.EffectiveWeight > 3 {
				t.Errorf("%s: %+v", policy, b)
			}
			if policy == pool.PeakEWMA {
				return // all its answers take no time
			}
			if n := strings.Count(picks(p, 1200), "a"); n < 100 || n > 400 {
				t.Errorf("%s: %d of 1200 requests, want about 200", policy, n)
			}
		})
	}
}

// What its agent or a heartbeat says of the weight goes before what its answers
// say of load: neither counts twice.
func TestHeartbeatGoesBeforeLoad(t *testing.T) {
	bubble(t, heard(loaded(spec("a*100", "b*100"))), func(t *testing.T, p *pool.Pool, _ *journal) {
		minute := func(said string) {
			t.Helper()
			for range 30 {
				beat(t, p, "a", said)
				beat(t, p, "b", "")
				answer(p, 50, "a", 0.5)
				time.Sleep(time.Second)
			}
		}
		minute("")
		if w := weightOf(p, "a"); w < 45 || w > 55 {
			t.Errorf("%d by its load, want 50", w)
		}
		minute("90%")
		if w := weightOf(p, "a"); w != 90 {
			t.Errorf("%d by its heartbeat, want 90", w)
		}
		if _, err := p.Heartbeat(addr("z"), health.Report{}); err == nil {
			t.Error("no error")
		}
	})
}

// A reload keeps the load, and one that no longer wants it drops it.
func TestLoadOfAnotherSpec(t *testing.T) {
	bubble(t, loaded(spec("a*100", "b*100")), func(t *testing.T, p *pool.Pool, _ *journal) {
		for range 20 {
			answer(p, 50, "a", 0.5)
			time.Sleep(time.Second)
		}
		p.Update(loaded(spec("a*200", "b*100")))
		if w := weightOf(p, "a"); w < 90 || w > 110 {
			t.Errorf("%d, want half of 200", w)
		}
		p.Update(spec("a*200", "b*100"))
		if w := weightOf(p, "a"); w != 200 {
			t.Errorf("%d, want all of it", w)
		}
		p.Update(loaded(spec("a*200", "b*100")))
		time.Sleep(time.Minute)
		if w := weightOf(p, "a"); w != 200 {
			t.Errorf("%d by what it said long ago, want all of it", w)
		}
	})
}

func TestReportLoadDoesNotAllocate(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, loaded(spec("a", "b")))
	if n := testing.AllocsPerRun(1000, func() {
		l, _ := p.Acquire(0, pool.Tried{})
		l.ReportLoad(0.5)
		l.Done(l.Answered(503))
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
