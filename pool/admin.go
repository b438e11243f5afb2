package pool

import (
	"fmt"
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

func (e *UnknownBackendError) Error() string {
	return fmt.Sprintf("pool %s has no backend %q", e.Pool, e.Address)
}

// Mark sets the administrative state of the backend with that address, as
// written. It returns once new requests go by it; requests already there keep
// their leases. Probes cannot undo it, nor does an Update. A backend that comes
// back from maintenance waits for a check to pass. The error is an
// *UnknownBackendError.
func (p *Pool) Mark(address string, a Admin) error {
	p.mu.Lock()
	defer p.unlock()
	b := p.listed[address]
	if b == nil {
		return &UnknownBackendError{Pool: p.name, Address: address}
	}
	if b.admin == a {
		return nil
	}
	now := time.Now()
	if a == Maintenance {
		b.clearEjection(now) // whatever was wrong is being worked on
	}
	if b.admin == Maintenance && b.check != nil {
		b.verdict, b.verdictCause = unknown, "waiting for the first check"
	}
	b.admin = a
	what := [...]string{Ready: EventReady, Drain: EventDrain, Maintenance: EventMaintenance}[a]
	p.change(b, now, what, "set by the operator")
	p.probeStale = true
	p.refresh(now)
	return nil
}
