package pool

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"weir/health"
	"weir/internal/metrics"
)

// The balancing policies that Spec.Balance names.
const (
	WeightedRoundRobin = "weighted_round_robin"
	RoundRobin         = "round_robin" // as if all weights were 1
	Random             = "random"
	LeastRequests      = "least_requests"
	PeakEWMA           = "peak_ewma"       // wants Lease.Observe
	ConsistentHash     = "consistent_hash" // wants AcquireKey
	First              = "first"           // each one full before the next; weights do not matter
)

// Spec is what the operator wants a pool to be. A Pool keeps what it is given:
// do not change it afterwards.
type Spec struct {
	Name     string // for the reader: the Pool has its own
	Balance  string // "" is WeightedRoundRobin
	Backends []BackendSpec
	Check    *CheckSpec // nil: backends are taken to be up
	Passive  Passive

	// Heartbeat is how long after a report of its own (Pool.Heartbeat) a
	// backend is out. 0: they need not report.
	Heartbeat time.Duration

	// FollowLoad makes weights follow what answers say of load
	// (Lease.ReportLoad). Not under RoundRobin and First, which have none.
	FollowLoad bool

	// HashBalanceFactor bounds what consistent_hash gives a backend: its share
	// of the requests in flight times this, 1.25 say. Below 1: no bound.
	HashBalanceFactor float64

	// AdaptiveConcurrency lets the number of requests that a backend gets at once
	// follow from its latency. MaxRequests is then the most. Wants Lease.Observe.
	AdaptiveConcurrency bool

	// PanicThreshold is how many percent of the backends must be usable. If
	// fewer are, all are used, for the fault may be the checks'. 0: never.
	PanicThreshold int

	// Queue is for requests that find every backend full.
	Queue QueueSpec

	// SlowStart is how long a backend takes to its full weight after it came
	// into rotation. 0: no time.
	SlowStart time.Duration

	// StickyKey is what the ids are made with by which clients keep their
	// backend (AcquireSticky). Empty: no client sticks.
	StickyKey []byte

	// DrainTimeout is how long what runs on a backend has when it is drained or
	// leaves. 0: for ever.
	DrainTimeout time.Duration
}

// weighs reports whether the policy looks at weights.
func (s *Spec) weighs() bool { return s.Balance != RoundRobin && s.Balance != First }

// followsLoad is FollowLoad, where weights mean anything.
func (s *Spec) followsLoad() bool { return s.FollowLoad && s.weighs() }

// NoTraffic is the weight of a backend that is probed and shown, and gets no
// request.
const NoTraffic = -1

// BackendSpec is one backend of a Spec. A second one with the same address is
// ignored.
type BackendSpec struct {
	Address     string // host:port, [v6]:port or unix:/path; with the pool's name its identity
	Weight      int    // share of the requests; 0 counts as 1, see NoTraffic
	Tier        int    // the lowest one with a usable backend gets the requests
	MaxRequests int    // in flight at once; 0: no limit
}

// shownWeight is the weight as operators write it.
func (s *BackendSpec) shownWeight() int {
	if s.Weight == NoTraffic {
		return 0
	}
	return max(1, s.Weight)
}

// CheckSpec says how backends are probed.
type CheckSpec struct {
	Check        health.Check
	Key          string        // equal Keys mean equal Checks, which may not be comparable
	Interval     time.Duration // must be positive
	DownInterval time.Duration // while the backend is down; 0: Interval
	Timeout      time.Duration // must be positive
	Fall         int           // failures in a row until down; the first result of a new backend decides alone
	Rise         int           // passes in a row until up
}

// Passive says when failing requests take a backend out, and for how long.
type Passive struct {
	ConsecutiveErrors int           // 0: never
	Ejection          time.Duration // the first time; twice that the second time, and so on
	MaxEjection       time.Duration // and no longer than this; 0: no limit
	MaxEjected        int           // percent of the ready backends out at once; see ejectionCap
	HalfOpen          bool          // who returns gets one request at a time until one has succeeded
	Enforce           bool          // false: nobody is ejected, there is only an event
	Count             *Faults       // what is an error; nil: whatever is bad, and 502, 503 and 504
	SuccessRate       SuccessRate
}

// faults is Count.
func (s Passive) faults() *Faults {
	if s.Count == nil {
		return everyFault
	}
	return s.Count
}

// watches reports whether anybody looks at errors.
func (s Passive) watches() bool { return s.ConsecutiveErrors > 0 || s.SuccessRate.Interval > 0 }

// ejects reports whether errors can take a backend out.
func (s Passive) ejects() bool { return s.watches() && s.Enforce }

// Options are what a Pool needs from its surroundings.
type Options struct {
	Loops   int               // Acquire's loop is below this; 0: GOMAXPROCS
	Log     *zap.Logger       // nil: silent
	Metrics *metrics.Registry // nil: counted but not shown

	// Resolve looks host names up; nil: net.DefaultResolver. It returns soon
	// after ctx ends.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// Pace is what the probes of all pools share: one of the process's. nil: this
	// pool's are alone.
	Pace *health.Pace

	// Events is told of every change of a backend, one at a time and in
	// order. It must not block and must not call Close; the pool's other
	// methods it may call.
	Events func(Event)

	// Expire is told that the end of some leases on a backend of b's Lineage has
	// come: those whose End is not after now are to be closed and returned as
	// Drained. It is told again until none are left, must not block, and must not
	// call the pool. nil: a deadline closes nothing.
	Expire func(b *Backend, d Deadline, now time.Time)
}

// Event is one change of one backend, or of the pool.
type Event struct {
	Time    time.Time `json:"time"`
	Pool    string    `json:"pool"`
	Backend string    `json:"backend"` // address as written; "" if it is about the pool
	What    string    `json:"what"`    // one of the Event constants
	Cause   string    `json:"cause"`
}

// What an Event says.
const (
	EventAdded       = "added"
	EventRemoved     = "removed"
	EventUp          = "up"   // probes, or heartbeats
	EventDown        = "down" // probes, or heartbeats
	EventEjected     = "ejected"
	EventReturned    = "returned" // from an ejection
	EventDrain       = "drain"
	EventDrained     = "drained" // nothing runs any more on one that drains or has left
	EventMaintenance = "maintenance"
	EventReady       = "ready"
	EventResolved    = "resolved" // first address of a name, or another one than before
	EventUnresolved  = "unresolved"
	EventWeight      = "weight"      // SetWeight, or its own word
	EventWouldEject  = "would_eject" // Passive.Enforce is false
	EventPanic       = "panic"       // of the pool: all backends are used
	EventCalm        = "calm"        // of the pool: the usable ones are enough again
)
