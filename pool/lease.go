package pool

import (
	"errors"
	"time"
)

// Why Acquire found no backend. The caller answers 503 to each, with a reason
// of its own.
var (
	ErrEmpty     = errors.New("pool has no backends")          // none listed, or no name resolved
	ErrNoHealthy = errors.New("pool has no healthy backend")   // all out, or all tried
	ErrAllFull   = errors.New("every backend is at its limit") // of those in rotation and not tried; or others wait, see AcquireWait
)

// Outcome is how a request on a lease ended.
type Outcome uint8

// The outcomes. Those from BadStatus to BadResponse are the backend's fault.
const (
	Success         Outcome = iota
	BadStatus               // an answer whose status is an error: see Answered
	ConnectRefused          // or unreachable
	ConnectTimeout          //
	Reset                   // closed before the answer was complete, on a connection that was not stale
	ResponseTimeout         // no answer in time
	BadResponse             // not HTTP, or more header than allowed
	Stale                   // a kept connection that the backend had closed: says nothing about the backend
	ClientClosed            // the client left first: says nothing about the backend
	Drained                 // closed by Weir, at the end of a drain: says nothing about the backend
)

var outcomeNames = [...]string{
	Success: "success", BadStatus: "bad_status", ConnectRefused: "connect_refused",
	ConnectTimeout: "connect_timeout", Reset: "upstream_reset", ResponseTimeout: "upstream_timeout",
	BadResponse: "bad_response", Stale: "stale", ClientClosed: "client_closed", Drained: "draining",
}

// String is the outcome in the words of the access log.
func (o Outcome) String() string { return outcomeNames[o] }

// Bad reports whether the outcome is the backend's doing. Whether it counts
// against the backend is for the pool's Faults to say.
func (o Outcome) Bad() bool { return BadStatus <= o && o <= BadResponse }

// Tried lists the backends that one request has already tried, so that a retry
// goes elsewhere. It is passed by value: behind a pointer it would escape.
type Tried struct {
	list [maxTried]*Backend
	n    uint8
}

// maxTried is how many backends a Tried holds.
const maxTried = 10

// Full reports whether it holds as many as it can: who goes on trying would meet
// the same ones again.
func (t *Tried) Full() bool { return int(t.n) == len(t.list) }

// Add enters b, unless it is full.
func (t *Tried) Add(b *Backend) {
	if int(t.n) < len(t.list) {
		t.list[t.n] = b
		t.n++
	}
}

// Has reports whether b has been entered.
func (t Tried) Has(b *Backend) bool { return t.has(b) }

func (t *Tried) has(b *Backend) bool {
	for i := range int(t.n) {
		if t.list[i] == b {
			return true
		}
	}
	return false
}

// Lease is one request's hold on one Backend. Whoever has it calls Done exactly
// once; it is not copied after that.
type Lease struct {
	b     *Backend
	loop  int32
	trial uint32 // its number, if the backend is on trial with this request
	state leaseState

	// That makes four fields. With a fifth the compiler would keep it in memory
	// and copy it at each return, which makes Acquire five times slower.
}

type leaseState uint8

const (
	leaseCounted leaseState = 1 << iota // in its loop's cursor too
	leaseDone
	leaseStream // counted as a stream
)

// Backend is what the lease is on, also after Done. Nil for a zero Lease.
func (l Lease) Backend() *Backend { return l.b }

// Observe tells how long the backend took to the head of an answer, and is
// called once the answer has begun, at most once and before Done. peak_ewma and
// limits that adapt go by it, and a backend on trial has passed with it if the
// request goes on for long.
func (l *Lease) Observe(d time.Duration) {
	l.Outlasted(d)
	if b := l.b; l.trial != 0 {
		b.trial.answered.Store(l.trial)
		b.pool.kick()
	}
}

// Outlasted tells that no answer had begun after d, when the request was given up
// because another backend was quicker. Called at most once, before Done.
func (l *Lease) Outlasted(d time.Duration) {
	b := l.b
	if b.pool.measured.Load() {
		b.load.latency.observe(clock(), d)
	}
	if a := b.load.adaptive.Load(); a != nil {
		a.observe(l.loop, d)
		b.pool.watch()
	}
}

// Stream says that what the lease is for may never end by itself: a tunnel, or an
// answer that streams events. It is called before Done.
func (l *Lease) Stream() {
	if l.state&leaseStream == 0 {
		l.state |= leaseStream
		l.b.load.streams.Add(1)
	}
}

// Done gives the lease back with how the request ended. It may be called from
// any goroutine. A second call panics: it would count somebody else's request
// as ended.
func (l *Lease) Done(o Outcome) {
	if l.state&leaseDone != 0 || l.b == nil {
		panic("BUG: Lease.Done called twice, or on a zero Lease")
	}
	l.state |= leaseDone
	b := l.b
	count := &b.load.loops[l.loop]
	count.requests.Add(1)
	fault := false
	if o != Success {
		fault = b.blame(o, count)
		if a := b.load.adaptive.Load(); a != nil && o.overloaded() {
			a.loops[l.loop].failures.Add(1)
			b.pool.watch()
		}
	} else if b.errs.Load() != 0 { // looked at first: a healthy backend's line stays shared
		b.errs.Store(0)
	}
	if o == Drained {
		b.load.closed.Add(1)
		b.pool.traffic.DrainClosed(int(l.loop))
	}
	if l.state&leaseStream != 0 {
		b.load.streams.Add(-1)
	}
	if l.trial != 0 {
		b.endTrial(l.trial, o, fault)
	}
	if l.state&leaseCounted != 0 {
		b.pool.cursors[l.loop].inFlight.Add(-1)
	}
	n := b.load.inFlight.Add(-1)
	if n < 0 {
		panic("BUG: more leases returned than taken")
	}
	if n == 0 && b.ending.Load() {
		b.pool.lastLeaseEnded()
	}
	b.pool.queue.wake(false)
}

// blame enters an outcome that is no success, and reports whether it counts
// against the backend. To fail is quick, counted or not: whoever goes by latency
// must not take it for speed.
func (b *Backend) blame(o Outcome, count *loopLoad) bool {
	if o.Bad() && b.pool.measured.Load() {
		b.load.latency.fail(clock())
	}
	if !b.pool.faults.Load().outcome(o) {
		count.neutral.Add(1)
		return false
	}
	count.errors.Add(1)
	b.strike(o)
	return true
}

// strike counts a fault. What follows from it is decided by the pool's
// goroutine, never by a request.
func (b *Backend) strike(o Outcome) {
	b.lastBad.Store(uint32(o))
	n := b.errs.Add(1)
	if limit := b.pool.errorLimit.Load(); limit > 0 && n >= limit {
		b.failed.CompareAndSwap(0, n) // a success from now on comes too late
		b.pool.kick()
	}
}
