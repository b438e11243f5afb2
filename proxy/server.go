package proxy

import (
	"context"
	"errors"
	"net"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/internal/loop"
	"weir/internal/metrics"
)

// Options is what a server is made of. Group and Metrics are required.
type Options struct {
	Group     *loop.Group
	Metrics   *metrics.Registry
	Log       *zap.Logger // nil: none
	AccessLog *zap.Logger // nil: none, whatever the configuration says
	Dir       string      // where relative names in the configuration start; "": the working directory
	Inherit   Inherit     // sockets that somebody else has bound; nil: there are none
}

// Server is the data plane. One goroutine prepares and commits snapshots
// (internal/control); any number of requests read the current one.
type Server struct {
	group   *loop.Group
	metrics *metrics.Registry
	log     *zap.Logger
	access  *accessLog
	keeper  *keeper
	routes  *routeStates
	dir     string

	current  atomic.Pointer[Snapshot] // loaded once by every request, and for each look at a head; stored by Commit
	trial    atomic.Pointer[Trial]    // likewise; nil but while a snapshot is tried
	workers  []*worker                // one a loop
	inFlight perLoopCount             // requests and tunnels
	tunnels  perLoopCount
	closing  atomic.Bool // Shutdown was called
	notify   atomic.Pointer[func(RouteEvent)]

	mu        sync.Mutex // Prepare, Commit, Shutdown and Status; never the request path
	listeners map[string]*listener
	inherit   Inherit
}

// New makes a server that listens nowhere until a snapshot is committed.
func New(o Options) *Server {
	s := &Server{group: o.Group, metrics: o.Metrics, log: o.Log, dir: o.Dir, inherit: o.Inherit, listeners: make(map[string]*listener)}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.keeper = newKeeper(s.log)
	s.routes = newRouteStates(o.Group.Len())
	s.inFlight, s.tunnels = make(perLoopCount, o.Group.Len()), make(perLoopCount, o.Group.Len())
	for i := range o.Group.Len() {
		s.workers = append(s.workers, newWorker(s, o.Group.Loop(i)))
	}
	s.access = newAccessLog(o.AccessLog, s.workers)
	s.current.Store(&Snapshot{})
	return s
}

// Ready reports whether listeners serve and the server is not about to leave.
func (s *Server) Ready() bool {
	return !s.closing.Load() && s.current.Load().Version() > 0
}

// Status is what the data plane is doing.
type Status struct {
	Version   int              `json:"version"`
	InFlight  int              `json:"in_flight"` // requests and tunnels
	Listeners []ListenerStatus `json:"listeners"`
	Circuits  []OpenCircuit    `json:"open_circuits,omitempty"` // of routes whose breakers are not closed
}

// ListenerStatus is one listener. Address is the bound one: the port is known
// even where the configuration says 0.
type ListenerStatus struct {
	Name        string `json:"name"`
	Address     string `json:"address"`
	Connections int    `json:"connections"`
	Tunnels     int    `json:"tunnels,omitempty"` // of these, WebSockets and other upgrades
	Draining    bool   `json:"draining,omitempty"`
}

// Status reports on the listeners, by name.
func (s *Server) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := s.current.Load()
	st := Status{Version: snap.Version(), InFlight: s.inFlight.sum(), Circuits: s.routes.openCircuits()}
	for _, ln := range s.listeners {
		st.Listeners = append(st.Listeners, ListenerStatus{
			Name: ln.config().name, Address: addressOf(ln.socket.Addr()),
			Connections: ln.socket.Conns(), Tunnels: int(ln.tunnels.Load()), Draining: ln.draining(),
		})
	}
	sort.Slice(st.Listeners, func(i, j int) bool { return st.Listeners[i].Name < st.Listeners[j].Name })
	return st
}

func addressOf(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// ListenerAddr is the bound address of the listener of that name; nil if there
// is none.
func (s *Server) ListenerAddr(name string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ln := range s.listeners {
		if !ln.draining() && ln.config().name == name {
			return ln.socket.Addr()
		}
	}
	return nil
}

// StopAccepting closes the listeners' sockets. What was accepted goes on;
// answers end their connections from now on.
func (s *Server) StopAccepting() {
	s.closing.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ln := range s.listeners {
		ln.retire()
	}
}

// Shutdown stops accepting and waits until every request and tunnel has ended
// and every client's connection is closed, or ctx ends: what is still open then
// is cut off by the group's Close.
func (s *Server) Shutdown(ctx context.Context) error {
	s.StopAccepting()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !s.quiet() {
		select {
		case <-ctx.Done():
			return errors.Join(errUnfinished, context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}

// Close writes the last records of the access log. It comes after the group's
// Close, which ends the requests that are to be told of.
func (s *Server) Close() {
	s.access.stop()
	s.keeper.close()
}

var errUnfinished = errors.New("requests were still in flight")

// quiet reports whether nothing is left to do. It closes what went idle.
func (s *Server) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := 0
	for _, ln := range s.listeners {
		ln.socket.CloseIdle()
		open += ln.socket.Conns()
	}
	if open > 0 || s.inFlight.sum() > 0 {
		return false
	}
	for _, w := range s.workers {
		w.loop.Post(func() { w.reap() })
	}
	return true
}

// perLoopCount is a gauge of which each loop has a cell of its own.
type perLoopCount []struct {
	n atomic.Int64
	_ [56]byte // a cache line each
}

func (c perLoopCount) add(loop int, d int64) { c[loop].n.Add(d) }

func (c perLoopCount) sum() (n int) {
	for i := range c {
		n += int(c[i].n.Load())
	}
	return n
}
