package config

import (
	"math"
	"reflect"
	"slices"
	"time"
)

// routesTo counts the routes that lead to each pool.
func (l *linter) routesTo() map[string][]string {
	used := map[string][]string{}
	for i := range l.Listeners {
		for k := range l.Listeners[i].Routes {
			if p := l.Listeners[i].Routes[k].Pool; p != "" {
				used[p] = append(used[p], routeAt(l.Config, i, k).subject)
			}
		}
	}
	return used
}

// unusedPools finds pools that no route leads to. One without backends costs
// nothing and is prepared for something.
func (l *linter) unusedPools() {
	used := l.routesTo()
	for i := range l.Pools {
		if p := &l.Pools[i]; len(used[p.Name]) == 0 && len(p.Backends) > 0 {
			l.warn(poolAt(p), "remove it, or give a route pool: "+p.Name, "no route leads to it")
		}
	}
}

func (l *linter) emptyPools() {
	used := l.routesTo()
	for i := range l.Pools {
		if p := &l.Pools[i]; len(used[p.Name]) > 0 && len(p.Backends) == 0 {
			l.warn(poolAt(p).key("backends"), "", "there are none, so every request of %s is answered 503", quoted(used[p.Name]))
		}
	}
}

// queueOutlastsRequest finds waits that no route of the pool has the time for.
func (l *linter) queueOutlastsRequest() {
	longest := map[string]time.Duration{} // that a request may take, by pool
	for i := range l.Listeners {
		for k := range l.Listeners[i].Routes {
			r := &l.Listeners[i].Routes[k]
			if r.Timeouts.Request == 0 {
				longest[r.Pool] = math.MaxInt64
			}
			longest[r.Pool] = max(longest[r.Pool], r.Timeouts.Request)
		}
	}
	for i := range l.Pools {
		p := &l.Pools[i]
		most := longest[p.Name]
		if w := poolAt(p).key("queue.timeout"); p.Queue.Size > 0 && 0 < most && most < p.Queue.Timeout && l.given(w) {
			l.warn(w, "make it shorter", "no request waits for %v: timeouts.request ends it after %v", p.Queue.Timeout, most)
		}
	}
}

func (l *linter) queueNeverUsed(w where, p *Pool) {
	bounded := slices.ContainsFunc(p.Backends, func(b Backend) bool { return b.MaxRequests > 0 && b.Weight > 0 })
	unbounded := slices.ContainsFunc(p.Backends, func(b Backend) bool { return b.MaxRequests == 0 && b.Weight > 0 })
	if p.Queue.Size > 0 && unbounded && !bounded && !p.AdaptiveConcurrency {
		l.warn(w.key("queue"), "give the backends max_requests", "nothing ever waits: max_requests is 0, so no backend is ever full")
	}
}

// ejectsNobody finds settings of ejection that can eject nobody.
func (l *linter) ejectsNobody(w where, p *Pool) {
	w = w.key("health.passive")
	passive := p.Health.Passive
	if !passive.Enforce || passive.ConsecutiveErrors == 0 && !passive.SuccessRate.Enabled {
		return
	}
	switch {
	case len(p.Backends) == 1 && !reflect.DeepEqual(passive, defaultPool("", Defaults{}).Health.Passive) && l.given(w):
		l.warn(w, "add a backend, or remove the block", "nobody is ejected: the pool has one backend, and the last one stays")
	case passive.MaxEjected == 0 && len(p.Backends) > 1:
		l.warn(w.key("max_ejected"), "enforce: false says the same, and tells who would be ejected", "nobody is ejected: at most 0 percent may be")
	}
}

func (l *linter) successRateNever(w where, p *Pool) {
	s := p.Health.Passive.SuccessRate
	if n := len(p.Backends); s.Enabled && n > 0 && n < s.MinBackends {
		l.warn(w.key("health.passive.success_rate.min_backends"), "", "nobody is judged: %d backends are wanted, and the pool has %d", s.MinBackends, n)
	}
}

func (l *linter) panicOfOne(w where, p *Pool) {
	w = w.key("health.panic_threshold")
	if len(p.Backends) == 1 && p.Health.Active != nil && p.Health.PanicThreshold > 0 && l.given(w) {
		l.warn(w, "set 0 if requests should be refused while its check fails", "with one backend any threshold means that it is used whether its check passes or not")
	}
}

// weightless are the policies that do not look at weights.
var weightless = []string{"round_robin", "first"}

func (l *linter) weightsIgnored(w where, p *Pool) {
	first := -1 // weight, of those that get requests at all
	for _, b := range p.Backends {
		switch {
		case !slices.Contains(weightless, p.Balance) || b.Weight == 0:
		case first < 0:
			first = b.Weight
		case b.Weight != first:
			l.warn(w.key("balance"), "use weighted_round_robin, or remove the weights", "%s does not look at weights, and these backends have different ones", p.Balance)
			return
		}
	}
}

func (l *linter) slowStartIgnored(w where, p *Pool) {
	w = w.key("slow_start")
	switch {
	case p.SlowStart == 0:
	case p.Balance == "first":
		l.warn(w, "remove it", "first goes by order alone and starts nobody slowly")
	case len(p.Backends) == 1:
		l.warn(w, "remove it", "the pool has one backend: nobody else could take the rest of its requests")
	}
}

// usualIdle is how long common servers keep an idle connection, many of them less.
const usualIdle = 60 * time.Second

func (l *linter) keepAliveTooLong(w where, p *Pool) {
	if k := p.KeepAlive; k.IdlePerBackend > 0 && k.IdleTimeout >= usualIdle && p.SendProxyProtocol == "off" && len(p.Backends) > 0 {
		l.warn(w.key("keepalive.idle_timeout"), "stay below what the backends have; the default is 30s",
			"%v: many servers close an idle connection after 60s or less (Node.js after 5s), and a request that meets that fails unless it can be repeated", k.IdleTimeout)
	}
}
