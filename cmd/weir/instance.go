package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/internal/admin"
	"weir/internal/control"
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
	w.proxy = proxy.New(proxy.Options{Group: group, Metrics: w.metrics, Log: log, AccessLog: access, Dir: filepath.Dir(o.config)})
	w.control, err = control.New(control.Options{
		Path: o.config, Strict: o.strict, Proxy: w.proxy, Group: group, Metrics: w.metrics, Log: log, Level: &level,
	})
	if err != nil {
		_ = group.Close()
		w.proxy.Close()
		return nil, err
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
	select {
	case <-ctx.Done():
	case <-living.Done(): // a part failed
	}
	var failure error
	if living.Err() != nil {
		failure = context.Cause(living)
	}
	return errors.Join(failure, w.drain())
}

// launch starts the parts in their order: the admin API where the file says,
// what is to be served, and the following of changes. A file that is wrong
// cannot say where; then the version that runs in its place does, later.
func (w *instance) launch(ctx context.Context, start func(func(context.Context) error)) error {
	block, early := adminBlockOf(w.o.config)
	if early {
		if err := w.openAdmin(block, start); err != nil {
			return err
		}
	}
	if err := w.control.Start(ctx); err != nil {
		return err
	}
	if !early {
		if err := w.openAdmin(resolved(w.control.Running().Admin, w.o.config), start); err != nil {
			return err
		}
	}
	start(w.control.Run)
	return nil
}

// openAdmin opens the admin API and starts to answer.
func (w *instance) openAdmin(block adminBlock, start func(func(context.Context) error)) error {
	var token func() (string, error)
	if block.TokenFile != "" {
		// Read at each use: a token is replaced by replacing the file.
		token = func() (string, error) { return readToken(block.TokenFile) }
		if _, err := token(); err != nil {
			return fmt.Errorf("admin API: %w", err)
		}
	}
	ln, err := admin.Listen(block.Address)
	if err != nil {
		return err
	}
	w.log.Info("admin API answers", zap.Stringer("address", ln.Addr()), zap.Bool("token", token != nil))
	handler := admin.New(admin.Options{
		Control: w.control, Metrics: w.metrics, Log: w.log, Token: token, Ready: w.ready, Addr: ln.Addr(),
	})
	start(func(ctx context.Context) error { return admin.Serve(ctx, ln, handler, w.log) })
	return nil
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
// is granted, and closes what is left.
func (w *instance) drain() error {
	w.leaving.Store(true)
	grace, cancel := context.WithTimeout(context.Background(), w.o.grace)
	defer cancel()
	if err := w.proxy.Shutdown(grace); err != nil {
		w.log.Warn("the grace period is over: requests are cut off", zap.Error(err))
		farewell, cancel := context.WithTimeout(context.Background(), farewellTimeout)
		defer cancel()
		w.proxy.EndTunnels(farewell)
	}
	closing, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := w.control.Close(closing)
	w.log.Info("weir ends", zap.Error(err))
	return err
}
