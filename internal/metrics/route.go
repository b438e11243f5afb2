package metrics

import "time"

// Route counts the requests of one route.
type Route struct{ loops perLoop[routeLoop] }

// routeLoop is one loop's part. How many are in flight is not counted: it is
// what began and has not ended, one write less for each request.
type routeLoop struct {
	begun     counter
	codes     codeCounters
	durations histogram
	bytesIn   counter
	bytesOut  counter
}

// Begin counts a request in. End must be called once for it.
func (m *Route) Begin(loop int) { m.loops.of(loop).begun.add(1) }

// End counts a request out: how it was answered, how long it took from its first
// byte to the last of the answer, and how many bytes of bodies went each way.
func (m *Route) End(loop, status int, d time.Duration, bytesIn, bytesOut int64) {
	l := m.loops.of(loop)
	l.codes.add(status)
	l.durations.observe(d)
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

// poolLoop is one loop's part: retries by reason, those that failed and those
// that helped; and what drains have closed.
type poolLoop struct {
	failed, helped reasonCounters
	drained        counter
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

// DrainClosed counts a request or stream that was closed at the end of a drain.
func (p *Pool) DrainClosed(loop int) { p.loops.of(loop).drained.add(1) }
