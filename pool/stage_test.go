package pool_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/metrics"
	"weir/pool"
)

// series returns how many series of the registry are about that backend.
func series(t *testing.T, r *metrics.Registry, backend string) int {
	t.Helper()
	families, err := r.Prometheus().Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "backend" && l.GetValue() == addr(backend) {
					n++
				}
			}
		}
	}
	return n
}

// A request that outlives its backend's place in the pool goes back to the
// object it was taken from, which then leaves no trace.
func TestLeaseOutlivesUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metrics.New(1)
		p := pool.New("web", pool.Options{Loops: 1, Metrics: r})
		defer p.Close()
		p.Update(spec("a", "b"))
		l, _ := take(p)
		a := l.Backend()
		p.Update(spec("b"))
		synctest.Wait()
		if !a.Retired() || a.InFlight() != 1 || a.Target().String() != addr("a") {
			t.Errorf("retired %v, in flight %d, target %s", a.Retired(), a.InFlight(), a.Target())
		}
		a.Metrics().Error(0, metrics.UpstreamReset)
		if series(t, r, "a") == 0 {
			t.Error("its series are gone while a request runs")
		}
		l.Done(pool.Reset)
		synctest.Wait()
		if a.InFlight() != 0 {
			t.Errorf("%d in flight in the end", a.InFlight())
		}
		if n := series(t, r, "a"); n != 0 {
			t.Errorf("%d series of a backend that is gone", n)
		}
		if series(t, r, "b") == 0 {
			t.Error("no series of the one that stayed")
		}
	})
}

// What stays in the pool is the same object with the same counts, state and
// admin mark, whatever else the Spec changes.
func TestUpdateKeepsBackends(t *testing.T) {
	bubble(t, passive(spec("a", "b", "c", "d")), func(t *testing.T, p *pool.Pool, j *journal) {
		l, _ := take(p)
		a := l.Backend()
		fail(t, p, "b", 5)
		if err := p.Mark(addr("c"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := p.Status()
		s := passive(spec("d*7", "c^3", "b", "a<4"))
		s.Balance = pool.RoundRobin
		p.Update(s)
		if got := state(p); got != "d=up c=draining b=ejected a=up" {
			t.Error(got)
		}
		after := p.Status().Backends
		if b := after[3]; b.InFlight != 1 || b.MaxRequests != 4 || b.Since != before.Backends[0].Since {
			t.Errorf("a: %+v", b)
		}
		if b := after[2]; b.Errors != 5 || b.EjectedUntil != before.Backends[1].EjectedUntil {
			t.Errorf("b: %+v", b)
		}
		for range 10 {
			if l, got := take(p); got == "a" && l.Backend() != a {
				t.Error("a is another object now")
			}
		}
	})
}

// A backend that is removed and listed again while requests of its former life
// run: another object, but the same address with the same limit.
func TestBackendComesBackBusy(t *testing.T) {
	r := metrics.New(1)
	p := start(t, pool.Options{Loops: 1, Metrics: r}, spec("a<2"))
	first, _ := take(p)
	p.Update(spec("b"))
	p.Update(spec("a<2"))
	second, who := take(p)
	if who != "a" || second.Backend() == first.Backend() || second.Backend().ID() == first.Backend().ID() {
		t.Fatalf("picked %s, want a new a", who)
	}
	if _, who := take(p); who != "full" {
		t.Errorf("a third request at once went to %s, want full", who)
	}
	first.Done(pool.Success)
	if n := second.Backend().InFlight(); n != 1 {
		t.Errorf("%d in flight, want 1", n)
	}
	second.Backend().Metrics().Error(0, metrics.UpstreamReset)
	if series(t, r, "a") == 0 {
		t.Error("the end of its former life took its series away")
	}
	second.Done(pool.Success)
}

// Nothing is seen of a staged Spec but its probes, until Commit.
func TestStage(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(spec("a"), c), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		serving(t, p, "a")
		j.read()
		c.say("c")
		begin := time.Now()
		st := p.Stage(checked(spec("b", "c"), c))
		st.Wait(t.Context())
		if d := time.Since(begin); d > 50*time.Millisecond {
			t.Errorf("waited %v for two probes", d)
		}
		if got := state(p); got != "a=up" {
			t.Errorf("before the commit: %s", got)
		}
		want(t, j, "")
		st.Commit()
		if got := state(p); got != "b=up c=down" { // at once
			t.Errorf("after the commit: %s", got)
		}
		if got := picks(p, 3); got != "bbb" {
			t.Errorf("picked %s", got)
		}
		want(t, j, "1.01s b added, 1.01s b up, 1.01s c added, 1.01s c down, 1.01s a removed")
		if n := c.visits("b"); n != 1 {
			t.Errorf("b has been asked %d times, want once", n)
		}
		c.say("")
		time.Sleep(10 * time.Second)
		serving(t, p, "bc")
		if n := c.visits("a"); n != 1 {
			t.Errorf("a has been asked %d times, want once: it left before 5 s", n)
		}

		// ended is ended
		st.Commit()
		st.Discard()
		serving(t, p, "bc")
	})
}

func TestDiscard(t *testing.T) {
	c := &clinic{}
	synctest.Test(t, func(t *testing.T) {
		r := metrics.New(1)
		p := pool.New("web", pool.Options{Loops: 1, Metrics: r})
		defer p.Close()
		p.Update(spec("a"))
		st := p.Stage(checked(spec("a", "b"), c))
		st.Wait(t.Context())
		st.Discard()
		st.Commit()
		visits := c.visits("b")
		time.Sleep(time.Minute)
		if got := state(p); got != "a=up" {
			t.Error(got)
		}
		if visits != 1 || c.visits("b") != 1 {
			t.Errorf("b was asked %d times, then %d; want once", visits, c.visits("b"))
		}
		if n := series(t, r, "b"); n != 0 {
			t.Errorf("%d series of a backend that never was", n)
		}
	})
}

// Of two staged at once the later commit wins, with one object for each address.
func TestTwoStagedAtOnce(t *testing.T) {
	c := &clinic{}
	bubble(t, spec(), func(t *testing.T, p *pool.Pool, j *journal) {
		one, two := p.Stage(checked(spec("a", "b"), c)), p.Stage(checked(spec("b", "c"), c))
		one.Wait(t.Context())
		two.Wait(t.Context())
		one.Commit()
		serving(t, p, "ab")
		two.Commit()
		serving(t, p, "bc")
		visits := c.visits("b")
		time.Sleep(5500 * time.Millisecond)
		if n := c.visits("b") - visits; n != 1 {
			t.Errorf("b is asked %d times in an interval, want once", n)
		}
	})
}

// A check that hangs holds nobody up for longer than they want to wait.
func TestStageWaitEndsWithItsContext(t *testing.T) {
	bubble(t, spec("a"), func(t *testing.T, p *pool.Pool, j *journal) {
		s := spec("b")
		s.Check = &pool.CheckSpec{Check: hanging{}, Interval: time.Hour, Timeout: time.Hour, Fall: 1, Rise: 1}
		st := p.Stage(s)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		st.Wait(ctx)
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("waited %v", d)
		}
		st.Commit()
		if got := state(p); got != "b=unknown" {
			t.Error(got)
		}
		if _, got := take(p); got != "none" {
			t.Errorf("picked %s before the first pass", got)
		}
	})
}

type hanging struct{}

func (hanging) Probe(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }

// Checks come to and go from backends in service without an interruption.
func TestCheckAddedAndRemoved(t *testing.T) {
	c := &clinic{}
	bubble(t, spec("a", "b"), func(t *testing.T, p *pool.Pool, j *journal) {
		c.say("b")
		p.Update(checked(spec("a", "b"), c))
		if got := who(p); got != "ab" {
			t.Errorf("%s serve before the first results, want ab", got)
		}
		time.Sleep(time.Second)
		serving(t, p, "a")
		want(t, j, "10ms b down")
		p.Update(spec("a", "b"))
		serving(t, p, "ab")
		want(t, j, "1s b up")
		time.Sleep(time.Minute)
		if n := c.visits("a"); n != 1 {
			t.Errorf("a has been asked %d times, want once", n)
		}
	})
}

// Down after three failures, two of them hurried; up after two passes. One line
// in the log and one event each, none for a probe.
func TestProbes(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(spec("a", "b"), c), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		c.say("a")
		time.Sleep(6 * time.Second) // 5.01 s, 6.01 s: two failures
		serving(t, p, "ab")
		time.Sleep(time.Second)
		serving(t, p, "b")
		b := p.Status().Backends[0]
		if b.Cause != "feels sick" || b.State != "down" || b.LastCheck == nil || b.LastCheck.OK || b.LastCheck.Error != "feels sick" {
			t.Errorf("%+v, %+v", b, b.LastCheck)
		}
		c.say("")
		time.Sleep(5 * time.Second)
		serving(t, p, "b")
		time.Sleep(time.Second)
		serving(t, p, "ab")
		got := strings.Split(j.read(), ", ")
		if got := strings.Join(got[len(got)-2:], ", "); got != "7.01s a down, 13.01s a up" {
			t.Errorf("events %s", got)
		}
	})
}

func TestFirstResultDecides(t *testing.T) {
	c := &clinic{}
	c.say("b")
	bubble(t, checked(spec("a", "b"), c), func(t *testing.T, p *pool.Pool, j *journal) {
		if got := state(p); got != "a=unknown b=unknown" {
			t.Errorf("before any result: %s", got)
		}
		time.Sleep(50 * time.Millisecond)
		if got := state(p); got != "a=up b=down" {
			t.Errorf("after one: %s", got)
		}
	})
}

func TestDuplicateAddressesAreOne(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a*2", "a*9", "b"))
	if got := picks(p, 6); strings.Count(got, "a") != 4 {
		t.Errorf("picks %s, want a twice as often as b", got)
	}
}

// What the operator wants of a backend that comes back holds from the first
// moment on: there is no set in which it is as configured.
func TestStagedWordsHoldAtOnce(t *testing.T) {
	bubble(t, spec("a"), func(t *testing.T, p *pool.Pool, j *journal) {
		st := p.Stage(spec("a", "b", "c"))
		if err := st.Mark(addr("b"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		if err := st.SetWeight(addr("c"), 0); err != nil {
			t.Fatal(err)
		}
		if st.Mark(addr("d"), pool.Drain) == nil || st.SetWeight(addr("d"), 0) == nil || st.SetWeight(addr("c"), -2) == nil {
			t.Error("nonsense is accepted")
		}
		st.Commit() // and nothing else has run since
		if got := picks(p, 10); strings.Trim(got, "a") != "" {
			t.Errorf("requests go to %q", got)
		}
		synctest.Wait()
		want(t, j, "0s b added, 0s c added, 0s b drain, 0s c weight")
	})
}
