package pool

import (
	"context"
	"sync/atomic"
	"time"

	"weir/internal/loop"
	"weir/internal/metrics"
)

// cacheLine keeps what different processors write apart; two lines, because
// processors fetch them in pairs.
const cacheLine = 128

// Backend is one address in one pool, and everything Weir remembers about it.
// It outlives the Sets and Specs that list it: a lease returns to the Backend
// it was taken from, whatever the pool looks like by then.
type Backend struct {
	pool    *Pool
	id      uint64
	key     string // id as the prober's key
	address string
	metrics *metrics.Backend
	load    *load // written before the first Set lists the Backend

	target  atomic.Pointer[loop.Addr]
	retired atomic.Bool
	ending  atomic.Bool // retired or draining: the last lease tells the pool

	stickyID atomic.Pointer[string] // nil: no client sticks; written under pool.mu

	errs    atomic.Int64  // bad outcomes in a row
	failed  atomic.Int64  // errs when it reached the limit, for the pool's goroutine to judge; else 0
	lastBad atomic.Uint32 // the latest fault, for the log
	trial   trial         // of requests after an ejection

	lastStatus atomic.Uint32 // the latest status that was one; 0: none

	condition // under pool.mu
}

// load is how busy a backend is. A backend that leaves a pool and comes back
// while requests of its former life still run shares it with its successor:
// max_requests is about the address, not about the object.
type load struct {
	_        [cacheLine]byte
	inFlight atomic.Int64 // all loops write it, for each request
	latency  latency      // and, under peak_ewma, this one
	_        [cacheLine]byte
	adaptive atomic.Pointer[adaptive] // nil: max_requests alone is the limit
	loops    []loopLoad
	lineage  uint64       // of the first Backend that had it
	streams  atomic.Int64 // of the leases, those of streams
	closed   atomic.Int64 // leases that drains have closed so far
}

// loopLoad is counted by one loop only, and added up when somebody asks.
type loopLoad struct {
	requests atomic.Uint64
	errors   atomic.Uint64
	neutral  atomic.Uint64
	reports  atomic.Uint64
	reported atomic.Uint64
	_        [cacheLine - 40]byte
}

// condition is what is known about a Backend. The operator's axis, the probes'
// axis and the traffic's axis are separate: none overwrites another.
type condition struct {
	spec  BackendSpec
	check *CheckSpec

	nameError string             // why the last look-up failed, or the address is not one
	stopName  context.CancelFunc // ends the goroutine that resolves the name; nil if there is none

	admin    Admin
	override int // SetWeight's; Configured: there is none

	verdict      verdict
	verdictCause string
	last         LastCheck
	advice       advice
	beat         heartbeat
	follows      following
	rated        tally // when successes were last looked at

	ejectedUntil time.Time // zero: not ejected
	ejectCause   string
	ejections    int       // how many the next ejection counts as having come before it
	returned     time.Time // end of the last ejection
	wouldReturn  time.Time // when an ejection that was not enforced would have ended

	halfOpen  bool      // back from an ejection, one request at a time
	seenTrial uint32    // the trial that had its answer
	seenAt    time.Time // when the pool's goroutine saw that

	founder  bool      // in the first Spec: it is not new when it comes up
	known    bool      // has been fit, or it is a founder and a probe has failed: it is missed when it is out
	fitNow   bool      // fit, as of the latest Set
	rampFrom time.Time // when it came into rotation; zero: it has been there from the start
	share    int       // weight in the Set, in hundredths; 0: it is not in the tier that serves
	grown    int       // percent of the weight that a slow start has let it have there

	draining draining

	history []Event // the latest, oldest first

	settled chan struct{} // closed once there is a first verdict or none is needed

	state string // derived from the axes above
	since time.Time
	cause string
}

// verdict is what probes say.
type verdict uint8

const (
	unknown verdict = iota
	up
	down
)

// ID is unique to this Backend among all of the process.
func (b *Backend) ID() uint64 { return b.id }

// Address is the address as the operator wrote it.
func (b *Backend) Address() string { return b.address }

// Target is where to connect: the address, resolved. It is invalid while a name
// has no answer, which no Backend of a lease is; it may change between calls.
func (b *Backend) Target() loop.Addr {
	if a := b.target.Load(); a != nil {
		return *a
	}
	return loop.Addr{}
}

// InFlight is the number of leases that have not been returned.
func (b *Backend) InFlight() int { return int(b.load.inFlight.Load()) }

// Lineage is the same for all Backends that follow each other under one address
// while requests of the earlier ones run: they share InFlight, and a drain is
// about the leases of all of them.
func (b *Backend) Lineage() uint64 { return b.load.lineage }

// Retired reports whether the pool no longer lists the backend. Leases remain
// valid.
func (b *Backend) Retired() bool { return b.retired.Load() }

// Ending reports whether the backend drains or has left: connections to it that
// nobody uses need not be kept.
func (b *Backend) Ending() bool { return b.ending.Load() }

// Metrics are the backend's counters, never nil.
func (b *Backend) Metrics() *metrics.Backend { return b.metrics }
