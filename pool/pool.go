// Package pool owns backends: who they are, whether they are fit, how busy they
// are, and which one gets the next request.
//
// State lives on Backend and is keyed by (pool, address). What requests read is
// a Set: immutable, rebuilt at each change, published through one pointer. So a
// request takes a lease without a lock, and a change never waits for a request.
//
// It does not know HTTP, configuration files or connections.
package pool

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/health"
	"weir/internal/metrics"
)

// Pool is the backends that serve the same thing. Acquire and Lease.Done are
// for the loops; everything else takes a lock and is not.
type Pool struct {
	name    string
	log     *zap.Logger
	metrics *metrics.Registry
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	tell    func(Event)
	expire  func(*Backend, Deadline, time.Time)
	rand    func() float64 // jitter, in [0, 1)
	prober  *health.Prober

	set        atomic.Pointer[Set] // read by every request; replaced under mu
	cursors    []cursor            // one a loop
	errorLimit atomic.Int64        // Passive.ConsecutiveErrors, for Done; written under mu
	measured   atomic.Bool         // the policy wants latencies; written under mu
	watching   atomic.Bool         // there may be something for adapt
	closed     atomic.Bool         // the pool's goroutine is gone
	queue      queue
	traffic    *metrics.Pool

	faults    atomic.Pointer[Faults] // Passive.Count; written under mu
	loadQuiet atomic.Bool            // nobody looks at reports of load until the next one wakes the pool's goroutine

	wake   chan struct{} // holds one: there is work for the pool's goroutine
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // the pool's goroutine and those that resolve names

	mu         sync.Mutex // everything below and every condition; never taken by Acquire
	spec       Spec
	order      []*Backend          // listed, in the order of spec
	listed     map[string]*Backend // the same, by address
	leaving    []*Backend          // retired, leases still out
	idKey      []byte              // what the sticky ids were made with
	gone       bool                // Retire was called: set stays what it was
	staged     map[*Staged]struct{}
	probed     map[string]*Backend // by key; whose results are wanted
	closing    bool                // nothing new is started
	setStale   bool                // set no longer shows the conditions
	probeStale bool                // the prober no longer has the right targets
	founded    bool                // a Spec with backends has been in force
	panicking  bool                // too few are usable: all are used
	rampNext   time.Time           // when weights of the Set have grown; zero: nobody's grow
	rateNext   time.Time           // when successes are looked at; zero: they are not
	loadNext   time.Time           // when reports of load are; zero: when there is one
	events     []Event             // to be told once mu is released
	telling    bool                // somebody is telling them
}

var lastID atomic.Uint64 // of Backend.ID, which must not repeat across pools

// New returns an empty pool. It runs until Close.
func New(name string, o Options) *Pool { return newPool(name, o, rand.Float64) }

func newPool(name string, o Options, jitter func() float64) *Pool {
	if o.Loops == 0 {
		o.Loops = runtime.GOMAXPROCS(0)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = metrics.New(o.Loops)
	}
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	if o.Expire == nil {
		o.Expire = func(*Backend, Deadline, time.Time) {}
	}
	p := &Pool{
		name: name, log: o.Log, metrics: o.Metrics, resolve: o.Resolve, tell: o.Events, expire: o.Expire, rand: jitter,
		cursors: make([]cursor, o.Loops),
		traffic: o.Metrics.Pool(name),
		wake:    make(chan struct{}, 1),
		listed:  make(map[string]*Backend),
		staged:  make(map[*Staged]struct{}),
	}
	for i := range p.cursors {
		p.cursors[i].loop = i
	}
	p.prober = health.NewProber(p.probeResult)
	p.prober.Rand = jitter
	if o.Pace != nil {
		p.prober.Pace = o.Pace
	}
	p.set.Store(&Set{none: ErrEmpty})
	p.faults.Store(everyFault)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(p.run)
	return p
}

// Name is the pool's name.
func (p *Pool) Name() string { return p.name }

// Close stops probing and every goroutine, and waits for them. All backends are
// retired, but requests that still hold the pool can go on acquiring from its
// last Set; no deadline of a drain holds any more. Calling it again does nothing.
func (p *Pool) Close() {
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		return
	}
	p.closing = true
	p.probed = nil
	p.prober.Sync(nil)
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
	p.prober.Wait()

	// From here on the last lease of a backend cleans up after itself. The
	// order matters: one that sees closed unset has ended before the sweep.
	p.closed.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.order {
		p.retire(b)
	}
	for st := range p.staged {
		p.dropStaged(st)
	}
	p.releaseIdle()
}

// run is the pool's own goroutine: what requests and probes noticed is acted on
// here, and what has its time, such as the end of an ejection or of a drain.
func (p *Pool) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		p.mu.Lock()
		now := time.Now()
		p.ejectFailing(now)
		p.judgeTrials(now)
		p.endEjections(now)
		p.learn(now)
		p.adapt(now)
		p.sweep(now)
		p.releaseIdle()
		p.setStale = p.setStale || !p.rampNext.IsZero() && !p.rampNext.After(now)
		p.refresh(now)
		timer.Stop()
		if due := p.nextDue(now); !due.IsZero() {
			timer.Reset(due.Sub(now))
		}
		p.unlock()
	}
}

// nextDue is when the pool's goroutine has to look by itself; zero: it need not.
// p.mu is held.
func (p *Pool) nextDue(now time.Time) time.Time {
	due := p.rampNext
	sooner := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	sooner(p.nextSweep(now))
	if b := p.nextReturning(func(*Backend) bool { return true }); b != nil {
		sooner(b.ejectedUntil)
	}
	for _, b := range p.order {
		if b.halfOpen {
			sooner(b.trialDue(now))
		}
	}
	p.nextLesson(sooner)
	sooner(p.nextAdapt(now))
	return due
}

// kick wakes the pool's goroutine. From anywhere; never blocks.
func (p *Pool) kick() {
	select {
	case p.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// refresh makes what is visible agree with the conditions. p.mu is held.
func (p *Pool) refresh(now time.Time) {
	if p.closing {
		return
	}
	if p.setStale && !p.gone {
		p.endExcessEjections(now)
		p.endLonelyTrials()
		p.noteFitness(now)
		p.set.Store(p.buildSet(now))
		p.setStale = false
		p.queue.wake(true) // there may be room now, or nobody left to wait for
	}
	if p.probeStale {
		p.syncProbes()
		p.probeStale = false
	}
}

// change records that something about b changed and is worth an event. p.mu is
// held.
func (p *Pool) change(b *Backend, now time.Time, what, cause string) {
	e := Event{Time: now, Pool: p.name, Backend: b.address, What: what, Cause: cause}
	p.events = append(p.events, e)
	b.remember(e)
	b.settleState(now)
	p.setStale = true
}

// unlock releases p.mu and then tells the events that gathered under it. One
// caller tells at a time, so that they arrive in order.
func (p *Pool) unlock() {
	for !p.telling && len(p.events) > 0 {
		events := p.events
		p.events, p.telling = nil, true
		p.mu.Unlock()
		for _, e := range events {
			p.announce(e)
		}
		p.mu.Lock()
		p.telling = false
	}
	p.mu.Unlock()
}

func (p *Pool) announce(e Event) {
	level := zap.InfoLevel
	switch e.What {
	case EventDown, EventEjected, EventWouldEject, EventUnresolved, EventPanic:
		level = zap.WarnLevel
	case EventAdded, EventRemoved:
		level = zap.DebugLevel // who changed the configuration has logged the plan already
	}
	if e.Backend == "" {
		p.log.Log(level, "pool "+e.What, zap.String("pool", e.Pool), zap.String("cause", e.Cause))
	} else {
		p.log.Log(level, "backend "+e.What,
			zap.String("pool", e.Pool), zap.String("backend", e.Backend), zap.String("cause", e.Cause))
	}
	p.tell(e)
}
