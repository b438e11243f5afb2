package proxy

import (
	"fmt"
	"net/http"
	"sort"
	"time"

	"go.uber.org/zap"

	"weir/internal/metrics"
)

// RouteEvent is a change of one route that is worth telling.
type RouteEvent struct {
	Listener string
	Route    string
	What     string // one of the Event constants
	Cause    string
}

// What a RouteEvent says.
const (
	EventCircuitOpened = "circuit_opened"
	EventCircuitClosed = "circuit_closed"
)

// OpenCircuit is a route whose circuit breaker is open, or half open.
type OpenCircuit struct {
	Listener string    `json:"listener"`
	Route    string    `json:"route"`
	Since    time.Time `json:"since"`
	Failed   int       `json:"failed_trials"`
}

// Notify makes f hear of every RouteEvent. It is called from any goroutine and
// may block.
func (s *Server) Notify(f func(RouteEvent)) { s.notify.Store(&f) }

// circuitPass is a request's way past its route's breaker.
type circuitPass struct {
	counts bool  // what becomes of it says something of the backends
	trial  int64 // its number, if it is one; else 0
}

// closedCircuit asks the route's circuit breaker. Where it reports false the
// request has been refused.
func (ex *exchange) closedCircuit() bool {
	b := ex.site.breaker
	if b == nil {
		return true
	}
	ok, trial, wait := b.admit(ex.circuitNow())
	if !ok {
		ex.retryAfter = seconds(wait)
		ex.refuse(metrics.CircuitOpen)
		return false
	}
	ex.circuit = circuitPass{counts: true, trial: trial}
	return true
}

func (ex *exchange) circuitNow() int64 { return ex.w.s.routes.now(ex.w.loop.Now()) }

// passTrial ends a trial with the head of an answer that is none of an error: its
// body may take hours.
func (ex *exchange) passTrial() {
	if ex.circuit.trial != 0 && ex.answer.status < http.StatusInternalServerError {
		ex.endTrial(saysGood)
	}
}

func (ex *exchange) endTrial(o outcome) {
	c, changed := ex.site.breaker.settle(&ex.site.breakerRule, ex.circuitNow(), ex.circuit.trial, o)
	ex.circuit.trial = 0
	if changed {
		ex.tellCircuit(c)
	}
}

// settleCircuit tells the breaker what became of the request.
func (ex *exchange) settleCircuit() {
	if !ex.circuit.counts {
		return
	}
	o := ex.verdictOnBackends()
	if ex.circuit.trial != 0 {
		ex.endTrial(o)
	}
	if o == saysNothing {
		return
	}
	s := ex.site
	if c, changed := s.breaker.count(&s.breakerRule, ex.w.id, ex.circuitNow(), o == saysBad); changed {
		ex.tellCircuit(c)
	}
}

// verdictOnBackends is what the end of a request says of the backends of its
// route. Errors are what they answered, or failed to. That too many ask at once is
// none of them: to answer nobody would be no help. Nor is what the client did.
func (ex *exchange) verdictOnBackends() outcome {
	switch ex.reason {
	case metrics.NoReason:
		if ex.status >= http.StatusInternalServerError {
			return saysBad
		}
		return saysGood
	case metrics.RequestTimeout:
		if ex.clientsTime() || ex.status < http.StatusInternalServerError {
			return saysNothing // the client's own deadline, or it took the answer too slowly
		}
		return saysBad
	case metrics.ConnectRefused, metrics.ConnectTimeout, metrics.UpstreamReset, metrics.UpstreamTimeout,
		metrics.BadResponse, metrics.NoHealthy, metrics.PoolEmpty:
		return saysBad
	}
	return saysNothing
}

// tellCircuit logs a change and sends its event. What may block is not for a
// loop, and no request waits for it.
func (ex *exchange) tellCircuit(c circuitChange) {
	s, e := ex.w.s, RouteEvent{Listener: ex.site.listener, Route: ex.site.name}
	e.What, e.Cause = c.words(&ex.site.breakerRule)
	l := ex.w.loop
	l.Go(func() { l.Task().Block(func() { s.tell(e) }) })
}

func (s *Server) tell(e RouteEvent) {
	say, words := s.log.Info, "circuit breaker closed"
	if e.What == EventCircuitOpened {
		say, words = s.log.Warn, "circuit breaker opened"
	}
	say(words, zap.String("listener", e.Listener), zap.String("route", e.Route), zap.String("cause", e.Cause))
	if f := s.notify.Load(); f != nil {
		(*f)(e)
	}
}

func (c *circuitChange) words(r *breakerRule) (what, cause string) {
	if c.opened {
		return EventCircuitOpened, fmt.Sprintf("%d of %d answers within %v were errors, %d %% or more; requests get 503 for %v",
			c.errors, c.answers, r.window, r.share, r.open)
	}
	return EventCircuitClosed, fmt.Sprintf("%d requests in a row succeeded, after %v and %d that failed",
		trialsToClose, c.lasted.Round(time.Millisecond), c.trials)
}

// openCircuits lists the breakers that are open, by listener and route.
func (s *routeStates) openCircuits() (list []OpenCircuit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, st := range s.all {
		if st.breaker == nil {
			continue
		}
		if since, failed := st.breaker.opened(); since != 0 {
			list = append(list, OpenCircuit{name.listener, name.route, s.epoch.Add(time.Duration(since)), failed})
		}
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := &list[i], &list[j]
		return a.Listener < b.Listener || a.Listener == b.Listener && a.Route < b.Route
	})
	return list
}
