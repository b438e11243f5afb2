package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const transitionGap = time.Second // between probes while a streak is incomplete

// Target is an address to be probed, and how. All times between probes are from
// the start of one to the start of the next, give or take 10 %.
type Target struct {
	Addr         string // what Check.Probe is given
	Check        Check  // a Reporter too, if it has more to say
	Key          string // equal Addr, Key, times and counts mean unchanged: Checks are not compared
	Interval     time.Duration
	DownInterval time.Duration // while it is down; 0 is Interval
	Timeout      time.Duration // for one probe
	Fall         int           // failures in a row that make it down
	Rise         int           // passes in a row that make it up
}

// same says whether probing t is probing u.
func (t Target) same(u Target) bool {
	t.Check, u.Check = nil, nil // not all Checks are comparable; Key stands for them
	return t == u
}

// Result is one probe and what it means.
type Result struct {
	Up      bool // the verdict after this probe
	Changed bool // this probe changed it; true for the first
	First   bool // the first that is a verdict on this target
	Err     error
	Report  *Report // what the address said of itself; nil: its Check asks for nothing, or got no answer
	Rise    int     // passes in a row that it takes to come up: more than the target's while it flaps
	Took    time.Duration
	At      time.Time // when the probe ended
}

// Prober asks its targets again and again: on a goroutine for each probe, or,
// those that HTTP and TCP ask by an address, on the loop of its Pace. The zero
// value is not usable.
type Prober struct {
	// Rand gives numbers in [0, 1) for the jitter. Set before the first Sync
	// if at all; called under the Prober's lock.
	Rand func() float64

	// Pace is what Probers of one process share. Set before the first Sync if at all.
	Pace *Pace

	report func(key string, r Result)
	wg     sync.WaitGroup // probes under way, and what is being stopped

	mu      sync.Mutex // Sync, and each probe when it has a result; never held during report
	running map[string]*probe
}

// probe is one target, asked again and again.
type probe struct {
	p      *Prober
	visit  func() // onLoop; nil: it is asked on goroutines, which end with ctx
	key    string
	target Target

	due     time.Time // when it was to be asked; Pace.mu, or the probe under way
	queued  bool      // Pace.mu
	stopped bool      // Pace.mu
	gone    bool      // Prober.mu: its outcomes are nobody's

	outcome outcome // of the probe under way
	until   limit   // and its time on the loop
	seat    seat    // and its place there

	tracker Tracker // Prober.mu: a successor takes it over while this one still runs
	ctx     context.Context
	cancel  context.CancelFunc
}

// outcome is what came of one probe.
type outcome struct {
	start, end time.Time
	report     *Report
	err        error
}

// NewProber returns a Prober without targets. report is called after each probe,
// with the key the target has in Sync's map, and for one target never twice at a
// time.
func NewProber(report func(key string, r Result)) *Prober {
	return &Prober{Rand: rand.Float64, Pace: new(Pace), report: report, running: make(map[string]*probe)}
}

// Sync makes the probed set equal to want: new targets start, missing ones
// stop, changed ones restart with their streak kept, equal ones are left
// alone. Sync(nil) stops all. It does not wait for what it stops; a result of
// a stopped probe that was being reported meanwhile still arrives.
func (p *Prober) Sync(want map[string]Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, pr := range p.running {
		if _, ok := want[key]; !ok {
			pr.stop()
			delete(p.running, key)
		}
	}
	fresh := make([]*probe, 0)
	for key, t := range want {
		tracker := Tracker{}
		if old := p.running[key]; old != nil {
			if old.target.same(t) {
				continue
			}
			old.stop()
			tracker = old.tracker
		}
		tracker.Fall, tracker.Rise = t.Fall, t.Rise
		fresh = append(fresh, &probe{p: p, key: key, target: t, tracker: tracker})
	}
	if len(fresh) == 0 {
		return
	}
	now := time.Now()
	window := p.Pace.window(len(fresh), now)
	for _, pr := range fresh {
		p.running[pr.key] = pr
		if pr.seat.take(pr.target, p.Pace); pr.seat.pace != nil {
			pr.visit = pr.onLoop
		} else {
			pr.ctx, pr.cancel = context.WithCancel(context.Background())
		}
		p.Pace.join(pr, now.Add(p.firstDelay(pr.target, window)))
	}
}

// firstDelay is a place in the window, or in the target's interval if that is
// shorter.
func (p *Prober) firstDelay(t Target, window time.Duration) time.Duration {
	if t.Interval > 0 {
		window = min(window, t.Interval)
	}
	return time.Duration(p.Rand() * float64(window))
}

// Wait blocks until no probe is under way any more and nothing of one is left
// open. Call it after Sync(nil); a Sync that starts something meanwhile must not
// run.
func (p *Prober) Wait() {
	p.wg.Wait()
	p.Pace.wait()
}

// stop ends pr. Prober.mu is held.
func (pr *probe) stop() {
	pr.gone = true
	pr.p.Pace.leave(pr)
	if pr.visit == nil {
		pr.cancel()
		return
	}
	pr.p.wg.Add(1)
	pr.p.Pace.Loop.Post(func() {
		pr.seat.stop()
		pr.p.wg.Done()
	})
}

// begin starts one probe. The Prober's wg has counted it.
func (pr *probe) begin() {
	if pr.visit != nil {
		pr.p.Pace.Loop.Go(pr.visit)
		return
	}
	go pr.onGoroutine()
}

func (pr *probe) onGoroutine() {
	pr.outcome.start = time.Now()
	pr.outcome.report, pr.outcome.err = ask(pr.ctx, pr.target)
	pr.outcome.end = time.Now()
	pr.tell()
}

// onLoop is a coroutine. It leaves telling, which may block, to others.
func (pr *probe) onLoop() {
	pr.outcome = outcome{start: time.Now(), err: errLost}
	defer func() {
		pr.outcome.end = time.Now()
		pr.p.Pace.take(pr)
	}()
	pr.until.at = pr.outcome.start.Add(pr.target.Timeout)
	pr.outcome.err = late(&pr.until, pr.target, pr.seat.visit(&pr.until))
}

// errLost is what remains of a probe that panicked; the loop's owner is told.
var errLost = fmt.Errorf("%w: the check went wrong", ErrNotAsked)

// tell ends one probe: its outcome is reported, and the next one planned.
func (pr *probe) tell() {
	defer pr.p.wg.Done()
	o := pr.outcome
	pr.outcome = outcome{}
	r, gap, ok := pr.p.observe(pr, o)
	if !ok {
		return
	}
	pr.p.report(pr.key, r)
	// One that was asked a little early is not asked more often for that.
	from := o.start
	if pr.due.After(from) {
		from = pr.due
	}
	pr.p.Pace.again(pr, from.Add(gap))
}

// ask runs one probe under its own timeout.
func ask(ctx context.Context, t Target) (*Report, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	report, err := probeOrReport(ctx, t)
	return report, late(ctx, t, err)
}

// late says of an error that it came at the end of ctx, if it did.
func late(ctx context.Context, t Target, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no verdict within %v: %w", t.Timeout, err)
	}
	return err
}

func probeOrReport(ctx context.Context, t Target) (*Report, error) {
	c, ok := t.Check.(Reporter)
	if !ok {
		return nil, t.Check.Probe(ctx, t.Addr)
	}
	r, err := c.Report(ctx, t.Addr)
	if err != nil {
		return nil, err
	}
	return &r, r.Err()
}

// observe enters one outcome into the streak and says when to ask again,
// counted from the start of this probe. ok is false if pr has been stopped or
// replaced.
func (p *Prober) observe(pr *probe, o outcome) (r Result, gap time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pr.gone {
		return Result{}, 0, false
	}
	known := pr.tracker.Known()
	r = Result{Err: o.err, Report: o.report, Took: o.end.Sub(o.start), At: o.end}
	switch {
	case errors.Is(o.err, ErrNotAsked):
	case o.report != nil && o.err != nil: // it says itself that it is down: no need to ask again
		r.Changed = pr.tracker.Decide(false, o.end)
	default:
		r.Changed = pr.tracker.Observe(o.err == nil, o.end)
	}
	r.First = !known && pr.tracker.Known()
	r.Up, r.Rise = pr.tracker.Up(), pr.tracker.RiseNow(o.end)
	spread := 0.9 + 0.2*p.Rand() // targets that failed together are not asked together
	return r, time.Duration(spread * float64(pr.gap())), true
}

// gap is the time to the next probe. Prober.mu is held.
func (pr *probe) gap() time.Duration {
	gap := pr.target.Interval
	if pr.tracker.Known() && !pr.tracker.Up() && pr.target.DownInterval > 0 {
		gap = pr.target.DownInterval
	}
	if pr.tracker.InTransition() {
		gap = min(gap, transitionGap)
	}
	return gap
}
