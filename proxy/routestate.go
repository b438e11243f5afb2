package proxy

import (
	"sync"
	"time"

	"weir/internal/config"
	"weir/internal/metrics"
)

// routeState is what Weir remembers of a route, by its listener and its name:
// whatever is reloaded in between, the same names give the same routeState.
type routeState struct {
	breaker *breaker // nil: its route never had one
	usual   usual
}

// routeStates are all that there ever were. They are small, like the counters of
// a route, and as few as names of routes.
type routeStates struct {
	epoch time.Time // where their clocks begin
	loops int

	mu       sync.Mutex // Prepare and Commit; never a request
	all      map[routeName]*routeState
	breakers map[*breaker]bool // that may open
}

type routeName struct{ listener, route string }

func newRouteStates(loops int) *routeStates {
	// One second back, so that no moment is 0: that means "none".
	return &routeStates{epoch: time.Now().Add(-time.Second), loops: loops, all: make(map[routeName]*routeState)}
}

// of is the state of a route, which is new if nobody has asked for it before.
func (s *routeStates) of(listener, route string) *routeState {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := routeName{listener, route}
	st := s.all[name]
	if st == nil {
		st = &routeState{usual: make(usual, s.loops)}
		s.all[name] = st
	}
	return st
}

// breakerOf is the circuit breaker of a route, which is new if it never had one.
// gauge shows what it is.
func (s *routeStates) breakerOf(st *routeState, gauge *metrics.Route) *breaker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.breaker == nil {
		st.breaker = newBreaker(s.loops, gauge)
	}
	return st.breaker
}

// retain lets the breakers open that the routes of a configuration have, and
// closes the others. sites need only be those that have one.
func (s *routeStates) retain(sites []*site) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := make(map[*breaker]bool)
	for _, site := range sites {
		if site.breaker != nil {
			wanted[site.breaker] = true
			site.breaker.enable()
		}
	}
	for b := range s.breakers { // not all that there are: this is part of a commit
		if !wanted[b] {
			b.disable(s.now(time.Now()))
		}
	}
	s.breakers = wanted
}

// now is a moment on the clock of the states: ns, never 0.
func (s *routeStates) now(t time.Time) int64 { return int64(t.Sub(s.epoch)) }

// remember gives a route what is remembered of it.
func (c *compiler) remember(s *site, r *config.Route) {
	s.state = c.states.of(s.listener, s.name)
	if cb := &r.CircuitBreaker; cb.ErrorShare > 0 && s.pool != nil {
		s.breaker, s.breakerRule = c.states.breakerOf(s.state, s.metrics), breakerRule{
			share: cb.ErrorShare, least: cb.MinRequests, window: cb.Window, open: cb.Open,
		}
	}
}
