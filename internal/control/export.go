package control

import (
	"strconv"

	"weir/internal/config"
)

// Export is the configuration that runs with the overrides written into it.
type Export struct {
	Version int      `json:"version"`
	Source  string   `json:"source"`
	Written int      `json:"written"`        // how many overrides say what Source says
	Left    []string `json:"left,omitempty"` // those that cannot be written, and why
}

// ExportOverrides writes the overrides into the text that runs: weights as they
// are, and a weight of 0 for what is drained or in maintenance. Nothing else in it
// changes. The error says why there is no such text.
func (c *Controller) ExportOverrides() (Export, error) {
	v := c.current.Load()
	if v == nil {
		return Export{}, ErrClosed
	}
	var weights []config.Weight
	last := Override{}
	for _, o := range c.Overrides() {
		if !o.Absent.IsZero() {
			continue
		}
		n := 0
		if o.What == OverrideWeight {
			n, _ = strconv.Atoi(o.Value) // it is in force, so it is one
			if last.What == OverrideAdmin && last.Pool == o.Pool && last.Backend == o.Backend {
				continue // no weight counts for one that is out
			}
		}
		weights = append(weights, config.Weight{Pool: o.Pool, Address: o.Backend, Weight: n})
		last = o
	}
	out, left, err := config.Reweigh(c.o.Path, v.source, c.o.Env, weights)
	if err != nil {
		return Export{}, err
	}
	return Export{Version: v.version.Number, Source: string(out), Written: len(weights) - len(left), Left: left}, nil
}
