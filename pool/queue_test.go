package pool_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/loop"
	"weir/internal/testkit"
	"weir/pool"
)

// patience bounds what a test waits for; one that hits it fails.
const patience = 10 * time.Second

// queued is a pool with a queue, and loops on which requests can wait in it.
type queued struct {
	*pool.Pool
	t testing.TB
	g *loop.Group
}

func startQueue(t testing.TB, loops, size int, timeout time.Duration, words ...string) *queued {
	t.Helper()
	testkit.NoLeaks(t)
	g, err := loop.New(loop.Options{Loops: loops})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	q := &queued{Pool: start(t, pool.Options{Loops: loops}, withQueue(spec(words...), size, timeout)), t: t, g: g}
	return q
}

func withQueue(s pool.Spec, size int, timeout time.Duration) pool.Spec {
	s.Queue = pool.QueueSpec{Size: size, Timeout: timeout}
	return s
}

// on runs f on a coroutine of a loop, and returns once f has.
func (q *queued) on(loop int, f func()) {
	done := make(chan struct{})
	q.g.Loop(loop).Go(func() { defer close(done); f() })
	<-done
}

// acquire is what a request does: it takes a backend or waits for one.
func (q *queued) acquire(loop int, until time.Time) (pool.Lease, error) {
	l, err := q.AcquireKey(loop, 1, pool.Tried{})
	if err == pool.ErrAllFull {
		return q.AcquireWait(q.g.Loop(loop).Task(), loop, 1, pool.Tried{}, until)
	}
	return l, err
}

// must takes a backend that is free.
func (q *queued) must(loop int) (l pool.Lease) {
	q.t.Helper()
	q.on(loop, func() {
		var err error
		if l, err = q.acquire(loop, time.Time{}); err != nil {
			q.t.Errorf("acquire: %v", err)
		}
	})
	return l
}

// length waits until that many requests wait.
func (q *queued) length(n int) {
	q.t.Helper()
	for end := time.Now().Add(patience); q.Status().Queue.Length != n; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			q.t.Fatalf("%d requests wait, want %d", q.Status().Queue.Length, n)
		}
	}
}

type turn struct {
	n   int
	l   pool.Lease
	err error
}

// wait puts request n into the queue, behind the before that are there.
func (q *queued) wait(n, before int, until time.Time, served chan<- turn) {
	q.t.Helper()
	loop := n % q.g.Len()
	q.g.Loop(loop).Go(func() {
		l, err := q.acquire(loop, until)
		served <- turn{n, l, err}
	})
	q.length(before + 1)
}

func TestQueueIsFair(t *testing.T) {
	q := startQueue(t, 3, 10, patience, "a<1")
	l := q.must(0)
	served := make(chan turn, 10)
	for n := range 6 {
		q.wait(n, n, time.Time{}, served)
	}
	for n := range 6 {
		l.Done(pool.Success)
		got := <-served
		if got.err != nil || got.n != n {
			t.Fatalf("request %d had the turn of %d: %v", got.n, n, got.err)
		}
		l = got.l
		// one that comes now does not get ahead of those that wait
		if n < 5 {
			if _, err := q.AcquireKey(0, 1, pool.Tried{}); err != pool.ErrAllFull {
				t.Errorf("a newcomer was told %v, want that all are full", err)
			}
		}
	}
	l.Done(pool.Success)
	if st := q.Status(); st.Queue.Length != 0 || st.Backends[0].InFlight != 0 {
		t.Errorf("at the end %+v", st)
	}
}

func TestQueueLimits(t *testing.T) {
	q := startQueue(t, 1, 2, patience, "a<1")
	l := q.must(0)
	served := make(chan turn, 10)
	q.wait(0, 0, time.Now().Add(20*time.Millisecond), served)
	q.wait(1, 1, time.Time{}, served)
	q.on(0, func() {
		if _, err := q.acquire(0, time.Time{}); err != pool.ErrQueueFull {
			t.Errorf("a third of two: %v", err)
		}
	})
	if got := <-served; got.n != 0 || got.err != pool.ErrQueueTimeout {
		t.Errorf("request %d ended with %v, want 0 out of time", got.n, got.err)
	}
	q.length(1)
	l.Done(pool.Success)
	got := <-served
	if got.err != nil {
		t.Fatal(got.err)
	}

	// the pool's own time
	q.Update(withQueue(spec("a<1"), 2, 10*time.Millisecond))
	q.on(0, func() {
		if _, err := q.acquire(0, time.Time{}); err != pool.ErrQueueTimeout {
			t.Errorf("beyond the pool's time: %v", err)
		}
	})
	// and no queue at all
	q.Update(spec("a<1"))
	q.on(0, func() {
		if _, err := q.acquire(0, time.Time{}); err != pool.ErrQueueFull {
			t.Errorf("without a queue: %v", err)
		}
	})
	got.l.Done(pool.Success)
}

// Whatever makes room lets as many go as there is room for.
func TestQueueAndChanges(t *testing.T) {
	q := startQueue(t, 2, 10, patience, "a<1")
	l := q.must(0)
	served := make(chan turn, 10)
	for n := range 6 {
		q.wait(n, n, time.Time{}, served)
	}
	q.Update(withQueue(spec("a<1", "b<3"), 10, patience))
	var held []pool.Lease
	for range 3 {
		got := <-served
		if got.err != nil || name(got.l.Backend().Address()) != "b" {
			t.Fatalf("%+v, want a lease of b", got)
		}
		held = append(held, got.l)
	}
	q.length(3)

	// when nobody is left, nobody waits for them
	if err := q.Mark(addr("a"), pool.Maintenance); err != nil {
		t.Fatal(err)
	}
	q.length(3)
	if err := q.Mark(addr("b"), pool.Maintenance); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := <-served; got.err != pool.ErrNoHealthy {
			t.Errorf("%+v, want no healthy backend", got)
		}
	}
	for _, l := range append(held, l) {
		l.Done(pool.Success)
	}
}

// A request that has tried the backend that is free lets the next one have it.
func TestQueueOfTheChoosy(t *testing.T) {
	q := startQueue(t, 1, 10, patience, "a<1", "b<1")
	la := q.must(0)
	lb := q.must(0)
	if name(la.Backend().Address()) != "a" {
		la, lb = lb, la
	}
	served := make(chan turn, 10)
	var tried pool.Tried
	tried.Add(la.Backend())
	q.g.Loop(0).Go(func() {
		l, err := q.AcquireWait(q.g.Loop(0).Task(), 0, 1, tried, time.Time{})
		served <- turn{0, l, err}
	})
	q.length(1)
	q.wait(1, 1, time.Time{}, served)
	la.Done(pool.Success)
	second := <-served
	if second.n != 1 || second.err != nil {
		t.Fatalf("%+v, want request 1 on a", second)
	}
	lb.Done(pool.Success)
	first := <-served
	if first.err != nil || name(first.l.Backend().Address()) != "b" {
		t.Fatalf("%+v, want request 0 on b", first)
	}
	first.l.Done(pool.Success)
	second.l.Done(pool.Success)
}

// A task that is cancelled leaves, and its turn is the next one's.
func TestQueueAndClientsThatLeave(t *testing.T) {
	q := startQueue(t, 1, 10, patience, "a<1")
	l := q.must(0)
	served := make(chan turn, 10)
	ln, err := q.g.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Serve(func(c *loop.Conn) {
		defer c.Close()
		task := c.Loop().Task()
		c.SetHangupTask(task, 0)
		l, err := q.AcquireWait(task, 0, 1, pool.Tried{}, time.Time{})
		c.SetHangupTarget(nil, 0)
		served <- turn{0, l, err}
	}, 0)
	leaver := testkit.Dial(t, ln.Addr().String())
	leaver.Send("x")
	q.length(1)
	q.wait(1, 1, time.Time{}, served)
	leaver.Conn.Close()
	if got := <-served; got.n != 0 || got.err != pool.ErrLeft {
		t.Fatalf("%+v, want that 0 has left", got)
	}
	l.Done(pool.Success)
	got := <-served
	if got.n != 1 || got.err != nil {
		t.Fatalf("%+v, want request 1 served", got)
	}
	got.l.Done(pool.Success)
}

// When it is known that a turn would come too late, nobody waits for it.
func TestQueueThatIsTooLong(t *testing.T) {
	q := startQueue(t, 1, 100, patience, "a<1")
	l := q.must(0)
	served := make(chan turn, 100)
	for n := range 40 {
		q.wait(n, n, time.Time{}, served)
	}
	for range 20 {
		time.Sleep(2 * time.Millisecond) // this is the service, not a wait for something
		l.Done(pool.Success)
		l = (<-served).l
	}
	q.on(0, func() {
		// 20 wait for 2 ms each: 1 ms is hopeless, a minute is not
		if _, err := q.acquire(0, time.Now().Add(time.Millisecond)); err != pool.ErrQueueTimeout {
			t.Errorf("%v, want that it would take too long", err)
		}
	})
	q.length(20)
	q.wait(40, 20, time.Now().Add(time.Minute), served)
	for range 21 {
		l.Done(pool.Success)
		got := <-served
		if got.err != nil {
			t.Fatal(got.err)
		}
		l = got.l
	}
	l.Done(pool.Success)
}

// Many loops, backends that come and go: nobody is forgotten, and nobody is
// served beyond a limit.
func TestQueueStorm(t *testing.T) {
	const loops, requests = 4, 400
	q := startQueue(t, loops, loops*requests, time.Minute, "a<2", "b<1")
	most := map[string]int{"a": 2, "b": 1, "c": 2}
	var all sync.WaitGroup
	var bad, ended atomic.Int64
	for i := range loops {
		all.Add(requests)
		for n := range requests {
			q.g.Loop(i).Go(func() {
				defer all.Done()
				l, err := q.acquire(i, time.Time{})
				if err != nil {
					bad.Add(1)
					return
				}
				if b := l.Backend(); b.InFlight() > most[name(b.Address())] {
					bad.Add(1)
				}
				switch n % 3 {
				case 0:
					q.g.Loop(i).Task().Yield()
				case 1:
					q.g.Loop(i).Task().Sleep(50 * time.Microsecond)
				}
				l.Done(pool.Success)
				ended.Add(1)
			})
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				q.Update(withQueue(spec([][]string{{"a<2", "b<1"}, {"a<2"}, {"a<2", "c<2"}}[n%3]...), loops*requests, time.Minute))
				time.Sleep(time.Millisecond)
			}
		}
	}()
	all.Wait()
	close(stop)
	<-stopped
	if ended.Load() != loops*requests || bad.Load() > 0 {
		t.Errorf("%d of %d were served, %d not", ended.Load(), loops*requests, bad.Load())
	}
	st := q.Status()
	left := slices.ContainsFunc(st.Backends, func(b pool.BackendStatus) bool { return b.InFlight != 0 })
	if st.Queue.Length != 0 || left {
		t.Errorf("left behind: %s", fmt.Sprint(st))
	}
}
