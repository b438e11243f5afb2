package metrics

import (
	"sync/atomic"
	"time"
)

// Route counts the requests of one route.
type Route struct {
	loops   perLoop[routeLoop]
	breaker atomic.Int32 // one of the breaker constants
}

// What a route's circuit breaker is.
const (
	breakerNone int32 = iota
	breakerClosed
	breakerOpen
)

// SetBreaker shows whether the route has a circuit breaker, and whether that is
// open, or half open.
func (m *Route) SetBreaker(exists, open bool) {
	switch {
	case !exists:
		m.breaker.Store(breakerNone)
	case open:
		m.breaker.Store(breakerOpen)
	default:
		m.breaker.Store(breakerClosed)
	}
}

// routeLoop is one loop's part. How many are in flight is not counted: it is
// what began and has not ended, one write less for each request.
type routeLoop struct {
	begun     counter
	failures  counter
	answers   fineHistogram
	codes     codeCounters
	durations histogram
	bytesIn   counter
	bytesOut  counter
}

// NewRoute returns counters that no registry shows.
func NewRoute(loops int) *Route { return &Route{loops: newPerLoop[routeLoop](loops)} }

// Begin counts a request in. End must be called once for it.
func (m *Route) Begin(loop int) { m.loops.of(loop).begun.add(1) }

// End counts a request out: how it was answered, how long it took from its first
// byte to the first of the answer and to the last, and how many bytes of bodies
// went each way.
func (m *Route) End(loop, status int, first, d time.Duration, bytesIn, bytesOut int64) {
	l := m.loops.of(loop)
	l.codes.add(status)
	l.durations.observe(d)
	if status != statusClientClosed { // it says nothing of whoever was asked
		l.answers.observe(first)
	}
	if status >= 500 {
		l.failures.add(1)
	}
	if bytesIn > 0 {
		l.bytesIn.add(uint64(bytesIn))
	}
	if bytesOut > 0 {
		l.bytesOut.add(uint64(bytesOut))
	}
}

// InFlight is how many requests have begun and not ended.
func (m *Route) InFlight() int {
	// What ended is read first: what begins meanwhile can only make the
	// difference larger, never negative.
	var begun, ended uint64
	for i := range m.loops {
		ended += m.loops.of(i).codes.sum()
	}
	for i := range m.loops {
		begun += m.loops.of(i).begun.load()
	}
	return int(begun - ended)
}

// Pool counts what concerns no single backend of a pool.
type Pool struct{ loops perLoop[poolLoop] }

// poolLoop is one loop's part.
type poolLoop struct {
	failed, helped reasonCounters // retries by reason, those that failed and those that helped
	waits          histogram      // in the queue, of requests that got a backend
	rejected       reasonCounters // of the others that came to the queue
	hedges         [hedgeResults]counter
	drained        counter // what drains have closed
}

// Retry counts a second attempt: why the one before it ended, and whether this
// one brought an answer.
func (p *Pool) Retry(loop int, reason Reason, ok bool) {
	l := p.loops.of(loop)
	if ok {
		l.helped.add(reason)
	} else {
		l.failed.add(reason)
	}
}

// HedgeResult is how the second copy of a request ended.
type HedgeResult uint8

// The results of hedges.
const (
	HedgeWon    HedgeResult = iota // its answer went to the client
	HedgeLost                      // the first copy was quicker, or the client left
	HedgeFailed                    // it got no good answer
	hedgeResults
)

// String is the value of the label result.
func (r HedgeResult) String() string {
	return [hedgeResults]string{HedgeWon: "won", HedgeLost: "lost", HedgeFailed: "failed"}[r]
}

// Hedge counts a request that was sent to a second backend, when that ended.
func (p *Pool) Hedge(loop int, r HedgeResult) { p.loops.of(loop).hedges[r].add(1) }

// Waited records how long a request waited in the queue for its backend.
func (p *Pool) Waited(loop int, d time.Duration) { p.loops.of(loop).waits.observe(d) }

// QueueRejected counts a request that came to the queue and got no backend.
func (p *Pool) QueueRejected(loop int, reason Reason) { p.loops.of(loop).rejected.add(reason) }

// DrainClosed counts a request or stream that was closed at the end of a drain.
func (p *Pool) DrainClosed(loop int) { p.loops.of(loop).drained.add(1) }
