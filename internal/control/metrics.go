package control

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/internal/metrics"
	"weir/pool"
)

// gauges are what /metrics shows of the configuration. The writer sets them.
type gauges struct {
	version prometheus.Gauge
	pinned  prometheus.Gauge
	last    prometheus.Gauge
	applies *prometheus.CounterVec
	guarded *prometheus.CounterVec
	frozen  prometheus.Gauge
	until   prometheus.Gauge // of the freeze

	overrides *prometheus.GaugeVec
}

func newGauges(r *metrics.Registry) (*gauges, error) {
	g := &gauges{
		version: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_config_version", Help: "Number of the configuration version that is running.",
		}),
		pinned: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_config_pinned", Help: "1 while the configuration file is ignored, after a rollback for example.",
		}),
		frozen: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_config_frozen", Help: "1 while changes are recorded and not applied.",
		}),
		until: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_config_frozen_until_timestamp_seconds", Help: "When the freeze ends, in seconds since 1970; 0 without one.",
		}),
		overrides: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_overrides", Help: "What the operator has said of backends and the configuration does not.",
		}, []string{"what"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_config_last_apply_timestamp_seconds", Help: "When a configuration was last committed, in seconds since 1970.",
		}),
		applies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_config_applies_total", Help: "Configurations by what became of them.",
		}, []string{"result"}),
		guarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_guard_verdicts_total", Help: "Changes that were watched, by what they did to traffic.",
		}, []string{"verdict"}),
	}
	for _, verdict := range []string{Good, Bad, Unproven} {
		g.guarded.WithLabelValues(verdict)
	}
	for _, result := range []string{"applied", "rejected", "rolled_back", "held"} {
		g.applies.WithLabelValues(result) // a series that starts at 0 can be alerted on
	}
	for _, c := range []prometheus.Collector{g.version, g.pinned, g.last, g.applies, g.guarded, g.frozen, g.until, g.overrides} {
		if err := r.Prometheus().Register(c); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *gauges) setPinned(pinned bool) {
	g.pinned.Set(0)
	if pinned {
		g.pinned.Set(1)
	}
}

// setFrozen shows a freeze, or with the zero time that there is none.
func (g *gauges) setFrozen(until time.Time) {
	g.frozen.Set(0)
	g.until.Set(0)
	if !until.IsZero() {
		g.frozen.Set(1)
		g.until.Set(float64(until.UnixMilli()) / 1000)
	}
}

// scraped is the pools that /metrics shows: those that run at that moment, and
// those that are leaving.
func (c *Controller) scraped() []*pool.Pool {
	v := c.current.Load()
	if v == nil {
		return nil
	}
	return append(slices.Collect(maps.Values(v.pools)), slices.Collect(maps.Values(v.retired))...)
}
