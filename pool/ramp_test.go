package pool_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/pool"
)

func TestRampPercent(t *testing.T) {
	begin := time.Now()
	f := func(after, slowStart time.Duration, want int) {
		t.Helper()
		if got := pool.RampPercent(begin, begin.Add(after), slowStart); got != want {
			t.Errorf("after %v of %v: %d %%, want %d", after, slowStart, got, want)
		}
	}
	// from a tenth to all of it, evenly
	f(0, 30*time.Second, 10)
	f(10*time.Second, 30*time.Second, 40)
	f(15*time.Second, 30*time.Second, 55)
	f(30*time.Second-1, 30*time.Second, 99)
	f(30*time.Second, 30*time.Second, 100)
	f(time.Hour, 30*time.Second, 100)

	// a clock that goes back, and no slow start
	f(-time.Minute, 30*time.Second, 10)
	f(0, 0, 100)
	if got := pool.RampPercent(time.Time{}, begin, time.Hour); got != 100 {
		t.Errorf("one that was always there: %d %%, want 100", got)
	}
}

// slowly adds a slow start of 20 s.
func slowly(s pool.Spec) pool.Spec {
	s.SlowStart = 20 * time.Second
	return s
}

// ramps returns "a=5 c=2@40%": weights in use, and the percentage where it is
// not all of it.
func ramps(p *pool.Pool) string {
	synctest.Wait()
	var all []string
	for _, b := range p.Status().Backends {
		s := fmt.Sprintf("%s=%d", name(b.Address), b.EffectiveWeight)
		if b.SlowStart > 0 {
			s += fmt.Sprintf("@%d%%", b.SlowStart)
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

func wantRamps(t *testing.T, p *pool.Pool, want string) {
	t.Helper()
	if got := ramps(p); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A backend that is added ramps up, step by step; those that were there from
// the start have not.
func TestSlowStartOfANewOne(t *testing.T) {
	bubble(t, slowly(spec("a*10", "b*10")), func(t *testing.T, p *pool.Pool, _ *journal) {
		wantRamps(t, p, "a=10 b=10")
		p.Update(slowly(spec("a*10", "b*10", "c*10")))
		wantRamps(t, p, "a=10 b=10 c=1@10%")
		if n := strings.Count(picks(p, 2100), "c"); n < 99 || n > 101 {
			t.Errorf("it has %d of 2100 requests, want 100", n)
		}
		time.Sleep(10 * time.Second)
		wantRamps(t, p, "a=10 b=10 c=5@55%")
		time.Sleep(10*time.Second - time.Nanosecond)
		wantRamps(t, p, "a=10 b=10 c=9@95%") // by the steps of a second
		time.Sleep(time.Nanosecond)
		wantRamps(t, p, "a=10 b=10 c=10")
		if n := strings.Count(picks(p, 300), "c"); n != 100 {
			t.Errorf("it has %d of 300 requests, want 100", n)
		}
	})
}

// Each policy gives a ramping backend less.
func TestSlowStartUnderEveryPolicy(t *testing.T) {
	for _, balance := range policies {
		if balance == pool.First || balance == pool.PeakEWMA {
			continue // the one has no weights, the other weighs what it measures
		}
		bubble(t, under(balance, slowly(many(20, nil))), func(t *testing.T, p *pool.Pool, _ *journal) {
			s := under(balance, slowly(many(21, nil)))
			p.Update(s)
			added := s.Backends[20].Address
			// a twentieth would be 500
			if n := shares(t, p, 10_000)[added]; n > 150 || n == 0 {
				t.Errorf("%s: it has %d of 10,000, want about 50", balance, n)
			}
			time.Sleep(20 * time.Second)
			if n := shares(t, p, 10_000)[added]; n < 300 || n > 700 {
				t.Errorf("%s: in the end it has %d of 10,000, want about 476", balance, n)
			}
		})
	}
}

// Back from the probes' verdict, from an ejection and from maintenance: all of
// them are cold. A drained one is not.
func TestSlowStartOfWhoComesBack(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(slowly(passive(spec("a", "b", "c"))), c), func(t *testing.T, p *pool.Pool, _ *journal) {
		time.Sleep(time.Second)
		wantRamps(t, p, "a=1 b=1 c=1") // they come up for the first time

		c.say("a")
		time.Sleep(time.Minute)
		wantRamps(t, p, "a=0 b=1 c=1")
		c.say("")
		for who(p) != "abc" {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		wantRamps(t, p, "a=1@10% b=1 c=1")
		time.Sleep(20 * time.Second)
		wantRamps(t, p, "a=1 b=1 c=1")

		fail(t, p, "b", 5)
		time.Sleep(10 * time.Second)
		wantRamps(t, p, "a=1 b=1@10% c=1")
		time.Sleep(20 * time.Second)

		if err := p.Mark(addr("c"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := p.Mark(addr("c"), pool.Ready); err != nil {
			t.Fatal(err)
		}
		wantRamps(t, p, "a=1 b=1 c=1")

		for _, as := range []pool.Admin{pool.Maintenance, pool.Ready} {
			if err := p.Mark(addr("c"), as); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Millisecond)
		wantRamps(t, p, "a=1 b=1 c=1@10%")
	})
}

// Whoever is alone, or among others that ramp too, has nobody to spare it.
func TestSlowStartNeedsOthers(t *testing.T) {
	bubble(t, slowly(spec("a")), func(t *testing.T, p *pool.Pool, _ *journal) {
		p.Update(slowly(spec("b", "c")))
		wantRamps(t, p, "b=1 c=1")
		p.Update(slowly(spec("d")))
		wantRamps(t, p, "d=1")
		time.Sleep(20 * time.Second)
		p.Update(slowly(spec("d", "e")))
		wantRamps(t, p, "d=1 e=1@10%")

		// without slow start it is over at once
		p.Update(spec("d", "e"))
		wantRamps(t, p, "d=1 e=1")
	})
}

// When all ramp, but did not begin together, the last ones are spared by those
// that began before them: after an outage nobody gets the share of a warm one.
func TestSlowStartAmongRamps(t *testing.T) {
	bubble(t, slowly(spec("a")), func(t *testing.T, p *pool.Pool, _ *journal) {
		p.Update(slowly(spec("b*10", "c*10")))
		wantRamps(t, p, "b=10 c=10")
		time.Sleep(10 * time.Second)
		wantRamps(t, p, "b=10 c=10")
		p.Update(slowly(spec("b*10", "c*10", "d*10")))
		wantRamps(t, p, "b=10 c=10 d=1@18%") // 10 of the 55 % that they have
		if n := strings.Count(picks(p, 2180), "d"); n < 170 || n > 190 {
			t.Errorf("it has %d of 2180 requests, want 180", n)
		}
		time.Sleep(10 * time.Second)
		wantRamps(t, p, "b=10 c=10 d=5@55%") // they are through
		time.Sleep(10 * time.Second)
		wantRamps(t, p, "b=10 c=10 d=10")
	})
}
