package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// In the scenario "one slow of ten" one of ten backends takes ten times as long.
// Each works on a few requests at a time; others wait in it.
const (
	slowBackends = 10
	slowOne      = 3
	slowSlots    = 4
	slowService  = 20 * time.Millisecond
	slowTimes    = 10
	slowLoad     = 0.7 // of what all of them can do
)

// slowRate is how many requests a second are that part of the capacity.
func slowRate() float64 {
	one := slowSlots / slowService.Seconds()
	return slowLoad * (one*(slowBackends-1) + one/slowTimes)
}

// policies are what is compared, each in its proxy's words.
var policies = []struct{ proxy, balance string }{
	{"weir", "weighted_round_robin"},
	{"weir", "least_requests"},
	{"weir", "peak_ewma"},
	{"nginx", "least_conn"},
	{"nginx", "random two least_conn"},
	{"haproxy", "leastconn"},
	{"haproxy", "random(2)"},
}

// slowResult is one line of the scenario's table.
type slowResult struct {
	Proxy   string `json:"proxy"`
	Balance string `json:"balance"`
	tally
	Share float64 `json:"share_of_the_slow_one_percent"`

	samples []sample
}

// oneSlow runs the scenario.
func (r *runner) oneSlow(ctx context.Context) ([]*slowResult, error) {
	f, err := newFarm(ctx, 2, slowBackends, slowService, slowSlots)
	if err != nil {
		return nil, err
	}
	defer f.stop()
	bad := f[slowOne]
	bad.kill()
	bad.service *= slowTimes
	var results []*slowResult
	for round := range r.rounds {
		n := 0
		for _, policy := range policies {
			p, ok := r.proxy(policy.proxy)
			if !ok {
				continue
			}
			if round == 0 {
				results = append(results, &slowResult{Proxy: p.name, Balance: policy.balance})
			}
			r.progress("one slow of ten, round %d of %d: %s, %s", round+1, r.rounds, p.name, policy.balance)
			if err := r.slowRun(ctx, p, f, results[n]); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", p.name, policy.balance, err)
			}
			n++
		}
	}
	for _, res := range results {
		res.tally, res.Share = sum(res.samples), share(res.samples, slowOne)
	}
	return results, nil
}

// slowRun loads p once. The slow backend is a new process each time: what waits
// in it would be the next one's.
func (r *runner) slowRun(ctx context.Context, p proxy, f farm, into *slowResult) error {
	f[slowOne].kill()
	if err := f[slowOne].start(ctx); err != nil {
		return err
	}
	s := setup{Name: "policy", Response: response, Balance: map[string]string{p.name: into.Balance}}
	run, err := r.start(ctx, p, s, f.addresses())
	if err != nil {
		return err
	}
	defer run.bed.Stop()
	l := &load{address: run.Address, rate: slowRate(), length: r.length, timeout: r.timeout}
	into.samples = append(into.samples, l.run(ctx)...)
	return ctx.Err()
}

func printSlow(w io.Writer, results []*slowResult) error {
	fmt.Fprintf(w, "\n### One of ten is %d times slower, at %.0f %% of the capacity (%.0f/s)\n\n", slowTimes, 100*slowLoad, slowRate())
	t := &table{text: 2, head: append(append([]string{"proxy", "policy"}, headOfTally...), "to the slow one %")}
	var rows []tally
	for _, r := range results {
		rows = append(rows, r.tally)
		t.add(append(append([]string{r.Proxy, r.Balance}, r.cells()...), tens(r.Share))...)
	}
	if err := t.write(w); err != nil {
		return err
	}
	writeLate(w, rows)
	return nil
}
