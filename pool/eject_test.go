package pool_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/pool"
)

// bubble runs f in virtual time with a pool of that spec whose jitter is none.
// No goroutine may be left behind.
func bubble(t *testing.T, s pool.Spec, f func(t *testing.T, p *pool.Pool, j *journal)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		j := &journal{start: time.Now()}
		p := pool.NewSteady("web", pool.Options{Loops: 1, Events: j.note}, 0.5)
		defer p.Close()
		p.Update(s)
		synctest.Wait()
		j.read()
		f(t, p, j)
	})
}

// want compares what happened since the last look.
func want(t *testing.T, j *journal, events string) {
	t.Helper()
	synctest.Wait()
	if got := j.read(); got != events {
		t.Errorf("events %q, want %q", got, events)
	}
}

func serving(t *testing.T, p *pool.Pool, want string) {
	t.Helper()
	synctest.Wait()
	if got := who(p); got != want {
		t.Errorf("%q serve, want %q (%s)", got, want, state(p))
	}
	for range 20 { // and requests agree
		l, got := take(p)
		if !strings.Contains(want, got) {
			t.Errorf("picked %s, want one of %q", got, want)
		}
		if l.Backend() != nil {
			l.Done(pool.ClientClosed)
		}
	}
}

func TestEjection(t *testing.T) {
	bubble(t, passive(spec("a", "b", "c")), func(t *testing.T, p *pool.Pool, j *journal) {
		// four errors are not five
		fail(t, p, "a", 4)
		serving(t, p, "abc")

		// a success starts the count again
		l, _ := take(p)
		for name(l.Backend().Address()) != "a" {
			l.Done(pool.Success)
			l, _ = take(p)
		}
		l.Done(pool.Success)
		fail(t, p, "a", 4)
		serving(t, p, "abc")
		fail(t, p, "a", 1)
		serving(t, p, "bc")
		want(t, j, "0s a ejected")
		if got := state(p); got != "a=ejected b=up c=up" {
			t.Error(got)
		}
		a := p.Status().Backends[0]
		if !a.Ejected || a.Health != "up" || time.Until(a.EjectedUntil) != 10*time.Second {
			t.Errorf("%+v, want ejected for 10s, its health untouched", a)
		}
		if !strings.Contains(a.Cause, "5 errors in a row, the last connect_refused") {
			t.Errorf("cause %q", a.Cause)
		}

		// out until the timer, to the moment
		time.Sleep(10*time.Second - time.Nanosecond)
		serving(t, p, "bc")
		time.Sleep(time.Nanosecond)
		serving(t, p, "abc")
		want(t, j, "10s a returned")
	})
}

// What says nothing about the backend neither counts nor ends a streak.
func TestNeutralOutcomes(t *testing.T) {
	bubble(t, passive(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		end := func(o pool.Outcome, n int) {
			for range 2 * n { // every other request goes to a
				l, got := take(p)
				if got == "a" {
					l.Done(o)
				} else {
					l.Done(pool.Success)
				}
			}
		}
		end(pool.ClientClosed, 20)
		end(pool.Stale, 20)
		serving(t, p, "ab")
		for _, o := range []pool.Outcome{pool.BadStatus, pool.ConnectTimeout, pool.Reset, pool.ResponseTimeout} {
			end(o, 1)
			end(pool.Stale, 1)
			end(pool.ClientClosed, 1)
		}
		serving(t, p, "ab")
		end(pool.BadResponse, 1)
		serving(t, p, "b")
		want(t, j, "0s a ejected")
	})
}

// Repeated ejections last longer, up to the cap, and time in rotation is
// forgiven step by step.
func TestEjectionGrows(t *testing.T) {
	s := passive(spec("a", "b"))
	s.Passive.MaxEjection = 25 * time.Second
	bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
		out := func(want time.Duration) {
			t.Helper()
			fail(t, p, "a", 5)
			serving(t, p, "b")
			until := p.Status().Backends[0].EjectedUntil
			if got := time.Until(until); got != want {
				t.Errorf("out for %v, want %v", got, want)
			}
			time.Sleep(want)
			serving(t, p, "ab")
		}
		out(10 * time.Second)
		out(20 * time.Second)
		out(25 * time.Second)
		time.Sleep(21 * time.Second) // two of three are forgiven
		out(20 * time.Second)
		time.Sleep(time.Hour)
		out(10 * time.Second)
	})
}

func TestEjectionTime(t *testing.T) {
	f := func(nth int, jitter float64, want time.Duration) {
		t.Helper()
		s := pool.Passive{Ejection: 10 * time.Second, MaxEjection: 35 * time.Second}
		if got := pool.EjectionTime(s, nth, jitter); got.Round(time.Millisecond) != want {
			t.Errorf("ejection %d, jitter %v: %v, want %v", nth, jitter, got, want)
		}
	}
	f(1, 0.5, 10*time.Second)
	f(1, 0, 8*time.Second)
	f(1, 1, 12*time.Second)
	f(3, 0.5, 30*time.Second)

	// the cap holds with jitter too, and does not gather them at one moment
	f(3, 1, 34*time.Second)
	f(4, 0.5, 35*time.Second)
	f(4, 0, 28*time.Second)
	f(9, 0.75, 31500*time.Millisecond)
	f(9, 1, 28*time.Second)
}

func TestEjectionCap(t *testing.T) {
	f := func(percent int, want string) {
		t.Helper()
		var got []string
		for n := range 12 {
			got = append(got, fmt.Sprint(pool.EjectionCap(n, percent)))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%d %% of 0 to 11: %s, want %s", percent, s, want)
		}
	}
	f(50, "0 0 1 1 2 2 3 3 4 4 5 5")
	f(10, "0 0 1 1 1 1 1 1 1 1 1 1")
	f(100, "0 0 2 3 4 5 6 7 8 9 10 11")
	f(0, "0 0 0 0 0 0 0 0 0 0 0 0")
}

// However much fails, no more than the cap is out, and never the last.
func TestEjectionStopsAtTheCap(t *testing.T) {
	f := func(percent int, words, wantServing string) {
		t.Helper()
		s := passive(spec(strings.Fields(words)...))
		s.Passive.MaxEjected = percent
		bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
			for range 200 {
				l, _ := take(p)
				l.Done(pool.Reset)
				synctest.Wait()
			}
			if got := len(who(p)); got != len(wantServing) {
				t.Errorf("%d %% of %s: %s serve, want as many as in %s", percent, words, who(p), wantServing)
			}
			if got := j.read(); strings.Contains(got, "returned") {
				t.Errorf("%d %% of %s: %s, want nobody ejected in vain", percent, words, got)
			}
		})
	}
	f(50, "a", "a")
	f(50, "a b", "a")
	f(50, "a b c", "ab")
	f(50, "a b c d", "ab")
	f(100, "a", "a")
	f(100, "a b", "a")
	f(100, "a b c", "a")
	f(0, "a b c", "abc")
}

// Those that could not be ejected are, once there is room.
func TestEjectionAfterRoomIsMade(t *testing.T) {
	bubble(t, passive(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		fail(t, p, "a", 5)
		serving(t, p, "b")
		fail(t, p, "b", 50)
		serving(t, p, "b")
		time.Sleep(10 * time.Second)
		serving(t, p, "ab")
		fail(t, p, "b", 5)
		serving(t, p, "a")
		want(t, j, "0s a ejected, 10s a returned, 10s b ejected")
	})
}

// If the operator or probes take the rest, the ejected are better than nobody.
func TestEjectionEndsWhenNobodyElseIsLeft(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(passive(spec("a", "b", "c", "d")), c), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		serving(t, p, "abcd")
		fail(t, p, "a", 5)
		fail(t, p, "b", 5)
		serving(t, p, "cd")
		j.read()
		if err := p.Mark(addr("c"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		// two of three ready ones are more than half: the one due first is back
		serving(t, p, "ad")
		want(t, j, "1s c drain, 1s a returned")
		if err := p.Mark(addr("a"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		serving(t, p, "d")
		c.say("d")
		time.Sleep(7 * time.Second) // 5 s interval, then two in transition
		serving(t, p, "b")
	})
}

// With the pool the cap shrinks.
func TestEjectionCapAfterUpdate(t *testing.T) {
	bubble(t, passive(spec("a", "b", "c", "d")), func(t *testing.T, p *pool.Pool, j *journal) {
		fail(t, p, "a", 5)
		time.Sleep(time.Second)
		fail(t, p, "b", 5)
		serving(t, p, "cd")
		p.Update(passive(spec("a", "b", "c")))
		serving(t, p, "ac") // one of three may be out, and a was due first
	})
}

func TestPassiveChecksTurnedOff(t *testing.T) {
	bubble(t, passive(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		fail(t, p, "a", 5)
		serving(t, p, "b")
		p.Update(spec("a", "b"))
		serving(t, p, "ab")
		fail(t, p, "a", 100)
		serving(t, p, "ab")
		want(t, j, "0s a ejected, 0s a returned")
	})
}

// Requests that were under way when a backend was ejected fail later: they
// neither prolong the ejection nor count after it.
func TestLateFailures(t *testing.T) {
	bubble(t, passive(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		var late []pool.Lease
		for len(late) < 13 {
			l, got := take(p)
			if got == "a" {
				late = append(late, l)
			} else {
				l.Done(pool.Success)
			}
		}
		fail(t, p, "a", 5)
		serving(t, p, "b")
		for i := range late {
			late[i].Done(pool.Reset)
			if i == 8 {
				synctest.Wait() // judged in vain, and four more to come
			}
		}
		time.Sleep(10 * time.Second)
		serving(t, p, "ab")
		fail(t, p, "a", 4)
		serving(t, p, "ab")
	})
}

// An ejection is over when its time is: passing checks do not shorten it, and
// failing ones show through.
func TestEjectionAndChecksAreSeparate(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(passive(spec("a", "b")), c), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		j.read()
		fail(t, p, "a", 5)
		time.Sleep(9 * time.Second) // passes at 5.01 s
		serving(t, p, "b")
		want(t, j, "1s a ejected")
		c.say("a")
		time.Sleep(time.Minute)
		if got := state(p); got != "a=down b=up" {
			t.Error(got)
		}
		c.say("")
		time.Sleep(7 * time.Second)
		serving(t, p, "ab")
	})
}
