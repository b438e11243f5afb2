package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"weir/internal/config"
	"weir/internal/history"
	"weir/internal/metrics"
	"weir/pool"
	"weir/proxy"
)

// Staged is the verdict on a change that is being tried before it is made.
const Staged = "staged"

var (
	// errTrial is in the message of a change that comes while another one is tried.
	errTrial = errors.New("another change is being tried: weir trial shows it, weir trial abort ends it")

	// ErrNoTrial is returned if there is nothing to promote or to abort.
	ErrNoTrial = errors.New("no change is being tried")
)

// trial is a version that is tried beside the one that runs. It belongs to the
// writer's goroutine; readers get a Trial.
type trial struct {
	version history.Version // Number 0: a shadow, which is no version
	source  []byte
	cfg     *config.Config
	origin  Origin
	rule    config.Guard
	staged  *proxy.Staged
	live    *proxy.Trial
	fresh   []*pool.Pool // that it has instead of those that run
	shadow  bool
	steps   []int // percent of the clients, still to come after the present one
	share   int
	hold    time.Duration
	until   time.Time // of the present step
	began   time.Time
	routes  map[routeName]*rival
	sorted  []routeName // their names
}

// rival is a route of both versions at the same time.
type rival struct {
	both *metrics.Route // of all requests
	new  *metrics.Route // of those that the trial served
	at   metrics.Tally  // of both, when the present step began
	had  metrics.Tally  // of new, then
	pace pace
}

// sides is what the two versions have answered since the step began.
func (r *rival) sides() (running, tried metrics.Tally) {
	tried = r.new.Tally().Sub(r.had)
	return r.both.Tally().Sub(r.at).Sub(tried), tried
}

// Trial is a change that is being tried, or the last one that was.
type Trial struct {
	Kind     string               `json:"kind"` // stage, shadow
	Version  int                  `json:"version,omitempty"`
	Origin   string               `json:"origin"`
	Author   string               `json:"author,omitempty"`
	Began    time.Time            `json:"began"`
	Share    int                  `json:"share"` // percent of the clients
	Steps    []int                `json:"steps,omitempty"`
	Until    time.Time            `json:"until"`           // of the present step, or of the shadow
	Ended    string               `json:"ended,omitempty"` // promoted, aborted, rolled_back, done
	Why      string               `json:"why,omitempty"`
	Routes   []history.RouteGuard `json:"routes,omitempty"` // before is the running version, after the tried one, at the same time
	Shadowed *proxy.Shadowed      `json:"shadowed,omitempty"`
}

// try begins a trial of cfg: for a share of the clients, or as a shadow.
func (c *Controller) try(ctx context.Context, source []byte, cfg *config.Config, o Origin, opts ApplyOptions) (Verdict, error) {
	run := c.current.Load()
	if c.trial != nil {
		return c.refuse(errTrial.Error()), nil
	}
	t := &trial{source: source, cfg: cfg, origin: o, rule: cfg.Guard, shadow: opts.Shadow > 0, hold: opts.Hold, began: time.Now()}
	pools, err := c.trialPools(ctx, run, t)
	if err == nil {
		t.staged, err = c.o.Proxy.Prepare(cfg, pools, 0)
	}
	if err != nil {
		c.release(t)
		v := c.refuse(err.Error())
		v.Result = Failed
		return v, nil
	}
	t.staged.Discard() // it can bind what is new; nobody is to connect there before it runs
	if t.shadow {
		t.until = t.began.Add(opts.Shadow)
		t.live = c.o.Proxy.Shadow(t.staged)
	} else if err := c.beginStage(t, opts.Stage); err != nil {
		c.release(t)
		return Verdict{}, err
	}
	c.trial = t
	c.showTrial("", "")
	v := Verdict{Result: Staged, Version: run.version.Number, Previous: run.version.Number, Plan: plan(run.cfg, cfg), Trial: c.tried.Load()}
	c.log.Info("configuration is tried", append(originFields(o, t.version.Number), zap.Bool("shadow", t.shadow), zap.Int("share", t.share))...)
	c.events.send(Event{Kind: Staged, Version: t.version.Number, Origin: o.Kind, Author: o.Author})
	return v, nil
}

// trialPools are the pools of a trial: those that run where they mean the same,
// and else pools of its own under the same names, whose backends are probed
// before anybody is served by them.
func (c *Controller) trialPools(ctx context.Context, run *view, t *trial) (map[string]*pool.Pool, error) {
	keys, err := c.stickyKeys(t.cfg, nil)
	if err != nil {
		return nil, err
	}
	pools := make(map[string]*pool.Pool, len(t.cfg.Pools))
	round, cancel := context.WithTimeout(ctx, probeRound)
	defer cancel()
	for _, p := range t.cfg.Pools {
		if running := run.pools[p.Name]; running != nil && samePool(run.cfg.Pool(p.Name), p) {
			pools[p.Name] = running
			continue
		}
		own := c.newPool(p.Name)
		t.fresh = append(t.fresh, own)
		wanted := spec(p, c.execs)
		wanted.StickyKey = keys[p.Name]
		st := own.Stage(wanted)
		if !t.shadow {
			st.Wait(round)
		}
		st.Commit()
		pools[p.Name] = own
	}
	c.enforceTrial(t.fresh)
	return pools, nil
}

// beginStage records the version and lets the first clients in.
func (c *Controller) beginStage(t *trial, steps []int) error {
	var err error
	t.version, err = c.history.Append(history.Version{
		Origin: t.origin.Kind, Author: t.origin.Author, Verdict: history.Staged, Note: "being tried",
	}, t.source)
	if err != nil {
		return err
	}
	t.staged.SetVersion(t.version.Number)
	t.steps = steps
	if t.steps[len(t.steps)-1] != 100 {
		t.steps = append(slices.Clip(t.steps), 100)
	}
	t.routes = make(map[routeName]*rival)
	watched := t.staged.Watch()
	eachRoute(t.cfg, func(n routeName, _ *config.Listener, _ *config.Route) {
		t.routes[n] = &rival{both: c.o.Metrics.Route(n.listener, n.route), new: watched[proxy.RouteName{Listener: n.listener, Route: n.route}]}
	})
	t.sorted = sortedNames(t.routes)
	t.share, t.steps = t.steps[0], t.steps[1:]
	t.live = c.o.Proxy.Stage(t.staged, t.share)
	t.beginStep(time.Now())
	return nil
}

func (t *trial) beginStep(now time.Time) {
	t.until = now.Add(t.hold)
	for _, r := range t.routes {
		r.at, r.had = r.both.Tally(), r.new.Tally()
		r.pace.reset()
	}
}

// release gives back what the trial has taken.
func (c *Controller) release(t *trial) {
	c.enforceTrial(nil)
	if t.live != nil {
		t.live.End()
	}
	for _, p := range t.fresh {
		p.Close()
	}
}

// trialTick looks at a trial, and acts.
func (c *Controller) trialTick(ctx context.Context, now time.Time) {
	t := c.trial
	if t == nil {
		return
	}
	c.showTrial("", "")
	if t.shadow {
		if !now.Before(t.until) {
			c.endTrial("done", "")
		}
		return
	}
	for _, n := range t.sorted {
		r := t.routes[n]
		running, tried := r.sides()
		r.pace.look(t.rule, &running, &tried)
		if verdict, why := judge(t.rule, running, tried, &r.pace); verdict == Bad {
			c.abortTrial(history.RolledBack, fmt.Sprintf("route %s: %s (of the version that runs, at the same time)", n, why))
			return
		}
	}
	if now.Before(t.until) || c.frozen(now) { // in a freeze it stays where it is
		return
	}
	if len(t.steps) == 0 || t.steps[0] == 100 {
		c.promote(ctx)
		return
	}
	t.share, t.steps = t.steps[0], t.steps[1:]
	t.live.SetShare(t.share)
	t.beginStep(now)
	c.log.Info("configuration is tried by more clients", zap.Int("version", t.version.Number), zap.Int("share", t.share))
	c.showTrial("", "")
}

// promote makes what was tried what runs.
func (c *Controller) promote(ctx context.Context) Verdict {
	t, run, began := c.trial, c.current.Load(), time.Now()
	disk := readFile(c.o.Path)
	v, err := c.carry(ctx, change{
		source: t.source, cfg: t.cfg, round: probeRound, meta: t.version, guarded: true,
		pin: run.pinAgainst(disk, t.version.Hash, "another configuration than the file's was applied"+by(t.origin)),
	}, disk)
	if err != nil {
		c.abortTrial(history.RolledBack, "it could not be put in force: "+err.Error())
		return c.fail(disk, t.origin, false, err)
	}
	if err := c.history.Mark(v.Number, history.Applied, ""); err != nil {
		c.log.Warn("promoted version is not marked", zap.Int("version", v.Number), zap.Error(err))
	}
	c.endTrial("promoted", "")
	c.mirror.poke() // it ran before it was marked so
	return c.report(run, plan(run.cfg, t.cfg), v, t.origin, began)
}

// abortTrial ends a trial that does not become what runs.
func (c *Controller) abortTrial(how, why string) {
	t := c.trial
	if t.version.Number != 0 {
		g := history.Guard{Verdict: Bad, Why: why, At: time.Now().UTC().Truncate(time.Millisecond), Routes: t.report()}
		if how != history.RolledBack {
			g.Verdict = Unproven
		}
		if err := c.history.Judge(t.version.Number, g); err != nil {
			c.log.Warn("guard: the numbers are not recorded", zap.Int("version", t.version.Number), zap.Error(err))
		}
		c.markRolledBack(t.version.Number, how+" while it was tried: "+why)
	}
	if how == history.RolledBack {
		c.gauges.guarded.WithLabelValues(Bad).Inc()
		c.log.Error("guard: the version that is tried makes traffic worse, it is dropped", zap.Int("version", t.version.Number), zap.String("cause", why))
		n := c.current.Load().version.Number
		c.notify(t.rule.Notify, notice{Event: "rolled_back", Version: t.version.Number, To: n, Running: n, Why: why})
	}
	c.endTrial(how, why)
}

func (c *Controller) endTrial(how, why string) {
	t := c.trial
	c.showTrial(how, why)
	c.release(t)
	c.trial = nil
	c.events.send(Event{Kind: "trial", What: how, Version: t.version.Number, Cause: why, Origin: t.origin.Kind, Author: t.origin.Author})
	c.log.Info("trial ended: "+how, zap.Int("version", t.version.Number), zap.Bool("shadow", t.shadow), zap.String("cause", why))
}

func (t *trial) report() []history.RouteGuard {
	return reportOn(t.rule, t.sorted, func(n routeName) (running, tried metrics.Tally, p *pace) {
		r := t.routes[n]
		running, tried = r.sides()
		return running, tried, &r.pace
	})
}

// showTrial publishes the trial for readers.
func (c *Controller) showTrial(ended, why string) {
	t := c.trial
	out := &Trial{
		Kind: "stage", Version: t.version.Number, Origin: t.origin.Kind, Author: t.origin.Author, Began: t.began,
		Share: t.share, Steps: t.steps, Until: t.until, Ended: ended, Why: why, Routes: t.report(),
	}
	if t.shadow {
		seen := t.live.Seen()
		out.Kind, out.Shadowed = "shadow", &seen
	}
	c.tried.Store(out)
}

// EndTrial promotes the change that is being tried, or aborts it. The error is
// ErrNoTrial, or that a shadow cannot be promoted.
func (c *Controller) EndTrial(ctx context.Context, promote bool, o Origin) (Verdict, error) {
	return ask(ctx, c, func(ctx context.Context) (Verdict, error) {
		switch {
		case c.trial == nil:
			return c.refuse(ErrNoTrial.Error()), ErrNoTrial
		case promote && c.trial.shadow:
			return c.refuse("a shadow serves nobody: apply the file"), nil
		case promote && c.frozen(time.Now()):
			v := c.refuse(fmt.Sprintf("held as version %d: %v; weir thaw ends that", c.trial.version.Number, Frozen(c.history.State().Freeze)))
			v.Result, v.Held = Held, c.trial.version.Number
			return v, nil
		case promote:
			return c.promote(ctx), nil
		}
		c.abortTrial("aborted", "by "+o.Author)
		v := c.refuse("the trial is over")
		v.Result = Unchanged
		return v, nil
	})
}

// Trial is the change that is being tried, or the last one that was since the
// start; nil if there was none.
func (c *Controller) Trial() *Trial { return c.tried.Load() }
