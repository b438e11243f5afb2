package control

import (
	"errors"

	"weir/internal/config"
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
func (c *Controller) Replay(source []byte) (Replayed, error) {
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
	next, err := c.o.Proxy.Compile(cfg)
	if err != nil {
		return Replayed{}, err
	}
	out := Replayed{Version: run.version.Number}
	running := c.o.Proxy.Snapshot()
	var differences proxy.Differences
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
		if old != new {
			out.Differ++
			method, host, path := r.Summary()
			differences.Add(proxy.Difference{Time: r.Time, Method: method, Host: host, Path: path, Old: old, New: new})
		}
	}
	out.Differences = differences.List()
	return out, nil
}

// Recorded lists the requests that were recorded, oldest first.
func (c *Controller) Recorded() []proxy.Recorded { return c.o.Proxy.Recorded() }
