package pool

import (
	"fmt"
	"time"

	"weir/health"
)

// heartbeat is what a backend has reported of itself, and what follows. It is an
// axis of its own: probes cannot bring in a backend that is silent, nor can
// reports bring in one whose probes fail.
type heartbeat struct {
	last time.Time // of the latest report; zero: there has been none
	from time.Time // its first report has time until the ttl after this; zero: it has to report first
	down string    // it says itself that it cannot serve: this; "": it does not

	out   string // StateDown, or StateUnknown if it was never in; "": it is in
	cause string // of either; "" where nobody has to report
}

// due is when h is out if nothing more is heard; zero: it has to report first.
func (h *heartbeat) due(ttl time.Duration) time.Time {
	latest := h.last
	if h.from.After(latest) {
		latest = h.from
	}
	if latest.IsZero() {
		return latest
	}
	return latest.Add(ttl)
}

// missing is why h is out; "" if it is not.
func (h *heartbeat) missing(now time.Time, ttl time.Duration) string {
	switch {
	case ttl == 0:
		return ""
	case h.down != "":
		return h.down
	case now.Before(h.due(ttl)):
		return ""
	case h.last.IsZero():
		return "no heartbeat yet"
	}
	cause := fmt.Sprintf("no heartbeat for %v", ttl)
	if ago := now.Sub(h.last).Round(time.Second); ago > ttl {
		cause += fmt.Sprintf(", the last %v ago", ago)
	}
	return cause
}

// NoHeartbeatError says that a pool wants no heartbeats.
type NoHeartbeatError struct{ Pool string }

// Error names the pool and the key to set.
func (e *NoHeartbeatError) Error() string {
	return fmt.Sprintf("pool %s has no heartbeat; set health.heartbeat.ttl", e.Pool)
}

// Pulse is how a backend stands after a heartbeat.
type Pulse struct {
	TTL   float64 `json:"ttl"`   // seconds within which the next one has to come
	State string  `json:"state"` // one of the State constants
	Cause string  `json:"cause,omitempty"`
}

// Heartbeat enters that the backend with that address, as written, is there, and
// what it says beside that. A report that does not say down says up. The first
// one brings the backend in, if nothing else keeps it out. The error is an
// *UnknownBackendError or a *NoHeartbeatError.
func (p *Pool) Heartbeat(address string, r health.Report) (Pulse, error) {
	p.mu.Lock()
	defer p.unlock()
	b := p.listed[address]
	switch {
	case b == nil:
		return Pulse{}, &UnknownBackendError{Pool: p.name, Address: address}
	case p.spec.Heartbeat == 0:
		return Pulse{}, &NoHeartbeatError{Pool: p.name}
	}
	now := time.Now()
	h := &b.beat
	again := "first heartbeat"
	switch {
	case h.down != "":
		again = "it no longer says that it is down"
	case !h.last.IsZero():
		again = fmt.Sprintf("a heartbeat again, after %v", roughly(now.Sub(h.last)))
	}
	h.last, h.down = now, saysDown(r)
	p.advise(b, r, heartbeats, now)
	p.feel(b, now, again)
	if h.out == "" {
		h.cause = "heartbeats come in time"
		b.settleState(now)
	}
	return Pulse{TTL: p.spec.Heartbeat.Seconds(), State: b.state, Cause: b.cause}, nil
}

// saysDown is what a report says if it says down; else "".
func saysDown(r health.Report) string {
	switch {
	case r.Up == nil || *r.Up:
		return ""
	case r.Reason == "":
		return "it says that it is down"
	}
	return "it says that it is down: " + r.Reason
}

// feel brings in or takes out a backend as its heartbeats say; again is why it
// is in, if that is news. p.mu is held.
func (p *Pool) feel(b *Backend, now time.Time, again string) {
	h := &b.beat
	missing := h.missing(now, p.spec.Heartbeat)
	switch {
	case missing == "" && h.out == "":
		return
	case missing == "":
		h.out, h.cause = "", again
		if b.verdict != up {
			again += "; still out: " + b.verdictCause
		}
		p.change(b, now, EventUp, again)
	case h.out == "" || h.out == StateUnknown && h.down != "":
		h.out, h.cause = StateDown, missing
		p.change(b, now, EventDown, missing)
	default:
		if h.down != "" { // else for how long it has been silent would change all the time
			h.cause = missing
			b.settleState(now)
		}
		return
	}
	p.kick() // many may come at once; the goroutine builds one Set for them
}

// listen takes out those that have not been heard for too long. p.mu is held.
func (p *Pool) listen(now time.Time) {
	if p.spec.Heartbeat == 0 {
		return
	}
	again := fmt.Sprintf("heartbeats are due within %v now", p.spec.Heartbeat) // that is more than it was
	for _, b := range p.order {
		p.feel(b, now, again)
	}
}

// expect prepares a backend that is new on the list. One of the first Spec has
// until the ttl to report: else each start of Weir would be an outage until its
// backends have. One that is added later has to report first: whoever starts it
// knows when it is ready. p.mu is held.
func (p *Pool) expect(b *Backend, now time.Time) {
	switch {
	case p.spec.Heartbeat == 0:
	case b.founder:
		b.beat.give(now)
	default:
		b.beat.out, b.beat.cause = StateUnknown, "no heartbeat yet"
	}
}

// give lets the backend be in until the ttl after now without a report.
func (h *heartbeat) give(now time.Time) {
	h.from, h.cause = now, "waiting for the first heartbeat"
}

// relisten follows a change of the ttl. Who is in service when heartbeats begin
// to be wanted has the time of one ttl, as at the start. p.mu is held.
func (p *Pool) relisten(before time.Duration, now time.Time) {
	ttl := p.spec.Heartbeat
	for _, b := range p.order {
		switch {
		case ttl > 0 && before == 0 && b.beat.out == "": // it is not new, nor does it wait
			b.beat.give(now)
		case ttl == 0 && before > 0:
			p.deafen(b, now)
		}
	}
	p.listen(now)
}

// deafen forgets what heartbeats have said of b, but not when. p.mu is held.
func (p *Pool) deafen(b *Backend, now time.Time) {
	b.advice.forget(heartbeats) // nobody would take it back
	b.beat.down = ""
	p.feel(b, now, "heartbeats are no longer wanted")
	b.beat.cause = ""
	b.settleState(now)
}
