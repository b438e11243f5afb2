package pool

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Staged is a Spec on its way into a Pool. Commit or Discard ends it; whichever
// comes second does nothing.
type Staged struct {
	p     *Pool
	spec  Spec
	fresh []*Backend // not listed when it was staged
	words []word     // of the operator
	ended bool       // under p.mu
}

// word is what the operator says of a backend that is about to be listed.
type word struct {
	address string
	admin   Admin
	weight  int
}

// Pool is where the Spec goes.
func (st *Staged) Pool() *Pool { return st.p }

// Mark is Pool.Mark for a backend of the Spec, in force from the moment of Commit
// on: no request meets one that comes back and is drained. Not for use by several
// goroutines.
func (st *Staged) Mark(address string, a Admin) error {
	return st.say(word{address, a, Configured})
}

// SetWeight is to Pool.SetWeight as Mark is to Pool.Mark.
func (st *Staged) SetWeight(address string, weight int) error {
	if err := checkWeight(weight); err != nil {
		return err
	}
	return st.say(word{address, Ready, weight})
}

func (st *Staged) say(w word) error {
	if !slices.ContainsFunc(st.spec.Backends, func(b BackendSpec) bool { return b.Address == w.address }) {
		return &UnknownBackendError{Pool: st.p.name, Address: w.address}
	}
	st.words = append(st.words, w)
	return nil
}

// heed puts in force what the operator has said. p.mu is held.
func (st *Staged) heed(now time.Time) {
	for _, w := range st.words {
		b := st.p.listed[w.address]
		if w.admin != Ready {
			st.p.setAdmin(b, w.admin, nil, now)
		}
		if w.weight != Configured {
			st.p.setWeight(b, w.weight, now)
		}
	}
}

// Stage starts resolving and probing the backends of s that the pool does not
// have. Nothing that Acquire sees changes before Commit.
func (p *Pool) Stage(s Spec) *Staged {
	s.Backends = slices.Clone(s.Backends)
	st := &Staged{p: p, spec: s}
	p.mu.Lock()
	defer p.unlock()
	seen := make(map[string]bool, len(s.Backends))
	for _, bs := range s.Backends {
		if p.listed[bs.Address] == nil && !seen[bs.Address] {
			seen[bs.Address] = true
			st.fresh = append(st.fresh, p.newBackend(bs, s.Check))
		}
	}
	p.staged[st] = struct{}{}
	p.probeStale = true
	p.refresh(time.Now())
	return st
}

// Wait returns when each new backend has its first verdict (its name's first
// answer, where there is no check) or when ctx ends.
func (st *Staged) Wait(ctx context.Context) {
	for _, b := range st.fresh {
		select {
		case <-b.settled:
		case <-ctx.Done():
			return
		}
	}
}

// Commit makes the pool what the Spec says. Backends that left are retired;
// those that stay keep health, ejection, counts, leases and what Mark said.
func (st *Staged) Commit() {
	p := st.p
	p.mu.Lock()
	defer p.unlock()
	if st.ended {
		return
	}
	st.ended = true
	delete(p.staged, st)
	if p.closing {
		p.discard(st.fresh)
		return
	}
	now, before := time.Now(), p.spec
	p.gone = false
	p.spec = st.spec
	p.errorLimit.Store(int64(p.spec.Passive.ConsecutiveErrors))
	p.queue.size.Store(int64(p.spec.Queue.Size))
	p.queue.timeout.Store(int64(p.spec.Queue.Timeout))
	p.measured.Store(p.spec.Balance == PeakEWMA)
	p.faults.Store(p.spec.Passive.faults())
	p.relist(st.fresh, now)
	p.nameSticky()
	p.relearn(&before, now)
	p.equip()
	p.relax(now)
	st.heed(now)
	p.setStale, p.probeStale = true, true
	p.refresh(now)
	p.kick() // leaving backends without leases, ejections with another cap
}

// relax undoes what the Spec no longer wants of passive checks. p.mu is held.
func (p *Pool) relax(now time.Time) {
	switch s := p.spec.Passive; {
	case !s.watches():
		p.endEjectionsOf(func(*Backend) bool { return true }, now, "passive checks are off")
	case !s.Enforce:
		p.endEjectionsOf(func(*Backend) bool { return true }, now, "passive checks only watch")
	}
	if p.spec.Passive.HalfOpen && p.spec.Passive.ejects() {
		return
	}
	for _, b := range p.order {
		b.halfOpen = false
	}
}

// Discard gives up the staged backends.
func (st *Staged) Discard() {
	p := st.p
	p.mu.Lock()
	defer p.unlock()
	p.dropStaged(st)
	p.probeStale = true
	p.refresh(time.Now())
}

func (p *Pool) dropStaged(st *Staged) {
	if !st.ended {
		st.ended = true
		delete(p.staged, st)
		p.discard(st.fresh)
	}
}

// Update is Stage and Commit in one: new backends with a check are out until
// their first pass.
func (p *Pool) Update(s Spec) { p.Stage(s).Commit() }

// relist makes order and listed those of p.spec, taking new backends from
// fresh. p.mu is held.
func (p *Pool) relist(fresh []*Backend, now time.Time) {
	before, order := p.listed, p.order
	p.order, p.listed = nil, make(map[string]*Backend, len(p.spec.Backends))
	ready := make(map[string]*Backend, len(fresh))
	for _, b := range fresh {
		ready[b.address] = b
	}
	for _, bs := range p.spec.Backends {
		if p.listed[bs.Address] != nil {
			continue
		}
		b := before[bs.Address]
		if b == nil {
			b = ready[bs.Address]
			delete(ready, bs.Address)
			p.adopt(&b, bs, now)
		}
		delete(before, bs.Address)
		b.spec = bs
		p.recheck(b, now)
		p.order = append(p.order, b)
		p.listed[bs.Address] = b
	}
	p.founded = p.founded || len(p.order) > 0
	for _, b := range order {
		if before[b.address] == nil {
			continue // it stays
		}
		p.dismiss(b, now)
		p.events = append(p.events, Event{now, p.name, b.address, EventRemoved, "no longer configured"})
	}
	for _, b := range ready { // another Spec listed them first
		p.discard([]*Backend{b})
	}
}

// adopt lists a staged backend, making one if *b is nil: the pool has lost it
// between Stage and Commit. p.mu is held.
func (p *Pool) adopt(b **Backend, bs BackendSpec, now time.Time) {
	if *b == nil {
		*b = p.newBackend(bs, p.spec.Check)
	}
	n := *b
	p.leaving = slices.DeleteFunc(p.leaving, func(old *Backend) bool {
		if old.address != n.address {
			return false
		}
		n.load = old.load // it is back before its last request ended
		p.metrics.RemoveBackend(p.name, old.address)
		return true
	})
	n.founder = !p.founded
	p.meet(n, now)
	p.change(n, now, EventAdded, "configured")
	switch {
	case n.state == StateUnresolved && n.nameError != "":
		p.change(n, now, EventUnresolved, n.nameError)
	case n.verdict == down:
		p.change(n, now, EventDown, n.verdictCause)
	case n.verdict == up && n.check != nil:
		p.change(n, now, EventUp, n.verdictCause)
	}
}

// newBackend starts whatever finds out about an address. p.mu is held.
func (p *Pool) newBackend(bs BackendSpec, check *CheckSpec) *Backend {
	id := lastID.Add(1)
	b := &Backend{
		pool: p, id: id, key: strconv.FormatUint(id, 10), address: bs.Address,
		metrics: p.metrics.Backend(p.name, bs.Address),
		load:    &load{loops: make([]loopLoad, len(p.cursors)), lineage: id},
	}
	b.spec, b.check, b.override = bs, check, Configured
	b.settled = make(chan struct{})
	if check == nil {
		b.verdict = up
	} else {
		b.verdictCause = "waiting for the first check"
	}
	if err := p.locate(b); err != nil {
		b.nameError = fmt.Sprintf("address %q: %v", bs.Address, err)
	}
	b.settleState(time.Now())
	if b.state == StateUp || b.nameError != "" {
		b.settle()
	}
	return b
}

// settle ends Staged.Wait for b. p.mu is held.
func (b *Backend) settle() {
	select {
	case <-b.settled:
	default:
		close(b.settled)
	}
}

// discard forgets staged backends that nobody has seen. p.mu is held.
func (p *Pool) discard(fresh []*Backend) {
	for _, b := range fresh {
		p.retire(b)
	}
	p.releaseIdle()
}

// retire takes b off the pool's hands; its leases remain. p.mu is held.
func (p *Pool) retire(b *Backend) {
	if b.retired.Swap(true) {
		return
	}
	b.ending.Store(true)
	if b.stopName != nil {
		b.stopName()
	}
	b.settle()
	p.leaving = append(p.leaving, b)
}

// releaseIdle gives back the metrics of retired backends that no request uses.
// p.mu is held.
func (p *Pool) releaseIdle() {
	p.leaving = slices.DeleteFunc(p.leaving, func(b *Backend) bool {
		if b.InFlight() > 0 {
			return false
		}
		p.emptied(b, time.Now())
		p.metrics.RemoveBackend(p.name, b.address)
		return true
	})
}

// lastLeaseEnded is called by the lease of a backend that is retired or drained.
func (p *Pool) lastLeaseEnded() {
	if !p.closed.Load() {
		p.kick()
		return
	}
	p.mu.Lock() // nobody is left who could hold it for long
	p.releaseIdle()
	p.mu.Unlock()
}
