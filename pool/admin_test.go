package pool_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"weir/pool"
)

func TestMark(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(passive(spec("a", "b", "c")), c), func(t *testing.T, p *pool.Pool, j *journal) {
		mark := func(who string, as pool.Admin) {
			t.Helper()
			if err := p.Mark(addr(who), as); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		j.read()

		// drained: no new requests from this moment, but probed
		mark("a", pool.Drain)
		if got := who(p); got != "bc" {
			t.Errorf("%s serve", got)
		}
		mark("a", pool.Drain) // nothing new
		time.Sleep(5 * time.Second)
		if n := c.visits("a"); n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
		want(t, j, "1s a drain")

		// probes cannot undo it, nor does an update
		c.say("a")
		time.Sleep(10 * time.Second)
		c.say("")
		time.Sleep(10 * time.Second)
		p.Update(checked(passive(spec("c", "a", "b")), c))
		serving(t, p, "bc")
		if got := state(p); got != "c=up a=draining b=up" {
			t.Error(got)
		}
		j.read()

		mark("a", pool.Ready)
		if got := who(p); got != "abc" {
			t.Errorf("%s serve", got)
		}
		want(t, j, "26s a ready")
	})
}

// In maintenance nobody asks; afterwards the first pass decides.
func TestMaintenance(t *testing.T) {
	c := &clinic{}
	bubble(t, checked(passive(spec("a", "b")), c), func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		fail(t, p, "a", 5)
		serving(t, p, "b")
		if err := p.Mark(addr("a"), pool.Maintenance); err != nil {
			t.Fatal(err)
		}
		visits := c.visits("a")
		time.Sleep(time.Hour)
		if n := c.visits("a") - visits; n != 0 {
			t.Errorf("probed %d times in maintenance", n)
		}
		if got := state(p); got != "a=maintenance b=up" {
			t.Error(got)
		}
		if err := p.Mark(addr("a"), pool.Ready); err != nil {
			t.Fatal(err)
		}
		if got := state(p); got != "a=unknown b=up" {
			t.Errorf("before the first check: %s", got)
		}
		time.Sleep(50 * time.Millisecond)
		serving(t, p, "ab")

		// it ends an ejection, too: somebody has looked at the machine
		fail(t, p, "a", 5)
		serving(t, p, "b")
		for _, as := range []pool.Admin{pool.Maintenance, pool.Ready} {
			if err := p.Mark(addr("a"), as); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Millisecond)
		serving(t, p, "ab")
	})
}

// Without a check there is nothing to wait for.
func TestMaintenanceWithoutCheck(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a", "b"))
	for _, as := range []pool.Admin{pool.Maintenance, pool.Drain, pool.Ready} {
		if err := p.Mark(addr("a"), as); err != nil {
			t.Fatal(err)
		}
	}
	if got := who(p); got != "ab" {
		t.Errorf("%s serve", got)
	}
}

func TestMarkUnknown(t *testing.T) {
	p := start(t, pool.Options{}, spec("a"))
	var unknown *pool.UnknownBackendError
	err := p.Mark("127.0.0.1:1", pool.Drain)
	if !errors.As(err, &unknown) || unknown.Pool != "web" || unknown.Address != "127.0.0.1:1" {
		t.Errorf("%v", err)
	}
	if err.Error() != `pool web has no backend "127.0.0.1:1"` {
		t.Error(err)
	}
}

func TestAdminIsText(t *testing.T) {
	for _, a := range []pool.Admin{pool.Ready, pool.Drain, pool.Maintenance} {
		text, err := json.Marshal(a)
		if err != nil || string(text) != `"`+a.String()+`"` {
			t.Errorf("%v: %s, %v", a, text, err)
		}
		var back pool.Admin
		if err := json.Unmarshal(text, &back); err != nil || back != a {
			t.Errorf("%s: %v, %v", text, back, err)
		}
	}
	var a pool.Admin
	if err := json.Unmarshal([]byte(`"off"`), &a); err == nil || err.Error() != `unknown administrative state "off"; want ready, drain or maintenance` {
		t.Errorf("%v", err)
	}
}
