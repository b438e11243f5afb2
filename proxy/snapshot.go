package proxy

import (
	"sync/atomic"

	"go.uber.org/zap"

	"weir/internal/cidr"
	"weir/internal/config"
	"weir/internal/metrics"
	"weir/internal/route"
	"weir/pool"
)

// Snapshot is a configuration compiled for the data plane. Immutable once
// committed, but for its number: the same snapshot can be committed again by a
// rollback, as another version.
type Snapshot struct {
	version     atomic.Int64
	cfg         *config.Config
	listeners   []*listenerConfig
	sites       []*site
	kept        []*site // those of sites of which something is remembered beside their counters
	headerBytes int
	log         config.Log
}

// Version is the number under which the snapshot was last committed; 0 before.
func (sn *Snapshot) Version() int { return int(sn.version.Load()) }

// Staged is a snapshot on its way: everything that can fail has been done, and
// nothing that a request can see. It ends with Commit or Discard.
type Staged struct {
	s       *Server
	snap    *Snapshot
	version int
	fresh   []*listener // bound for this snapshot
}

// Prepare compiles a configuration and binds the listeners that are new in it.
// pools holds every pool that its routes name. version may still change
// (SetVersion). Errors name the listener and the route or the address.
func (s *Server) Prepare(cfg *config.Config, pools map[string]*pool.Pool, version int) (*Staged, error) {
	c := &compiler{pools: pools, metrics: s.metrics, cfg: cfg, keeper: s.keeper, states: s.routes, dir: s.dir}
	snap, err := c.snapshot()
	if err != nil {
		return nil, err
	}
	return s.prepare(snap, version)
}

// snapshot compiles the whole configuration.
func (c *compiler) snapshot() (*Snapshot, error) {
	snap := &Snapshot{cfg: c.cfg, headerBytes: c.cfg.Defaults.Limits.HeaderBytes, log: c.cfg.Log}
	for i := range c.cfg.Listeners {
		routes, err := c.routes(&c.cfg.Listeners[i])
		if err != nil {
			return nil, err
		}
		snap.listeners = append(snap.listeners, newListenerConfig(c.cfg, i, routes, c.metrics))
	}
	snap.sites = c.sites
	for _, site := range c.sites {
		if site.limit != nil || site.guard != nil || site.breaker != nil {
			snap.kept = append(snap.kept, site)
		}
	}
	return snap, nil
}

// Snapshot is what serves now.
func (s *Server) Snapshot() *Snapshot { return s.current.Load() }

// PrepareSnapshot prepares to commit a compiled snapshot once more: nothing is
// parsed or compiled, and only listeners that were closed meanwhile are bound.
func (s *Server) PrepareSnapshot(old *Snapshot, version int) (*Staged, error) {
	snap := &Snapshot{cfg: old.cfg, sites: old.sites, kept: old.kept, headerBytes: old.headerBytes, log: old.log}
	for _, lc := range old.listeners {
		again := *lc
		snap.listeners = append(snap.listeners, &again)
	}
	return s.prepare(snap, version)
}

func newListenerConfig(cfg *config.Config, i int, routes *route.Table[*site], m *metrics.Registry) *listenerConfig {
	l := &cfg.Listeners[i]
	return &listenerConfig{
		name: l.Name, trusted: cidr.New(l.TrustedProxies), greeting: greetingOf(l.ProxyProtocol), routes: routes,
		timeouts: cfg.Defaults.Timeouts, limits: cfg.Defaults.Limits,
		unrouted: m.Route(l.Name, ""),
	}
}

// prepare finds or binds a listener for each listenerConfig.
func (s *Server) prepare(snap *Snapshot, version int) (*Staged, error) {
	st := &Staged{s: s, snap: snap, version: version}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, lc := range snap.listeners {
		l := &snap.cfg.Listeners[i]
		ln := s.listeners[keyOf(l)]
		if ln == nil || ln.draining() {
			var err error
			if ln, err = s.bind(l); err != nil {
				st.Discard()
				return nil, err
			}
			st.fresh = append(st.fresh, ln)
		}
		lc.ln = ln
	}
	return st, nil
}

// Snapshot is what Commit will publish.
func (st *Staged) Snapshot() *Snapshot { return st.snap }

// SetVersion sets the number, once history has given one.
func (st *Staged) SetVersion(n int) { st.version = n }

// Discard gives back the sockets that Prepare bound.
func (st *Staged) Discard() {
	for _, ln := range st.fresh {
		_ = ln.socket.Close()
	}
}

// Commit publishes the snapshot: one pointer store. It cannot fail. Listeners
// that the snapshot does not have are retired; connections of the others are
// not touched.
func (st *Staged) Commit() {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	st.snap.version.Store(int64(st.version))
	for _, lc := range st.snap.listeners {
		lc.ln.last.Store(lc)
		lc.ln.socket.SetFirst(lc.timeouts.ClientHeader)
	}
	s.refit(st.snap)
	s.current.Store(st.snap)
	s.trial.Store(nil)
	for _, ln := range st.fresh {
		s.listeners[ln.key] = ln
		ln.serve()
	}
	s.retireOthers(st.snap)
	s.keeper.retain(st.snap.kept)
	s.routes.retain(st.snap.kept)
	s.log.Debug("snapshot committed", zap.Int("version", st.version))
}

// refit adapts what is not looked up for every request: the size of fasthttp's
// buffer for large heads, and whether requests are logged.
func (s *Server) refit(snap *Snapshot) {
	s.access.configure(snap.log)
	for _, w := range s.workers {
		w.loop.Post(func() { w.recording.refit(snap.cfg.Record, len(s.workers)) })
		if w.headerBytes.Swap(int64(snap.headerBytes)) != int64(snap.headerBytes) {
			w.large.Store(w.newEngine(max(snap.headerBytes, inputSize)))
		}
	}
}

// retireOthers drains the listeners that snap does not list, forgets those
// that are empty, and closes idle connections to backends that left.
func (s *Server) retireOthers(snap *Snapshot) {
	for key, ln := range s.listeners {
		if ln.draining() && ln.socket.Conns() == 0 {
			delete(s.listeners, key)
			continue
		}
		if snap.listenerOf(ln) == nil {
			ln.retire()
			// A listener may be bound to this address again while the old one drains.
			delete(s.listeners, key)
			s.listeners[key+" (draining)"] = ln
		}
	}
	for _, w := range s.workers {
		w.loop.Post(func() { w.reap() })
	}
}

// listenerOf is what the snapshot says of a listener; nil: nothing.
func (sn *Snapshot) listenerOf(ln *listener) *listenerConfig {
	for _, lc := range sn.listeners {
		if lc.ln == ln {
			return lc
		}
	}
	return nil
}
