package pool_test

import (
	"testing"
	"time"

	"weir/internal/loop"
	"weir/pool"
)

// A retry waits for the one backend that it has not tried. Who has tried nothing
// is not kept from the others by that.
func TestQueueOfARetryBlocksNobody(t *testing.T) {
	q := startQueue(t, 1, 10, patience, "a<3", "b<1")
	var only pool.Lease
	var rest []pool.Lease
	for only.Backend() == nil {
		if l := q.must(0); name(l.Backend().Address()) == "b" {
			only = l
		} else {
			rest = append(rest, l)
		}
	}
	var tried pool.Tried
	tried.Add(rest[0].Backend())
	for _, l := range rest {
		l.Done(pool.Success)
	}
	served := make(chan turn, 2)
	q.g.Loop(0).Go(func() {
		l, err := q.AcquireWait(q.g.Loop(0).Task(), 0, 1, tried, time.Time{})
		served <- turn{0, l, err}
	})
	q.length(1)
	q.g.Loop(0).Go(func() {
		l, err := q.acquire(0, time.Time{})
		served <- turn{1, l, err}
	})
	got := <-served
	if got.n != 1 || got.err != nil || name(got.l.Backend().Address()) != "a" {
		t.Fatalf("request %d was first: %v; want the one that may go to a", got.n, got.err)
	}
	got.l.Done(pool.Success)
	only.Done(pool.Success)
	if got = <-served; got.err != nil || name(got.l.Backend().Address()) != "b" {
		t.Fatalf("the retry: %v", got.err)
	}
	got.l.Done(pool.Success)
}

// A trial has failed, and too many are ejected already for one more: the next
// trial is for who waits, who had looked while the last was still being judged.
func TestQueueAfterATrial(t *testing.T) {
	g, err := loop.New(loop.Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	p := pool.NewSteady("web", pool.Options{Loops: 1}, 0.5)
	defer p.Close()
	q := &queued{Pool: p, t: t, g: g}
	s := withQueue(spec("a<1", "b", "c"), 10, patience)
	s.Passive = pool.Passive{ConsecutiveErrors: 3, Ejection: time.Millisecond, MaxEjected: 50, HalfOpen: true, Enforce: true}
	p.Update(s)
	take := func(who string) pool.Lease {
		for {
			l := q.must(0)
			if name(l.Backend().Address()) == who {
				return l
			}
			l.Done(pool.Success)
		}
	}
	eject := func(who string) {
		for range 3 {
			l := take(who)
			l.Done(pool.ConnectRefused)
		}
	}
	until := func(what string, ok func(b []pool.BackendStatus) bool) {
		t.Helper()
		for end := time.Now().Add(patience); !ok(p.Status().Backends); time.Sleep(100 * time.Microsecond) {
			if time.Now().After(end) {
				t.Fatalf("not within %v: %s", patience, what)
			}
		}
	}
	eject("b")
	until("b is on trial", func(b []pool.BackendStatus) bool { return b[1].HalfOpen && !b[1].Ejected })
	trial := take("b")
	s.Passive.Ejection = time.Hour
	p.Update(s)
	eject("c")
	until("c is ejected", func(b []pool.BackendStatus) bool { return b[2].Ejected })
	only := take("a")
	served := make(chan turn, 1)
	q.wait(0, 0, time.Time{}, served)
	pool.Locked(p, func() {
		trial.Done(pool.ConnectRefused)
		for range 5 {
			q.on(0, func() {}) // the waiter has looked, in vain
		}
	})
	got := <-served
	if got.err != nil || name(got.l.Backend().Address()) != "b" {
		t.Fatalf("who waits for a trial: %v", got.err)
	}
	got.l.Done(pool.Success)
	only.Done(pool.Success)
}
