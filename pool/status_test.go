package pool_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"weir/internal/metrics"
	"weir/pool"
)

func TestStatusJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool.NewSteady("web", pool.Options{Loops: 2}, 0.5)
		defer p.Close()
		c := &clinic{}
		s := checked(passive(spec("a*5", "b<9")), c)
		p.Update(s)
		time.Sleep(time.Second)
		if l, err := p.Acquire(1, pool.Tried{}); err != nil {
			t.Error(err)
		} else {
			l.Done(pool.BadStatus) // to b: loop 1 starts half a cycle away
		}
		fail(t, p, "b", 4)
		synctest.Wait()
		got, err := json.MarshalIndent(p.Status(), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		want := `{
 "name": "web",
 "balance": "weighted_round_robin",
 "panic": false,
 "queue": {
  "length": 0,
  "size": 0
 },
 "backends": [
  {
   "address": "127.0.0.1:1097",
   "target": "127.0.0.1:1097",
   "weight": 5,
   "effective_weight": 5,
   "tier": 0,
   "max_requests": 0,
   "admin": "ready",
   "health": "up",
   "ejected": false,
   "state": "up",
   "since": "2000-01-01T00:00:00.01Z",
   "cause": "check passed",
   "in_flight": 0,
   "last_check": {
    "at": "2000-01-01T00:00:00.01Z",
    "ok": true,
    "took": 0
   },
   "requests": 18,
   "errors": 0
  },
  {
   "address": "127.0.0.1:1098",
   "target": "127.0.0.1:1098",
   "weight": 1,
   "effective_weight": 0,
   "tier": 0,
   "max_requests": 9,
   "admin": "ready",
   "health": "up",
   "ejected": true,
   "ejected_until": "2000-01-01T00:00:11Z",
   "state": "ejected",
   "since": "2000-01-01T00:00:01Z",
   "cause": "5 errors in a row, the last connect_refused",
   "in_flight": 0,
   "last_check": {
    "at": "2000-01-01T00:00:00.01Z",
    "ok": true,
    "took": 0
   },
   "requests": 5,
   "errors": 5
  }
 ]
}`
		if string(got) != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// One line for a change, with its cause; debug for what a reload lists itself.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		c := &clinic{}
		p := pool.NewSteady("web", pool.Options{Loops: 1, Log: zap.New(core)}, 0.5)
		p.Update(checked(passive(spec("a", "b")), c))
		time.Sleep(time.Second)
		c.say("a")
		time.Sleep(time.Minute)
		if err := p.Mark(addr("b"), pool.Drain); err != nil {
			t.Fatal(err)
		}
		p.Close()
		var got []string
		for _, e := range logs.All() {
			f := e.ContextMap()
			got = append(got, e.Level.String()+" "+e.Message+" "+f["pool"].(string)+"/"+name(f["backend"].(string))+" "+f["cause"].(string))
		}
		want := []string{
			"debug backend added web/a configured",
			"debug backend added web/b configured",
			"info backend up web/a check passed",
			"info backend up web/b check passed",
			"warn backend down web/a feels sick",
			"info backend drain web/b set by the operator",
		}
		if got[2] != want[2] {
			got[2], got[3] = got[3], got[2] // the two first probes end at one moment
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// Whoever is told of an event may ask and change the pool.
func TestEventsMayCallThePool(t *testing.T) {
	var p *pool.Pool
	var got []string
	p = pool.New("web", pool.Options{Loops: 1, Events: func(e pool.Event) {
		got = append(got, e.What+" "+p.Status().Backends[0].State)
		if e.What == pool.EventDrain {
			if err := p.Mark(e.Backend, pool.Ready); err != nil {
				t.Error(err)
			}
		}
	}})
	defer p.Close()
	p.Update(spec("a"))
	if err := p.Mark(addr("a"), pool.Drain); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(got, ", "); got != "added up, drain draining, ready up" {
		t.Error(got)
	}
}

func TestCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metrics.New(1)
		p := pool.NewSteady("web", pool.Options{Loops: 1, Metrics: r}, 0.5)
		defer p.Close()
		p.Update(passive(spec("a*3", "b", "c^1")))
		r.Prometheus().MustRegister(pool.NewCollector(func() []*pool.Pool { return []*pool.Pool{p} }))
		fail(t, p, "b", 5)
		synctest.Wait()
		l, _ := take(p)
		defer l.Done(pool.Success)

		got := gather(t, r.Prometheus())
		f := func(series string, want float64) {
			t.Helper()
			if v, ok := got[series]; !ok || v != want {
				t.Errorf("%s is %v (present: %v), want %v", series, v, ok, want)
			}
		}
		f("weir_backend_up a", 1)
		f("weir_backend_up b", 0)
		f("weir_backend_up c", 1)
		f("weir_backend_weight_effective a", 3)
		f("weir_backend_weight_effective b", 0)
		f("weir_backend_weight_effective c", 0) // a backup at rest
		f("weir_backend_state b ejected", 1)
		f("weir_backend_state b up", 0)
		f("weir_upstream_in_flight a", 1)
		f("weir_pool_backends up", 2)
		f("weir_pool_backends ejected", 1)
		f("weir_pool_backends down", 0)
	})
}

// gather returns gauges as "name backend state".
func gather(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			words := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "backend":
					words = append(words, name(l.GetValue()))
				case "state":
					words = append(words, l.GetValue())
				}
			}
			got[strings.Join(words, " ")] = m.GetGauge().GetValue()
		}
	}
	return got
}
