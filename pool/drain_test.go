package pool_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/metrics"
	"weir/pool"
)

// ward is whoever holds leases: it closes those whose end has come, as the
// proxy does.
type ward struct {
	start time.Time

	mu   sync.Mutex
	held []*held
	told int      // calls of Expire
	ends []string // "a request 5m0s"
}

type held struct {
	lease  pool.Lease
	stream bool
	draw   float64
}

func (w *ward) expire(b *pool.Backend, d pool.Deadline, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told++
	left := w.held[:0:0]
	for _, h := range w.held {
		on := h.lease.Backend()
		if end := d.End(h.stream, h.draw); on.Lineage() != b.Lineage() || end.IsZero() || end.After(now) {
			left = append(left, h)
			continue
		}
		h.lease.Done(pool.Drained)
		what := "request"
		if h.stream {
			what = "stream"
		}
		w.ends = append(w.ends, fmt.Sprintf("%s %s %v", name(on.Address()), what, now.Sub(w.start).Round(time.Second)))
	}
	w.held = left
}

// read returns what was closed since the last read.
func (w *ward) read() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.ends, ", ")
	w.ends = nil
	return s
}

// request takes a lease that only ends when it is closed.
func (w *ward) request(t *testing.T, p *pool.Pool) {
	t.Helper()
	l, who := take(p)
	if l.Backend() == nil {
		t.Fatal(who)
	}
	w.hold(&held{lease: l})
}

// hold takes leases in.
func (w *ward) hold(h ...*held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, h...)
}

// calls is how often Expire was called.
func (w *ward) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told
}

// lose forgets what is held: nobody can close it.
func (w *ward) lose() (lost []*held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lost, w.held = w.held, nil
	return lost
}

// stream is request for a stream.
func (w *ward) stream(t *testing.T, p *pool.Pool, draw float64) {
	t.Helper()
	l, who := take(p)
	if l.Backend() == nil {
		t.Fatal(who)
	}
	l.Stream()
	w.hold(&held{lease: l, stream: true, draw: draw})
}

// inWard runs a pool with a ward in a bubble. Its Spec drains within five
// minutes.
func inWard(t *testing.T, s pool.Spec, f func(t *testing.T, p *pool.Pool, w *ward, j *journal)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, j := &ward{start: time.Now()}, &journal{start: time.Now()}
		p := pool.NewSteady("web", pool.Options{Loops: 1, Events: j.note, Expire: w.expire}, 0.5)
		defer p.Close()
		p.Update(within(s, 5*time.Minute))
		j.read()
		f(t, p, w, j)
	})
}

func within(s pool.Spec, d time.Duration) pool.Spec {
	s.DrainTimeout = d
	return s
}

func mark(t *testing.T, p *pool.Pool, who string, as pool.Admin) {
	t.Helper()
	if err := p.Mark(addr(who), as); err != nil {
		t.Fatal(err)
	}
}

func markWithin(t *testing.T, p *pool.Pool, who string, as pool.Admin, d time.Duration) {
	t.Helper()
	if err := p.MarkWithin(addr(who), as, d); err != nil {
		t.Fatal(err)
	}
}

func TestDeadlineEnds(t *testing.T) {
	start := time.Now()
	d := pool.Deadline{Spread: start.Add(3 * time.Minute), Until: start.Add(5 * time.Minute)}
	f := func(stream bool, draw float64, want time.Duration) {
		t.Helper()
		if got := d.End(stream, draw).Sub(start); got != want {
			t.Errorf("stream %v, draw %v: %v, want %v", stream, draw, got, want)
		}
	}
	// a request has all the time there is
	f(false, 0, 5*time.Minute)
	f(false, 0.5, 5*time.Minute)

	// streams end one after the other
	f(true, 0, 3*time.Minute)
	f(true, 0.25, 3*time.Minute+30*time.Second)
	f(true, 0.5, 4*time.Minute)

	for _, stream := range []bool{false, true} {
		if end := (pool.Deadline{}).End(stream, 0.5); !end.IsZero() {
			t.Errorf("without a deadline it ends at %v", end)
		}
	}
}

// What ends by itself in time is not touched; streams end in the second half,
// each at its own moment, and requests at the deadline.
func TestDrainEnds(t *testing.T) {
	inWard(t, spec("a"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		quick, _ := take(p)
		w.request(t, p)
		w.stream(t, p, 0)
		w.stream(t, p, 0.5)
		w.stream(t, p, 0.9)
		begin := time.Now()
		mark(t, p, "a", pool.Drain)
		time.Sleep(time.Minute)
		quick.Done(pool.Success)

		b := p.Status().Backends[0]
		if d := b.Drain; b.InFlight != 4 || b.Streams != 3 || d == nil || d.Closed != 0 || !d.Empty.IsZero() ||
			!d.Since.Equal(begin) || d.Until.Sub(begin) != 5*time.Minute {
			t.Errorf("%+v %+v", b, b.Drain)
		}
		if n := w.calls(); n != 0 {
			t.Errorf("told %d times before anything could have ended", n)
		}
		time.Sleep(time.Hour)
		if got, want := w.read(), "a stream 2m30s, a stream 3m45s, a stream 4m45s, a request 5m0s"; got != want {
			t.Errorf("closed %s, want %s", got, want)
		}
		b = p.Status().Backends[0]
		if d := b.Drain; b.InFlight != 0 || b.Streams != 0 || d.Closed != 4 || d.Empty.Sub(begin) != 5*time.Minute {
			t.Errorf("in the end: %+v %+v", b, b.Drain)
		}
		if b.Errors != 0 || b.State != pool.StateDraining {
			t.Errorf("what Weir closed is blamed on the backend: %+v", b)
		}
		want(t, j, "0s a drain, 5m0s a drained")
		if cause := j.raw[len(j.raw)-1].Cause; cause != "nothing runs on it after 5m0s; 4 closed by the deadline" {
			t.Error(cause)
		}
		if n := w.calls(); n > 200 {
			t.Errorf("told %d times", n)
		}
	})
}

// A drain of an idle backend is over at once, and nobody is told twice.
func TestDrainOfNothing(t *testing.T) {
	inWard(t, spec("a", "b"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		mark(t, p, "a", pool.Drain)
		if d := p.Status().Backends[0].Drain; d.Empty.IsZero() {
			t.Errorf("%+v", d)
		}
		time.Sleep(time.Hour)
		want(t, j, "0s a drain")
		if n := w.calls(); n != 0 {
			t.Errorf("told %d times", n)
		}
	})
}

func TestReadyCancelsTheDrain(t *testing.T) {
	inWard(t, spec("a"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		w.request(t, p)
		w.stream(t, p, 0.9)
		mark(t, p, "a", pool.Drain)
		time.Sleep(4 * time.Minute)
		mark(t, p, "a", pool.Ready)
		if d := p.Status().Backends[0].Drain; d != nil {
			t.Errorf("%+v", d)
		}
		time.Sleep(time.Hour)
		if got := w.read(); got != "" {
			t.Errorf("closed %s", got)
		}

		// the next one starts anew
		mark(t, p, "a", pool.Drain)
		time.Sleep(time.Hour)
		if got := w.read(); got != "a stream 1h8m45s, a request 1h9m0s" {
			t.Errorf("closed %s", got)
		}
		if d := p.Status().Backends[0].Drain; d.Closed != 2 {
			t.Errorf("%+v", d)
		}
	})
}

// Maintenance lets what runs finish in the same way; from one to the other the
// time goes on.
func TestMaintenanceDrains(t *testing.T) {
	inWard(t, spec("a"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		w.request(t, p)
		mark(t, p, "a", pool.Maintenance)
		time.Sleep(3 * time.Minute)
		mark(t, p, "a", pool.Drain)
		mark(t, p, "a", pool.Drain)
		p.Update(within(spec("a", "b"), time.Hour))
		time.Sleep(time.Hour)
		if got := w.read(); got != "a request 5m0s" {
			t.Errorf("closed %s", got)
		}
		want(t, j, "0s a maintenance, 3m0s a drain, 3m0s b added, 5m0s a drained")
	})
}

func TestDrainWithin(t *testing.T) {
	inWard(t, spec("a", "b", "c"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		for range 3 {
			w.request(t, p)
		}
		markWithin(t, p, "a", pool.Drain, time.Minute)
		markWithin(t, p, "b", pool.Drain, 0)
		mark(t, p, "c", pool.Drain)
		time.Sleep(10 * time.Second)
		markWithin(t, p, "c", pool.Drain, 10*time.Second) // hurry
		time.Sleep(time.Hour)
		if got := w.read(); got != "c request 20s, a request 1m0s" {
			t.Errorf("closed %s", got)
		}
		if b := p.Status().Backends[1]; b.InFlight != 1 || !b.Drain.Until.IsZero() {
			t.Errorf("without a deadline: %+v %+v", b, b.Drain)
		}
		markWithin(t, p, "b", pool.Maintenance, time.Minute)
		time.Sleep(time.Hour)
		if got := w.read(); got != "b request 1h1m10s" {
			t.Errorf("closed %s", got)
		}
	})
}

// A deadline that is moved spreads what is left of the streams over its own time.
func TestDeadlineMoves(t *testing.T) {
	inWard(t, spec("a"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		w.stream(t, p, 0.5)
		w.stream(t, p, 0.8)
		mark(t, p, "a", pool.Drain)
		time.Sleep(2 * time.Minute)
		markWithin(t, p, "a", pool.Drain, 20*time.Minute)
		time.Sleep(time.Hour)
		if got := w.read(); got != "a stream 17m0s, a stream 20m0s" {
			t.Errorf("closed %s", got)
		}
	})
}

// Whoever was connecting when the deadline came is closed when he can be.
func TestDeadlineIsRepeated(t *testing.T) {
	inWard(t, spec("a"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		w.request(t, p)
		lost := w.lose()
		mark(t, p, "a", pool.Drain)
		time.Sleep(5*time.Minute + 2500*time.Millisecond)
		w.hold(lost...)
		time.Sleep(time.Minute)
		if got := w.read(); got != "a request 5m3s" {
			t.Errorf("closed %s", got)
		}
	})
}

// A backend that is removed is shown while something runs on it, and drained.
func TestRemovedBackendDrains(t *testing.T) {
	inWard(t, spec("a", "b"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		w.request(t, p)
		l, _ := take(p)
		l.Done(pool.Success)
		w.stream(t, p, 0.5)
		p.Update(within(spec("c"), 5*time.Minute))
		time.Sleep(time.Minute)
		s := p.Status()
		if len(s.Leaving) != 1 {
			t.Fatalf("%+v", s)
		}
		if b := s.Leaving[0]; b.Address != addr("a") || b.State != pool.StateDraining || b.Cause != "no longer configured" ||
			b.InFlight != 2 || b.Streams != 1 || b.Drain.Until.Sub(w.start) != 5*time.Minute || b.EffectiveWeight != 0 {
			t.Errorf("%+v %+v", b, b.Drain)
		}
		time.Sleep(time.Hour)
		if got := w.read(); got != "a stream 3m45s, a request 5m0s" {
			t.Errorf("closed %s", got)
		}
		if s := p.Status(); s.Leaving != nil || !p.Idle() {
			t.Errorf("it is still leaving: %+v", s)
		}
		want(t, j, "0s c added, 0s a removed, 0s b removed, 5m0s a drained")
	})
}

// Its deadline can be moved, and nothing else done to it.
func TestLeavingBackendIsHurried(t *testing.T) {
	inWard(t, spec("a"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		w.request(t, p)
		p.Update(within(spec("b"), 5*time.Minute))
		if p.Mark(addr("a"), pool.Drain) == nil || p.MarkWithin(addr("a"), pool.Ready, time.Second) == nil {
			t.Error("a backend that has left was marked")
		}
		markWithin(t, p, "a", pool.Drain, 10*time.Second)
		time.Sleep(time.Hour)
		if got := w.read(); got != "a request 10s" {
			t.Errorf("closed %s", got)
		}
		if p.MarkWithin(addr("a"), pool.Drain, time.Second) == nil {
			t.Error("a backend that is gone was marked")
		}
	})
}

// One that is drained and then removed keeps the deadline it has.
func TestDrainedThenRemoved(t *testing.T) {
	inWard(t, spec("a", "b"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		w.request(t, p)
		markWithin(t, p, "a", pool.Drain, 2*time.Minute)
		time.Sleep(time.Minute)
		p.Update(within(spec("b"), 5*time.Minute))
		time.Sleep(time.Hour)
		if got := w.read(); got != "a request 2m0s" {
			t.Errorf("closed %s", got)
		}
	})
}

// An address that is listed again is no longer leaving: its requests go on, and
// the next drain is about them as well.
func TestBackendComesBackWhileItDrains(t *testing.T) {
	inWard(t, spec("a"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		w.request(t, p)
		w.stream(t, p, 0.5)
		p.Update(within(spec("b"), 5*time.Minute))
		time.Sleep(time.Minute)
		p.Update(within(spec("a"), 5*time.Minute))
		if b := p.Status().Backends[0]; b.InFlight != 2 || b.Streams != 1 || b.Drain != nil || p.Status().Leaving != nil {
			t.Errorf("%+v", b)
		}
		time.Sleep(time.Hour)
		if got := w.read(); got != "" {
			t.Errorf("closed %s", got)
		}
		w.request(t, p)
		mark(t, p, "a", pool.Drain)
		time.Sleep(time.Hour)
		if got := w.read(); got != "a stream 1h4m45s, a request 1h6m0s, a request 1h6m0s" {
			t.Errorf("closed %s", got)
		}
	})
}

// A pool that is removed drains as well, those included that come late.
func TestRetiredPoolDrains(t *testing.T) {
	inWard(t, spec("a"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		w.request(t, p)
		p.Retire()
		p.Retire()
		time.Sleep(time.Minute)
		w.request(t, p) // it found the pool before
		s := p.Status()
		if !s.Removed || len(s.Backends) != 0 || len(s.Leaving) != 1 || s.Leaving[0].InFlight != 2 || p.Idle() {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour)
		if got := w.read(); got != "a request 5m0s, a request 5m0s" {
			t.Errorf("closed %s", got)
		}
		if !p.Idle() {
			t.Errorf("%+v", p.Status())
		}
		want(t, j, "0s a removed, 5m0s a drained")
	})
}

// It can be brought back, and is then as a backend that came back.
func TestRetiredPoolComesBack(t *testing.T) {
	inWard(t, spec("a", "b"), func(t *testing.T, p *pool.Pool, w *ward, j *journal) {
		w.request(t, p)
		p.Retire()
		time.Sleep(time.Minute)
		st := p.Stage(within(spec("a"), 5*time.Minute))
		if !p.Status().Removed {
			t.Error("it is back before Commit")
		}
		st.Commit()
		if s := p.Status(); s.Removed || len(s.Leaving) != 0 || s.Backends[0].InFlight != 1 {
			t.Errorf("%+v", s)
		}
		if got := picks(p, 3); got != "aaa" {
			t.Errorf("picked %s", got)
		}
		time.Sleep(time.Hour)
		if got := w.read(); got != "" {
			t.Errorf("closed %s", got)
		}
	})
}

func TestDrainIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := metrics.New(1), &ward{start: time.Now()}
		p := pool.New("web", pool.Options{Loops: 1, Metrics: r, Expire: w.expire})
		defer p.Close()
		r.Prometheus().MustRegister(pool.NewCollector(func() []*pool.Pool { return []*pool.Pool{p} }))
		p.Update(within(spec("a", "b"), time.Minute))
		w.request(t, p)
		w.request(t, p)
		p.Update(within(spec("b"), time.Minute))
		if got := gather(t, r.Prometheus()); got["weir_upstream_in_flight a"] != 1 {
			t.Errorf("leaving, it is not shown: %v", got)
		}
		time.Sleep(time.Hour)
		families, err := r.Prometheus().Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0.0
		for _, f := range families {
			if f.GetName() == "weir_drain_closed_total" {
				n = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		if n != 1 {
			t.Errorf("weir_drain_closed_total is %v, want 1", n)
		}
		for _, h := range w.lose() {
			h.lease.Done(pool.Success)
		}
	})
}

// Clients that stick to a backend come and go while it drains. That it is empty
// between two of them is said once.
func TestDrainedIsSaidOnce(t *testing.T) {
	bubble(t, sticking(spec("a", "b")), func(t *testing.T, p *pool.Pool, j *journal) {
		id := []byte(ids(t, p)["a"])
		for range 2 {
			l, _ := p.AcquireSticky(0, id, pool.Tried{})
			mark(t, p, "a", pool.Drain)
			for range 5 {
				p.Update(sticking(spec("a", "b"))) // looks at everybody
				synctest.Wait()
				time.Sleep(time.Second)
				l.Done(pool.Success)
				synctest.Wait()
				time.Sleep(time.Second)
				if l, _ = p.AcquireSticky(0, id, pool.Tried{}); l.Backend() == nil {
					t.Fatal("its client is sent away")
				}
			}
			mark(t, p, "a", pool.Ready)
			l.Done(pool.Success)
		}
		synctest.Wait()
		want(t, j, "0s a drain, 1s a drained, 10s a ready, 10s a drain, 11s a drained, 20s a ready")
	})
}
