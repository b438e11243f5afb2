package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// In the scenario "outage" all backends of a pool die, and come back together,
// but for one that comes a little later. Everybody who takes part has backends
// of his own and goes through it at the same time.
const (
	outageBackends = 5
	outageService  = 2 * time.Millisecond
	outageRate     = 100.0 // requests a second, for each
	outageWarmUp   = 2 * time.Second
	outageLate     = 2 // seconds after the others
	outageCheck    = time.Second
	outageRamp     = 5 * time.Second
	outageMost     = 8                      // requests at a time at a backend, where there is a queue
	queueEvery     = 100 * time.Millisecond // is its length read
)

// contestants are who takes part, each in a setup.
func (o options) contestants() []contestant {
	plain := setup{Name: "defaults", Response: response, Counted: true}
	checks := setup{Name: "checks", Response: response, Counted: true, Checks: outageCheck, SlowStart: outageRamp}
	queued := setup{Name: "frozen, queue", Response: response, Counted: true, Frozen: true, Queue: o.queue, Most: outageMost}
	all := []contestant{{"weir", plain}, {"weir", checks}, {"nginx", plain}, {"haproxy", plain}, {"haproxy", checks}}
	if o.queue > 0 {
		all = append(all, contestant{"weir", queued})
	}
	return all
}

type contestant struct {
	proxy string
	setup setup
}

// outageResult is one line of the scenario's tables. Times are seconds from when
// the first backend listened again.
type outageResult struct {
	Proxy        string    `json:"proxy"`
	Setup        string    `json:"setup"`
	Whole        phase     `json:"whole"` // the run with what was before the outage
	Dead         phase     `json:"dead"`  // while all backends were
	After        phase     `json:"after"` // from then on
	FirstGood    *float64  `json:"first_good_s"`
	LastFailure  *float64  `json:"last_failure_s"`
	LongestQueue *int      `json:"longest_queue"`
	PerSecond    []float64 `json:"attempts_per_second_at_one_of_the_first"` // in each second
	Late         []float64 `json:"attempts_per_second_at_the_late_one"`
}

// phase is a part of the run.
type phase struct {
	tally
	Attempts int64   `json:"attempts"`
	Ratio    float64 `json:"attempts_per_request"`
}

func newPhase(samples []sample, attempts int64) phase {
	p := phase{tally: sum(samples), Attempts: attempts}
	if p.Requests > 0 {
		p.Ratio = float64(attempts) / float64(p.Requests)
	}
	return p
}

// ordeal is one contestant on its way through.
type ordeal struct {
	contestant
	run  *running
	farm farm
	load *load
	options

	died, back time.Duration // since the start of the load; back: the first listened
	attempts   [4]int64      // at the start, when they died, when they came back, in the end
	counts     [][]int64     // of each backend, at the start of each second after back
}

// blackout runs the scenario.
func (r *runner) blackout(ctx context.Context) ([]*outageResult, error) {
	r.progress("outage of %v", r.outage)
	var all []*ordeal
	defer func() {
		for _, o := range all {
			o.end()
		}
	}()
	for i, c := range r.contestants() {
		p, ok := r.proxy(c.proxy)
		if !ok {
			continue
		}
		o := &ordeal{contestant: c, options: r.options}
		all = append(all, o)
		var err error
		if o.farm, err = newFarm(ctx, 10+i, outageBackends, outageService, 0); err != nil {
			return nil, err
		}
		if o.run, err = r.start(ctx, p, c.setup, o.farm.addresses()); err != nil {
			return nil, err
		}
		o.load = &load{
			address: o.run.Address, rate: outageRate, timeout: r.timeout,
			length: outageWarmUp + r.outage + r.after.Truncate(time.Second),
		}
	}
	results, errs := make([]*outageResult, len(all)), make([]error, len(all))
	var under sync.WaitGroup
	for i, o := range all {
		under.Go(func() { results[i], errs[i] = o.suffer(ctx) })
	}
	under.Wait()
	return results, errors.Join(errs...)
}

func (o *ordeal) end() {
	if o.run != nil {
		o.run.bed.Stop()
	}
	o.farm.stop()
}

// suffer takes the contestant through it.
func (o *ordeal) suffer(ctx context.Context) (*outageResult, error) {
	var err error
	if o.attempts[0], err = o.run.attempts(ctx, o.proxy); err != nil {
		return nil, err
	}
	var samples []sample
	var sending sync.WaitGroup
	started := time.Now()
	sending.Go(func() { samples = o.load.run(ctx) })
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var longest *int
	if o.setup.Queue > 0 {
		sending.Go(func() { longest = o.watchQueue(watching) })
	}
	err = o.dieAndReturn(ctx, started)
	stop()
	sending.Wait()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		o.attempts[3], err = o.run.attempts(ctx, o.proxy)
	}
	if err != nil {
		return nil, fmt.Errorf("outage, %s, %s: %w", o.proxy, o.setup.Name, err)
	}
	return o.result(samples, longest), nil
}

// dieAndReturn does to the backends what the scenario is about.
func (o *ordeal) dieAndReturn(ctx context.Context, started time.Time) (err error) {
	if !sleep(ctx, outageWarmUp) {
		return ctx.Err()
	}
	if o.attempts[1], err = o.run.attempts(ctx, o.proxy); err != nil {
		return err
	}
	o.died = time.Since(started)
	if err := o.die(); err != nil {
		return err
	}
	if !sleep(ctx, o.outage) {
		return ctx.Err()
	}
	if o.attempts[2], err = o.run.attempts(ctx, o.proxy); err != nil {
		return err
	}
	late := outageBackends - 1
	for i, b := range o.farm[:late] {
		if err := b.start(ctx); err != nil {
			return err
		}
		if i == 0 {
			o.back = time.Since(started)
		}
	}
	for second := range int(o.after / time.Second) {
		if second == outageLate {
			if err := o.farm[late].start(ctx); err != nil {
				return err
			}
		}
		if err := o.countAll(); err != nil {
			return err
		}
		if !sleep(ctx, time.Until(started.Add(o.back+time.Duration(second+1)*time.Second))) {
			return ctx.Err()
		}
	}
	return o.countAll()
}

// die kills the backends. Where there is a queue it freezes them: nobody waits for
// what is dead, only for what is full.
func (o *ordeal) die() error {
	if !o.setup.Frozen {
		o.farm.stop()
		return nil
	}
	for _, b := range o.farm {
		if _, err := b.count(); err != nil { // nobody can be asked later
			return err
		}
		if err := b.freeze(); err != nil {
			return err
		}
	}
	return nil
}

// countAll notes what each backend has had since it returned.
func (o *ordeal) countAll() error {
	counts := make([]int64, len(o.farm))
	for i, b := range o.farm {
		n, err := b.count()
		if err != nil {
			return err
		}
		counts[i] = n
	}
	o.counts = append(o.counts, counts)
	return nil
}

// watchQueue returns the longest queue that was seen until ctx ended; nil if
// there is no metric.
func (o *ordeal) watchQueue(ctx context.Context) (longest *int) {
	for sleep(ctx, queueEvery) {
		if n, ok := o.run.queueLength(ctx); ok && (longest == nil || n > *longest) {
			longest = &n
		}
	}
	return longest
}

func (o *ordeal) result(samples []sample, longest *int) *outageResult {
	end := o.load.length
	r := &outageResult{
		Proxy: o.proxy, Setup: o.setup.Name, LongestQueue: longest,
		Whole: newPhase(samples, o.attempts[3]-o.attempts[0]),
		Dead:  newPhase(between(samples, o.died, o.back), o.attempts[2]-o.attempts[1]),
		After: newPhase(between(samples, o.back, end), o.attempts[3]-o.attempts[2]),
	}
	if first, ok := firstGood(samples, o.back); ok {
		s := first.Seconds()
		r.FirstGood = &s
	}
	if last, ok := lastFailure(samples, o.back); ok {
		s := last.Seconds()
		r.LastFailure = &s
	}
	late := outageBackends - 1
	for second := range len(o.counts) - 1 {
		sum := 0.0
		for i := range late {
			sum += float64(o.counts[second+1][i] - o.counts[second][i])
		}
		r.PerSecond = append(r.PerSecond, sum/float64(late))
		r.Late = append(r.Late, float64(o.counts[second+1][late]-o.counts[second][late]))
	}
	return r
}

// sleep waits for d; false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func printOutage(w io.Writer, o options, results []*outageResult) error {
	fmt.Fprintf(w, "\n### All %d backends dead for %v\n\n", outageBackends, o.outage)
	t := &table{text: 2, head: []string{
		"proxy", "setup", "requests", "attempts", "each", "while dead", "attempts", "each", "p50 ms", "p99 ms",
		"first good s", "last failure s", "failed after", "longest queue",
	}}
	for _, r := range results {
		t.add(r.Proxy, r.Setup, strconv.Itoa(r.Whole.Requests), strconv.FormatInt(r.Whole.Attempts, 10), ratio(r.Whole.Ratio),
			strconv.Itoa(r.Dead.Requests), strconv.FormatInt(r.Dead.Attempts, 10), ratio(r.Dead.Ratio), millis(r.Dead.P50), millis(r.Dead.P99),
			optional(r.FirstGood), optional(r.LastFailure), strconv.Itoa(r.After.Failed()), length(r.LongestQueue))
	}
	if err := t.write(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n### Requests in each second after the return: at one of the first %d (mean), and at the one that came %d s later\n\n", outageBackends-1, outageLate)
	t = &table{text: 3, head: []string{"proxy", "setup", "backend"}}
	for second := range int(o.after / time.Second) {
		t.head = append(t.head, strconv.Itoa(second+1))
	}
	for _, r := range results {
		t.add(append([]string{r.Proxy, r.Setup, "first"}, each(r.PerSecond)...)...)
		t.add(append([]string{r.Proxy, r.Setup, "late"}, each(r.Late)...)...)
	}
	return t.write(w)
}

func each(values []float64) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strconv.FormatFloat(v, 'f', 0, 64)
	}
	return out
}

func ratio(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

// length is n, or a dash where there is no queue.
func length(n *int) string {
	if n == nil {
		return "-"
	}
	return strconv.Itoa(*n)
}

// optional is v, or a dash where there is nothing to tell.
func optional(v *float64) string {
	if v == nil {
		return "-"
	}
	return strconv.FormatFloat(*v, 'f', 2, 64)
}
