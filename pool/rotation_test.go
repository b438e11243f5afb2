package pool_test

import (
	"testing"
	"testing/synctest"
	"time"

	"weir/pool"
)

// threshold adds a panic threshold to a spec.
func threshold(percent int, s pool.Spec) pool.Spec {
	s.PanicThreshold = percent
	return s
}

// Below half all are used, and it is told once; from half upwards only the fit.
func TestPanic(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(threshold(50, spec("a", "b", "c", "d")), c), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		if p.Status().Panic {
			t.Error("panic at the start")
		}
		j.read()
		c.say("ab")
		time.Sleep(20 * time.Second)
		serving(t, p, "cd") // half
		j.read()
		c.say("abc")
		time.Sleep(20 * time.Second)
		serving(t, p, "abcd")
		if !p.Status().Panic || state(p) != "a=down b=down c=down d=up" {
			t.Errorf("panic %v, %s", p.Status().Panic, state(p))
		}
		if err := p.Mark(addr("a"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		serving(t, p, "bcd") // what the operator says counts in a panic, too
		c.say("")
		time.Sleep(20 * time.Second)
		serving(t, p, "bcd")
		if p.Status().Panic {
			t.Error("panic with all of them fit")
		}
	})
}

func TestPanicEvents(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(threshold(50, spec("a")), c), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		c.say("a")
		time.Sleep(20 * time.Second)
		serving(t, p, "a") // one that is down is better than none
		c.say("")
		time.Sleep(20 * time.Second)
		serving(t, p, "a")
		var got []string
		for _, e := range j.raw {
			if e.What == pool.EventPanic || e.What == pool.EventCalm {
				got = append(got, e.Pool+e.Backend+" "+e.What+": "+e.Cause)
			}
		}
		if len(got) != 2 || got[0] != "web panic: 0 of 1 backends are usable, which is less than 50 %: all are used" ||
			got[1] != "web calm: 1 of 1 backends are usable" {
			t.Errorf("%q", got)
		}
	})
}

// Those that are added and have not come up yet are not missed.
func TestPanicDoesNotMissTheNew(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(threshold(50, spec("a", "b")), c), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		c.say("cdefg")
		p.Update(checked(threshold(50, spec("a", "b", "c", "d", "e", "f", "g")), c))
		serving(t, p, "ab")
		time.Sleep(time.Minute)
		serving(t, p, "ab")
		c.say("")
		time.Sleep(time.Minute)
		serving(t, p, "abcdefg")
		c.say("cdefg") // now they are
		time.Sleep(time.Minute)
		serving(t, p, "abcdefg")
	})
}

// A start with everybody down is a panic once the probes have said so.
func TestPanicFromTheStart(t *testing.T) {
	c := &clinic{}
	c.say("ab")
	bubble(t, checked(threshold(50, spec("a", "b")), c), func(t *testing.T, p *pool.Pool, j *journal) {
		if got := who(p); got != "" {
			t.Errorf("%s serve before they were asked", got)
		}
		time.Sleep(time.Second)
		serving(t, p, "ab")
	})
}

func TestNoPanicWithoutAThreshold(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(spec("a", "b"), c), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		c.say("ab")
		time.Sleep(time.Minute)
		if _, got := take(p); got != "none" {
			t.Errorf("%s serves, want none", got)
		}
	})
}

// A tier with too few is joined by the next. A tier that has enough does
// without: a good backup is no reason to panic.
func TestTiersOverflow(t *testing.T) {
	c := &clinic{}
	s := checked(threshold(50, spec("a", "b", "c", "d", "e^1", "f^1", "g^2")), c)
	bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
		f := func(sick, want string, panicking bool) {
			t.Helper()
			c.say(sick)
			time.Sleep(time.Minute)
			serving(t, p, want)
			if got := p.Status().Panic; got != panicking {
				t.Errorf("%q are down: panic is %v", sick, got)
			}
		}
		f("", "abcd", false)
		f("ab", "cd", false)
		f("abc", "def", false)
		f("abcd", "ef", false)
		f("abcdef", "g", false)
		f("abcg", "def", false)
		f("abcdefg", "abcdefg", true)
		f("ab", "cd", false)
	})
}

// Ejections count as the probes' verdicts do.
func TestPanicDisregardsEjections(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(passive(threshold(60, spec("a", "b", "c", "d"))), c), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		fail(t, p, "a", 5)
		serving(t, p, "bcd")
		fail(t, p, "b", 5)
		serving(t, p, "abcd")
		if got := state(p); got != "a=ejected b=ejected c=up d=up" {
			t.Error(got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if p.Status().Panic {
			t.Error("still in panic when they are back")
		}
	})
}
