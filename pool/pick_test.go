package pool_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"weir/pool"
)

// count makes n requests on each of the loops at once, and returns how many
// each backend got on each loop.
func count(t *testing.T, p *pool.Pool, loops, n int) []map[string]int {
	t.Helper()
	got := make([]map[string]int, loops)
	var wg sync.WaitGroup
	for loop := range loops {
		got[loop] = make(map[string]int)
		wg.Go(func() {
			byBackend := make(map[*pool.Backend]int)
			for range n {
				l, err := p.Acquire(loop, pool.Tried{})
				if err != nil {
					t.Error(err)
					return
				}
				byBackend[l.Backend()]++
				l.Done(pool.Success)
			}
			for b, n := range byBackend {
				got[loop][name(b.Address())] = n
			}
		})
	}
	wg.Wait()
	return got
}

// In 100,000 picks each loop is never further from the weights than what one
// cycle of the schedule holds.
func TestDistribution(t *testing.T) {
	const n = 100_000
	f := func(balance string, loops int, cycle int, share map[string]int, words ...string) {
		t.Helper()
		s := spec(words...)
		s.Balance = balance
		p := start(t, pool.Options{Loops: loops}, s)
		for loop, got := range count(t, p, loops, n) {
			for who, part := range share {
				want := float64(n) * float64(part) / float64(cycle)
				if math.Abs(float64(got[who])-want) > float64(part) {
					t.Errorf("%s %v loop %d: %s has %d, want %.0f give or take %d",
						balance, words, loop, who, got[who], want, part)
				}
			}
		}
	}

	// one loop
	f("", 1, 10, map[string]int{"a": 5, "b": 3, "c": 2}, "a*5", "b*3", "c*2")
	f(pool.WeightedRoundRobin, 1, 7, map[string]int{"a": 5, "b": 1, "c": 1}, "a*5", "b*1", "c*1")
	f(pool.WeightedRoundRobin, 1, 3, map[string]int{"a": 1, "b": 1, "c": 1}, "a*9", "b*9", "c*9")
	f(pool.WeightedRoundRobin, 1, 102, map[string]int{"a": 100, "b": 1, "c": 1}, "a*100", "b", "c*0")
	f(pool.WeightedRoundRobin, 1, 1, map[string]int{"a": 1}, "a*3")

	// round_robin does not look at weights
	f(pool.RoundRobin, 1, 3, map[string]int{"a": 1, "b": 1, "c": 1}, "a*5", "b*3", "c*2")

	// several at once
	f(pool.WeightedRoundRobin, 4, 10, map[string]int{"a": 5, "b": 3, "c": 2}, "a*5", "b*3", "c*2")
	f(pool.RoundRobin, 3, 2, map[string]int{"a": 1, "b": 1}, "a*5", "b*3")
}

// Loops that begin together must not send their first requests to the same
// backend, nor go on in step.
func TestLoopsStartApart(t *testing.T) {
	f := func(loops int, words ...string) {
		t.Helper()
		p := start(t, pool.Options{Loops: loops}, spec(words...))
		for range 2 * len(words) {
			var row strings.Builder
			for loop := range loops {
				l, err := p.Acquire(loop, pool.Tried{})
				if err != nil {
					t.Fatal(err)
				}
				row.WriteString(name(l.Backend().Address()))
				l.Done(pool.Success)
			}
			for i, r := range row.String() {
				if strings.IndexRune(row.String(), r) != i {
					t.Errorf("%d loops over %v pick %s at the same time", loops, words, row.String())
				}
			}
		}
	}
	f(2, "a", "b")
	f(2, "a", "b", "c")
	f(3, "a", "b", "c")
	f(4, "a", "b", "c", "d", "e", "f", "g", "h")
}

func TestNoRunOfFive(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a*5", "b", "c"))
	if got := picks(p, 700); strings.Contains(got, "aaaaa") {
		t.Errorf("five in a row: %s", got)
	}
}

// A pool that is changed all the time does not start over each time.
func TestCursorSurvivesUpdates(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a", "b", "c"))
	var got strings.Builder
	for i := range 300 {
		p.Update(spec("a", "b", "c", fmt.Sprintf("d^%d", 1+i%2)))
		got.WriteString(picks(p, 1))
	}
	for _, who := range "abc" {
		if n := strings.Count(got.String(), string(who)); n != 100 {
			t.Errorf("%c has %d of 300 picks, each after an update; want 100", who, n)
		}
	}
}

func TestMaxRequests(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a<2", "b<1", "c<3"))
	var leases []pool.Lease
	got := map[string]int{}
	for range 6 {
		l, who := take(p)
		leases = append(leases, l)
		got[who]++
	}
	if fmt.Sprint(got) != "map[a:2 b:1 c:3]" {
		t.Errorf("six requests at once: %v", got)
	}
	if _, who := take(p); who != "full" {
		t.Errorf("the seventh went to %s, want full", who)
	}
	leases[0].Done(pool.Success)
	_, who := take(p)
	if want := name(leases[0].Backend().Address()); who != want {
		t.Errorf("went to %s, want %s, which has room again", who, want)
	}
}

// A full backend's turns are spread over the others, not given to one of them.
func TestFullBackendsTurnsAreShared(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a<1", "b", "c"))
	l, who := take(p)
	if who != "a" {
		t.Fatalf("the first pick is %s", who)
	}
	got := picks(p, 300)
	if b, c := strings.Count(got, "b"), strings.Count(got, "c"); b != 150 || c != 150 {
		t.Errorf("while a is full b has %d and c %d of 300, want 150 each", b, c)
	}
	l.Done(pool.Success)
}

// The limit holds whatever the loops do at once.
func TestMaxRequestsIsExact(t *testing.T) {
	p := start(t, pool.Options{Loops: 4}, spec("a<3"))
	var wg sync.WaitGroup
	for loop := range 4 {
		wg.Go(func() {
			var held []pool.Lease
			for i := range 20_000 {
				if l, err := p.Acquire(loop, pool.Tried{}); err == nil {
					held = append(held, l)
					if n := l.Backend().InFlight(); n > 3 {
						t.Errorf("%d in flight, want 3 at most", n)
						return
					}
				}
				if len(held) > 0 && i%2 == 1 {
					held[0].Done(pool.Success)
					held = held[1:]
				}
			}
			for i := range held {
				held[i].Done(pool.Success)
			}
		})
	}
	wg.Wait()
	if n := p.Status().Backends[0].InFlight; n != 0 {
		t.Errorf("%d in flight in the end", n)
	}
}

func TestTried(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a*9", "b", "c"))
	la, _ := take(p)
	a := la.Backend()
	for range 50 {
		if l, who := take(p, a); who != "b" && who != "c" {
			t.Fatalf("a was tried, picked %s", who)
		} else {
			l.Done(pool.Success)
		}
	}
	lb, _ := take(p, a)
	lc, _ := take(p, a, lb.Backend())
	if _, who := take(p, a, lb.Backend(), lc.Backend()); who != "none" {
		t.Errorf("all were tried, picked %s", who)
	}

	// to be full is another thing than to have been tried
	p.Update(spec("a<1", "b<1"))
	p.Update(spec("a<1", "b"))
	if _, who := take(p, lb.Backend(), lc.Backend()); who != "full" {
		t.Errorf("a is full and b was tried: %s, want full", who)
	}
}

// A member far off in the schedule is found nevertheless.
func TestTriedNextToAMuchHeavierOne(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a*60000", "b"))
	l, _ := take(p)
	a := l.Backend()
	for range 10 {
		if _, who := take(p, a); who != "b" {
			t.Fatalf("picked %s, want b", who)
		}
	}
}

// A request remembers as many backends as it can try, and says when it is full.
func TestTriedRemembersTen(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"))
	var tried pool.Tried
	var all []*pool.Backend
	for i := range 12 {
		if tried.Full() != (i >= 10) {
			t.Errorf("with %d entered Full is %v", i, tried.Full())
		}
		l, _ := take(p)
		tried.Add(l.Backend())
		all = append(all, l.Backend())
	}
	for i, b := range all {
		if got, want := tried.Has(b), i < 10; got != want {
			t.Errorf("backend %d: Has is %v", i, got)
		}
	}
}

// A backend without traffic is shown and can be marked, and no request meets
// it, not even when it is the only one left.
func TestNoTraffic(t *testing.T) {
	for _, balance := range []string{pool.WeightedRoundRobin, pool.RoundRobin} {
		s := spec("a*-1", "b")
		s.Balance = balance
		p := start(t, pool.Options{Loops: 1}, s)
		if got := picks(p, 6); got != "bbbbbb" {
			t.Errorf("%s: picked %s, want b alone", balance, got)
		}
		if b := p.Status().Backends[0]; b.Weight != 0 || b.EffectiveWeight != 0 || b.State != pool.StateUp {
			t.Errorf("%s: shown as %+v, want weight 0 and up", balance, b)
		}
		if err := p.Mark(addr("b"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		if _, who := take(p); who != "none" {
			t.Errorf("%s: %s serves, want none", balance, who)
		}
	}
}

func TestTiers(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a^1", "b", "c", "d^2"))
	f := func(want string) {
		t.Helper()
		if got := who(p); got != want {
			t.Errorf("%s serve, want %s", got, want)
		}
		for _, r := range picks(p, 10) {
			if !strings.ContainsRune(want, r) {
				t.Errorf("picked %c, want one of %s", r, want)
			}
		}
	}
	mark := func(who string, as pool.Admin) {
		t.Helper()
		if err := p.Mark(addr(who), as); err != nil {
			t.Fatal(err)
		}
	}

	// the lowest tier with a usable backend serves, wherever it is in the list
	f("bc")
	mark("b", pool.Drain)
	f("c")
	mark("c", pool.Drain)
	f("a")
	mark("a", pool.Drain)
	f("d")
	mark("b", pool.Ready)
	f("b")
}

// A retry that has tried the whole tier goes on in the next; a request that
// finds the tier full does not.
func TestTiersAndRetries(t *testing.T) {
	p := start(t, pool.Options{Loops: 1}, spec("a<1", "b^1"))
	l, _ := take(p)
	if _, who := take(p); who != "full" {
		t.Errorf("the first tier is full: %s, want full", who)
	}
	if _, who := take(p, l.Backend()); who != "b" {
		t.Errorf("the first tier was tried: %s, want b", who)
	}
}

func TestNobody(t *testing.T) {
	p := pool.New("web", pool.Options{})
	defer p.Close()
	f := func(s pool.Spec, want string) {
		t.Helper()
		p.Update(s)
		if _, got := take(p); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if _, got := take(p); got != "empty" {
		t.Errorf("a new pool: %s, want empty", got)
	}
	f(spec(), "empty")
	f(pool.Spec{Backends: []pool.BackendSpec{{Address: "no address"}}}, "empty")
	f(spec("a"), "a")
	if err := p.Mark(addr("a"), pool.Maintenance); err != nil {
		t.Fatal(err)
	}
	if _, got := take(p); got != "none" {
		t.Errorf("all in maintenance: %s, want none", got)
	}
}

func TestSecondDonePanics(t *testing.T) {
	f := func(what string, l pool.Lease) {
		t.Helper()
		defer func() {
			if v := recover(); v == nil || !strings.HasPrefix(fmt.Sprint(v), "BUG:") {
				t.Errorf("%s: recovered %v, want BUG:", what, v)
			}
		}()
		l.Done(pool.Success)
	}
	p := start(t, pool.Options{Loops: 1}, spec("a"))
	l, _ := take(p)
	copied := l
	l.Done(pool.Success)
	f("a second time", l)
	f("a copy", copied)
	f("a zero lease", pool.Lease{})
}

func TestAcquireAndDoneDoNotAllocate(t *testing.T) {
	f := func(what string, s pool.Spec) {
		t.Helper()
		p := start(t, pool.Options{Loops: 2}, s)
		first, _ := p.Acquire(0, pool.Tried{})
		avoid := first.Backend()
		n := testing.AllocsPerRun(1000, func() {
			l, err := p.Acquire(1, pool.Tried{})
			if err != nil {
				t.Fatal(err)
			}
			l.Done(pool.ConnectRefused)
			var tried pool.Tried
			tried.Add(avoid)
			if l, err = p.Acquire(1, tried); err == nil {
				l.Done(pool.Success)
			}
		})
		if n != 0 {
			t.Errorf("%s: Acquire and Done allocate %v times, want 0", what, n)
		}
	}
	f("weights", spec("a*5", "b", "c"))
	f("limits", spec("a<5", "b<5", "c<5"))
	f("tiers", spec("a", "b^1"))
	f("far off", spec("a*60000", "b"))
}

func BenchmarkAcquireDone(b *testing.B) {
	for _, n := range []int{3, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var s pool.Spec
			for i := range n {
				s.Backends = append(s.Backends, pool.BackendSpec{Address: fmt.Sprintf("127.0.0.1:%d", 1+i), MaxRequests: 1024})
			}
			p := start(b, pool.Options{Loops: 1}, s)
			b.ReportAllocs()
			for b.Loop() {
				l, _ := p.Acquire(0, pool.Tried{})
				l.Done(pool.Success)
			}
		})
	}
}
