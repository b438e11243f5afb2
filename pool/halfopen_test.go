package pool_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/pool"
)

// halfOpen adds trials after ejections to a spec with passive checks.
func halfOpen(s pool.Spec) pool.Spec {
	s = passive(s)
	s.Passive.HalfOpen = true
	return s
}

// onTrial ejects a, waits until it is back, and returns the lease of its first
// request.
func onTrial(t *testing.T, p *pool.Pool) pool.Lease {
	t.Helper()
	fail(t, p, "a", 5)
	synctest.Wait()
	time.Sleep(time.Until(p.Status().Backends[0].EjectedUntil))
	synctest.Wait()
	if !p.Status().Backends[0].HalfOpen {
		t.Fatalf("a is not half open: %s", state(p))
	}
	return from(t, p, "a")
}

// from takes a lease on the backend called who.
func from(t *testing.T, p *pool.Pool, who string) pool.Lease {
	t.Helper()
	synctest.Wait()
	for range 100 {
		l, got := take(p)
		if got == who {
			return l
		}
		l.Done(pool.Success)
	}
	t.Fatalf("no request reaches %s", who)
	return pool.Lease{}
}

// wantFrom checks how many of 100 requests, each ending well, a gets.
func wantFrom(t *testing.T, p *pool.Pool, want int) {
	t.Helper()
	synctest.Wait()
	if n := strings.Count(picks(p, 100), "a"); n != want {
		t.Errorf("a has %d of 100 requests, want %d", n, want)
	}
}

// One request at a time, until one has succeeded.
func TestHalfOpen(t *testing.T) {
	bubble(t, halfOpen(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		l := onTrial(t, p)
		wantFrom(t, p, 0)
		l.Done(pool.ClientClosed) // says nothing
		l = from(t, p, "a")
		wantFrom(t, p, 0)
		l.Done(pool.Success)
		wantFrom(t, p, 50)
		if p.Status().Backends[0].HalfOpen {
			t.Error("still half open")
		}
		want(t, j, "0s a ejected, 10s a returned")
	})
}

// One bad outcome is enough, and it counts as the next ejection.
func TestHalfOpenFails(t *testing.T) {
	bubble(t, halfOpen(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		l := onTrial(t, p)
		l.Done(pool.ConnectRefused)
		serving(t, p, "b")
		a := p.Status().Backends[0]
		if d := time.Until(a.EjectedUntil); d != 20*time.Second {
			t.Errorf("out for %v, want 20s", d)
		}
		if a.Cause != "failed its first request after an ejection: connect_refused" {
			t.Error(a.Cause)
		}
		time.Sleep(20 * time.Second)
		l = from(t, p, "a")
		l.Done(pool.Success)
		wantFrom(t, p, 50)
		want(t, j, "0s a ejected, 10s a returned, 10s a ejected, 30s a returned")
	})
}

// What was under way before the ejection is no trial, however it ends.
func TestHalfOpenAndLateOutcomes(t *testing.T) {
	bubble(t, halfOpen(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		early, other := from(t, p, "a"), from(t, p, "a")
		l := onTrial(t, p)
		early.Done(pool.Success)
		other.Done(pool.Reset)
		wantFrom(t, p, 0)

		// nor is the trial of a former return
		if err := p.Mark(addr("a"), pool.Maintenance); err != nil {
			t.Fatal(err)
		}
		if err := p.Mark(addr("a"), pool.Ready); err != nil {
			t.Fatal(err)
		}
		former := l
		l = onTrial(t, p)
		former.Done(pool.Reset)
		wantFrom(t, p, 0)
		l.Done(pool.Success)
		wantFrom(t, p, 50)
		if n := p.Status().Backends[0].InFlight; n != 0 {
			t.Errorf("%d in flight", n)
		}
	})
}

// A tunnel runs for hours. That its answer has come is enough, a second later.
func TestHalfOpenWithALongRequest(t *testing.T) {
	bubble(t, halfOpen(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		l := onTrial(t, p)
		defer l.Done(pool.Success)
		time.Sleep(time.Minute)
		wantFrom(t, p, 0) // no answer
		l.Observe(time.Minute)
		wantFrom(t, p, 0)
		time.Sleep(time.Second)
		wantFrom(t, p, 50)
	})
}

// With nobody else to ask, one request at a time would be an outage.
func TestHalfOpenWithNobodyElse(t *testing.T) {
	bubble(t, halfOpen(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		l := onTrial(t, p)
		if err := p.Mark(addr("b"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		wantFrom(t, p, 100)
		l.Done(pool.Success)
	})
}

// The busy one on trial is passed over, to the next tier if need be.
func TestHalfOpenAndTiers(t *testing.T) {
	bubble(t, halfOpen(spec("a", "b^1")), func(t *testing.T, p *pool.Pool, j *journal) {
		l := onTrial(t, p)
		if _, who := take(p); who != "b" {
			t.Errorf("%s is asked, want b", who)
		}
		l.Done(pool.Success)
		wantFrom(t, p, 100)
	})
}

// Every policy lets one through.
func TestHalfOpenUnderEveryPolicy(t *testing.T) {
	for _, balance := range policies {
		if balance == pool.PeakEWMA {
			continue // it avoids who fails, and would not bring it to an ejection one by one
		}
		bubble(t, under(balance, halfOpen(spec("a", "b", "c"))), func(t *testing.T, p *pool.Pool, j *journal) {
			l := onTrial(t, p)
			wantFrom(t, p, 0)
			l.Done(pool.Success)
			synctest.Wait()
			if n := strings.Count(picks(p, 300), "a"); n < 50 {
				t.Errorf("%s: %d of 300 requests after the trial", balance, n)
			}
		})
	}
}

// An Update without them ends trials.
func TestHalfOpenTurnedOff(t *testing.T) {
	bubble(t, halfOpen(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		l := onTrial(t, p)
		p.Update(passive(spec("a", "b")))
		wantFrom(t, p, 50)
		l.Done(pool.Reset)
		wantFrom(t, p, 50)
	})
}

// Without enforcement there is a word about each ejection that would have been,
// and nobody is out.
func TestWouldEject(t *testing.T) {
	s := passive(spec("a", "b"))
	s.Passive.Enforce = false
	bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
		fail(t, p, "a", 5)
		serving(t, p, "ab")
		fail(t, p, "a", 50)
		want(t, j, "0s a would_eject")
		time.Sleep(10 * time.Second)
		fail(t, p, "a", 5)
		want(t, j, "10s a would_eject")
		if e := j.raw[len(j.raw)-1]; e.Cause != "5 errors in a row, the last connect_refused; would be out for 10s" {
			t.Error(e.Cause)
		}

		// and those that are out come back when it is turned off
		p.Update(passive(spec("a", "b")))
		fail(t, p, "a", 5)
		serving(t, p, "b")
		p.Update(s)
		serving(t, p, "ab")
		want(t, j, "10s a ejected, 10s a returned")
	})
}
