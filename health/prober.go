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

// Prober keeps one goroutine for each target. The zero value is not usable.
type Prober struct {
	// Rand gives numbers in [0, 1) for the jitter. Set before the first Sync
	// if at all; called under the Prober's lock.
	Rand func() float64

	// Pace is for Probers that start together. Set before the first Sync if at all.
	Pace *Pace

	report func(key string, r Result)
	wg     sync.WaitGroup

	mu      sync.Mutex // Sync, and each probe when it has a result; never held during report
	running map[string]*probe
}

// probe is one goroutine's work.
type probe struct {
	key     string
	target  Target
	tracker Tracker // under Prober.mu: a successor takes it over while this one still runs
	cancel  context.CancelFunc
}

// NewProber returns a Prober without targets. report is called by the target's
// goroutine after each probe, with the key the target has in Sync's map.
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
			pr.cancel()
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
			old.cancel()
			tracker = old.tracker
		}
		tracker.Fall, tracker.Rise = t.Fall, t.Rise
		fresh = append(fresh, &probe{key: key, target: t, tracker: tracker})
	}
	if len(fresh) == 0 {
		return
	}
	window := p.Pace.window(len(fresh), time.Now())
	for _, pr := range fresh {
		p.start(pr, p.firstDelay(pr.target, window))
	}
}

// start runs pr's goroutine. p.mu is held.
func (p *Prober) start(pr *probe, delay time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	pr.cancel = cancel
	p.running[pr.key] = pr
	p.wg.Go(func() { p.probeUntilDone(ctx, pr, delay) })
}

// firstDelay is a place in the window, or in the target's interval if that is
// shorter.
func (p *Prober) firstDelay(t Target, window time.Duration) time.Duration {
	if t.Interval > 0 {
		window = min(window, t.Interval)
	}
	return time.Duration(p.Rand() * float64(window))
}

// Wait blocks until every probe goroutine has returned. Call it after
// Sync(nil); a Sync that starts something meanwhile must not run.
func (p *Prober) Wait() { p.wg.Wait() }

func (p *Prober) probeUntilDone(ctx context.Context, pr *probe, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		start := time.Now()
		report, err := ask(ctx, pr.target)
		r, gap, ok := p.observe(pr, report, err)
		if !ok {
			return
		}
		r.Took = r.At.Sub(start)
		p.report(pr.key, r)
		timer.Reset(max(0, gap-time.Since(start)))
	}
}

// ask runs one probe under its own timeout.
func ask(ctx context.Context, t Target) (*Report, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	report, err := probeOrReport(ctx, t)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return report, fmt.Errorf("no verdict within %v: %w", t.Timeout, err)
	}
	return report, err
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
// replaced: its outcome then belongs to nobody.
func (p *Prober) observe(pr *probe, report *Report, err error) (r Result, gap time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[pr.key] != pr {
		return Result{}, 0, false
	}
	now, known := time.Now(), pr.tracker.Known()
	r = Result{Err: err, Report: report, At: now}
	switch {
	case errors.Is(err, ErrNotAsked):
	case report != nil && err != nil: // it says itself that it is down: no need to ask again
		r.Changed = pr.tracker.Decide(false, now)
	default:
		r.Changed = pr.tracker.Observe(err == nil, now)
	}
	r.First = !known && pr.tracker.Known()
	r.Up, r.Rise = pr.tracker.Up(), pr.tracker.RiseNow(now)
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
