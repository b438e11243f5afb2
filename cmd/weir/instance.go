package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/internal/admin"
	"weir/internal/control"
	"weir/internal/handover"
	"weir/internal/loop"
	"weir/internal/metrics"
	"weir/proxy"
)

// instance is one running Weir: its parts, wired together.
type instance struct {
	o       serveOptions
	log     *zap.Logger
	flush   func() // of the logs
	group   *loop.Group
	metrics *metrics.Registry
	proxy   *proxy.Server
	control *control.Controller

	leaving atomic.Bool // no longer ready, whatever the listeners say

	gate      *admin.Gate // from openAdmin on
	adminAt   string      // as configured
	upgrader  *upgrader   // nil: this Weir is not a process of its own
	probation atomic.Bool // the process before this one may come back
	reloading atomic.Bool // a service manager was told so
}

// assemble makes the parts of a Weir. Nothing listens yet.
func assemble(o serveOptions) (*instance, error) {
	level := zap.NewAtomicLevel()
	log := systemLog(o.stderr, level)
	access, flushAccess := accessLog(o.stdout)
	w := &instance{o: o, log: log, flush: func() { _ = flushAccess(); _ = log.Sync() }}

	group, err := loop.New(loop.Options{Loops: o.loops, Panic: w.panicked, Stall: w.stalled})
	if err != nil {
		return nil, err
	}
	spareProcessor(group.Len())
	w.group, w.metrics = group, metrics.New(group.Len())
	w.proxy = proxy.New(proxy.Options{Group: group, Metrics: w.metrics, Log: log, AccessLog: access, Dir: filepath.Dir(o.config),
		Inherit: func(key, address string) (net.Listener, error) { return o.inherited.Take(handover.Proxy, key, address) }})
	w.control, err = control.New(control.Options{
		Path: o.config, Strict: o.strict, Proxy: w.proxy, Group: group, Metrics: w.metrics, Log: log, Level: &level,
	})
	if err != nil {
		_ = group.Close()
		w.proxy.Close()
		return nil, err
	}
	if o.program != "" {
		w.upgrader = newUpgrader(w)
	}
	return w, nil
}

// spareProcessor gives the runtime one processor more than there are loops. A
// loop that waits in epoll keeps its processor only while another is idle;
// without a spare one the runtime takes it away, at every wait, and gives it
// back at every event: a quarter more CPU for each request on one core.
func spareProcessor(loops int) {
	if runtime.GOMAXPROCS(0) <= loops {
		runtime.GOMAXPROCS(loops + 1)
	}
}

// panicked reports a panic of one connection's code. Its connection was
// closed; the others do not notice.
func (w *instance) panicked(v any, stack []byte) {
	w.log.Error("panic while serving a connection", zap.Any("panic", v), zap.ByteString("stack", stack))
}

// stalled reports a loop that somebody holds up.
func (w *instance) stalled(loop int, d time.Duration, stack []byte) {
	w.metrics.Stall(d)
	w.log.Warn("event loop stalled", zap.Int("loop", loop), zap.Duration("for", d), zap.ByteString("stack", stack))
}

// run starts everything, serves until ctx ends, and drains. The admin API
// opens first, so that a Weir that waits for its backends' first probes can be
// told from a dead one.
func (w *instance) run(ctx context.Context) error {
	defer w.flush()
	defer func() {
		_ = w.group.Close()
		w.proxy.Close()
	}()
	w.log.Info("weir starts", zap.Stringer("build", thisBuild()), zap.String("config", w.o.config),
		zap.Int("loops", w.group.Len()), zap.Int("pid", os.Getpid()))

	// What ends with ctx is the taking of new work. The parts go on, and
	// answer questions about the drain, until it is over.
	var parts sync.WaitGroup
	defer parts.Wait()
	living, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	start := func(part func(context.Context) error) {
		parts.Go(func() {
			if err := part(living); err != nil {
				end(err)
			}
		})
	}

	if err := w.launch(ctx, start); err != nil {
		if ctx.Err() != nil {
			err = nil // it was told to stop while it started
		}
		return errors.Join(err, w.drain())
	}
	w.probation.Store(w.o.inherited.Replaces() != nil)
	stopUpgrading := w.upgrader.enable(ctx)
	stopTakingOver := w.takeOver(start)
	select {
	case <-ctx.Done():
	case <-w.upgrader.replaced():
	case <-living.Done(): // a part failed
	}
	var failure error
	if living.Err() != nil {
		failure = context.Cause(living)
	}
	stopTakingOver(failure == nil)
	stopUpgrading()
	if failure == nil && !w.upgrader.wasReplaced() {
		w.notified(w.o.notifier.Stopping())
	}
	return errors.Join(failure, w.drain())
}

// launch starts the parts in their order: the admin API where the file says,
// what is to be served, and the following of changes. A file that is wrong
// cannot say where; then the version that runs in its place does, later. A
// process that is to be replaced answers for this one until it serves.
func (w *instance) launch(ctx context.Context, start func(func(context.Context) error)) (err error) {
	block, early := adminBlockOf(w.o.config)
	answer := func() {}
	if early {
		if answer, err = w.openAdmin(block, start); err != nil {
			return err
		}
		if w.o.inherited.Replaces() == nil {
			answer()
			answer = func() {}
		}
	}
	if err := w.control.Start(ctx); err != nil {
		if w.gate != nil {
			_ = w.gate.Close() // if it answers, the end closes it too
		}
		return err
	}
	if !early {
		if answer, err = w.openAdmin(resolved(w.control.Running().Admin, w.o.config), start); err != nil {
			return err
		}
	}
	answer()
	start(w.control.Run)
	return nil
}

// openAdmin opens the admin API, which answers from the call of answer on.
func (w *instance) openAdmin(block adminBlock, start func(func(context.Context) error)) (answer func(), err error) {
	var token func() (string, error)
	if block.TokenFile != "" {
		// Read at each use: a token is replaced by replacing the file.
		token = func() (string, error) { return readToken(block.TokenFile) }
		if _, err := token(); err != nil {
			return nil, fmt.Errorf("admin API: %w", err)
		}
	}
	ln, err := w.o.inherited.Take(handover.Admin, block.Address, block.Address)
	bind := ln == nil && err == nil
	if bind {
		ln, err = admin.Listen(block.Address)
	}
	if err != nil {
		return nil, err
	}
	w.gate, w.adminAt = admin.NewGate(ln, bind), block.Address
	return func() {
		w.log.Info("admin API answers", zap.Stringer("address", ln.Addr()), zap.Bool("token", token != nil))
		handler := admin.New(admin.Options{
			Control: w.control, Metrics: w.metrics, Log: w.log, Token: token, Ready: w.ready, Addr: ln.Addr(),
			Upgrade: w.upgrader.start(),
		})
		start(func(ctx context.Context) error { return admin.Serve(ctx, w.gate, handler, w.log) })
	}, nil
}

// ready reports whether clients should be sent here.
// The API answers questions about what runs a moment after it runs.
func (w *instance) ready() bool {
	return !w.leaving.Load() && w.proxy.Ready() && w.control.Running() != nil
}

// closeTimeout bounds what follows the drain.
const closeTimeout = 5 * time.Second

// farewellTimeout bounds the good order in which WebSockets end.
const farewellTimeout = 2 * time.Second

// drain fails readiness, stops accepting, lets requests finish for as long as
// is granted, and closes what is left. A process that was replaced has done all
// of this but the last.
func (w *instance) drain() error {
	if !w.upgrader.wasReplaced() {
		w.leaving.Store(true)
		w.shutdown(context.Background())
	}
	closing, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := w.control.Close(closing)
	w.log.Info("weir ends", zap.Error(err))
	return err
}

// shutdown lets requests finish for as long as is granted, or until ctx ends.
func (w *instance) shutdown(ctx context.Context) {
	grace, cancel := context.WithTimeout(ctx, w.o.grace)
	defer cancel()
	if err := w.proxy.Shutdown(grace); err != nil && ctx.Err() == nil {
		w.log.Warn("the grace period is over: requests are cut off", zap.Error(err))
		farewell, cancel := context.WithTimeout(ctx, farewellTimeout)
		defer cancel()
		w.proxy.EndTunnels(farewell)
	}
}

// notified logs what a service manager could not be told.
func (w *instance) notified(err error) {
	if err != nil {
		w.log.Warn("service manager", zap.Error(err))
	}
}
