package pool

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// A client that sticks says in each request which backend it had, by an id that
// Weir has given it. The id is a MAC of the pool's name and the backend's
// address: who has not the key can neither make one, nor choose a backend, nor
// learn an address, and one of another pool names nobody here. All ids are made
// before they are needed, so that a request costs one look into a map.

const stickyIDLen = 22 // characters of an id

// stickyID is the id of a backend: 128 bits of its MAC, as text that a cookie can
// hold. It says no more than that, and so it never expires: see docs/decisions.
func stickyID(key []byte, pool, address string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(pool))
	mac.Write([]byte{0}) // in no name: no two pairs are the same text
	mac.Write([]byte(address))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// AcquireSticky takes a lease on the backend with that id for a client which has
// been there before, whatever the policy says: also on one that is drained and
// gets no new clients. Where it takes none the zero Lease comes back, and somebody
// else has to serve the request. busy says that this is for the one request only:
// the backend is at its limit, or on trial. It does not wait behind those in the
// queue: a place there could cost the client its backend. Else the client has lost its
// backend, which is unknown, out, or in tried.
//
// What holds for Acquire holds here: one goroutine at a time for one loop, no
// lock, no allocation.
func (p *Pool) AcquireSticky(loop int, id []byte, tried Tried) (l Lease, busy bool) {
	m := p.set.Load().keeper(id)
	if m == nil || tried.has(m.Backend) {
		return Lease{}, false
	}
	l, ok := m.take()
	if !ok {
		return Lease{}, true
	}
	l.loop = int32(loop)
	if m.bounded {
		p.cursors[loop].inFlight.Add(1)
		l.state |= leaseCounted
	}
	return l, false
}

// Sticks reports whether a client with that id has a backend.
func (p *Pool) Sticks(id []byte) bool { return p.set.Load().keeper(id) != nil }

// keeper is who has the clients with that id; nil: nobody. Clients may send
// anything: what is too long is not even hashed.
func (s *Set) keeper(id []byte) *Member {
	if len(id) != stickyIDLen {
		return nil
	}
	return s.sticky[string(id)]
}

// StickyID is the id for a client that b has served. It is empty where the client
// had better not come back to b: b gets no new clients at this moment, or nobody
// sticks in this pool.
func (p *Pool) StickyID(b *Backend) string {
	id := b.stickyID.Load()
	if id == nil {
		return ""
	}
	if m := p.set.Load().sticky[*id]; m == nil || m.weight == 0 {
		return ""
	}
	return *id
}

// nameSticky gives the listed backends their ids, those of before too if there is
// another key. p.mu is held.
func (p *Pool) nameSticky() {
	key := p.spec.StickyKey
	same := bytes.Equal(key, p.idKey)
	p.idKey = key
	for _, b := range p.order {
		switch {
		case len(key) == 0:
			b.stickyID.Store(nil)
		case !same || b.stickyID.Load() == nil:
			id := stickyID(key, p.name, b.address)
			b.stickyID.Store(&id)
		}
	}
}

// newSticky finds, for a Set, the members by their ids: those in rotation, in
// whatever tier, and those that only keep their clients. p.mu is held.
func (p *Pool) newSticky(tiers []tier) map[string]*Member {
	if len(p.spec.StickyKey) == 0 {
		return nil
	}
	byID := make(map[string]*Member, len(p.order))
	for i := range tiers {
		for k := range tiers[i].members {
			m := &tiers[i].members[k]
			byID[*m.stickyID.Load()] = m
		}
	}
	for _, b := range p.order {
		if p.keepsClients(b) {
			m := newMember(b, 0)
			byID[*b.stickyID.Load()] = &m
		}
	}
	return byID
}

// keepsClients reports whether b gets no new clients, and serves those it has:
// the operator or its agent drains it, or gives it no weight. Checks and traffic
// count as for anybody else. p.mu is held.
func (p *Pool) keepsClients(b *Backend) bool {
	if b.ready() || b.admin == Maintenance || b.advice.shut || b.draining.over {
		return false
	}
	return b.located() && (p.panicking || b.serving() && b.trusted())
}

// strands reports whether b fails the clients that it keeps, and somebody else
// could have them. It is out of rotation, so that no cap speaks for leaving it
// there. p.mu is held.
func (p *Pool) strands(b *Backend) bool {
	if len(p.spec.StickyKey) == 0 || !p.keepsClients(b) {
		return false
	}
	_, _, usable := p.census()
	return usable > 0
}
