package pool

import "github.com/prometheus/client_golang/prometheus"

// Collector shows pools to Prometheus: what they are at the moment of a scrape.
// What happens over time is counted in internal/metrics.
type Collector struct {
	pools func() []*Pool

	up, state, weight, inFlight, limit, count, waiting *prometheus.Desc
}

// NewCollector returns a Collector over the pools that pools returns at each
// scrape. No two of them may have the same name.
func NewCollector(pools func() []*Pool) *Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &Collector{
		pools: pools,
		up:    desc("weir_backend_up", "1 if the backend is in rotation, else 0.", "pool", "backend"),
		state: desc("weir_backend_state", "1 for the state the backend is in, 0 for the others.",
			"pool", "backend", "state"),
		weight: desc("weir_backend_weight_effective", "The weight that balancing uses; 0 if the backend gets no new requests.",
			"pool", "backend"),
		inFlight: desc("weir_upstream_in_flight", "Requests that the backend is working on.", "pool", "backend"),
		waiting:  desc("weir_queue_length", "Requests that wait because every backend is at its limit.", "pool"),
		limit:    desc("weir_backend_concurrency_limit", "Requests that the backend may have at once, where that follows its latency.", "pool", "backend"),
		count:    desc("weir_pool_backends", "Backends of the pool by state.", "pool", "state"),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.state, c.weight, c.inFlight, c.limit, c.count, c.waiting} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.pools() {
		st := p.Status()
		ch <- prometheus.MustNewConstMetric(c.waiting, prometheus.GaugeValue, float64(st.Queue.Length), p.name)
		c.collect(ch, p.name, st)
	}
}

func (c *Collector) collect(ch chan<- prometheus.Metric, pool string, st Status) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := make(map[string]int, len(states))
	for _, b := range st.Backends {
		count[b.State]++
		gauge(c.up, oneIf(b.State == StateUp), pool, b.Address)
		gauge(c.weight, float64(b.EffectiveWeight), pool, b.Address)
		gauge(c.inFlight, float64(b.InFlight), pool, b.Address)
		if b.ConcurrencyLimit > 0 {
			gauge(c.limit, float64(b.ConcurrencyLimit), pool, b.Address)
		}
		for _, s := range states {
			gauge(c.state, oneIf(b.State == s), pool, b.Address, s)
		}
	}
	for _, b := range st.Leaving {
		gauge(c.inFlight, float64(b.InFlight), pool, b.Address)
	}
	if st.Removed {
		return
	}
	for _, s := range states {
		gauge(c.count, float64(count[s]), pool, s)
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
