package proxy

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"weir/internal/metrics"
)

// rule opens at half of at least ten answers within ten seconds, for five.
var rule = breakerRule{share: 50, least: 10, window: 10 * time.Second, open: 5 * time.Second}

// circuit is a breaker in virtual time.
type circuit struct {
	breaker
	t   *testing.T
	r   breakerRule
	now int64
}

func newCircuit(t *testing.T, loops int) *circuit {
	c := &circuit{t: t, r: rule, now: int64(1000 * time.Second)}
	c.loops, c.gauge = make([]breakerLoop, loops), metrics.New(loops).Route("web", "api")
	c.enable()
	return c
}

func (c *circuit) pass(d time.Duration) { c.now += int64(d) }

// answers counts n answers, 10 ms apart, on one loop after the other; want is
// whether the breaker opens with the last, and not before.
func (c *circuit) answers(n int, failed, want bool) {
	c.t.Helper()
	for i := range n {
		c.pass(10 * time.Millisecond)
		_, changed := c.count(&c.r, i%len(c.loops), c.now, failed)
		if last := i == n-1; changed != (want && last) {
			c.t.Fatalf("answer %d of %d (failed: %v): opened is %v", i+1, n, failed, changed)
		}
	}
}

// admits checks whether a request may go on.
func (c *circuit) admits(want bool, wait time.Duration) (trial int64) {
	c.t.Helper()
	ok, trial, d := c.admit(c.now)
	if ok != want || d != wait {
		c.t.Errorf("a request may go on: %v, wait %v; want %v, %v", ok, d, want, wait)
	}
	return trial
}

// tries lets a trial through, which ends with o, and tells whether that closed
// the breaker.
func (c *circuit) tries(o outcome, closes bool) {
	c.t.Helper()
	trial := c.admits(true, 0)
	if trial == 0 {
		c.t.Fatal("no trial")
	}
	c.admits(false, 0) // one at a time
	c.pass(time.Millisecond)
	if _, changed := c.settle(&c.r, c.now, trial, o); changed != closes {
		c.t.Errorf("a trial ended with %v, and closed the breaker: %v", o, changed)
	}
}

func TestBreakerOpens(t *testing.T) {
	for _, loops := range []int{1, 4} {
		// as many errors as are needed, and not before
		c := newCircuit(t, loops)
		c.answers(9, true, false)
		c.admits(true, 0)
		c.answers(1, true, true)
		c.admits(false, 5*time.Second)
		c.pass(4999 * time.Millisecond)
		c.admits(false, time.Millisecond)

		// half of them, but not less
		c = newCircuit(t, loops)
		c.answers(50, false, false)
		c.answers(49, true, false)
		c.answers(1, true, true)

		// what is older than the window does not count, neither way
		c = newCircuit(t, loops)
		c.answers(100, false, false)
		c.pass(11 * time.Second)
		c.answers(9, true, false)
		c.pass(11 * time.Second)
		c.answers(10, true, true)
	}
}

// After a while one request at a time goes through. Three in a row that succeed
// close it, one that fails opens it for as long again.
func TestBreakerHalfOpen(t *testing.T) {
	c := newCircuit(t, 2)
	c.answers(10, true, true)
	c.pass(5 * time.Second)
	c.tries(saysBad, false)
	c.admits(false, 5*time.Second)
	c.pass(5 * time.Second)
	c.tries(saysGood, false)
	c.tries(saysNothing, false) // neither counts nor starts the count again
	c.tries(saysGood, false)
	c.tries(saysBad, false)
	c.admits(false, 5*time.Second)
	c.pass(time.Minute)
	c.tries(saysGood, false)
	c.tries(saysGood, false)
	c.tries(saysGood, true)
	c.admits(true, 0)

	// what was counted before says nothing any more
	c.answers(9, true, false)
	c.pass(time.Second)
	c.answers(10, true, true)
}

// The numbers of a change.
func TestBreakerTells(t *testing.T) {
	c := newCircuit(t, 1)
	c.answers(5, false, false)
	c.answers(4, true, false)
	c.pass(10 * time.Millisecond)
	change, _ := c.count(&c.r, 0, c.now, true)
	if want := (circuitChange{opened: true, errors: 5, answers: 10}); change != want {
		t.Errorf("%+v, want %+v", change, want)
	}
	what, cause := change.words(&c.r)
	if what != EventCircuitOpened || cause != "5 of 10 answers within 10s were errors, 50 % or more; requests get 503 for 5s" {
		t.Error(what, cause)
	}
	if since, failed := c.opened(); since != c.now || failed != 0 {
		t.Errorf("open since %v, %d failed", since, failed)
	}
	c.pass(5 * time.Second)
	c.tries(saysBad, false)
	c.pass(5 * time.Second)
	c.tries(saysGood, false)
	c.tries(saysGood, false)
	trial := c.admits(true, 0)
	change, _ = c.settle(&c.r, c.now, trial, saysGood)
	if what, cause = change.words(&c.r); what != EventCircuitClosed || cause != "3 requests in a row succeeded, after 10.003s and 1 that failed" {
		t.Error(what, cause)
	}
	if since, _ := c.opened(); since != 0 {
		t.Error("it is closed, and open")
	}
}

// A trial whose end nobody hears of does not keep the others out for ever.
func TestBreakerLostTrial(t *testing.T) {
	c := newCircuit(t, 1)
	c.answers(10, true, true)
	c.pass(5 * time.Second)
	lost := c.admits(true, 0)
	c.pass(trialLost - 1)
	c.admits(false, 0)
	c.pass(1)
	next := c.admits(true, 0)
	if next == 0 {
		t.Fatal("no trial")
	}
	c.settle(&c.r, c.now, lost, saysBad) // too late
	c.admits(false, 0)
	c.settle(&c.r, c.now, next, saysNothing)
	c.admits(true, 0)
}

// A breaker that no route has is closed, and stays so.
func TestBreakerRemoved(t *testing.T) {
	c := newCircuit(t, 1)
	c.answers(10, true, true)
	c.pass(5 * time.Second)
	trial := c.admits(true, 0)
	c.disable(c.now)
	c.admits(true, 0)
	if _, changed := c.settle(&c.r, c.now, trial, saysBad); changed || c.admits(true, 0) != 0 {
		t.Error("a trial of a former time counts")
	}
	c.answers(20, true, false)
	c.disable(c.now)
	c.enable()
	c.pass(time.Second)
	c.answers(10, true, true)
}

// Another window makes the loops count anew, and no nonsense.
func TestBreakerWindowChanges(t *testing.T) {
	c := newCircuit(t, 1)
	for _, window := range []time.Duration{time.Second, 5 * time.Minute, 10 * time.Second} {
		c.r.window = window
		c.answers(9, true, false)
		answers, errors := c.sum(&c.r, c.now)
		if answers != 9 || errors != 9 {
			t.Errorf("%v: %d answers and %d errors are counted, want 9", window, answers, errors)
		}
	}
}

// Loops count, and add up what others count, at the same time: exactly one of them
// opens it.
func TestBreakerOnManyLoops(t *testing.T) {
	const loops = 4
	c := newCircuit(t, loops)
	opened := make(chan circuitChange, loops*1000)
	var all sync.WaitGroup
	for loop := range loops {
		all.Go(func() {
			for i := range 1000 {
				now := c.now + int64(i)*int64(10*time.Millisecond)
				if change, changed := c.count(&c.r, loop, now, i%2 == 0); changed {
					opened <- change
				}
				c.admit(now)
			}
		})
	}
	all.Wait()
	if len(opened) != 1 {
		t.Fatalf("it opened %d times", len(opened))
	}
	if got := <-opened; got.answers < rule.least || got.errors*2 < got.answers {
		t.Errorf("it opened with %+v", got)
	}
}

// What the end of a request says of backends.
func TestVerdictOnBackends(t *testing.T) {
	f := func(status int, reason metrics.Reason, want outcome) {
		t.Helper()
		ex := &exchange{status: status, reason: reason, attempts: make([]attempt, 1)}
		if reason.Status() != 0 && status == 0 {
			ex.status = reason.Status()
		}
		if got := ex.verdictOnBackends(); got != want {
			t.Errorf("%d %v says %v, want %v", ex.status, reason, got, want)
		}
	}
	// what backends answer
	f(200, metrics.NoReason, saysGood)
	f(101, metrics.NoReason, saysGood)
	f(404, metrics.NoReason, saysGood)
	f(499, metrics.NoReason, saysGood)
	for status := 500; status < 600; status++ {
		f(status, metrics.NoReason, saysBad)
	}
	// what Weir answers in their place
	for _, r := range []metrics.Reason{metrics.ConnectRefused, metrics.ConnectTimeout, metrics.UpstreamReset, metrics.UpstreamTimeout,
		metrics.BadResponse, metrics.RequestTimeout, metrics.NoHealthy, metrics.PoolEmpty} {
		f(0, r, saysBad)
	}
	f(200, metrics.UpstreamReset, saysBad) // in the middle of an answer
	// what is not theirs
	for _, r := range []metrics.Reason{metrics.AllFull, metrics.ShuttingDown, metrics.ClientClosed, metrics.ClientTimeout,
		metrics.BodyTooLarge, metrics.BadRequest} {
		f(0, r, saysNothing)
	}
	f(200, metrics.ClientClosed, saysNothing)
	f(200, metrics.RequestTimeout, saysNothing) // the client takes it slowly
	ex := &exchange{status: http.StatusGatewayTimeout, reason: metrics.RequestTimeout, attempts: make([]attempt, 1), hurried: true}
	if got := ex.verdictOnBackends(); got != saysNothing {
		t.Error("a client's own deadline counts")
	}
	ex = &exchange{status: http.StatusGatewayTimeout, reason: metrics.RequestTimeout}
	if got := ex.verdictOnBackends(); got != saysNothing {
		t.Error("what no backend was asked counts")
	}
}
