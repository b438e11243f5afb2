package pool_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/health"
	"weir/pool"
)

var stickyKey = []byte("a secret of sixteen bytes or more")

// sticking is a spec whose clients stick.
func sticking(s pool.Spec) pool.Spec {
	s.StickyKey = stickyKey
	return s
}

// ids are those that clients of the backends in rotation get, by name.
func ids(t testing.TB, p *pool.Pool) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for b := range backends(t, p) {
		all[name(b.Address())] = p.StickyID(b)
	}
	return all
}

// backends are those in rotation, in all tiers.
func backends(t testing.TB, p *pool.Pool) map[*pool.Backend]bool {
	t.Helper()
	all := make(map[*pool.Backend]bool)
	var tried pool.Tried
	for !tried.Full() {
		l, err := p.Acquire(0, tried)
		if err != nil {
			break
		}
		all[l.Backend()] = true
		tried.Add(l.Backend())
		l.Done(pool.ClientClosed)
	}
	return all
}

// back is where a client with that id ends: a name, "busy" or "lost".
func back(p *pool.Pool, id string, tried ...*pool.Backend) string {
	var list pool.Tried
	for _, b := range tried {
		list.Add(b)
	}
	l, busy := p.AcquireSticky(0, []byte(id), list)
	switch {
	case l.Backend() != nil:
		l.Done(pool.Success)
		return name(l.Backend().Address())
	case busy:
		return "busy"
	}
	return "lost"
}

// An id says nothing of the address, and holds for one pool and one key.
func TestStickyIDs(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, sticking(spec("a", "b", "c")))
	all := ids(t, p)
	seen := make(map[string]string)
	for who, id := range all {
		if !regexp.MustCompile(`^[\w-]{22}$`).MatchString(id) {
			t.Errorf("the id of %s is %q", who, id)
		}
		if seen[id] != "" {
			t.Errorf("%s and %s have the same id", who, seen[id])
		}
		seen[id] = who
		if got := back(p, id); got != who {
			t.Errorf("the id of %s leads to %s", who, got)
		}
		// all but itself is nobody's
		for _, id := range []string{id[:21], id + "A", strings.ToUpper(id), flipped(id), ""} {
			if got := back(p, id); got != "lost" || p.Sticks([]byte(id)) {
				t.Errorf("%q leads to %s", id, got)
			}
		}
	}

	f := func(what, poolName string, s pool.Spec, same bool) {
		t.Helper()
		other := pool.New(poolName, pool.Options{Loops: 1})
		defer other.Close()
		other.Update(s)
		for who, id := range ids(t, other) {
			if (all[who] == id) != same || (back(p, id) != "lost") != same {
				t.Errorf("%s: the ids of %s are the same: %v", what, who, all[who] == id)
			}
		}
	}
	f("another Weir", "web", sticking(spec("c^3", "a*9", "b")), true)
	f("another pool", "web2", sticking(spec("a", "b", "c")), false)
	s := spec("a", "b", "c")
	s.StickyKey = []byte("another secret of enough bytes")
	f("another key", "web", s, false)
	f("nobody sticks", "web", spec("a", "b", "c"), false)
}

// flipped changes the last bit that counts.
func flipped(id string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, id[20])
	return id[:20] + string(alphabet[i^1]) + id[21:]
}

// A client goes where it has been, whatever the policy says, and what it does
// takes nobody's turn.
func TestStickyUnderAllPolicies(t *testing.T) {
	for _, balance := range policies {
		p := start(t, pool.Options{Loops: 2}, sticking(under(balance, spec("a*5", "b", "c", "d"))))
		for who, id := range ids(t, p) {
			for loop := range 2 {
				var held []pool.Lease
				for range 20 {
					l, _ := p.AcquireSticky(loop, []byte(id), pool.Tried{})
					if l.Backend() == nil || name(l.Backend().Address()) != who {
						t.Fatalf("%s: a client of %s has %v", balance, who, l.Backend())
					}
					l.Observe(time.Millisecond)
					held = append(held, l)
				}
				release(held)
			}
		}
		if n := pool.CountedInFlight(p); n != 0 {
			t.Errorf("%s: %d in flight by the loops' own count", balance, n)
		}
	}

	p := start(t, pool.Options{Loops: 1}, sticking(spec("a", "b", "c")))
	a := ids(t, p)["a"]
	got := ""
	for range 300 {
		back(p, a)
		got += picks(p, 1)
	}
	for _, who := range "abc" {
		if n := strings.Count(got, string(who)); n != 100 {
			t.Errorf("%c has %d of 300 new clients, want 100", who, n)
		}
	}
}

// Requests of clients that stick are in flight like others: a bound of
// consistent_hash is a share of all.
func TestStickyCountsForTheBound(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, sticking(under(pool.ConsistentHash, spec("a", "b"))))
	all := ids(t, p)
	var held []pool.Lease
	for _, who := range []string{"a", "b"} {
		for range 10 {
			l, _ := p.AcquireSticky(0, []byte(all[who]), pool.Tried{})
			held = append(held, l)
		}
	}
	if n := pool.CountedInFlight(p); n != 20 {
		t.Errorf("%d count, want 20", n)
	}
	// a drained one has no part in the ring
	if err := p.Mark(addr("a"), pool.Drain); err != nil {
		t.Fatal(err)
	}
	l, _ := p.AcquireSticky(0, []byte(all["a"]), pool.Tried{})
	if n := pool.CountedInFlight(p); n != 20 {
		t.Errorf("%d count, want 20", n)
	}
	release(append(held, l))
	if n := pool.CountedInFlight(p); n != 0 {
		t.Errorf("%d count in the end", n)
	}
}

// Who gets no new clients keeps those it has; who is out does not.
func TestStickyAndStates(t *testing.T) {
	c := &clinic{}
	s := sticking(checked(passive(spec("a", "b", "c", "d^1")), c))
	bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		all := ids(t, p)
		a := byName(t, p, "a")
		f := func(what, want string, fresh bool) {
			t.Helper()
			synctest.Wait()
			if got := back(p, all["a"]); got != want {
				t.Errorf("%s: the client is %s, want %s", what, got, want)
			}
			if got := strings.Contains(who(p), "a"); got != fresh || (p.StickyID(a) != "") != fresh {
				t.Errorf("%s: new clients %v, and %q for them, want %v", what, got, p.StickyID(a), fresh)
			}
		}
		mark := func(as pool.Admin) {
			t.Helper()
			if err := p.Mark(addr("a"), as); err != nil {
				t.Fatal(err)
			}
		}
		weight := func(n int) {
			t.Helper()
			if err := p.SetWeight(addr("a"), n); err != nil {
				t.Fatal(err)
			}
		}
		f("ready", "a", true)
		mark(pool.Drain)
		f("drain", "a", false)
		p.Update(s)
		f("drain, after an update", "a", false)
		mark(pool.Maintenance)
		f("maintenance", "lost", false)
		mark(pool.Ready)
		f("not probed yet", "lost", false)
		time.Sleep(time.Second)
		f("ready again", "a", true)
		weight(0)
		f("no weight", "a", false)
		weight(pool.Configured)
		f("its weight", "a", true)

		// drained or not, it has to be fit
		mark(pool.Drain)
		c.say("a")
		time.Sleep(20 * time.Second)
		f("drain and down", "lost", false)
		mark(pool.Ready)
		f("down", "lost", false)
		c.say("")
		time.Sleep(20 * time.Second)
		f("up again", "a", true)
		fail(t, p, "a", 5)
		f("ejected", "lost", false)
		mark(pool.Drain)
		f("drain and ejected", "lost", false)
		time.Sleep(20 * time.Second)
		f("drain, and the ejection is over", "a", false)
		mark(pool.Ready)
		f("ready in the end", "a", true)

		// a backup keeps whom it got while the others were out
		if got := back(p, all["d"]); got != "d" {
			t.Errorf("a client of the second tier is %s", got)
		}

		p.Update(sticking(checked(passive(spec("b", "c")), c)))
		f("not configured", "lost", false)
		zero := spec("a*-1", "b")
		p.Update(sticking(zero))
		f("configured without weight", "a", false)
	})
}

// byName is a backend in rotation.
func byName(t testing.TB, p *pool.Pool, who string) *pool.Backend {
	t.Helper()
	for b := range backends(t, p) {
		if name(b.Address()) == who {
			return b
		}
	}
	t.Fatalf("%s is not in rotation", who)
	return nil
}

// In a panic checks are not believed, those of who is drained neither.
func TestStickyInAPanic(t *testing.T) {
	c := &clinic{}
	bubble(t, threshold(50, sticking(checked(spec("a", "b", "c"), c))), func(t *testing.T, p *pool.Pool, _ *journal) {
		time.Sleep(time.Second)
		all := ids(t, p)
		if err := p.Mark(addr("a"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		c.say("abc")
		time.Sleep(time.Minute)
		if !p.Status().Panic {
			t.Fatal("no panic")
		}
		for who, id := range all {
			if got := back(p, id); got != who {
				t.Errorf("a client of %s is %s", who, got)
			}
		}
	})
}

// agent is a check whose backend says what it wants.
type agent struct {
	clinic
	word string
}

func (a *agent) Report(ctx context.Context, address string) (health.Report, error) {
	a.mu.Lock()
	word := a.word
	a.mu.Unlock()
	r, err := health.ParseReport(word)
	if err != nil {
		return r, err
	}
	return r, a.Probe(ctx, address)
}

// An agent can drain its backend, too, and shut it.
func TestStickyAndAgents(t *testing.T) {
	a := &agent{word: "ready"}
	s := sticking(spec("a"))
	s.Check = &pool.CheckSpec{Check: a, Key: "agent", Interval: time.Second, Timeout: time.Second, Fall: 3, Rise: 2}
	bubble(t, s, func(t *testing.T, p *pool.Pool, j *journal) {
		time.Sleep(time.Second)
		id := ids(t, p)["a"]
		f := func(word, want string) {
			t.Helper()
			a.mu.Lock()
			a.word = word
			a.mu.Unlock()
			time.Sleep(2 * time.Second)
			if got := back(p, id); got != want {
				t.Errorf("after %q the client is %s, want %s", word, got, want)
			}
			if got := who(p) == "a"; got != (word == "ready") {
				t.Errorf("after %q new clients come: %v", word, got)
			}
		}
		f("drain", "a")
		f("maint", "lost")
		f("drain", "a")
		f("ready", "a")
		f("maint", "lost")
		f("ready", "a")
	})
}

// What is full or on trial is so for a moment; what failed this very request is
// not asked again.
func TestStickyBusy(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, sticking(spec("a<2", "b")))
	all, a := ids(t, p), byName(t, p, "a")
	one, _ := p.AcquireSticky(0, []byte(all["a"]), pool.Tried{})
	two, _ := p.AcquireSticky(0, []byte(all["a"]), pool.Tried{})
	if got := back(p, all["a"]); got != "busy" {
		t.Errorf("with two of two requests the client is %s", got)
	}
	if n := a.InFlight(); n != 2 {
		t.Errorf("%d in flight", n)
	}
	if got := back(p, all["a"], a); got != "lost" {
		t.Errorf("tried already: %s", got)
	}
	one.Done(pool.Success)
	if got := back(p, all["a"]); got != "a" {
		t.Errorf("with room again the client is %s", got)
	}
	// drained, the limit holds as well
	if err := p.Mark(addr("a"), pool.Drain); err != nil {
		t.Fatal(err)
	}
	one, _ = p.AcquireSticky(0, []byte(all["a"]), pool.Tried{})
	if got := back(p, all["a"]); got != "busy" {
		t.Errorf("full and drained: %s", got)
	}
	one.Done(pool.Success)
	two.Done(pool.Success)
}

func TestStickyAndTrials(t *testing.T) {
	bubble(t, sticking(halfOpen(spec("a", "b"))), func(t *testing.T, p *pool.Pool, j *journal) {
		id := ids(t, p)["a"]
		l := onTrial(t, p)
		if got := back(p, id); got != "busy" {
			t.Errorf("during a trial the client is %s", got)
		}
		l.Done(pool.ClientClosed)
		// a client's own request may be the trial
		l, _ = p.AcquireSticky(0, []byte(id), pool.Tried{})
		if l.Backend() == nil {
			t.Fatal("no trial")
		}
		wantFrom(t, p, 0)
		l.Done(pool.Success)
		wantFrom(t, p, 50)
		want(t, j, "0s a ejected, 10s a returned")
	})
}

// A drained backend that fails its clients is left by them, and returns on trial
// like any other. It is no part of what max_ejected is about.
func TestDrainedBackendIsEjected(t *testing.T) {
	bubble(t, sticking(halfOpen(spec("a", "b"))), func(t *testing.T, p *pool.Pool, j *journal) {
		id := ids(t, p)["a"]
		if err := p.Mark(addr("a"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		ask := func(o pool.Outcome) {
			t.Helper()
			synctest.Wait()
			l, _ := p.AcquireSticky(0, []byte(id), pool.Tried{})
			if l.Backend() == nil {
				t.Fatal("the client has lost its backend")
			}
			l.Done(o)
			synctest.Wait()
		}
		for range 5 {
			ask(pool.ConnectRefused)
		}
		if got := back(p, id); got != "lost" {
			t.Errorf("the client is %s", got)
		}
		serving(t, p, "b")
		time.Sleep(10 * time.Second)
		ask(pool.Reset)
		if got := back(p, id); got != "lost" {
			t.Errorf("after a trial that failed the client is %s", got)
		}
		time.Sleep(20 * time.Second)
		ask(pool.Success)
		ask(pool.Success)
		want(t, j, "0s a drain, 0s a ejected, 10s a returned, 10s a ejected, 30s a returned")

		// nobody else is left: shunned is no better than tried
		if err := p.Mark(addr("b"), pool.Maintenance); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			ask(pool.ConnectRefused)
		}
	})
}

// A name without an address serves nobody.
func TestStickyUnresolved(t *testing.T) {
	n := &nameServer{}
	named(t, n, func(t *testing.T, p *pool.Pool, _ func() string) {
		s := sticking(pool.Spec{Backends: []pool.BackendSpec{{Address: "app:8080"}, {Address: "127.0.0.1:1"}}})
		p.Update(s)
		synctest.Wait()
		if all := ids(t, p); len(all) != 1 {
			t.Errorf("%d backends have clients, want one", len(all))
		}
		n.say("app", "127.0.0.2")
		time.Sleep(time.Minute)
		if all := backends(t, p); len(all) != 2 {
			t.Fatalf("%d backends have clients, want two", len(all))
		}
		for b := range backends(t, p) {
			if l, _ := p.AcquireSticky(0, []byte(p.StickyID(b)), pool.Tried{}); l.Backend() != b {
				t.Errorf("a client of %s has %v", b.Address(), l.Backend())
			} else {
				l.Done(pool.Success)
			}
		}
	})
}

// Ids follow the key, and end with it.
func TestStickyKeyChanges(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, sticking(spec("a", "b")))
	old := ids(t, p)["a"]
	p.Update(sticking(spec("b", "c", "a*3")))
	if got := back(p, old); got != "a" {
		t.Errorf("after an update the client is %s", got)
	}
	s := spec("a", "b")
	s.StickyKey = []byte("another secret of enough bytes")
	p.Update(s)
	if got := back(p, old); got != "lost" {
		t.Errorf("with another key the client is %s", got)
	}
	if got := back(p, ids(t, p)["a"]); got != "a" {
		t.Errorf("a client of the new key is %s", got)
	}
	p.Update(spec("a", "b"))
	for who, id := range ids(t, p) {
		if id != "" {
			t.Errorf("clients of %s still get %q", who, id)
		}
	}
	p.Update(sticking(spec("a", "b")))
	if got := back(p, old); got != "a" {
		t.Errorf("with the first key again the client is %s", got)
	}
}
