package pool

import (
	"fmt"
	"slices"
	"time"
)

// rotation is who may get requests, in tiers. Each axis of a backend's state
// narrows it: the operator's, the probes', the traffic's. Then the threshold
// widens it: a tier in which fewer than that percent are usable is joined by the
// next, and if no tier has enough there is a panic: all that are ready and have
// an address are one tier. p.mu is held.
func (p *Pool) rotation() (tiers [][]*Backend, panicking bool) {
	ready := filter(p.order, (*Backend).ready)
	missed := missable(ready)
	var joined []*Backend
	enough := false
	for _, group := range byTier(ready) {
		usable := filter(group, (*Backend).usable)
		if enough {
			tiers = appendSome(tiers, usable)
			continue
		}
		joined = append(joined, usable...)
		if enough = len(usable) > 0 && len(usable)*100 >= p.spec.PanicThreshold*len(filter(group, missed)); enough {
			tiers = appendSome(tiers, joined)
		}
	}
	switch {
	case enough:
		return tiers, false
	case p.spec.PanicThreshold > 0 && slices.ContainsFunc(ready, missed) && !slices.ContainsFunc(ready, (*Backend).awaited):
		return appendSome(nil, filter(ready, (*Backend).located)), true
	}
	return appendSome(nil, joined), false
}

// missable says which of the ready count for the threshold. One that was added
// to a running pool does once it has been fit: four that are still starting
// must not make a panic of the two that serve. If all of them are new, those
// that have been probed count.
func missable(ready []*Backend) func(*Backend) bool {
	if slices.ContainsFunc(ready, func(b *Backend) bool { return b.known }) {
		return func(b *Backend) bool { return b.known }
	}
	return func(b *Backend) bool { return b.verdict != unknown && b.located() }
}

// awaited reports whether b is of the first Spec and has not been probed: a
// panic has to wait, or each start would begin with one.
func (b *Backend) awaited() bool { return b.founder && !b.known && b.verdict == unknown }

// located reports whether b has an address.
func (b *Backend) located() bool { return b.target.Load() != nil }

// panicIs tells when a panic begins and when it ends. p.mu is held.
func (p *Pool) panicIs(panicking bool, now time.Time) {
	if panicking == p.panicking {
		return
	}
	p.panicking = panicking
	ready, _, usable := p.census()
	e := Event{Time: now, Pool: p.name, What: EventCalm, Cause: fmt.Sprintf("%d of %d backends are usable", usable, ready)}
	if panicking {
		e.What = EventPanic
		e.Cause += fmt.Sprintf(", which is less than %d %%: all are used", p.spec.PanicThreshold)
	}
	p.events = append(p.events, e)
}

// appendSome leaves out a tier without members.
func appendSome(tiers [][]*Backend, tier []*Backend) [][]*Backend {
	if len(tier) == 0 {
		return tiers
	}
	return append(tiers, tier)
}
