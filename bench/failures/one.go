package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// In the scenario "one of ten" one of ten backends goes bad, in every way, after
// a third of the run.
const (
	oneBackends = 10
	oneBad      = 3
	oneService  = 2 * time.Millisecond
)

var oneFaults = []fault{killed, hang, broken, failed, slow}

// faultWords is what tables say.
var faultWords = map[fault]string{
	killed: "kill -9", hang: "never answers", broken: "resets in the head", failed: "answers 500", slow: "100 x slower",
}

// oneSetups are the proxies as they come, and as their documentation says to set
// them for what goes wrong. A policy that looks at the load is for the slow one.
func (o options) oneSetups() []setup {
	return []setup{
		{Name: "defaults", Response: response},
		{Name: "tuned", Response: o.response, Tuned: true, Checks: time.Second},
	}
}

// oneResult is one line of the scenario's tables.
type oneResult struct {
	Setup string `json:"setup"`
	Fault fault  `json:"fault"`
	Proxy string `json:"proxy"`
	tally
	LastFailure *float64 `json:"last_failure_s"` // due so long after the fault; null: none

	samples []sample
	last    time.Duration
	any     bool
}

// oneOfTen runs the scenario. Rounds are interleaved: each asks every proxy about
// every fault once.
func (r *runner) oneOfTen(ctx context.Context) ([]*oneResult, error) {
	f, err := newFarm(ctx, 1, oneBackends, oneService, 0)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	var results []*oneResult
	for round := range r.rounds {
		n := 0
		for _, s := range r.oneSetups() {
			for _, what := range oneFaults {
				for _, p := range r.proxies {
					if round == 0 {
						results = append(results, &oneResult{Setup: s.Name, Fault: what, Proxy: p.name})
					}
					r.progress("one of ten, round %d of %d: %s, %s, %s", round+1, r.rounds, s.Name, what, p.name)
					if err := r.oneRun(ctx, p, s, f, results[n]); err != nil {
						return nil, fmt.Errorf("%s, %s, %s: %w", s.Name, what, p.name, err)
					}
					n++
				}
			}
		}
	}
	for _, res := range results {
		res.tally = sum(res.samples)
		if res.any {
			s := res.last.Seconds()
			res.LastFailure = &s
		}
	}
	return results, nil
}

// oneRun loads p once, and makes a backend bad meanwhile.
func (r *runner) oneRun(ctx context.Context, p proxy, s setup, f farm, into *oneResult) error {
	bad := f[oneBad]
	if err := bad.become(ctx, sound); err != nil {
		return err
	}
	if s.Tuned && into.Fault == slow {
		s.Balance = byLoad
	}
	run, err := r.start(ctx, p, s, f.addresses())
	if err != nil {
		return err
	}
	defer run.bed.Stop()
	l := &load{address: run.Address, rate: r.rate, length: r.length, timeout: r.timeout}
	turned := make(chan error, 1)
	started, at := time.Now(), time.Duration(0)
	turn := time.AfterFunc(r.length/3, func() {
		at = time.Since(started)
		turned <- bad.become(ctx, into.Fault)
	})
	samples := l.run(ctx)
	if ctx.Err() != nil {
		turn.Stop()
		return ctx.Err()
	}
	if err := <-turned; err != nil {
		return err
	}
	into.samples = append(into.samples, samples...)
	if last, any := lastFailure(samples, at); any {
		into.last, into.any = max(into.last, last), true
	}
	return nil
}

// byLoad is each proxy's policy for backends of different speed.
var byLoad = map[string]string{"weir": "peak_ewma", "nginx": "least_conn", "haproxy": "leastconn"}

func printOne(w io.Writer, o options, results []*oneResult) error {
	for _, s := range o.oneSetups() {
		fmt.Fprintf(w, "\n### One of ten goes bad: %s\n\n", s.Name)
		t := &table{text: 2, head: append(append([]string{"fault", "proxy"}, headOfTally...), "last failure s")}
		var rows []tally
		for _, r := range results {
			if r.Setup == s.Name {
				rows = append(rows, r.tally)
				t.add(append(append([]string{faultWords[r.Fault], r.Proxy}, r.cells()...), seconds(r.last, r.any))...)
			}
		}
		if err := t.write(w); err != nil {
			return err
		}
		writeLate(w, rows)
	}
	return nil
}
