package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"go.uber.org/zap"

	"weir/internal/config"
	"weir/internal/history"
	"weir/internal/metrics"
)

const (
	pruneEvery    = time.Hour
	guardEvery    = 200 * time.Millisecond // while a change is watched
	baselineEvery = 10 * time.Second       // otherwise
	baselineMean  = 5 * time.Minute        // how far back "before" reaches, with less and less weight
)

// reportedRoutes is how many routes may be watched for a report to have those as
// well that nobody asked: of thousands nobody wants to know.
const reportedRoutes = 100

// routeName is a route's identity.
type routeName struct{ listener, route string }

// String is the name in reports: listener/route.
func (r routeName) String() string { return r.listener + "/" + r.route }

// baseline is what a route answers, from now back with less and less weight.
type baseline struct {
	counters *metrics.Route
	last     metrics.Tally // when mean was brought up to date
	mean     metrics.Tally
}

// guard watches what changes do to traffic. It belongs to the writer's goroutine.
type guard struct {
	baselines map[routeName]*baseline
	updated   time.Time
	pruned    time.Time      // when the history was last looked through for what is too old
	watch     *watch         // nil: nothing is watched
	retry     time.Time      // when to try again to undo what nobody confirmed
	thawed    history.Freeze // the last one that ended by itself
}

// watch is changes under observation: the last one, and those before it that
// were not proven yet.
type watch struct {
	rule     config.Guard
	versions []watchedVersion // oldest first
	since    time.Time
	until    time.Time
	routes   map[routeName]*watched
	sorted   []routeName // their names
}

type watchedVersion struct {
	number int
	since  time.Time
}

// newest is the version that runs.
func (w *watch) newest() int { return w.versions[len(w.versions)-1].number }

// watched is a route that a change touched.
type watched struct {
	since    time.Time
	counters *metrics.Route
	target   int           // the version that ran before it was touched
	before   metrics.Tally // what it answered then
	at       metrics.Tally // what it had answered in all when the change came
	pace     pace
}

func (w *watched) after() metrics.Tally { return w.counters.Tally().Sub(w.at) }

// learn brings the baselines up to date.
func (g *guard) learn(now time.Time) {
	fade := math.Exp(-now.Sub(g.updated).Seconds() / baselineMean.Seconds())
	g.updated = now
	for _, b := range g.baselines {
		seen := b.counters.Tally()
		b.mean = b.mean.Scale(fade).Add(seen.Sub(b.last))
		b.last = seen
	}
}

// keepBaselines gives the routes of the running configuration a baseline, and no others.
func (c *Controller) keepBaselines() {
	old := c.guard.baselines
	c.guard.baselines = make(map[routeName]*baseline, len(old))
	eachRoute(c.current.Load().cfg, func(name routeName, _ *config.Listener, _ *config.Route) {
		b := old[name]
		if b == nil {
			b = &baseline{counters: c.o.Metrics.Route(name.listener, name.route)}
			b.last = b.counters.Tally()
		}
		c.guard.baselines[name] = b
	})
}

func eachRoute(cfg *config.Config, f func(routeName, *config.Listener, *config.Route)) {
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		for k := range l.Routes {
			f(routeName{l.Name, l.Routes[k].Name}, l, &l.Routes[k])
		}
	}
}

// touched are the routes whose answers a change can change: those that are new
// or different, that go to a pool that is, or that have another place among the
// routes of their listener.
func touched(old, new *config.Config) []routeName {
	before := make(map[routeName]*config.Route)
	eachRoute(old, func(n routeName, _ *config.Listener, r *config.Route) { before[n] = r })
	same := make(map[string]bool) // listeners: compared once, not for each of thousands of routes
	for i := range new.Listeners {
		l := &new.Listeners[i]
		if k := slices.IndexFunc(old.Listeners, func(o config.Listener) bool { return o.Name == l.Name }); k >= 0 {
			same[l.Name] = sameListener(&old.Listeners[k], l)
		}
	}
	samePool := memo(func(name string) bool { return samePools(old, new, name) })
	var out []routeName
	eachRoute(new, func(n routeName, l *config.Listener, r *config.Route) {
		was, ok := before[n]
		if !ok || !same[l.Name] || !samePool(r.Pool) || !reflect.DeepEqual(was, r) {
			out = append(out, n)
		}
	})
	return out
}

// memo is f, asked once for each argument.
func memo[K comparable](f func(K) bool) func(K) bool {
	known := make(map[K]bool)
	return func(k K) bool {
		is, ok := known[k]
		if !ok {
			is = f(k)
			known[k] = is
		}
		return is
	}
}

// sameListener compares all but what the routes say, of which the matches and
// their order count.
func sameListener(a, b *config.Listener) bool {
	plain := func(l config.Listener) config.Listener {
		routes := make([]config.Route, len(l.Routes))
		for i, r := range l.Routes {
			routes[i] = config.Route{Name: r.Name, Match: r.Match}
		}
		l.Routes = routes
		return l
	}
	return reflect.DeepEqual(plain(*a), plain(*b))
}

func samePools(old, new *config.Config, name string) bool {
	p := new.Pool(name)
	return p == nil || samePool(old.Pool(name), *p)
}

// watchFrom begins to watch a change that is about to be committed. What an
// earlier change touched is watched on, as compared with what ran before that
// one, until it has been for as long as the window: where changes never cease, the
// comparison must not be with last week, nor a rollback lead there.
func (c *Controller) watchFrom(old *view, cfg *config.Config) *watch {
	names := touched(old.cfg, cfg)
	if !cfg.Guard.Enabled || len(names) == 0 {
		return nil
	}
	now := time.Now()
	c.guard.learn(now)
	w := &watch{rule: cfg.Guard, since: now, until: now.Add(cfg.Guard.Window), routes: make(map[routeName]*watched)}
	if earlier := c.guard.watch; earlier != nil {
		over := now.Add(-earlier.rule.Window)
		w.versions = c.conclude(earlier, over)
		eachRoute(cfg, func(n routeName, _ *config.Listener, _ *config.Route) {
			if route := earlier.routes[n]; route != nil && route.since.After(over) {
				w.routes[n] = route
			}
		})
	}
	for _, n := range names {
		if w.routes[n] != nil {
			continue
		}
		counters := c.o.Metrics.Route(n.listener, n.route)
		route := &watched{since: now, counters: counters, target: old.version.Number, at: counters.Tally()}
		if b := c.guard.baselines[n]; b != nil {
			route.before = b.mean
		}
		w.routes[n] = route
	}
	w.sorted = sortedNames(w.routes)
	return w
}

// watch begins to watch version n; w is nil if there is nothing to see in it.
// Whatever was watched and is not in w is not any more.
func (c *Controller) watch(w *watch, n int) {
	if w != nil {
		w.versions = append(slices.Clip(w.versions), watchedVersion{n, w.since})
	}
	c.guard.watch = w
	c.guarded.Store(w)
	c.keepBaselines()
}

// guardDue is how long the guard has nothing to look at.
func (c *Controller) guardDue() time.Duration {
	if c.guard.watch != nil || c.trial != nil || c.history.State().Unconfirmed != 0 || !c.history.State().Freeze.Until.IsZero() {
		return guardEvery
	}
	if due := c.overridesDue(); !due.IsZero() {
		return min(max(time.Until(due), 0), baselineEvery)
	}
	return baselineEvery
}

// guardTick looks at what is watched, and acts.
func (c *Controller) guardTick(ctx context.Context, now time.Time) {
	if c.away {
		return
	}
	c.overridesTick(now)
	if now.Sub(c.guard.pruned) >= pruneEvery {
		c.guard.pruned = now
		c.history.Prune()
	}
	c.unconfirmed(ctx, now)
	c.trialTick(ctx, now)
	c.thawTick(ctx, now)
	w := c.guard.watch
	if w == nil {
		if now.Sub(c.guard.updated) >= baselineEvery {
			c.guard.learn(now)
		}
		return
	}
	for _, name := range w.sorted {
		r := w.routes[name]
		after := r.after()
		r.pace.look(w.rule, &r.before, &after)
		if verdict, why := judge(w.rule, r.before, after, &r.pace); verdict == Bad {
			c.undo(ctx, w, name, why)
			return
		}
	}
	if !now.Before(w.until) {
		c.proven(w)
	}
}

func sortedNames[T any](routes map[routeName]T) []routeName {
	var names []routeName
	for n := range routes {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b routeName) int {
		return cmp.Or(cmp.Compare(a.listener, b.listener), cmp.Compare(a.route, b.route))
	})
	return names
}

// report is the numbers, as they are kept with the versions.
func (w *watch) report(verdict, why string) history.Guard {
	g := history.Guard{Verdict: verdict, Why: why, At: time.Now().UTC().Truncate(time.Millisecond)}
	g.Routes = reportOn(w.rule, w.sorted, func(n routeName) (before, after metrics.Tally, p *pace) {
		r := w.routes[n]
		return r.before, r.after(), &r.pace
	})
	return g
}

// reportOn is the numbers of routes, of which sides tells what is compared.
func reportOn(rule config.Guard, routes []routeName, sides func(routeName) (before, after metrics.Tally, p *pace)) (out []history.RouteGuard) {
	for _, n := range routes {
		before, after, p := sides(n)
		if len(routes) > reportedRoutes && after.Requests() == 0 {
			continue
		}
		v, _ := judge(rule, before, after, p)
		out = append(out, history.RouteGuard{Route: n.String(), Verdict: v, Before: measure(before), After: measure(after)})
	}
	return out
}

// conclude records of the versions that have been watched since before over what
// was seen, and returns the others.
func (c *Controller) conclude(w *watch, over time.Time) (rest []watchedVersion) {
	i := slices.IndexFunc(w.versions, func(v watchedVersion) bool { return v.since.After(over) })
	if i < 0 {
		i = len(w.versions)
	}
	if i > 0 {
		c.keepReport(w.versions[:i], w.outcome())
	}
	return w.versions[i:]
}

// outcome is the report on a watch in which nothing bad was seen.
func (w *watch) outcome() history.Guard {
	g := w.report(Unproven, "")
	if slices.ContainsFunc(g.Routes, func(r history.RouteGuard) bool { return r.Verdict == Good }) &&
		!slices.ContainsFunc(g.Routes, func(r history.RouteGuard) bool { return r.Verdict == Unproven && r.After.Requests > 0 }) {
		g.Verdict = Good
	}
	return g
}

// proven ends a watch in which nothing bad was seen.
func (c *Controller) proven(w *watch) {
	c.watch(nil, 0)
	g := w.outcome()
	c.keepReport(w.versions, g)
	c.gauges.guarded.WithLabelValues(g.Verdict).Inc()
	c.log.Info("guard: the change is "+g.Verdict, zap.Int("version", w.newest()), zap.Duration("watched", time.Since(w.since).Round(time.Millisecond)))
	c.events.send(Event{Kind: "guard", What: g.Verdict, Version: w.newest()})
}

func (c *Controller) keepReport(versions []watchedVersion, g history.Guard) {
	for _, v := range versions {
		err := c.history.Judge(v.number, g)
		if err != nil && !errors.Is(err, history.ErrNotFound) { // it may be pruned already
			c.log.Warn("guard: the numbers are not recorded", zap.Int("version", v.number), zap.Error(err))
		}
	}
}

// undo rolls back to what ran before a route was touched that now answers worse.
// What it goes back to is not watched: one that rolls back may not be rolled back.
func (c *Controller) undo(ctx context.Context, w *watch, name routeName, why string) {
	target := w.routes[name].target
	c.watch(nil, 0)
	g := w.report(Bad, fmt.Sprintf("route %s: %s", name, why))
	bad := c.current.Load().version.Number
	c.gauges.guarded.WithLabelValues(Bad).Inc()
	c.log.Error("guard: the change makes traffic worse, it is undone",
		zap.Int("version", bad), zap.Int("to", target), zap.String("cause", g.Why))
	v, err := c.rollback(ctx, target, Origin{Author: "guard"})
	if err == nil && v.Result != Applied {
		err = fmt.Errorf("%s", v.Message)
	}
	first := slices.IndexFunc(w.versions, func(v watchedVersion) bool { return v.number > target })
	c.keepReport(w.versions[:first], w.report(Unproven, "")) // what runs again
	c.keepReport(w.versions[first:], g)
	if err != nil {
		c.log.Error("guard: the change could not be undone", zap.Int("version", bad), zap.Error(err))
		c.events.send(Event{Kind: "guard", What: Bad, Version: bad, Cause: g.Why + "; it could not be undone: " + err.Error()})
		return
	}
	for _, bad := range w.versions[first:] {
		c.markRolledBack(bad.number, fmt.Sprintf("undone by the guard, as version %d: %s", v.Version, g.Why))
	}
	c.events.send(Event{Kind: "guard", What: Bad, Version: bad, Cause: g.Why})
	c.notify(w.rule.Notify, notice{Event: "rolled_back", Version: bad, To: target, Running: v.Version, Why: g.Why, Guard: &g})
}

func (c *Controller) markRolledBack(n int, note string) {
	if err := c.history.Mark(n, history.RolledBack, note); err != nil {
		c.log.Warn("rolled back version is not marked", zap.Int("version", n), zap.Error(err))
	}
}

// Guarded is what the guard watches at one moment.
type Guarded struct {
	Version int                  `json:"version"`
	Until   time.Time            `json:"until"`
	Routes  []history.RouteGuard `json:"routes"`
}

// guarded describes a watch, for readers on other goroutines.
func (w *watch) guarded() *Guarded {
	if w == nil {
		return nil
	}
	return &Guarded{Version: w.newest(), Until: w.until, Routes: w.report("", "").Routes}
}
