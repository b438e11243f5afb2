package control

import (
	"context"
	"maps"
	"reflect"

	"weir/internal/config"
	"weir/pool"
	"weir/proxy"
)

// stage is a configuration on its way in: everything that it needs is there
// and no request sees any of it. It ends in commit or discard.
type stage struct {
	cfg   *config.Config
	pools map[string]*pool.Pool // all of cfg
	fresh []*pool.Pool          // made for it
	gone  []*pool.Pool          // running, and not of cfg
	specs []*pool.Staged
	proxy *proxy.Staged
}

// compiled is a configuration that ran, ready to run again.
type compiled struct {
	hash     string
	cfg      *config.Config
	pools    map[string]*pool.Pool // that snapshot refers to
	snapshot *proxy.Snapshot
}

// stage prepares cfg. An error leaves nothing behind. before is the snapshot
// of an earlier run of the same configuration, or nil.
func (c *Controller) stage(cfg *config.Config, before *compiled) (*stage, error) {
	s := &stage{cfg: cfg, pools: make(map[string]*pool.Pool, len(cfg.Pools))}
	var old view
	if v := c.current.Load(); v != nil {
		old = *v
	}
	for _, p := range cfg.Pools {
		running := old.pools[p.Name]
		if running == nil {
			running = c.newPool(p.Name)
			s.fresh = append(s.fresh, running)
		}
		s.pools[p.Name] = running
	}
	for name, p := range old.pools {
		if s.pools[name] == nil {
			s.gone = append(s.gone, p)
		}
	}
	var err error
	if before != nil && maps.Equal(before.pools, s.pools) {
		s.proxy, err = c.o.Proxy.PrepareSnapshot(before.snapshot, 0)
	} else {
		s.proxy, err = c.o.Proxy.Prepare(cfg, s.pools, 0)
	}
	if err != nil {
		s.discard()
		return nil, err
	}
	for _, p := range cfg.Pools {
		// A pool that is configured as before is left alone altogether.
		if old.cfg == nil || !samePool(old.cfg.Pool(p.Name), p) {
			s.specs = append(s.specs, s.pools[p.Name].Stage(spec(p, c.execs)))
		}
	}
	return s, nil
}

func samePool(old *config.Pool, new config.Pool) bool {
	return old != nil && reflect.DeepEqual(*old, new)
}

// wait gives new backends the chance of a first probe before traffic meets
// them, until ctx ends.
func (s *stage) wait(ctx context.Context) {
	for _, st := range s.specs {
		st.Wait(ctx)
	}
}

// commit makes the stage what runs, as version n, and retires what it
// replaces. Nothing in it can fail.
func (s *stage) commit(n int) {
	for _, st := range s.specs {
		st.Commit()
	}
	s.proxy.SetVersion(n)
	s.proxy.Commit()
	for _, p := range s.gone { // no route leads there any more
		p.Close()
	}
}

// discard gives back all that the stage took.
func (s *stage) discard() {
	for _, st := range s.specs {
		st.Discard()
	}
	if s.proxy != nil {
		s.proxy.Discard()
	}
	for _, p := range s.fresh {
		p.Close()
	}
}

func (c *Controller) newPool(name string) *pool.Pool {
	return pool.New(name, pool.Options{
		Loops:   c.o.Group.Len(),
		Log:     c.log,
		Metrics: c.o.Metrics,
		Pace:    c.pace,
		Events: func(e pool.Event) {
			c.events.send(Event{
				Time: e.Time, Kind: "backend", What: e.What, Pool: e.Pool, Backend: e.Backend, Cause: e.Cause,
			})
		},
	})
}

// compiledKept is how many configurations stay compiled for a rollback.
const compiledKept = 10

// remember keeps what now runs for a later rollback.
func (c *Controller) remember(hash string, s *stage) {
	c.forget(hash)
	c.compiled = append(c.compiled, compiled{hash: hash, cfg: s.cfg, pools: s.pools, snapshot: s.proxy.Snapshot()})
	if len(c.compiled) > compiledKept {
		c.compiled[0] = compiled{} // let go of it
		c.compiled = c.compiled[1:]
	}
}

func (c *Controller) forget(hash string) {
	for i := range c.compiled {
		if c.compiled[i].hash == hash {
			c.compiled = append(c.compiled[:i:i], c.compiled[i+1:]...)
			return
		}
	}
}

// recall finds the configuration with these bytes, compiled.
func (c *Controller) recall(hash string) *compiled {
	for i := range c.compiled {
		if c.compiled[i].hash == hash {
			return &c.compiled[i]
		}
	}
	return nil
}
