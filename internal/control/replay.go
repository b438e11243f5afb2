package control

import (
	"context"
	"errors"

	"weir/internal/config"
	"weir/pool"
	"weir/proxy"
)

// Replayed is what two configurations make of the requests that were recorded.
type Replayed struct {
	Version     int                `json:"version"` // that runs: the old one of the two
	Requests    int                `json:"requests"`
	Differ      int                `json:"differ"`
	Skipped     int                `json:"skipped"` // could not be decided: their listener is gone
	Differences []proxy.Difference `json:"differences"`
	Problems    config.Problems    `json:"problems,omitempty"` // with the new one: then there is nothing else
}

// Replay decides the requests that were recorded under the running configuration
// and under source, without asking a backend. The error is that source cannot be
// compiled.
func (c *Controller) Replay(_ context.Context, source []byte) (Replayed, error) {
	run := c.current.Load()
	if run == nil {
		return Replayed{}, ErrClosed
	}
	cfg, err := config.Parse(c.o.Path, source, c.o.Env)
	var problems config.Problems
	if errors.As(err, &problems) {
		return Replayed{Problems: problems}, nil
	} else if err != nil {
		return Replayed{}, err
	}
	next, err := c.compileOnly(run, cfg)
	if err != nil {
		return Replayed{}, err
	}
	out := Replayed{Version: run.version.Number, Differences: []proxy.Difference{}}
	kinds := make(map[[2]proxy.Decision]int)
	running := c.o.Proxy.Snapshot()
	for _, r := range c.o.Proxy.Recorded() {
		old, err := running.Decide(r.Request)
		if err != nil {
			out.Skipped++
			continue
		}
		new, err := next.Decide(r.Request)
		if err != nil {
			new = proxy.Decision{} // nobody listens there any more
		}
		out.Requests++
		if old == new {
			continue
		}
		out.Differ++
		kind := [2]proxy.Decision{old, new}
		for i := range kind {
			kind[i].Target, kind[i].Host = "", ""
		}
		if i, ok := kinds[kind]; ok {
			out.Differences[i].Count++
			continue
		}
		kinds[kind] = len(out.Differences)
		method, host, path := r.Summary()
		out.Differences = append(out.Differences, proxy.Difference{Time: r.Time, Method: method, Host: host, Path: path, Old: old, New: new, Count: 1})
	}
	return out, nil
}

// Recorded lists the requests that were recorded, oldest first.
func (c *Controller) Recorded() []proxy.Recorded { return c.o.Proxy.Recorded() }

// compileOnly makes a snapshot that is asked and not served. Pools that do not
// run yet are stood in for by empty ones.
func (c *Controller) compileOnly(run *view, cfg *config.Config) (*proxy.Snapshot, error) {
	pools := make(map[string]*pool.Pool, len(cfg.Pools))
	for _, p := range cfg.Pools {
		if pools[p.Name] = run.pools[p.Name]; pools[p.Name] == nil {
			pools[p.Name] = pool.New(p.Name, pool.Options{Loops: 1})
			pools[p.Name].Close()
		}
	}
	return c.o.Proxy.Compile(cfg, pools)
}
