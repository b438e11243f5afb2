package pool_test

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weir/pool"
)

// server is a backend in virtual time: so many workers, a queue in front of them,
// and a limit that follows the law in front of that.
type server struct {
	workers int
	service func(*rand.Rand) float64 // seconds of work that a request is
	rate    float64                  // requests a second that want in
	timeout float64                  // seconds after which they fail; 0: none
	streams int64                    // requests in flight that never end

	law     *pool.Law
	rnd     *rand.Rand
	now     float64 // seconds
	arrives float64
	tick    float64
	inQueue []float64 // when they came
	atWork  ends

	seen         pool.Seen
	sum, squares float64

	// what happened during the last run
	latencies []float64
	refused   int
	limits    []float64
}

// end is when a request ends, and when it came.
type end struct{ at, came float64 }

type ends []end

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at < e[j].at }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any          { x := (*e)[len(*e)-1]; *e = (*e)[:len(*e)-1]; return x }

// newServer is a backend at load times what it can do.
func newServer(workers int, load float64, mean time.Duration, service func(r *rand.Rand) float64) *server {
	s := &server{workers: workers, law: pool.NewLaw(0), rnd: rand.New(rand.NewPCG(1, 2))}
	s.serve(mean, service)
	s.rate = load * float64(workers) / mean.Seconds()
	return s
}

// serve sets what a request takes: mean times what service draws.
func (s *server) serve(mean time.Duration, service func(r *rand.Rand) float64) {
	s.service = func(r *rand.Rand) float64 { return mean.Seconds() * service(r) }
}

// What services draw: their mean is 1.
func steady(*rand.Rand) float64        { return 1 }
func exponential(r *rand.Rand) float64 { return r.ExpFloat64() }

// mixed is nine quick requests and a slow one.
func mixed(r *rand.Rand) float64 {
	if r.IntN(10) == 0 {
		return 9
	}
	return 1. / 9
}

// run lets virtual time pass and forgets what happened before.
func (s *server) run(d time.Duration) {
	s.latencies, s.refused, s.limits = nil, 0, nil
	for stop := s.now + d.Seconds(); s.now < stop; {
		s.now = min(s.arrives, s.tick)
		switch {
		case len(s.atWork) > 0 && s.atWork[0].at <= s.now:
			s.leave()
		case s.now == s.tick:
			s.judge()
		default:
			s.arrive()
		}
	}
}

func (s *server) inFlight() int64 {
	return int64(len(s.atWork)+len(s.inQueue)) + s.streams
}

func (s *server) arrive() {
	s.arrives = s.now + s.rnd.ExpFloat64()/s.rate
	if s.inFlight() >= s.law.Limit() {
		s.refused++
		s.seen.Met = true
		return
	}
	s.inQueue = append(s.inQueue, s.now)
	s.work()
}

func (s *server) work() {
	for len(s.inQueue) > 0 && len(s.atWork) < s.workers {
		heap.Push(&s.atWork, end{s.now + s.service(s.rnd), s.inQueue[0]})
		s.inQueue = s.inQueue[1:]
	}
}

func (s *server) leave() {
	e := heap.Pop(&s.atWork).(end)
	s.now = e.at
	took := e.at - e.came
	if s.timeout > 0 && took > s.timeout {
		s.seen.Failures++
	} else {
		s.seen.Answers++
		s.sum += took
		s.squares += took * took
		s.latencies = append(s.latencies, took)
	}
	s.work()
}

func (s *server) judge() {
	s.tick += 0.1
	w := &s.seen
	w.InFlight = s.inFlight()
	w.Peak = max(w.Peak, w.InFlight)
	if n := float64(w.Answers); n > 0 {
		w.Latency = s.sum / n
		w.Deviation = math.Sqrt(max(0, s.squares/n-w.Latency*w.Latency))
	}
	if s.law.Step(time.Unix(0, int64(s.now*1e9)), *w, 1024, s.rnd.Float64()) {
		s.seen, s.sum, s.squares = pool.Seen{}, 0, 0
	}
	s.limits = append(s.limits, float64(s.law.Limit()))
}

// p99 is of the answers of the last run.
func (s *server) p99() time.Duration {
	slices.Sort(s.latencies)
	return time.Duration(1e9 * s.latencies[len(s.latencies)*99/100])
}

// median is the limit's during the last run: dips are short.
func (s *server) median() float64 {
	slices.Sort(s.limits)
	return s.limits[len(s.limits)/2]
}

// want checks the last run, of d: the limit, what was served of what could be,
// and the p99.
func (s *server) want(t *testing.T, d time.Duration, least, most, served float64, p99 time.Duration) {
	t.Helper()
	rate := float64(len(s.latencies)) / d.Seconds()
	if m := s.median(); m < least || m > most {
		t.Errorf("the limit is %v, want %v to %v", m, least, most)
	}
	if rate < served {
		t.Errorf("%.1f answers a second, want %.1f", rate, served)
	}
	if got := s.p99(); got > p99 {
		t.Errorf("the p99 is %v, want at most %v", got, p99)
	}
}

// A backend that gets more than it can do is kept busy, and its queue short: the
// limit is near the number of its workers (Little's law), for as long as it lasts.
func TestGradientUnderOverload(t *testing.T) {
	f := func(what string, workers int, load float64, mean time.Duration, service func(*rand.Rand) float64, p99 time.Duration) {
		t.Helper()
		t.Run(fmt.Sprintf("%d workers, %s, load %v", workers, what, load), func(t *testing.T) {
			s := newServer(workers, load, mean, service)
			s.run(200 * mean)
			s.run(10 * time.Second)
			for _, d := range []time.Duration{20 * time.Second, 10 * time.Minute} {
				if d = d * mean / (10 * time.Millisecond); d*time.Duration(workers)/mean > 500_000 {
					continue
				}
				s.run(d)
				n := float64(workers)
				s.want(t, d, n, 2*n+4, 0.9*n/mean.Seconds(), p99)
			}
		})
	}
	// where all requests are alike the p99 is what the limit makes of it
	f("10 ms", 1, 2, 10*time.Millisecond, steady, 60*time.Millisecond)
	f("10 ms", 4, 2, 10*time.Millisecond, steady, 30*time.Millisecond)
	f("10 ms", 16, 2, 10*time.Millisecond, steady, 25*time.Millisecond)
	f("10 ms", 16, 10, 10*time.Millisecond, steady, 30*time.Millisecond)
	f("10 ms", 100, 2, 10*time.Millisecond, steady, 21*time.Millisecond)
	f("100 ms", 16, 3, 100*time.Millisecond, steady, 300*time.Millisecond)
	// where they differ it is mostly their own
	f("exponential", 16, 2, 10*time.Millisecond, exponential, 70*time.Millisecond)
	f("exponential", 100, 2, 10*time.Millisecond, exponential, 60*time.Millisecond)
	f("one in ten slow", 16, 3, 10*time.Millisecond, mixed, 150*time.Millisecond)
}

// What is below a backend's means is not turned away.
func TestGradientBelowOverload(t *testing.T) {
	f := func(workers int, load float64, service func(*rand.Rand) float64) {
		t.Helper()
		s := newServer(workers, load, 10*time.Millisecond, service)
		s.run(5 * time.Second)
		s.run(time.Minute)
		if part := float64(s.refused) / float64(len(s.latencies)); part > 0.005 {
			t.Errorf("%d workers at %v: %.2f %% are refused", workers, load, 100*part)
		}
	}
	f(4, 0.3, exponential)
	f(16, 0.8, steady)
	f(16, 0.8, exponential)
	f(16, 0.7, mixed)
	f(100, 0.95, exponential)
}

// A new backend that is asked for much gets it within a second or two.
func TestGradientStarts(t *testing.T) {
	s := newServer(100, 0.8, 10*time.Millisecond, steady)
	s.run(time.Second)
	s.run(10 * time.Second)
	if s.refused > 0 {
		t.Errorf("%d requests are refused after a second", s.refused)
	}
}

// Few requests, of which hardly two meet, are no reason to shrink: the limit
// goes up from 1 when it is in use.
func TestGradientFromOne(t *testing.T) {
	for _, rate := range []float64{1, 20, 200} {
		s := newServer(16, 1, 10*time.Millisecond, exponential)
		s.rate, s.law = rate, pool.NewLaw(1)
		s.run(time.Minute)
		least := s.law.Limit()
		s.run(5 * time.Minute)
		if n := s.law.Limit(); n < least || rate > 1 && n < 3 {
			t.Errorf("%v requests a second: the limit went from %d to %d", rate, least, n)
		}
		if part := float64(s.refused) / float64(len(s.latencies)); part > 0.01 {
			t.Errorf("%v requests a second: %.2f %% are refused", rate, 100*part)
		}
	}
}

// Everything takes five times as long, then as long as before: that is not the
// limit's doing, and it does not take long to see.
func TestGradientAfterASlowdown(t *testing.T) {
	s := newServer(16, 2, 10*time.Millisecond, steady)
	s.run(10 * time.Second)
	s.serve(50*time.Millisecond, steady)
	s.run(5 * time.Second)
	s.run(5 * time.Second)
	s.want(t, 5*time.Second, 16, 36, 300, 130*time.Millisecond)
	s.serve(10*time.Millisecond, steady)
	s.run(5 * time.Second)
	s.run(5 * time.Second)
	s.want(t, 5*time.Second, 16, 36, 1500, 30*time.Millisecond)

	// the same at a tenth of what it can do, which is a half then
	s = newServer(16, 0.1, 10*time.Millisecond, steady)
	s.run(10 * time.Second)
	s.serve(50*time.Millisecond, steady)
	s.run(5 * time.Second)
	s.run(10 * time.Second)
	if s.refused > 0 {
		t.Errorf("%d requests are refused long after a slowdown", s.refused)
	}
}

// Three quarters of the workers are gone, and come back.
func TestGradientWithFewerWorkers(t *testing.T) {
	s := newServer(16, 2, 10*time.Millisecond, steady)
	s.run(10 * time.Second)
	s.workers = 4
	s.run(3 * time.Second)
	s.run(5 * time.Second)
	s.want(t, 5*time.Second, 4, 12, 380, 35*time.Millisecond)
	s.workers = 16
	s.run(3 * time.Second)
	s.run(5 * time.Second)
	s.want(t, 5*time.Second, 16, 36, 1500, 30*time.Millisecond)
}

// Requests that fail shrink the limit as far as they are many; when they are
// none it grows again. That a few always fail does not end in a limit of 1.
func TestGradientAfterFailures(t *testing.T) {
	f := func(limit float64, answers, failures int) float64 {
		law := pool.NewLaw(limit)
		now := time.Unix(0, 0)
		for range 50 {
			now = now.Add(time.Second)
			n := law.Limit()
			law.Step(now, pool.Seen{Answers: answers, Failures: failures, Latency: 0.01, InFlight: 0, Peak: n}, 1024, 0.5)
		}
		return float64(law.Limit())
	}
	if got := f(100, 0, 100); got != 1 {
		t.Errorf("all fail, and the limit is %v", got)
	}
	if got := f(100, 80, 20); got < 10 || got > 20 {
		t.Errorf("a fifth fails, and the limit is %v", got)
	}
	if got := f(100, 95, 5); got < 100 {
		t.Errorf("one in twenty fails, and the limit is %v", got)
	}
	s := newServer(16, 2, 10*time.Millisecond, steady)
	s.run(5 * time.Second)
	s.timeout = 0.001 // all time out
	s.run(3 * time.Second)
	if n := s.law.Limit(); n != 1 {
		t.Errorf("all time out, and the limit is %d", n)
	}
	s.timeout = 0
	s.run(3 * time.Second)
	s.run(5 * time.Second)
	s.want(t, 5*time.Second, 16, 36, 1500, 30*time.Millisecond)
}

// Requests that do not end leave no room to measure in. The others are let in
// nevertheless.
func TestGradientWithStreams(t *testing.T) {
	s := newServer(16, 0.5, 10*time.Millisecond, steady)
	s.run(5 * time.Second)
	for range 60 {
		s.streams = min(s.streams+10, 500)
		s.run(time.Second)
	}
	s.run(time.Minute)
	if part := float64(s.refused) / float64(len(s.latencies)); part > 0.05 {
		t.Errorf("%.2f %% are refused", 100*part)
	}
}

// The upper bound holds, also when it becomes a lower one.
func TestGradientIsBounded(t *testing.T) {
	law, now := pool.NewLaw(0), time.Unix(0, 0)
	for _, most := range []int64{8, 1, 20} {
		for range 100 {
			now = now.Add(time.Second)
			law.Step(now, pool.Seen{Answers: 1000, Latency: 0.01, Peak: most, Met: true}, most, 0.5)
			if n := law.Limit(); n < 1 || n > most {
				t.Fatalf("the limit is %d, want at most %d", n, most)
			}
		}
	}
	if n := law.Limit(); n != 20 {
		t.Errorf("nothing is in its way, and the limit is %d", n)
	}
}
