package pool

import (
	"fmt"
	"slices"
	"time"
)

// Admin is what the operator wants of a backend, whatever probes and traffic
// say about it.
type Admin uint8

// The administrative states.
const (
	Ready       Admin = iota // gets requests if it is fit
	Drain                    // gets no new requests; those it has finish; still probed
	Maintenance              // as Drain, and not probed either
)

var adminNames = [...]string{Ready: "ready", Drain: "drain", Maintenance: "maintenance"}

// String is "ready", "drain" or "maintenance".
func (a Admin) String() string { return adminNames[a] }

// MarshalText is String.
func (a Admin) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (a *Admin) UnmarshalText(text []byte) error {
	for i, name := range adminNames {
		if name == string(text) {
			*a = Admin(i)
			return nil
		}
	}
	return fmt.Errorf("unknown administrative state %q; want ready, drain or maintenance", text)
}

// UnknownBackendError says that a pool does not list an address.
type UnknownBackendError struct{ Pool, Address string }

// Error names the pool and the address.
func (e *UnknownBackendError) Error() string {
	return fmt.Sprintf("pool %s has no backend %q", e.Pool, e.Address)
}

// Mark sets the administrative state of the backend with that address, as
// written. It returns once new requests go by it; requests already there keep
// their leases, for Spec.DrainTimeout if a is not Ready. Probes cannot undo it, nor
// does an Update. A backend that comes back from maintenance waits for a check to
// pass. The error is an *UnknownBackendError.
func (p *Pool) Mark(address string, a Admin) error { return p.mark(address, a, nil) }

// MarkWithin is Mark with another time than Spec.DrainTimeout for the requests
// that are there, 0 for all they want. It changes the deadline of a drain that goes
// on, also of a backend that has left the pool.
func (p *Pool) MarkWithin(address string, a Admin, timeout time.Duration) error {
	return p.mark(address, a, &timeout)
}

func (p *Pool) mark(address string, a Admin, timeout *time.Duration) error {
	p.mu.Lock()
	defer p.unlock()
	now := time.Now()
	b := p.listed[address]
	if left := p.leaver(address); b == nil && left != nil && a != Ready && timeout != nil {
		p.drain(left, *timeout, now)
		return nil
	}
	if b == nil {
		return &UnknownBackendError{Pool: p.name, Address: address}
	}
	if p.setAdmin(b, a, timeout, now) {
		p.refresh(now)
	}
	return nil
}

// setAdmin reports whether the state is another one now. p.mu is held.
func (p *Pool) setAdmin(b *Backend, a Admin, timeout *time.Duration, now time.Time) bool {
	switch {
	case a == Ready:
		p.undrain(b)
	case timeout != nil:
		p.drain(b, *timeout, now)
	case b.draining.since.IsZero():
		p.drain(b, p.spec.DrainTimeout, now)
	}
	what := [...]string{Ready: EventReady, Drain: EventDrain, Maintenance: EventMaintenance}[a]
	if b.admin == a {
		if a != Ready && timeout != nil {
			p.change(b, now, what, "another deadline, set by the operator")
		}
		return false
	}
	if a == Maintenance {
		b.clearEjection(now) // whatever was wrong is being worked on
	}
	if b.admin == Maintenance && b.check != nil {
		b.verdict, b.verdictCause = unknown, "waiting for the first check"
	}
	b.admin = a
	p.change(b, now, what, "set by the operator")
	p.probeStale = true
	return true
}

// Configured undoes SetWeight.
const Configured = -1

const maxWeight = 65535 // what a configuration may say

// SetWeight gives the backend with that address, as written, another weight
// than the Spec's until it is set to Configured; 0 takes it out of balancing.
// As with Mark, an Update does not undo it. The error is an
// *UnknownBackendError, or about the weight.
func (p *Pool) SetWeight(address string, weight int) error {
	if err := checkWeight(weight); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.unlock()
	b := p.listed[address]
	if b == nil {
		return &UnknownBackendError{Pool: p.name, Address: address}
	}
	if now := time.Now(); p.setWeight(b, weight, now) {
		p.refresh(now)
	}
	return nil
}

func checkWeight(weight int) error {
	if weight < Configured || weight > maxWeight {
		return fmt.Errorf("weight %d; want 0 to %d, or %d for the configured one", weight, maxWeight, Configured)
	}
	return nil
}

// setWeight reports whether it is another one now. p.mu is held.
func (p *Pool) setWeight(b *Backend, weight int, now time.Time) bool {
	if b.override == weight {
		return false
	}
	b.override = weight
	cause := fmt.Sprintf("%d, set by the operator", weight)
	if weight == Configured {
		cause = fmt.Sprintf("%d, as configured", b.spec.shownWeight())
	}
	p.change(b, now, EventWeight, cause)
	return true
}

// weight is what the operator wants it to be; 0: no requests.
func (b *Backend) weight() int {
	if b.override != Configured {
		return b.override
	}
	return b.spec.shownWeight()
}

const historyKept = 64 // events of one backend

// History returns the latest changes of the backend with that address, oldest
// first, also of one that is leaving. The error is an *UnknownBackendError.
func (p *Pool) History(address string) ([]Event, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.listed[address]
	if b == nil {
		b = p.leaver(address)
	}
	if b == nil {
		return nil, &UnknownBackendError{Pool: p.name, Address: address}
	}
	return slices.Clone(b.history), nil
}

// remember enters an event in the backend's history.
func (b *Backend) remember(e Event) {
	if len(b.history) == historyKept {
		b.history = slices.Delete(b.history, 0, 1)
	}
	b.history = append(b.history, e)
}
