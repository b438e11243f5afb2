package metrics

import (
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	requestsDesc = desc("requests_total", "Requests that ended, by the status sent to the client.", "listener", "route", "code")
	durationDesc = desc("request_duration_seconds", "From a request's first byte to the last of its answer.", "listener", "route")
	inFlightDesc = desc("requests_in_flight", "Requests that are being served.", "listener", "route")
	bytesInDesc  = desc("request_bytes_total", "Bytes of request bodies.", "listener", "route")
	bytesOutDesc = desc("response_bytes_total", "Bytes of response bodies.", "listener", "route")
	breakerDesc  = desc("circuit_breaker_open", "1 if the route's circuit breaker is open or half open, else 0.", "listener", "route")

	upstreamDesc         = desc("upstream_requests_total", "Answers of a backend, by status.", "pool", "backend", "code")
	upstreamDurationDesc = desc("upstream_duration_seconds", "From the start of an attempt to the header of the backend's answer.", "pool", "backend")
	connectDesc          = desc("upstream_connect_duration_seconds", "Time to open a connection to a backend.", "pool", "backend")
	connectionsDesc      = desc("upstream_connections", "Open connections to a backend.", "pool", "backend", "state")
	upstreamErrorsDesc   = desc("upstream_errors_total", "Attempts that brought no usable answer.", "pool", "backend", "reason")
	probesDesc           = desc("health_checks_total", "Active health checks.", "pool", "backend", "result")
	probeDurationDesc    = desc("health_check_duration_seconds", "Time an active health check took.", "pool", "backend")
	ejectionsDesc        = desc("ejections_total", "Times a backend was taken out because of what its traffic saw.", "pool", "backend", "reason")
	wouldEjectDesc       = desc("would_eject_total", "Times a backend would have been taken out, where that is not enforced.", "pool", "backend", "reason")

	queueWaitDesc     = desc("queue_wait_seconds", "Time that requests waited until a backend was free.", "pool")
	queueRejectedDesc = desc("queue_rejected_total", "Requests that found no place in the queue, or no backend in time.", "pool", "reason")

	hedgesDesc = desc("hedges_total", "Requests that were sent to a second backend as well, by how that one ended.", "pool", "result")

	drainedDesc = desc("drain_closed_total", "Requests and streams that were closed because their backend had left.", "pool")
	retriesDesc = desc("retries_total", "Attempts after the first, by why the one before it ended.", "pool", "reason", "result")
	errorsDesc  = desc("errors_total", "Requests that Weir answered in a backend's place.", "reason")
	streamsDesc = desc("streams_active", "Open long-lived streams.", "type")
)

const (
	namespace = "weir"
	success   = "success"
	failure   = "failure"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// collector adds the loops' parts up, once a scrape.
type collector struct{ r *Registry }

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		requestsDesc, durationDesc, inFlightDesc, bytesInDesc, bytesOutDesc, breakerDesc,
		upstreamDesc, upstreamDurationDesc, connectDesc, connectionsDesc, upstreamErrorsDesc,
		probesDesc, probeDurationDesc, ejectionsDesc, wouldEjectDesc,
		queueWaitDesc, queueRejectedDesc, hedgesDesc, drainedDesc, retriesDesc, errorsDesc, streamsDesc,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector. Counters that never counted are left
// out, as if nobody had asked for them yet; what has no such label is always there.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	s := sink(out)
	c.r.collectTotals(s)
	for key, m := range c.r.routes {
		m.collect(s, key)
	}
	for name, p := range c.r.pools {
		p.collect(s, name)
	}
	for key, b := range c.r.backends {
		b.collect(s, key)
	}
}

func (r *Registry) collectTotals(s sink) {
	for reason := range reasons {
		var n uint64
		for i := range r.totals {
			n += r.totals.of(i).errors[reason].load()
		}
		s.some(errorsDesc, n, reason.String())
	}
	for kind := range streamKinds {
		var n int64
		for i := range r.totals {
			n += r.totals.of(i).streams[kind].load()
		}
		s.gauge(streamsDesc, n, kind.String())
	}
}

func (m *Route) collect(s sink, key routeKey) {
	var durations histogramSum
	var in, out uint64
	for i := range m.loops {
		l := m.loops.of(i)
		durations.add(&l.durations)
		in += l.bytesIn.load()
		out += l.bytesOut.load()
	}
	for slot, code := range codeLabels {
		var n uint64
		for i := range m.loops {
			n += m.loops.of(i).codes[slot].load()
		}
		s.some(requestsDesc, n, key.listener, key.route, code)
	}
	s.histogram(durationDesc, &durations, key.listener, key.route)
	s.gauge(inFlightDesc, int64(m.InFlight()), key.listener, key.route)
	s.counter(bytesInDesc, in, key.listener, key.route)
	s.counter(bytesOutDesc, out, key.listener, key.route)
	if is := m.breaker.Load(); is != breakerNone {
		s.gauge(breakerDesc, int64(is-breakerClosed), key.listener, key.route)
	}
}

func (p *Pool) collect(s sink, name string) {
	var waits histogramSum
	for i := range p.loops {
		waits.add(&p.loops.of(i).waits)
	}
	s.histogram(queueWaitDesc, &waits, name)
	for result := range hedgeResults {
		var n uint64
		for i := range p.loops {
			n += p.loops.of(i).hedges[result].load()
		}
		s.some(hedgesDesc, n, name, result.String())
	}
	for reason := range reasons {
		var failed, helped, rejected uint64
		for i := range p.loops {
			l := p.loops.of(i)
			rejected += l.rejected[reason].load()
			failed += l.failed[reason].load()
			helped += l.helped[reason].load()
		}
		s.some(queueRejectedDesc, rejected, name, reason.String())
		s.some(retriesDesc, failed, name, reason.String(), failure)
		s.some(retriesDesc, helped, name, reason.String(), success)
	}
	var drained uint64
	for i := range p.loops {
		drained += p.loops.of(i).drained.load()
	}
	s.some(drainedDesc, drained, name)
}

func (b *Backend) collect(s sink, key backendKey) {
	b.collectTraffic(s, key)
	for reason := range reasons {
		var n uint64
		for i := range b.loops {
			n += b.loops.of(i).errors[reason].load()
		}
		s.some(upstreamErrorsDesc, n, key.pool, key.backend, reason.String())
	}
	passed, failed := b.passed.load(), b.failed.load()
	if passed+failed > 0 { // a backend that is not probed has no such series
		var probes histogramSum
		probes.add(&b.probes)
		s.counter(probesDesc, passed, key.pool, key.backend, success)
		s.counter(probesDesc, failed, key.pool, key.backend, failure)
		s.histogram(probeDurationDesc, &probes, key.pool, key.backend)
	}
	ejected, would := b.ejections()
	for reason, n := range ejected {
		s.counter(ejectionsDesc, n, key.pool, key.backend, reason)
	}
	for reason, n := range would {
		s.counter(wouldEjectDesc, n, key.pool, key.backend, reason)
	}
}

func (b *Backend) collectTraffic(s sink, key backendKey) {
	var durations, connects histogramSum
	var idle, active int64
	for i := range b.loops {
		l := b.loops.of(i)
		durations.add(&l.durations)
		connects.add(&l.connects)
		idle += l.idle.load()
		active += l.active.load()
	}
	for slot, code := range codeLabels {
		var n uint64
		for i := range b.loops {
			n += b.loops.of(i).codes[slot].load()
		}
		s.some(upstreamDesc, n, key.pool, key.backend, code)
	}
	s.histogram(upstreamDurationDesc, &durations, key.pool, key.backend)
	s.histogram(connectDesc, &connects, key.pool, key.backend)
	s.gauge(connectionsDesc, idle, key.pool, key.backend, "idle")
	s.gauge(connectionsDesc, active, key.pool, key.backend, "active")
}

// sink is where a scrape's metrics go.
type sink chan<- prometheus.Metric

func (s sink) counter(d *prometheus.Desc, n uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

// some is counter, but silent about what never happened.
func (s sink) some(d *prometheus.Desc, n uint64, labels ...string) {
	if n > 0 {
		s.counter(d, n, labels...)
	}
}

// gauge shows a negative sum, read while a stream changed loops, as zero.
func (s sink) gauge(d *prometheus.Desc, n int64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(max(n, 0)), labels...)
}

func (s sink) histogram(d *prometheus.Desc, h *histogramSum, labels ...string) {
	count, seconds, buckets := h.cumulative()
	s <- prometheus.MustNewConstHistogram(d, count, seconds, buckets, labels...)
}

func newStallHistogram() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace,
		Name:      "loop_stall_seconds",
		Help:      "How long an event loop did not come back, each time that was too long.",
		Buckets:   []float64{.1, .25, .5, 1, 2.5, 5, 10, 30},
	})
}

// newBuildInfo is the usual constant 1 whose labels say what runs.
func newBuildInfo() prometheus.Gauge {
	labels := prometheus.Labels{"version": "unknown", "revision": "unknown", "goversion": "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		labels["version"], labels["goversion"] = info.Main.Version, info.GoVersion
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				labels["revision"] = setting.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace:   namespace,
		Name:        "build_info",
		Help:        "What runs: always 1.",
		ConstLabels: labels,
	})
	g.Set(1)
	return g
}
