package pool

import (
	"cmp"
	"math"
	"time"
)

// What BackendStatus.State says: the axes of a backend's state in one word, of
// which the first that applies is given.
const (
	StateMaintenance = "maintenance"
	StateDraining    = "draining"
	StateUnresolved  = "unresolved" // a name without an answer so far
	StateDown        = "down"       // probes, or no heartbeat
	StateUnknown     = "unknown"    // no probe has ended yet, or it has never reported
	StateEjected     = "ejected"    // traffic
	StateUp          = "up"         // in rotation, if its tier is the one that serves
)

// states lists what State can be.
var states = [...]string{
	StateUp, StateDown, StateUnknown, StateUnresolved, StateEjected, StateDraining, StateMaintenance,
}

// Status is a pool at one moment, for people and programs.
type Status struct {
	Name     string          `json:"name"`
	Balance  string          `json:"balance"`
	Panic    bool            `json:"panic"` // all that have an address are used, fit or not
	Queue    Queue           `json:"queue"`
	Backends []BackendStatus `json:"backends"`          // in the order of the Spec
	Removed  bool            `json:"removed,omitempty"` // the pool is no longer configured, and its last requests run
	Leaving  []BackendStatus `json:"leaving,omitempty"` // no longer listed, and their last requests run
}

// BackendStatus is one backend of a Status.
type BackendStatus struct {
	Address         string       `json:"address"`          // as written
	Target          string       `json:"target,omitempty"` // resolved; "" while there is none
	Weight          int          `json:"weight"`
	WeightOverride  *int         `json:"weight_override,omitempty"` // SetWeight's, in place of Weight
	EffectiveWeight int          `json:"effective_weight"`          // 0: gets no new requests
	SlowStart       int          `json:"slow_start,omitempty"`      // percent of the weight that it has so far
	Tier            int          `json:"tier"`
	MaxRequests     int          `json:"max_requests"` // 0: no limit
	Admin           Admin        `json:"admin"`
	Health          string       `json:"health"` // up, down, unknown or unresolved; up where there is no check
	Ejected         bool         `json:"ejected"`
	EjectedUntil    time.Time    `json:"ejected_until,omitzero"`
	HalfOpen        bool         `json:"half_open,omitempty"` // back from an ejection, one request at a time
	State           string       `json:"state"`               // one of the State constants
	Since           time.Time    `json:"since"`               // of State
	Cause           string       `json:"cause,omitempty"`
	InFlight        int          `json:"in_flight"`
	Streams         int          `json:"streams,omitempty"` // of these, tunnels and streams of events
	Drain           *DrainStatus `json:"drain,omitempty"`   // while it drains
	LastCheck       *LastCheck   `json:"last_check,omitempty"`
	Heartbeat       string       `json:"heartbeat,omitempty"`      // up, down or unknown; absent: it need not report
	LastHeartbeat   time.Time    `json:"last_heartbeat,omitzero"`  // absent: it has never reported
	Load            float64      `json:"load,omitempty"`           // that its answers report, smoothed; 0 to 1
	WeightPercent   int          `json:"weight_percent,omitempty"` // of Weight, by its own word; absent: all of it
	Requests        uint64       `json:"requests"`                 // ended, since the backend was added
	Errors          uint64       `json:"errors"`                   // of these, that count against it

	// ConcurrencyLimit is how many requests it may have at once at this moment,
	// where that follows latency. 0: max_requests is all there is.
	ConcurrencyLimit int `json:"concurrency_limit,omitempty"`
}

// Status describes the pool as it is now.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Name: p.name, Balance: p.spec.Balance, Panic: p.panicking,
		Queue:    Queue{Length: int(p.queue.waiting.Load()), Size: p.spec.Queue.Size},
		Backends: make([]BackendStatus, len(p.order))}
	if s.Balance == "" {
		s.Balance = WeightedRoundRobin
	}
	for i, b := range p.order {
		s.Backends[i] = b.status()
		s.Backends[i].EffectiveWeight, s.Backends[i].SlowStart = p.shown(b)
	}
	s.Removed, s.Leaving = p.gone, p.leavers()
	return s
}

// shown is b's share of the Set as a weight, 1 at least if there is any, and how
// many percent it is of the whole weight, 0 for all of it. p.mu is held.
func (p *Pool) shown(b *Backend) (weight, percent int) {
	if b.share == 0 {
		return 0, 0
	}
	if percent = b.grown; percent == 100 {
		percent = 0
	}
	return max(1, b.share/100), percent
}

func (b *Backend) status() BackendStatus {
	s := BackendStatus{
		Address: b.address, Weight: b.spec.shownWeight(), Tier: b.spec.Tier, MaxRequests: b.spec.MaxRequests,
		Admin: b.admin, Health: b.health(), Ejected: !b.trusted(), EjectedUntil: b.ejectedUntil, HalfOpen: b.halfOpen,
		State: b.state, Since: b.since, Cause: b.cause, InFlight: b.InFlight(),
		Streams: int(b.load.streams.Load()), Drain: b.drainStatus(),
	}
	if a := b.Target(); a.IsValid() {
		s.Target = a.String()
	}
	s.ConcurrencyLimit = b.concurrencyLimit()
	if b.override != Configured {
		override := b.override
		s.WeightOverride = &override
	}
	if !b.last.At.IsZero() {
		last := b.last
		s.LastCheck = &last
	}
	b.ownStatus(&s)
	n := b.load.tally()
	s.Requests, s.Errors = n.requests, n.errors
	return s
}

// ownStatus is what a backend says of itself.
func (b *Backend) ownStatus(s *BackendStatus) {
	if b.beat.cause != "" {
		s.Heartbeat = cmp.Or(b.beat.out, StateUp)
	}
	s.LastHeartbeat = b.beat.last
	s.Load = math.Round(100*b.follows.level) / 100
	if percent := b.ownPercent(); percent != 100 && b.pool.spec.weighs() {
		s.WeightPercent = percent
	}
}

// health is the probes' axis alone.
func (b *Backend) health() string {
	switch {
	case b.target.Load() == nil:
		return StateUnresolved
	case b.verdict == down:
		return StateDown
	case b.verdict == unknown:
		return StateUnknown
	}
	return StateUp
}

// settleState derives state and its cause from the axes, and since when. p.mu
// is held.
func (b *Backend) settleState(now time.Time) {
	state, cause := b.health(), b.verdictCause
	switch {
	case state != StateUp:
	case b.beat.out != "":
		state, cause = b.beat.out, b.beat.cause
	case b.check == nil:
		cause = cmp.Or(b.beat.cause, cause)
	}
	switch {
	case b.retired.Load():
		state, cause = StateDraining, "no longer configured"
	case b.admin == Maintenance:
		state, cause = StateMaintenance, "set by the operator"
	case b.admin == Drain:
		state, cause = StateDraining, "set by the operator"
	case b.advice.refuses():
		state, cause = StateDraining, string(b.advice.by)+" asks for no new requests"
	case state == StateUnresolved:
		cause = cmp.Or(b.nameError, "waiting for the name to resolve")
	case state == StateUp && !b.trusted():
		state, cause = StateEjected, b.ejectCause
	}
	if state != b.state {
		b.state, b.since = state, now
	}
	b.cause = cause
}
