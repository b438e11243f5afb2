// Package metrics counts what Weir does and shows it to Prometheus.
//
// It owns the names and labels of the series, the buckets of the histograms and
// the reasons that Weir gives for its own answers. It does not know requests,
// pools or configurations: callers ask for the counters of a route, a pool or a
// backend once, by name, and keep them.
//
// Every counter that a request touches exists once for each event loop, on cache
// lines of its own, and is added up when somebody scrapes: no two processors
// write the same line. The calls that take a loop are atomic and may come from
// any goroutine, but only a loop that passes its own index stays out of its
// neighbours' way. They neither allocate nor lock.
package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry holds the counters of one Weir.
type Registry struct {
	loops  int
	totals perLoop[totals]
	stalls prometheus.Histogram
	prom   *prometheus.Registry

	mu       sync.Mutex // whoever looks up, removes or scrapes; never a request
	routes   map[routeKey]*Route
	pools    map[string]*Pool
	backends map[backendKey]*Backend
}

type (
	routeKey   struct{ listener, route string }
	backendKey struct{ pool, backend string }
)

// totals are the counters of one loop that belong to no route, pool or backend.
type totals struct {
	errors  reasonCounters
	streams [streamKinds]gauge
}

// New returns a registry for that many event loops, one at least. It also
// carries the Go runtime's and the process's own series.
func New(loops int) *Registry {
	loops = max(loops, 1)
	r := &Registry{
		loops:    loops,
		totals:   newPerLoop[totals](loops),
		stalls:   newStallHistogram(),
		prom:     prometheus.NewRegistry(),
		routes:   make(map[routeKey]*Route),
		pools:    make(map[string]*Pool),
		backends: make(map[backendKey]*Backend),
	}
	r.prom.MustRegister(
		&collector{r},
		r.stalls,
		newBuildInfo(),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

// Handler answers scrapes.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.prom, promhttp.HandlerOpts{
		// Half of the series is worth more than none when one collector fails.
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	})
}

// Prometheus is where other packages register series of their own.
func (r *Registry) Prometheus() *prometheus.Registry { return r.prom }

// Route returns the counters of a route. The same names give the same counters
// for as long as the process lives, whatever is reloaded in between.
func (r *Registry) Route(listener, route string) *Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := routeKey{listener, route}
	m := r.routes[key]
	if m == nil {
		m = NewRoute(r.loops)
		r.routes[key] = m
	}
	return m
}

// Pool returns the counters of a pool. The same name gives the same counters.
func (r *Registry) Pool(name string) *Pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pools[name]
	if p == nil {
		p = &Pool{loops: newPerLoop[poolLoop](r.loops)}
		r.pools[name] = p
	}
	return p
}

// Backend returns the counters of a backend. The same names give the same
// counters until RemoveBackend has been called as often as Backend was: one that
// leaves and comes back while its last request still runs keeps its series.
func (r *Registry) Backend(pool, backend string) *Backend {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := backendKey{pool, backend}
	b := r.backends[key]
	if b == nil {
		b = newBackend(r.loops)
		r.backends[key] = b
	}
	b.holders++
	return b
}

// RemoveBackend undoes one call of Backend; the last one drops the series.
// Whoever still holds the counters may go on using them: nobody sees it.
func (r *Registry) RemoveBackend(pool, backend string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := backendKey{pool, backend}
	b := r.backends[key]
	if b == nil {
		return
	}
	if b.holders--; b.holders == 0 {
		delete(r.backends, key)
	}
}

// Error counts an answer that Weir made itself, or a client that left before any.
func (r *Registry) Error(loop int, reason Reason) {
	r.totals.of(loop).errors.add(reason)
}

// Stream counts a stream in (+1) when it begins and out (-1) when it ends.
func (r *Registry) Stream(loop int, kind StreamKind, delta int) {
	r.totals.of(loop).streams[kind].add(delta)
}

// Stall records that a loop did not come back for d.
func (r *Registry) Stall(d time.Duration) { r.stalls.Observe(d.Seconds()) }

// StreamKind is what kind of long-lived stream a connection became.
type StreamKind uint8

// The kinds of streams.
const (
	WebSocket StreamKind = iota
	SSE
	TCP
	streamKinds
)

// String is the value of the label type.
func (k StreamKind) String() string {
	return [streamKinds]string{WebSocket: "ws", SSE: "sse", TCP: "tcp"}[k]
}
