package proxy

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/metrics"
)

// Trial is a snapshot that is tried beside the one that runs. Either some of the
// clients are served by it (staged), or none are and it is only asked what it
// would make of each request (a shadow).
type Trial struct {
	snap   *Snapshot
	s      *Server
	shadow bool
	seed   maphash.Seed  // who belongs to it: the same clients in each step, and more of them
	share  atomic.Uint32 // of the clients, in hundredths of a percent
	shadowing
}

// shadowing is what a shadow has seen.
type shadowing struct {
	asked   atomic.Uint64
	differs atomic.Uint64

	mu   sync.Mutex // only requests that are decided otherwise take it
	seen Differences
}

// Difference is a kind of request that two configurations decide otherwise.
type Difference struct {
	Time   time.Time `json:"time"` // of the sample
	Method string    `json:"method"`
	Host   string    `json:"host"`
	Path   string    `json:"path"`
	Old    Decision  `json:"old"`
	New    Decision  `json:"new"`
	Count  int       `json:"count"` // of its kind: the same routes, pools and statuses
}

// Shadowed is what a shadow has seen so far.
type Shadowed struct {
	Requests    uint64       `json:"requests"`
	Differ      uint64       `json:"differ"`
	Differences []Difference `json:"differences"`
}

const mostDifferences = 100 // kinds that are kept

// Differences keeps a sample of each kind of difference. The zero value is empty.
type Differences struct {
	list []Difference
	kind map[[2]Decision]int // what the decisions of a kind have in common: an index of list
}

// Add counts a difference, and keeps it if it is the first of its kind.
func (ds *Differences) Add(d Difference) {
	kind := [2]Decision{d.Old, d.New}
	for i := range kind {
		kind[i].Target, kind[i].Host = "", ""
	}
	if i, ok := ds.kind[kind]; ok {
		ds.list[i].Count++
		return
	}
	if len(ds.list) == mostDifferences {
		return
	}
	if ds.kind == nil {
		ds.kind = make(map[[2]Decision]int)
	}
	ds.kind[kind] = len(ds.list)
	d.Count = 1
	ds.list = append(ds.list, d)
}

// List is a copy of the samples; never nil.
func (ds *Differences) List() []Difference { return append([]Difference{}, ds.list...) }

// Stage begins to serve a share of the clients, in percent, from a staged
// snapshot, beside the one that runs. It ends with End, or with the Commit of
// another snapshot. There is one trial at a time.
func (s *Server) Stage(st *Staged, percent int) *Trial {
	t := s.newTrial(st, false)
	t.SetShare(percent)
	st.snap.version.Store(int64(st.version))
	s.trial.Store(t)
	return t
}

// Shadow begins to ask a staged snapshot what it would make of each request.
func (s *Server) Shadow(st *Staged) *Trial {
	t := s.newTrial(st, true)
	s.trial.Store(t)
	return t
}

func (s *Server) newTrial(st *Staged, shadow bool) *Trial {
	return &Trial{snap: st.snap, s: s, shadow: shadow, seed: maphash.MakeSeed()}
}

// RouteName is a route's identity.
type RouteName struct{ Listener, Route string }

// Watch makes the routes of a staged snapshot count apart from those of the same
// names, and returns their counters. It is called before Stage.
func (st *Staged) Watch() map[RouteName]*metrics.Route {
	out := make(map[RouteName]*metrics.Route, len(st.snap.sites))
	for _, site := range st.snap.sites {
		site.watch = metrics.NewRoute(len(st.s.workers))
		if site.breaker != nil {
			site.breaker = newBreaker(len(st.s.workers), site.watch)
			site.breaker.enable()
		}
		out[RouteName{site.listener, site.name}] = site.watch
	}
	return out
}

// SetShare changes how many percent of the clients are served by the snapshot.
// Those that are stay, if the share grows.
func (t *Trial) SetShare(percent int) { t.share.Store(uint32(percent) * 100) }

// End ends the trial: all requests that come from now on are served by the
// snapshot that runs. Those under way end as they began.
func (t *Trial) End() { t.s.trial.CompareAndSwap(t, nil) }

// takes reports whether a client belongs to the trial.
func (t *Trial) takes(client netip.Addr) bool {
	return uint32(maphash.Comparable(t.seed, client)%10_000) < t.share.Load()
}

// enterTrial decides by which of two snapshots a request is served. Its head has
// been read under the limits of the one that runs: what is decided before a
// client is known is not tried.
func (ex *exchange) enterTrial(t *Trial) {
	if t.shadow || !t.takes(ex.client) {
		return
	}
	if lc := t.snap.listenerOf(ex.cc.ln); lc != nil {
		ex.snp, ex.lc = t.snap, lc
	}
}

// compare asks a shadow what it would make of the request, once that has been
// routed.
func (ex *exchange) compare(t *Trial) {
	lc := t.snap.listenerOf(ex.cc.ln)
	if lc == nil {
		return
	}
	t.asked.Add(1)
	site, now := ex.site, ex.lc
	one := ex.decide(now)
	other := ex.decide(lc)
	ex.lc, ex.site = now, site
	if ex.same(one, other) {
		return
	}
	t.differs.Add(1)
	d := Difference{
		Time: ex.start, Method: string(ex.method), Host: string(ex.host), Path: string(ex.target.path),
		Old: ex.tellAs(one.site, one), New: ex.tellAs(other.site, other),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.Add(d)
}

// Seen is what a shadow has seen so far.
func (t *Trial) Seen() Shadowed {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Shadowed{t.asked.Load(), t.differs.Load(), t.seen.List()}
}
