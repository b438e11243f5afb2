package control

import (
	"bytes"
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
	keys  map[string][]byte     // of the pools whose clients stick
	pools map[string]*pool.Pool // all of cfg
	fresh []*pool.Pool          // made for it
	gone  []*pool.Pool          // running, and not of cfg
	left  map[string]*pool.Pool // retired before, and not of cfg either
	specs []*pool.Staged
	proxy *proxy.Staged
}

// compiled is a configuration that ran, ready to run again.
type compiled struct {
	hash     string
	cfg      *config.Config
	keys     map[string][]byte
	pools    map[string]*pool.Pool // that snapshot refers to
	snapshot *proxy.Snapshot
}

// stage prepares cfg. An error leaves nothing behind. before is the snapshot
// of an earlier run of the same configuration, or nil.
func (c *Controller) stage(cfg *config.Config, before *compiled) (*stage, error) {
	keys, err := c.stickyKeys(cfg, before)
	if err != nil {
		return nil, err
	}
	s := &stage{cfg: cfg, keys: keys, pools: make(map[string]*pool.Pool, len(cfg.Pools))}
	var old view
	if v := c.current.Load(); v != nil {
		old = *v
	}
	s.left = maps.Clone(old.retired)
	for _, p := range cfg.Pools {
		running := old.pools[p.Name]
		if left := s.left[p.Name]; left != nil { // it is back while its last requests run
			running = left
			delete(s.left, p.Name)
		}
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
		if old.cfg == nil || !samePool(old.cfg.Pool(p.Name), p) || !bytes.Equal(old.keys[p.Name], keys[p.Name]) {
			wanted := spec(p, c.execs)
			wanted.StickyKey = keys[p.Name]
			s.specs = append(s.specs, s.pools[p.Name].Stage(wanted))
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
// replaces. enforce commits its specs to its pools, with what the operator has said
// of their backends. Nothing in it can fail.
func (s *stage) commit(n int, enforce func([]*pool.Staged, map[string]*pool.Pool)) {
	enforce(s.specs, s.pools)
	s.proxy.SetVersion(n)
	s.proxy.Commit()
	for _, p := range s.gone { // no route leads there any more
		p.Retire()
	}
}

// retired is the pools that run no more, by name, and drain what is left on
// their backends. Those that have nothing left are closed.
func (s *stage) retired() map[string]*pool.Pool {
	all := make(map[string]*pool.Pool, len(s.gone))
	for _, p := range s.gone {
		all[p.Name()] = p
	}
	maps.Copy(all, s.left)
	maps.DeleteFunc(all, func(_ string, p *pool.Pool) bool {
		idle := p.Idle()
		if idle {
			p.Close()
		}
		return idle
	})
	return all
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
		Expire:  c.o.Proxy.Expire,
		Resolve: c.o.Resolve,
		Pace:    c.pace,
		Events: func(e pool.Event) {
			c.events.send(Event{
				Time: e.Time, Kind: "backend", What: e.What, Pool: e.Pool, Backend: e.Backend, Cause: e.Cause,
			})
		},
	})
}

// How many configurations stay compiled for a rollback: so many, but of large
// ones only as many as have that many routes and backends together, and always
// the one before the one that runs. Older ones are compiled again.
const (
	compiledKept  = 10
	compiledParts = 50_000 // about 1.3 KiB each
)

// remember keeps what now runs for a later rollback.
func (c *Controller) remember(hash string, s *stage) {
	c.forget(hash)
	c.compiled = append(c.compiled, compiled{hash: hash, cfg: s.cfg, keys: s.keys, pools: s.pools, snapshot: s.proxy.Snapshot()})
	drop := len(c.compiled) - worthKeeping(c.compiled)
	clear(c.compiled[:drop]) // let go of them
	c.compiled = c.compiled[drop:]
}

// worthKeeping is how many of the newest are kept.
func worthKeeping(all []compiled) (n int) {
	for total := 0; n < min(len(all), compiledKept); n++ {
		if total += parts(all[len(all)-1-n].cfg); total > compiledParts && n >= 2 {
			break
		}
	}
	return n
}

// parts is the size of a configuration: its routes and backends.
func parts(cfg *config.Config) (n int) {
	for i := range cfg.Listeners {
		n += len(cfg.Listeners[i].Routes)
	}
	for i := range cfg.Pools {
		n += len(cfg.Pools[i].Backends)
	}
	return n
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
