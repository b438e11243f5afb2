package pool

import (
	"fmt"
	"time"

	"weir/health"
)

// LastCheck is the latest result of an active check.
type LastCheck struct {
	At    time.Time `json:"at"`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"`
	Took  float64   `json:"took"` // seconds
}

// syncProbes gives the prober the targets that the conditions call for: all
// that have an address and a check, but nothing in maintenance. p.mu is held.
func (p *Pool) syncProbes() {
	want := make(map[string]health.Target)
	p.probed = make(map[string]*Backend)
	add := func(b *Backend) {
		if b.check == nil || b.admin == Maintenance || b.target.Load() == nil {
			return
		}
		p.probed[b.key] = b
		want[b.key] = health.Target{
			Addr: b.Target().String(), Check: b.check.Check, Key: b.check.Key,
			Interval: b.check.Interval, DownInterval: b.check.DownInterval, Timeout: b.check.Timeout, Fall: b.check.Fall, Rise: b.check.Rise,
		}
	}
	for _, b := range p.order {
		add(b)
	}
	for st := range p.staged {
		for _, b := range st.fresh {
			add(b)
		}
	}
	p.prober.Sync(want)
}

// probeResult is called by the prober after each probe.
func (p *Pool) probeResult(key string, r health.Result) {
	p.mu.Lock()
	defer p.unlock()
	b := p.probed[key]
	if b == nil {
		return // stopped meanwhile
	}
	b.metrics.Probe(r.Err == nil, r.Took)
	b.last = LastCheck{At: r.At, OK: r.Err == nil, Took: r.Took.Seconds()}
	if r.Err != nil {
		b.last.Error = r.Err.Error()
	}
	if r.Report != nil {
		p.advise(b, *r.Report, agent, r.At)
	}
	if r.Changed {
		p.judge(b, r)
	}
	b.settle()
}

// judge enters a verdict that may differ from the one before. p.mu is held.
func (p *Pool) judge(b *Backend, r health.Result) {
	was := b.verdict
	what := EventUp
	if r.Up {
		b.verdict, b.verdictCause = up, "check passed"
	} else {
		b.verdict, b.verdictCause, what = down, r.Err.Error(), EventDown
	}
	cause := b.verdictCause
	switch {
	case r.Up && b.beat.out != "":
		cause += "; still out: " + b.beat.cause
	case !r.Up && r.Rise > max(1, b.check.Rise):
		cause += fmt.Sprintf("; it goes up and down: up again after %d passes in a row", r.Rise)
	}
	if b.verdict == was {
		return // the first result of a check that came to a backend in service
	}
	if p.listed[b.address] != b {
		b.settleState(r.At) // still staged: Commit tells
		return
	}
	p.change(b, r.At, what, cause)
	p.kick() // many verdicts may come at once; the goroutine builds one Set for them
}

// recheck brings b's check in line with the spec. p.mu is held.
func (p *Pool) recheck(b *Backend, now time.Time) {
	had := b.check != nil
	if had && (p.spec.Check == nil || p.spec.Check.Key != b.check.Key) {
		b.advice.forget(agent) // who is not asked any more
	}
	b.check = p.spec.Check
	if !had || b.check != nil {
		return // a check that comes to a backend in service judges it by its first result
	}
	b.last = LastCheck{}
	was := b.verdict
	b.verdict, b.verdictCause = up, "no check configured"
	if was != up {
		p.change(b, now, EventUp, b.verdictCause)
	}
}
