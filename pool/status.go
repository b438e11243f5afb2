package pool

import (
	"cmp"
	"time"
)

// What BackendStatus.State says: the axes of a backend's state in one word, of
// which the first that applies is given.
const (
	StateMaintenance = "maintenance"
	StateDraining    = "draining"
	StateUnresolved  = "unresolved" // a name without an answer so far
	StateDown        = "down"       // probes
	StateUnknown     = "unknown"    // no probe has ended yet
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
	Backends []BackendStatus `json:"backends"` // in the order of the Spec
}

// BackendStatus is one backend of a Status.
type BackendStatus struct {
	Address         string     `json:"address"`          // as written
	Target          string     `json:"target,omitempty"` // resolved; "" while there is none
	Weight          int        `json:"weight"`
	WeightOverride  *int       `json:"weight_override,omitempty"` // SetWeight's, in place of Weight
	EffectiveWeight int        `json:"effective_weight"`          // 0: gets no new requests
	SlowStart       int        `json:"slow_start,omitempty"`      // percent of the weight that it has so far
	Tier            int        `json:"tier"`
	MaxRequests     int        `json:"max_requests"` // 0: no limit
	Admin           Admin      `json:"admin"`
	Health          string     `json:"health"` // up, down, unknown or unresolved; up where there is no check
	Ejected         bool       `json:"ejected"`
	EjectedUntil    time.Time  `json:"ejected_until,omitzero"`
	HalfOpen        bool       `json:"half_open,omitempty"` // back from an ejection, one request at a time
	State           string     `json:"state"`               // one of the State constants
	Since           time.Time  `json:"since"`               // of State
	Cause           string     `json:"cause,omitempty"`
	InFlight        int        `json:"in_flight"`
	Streams         int        `json:"streams,omitempty"` // of these, tunnels and streams of events
	LastCheck       *LastCheck `json:"last_check,omitempty"`
	Requests        uint64     `json:"requests"` // ended, since the backend was added
	Errors          uint64     `json:"errors"`   // of these, with a bad Outcome
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
	return s
}

// shown is b's share of the Set as a weight, 1 at least if there is any, and how
// many percent it is of the whole weight, 0 for all of it. p.mu is held.
func (p *Pool) shown(b *Backend) (weight, percent int) {
	if b.share == 0 {
		return 0, 0
	}
	if percent = b.share / max(1, p.weight(b)); percent == 100 {
		percent = 0
	}
	return max(1, b.share/100), percent
}

func (b *Backend) status() BackendStatus {
	s := BackendStatus{
		Address: b.address, Weight: b.spec.shownWeight(), Tier: b.spec.Tier, MaxRequests: b.spec.MaxRequests,
		Admin: b.admin, Health: b.health(), Ejected: !b.trusted(), EjectedUntil: b.ejectedUntil, HalfOpen: b.halfOpen,
		State: b.state, Since: b.since, Cause: b.cause, InFlight: b.InFlight(),
		Streams: int(b.load.streams.Load()),
	}
	if a := b.Target(); a.IsValid() {
		s.Target = a.String()
	}
	if b.override != Configured {
		override := b.override
		s.WeightOverride = &override
	}
	if !b.last.At.IsZero() {
		last := b.last
		s.LastCheck = &last
	}
	for i := range b.load.loops {
		s.Requests += b.load.loops[i].requests.Load()
		s.Errors += b.load.loops[i].errors.Load()
	}
	return s
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
	case b.admin == Maintenance:
		state, cause = StateMaintenance, "set by the operator"
	case b.admin == Drain:
		state, cause = StateDraining, "set by the operator"
	case b.advice.refuses():
		state, cause = StateDraining, "its agent asks for no new requests"
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
