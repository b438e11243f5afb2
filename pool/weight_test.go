package pool_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/pool"
)

func TestSetWeight(t *testing.T) {
	bubble(t, spec("a", "b*2"), func(t *testing.T, p *pool.Pool, j *journal) {
		f := func(who string, weight int, want string) {
			t.Helper()
			if err := p.SetWeight(addr(who), weight); err != nil {
				t.Fatal(err)
			}
			wantRamps(t, p, want)
		}
		f("a", 4, "a=4 b=2")
		if got := strings.Count(picks(p, 600), "a"); got != 400 {
			t.Errorf("a has %d of 600 requests, want 400", got)
		}
		a := p.Status().Backends[0]
		if a.Weight != 1 || a.WeightOverride == nil || *a.WeightOverride != 4 {
			t.Errorf("shown as %+v", a)
		}

		// an update does not undo it, and changes what is beneath it
		p.Update(spec("a*7", "b*2"))
		wantRamps(t, p, "a=4 b=2")
		f("a", 4, "a=4 b=2") // nothing new
		f("a", 0, "a=0 b=2")
		serving(t, p, "b")
		f("a", pool.Configured, "a=7 b=2")
		if a := p.Status().Backends[0]; a.WeightOverride != nil {
			t.Errorf("shown as %+v", a)
		}
		want(t, j, "0s a weight, 0s a weight, 0s a weight")
		if e := j.raw[len(j.raw)-1]; e.Cause != "7, as configured" {
			t.Error(e.Cause)
		}
	})
}

// A weight brings traffic to a backend that is configured to have none.
func TestSetWeightOfNoTraffic(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a*-1", "b"))
	if err := p.SetWeight(addr("a"), 1); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(picks(p, 10), "a"); got != 5 {
		t.Errorf("a has %d of 10 requests, want 5", got)
	}
}

func TestSetWeightErrors(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a"))
	for _, w := range []int{-2, 65536} {
		if err := p.SetWeight(addr("a"), w); err == nil || !strings.Contains(err.Error(), "want 0 to 65535") {
			t.Errorf("weight %d: %v", w, err)
		}
	}
	var unknown *pool.UnknownBackendError
	if err := p.SetWeight("x:1", 1); !errors.As(err, &unknown) {
		t.Errorf("%v", err)
	}
	if _, err := p.History("x:1"); !errors.As(err, &unknown) {
		t.Errorf("%v", err)
	}
}

// The latest 64 changes are kept, through updates, and say why.
func TestHistory(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(spec("a", "b"), c), func(t *testing.T, p *pool.Pool, _ *journal) {
		time.Sleep(time.Second)
		c.say("a")
		time.Sleep(20 * time.Second)
		p.Update(checked(spec("a*3", "b"), c))
		var got []string
		past, err := p.History(addr("a"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range past {
			got = append(got, e.What+": "+e.Cause)
		}
		if s := strings.Join(got, ", "); s != "added: configured, up: check passed, down: feels sick" {
			t.Error(s)
		}

		for i := range 100 {
			if err := p.SetWeight(addr("a"), i); err != nil {
				t.Fatal(err)
			}
		}
		past, _ = p.History(addr("a"))
		for i, e := range past {
			if e.Cause != fmt.Sprintf("%d, set by the operator", 36+i) {
				t.Errorf("the %dth is %s", i, e.Cause)
			}
		}
		if len(past) != 64 {
			t.Errorf("%d are kept, want 64", len(past))
		}
	})
}
