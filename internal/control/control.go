// Package control is the only writer of what runs: it takes configurations
// from the file, the API and the operator's hand, one at a time, and carries
// each through parse, plan, prepare, record and commit, or rejects it with
// nothing changed.
//
// It owns the pools, the history and the decision what to start with. It does
// not know how a request is served or how an address is probed.
package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/health"
	"weir/internal/config"
	"weir/internal/history"
	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/pool"
	"weir/proxy"
)

var (
	// ErrVersionConflict is returned by Apply if another version runs than the
	// caller expected.
	ErrVersionConflict = errors.New("version conflict")

	// ErrNoTarget is returned by Rollback if there is nothing to roll back to.
	ErrNoTarget = errors.New("nothing to roll back to")

	// ErrClosed is returned for a change that comes after Close or after Run.
	ErrClosed = errors.New("weir is shutting down")
)

// Options are what a Controller works with. It does not close any of them.
type Options struct {
	Path    string // of the configuration file
	Strict  bool   // Start fails where it would otherwise run an earlier version than the file
	Proxy   *proxy.Server
	Group   *loop.Group
	Metrics *metrics.Registry
	Log     *zap.Logger                      // nil: silent
	Level   *zap.AtomicLevel                 // follows log.level; nil: nobody does
	Env     func(name string) (string, bool) // ${NAME} in the file; nil: os.LookupEnv

	// Resolve looks up the names of backends; nil: net.DefaultResolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Origin says where a change comes from.
type Origin struct {
	Kind   string // file, api, signal, rollback, start
	Author string // who, where that is known
}

// What became of a change.
const (
	Applied   = "applied"
	Unchanged = "unchanged" // the same bytes run already
	Rejected  = "rejected"  // the configuration, or the wish, is wrong
	Failed    = "failed"    // it is right and could not be done: an address in use, a full disk
)

// Verdict is what became of a change. Unless Result is Applied, nothing has
// changed for requests.
type Verdict struct {
	Result   string           `json:"result"`
	Version  int              `json:"version"`  // what runs now
	Previous int              `json:"previous"` // what ran before
	Plan     []Change         `json:"plan,omitempty"`
	Problems config.Problems  `json:"problems,omitempty"`
	Warnings []config.Finding `json:"warnings,omitempty"` // what is hardly meant, and was not there before
	Message  string           `json:"message,omitempty"`
	TookMS   float64          `json:"took_ms"`
	CommitMS float64          `json:"commit_ms,omitempty"` // of it, from the recorded version until requests meet it

	Held      int       `json:"held,omitempty"`         // as this version; Result is Held
	Trial     *Trial    `json:"trial,omitempty"`        // Result is Staged
	Watched   time.Time `json:"watched_until,omitzero"` // by the guard
	ConfirmBy time.Time `json:"confirm_by,omitzero"`    // or it is undone
}

// Controller runs configurations. Start it, then Run it; changes are made one
// after another on the goroutine of Run, readers never wait for them.
type Controller struct {
	o       Options
	log     *zap.Logger
	gauges  *gauges
	events  events
	history *history.Store   // from Start on
	boot    *config.Config   // what Start ran: some settings stay as they were then
	execs   health.ExecLimit // of the commands that probe, in all pools together
	guard   guard            // the writer's
	trial   *trial           // the writer's; nil: nothing is tried
	tried   atomic.Pointer[Trial]
	notices sync.WaitGroup        // programs that are being told something
	guarded atomic.Pointer[watch] // guard.watch, for readers

	mirror    mirror
	overrides overrides
	pokes     chan struct{} // the guard's timer is to be set again
	probes    *loop.Group   // for probes alone: they must not wait for requests, nor those for them
	pace      *health.Pace  // of all probes

	current  atomic.Pointer[view] // written by Start and the goroutine of Run
	compiled []compiled           // the last few that ran, newest last; the same writers

	stickyKey ownKey        // the same writers
	committed time.Duration // what the latest commit took; the same writers
	away      bool          // another process is the writer (HandOver); the goroutine of Run

	jobs  chan func(context.Context)
	kicks chan struct{}

	mu      sync.Mutex
	running chan struct{} // closed when Run returns; nil before
	closing chan struct{} // closed by Close
	closed  bool
}

// view is what runs at one moment, and all that readers need. It is never
// changed once it is published.
type view struct {
	version history.Version
	source  []byte
	cfg     *config.Config
	pools   map[string]*pool.Pool // exactly those of cfg
	keys    map[string][]byte     // of those whose clients stick
	retired map[string]*pool.Pool // no longer of cfg, and requests ran there at that moment
	since   time.Time             // it was committed
	started time.Time             // the first of all was
	pin     history.State         // Pinned, and why
	file    File
}

// New makes a Controller and registers its metrics. Nothing runs before Start.
func New(o Options) (*Controller, error) {
	if o.Path == "" {
		return nil, errors.New("control: no configuration file is named")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	g, err := newGauges(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	c := &Controller{
		o: o, log: o.Log, gauges: g, execs: health.NewExecLimit(0),
		jobs:    make(chan func(context.Context)),
		kicks:   make(chan struct{}, 1),
		pokes:   make(chan struct{}, 1),
		mirror:  mirror{wake: make(chan struct{}, 1)},
		closing: make(chan struct{}),
	}
	if err := o.Metrics.Prometheus().Register(pool.NewCollector(c.scraped)); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	o.Proxy.Notify(func(e proxy.RouteEvent) {
		c.events.send(Event{Kind: "route", What: e.What, Listener: e.Listener, Route: e.Route, Cause: e.Cause})
	})
	c.probes, err = loop.New(loop.Options{Loops: 1, Quiet: true, Panic: c.probePanicked})
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	c.pace = &health.Pace{Loop: c.probes.Loop(0), Spares: health.MaxSpares()}
	return c, nil
}

func (c *Controller) probePanicked(v any, stack []byte) {
	c.log.Error("panic in a health check", zap.Any("panic", v), zap.ByteString("stack", stack))
}

// Run follows the configuration file and makes changes until ctx ends or Close
// is called, and returns nil then. What runs goes on running. Call it once,
// after Start.
func (c *Controller) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.running != nil || c.current.Load() == nil {
		c.mu.Unlock()
		return errors.New("control: Run is for once, after Start")
	}
	c.running = make(chan struct{})
	c.mu.Unlock()
	defer close(c.running)

	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	if w := c.watcher(); w != nil {
		watching.Go(func() {
			if err := w.Run(ctx, func(source []byte) { c.deliver(ctx, source) }); err != nil {
				c.log.Error("configuration file is not watched any more: use SIGHUP or weir apply", zap.Error(err))
			}
		})
	}
	watching.Go(func() { c.runMirror(ctx) })
	guard := time.NewTimer(c.guardDue())
	defer guard.Stop()
	for {
		select {
		case job := <-c.jobs:
			job(ctx)
			guard.Reset(c.guardDue())
		case <-guard.C:
			c.guardTick(ctx, time.Now())
			guard.Reset(c.guardDue())
		case <-c.pokes:
			guard.Reset(c.guardDue())
		case <-c.kicks:
			c.kicked(ctx)
			guard.Reset(c.guardDue())
		case <-ctx.Done():
			return nil
		case <-c.closing:
			return nil
		}
	}
}

// watcher watches the file, starting from what Start has read. Without one,
// Weir is still of use.
func (c *Controller) watcher() *config.Watcher {
	w, err := config.NewWatcher(c.o.Path, config.WatchOptions{
		Have: c.current.Load().file.bytes,
		Report: func(err error) {
			c.log.Warn("configuration file", zap.Error(err))
		},
	})
	if err != nil {
		c.log.Error("configuration file is not watched: use SIGHUP or weir apply", zap.Error(err))
		return nil
	}
	return w
}

// Kick makes Run read the file now, as on SIGHUP. It does not wait; a kick
// before Run is remembered, and several at once are one.
func (c *Controller) Kick() {
	select {
	case c.kicks <- struct{}{}:
	default:
	}
}

// poke makes Run look again when the next thing is due.
func (c *Controller) poke() {
	select {
	case c.pokes <- struct{}{}:
	default: // it is about to
	}
}

// deliver hands changed bytes of the file to the writer and waits until it is
// done with them, so that edits are judged in order.
func (c *Controller) deliver(ctx context.Context, source []byte) {
	// The verdict has been logged; an error only says that Weir is ending.
	_, _ = ask(ctx, c, func(ctx context.Context) (Verdict, error) {
		return c.fileChanged(ctx, source, Origin{Kind: "file"}), nil
	})
}

// Apply makes source the running configuration and returns what became of it.
// ifVersion, unless 0, is the version that the caller believes to run; if
// another does, the error is ErrVersionConflict.
//
// Bytes that differ from the running ones in comments or layout only become a
// version too, with an empty plan, so that the newest version is always what
// the operator wrote. The same bytes again are Unchanged. If the file on disk
// differs from source, it is ignored from now on (pinned), like after a
// rollback; else a restart would undo this.
//
// If ctx ends first, the change goes on without the caller.
func (c *Controller) Apply(ctx context.Context, source []byte, o Origin, ifVersion int) (Verdict, error) {
	return c.ApplyWith(ctx, source, o, ApplyOptions{IfVersion: ifVersion})
}

// ApplyOptions are what can be asked of a change.
type ApplyOptions struct {
	IfVersion int           // as Apply's
	Force     bool          // also if the guard has undone these bytes before, and during a freeze
	NoGuard   bool          // what it does to traffic is not watched
	Stage     []int         // it is tried by so many percent of the clients first, step by step; growing
	Hold      time.Duration // how long each step lasts
	Shadow    time.Duration // it is only asked, for so long, what it would make of each request
	Confirm   time.Duration // it is undone after this time unless Confirm is called; 0: it stays
}

// ApplyWith is Apply with more to say. A later change ends the wait for a
// confirmation.
func (c *Controller) ApplyWith(ctx context.Context, source []byte, o Origin, opts ApplyOptions) (Verdict, error) {
	source = slices.Clone(source)
	return ask(ctx, c, func(ctx context.Context) (Verdict, error) {
		if n := c.current.Load().version.Number; opts.IfVersion != 0 && opts.IfVersion != n {
			v := c.refuse(fmt.Sprintf("version %d is running, not %d", n, opts.IfVersion))
			return v, fmt.Errorf("%w: %s", ErrVersionConflict, v.Message)
		}
		if opts.Shadow > 0 || len(opts.Stage) > 0 {
			return c.applyTried(ctx, source, o, opts)
		}
		return c.apply(ctx, source, o, false, opts), nil
	})
}

// Rollback makes the bytes of version to the running configuration, as a new
// version; to 0 means the one before the running one. Health and connections
// of backends that stay are kept. If the file on disk differs, it is ignored
// until it is edited again or unpinned. The error is history.ErrNotFound or
// ErrNoTarget if there is nothing to roll back to.
func (c *Controller) Rollback(ctx context.Context, to int, o Origin) (Verdict, error) {
	return ask(ctx, c, func(ctx context.Context) (Verdict, error) { return c.rollback(ctx, to, o) })
}

// Unpin makes the file count again: it is read and applied. If it is rejected,
// the pin stays.
func (c *Controller) Unpin(ctx context.Context, o Origin) (Verdict, error) {
	return ask(ctx, c, func(ctx context.Context) (Verdict, error) { return c.unpin(ctx, o), nil })
}

// ask runs fn on the writer's goroutine and returns what it returns. While
// another process is the writer the error is ErrHandedOver.
func ask[T any](ctx context.Context, c *Controller, fn func(context.Context) (T, error)) (T, error) {
	return do(ctx, c, func(ctx context.Context) (T, error) {
		if c.away {
			var none T
			return none, ErrHandedOver
		}
		return fn(ctx)
	})
}

// do is ask for what is done in any case.
func do[T any](ctx context.Context, c *Controller, fn func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1) // the writer does not wait for who has left
	job := func(ctx context.Context) {
		value, err := fn(ctx)
		done <- answer{value, err}
	}
	var none T
	select {
	case c.jobs <- job:
	case <-c.ended():
		return none, ErrClosed
	case <-c.closing:
		return none, ErrClosed
	case <-ctx.Done():
		return none, ctx.Err()
	}
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		return none, fmt.Errorf("the change goes on: %w", ctx.Err())
	}
}

// ended is closed once Run has returned; nil, which blocks, before Run.
func (c *Controller) ended() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running
}

// Close ends Run and waits for it, closes the pools and releases the history.
// The proxy should have stopped by then. If ctx ends while a change is still
// being made, Close returns its error with the rest left undone.
func (c *Controller) Close(ctx context.Context) error {
	c.mu.Lock()
	running := c.running
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	close(c.closing)
	c.mu.Unlock()
	if running != nil {
		select {
		case <-running:
		case <-ctx.Done():
			return fmt.Errorf("control: a change is still being made: %w", ctx.Err())
		}
	}
	if c.trial != nil { // nobody else writes any more
		c.abortTrial("aborted", "Weir ends")
	}
	c.closeOverrides()
	c.notices.Wait() // none takes longer than notifyTime
	if v := c.current.Load(); v != nil {
		for _, pools := range []map[string]*pool.Pool{v.pools, v.retired} {
			for _, p := range pools {
				p.Close()
			}
		}
	}
	err := c.probes.Close()
	c.events.close()
	if c.history == nil {
		return err
	}
	return errors.Join(err, c.history.Close())
}
